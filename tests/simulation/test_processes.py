import signal
import subprocess
import sys

import psutil
import pytest

from simulation.processes import ending_processes

# Starts a process in a session of its own, without any environment, and ends before it.
ORPHAN = """
import subprocess, sys
child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, start_new_session=True, env={})
print(child.pid, flush=True)
"""
DEAF = 'trap "" TERM; echo ready; while :; do sleep 0.1; done'


def runs(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_an_orphan_ends_with_the_block_that_its_parent_was_started_in():
    with ending_processes():
        parent = subprocess.run([sys.executable, "-c", ORPHAN], check=True, stdout=subprocess.PIPE)
        orphan = int(parent.stdout)
        assert runs(orphan)
    assert not runs(orphan)


def test_a_process_that_does_not_listen_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr("simulation.processes._POLITE", 0.5)
    with ending_processes():
        process = subprocess.Popen(["bash", "-c", DEAF], stdout=subprocess.PIPE)
        process.stdout.readline()
    assert not runs(process.pid)
    process.stdout.close()
    process.wait()


def test_what_ran_before_goes_on():
    process = subprocess.Popen(["sleep", "1000"])
    with ending_processes():
        pass
    assert runs(process.pid)
    process.kill()
    process.wait()


def test_processes_end_when_the_block_breaks_off():
    started = []

    def break_off():
        with ending_processes():
            started.append(subprocess.Popen(["sleep", "1000"]))
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert not runs(started[0].pid)
    started[0].wait()


def test_a_process_that_is_started_by_a_dying_one_is_ended(tmp_path):
    late = tmp_path / "late"
    heir = f'trap "sleep 1000 & echo \\$! > {late}; exit" TERM; echo ready; while :; do sleep 0.1; done'
    with ending_processes():
        process = subprocess.Popen(["bash", "-c", heir], stdout=subprocess.PIPE)
        process.stdout.readline()
    process.stdout.close()
    process.wait()
    assert not runs(int(late.read_text()))
