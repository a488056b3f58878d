"""Whoever withdraws is in no round that is not charged yet, and nothing but the ledger says who it is."""

from contextlib import contextmanager

import pytest

from client_app.custodian import audit_log, opening
from client_app.custodian.answers import Answers
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.audit_log import AuditEntry, hash_of
from federation.messages import DescribeRequest, TrainReply, TrainRequest

COUNTED = "a withdrawal that is found by trying out what a signed head is the hash of"
GOES_ON = "to train on, with a patient who has withdrawn"
LEAVES = ["0-3", "0-7"]
EVERYBODY = {f"0-{number}" for number in range(24)}


class Named(Patients):
    def __init__(self, examples):
        super().__init__(examples)
        self.identities = set(examples.identities)


class OpensOnce(Custodian):
    """Mutant: looks at who has withdrawn only when a study is opened."""

    def _open(self, study):
        return self._opened or super()._open(study)


@pytest.fixture
def study(make_study):
    return make_study()


@pytest.fixture
def trained(monkeypatch):
    """Who was trained on, by round."""
    rounds = {}

    class Watched(LocalTraining):
        def run(self, round_number, *rest):
            rounds[round_number] = self._patients.identities
            return super().run(round_number, *rest)

    monkeypatch.setattr(opening, "Patients", Named)
    monkeypatch.setattr(opening, "LocalTraining", Watched)
    return rounds


@pytest.fixture
def make(make_site, tmp_path):
    return lambda kind: kind(make_site(), tmp_path, SiteKeys.of(bytes(32)))


@pytest.fixture
def train(start_of, study):
    def ask(custodian, number):
        return custodian.handle(TrainRequest(study=study, round=number, parameters=start_of(study)))

    return ask


def withdraw_before_the_charge(custodian, monkeypatch):
    """Somebody withdraws when a round's study was opened, and its charge is not made yet."""

    class Meanwhile(Answers):
        @contextmanager
        def alone(self):
            custodian.withdraw(LEAVES, "Dr. Frei")
            with super().alone():
                yield

    monkeypatch.setattr("client_app.custodian.custodian.Answers", Meanwhile)


@pytest.mark.attack(GOES_ON, held_by="the list of withdrawals, looked at after each charge")
def test_the_next_round_of_a_running_study_goes_without_them(make, train, trained):
    custodian = make(Custodian)
    assert isinstance(train(custodian, 1), TrainReply)
    assert custodian.withdraw(LEAVES, "Dr. Frei") == (2, 2)
    assert isinstance(train(custodian, 2), TrainReply)
    assert trained == {1: EVERYBODY, 2: EVERYBODY - set(LEAVES)}


@pytest.mark.attack(GOES_ON, held_by="the list of withdrawals, looked at after each charge")
def test_a_round_that_is_asked_for_at_the_same_moment_goes_without_them(make, train, trained, monkeypatch):
    custodian = make(Custodian)
    withdraw_before_the_charge(custodian, monkeypatch)
    assert isinstance(train(custodian, 1), TrainReply)
    assert trained == {1: EVERYBODY - set(LEAVES)}


@pytest.mark.mutant(GOES_ON, "looks at withdrawals once a study")
def test_a_custodian_that_looks_once_goes_on_with_them(make, train, trained):
    custodian = make(OpensOnce)
    train(custodian, 1)
    custodian.withdraw(LEAVES, "Dr. Frei")
    train(custodian, 2)
    assert trained[2] == EVERYBODY


@pytest.mark.mutant(GOES_ON, "looks at withdrawals before the charge only")
def test_one_that_looks_before_the_charge_only_trains_on_whom_nobody_has_charged(
    make, train, trained, monkeypatch
):
    custodian = make(OpensOnce)
    withdraw_before_the_charge(custodian, monkeypatch)
    train(custodian, 1)
    assert trained[1] == EVERYBODY


def test_too_few_who_stay_end_the_study_here(make, train):
    custodian = make(Custodian)
    train(custodian, 1)
    custodian.withdraw([f"0-{number}" for number in range(5)], "Dr. Frei")
    assert train(custodian, 2).rule == "cohort-too-small"


def test_withdrawing_twice_is_withdrawing_once(make, train):
    custodian = make(Custodian)
    train(custodian, 1)
    custodian.withdraw(LEAVES, "Dr. Frei")
    before = custodian.ledger.budget.histories()
    assert custodian.withdraw([*LEAVES, *LEAVES, "0-4"], "Dr. Frei") == (1, 3)
    assert custodian.withdraw(LEAVES, "Dr. Frei") == (0, 2)
    changed = [
        name for name, history in custodian.ledger.budget.histories().items() if history != before[name]
    ]
    assert len(changed) == 1


def test_somebody_unknown_is_left_out_whenever_they_come(make, train, trained):
    custodian = make(Custodian)
    assert custodian.withdraw(LEAVES, "Dr. Frei") == (2, 0)
    assert isinstance(train(custodian, 1), TrainReply)
    assert trained == {1: EVERYBODY - set(LEAVES)}


def test_the_audit_log_tells_how_many_and_by_whom_and_no_more(make, tmp_path):
    custodian = make(Custodian)
    custodian.withdraw(["Erika Mustermann", "Max Mustermann"], "Dr. Frei")
    (entry,) = custodian.audit.entries()
    assert (entry.event, entry.actor, entry.facts) == ("withdrawn", "Dr. Frei", {"patients": 2})
    names = [b"Mustermann", SiteKeys.of(bytes(32)).pseudonym("Erika Mustermann").encode()]
    log = b"".join(path.read_bytes() for path in (tmp_path / "audit").glob("*.jsonl"))
    assert not any(name in log for name in names)


@pytest.fixture
def tried_out(make, study):
    """What the coordinator finds that looks before and after somebody withdraws, and guesses the moment."""

    def withdrawn():
        custodian = make(Custodian)
        before = custodian.handle(DescribeRequest(study=study)).heads[0]
        custodian.withdraw(LEAVES, "Dr. Frei")
        after = custodian.handle(DescribeRequest(study=study)).heads[0]
        (*_, entry) = custodian.audit.entries()
        return [n for n in range(10) if hash_of(guess(before, entry.time, n).encode()) == after.hash]

    def guess(before, time, patients):
        return AuditEntry(
            sequence=before.sequence + 1,
            time=time,
            actor="Dr. Frei",
            event="withdrawn",
            facts={"patients": patients},
            previous=before.hash,
        ).line()

    return withdrawn


@pytest.mark.attack(COUNTED, held_by="every entry has a random salt")
def test_the_hash_of_an_entry_does_not_tell_how_many_have_withdrawn(tried_out):
    assert tried_out() == []


@pytest.mark.mutant(COUNTED, "entries without salt")
def test_without_salt_it_does(tried_out, monkeypatch):
    monkeypatch.setattr(audit_log.secrets, "token_hex", lambda _: "")
    assert tried_out() == [len(LEAVES)]
