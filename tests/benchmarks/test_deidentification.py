"""The same planted files go through every tool that is here; one that is not is said to be left out."""

import pytest

from benchmarks import deidentification
from benchmarks.deidentification import TOOLS, run


@pytest.fixture
def small(monkeypatch):
    """Few and small files, and no tool but ours on the PATH."""
    for name, value in (("_FILES", 2), ("_RUNS", 1), ("_SIZE", 64)):
        monkeypatch.setattr(deidentification, name, value)
    monkeypatch.setenv("PATH", "")


def test_ours_leaves_nothing_and_others_are_left_out_by_name(small):
    rows = run()
    left = [row for row in rows if row.case == "Wardround" and row.metric.startswith("identifiers left")]
    assert [row.value for row in left] == [0]
    others = {row.case: row for row in rows if row.case != "Wardround"}
    assert set(others) == {tool.name for tool in TOOLS[1:]}
    assert all(row.value is None and "not on the PATH" in row.metric for row in others.values())
