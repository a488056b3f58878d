import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.parametrize("how", ["wide", "deep"])
@pytest.mark.attack("to look into the safe", held_by="a door")
def test_the_safe(how):
    pass

@pytest.mark.parametrize("day", [1, 2])
@pytest.mark.mutant("to look into the safe", "without a door")
def test_a_safe_without_a_door(day):
    pass

@pytest.mark.mutant("to look into the safe", "with a window")
def test_a_safe_with_a_window():
    assert not "seen"

@pytest.mark.attack("to carry it away", held_by="its weight")
def test_the_weight():
    assert not "too heavy"

@pytest.mark.attack("to wait", held_by="a clock")
def test_the_clock():
    pytest.skip("no clock here")

def test_another_thing():
    pass
"""


@pytest.fixture
def said(tmp_path):
    """What pytest prints of these tests."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    marks = "markers =\n  attack(what, held_by): x\n  mutant(what, how): x\n"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = --strict-markers\n{marks}")

    def run(*options):
        command = [sys.executable, "-m", "pytest", *options]
        alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
        return done.stdout.strip().splitlines()

    return run


@pytest.mark.parametrize("options", [[], ["-p", "xdist", "-n", "2"]], ids=["one process", "workers"])
def test_every_attack_has_a_row_and_pytests_last_line_stays_last(said, options):
    lines = said(*options)
    start = next(number for number, line in enumerate(lines) if line.startswith("attack "))
    assert [re.split(r"  +", line) for line in lines[start : start + 4]] == [
        ["attack", "held by", "result", "mutants let through"],
        ["to carry it away", "its weight", "BROKEN in 1 of 1", "0"],
        ["to look into the safe", "a door", "held (2)", "1"],
        ["to wait", "a clock", "not tried in 1 of 1", "0"],
    ]
    assert "2 failed, 5 passed, 1 skipped" in lines[-1]


def test_without_attacks_nothing_is_printed(said):
    assert not [line for line in said("-k", "another_thing") if "held by" in line]
