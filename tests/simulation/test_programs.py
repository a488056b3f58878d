"""Real programs, as tests, benchmarks and Slurm jobs start them."""

import sys

import psutil
import pytest

from federation.errors import RunError
from simulation.programs import Programs, free_ports

# Ends when it is told to, and leaves something behind that does not.
PARENT = """
import subprocess, sys
stubborn = "from signal import *; signal(SIGTERM, SIG_IGN); print('here'); pause()"
child = subprocess.Popen([sys.executable, "-u", "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_no_program_outlives_the_block_and_nothing_that_it_has_started(tmp_path):
    with Programs(tmp_path) as programs:
        programs.start("parent", sys.executable, "-c", PARENT)
        number = programs.until(lambda: programs.log("parent").strip(), "its child")
        left = [psutil.Process(programs.pid("parent")), psutil.Process(int(number))]
    assert psutil.wait_procs(left, timeout=10)[1] == []


def test_of_steady_programs_one_that_ends_is_named_at_once(tmp_path):
    with Programs(tmp_path, steady=True) as programs:
        programs.start("long", "sleep", 600)
        programs.start("short", "true")
        with pytest.raises(RunError, match=r"^short has ended; .*/short\.log says why$"):
            programs.until(lambda: False, "what never happens")


def test_a_wait_that_was_too_short_shows_what_each_has_said(tmp_path):
    with Programs(tmp_path, patience=0.5) as programs:
        programs.start("short", "echo", "all is well")
        with pytest.raises(
            RunError, match=r"(?s)what never happens did not happen within 0.5 s\n.*all is well"
        ):
            programs.until(lambda: False, "what never happens")


def test_who_asks_for_ports_at_the_same_time_gets_others():
    ports = [port for share in range(5) for port in free_ports(20, share=share, of=5)]
    assert len(ports) == len(set(ports)) == 100
