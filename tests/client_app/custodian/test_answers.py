import subprocess
import sys
import threading

import numpy as np
import pytest

from client_app.custodian.answers import Answer, Answers
from federation.errors import DataError

STUDY = "a" * 64


@pytest.fixture
def answers(tmp_path):
    return Answers(tmp_path, STUDY, "train")


def test_the_last_answer_outlives_the_process(answers, tmp_path):
    assert answers.last is None
    for number in (1, 2):
        answers.remember(Answer(number, np.full(3, number, np.float32), b"optimiser %d" % number))
    kept = Answers(tmp_path, STUDY, "train").last
    assert (kept.round, kept.optimizer, kept.released.tolist()) == (2, b"optimiser 2", [2, 2, 2])


def test_another_study_has_answers_of_its_own(answers, tmp_path):
    answers.remember(Answer(1, np.zeros(3, np.float32), b""))
    assert Answers(tmp_path, "b" * 64, "train").last is None


def test_an_answer_that_cannot_be_read_fails_closed(answers, tmp_path):
    answers.remember(Answer(1, np.zeros(3, np.float32), b""))
    (tmp_path / "studies" / STUDY / "train.safetensors").write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"train\.safetensors"):
        _ = answers.last


HOLDER = """
import sys
from pathlib import Path
from client_app.custodian.answers import Answers
with Answers(Path(sys.argv[1]), sys.argv[2], "train").alone():
    print("alone", flush=True)
    sys.stdin.read()
"""


def test_another_process_waits_until_a_round_is_released(answers, tmp_path):
    """Two custodians on one folder would otherwise both find a round unspent, and reuse its noise."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), STUDY]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "alone\n"
    entered = threading.Event()

    def enter():
        with answers.alone():
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.5), "the other process is still at it"
    other.communicate("")
    assert entered.wait(30)
    waiting.join()
