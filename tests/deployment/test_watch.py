"""A researcher watches runs, whatever becomes of them."""

import psutil
import pytest

from simulation.programs import BIN, free_ports

pytestmark = pytest.mark.deployment


class Watcher:
    """``wardround-coordinator watch`` as a program."""

    def __init__(self, programs, through):
        self.programs = programs
        self.through = through
        self.name = ""

    def start(self, run, *options):
        self.name = f"watch-{run}-{len(list(self.programs.folder.glob('watch-*')))}"
        self.programs.start(
            *(self.name, BIN / "wardround-coordinator", "watch", run, "--through", self.through, *options)
        )

    def until_said(self, text):
        self.programs.until_said(self.name, text)

    def end(self):
        """Its exit code, and what it has said."""
        return self.programs.exit_code(self.name), self.programs.log(self.name)

    def whole(self, run, *options):
        self.start(run, *options)
        return self.end()


@pytest.fixture
def watcher(hospitals):
    return Watcher(hospitals.programs, f"127.0.0.1:{hospitals.tunnel_port}")


def server_app(hospitals):
    """The process in which the coordinator's only run goes on."""
    launcher = psutil.Process(hospitals.programs.pid("coordinator"))

    def alone():
        children = launcher.children()
        return children if len(children) == 1 else None

    return hospitals.programs.until(alone, "a single ServerApp")[0]


def test_of_a_run_that_is_not_there_nobody_knows(watcher):
    code, said = watcher.whole(17)
    assert (code, said) == (
        2,
        f"unknown: run 17 is none that {watcher.through} knows; flwr ls shows those that there are\n",
    )


def test_where_nobody_answers_it_is_tried_as_long_as_was_asked(hospitals):
    (port,) = free_ports(1)
    code, said = Watcher(hospitals.programs, f"127.0.0.1:{port}").whole(17, "--patience", 1)
    assert code == 2
    assert said.splitlines()[0].endswith("see to the tunnel; trying on for 1 s")
    assert said.splitlines()[-1].startswith("unknown: nobody answers")


def test_a_study_that_nobody_approved_fails_with_the_hospitals_words_and_later_completes(hospitals, watcher):
    refused = hospitals.run(training__steps=3)
    code, said = watcher.whole(refused)
    assert code == 1
    assert "failed: 0 of at least 3 hospitals will take part." in said
    assert all(f"{name}: refused by not-approved" in said for name in hospitals.sites)
    log = hospitals.programs.run(BIN / "flwr", "log", refused, "trial")
    assert "QuorumError: 0 of at least 3 hospitals" in log
    assert "Traceback" not in log
    hospitals.approve()
    run = hospitals.run(training__steps=3)
    code, said = watcher.whole(run)
    assert code == 0
    version = hospitals.summary(run)["model_version"]
    lines = said.splitlines()
    assert lines[-1] == f"completed: model {version}"
    rounds = [line for line in lines if line.startswith("round")]
    assert [line.split()[1] for line in rounds] == ["1/2", "2/2"]
    assert all("ε so far" in line and line.endswith(", ".join(hospitals.sites)) for line in rounds)
    # Nobody has to have watched it while it ran.
    code, later = watcher.whole(run)
    assert (code, later.splitlines()[-1]) == (0, lines[-1])
    assert rounds == [line for line in later.splitlines() if line.startswith("round")]


def test_watching_outlives_the_way_there_and_tells_a_run_that_was_stopped_from_one_that_was_killed(
    hospitals, watcher
):
    run = hospitals.approved_run(rounds=40, secure_sum__lost_rounds=40)
    watcher.start(run)
    watcher.until_said("round 1/40")
    hospitals.programs.kill("tunnel")
    watcher.until_said("nobody answers")
    hospitals.programs.start_again("tunnel")
    watcher.until_said("the coordinator answers again")
    hospitals.until_rounds(run, 2)
    watcher.until_said("round 2/40")
    hospitals.programs.run(BIN / "flwr", "stop", run, "trial")
    code, said = watcher.end()
    assert code == 1
    assert "stopped after round" in said
    assert f"resume=flower-{run}" in said
    assert [said.count(f"round {number}/40") for number in (1, 2)] == [1, 1]
    summary = hospitals.ended(run, 60)
    assert (summary["status"], summary["reason"]) == ("interrupted", "stopped by hand")

    going_on = hospitals.resume(hospitals.run_folder(run))
    watcher.start(going_on)
    watcher.until_said("/40")
    server_app(hospitals).kill()
    code, said = watcher.end()
    assert code == 1
    assert "failed after round" in said
