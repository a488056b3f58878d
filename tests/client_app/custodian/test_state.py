import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from client_app.custodian.state import Answer, Progress, StudyState, site_secret
from federation.config import compose_run
from federation.errors import DataError, RefusedError, StorageError

ASKED, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def study(make_study):
    return make_study(rounds=3)


@pytest.fixture
def state(tmp_path, study):
    return StudyState(tmp_path, study)


def progress_file(folder, study):
    return folder / "studies" / study.id / "progress.json"


class TestRounds:
    def test_a_burnt_round_is_charged_on_disk(self, state, tmp_path, study):
        assert state.burn(1, ASKED) == Progress(burnt_round=1, steps=2, asked=ASKED)
        assert StudyState(tmp_path, study).progress == Progress(burnt_round=1, steps=2, asked=ASKED)

    @pytest.mark.parametrize(("again", "asked"), [(2, OTHER), (1, ASKED), (1, OTHER)])
    def test_a_burnt_round_and_those_before_it_never_come_again(self, again, asked, state, tmp_path, study):
        state.burn(2, ASKED)
        with pytest.raises(RefusedError) as refusal:
            StudyState(tmp_path, study).burn(again, asked)
        assert refusal.value.rule == "round-burnt"
        assert state.progress.steps == 2, "a refused round costs nothing"

    def test_the_last_round_may_be_asked_again_with_the_same_model_at_no_cost(self, state, tmp_path, study):
        first = state.burn(1, ASKED)
        assert StudyState(tmp_path, study).burn(1, ASKED) == first
        assert state.progress.steps == 2

    def test_rounds_may_be_missed(self, state):
        state.burn(1, ASKED)
        assert state.burn(3, ASKED) == Progress(burnt_round=3, steps=4, asked=ASKED)

    def test_more_steps_than_the_study_has_are_refused(self, state):
        for number in (1, 2, 3):
            state.burn(number, ASKED)
        with pytest.raises(RefusedError) as refusal:
            state.burn(4, ASKED)
        assert refusal.value.rule == "steps-exhausted"
        assert state.progress == Progress(burnt_round=3, steps=6, asked=ASKED)

    def test_another_study_has_rounds_of_its_own(self, state, tmp_path, make_study):
        state.burn(2, ASKED)
        assert StudyState(tmp_path, make_study(title="Another")).burn(1, ASKED).burnt_round == 1

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b'{"burnt_round": "many"}',
            b'{"burnt_round": 1, "steps": 2, "extra": 3}',
            b"\xff",
        ],
    )
    def test_progress_that_cannot_be_read_fails_closed(self, content, state, tmp_path, study):
        state.burn(1, ASKED)
        progress_file(tmp_path, study).write_bytes(content)
        with pytest.raises(DataError, match=r"progress\.json"):
            state.burn(2, ASKED)
        assert progress_file(tmp_path, study).read_bytes() == content, "nothing is written over it"

    @pytest.mark.parametrize("content", [b"{}", b'{"burnt_round": 1}', b'{"burnt_round": -1, "steps": 0}'])
    def test_progress_that_does_not_say_how_far_fails_closed(self, content, state, tmp_path, study):
        state.burn(1, ASKED)
        progress_file(tmp_path, study).write_bytes(content)
        with pytest.raises(DataError):
            state.burn(2, ASKED)

    def test_a_folder_in_the_place_of_progress_fails_closed(self, state, tmp_path, study):
        progress_file(tmp_path, study).mkdir(parents=True)
        with pytest.raises(DataError):
            state.burn(1, ASKED)

    def test_a_round_that_the_disk_did_not_take_is_not_begun(self, state, tmp_path):
        (tmp_path / "studies").write_text("a file where the folder should be")
        with pytest.raises(StorageError):
            state.burn(1, ASKED)

    def test_what_the_optimiser_remembers_outlives_the_process(self, state, tmp_path, study):
        assert state.answer is None
        for number in (1, 2):
            state.remember(Answer(number, np.full(3, number, np.float32), b"optimiser %d" % number))
        kept = StudyState(tmp_path, study).answer
        assert (kept.round, kept.optimizer, kept.update.tolist()) == (2, b"optimiser 2", [2, 2, 2])

    def test_an_answer_that_cannot_be_read_fails_closed(self, state, tmp_path, study):
        state.burn(1, ASKED)
        (progress_file(tmp_path, study).parent / "answer.safetensors").write_bytes(b"half a file")
        with pytest.raises(DataError, match=r"answer\.safetensors"):
            _ = state.answer


class TestSecret:
    def test_is_drawn_once_and_stays(self, tmp_path):
        secret = site_secret(tmp_path / "alder")
        assert len(secret) == 32
        assert site_secret(tmp_path / "alder") == secret
        assert site_secret(tmp_path / "birch") != secret

    def test_is_for_its_owner_alone(self, tmp_path):
        before = os.umask(0)
        try:
            site_secret(tmp_path)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600

    @pytest.mark.parametrize("size", [0, 16, 31, 33])
    def test_of_another_size_is_refused_and_kept(self, size, tmp_path):
        (tmp_path / "secret").write_bytes(bytes(size))
        with pytest.raises(DataError, match=f"holds {size} bytes"):
            site_secret(tmp_path)
        assert (tmp_path / "secret").read_bytes() == bytes(size)


HOLDER = """
import sys, time
from pathlib import Path
from client_app.custodian.state import StudyState
from federation.config import compose_run
with StudyState(Path(sys.argv[1]), compose_run().study).alone():
    print("alone", flush=True)
    sys.stdin.read()
"""


def test_another_process_waits_until_a_round_is_released(tmp_path):
    """Two custodians on one folder would otherwise both find a round unspent, and reuse its noise."""
    study = compose_run().study
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "alone\n"
    entered = threading.Event()

    def enter():
        with StudyState(tmp_path, study).alone():
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.5), "the other process is still at it"
    other.communicate("")
    assert entered.wait(30)
    waiting.join()
