"""What the hospital's people can ask of the custodian, and that nobody else can."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial

import httpx
import pytest

from client_app.custodian import admin
from client_app.custodian.admin import admin_app
from client_app.custodian.approvals import Agreement
from client_app.custodian.ledger.cost import Cost
from client_app.custodian.opening import Opener
from client_app.custodian.service import relay_app
from client_app.desk.questions import Room, RosterState, Studies, StudyState, StudyView, Withdrawn
from client_app.training.local_round import LocalTraining
from federation.accounting import epsilon_spent
from federation.errors import StorageError
from federation.messages import DescribeReply, DescribeRequest, RefusalReply, TrainReply, TrainRequest
from federation.promise import noise_multiplier

NEXT_YEAR = datetime.now(UTC).date() + timedelta(days=365)
DECIDES = "a relay that asks for what only the hospital's people may do"
WAITS = "to keep a revocation waiting behind a round that trains"
NAMES = "to read of patients in what the admin socket logs"
PATIENT = "Erika Mustermann"


def post(app, operation, question, method="POST"):
    """What the app answers."""

    async def posted():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://custodian/v1/"
        ) as client:
            return await client.request(method, operation, content=json.dumps(question))

    return asyncio.run(posted())


@pytest.fixture
def custodian(make_custodian):
    """One whose people decide."""
    return make_custodian(approval="operator")


@pytest.fixture
def study(make_study):
    return make_study()


@pytest.fixture
def ask(custodian):
    """Ask at the admin socket of ``of``; returns the answer as ``kind``."""

    def asked(operation, kind=None, of=custodian, **question):
        answer = post(admin_app(of), operation, question)
        if kind is None:
            assert answer.status_code != 200
            return RefusalReply.model_validate_json(answer.content)
        assert answer.status_code == 200, answer.text
        return kind.model_validate_json(answer.content)

    return asked


@pytest.fixture
def train(start_of):
    def trained(custodian, study, number=1):
        return custodian.handle(TrainRequest(study=study, round=number, parameters=start_of(study)))

    return trained


def approved(ask, study, **agreement):
    return ask("approve", StudyState, study=study.id, by="Dr. Frei", until=str(NEXT_YEAR), **agreement)


class TestStudies:
    def test_a_study_waits_is_approved_runs_and_is_revoked(self, custodian, study, ask, train):
        train(custodian, study)
        (state,) = ask("studies", Studies).studies
        assert (state.proposal.study, state.proposal.state, state.rounds) == (study, "waiting", 0)
        state = approved(ask, study, epsilon_cap=6.0)
        assert (state.proposal.state, state.proposal.approval.until) == ("approved", NEXT_YEAR)
        assert isinstance(train(custodian, study), TrainReply)
        state = ask("study", StudyView, study=study.id[:9])
        assert state.rounds == 1
        assert 0 < state.epsilon == state.epsilon_everybody < study.privacy.epsilon
        assert ask("revoke", StudyState, study=study.id[:9], by="Dr. Frei").proposal.state == "revoked"
        assert train(custodian, study, 2).rule == "study-revoked"

    @pytest.mark.parametrize(("everybody", "bounded"), [(3.0, True), (None, False)])
    def test_where_noise_is_shared_it_tells_what_was_promised_and_what_everybody_has_learnt(
        self, everybody, bounded, custodian, study, ask
    ):
        cost = Cost(2, 1.0, noise_everybody=everybody, noise_coordinator=5.0)
        budget = custodian.ledger.budget
        custodian.ledger.studies.ask(study)
        budget.start(study.id, "train", cost, {"anna"}, cap=None, accept=lambda members: None)
        budget.reserve(study.id, "train", round_number=1, asked="a" * 64, cost=cost, log=custodian.audit.mark)
        state = ask("study", StudyView, study=study.id)
        delta = study.privacy.delta
        assert state.epsilon == epsilon_spent(5.0, 1.0, 2, delta)
        assert state.epsilon_everybody == (epsilon_spent(3.0, 1.0, 2, delta) if bounded else None)

    def test_the_last_day_is_the_studys_own_where_nobody_says_another(self, custodian, make_study, ask):
        study = make_study(expires="2999-12-31")
        custodian.handle(DescribeRequest(study=study))
        state = ask("approve", StudyState, study=study.id, by="Dr. Frei")
        assert state.proposal.approval.until == date(2999, 12, 31)

    def test_a_study_without_a_last_day_needs_one(self, custodian, study, ask):
        custodian.handle(DescribeRequest(study=study))
        refusal = ask("approve", study=study.id, by="Dr. Frei")
        assert refusal.rule == "ConfigError"
        assert refusal.reason.endswith("give --until DATE")
        assert custodian.ledger.studies.find(study.id).state == "waiting"

    def test_what_the_policy_refuses_cannot_be_approved_and_its_code_is_not_read(
        self, custodian, make_custodian, study, ask
    ):
        custodian.handle(DescribeRequest(study=study))
        stricter = make_custodian(approval="operator", policy={"tasks": ["another_task"]})
        view = ask("study", StudyView, of=stricter, study=study.id)
        assert (view.decision.allowed, view.decision.rule, view.release) == (False, "task-not-allowed", None)
        refusal = ask("approve", of=stricter, study=study.id, by="Dr. Frei", until=str(NEXT_YEAR))
        assert refusal.rule == "task-not-allowed"
        assert custodian.ledger.studies.find(study.id).state == "waiting"

    def test_at_night_a_study_can_be_approved_that_trains_by_day(self, custodian, make_custodian, study, ask):
        custodian.handle(DescribeRequest(study=study))
        now = datetime.now(UTC)
        hours = {"start": f"{now + timedelta(hours=2):%H:%M}", "end": f"{now + timedelta(hours=3):%H:%M}"}
        closed = make_custodian(approval="operator", policy={"hours": hours})
        assert ask("study", StudyView, of=closed, study=study.id).decision.rule == "outside-hours"
        answer = ask("approve", StudyState, of=closed, study=study.id, by="Dr. Frei", until=str(NEXT_YEAR))
        assert answer.proposal.state == "approved"

    @pytest.mark.parametrize(
        ("operation", "question", "said"),
        [
            ("study", {"study": "feed"}, "no study here begins so"),
            ("revoke", {"study": "", "by": "Dr. Frei"}, "no study here begins so"),
            ("revoke", {"study": "feed", "by": " "}, "by: String should have at least 1 character"),
            ("revoke", {"study": "feed"}, "by: Field required"),
            ("revoke", {"study": 7, "by": "Dr. Frei"}, "study: Input should be a valid string"),
            ("revoke", {"study": "feed", "by": "Dr. Frei", "for": 1}, "for: Extra inputs"),
            ("approve", {"study": "feed", "by": "x", "epsilon_cap": "6"}, "epsilon_cap: Input should be"),
            ("withdraw", {"by": "Dr. Frei", "patients": []}, "at least 1 item"),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_told_in_full(self, operation, question, said, ask):
        assert said in ask(operation, **question).reason

    def test_nothing_is_answered_to_what_is_no_post(self, custodian):
        assert post(admin_app(custodian), "studies", {}, "GET").status_code == 404


class TestRoom:
    @pytest.fixture
    def room(self, ask):
        return lambda study, **changes: ask(
            "room", Room, study=study.id, noise_multiplier=noise_multiplier(study), **changes
        )

    @pytest.fixture
    def begin(self, study, train):
        """The first round of the first study."""

        def begun(custodian):
            train(custodian, study)
            custodian.approvals.approve(study.id, Agreement(by="Dr. Frei", until=NEXT_YEAR))
            assert isinstance(train(custodian, study), TrainReply)

        return begun

    @pytest.fixture
    def second(self, make_study):
        return make_study(title="Squares again")

    def test_before_any_study_everybody_has_all_of_their_budget(self, custodian, study, room):
        custodian.handle(DescribeRequest(study=study))
        found = room(study)
        assert (found.started, found.known, found.room, found.newcomers) == (False, None, None, True)
        assert 0 < found.left < found.lifetime.epsilon == 30.0

    def test_the_next_study_leaves_what_the_first_has_not_taken(self, custodian, study, begin, room, second):
        custodian.handle(DescribeRequest(study=study))
        alone = room(study).left
        begin(custodian)
        assert (room(study).started, room(study).left) == (True, alone)
        custodian.handle(DescribeRequest(study=second))
        found = room(second)
        assert (found.started, found.known, found.room) == (False, 24, 24)
        assert found.left < alone

    def test_whoever_has_no_budget_is_counted_out_and_no_small_number_is_told(
        self, make_custodian, begin, room, second
    ):
        lifetime = {"epsilon": 12.0, "delta": 1e-5, "against": "everybody"}
        poor = make_custodian(approval="operator", policy={"lifetime": lifetime})
        begin(poor)
        poor.handle(DescribeRequest(study=second))
        found = room(second, of=poor)
        assert (found.known, found.room) == (24, None)

    def test_a_lifetime_of_one_studys_epsilon_has_no_room_for_it(self, make_custodian, study, room):
        lifetime = {"epsilon": study.privacy.epsilon, "delta": 1e-5, "against": "everybody"}
        strict = make_custodian(approval="operator", policy={"lifetime": lifetime})
        strict.handle(DescribeRequest(study=study))
        assert not room(study, of=strict).newcomers

    def test_who_has_withdrawn_is_not_counted(self, custodian, begin, room, second):
        begin(custodian)
        custodian.handle(DescribeRequest(study=second))
        custodian.withdraw(["0-1", "0-2", "0-3"], "Dr. Frei")
        assert room(second).known == 21
        custodian.withdraw(["0-4", "0-5"], "Dr. Frei")
        assert room(second).known is None, "19 are fewer than the minimum of 20"

    def test_the_noise_must_be_that_of_a_study_with_privacy(self, custodian, study, ask):
        custodian.handle(DescribeRequest(study=study))
        assert "privacy=local" in ask("room", study=study.id, noise_multiplier=None).reason


class TestRoster:
    @pytest.fixture
    def pin(self, ask):
        return lambda roster, kind=None: ask("pin", kind, roster=roster.model_dump(), by="Dr. Frei")

    @pytest.fixture
    def roster_of(self, ask, make_roster):
        return partial(make_roster, ask("roster", RosterState).own)

    def test_at_first_there_is_none_and_others_must_know_the_key_that_signs_the_log(self, custodian, ask):
        state = ask("roster", RosterState)
        assert state.pinned is None
        assert (state.own.site, state.own.key) == (custodian.audit.head.site, custodian.audit.head.key)

    def test_it_is_pinned_by_somebody_whom_the_log_names(self, custodian, ask, pin, roster_of):
        roster = roster_of()
        assert pin(roster, RosterState).pinned == roster
        assert ask("roster", RosterState).pinned == roster == custodian.roster.read()
        *_, entry = custodian.audit.entries()
        assert (entry.event, entry.actor) == ("pinned", "Dr. Frei")
        assert entry.facts == {"version": 1, "roster": roster.hash}

    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"version": 1}, "roster-version"),
            ({"version": 2, "dogwood": "d0" * 32}, "roster-version"),
            ({"version": 3, "coordinator": bytes(32)}, "roster-coordinator"),
            ({"version": 3, "alder": "a1" * 32}, "roster-own-key"),
        ],
    )
    def test_what_may_not_follow_is_refused_by_its_rule_and_not_logged(
        self, changes, rule, custodian, pin, roster_of
    ):
        pin(roster_of(2), RosterState)
        before = custodian.audit.mark
        assert pin(roster_of(**changes)).rule == rule
        assert custodian.roster.read() == roster_of(2)
        assert custodian.audit.mark == before

    def test_nothing_is_pinned_of_which_the_log_cannot_tell(self, custodian, pin, roster_of, monkeypatch):
        def full(*args, **kwargs):
            raise StorageError("the disk is full")

        monkeypatch.setattr(custodian.audit, "append", full)
        assert pin(roster_of()).rule == "StorageError"
        assert custodian.roster.read() is None

    def test_a_damaged_one_is_told_and_not_replaced(self, ask, pin, roster_of, tmp_path):
        (tmp_path / "roster.json").write_text("{}")
        assert "roster.json is no roster" in ask("roster").reason
        assert pin(roster_of()).rule == "DataError"


def both_on_one_socket(custodian):
    """Mutant: an app that answers the relay and the hospital's people."""
    app = relay_app(custodian.handle)
    app.router.routes.extend(admin_app(custodian).routes)
    return app


QUESTIONS = {
    "studies": {},
    "study": {"study": "2"},
    "room": {"study": "2", "noise_multiplier": 1.0},
    "approve": {"study": "", "by": "relay", "until": str(NEXT_YEAR)},
    "revoke": {"study": "", "by": "relay"},
    "roster": {},
    "pin": {
        "by": "relay",
        "roster": {
            "version": 1,
            "coordinator": "c0" * 32,
            "keys": {name: f"{number:064x}" for number, name in enumerate(("alder", "beech", "cedar"))},
            "signature": "c0" * 64,
        },
    },
    "withdraw": {"by": "relay", "patients": ["0-1"]},
}


class TestRelay:
    def decide(self, app, operation, study):
        question = QUESTIONS[operation]
        if "study" in question:
            question = question | {"study": study.id}
        return post(app, operation, question).status_code

    @pytest.mark.attack(DECIDES, held_by="two apps on two sockets, in folders apart")
    @pytest.mark.parametrize("operation", QUESTIONS)
    def test_there_is_nothing_to_decide_at_the_relays_socket(self, operation, custodian, study):
        custodian.handle(DescribeRequest(study=study))
        assert self.decide(relay_app(custodian.handle), operation, study) == 404
        assert custodian.ledger.studies.find(study.id).state == "waiting"
        assert custodian.ledger.consent.withdrawn == frozenset()
        assert custodian.roster.read() is None

    @pytest.mark.attack(DECIDES, held_by="two apps on two sockets, in folders apart")
    def test_every_operation_was_tried(self, custodian):
        known = {route.path.removeprefix("/v1/") for route in admin_app(custodian).routes}
        assert known == set(QUESTIONS)

    @pytest.mark.mutant(DECIDES, "serves both on one socket")
    def test_on_one_socket_the_relay_would_approve_its_own_study(self, custodian, study):
        custodian.handle(DescribeRequest(study=study))
        assert self.decide(both_on_one_socket(custodian), "approve", study) == 200
        assert isinstance(custodian.handle(DescribeRequest(study=study)), DescribeReply)


class TestWhileARoundTrains:
    @pytest.fixture
    def training(self, custodian, study, train, ask, monkeypatch):
        """A round that trains until ``go_on``; yields what it will answer."""
        train(custodian, study)
        approved(ask, study)
        begun, go_on = threading.Event(), threading.Event()

        class Long(LocalTraining):
            def run(self, *args):
                begun.set()
                go_on.wait()
                return super().run(*args)

        monkeypatch.setattr("client_app.custodian.opening.LocalTraining", Long)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(train, custodian, study)
            begun.wait()
            yield answer, go_on
            go_on.set()

    @pytest.mark.attack(WAITS, held_by="decisions take no turn with rounds")
    def test_people_decide_at_once_and_the_round_ends_as_the_last(
        self, training, custodian, study, ask, train
    ):
        answer, go_on = training
        assert ask("studies", Studies).studies[0].rounds == 1
        assert ask("withdraw", Withdrawn, by="Dr. Frei", patients=["0-1"]).patients == 1
        assert ask("revoke", StudyState, study=study.id, by="Dr. Frei").proposal.state == "revoked"
        assert not answer.done()
        go_on.set()
        assert isinstance(answer.result(), TrainReply), "what was charged before is still released"
        assert train(custodian, study, 2).rule == "study-revoked"
        assert [entry.event for entry in custodian.audit.entries()][-5:] == [
            "reserved",
            "withdrawn",
            "revoked",
            "released",
            "refused",
        ]

    @pytest.mark.attack(WAITS, held_by="decisions take no turn with rounds")
    def test_nor_does_a_decision_wait_for_somebody_who_looks(self, custodian, study, monkeypatch):
        custodian.handle(DescribeRequest(study=study))
        looking, seen = threading.Event(), threading.Event()

        def look(custodian, question):
            looking.set()
            seen.wait()
            return Studies(studies=())

        monkeypatch.setattr(admin, "_studies", look)
        app = admin_app(custodian)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, app, "studies", {})
            looking.wait()
            assert post(app, "revoke", {"study": study.id, "by": "Dr. Frei"}).status_code == 200
            assert not answer.done()
            seen.set()
            assert answer.result().status_code == 200

    @pytest.mark.mutant(WAITS, "takes turns with rounds")
    def test_with_turns_a_revocation_would_wait(self, training, custodian, study, ask, monkeypatch):
        _, go_on = training
        revoke = admin._revoke

        def in_turn(custodian, question):
            with custodian._turn:
                return revoke(custodian, question)

        monkeypatch.setattr(admin, "_revoke", in_turn)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, "revoke", StudyState, study=study.id, by="Dr. Frei")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            go_on.set()
            assert waiting.result().proposal.state == "revoked"


def test_a_study_that_is_revoked_while_it_is_opened_keeps_nothing_aside(
    custodian, study, train, ask, monkeypatch
):
    train(custodian, study)
    approved(ask, study)

    opens = Opener.open

    def revoked_before(*args):
        custodian.approvals.revoke(study.id, "Dr. Frei")
        return opens(*args)

    monkeypatch.setattr(Opener, "open", revoked_before)
    assert train(custodian, study).rule == "study-revoked"
    histories = custodian.ledger.budget.histories()
    assert len(histories) == 24
    assert not any(histories.values())


WRONG = {
    "a name where a list belongs": {"by": "Dr. Frei", "patients": PATIENT},
    "a name that is too long": {"by": "Dr. Frei", "patients": [PATIENT * 100]},
    "a name in place of a key": {"by": "Dr. Frei", "patients": [7], PATIENT: 1},
}


class TestNames:
    @pytest.mark.attack(NAMES, held_by="no error repeats what was sent")
    @pytest.mark.parametrize("question", WRONG.values(), ids=WRONG)
    def test_a_question_that_is_wrong_is_not_repeated_in_the_log(self, question, ask, caplog):
        ask("withdraw", **question)
        assert "MessageError" in caplog.text
        assert PATIENT not in caplog.text

    @pytest.mark.mutant(NAMES, "logs errors as they come")
    def test_pydantics_own_words_would_name_the_patient(self, ask, caplog, monkeypatch):
        def as_it_comes(error):
            admin.log.warning("%s", error)
            return "wrong"

        monkeypatch.setattr(admin, "what_is_wrong", as_it_comes)
        ask("withdraw", **WRONG["a name where a list belongs"])
        assert PATIENT in caplog.text

    def test_what_is_unexpected_is_told_by_its_kind_only(self, ask, custodian, monkeypatch):
        def broken(*_):
            raise RuntimeError(f"no account of {PATIENT}")

        monkeypatch.setattr(type(custodian), "withdraw", broken)
        refusal = ask("withdraw", by="Dr. Frei", patients=[PATIENT])
        assert refusal.rule == "unexpected-RuntimeError"
        assert PATIENT not in refusal.model_dump_json()
