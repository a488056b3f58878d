"""The custodian as a hospital runs it: a process, two sockets, and a folder that outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import client_app
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.ledger import Ledger
from client_app.custodian.process import alone_in, run_custodian
from client_app.desk.client import AdminClient
from client_app.desk.questions import Approve, Revoke, Withdraw
from client_app.site import hospital
from client_app.socket_client import SocketClient
from federation.errors import ConfigError, DataError, LedgerError, RunError
from federation.messages import DescribeReply, DescribeRequest, TrainReply, TrainRequest

PATIENCE = 120.0
NEXT_YEAR = datetime.now(UTC).date() + timedelta(days=365)
PATIENT, UNREADABLE = "Erika Mustermann", "Max Mustermann"
NAMED = "a patient's name in logs that are collected"
TWO = "two custodians that charge one hospital's patients"


class Process:
    """A custodian that can be killed, and starts again where it is needed."""

    def __init__(self, file):
        self.file = file
        self.folder = file.parent
        self.service = hospital(file).service
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def start(self):
        if self._process is not None and self._process.poll() is None:
            return
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "client_app.cli", "custodian", "--config", str(self.file)],
                cwd=Path(client_app.__file__).parents[1],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
                stderr=log,
            )
        until(lambda: self.answers() or self._process.poll() is not None)
        assert self._process.poll() is None, self.log

    def end(self, number):
        """Its exit code after a signal."""
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    def answers(self):
        try:
            self.people.studies()
        except RunError:
            return False
        return True

    @property
    def people(self):
        return AdminClient(self.service.admin)

    def ask(self, request):
        return SocketClient(self.service.relay, PATIENCE).handle(request)

    def approve(self, study):
        assert self.ask(DescribeRequest(study=study)).rule == "not-approved"
        self.people.approve(Approve(study=study.id, by="Dr. Frei", until=NEXT_YEAR))


def until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def process(tmp_path_factory, write_hospital):
    with Process(write_hospital(tmp_path_factory.mktemp("alder"))) as process:
        yield process


@pytest.fixture
def running(process):
    process.start()
    return process


@pytest.fixture
def train(start_of):
    return lambda process, study, number=1: process.ask(
        TrainRequest(study=study, round=number, parameters=start_of(study))
    )


def failing(process, make_study, train):
    """The reference of an error with a patient's name, which reading the data of a study raises."""
    study = make_study(title="Fails", task={"options": {"fails_with": UNREADABLE}})
    process.approve(study)
    reply = train(process, study)
    assert reply.rule == "unexpected-RuntimeError"
    return reply.reference


class TestProcess:
    def test_from_a_stranger_s_question_to_a_revocation(self, running, make_study, train):
        study = make_study(title="From question to revocation")
        assert running.ask(DescribeRequest(study=study)).rule == "not-approved"
        assert study.id in [state.proposal.study.id for state in running.people.studies()]
        view = running.people.study(study.id[:12])
        assert (view.proposal.state, view.decision.allowed) == ("waiting", True)
        running.people.approve(Approve(study=study.id, by="Dr. Frei", until=NEXT_YEAR))
        reply = running.ask(DescribeRequest(study=study))
        assert isinstance(reply, DescribeReply)
        assert (reply.declared_patients, reply.description) == (20, "Squares from one machine")
        assert isinstance(train(running, study), TrainReply)
        assert running.people.revoke(Revoke(study=study.id, by="Dr. Frei")).rounds == 1
        assert train(running, study, 2).rule == "study-revoked"

    def test_who_withdraws_between_two_rounds_is_charged_for_one(self, running, make_study, train):
        study = make_study(title="Withdrawn between two rounds")
        running.approve(study)
        assert isinstance(train(running, study, 1), TrainReply)
        done = running.people.withdraw(Withdraw(by="Dr. Frei", patients=("0-3", "0-7", PATIENT)))
        assert (done.patients, done.known) == (3, 2)
        assert isinstance(train(running, study, 2), TrainReply)
        running.people.revoke(Revoke(study=study.id, by="Dr. Frei"))
        keys = SiteKeys.kept_in(running.service.folder)
        ledger = Ledger(running.service.folder / "ledger.sqlite", keys.owner)
        histories = ledger.budget.histories()
        ledger.close()
        gone = {keys.pseudonym(patient) for patient in ("0-3", "0-7")}
        steps = {name: sum(cost.steps for cost in history) for name, history in histories.items()}
        ((stayed,), (left,)) = ({steps[name] for name in names} for names in (steps.keys() - gone, gone))
        assert stayed - left == study.training.steps

    def test_people_decide_while_a_round_trains(self, running, make_study, train):
        study = make_study(title="A long round", training={"steps": 250})
        running.approve(study)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(train, running, study)
            until(lambda: running.people.study(study.id).rounds == 1)
            running.people.revoke(Revoke(study=study.id, by="Dr. Frei"))
            assert not answer.done()
            assert isinstance(answer.result(), TrainReply)
        assert train(running, study, 2).rule == "study-revoked"

    def test_after_kill_minus_nine_the_next_goes_on(self, running, make_study, train):
        study = make_study(title="Killed between two rounds")
        running.approve(study)
        assert isinstance(train(running, study, 1), TrainReply)
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        running.start()
        assert train(running, study, 2).steps == 2 * study.training.steps

    @pytest.mark.attack(TWO, held_by="a lock on the folder, which falls with its process")
    def test_its_folder_is_not_served_twice(self, running):
        with (
            pytest.raises(ConfigError, match="another custodian serves it"),
            alone_in(running.service.folder),
        ):
            pass

    def test_nothing_it_has_written_names_a_patient(self, running):
        done = running.people.withdraw(Withdraw(by="Dr. Frei", patients=(PATIENT,)))
        assert done.known == 0
        kept = [path for path in running.service.folder.rglob("*") if path.is_file()]
        assert {"ledger.sqlite", "000001.jsonl"} <= {path.name for path in kept}
        assert not [path for path in [*kept, running.folder / "log"] if PATIENT.encode() in path.read_bytes()]

    @pytest.mark.mutant(NAMED, how="lines, which are not for collectors")
    def test_lines_tell_what_data_cannot_be_read(self, running, make_study, train):
        failing(running, make_study, train)
        assert UNREADABLE in running.log

    def test_its_log_has_a_line_for_each_record_and_says_where_it_answers(self, running):
        lines = running.log.splitlines()
        assert all(line[:3] == "202" for line in lines)
        assert any(f"relay={running.service.relay} admin={running.service.admin}" in line for line in lines)

    def test_sigterm_ends_it_and_its_sockets(self, running):
        assert running.end(signal.SIGTERM) == 0
        assert running.log.splitlines()[-1].endswith("custodian of alder: stopped")
        assert not running.service.relay.exists()
        assert not running.service.admin.exists()


class TestCollectedLog:
    @pytest.mark.deployment  # for its time
    @pytest.mark.attack(NAMED, held_by="types and places of exceptions, and messages of our own alone")
    def test_it_is_json_and_names_no_patient(self, monkeypatch, tmp_path, write_hospital, make_study, train):
        monkeypatch.setenv("WARDROUND_LOG", "json")
        with Process(write_hospital(tmp_path)) as process:
            process.start()
            reference = failing(process, make_study, train)
            assert UNREADABLE not in process.log
            told = [json.loads(line) for line in process.log.splitlines()]
        (failed,) = [each for each in told if reference in each["message"]]
        assert "RuntimeError" in failed["exception"]
        assert "toy_task.py" in failed["exception"]


class TestFolder:
    def test_it_is_the_custodian_s_alone(self, tmp_path):
        with alone_in(tmp_path / "state"):
            assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        with alone_in(tmp_path / "state"):
            pass

    @pytest.mark.mutant(TWO, "waits for no lock")
    def test_without_the_lock_two_would_serve_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr("federation.files.fcntl.flock", lambda *_: None)
        with alone_in(tmp_path / "state"), alone_in(tmp_path / "state"):
            pass


BROKEN = {
    "an unknown key": ({"polciy": {}}, ConfigError, "did you mean 'policy'?"),
    "an unknown rule": ({"policy": {"minimum_patient": 1}}, ConfigError, "minimum_patient is not a setting"),
    "no policy": ({"policy": None}, ConfigError, "site.yaml: policy=None"),
    "a relative path": ({"service": {"folder": "state"}}, ConfigError, "service: folder=state is relative"),
    "approval by itself": ({"approval": "configuration"}, ConfigError, "approval='configuration'"),
    "a task that is not there": ({"policy": {"tasks": ["no_such_task"]}}, ConfigError, "no_such_task"),
}


class TestFailsClosed:
    def refused(self, file, kind, said):
        with pytest.raises(kind) as error:
            run_custodian(hospital(file))
        assert said in str(error.value)
        assert not list(file.parent.rglob("*.sock"))

    @pytest.mark.parametrize("what", BROKEN)
    def test_a_config_that_is_not_understood_serves_nothing(self, what, tmp_path, write_hospital):
        changes, kind, said = BROKEN[what]
        self.refused(write_hospital(tmp_path, **changes), kind, said)

    def test_nor_does_one_that_is_no_yaml_or_no_file(self, tmp_path):
        self.refused(tmp_path / "site.yaml", ConfigError, "is no file")
        (tmp_path / "site.yaml").write_text("name: [")
        self.refused(tmp_path / "site.yaml", ConfigError, "site.yaml")

    def test_sockets_in_one_folder_are_refused(self, tmp_path, write_hospital):
        file = write_hospital(tmp_path, service={"admin": str(tmp_path / "relay" / "admin.sock")})
        self.refused(file, ConfigError, "give each a folder")

    def test_keys_that_others_may_read_are_refused(self, tmp_path, write_hospital):
        file = write_hospital(tmp_path)
        SiteKeys.kept_in(tmp_path / "state")
        (tmp_path / "state" / "keys" / "noise").chmod(0o644)
        self.refused(file, DataError, "chmod 600 it")

    def test_a_ledger_that_is_not_whole_is_refused(self, tmp_path, write_hospital):
        file = write_hospital(tmp_path)
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "ledger.sqlite").write_bytes(b"\0" * 5000)
        self.refused(file, LedgerError, "ledger.sqlite")

    def test_whoever_types_it_sees_the_reason_and_exit_code_1(self, tmp_path, write_hospital):
        file = write_hospital(tmp_path, polciy={})
        said = subprocess.run(
            [sys.executable, "-m", "client_app.cli", "custodian", "--config", str(file)],
            cwd=Path(client_app.__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 1
        assert "polciy is not a setting; did you mean 'policy'?" in said.stderr
