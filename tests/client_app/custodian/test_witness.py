import shutil
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from client_app.custodian import witness
from client_app.custodian.audit_log import AuditLog
from client_app.custodian.keys import SiteKeys
from client_app.custodian.witness import Witness, told_charges
from client_app.wire import from_bytes, to_bytes
from federation.audit_log import AuditHead, sign_head
from federation.errors import AuditError, LedgerError, MessageError, StorageError
from federation.messages import MOST_HEADS, DescribeRequest, RefusalReply, TrainReply, TrainRequest

RESTORED = "ledger and audit log put back together to yesterday's copy"
ONE_RESTORED = "the ledger or the audit log alone put back to yesterday's copy"
LOCKED_OUT = "heads of hospitals that nobody knows, until no answer can be read any more"
CLOCK = "the clock set back, so that what has expired is open again"
BIRCH = SiteKeys.seeded(1, "birch").identity


@pytest.fixture
def study(make_study):
    return make_study()


@pytest.fixture
def ask(start_of):
    """Ask a custodian to train a round, with the heads that others hold."""

    def asked(custodian, study, round_number, heads=()):
        return custodian.handle(
            TrainRequest(study=study, round=round_number, parameters=start_of(study), heads=heads)
        )

    return asked


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def yesterday(make_custodian, ask, study, site, tmp_path):
    """A copy of the site after round 1; the site itself has released round 2 since, with the head given."""
    custodian = make_custodian(folder=site)
    ask(custodian, study, 1)
    copy = tmp_path / "yesterday"
    shutil.copytree(site, copy)
    reply = ask(custodian, study, 2)
    custodian.ledger.close()
    return copy, reply.heads


def put_back(copy, site, *names):
    for name in names:
        for old in site.glob(f"{name}*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for kept in copy.glob(f"{name}*"):
            (shutil.copytree if kept.is_dir() else shutil.copy)(kept, site / kept.name)


@pytest.fixture
def put_back_whole(yesterday, site):
    """The site as it was yesterday, and the heads that others hold since."""
    put_back(yesterday[0], site, "ledger.sqlite", "audit", "studies")
    return site, yesterday[1]


@pytest.mark.attack(RESTORED, held_by="each request brings the last head that others hold")
def test_a_site_that_was_put_back_refuses_whoever_remembers_more(put_back_whole, make_custodian, ask, study):
    site, heads = put_back_whole
    reply = ask(make_custodian(folder=site), study, 2, heads)
    assert isinstance(reply, RefusalReply)
    assert reply.rule == "audit-log-behind"
    again = ask(make_custodian(folder=site), study, 3, heads)
    assert again.rule == "audit-log-behind", "also after what it has logged since"


@pytest.mark.mutant(RESTORED, "requests bring no heads")
def test_a_site_that_was_put_back_and_hears_nothing_spends_twice(
    put_back_whole, make_custodian, study, another_model
):
    site, _ = put_back_whole
    request = TrainRequest(study=study, round=2, parameters=another_model(study, 1))
    assert isinstance(make_custodian(folder=site).handle(request), TrainReply)


@pytest.mark.attack(ONE_RESTORED, held_by="the ledger names the log's end, the log every charge")
@pytest.mark.parametrize(("what", "error"), [("ledger.sqlite", LedgerError), ("audit", AuditError)])
def test_neither_can_be_put_back_alone(what, error, yesterday, site, make_custodian):
    put_back(yesterday[0], site, what)
    with pytest.raises(error, match="older copy"):
        make_custodian(folder=site)


@pytest.mark.attack(ONE_RESTORED, held_by="the ledger names the log's end, the log every charge")
@pytest.mark.parametrize(("what", "error"), [("ledger.sqlite", LedgerError), ("audit", AuditError)])
def test_neither_can_be_left_out(what, error, yesterday, site, make_custodian):
    put_back(site / "nothing", site, what)
    with pytest.raises(error):
        make_custodian(folder=site)


@pytest.mark.mutant(ONE_RESTORED, "nobody compares them at the start")
def test_without_comparing_them_an_old_ledger_is_taken(yesterday, site, make_custodian, monkeypatch):
    put_back(yesterday[0], site, "ledger.sqlite")
    monkeypatch.setattr(Witness, "_reconcile", lambda self, ledger: None)
    assert make_custodian(folder=site).ledger.budget.charges()[-1].round == 1


def test_a_charge_that_the_log_did_not_tell_in_time_is_told_at_the_start(
    make_custodian, ask, study, site, monkeypatch
):
    custodian = make_custodian(folder=site)
    ask(custodian, study, 1)
    with monkeypatch.context() as patch:

        def die(*args, **kwargs):
            raise KeyboardInterrupt

        patch.setattr(type(custodian), "_note", die)
        with pytest.raises(KeyboardInterrupt):
            ask(custodian, study, 2)
    entries = list(make_custodian(folder=site).audit.entries())
    assert (entries[-1].event, entries[-1].round, entries[-1].facts) == ("recovered", 2, {"charge": 2})


def test_a_charge_in_the_middle_that_the_log_never_told_is_told_at_the_start(
    make_custodian, ask, study, site, monkeypatch
):
    custodian = make_custodian(folder=site)
    with monkeypatch.context() as patch:

        def full(*args, **kwargs):
            raise StorageError("the disk is full")

        patch.setattr(type(custodian), "_note", full)
        assert ask(custodian, study, 1).rule == "StorageError"
    assert isinstance(ask(custodian, study, 2), TrainReply)
    entries = list(make_custodian(folder=site).audit.entries())
    assert (entries[-1].event, entries[-1].facts) == ("recovered", {"charge": 1})
    assert told_charges(entries) == {1, 2}


def test_another_sites_head_under_this_sites_name_is_refused(make_custodian, ask, study):
    forged = sign_head(BIRCH, "alder", 0, "0" * 64)
    assert ask(make_custodian(), study, 1, (forged,)).rule == "audit-log-behind"


class TestPeers:
    def head(self, sequence, identity=BIRCH):
        return sign_head(identity, "birch", sequence, f"{sequence:064x}")

    def test_what_others_signed_is_written_down_and_passed_on(self, make_custodian, ask, study):
        custodian = make_custodian()
        heads = ask(custodian, study, 1, (self.head(3),)).heads
        assert [head.site for head in heads] == ["alder", "birch"]
        assert heads[1] == self.head(3)
        assert make_custodian()._witness.heads[1] == self.head(3), "also after a restart"
        written = [entry for entry in custodian.audit.entries() if entry.event == "heads"]
        assert AuditHead.model_validate_json(written[0].facts["birch"]) == self.head(3)

    def test_only_news_is_written_down(self, make_custodian, ask, study):
        custodian = make_custodian()
        for number, sequence in enumerate((3, 3, 2, 5), start=1):
            ask(custodian, study, number, (self.head(sequence),))
        assert [e.event for e in custodian.audit.entries()].count("heads") == 2
        assert custodian._witness.heads[1] == self.head(5)

    def test_what_nobody_signed_is_not_kept(self, make_custodian, ask, study):
        custodian = make_custodian()
        ask(custodian, study, 1, (self.head(3).model_copy(update={"sequence": 4}),))
        assert [head.site for head in custodian._witness.heads] == ["alder"]

    @pytest.fixture
    def flood(self, make_custodian, study):
        """A custodian that was sent three times as many heads as a record may have."""

        def flooded(study=study, **changes):
            custodian = make_custodian(**changes)
            for number in range(3):
                names = [f"hospital_{number}_{place}" for place in range(MOST_HEADS)]
                heads = tuple(sign_head(BIRCH, name, 1, "0" * 64) for name in names)
                custodian.handle(DescribeRequest(study=study, heads=heads))
            return custodian

        return flooded

    def written(self, custodian):
        return [entry for entry in custodian.audit.entries() if entry.event == "heads"]

    @pytest.mark.attack(LOCKED_OUT, held_by="only heads of an approved study's hospitals are kept")
    def test_heads_of_hospitals_that_are_not_in_the_study_are_not_kept(self, flood, study):
        custodian = flood()
        assert self.written(custodian) == []
        reply = custodian.handle(DescribeRequest(study=study))
        assert from_bytes(to_bytes(reply)) == reply

    @pytest.mark.attack(LOCKED_OUT, held_by="only heads of an approved study's hospitals are kept")
    def test_a_study_that_nobody_agreed_to_leaves_no_heads(self, make_custodian, study):
        custodian = make_custodian(approval="operator")
        reply = custodian.handle(DescribeRequest(study=study, heads=(self.head(3),)))
        assert reply.rule == "not-approved"
        assert self.written(custodian) == []

    @pytest.mark.attack(LOCKED_OUT, held_by="only heads of an approved study's hospitals are kept")
    def test_of_more_hospitals_than_a_record_has_room_for_the_newest_heads_are_told(
        self, make_custodian, make_study
    ):
        names = [f"hospital_{place}" for place in range(2 * MOST_HEADS)]
        study, custodian = make_study(participants=["alder", *names]), make_custodian()
        for some in (names[:MOST_HEADS], names[MOST_HEADS:], names[:1]):
            heads = tuple(sign_head(BIRCH, name, MOST_HEADS - len(some) + 1, "0" * 64) for name in some)
            reply = custodian.handle(DescribeRequest(study=study, heads=heads))
        assert from_bytes(to_bytes(reply)) == reply
        told = [head.site for head in reply.heads]
        assert len(told) == MOST_HEADS
        assert told[0] == "alder"

    @pytest.mark.mutant(LOCKED_OUT, "whatever is signed is kept and told")
    def test_a_site_that_keeps_whatever_is_signed_can_be_locked_out(self, flood, study, monkeypatch):
        def keep(self, request):
            self._remember(head for head in request.heads if head.genuine)

        monkeypatch.setattr(Witness, "keep", keep)
        monkeypatch.setattr(
            Witness, "heads", property(lambda self: (self._audit.head, *self._peers.values()))
        )
        with pytest.raises(MessageError, match="heads"):
            from_bytes(to_bytes(flood().handle(DescribeRequest(study=study))))


class TestClock:
    @pytest.fixture
    def at(self, set_clock):
        """Set the clock that is looked at."""
        return partial(set_clock, witness)

    @pytest.mark.attack(CLOCK, held_by="time never goes back behind the audit log")
    def test_a_clock_that_was_set_back_trains_nothing(self, make_custodian, make_study, ask, at):
        custodian = make_custodian()
        study = make_study(expires=str(datetime.now(UTC).date()))
        assert isinstance(ask(custodian, study, 1), TrainReply)
        at(timedelta(days=-2))
        assert ask(custodian, study, 2).rule == "clock-set-back"

    @pytest.mark.attack(CLOCK, held_by="time never goes back behind the audit log")
    def test_what_has_expired_stays_so_on_a_clock_that_is_a_little_behind(
        self, make_custodian, tmp_path, monkeypatch
    ):
        custodian = make_custodian()
        custodian.audit.append("started", "custodian")
        seen = custodian.audit.latest
        assert custodian._witness.now() >= seen
        monkeypatch.setattr(type(custodian.audit), "latest", seen + timedelta(minutes=4))
        assert custodian._witness.now() == seen + timedelta(minutes=4)
        custodian._witness.require(DescribeRequest.model_construct(heads=()))

    @pytest.mark.mutant(CLOCK, "a custodian that asks only its clock")
    def test_a_custodian_that_asks_only_its_clock_takes_yesterday_for_today(
        self, make_custodian, make_study, ask, at, monkeypatch
    ):
        monkeypatch.setattr(AuditLog, "latest", None)
        at(timedelta(days=-2))
        expired = make_study(expires=str(datetime.now(UTC).date() - timedelta(days=1)))
        assert isinstance(ask(make_custodian(), expired, 1), TrainReply)
