"""A comparison is only one if everybody does the same work."""

import numpy as np
import pytest

from benchmarks import bare_loop, inline_rounds, job
from benchmarks.marks import Marks


@pytest.fixture
def marks(monkeypatch):
    """A stopwatch for a job that is smaller in every number that changes nothing of the work's kind."""
    for name, value in {"SITES": 3, "ROUNDS": 2, "STEPS": 3, "TEST_PATIENTS": 8}.items():
        monkeypatch.setattr(job, name, value)
    return Marks()


def test_bare_loop_and_inline_engine_end_in_the_same_model(marks, tmp_path):
    bare = bare_loop.train(marks)
    inline = inline_rounds.train(marks, tmp_path / "run")
    np.testing.assert_allclose(inline, bare, rtol=0, atol=1e-5)
    assert np.abs(bare - _initial()).max() > 1e-3  # or nobody has learnt anything


def test_measuring_is_part_of_the_rounds(marks, tmp_path):
    inline_rounds.train(marks, tmp_path / "run")
    assert 0 < marks.rounds.measuring < marks.rounds.cpu


def _initial():
    return np.concatenate([p.detach().numpy().ravel() for p in job.network().parameters()])
