"""Real custodians in secure sums, asked as a coordinator that may play foul would ask them."""

import hashlib
import shutil
import stat
from functools import partial

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.custodian import custodian as custodian_module
from client_app.custodian.answers import Answer
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.budget import Budget
from client_app.custodian.sums import Sums
from client_app.custodian.work import Training, Work
from client_app.training.batches import Patients
from federation.messages import (
    BINS,
    DescribeRequest,
    EvaluateRequest,
    KeysReply,
    KeysRequest,
    MaskedReply,
    RefusalReply,
    TrainReply,
    TrainRequest,
    UnmaskReply,
    UnmaskRequest,
)
from federation.promise import evaluation_noise, noise_multiplier, seen
from federation.secure_sum.coordinator import Coordinator
from federation.secure_sum.messages import Agreement, OpenedShares
from federation.secure_sum.ring import decode
from federation.secure_sum.roster import Roster, SiteKey
from federation.secure_sum.states import Ready, from_bytes
from federation.sums import evaluation_grid, plan_of
from federation.tasks import load_task

SITES = ("alder", "birch", "cedar", "dogwood")
CHIEF = Ed25519PrivateKey.from_private_bytes(bytes(32))
PLAIN = "a plain update of a study that was approved with secure sums"
UNMASKED = "a vector that leaves without its mask"
AGAIN = "two vectors under one mask, by asking a round again"
MIXED = "training asked behind the last round, where it stands in one sum with the evaluation"
LOST = "one round in two sums, at hospitals that lost the states of their sums; their noise goes away"
TWO_SETS = "two survivor sets of one round, so that their difference is one hospital"


def secret_of(site):
    return hashlib.sha256(site.encode()).digest()


@pytest.fixture(scope="module")
def study(make_study):
    """Of four hospitals, one of which may collude and one drop out; every step is a sum."""
    return make_study(
        privacy={"mode": "distributed"},
        aggregation="secure",
        secure_sum={"colluding": 1, "dropouts": 1, "lost_rounds": 0, "weight_cap": 100},
        training={"steps": 1},
        participants=list(SITES),
        quorum=3,
        evaluation={"epsilon": 8.0},
    )


class Federation:
    """Four custodians, and an honest coordinator.

    Args:
        restarts: every question goes to a custodian that has just been started.
    """

    def __init__(self, folder, make_site, study, start, restarts=False):
        self.folder, self.make_site, self.study, self.start = folder, make_site, study, start
        self.restarts, self.running = restarts, {}
        keys = {site: SiteKeys.of(secret_of(site)) for site in SITES}
        self.roster = Roster.signed(CHIEF, 1, {site: key.public for site, key in keys.items()})
        self.policy = {}
        members = self.roster.only(study.participants)
        self.plan = plan_of(study, members, len(start))
        self.coordinator = Coordinator(self.plan, members)

    def pinned(self):
        for site in SITES:
            self.pin(site, self.roster)
        return self

    def copied(self, folder):
        """The same federation once more, where nobody has been asked anything since."""
        shutil.copytree(self.folder, folder)
        copy = Federation(folder, self.make_site, self.study, self.start)
        for advert in self.coordinator.adverts.values():
            copy.coordinator.take(advert)
        return copy

    def pin(self, site, roster):
        own = SiteKey(site=site, key=SiteKeys.of(secret_of(site)).public)
        self.custodian(site).roster.pin(roster, own)

    def change(self, **policy):
        """From now on the hospitals' policies say this."""
        self.policy = policy
        self.running.clear()

    def custodian(self, site):
        if self.restarts or site not in self.running:
            self.running[site] = self.started(site)
        return self.running[site]

    def started(self, site):
        policy = {
            "privacy_modes": ["local", "distributed"],
            "aggregation": ["secure"],
            "lifetime": {"epsilon": 30.0, "delta": 1e-5, "against": "coordinator"},
            "minimum_patients": 5,
        }
        data = {"parts": [SITES.index(site)], "of": len(SITES)}
        config = self.make_site(name=site, data=data, policy=policy | self.policy)
        return Custodian(config, self.folder / site, SiteKeys.of(secret_of(site)))

    def ask(self, site, request):
        return self.custodian(site).handle(request)

    def join(self):
        for site in SITES:
            question = KeysRequest(study=self.study, question=self.coordinator.advert_request())
            reply = self.ask(site, question)
            assert isinstance(reply, KeysReply), reply
            self.coordinator.take(reply.advert)
        return self

    def begin(self, round_number=1, model=None):
        model = self.start if model is None else model
        return self.coordinator.begin(round_number, hashlib.sha256(model.tobytes()).digest())

    def question(self, request, model=None):
        model = self.start if model is None else model
        if request.round > self.study.rounds:
            return EvaluateRequest(study=self.study, parameters=model, sum=request)
        return TrainRequest(study=self.study, round=request.round, parameters=model, sum=request)

    def masked(self, site, request, model=None):
        return self.ask(site, self.question(request, model))

    def collected(self, round_number=1, silent=()):
        summing = self.begin(round_number)
        for site in summing.cohort:
            if site not in silent:
                reply = self.masked(site, summing.request)
                assert isinstance(reply, MaskedReply), reply
                summing.add(site, reply.masked)
        return summing

    def unmask(self, site, question):
        return self.ask(site, UnmaskRequest(study=self.study, question=question))

    def total(self, summing):
        for site, question in summing.settle().items():
            told = self.unmask(site, question).answer
            (summing.agree if isinstance(told, Agreement) else summing.open)(site, told)
        if not summing.whole:
            for site in summing.survivors:
                summing.open(site, self.unmask(site, summing.open_request()).answer)
        return summing.total()

    def state(self, site):
        return self.folder / site / "studies" / self.study.id / "secure-sum"


@pytest.fixture(scope="module")
def joined(tmp_path_factory, make_site, study, start_of):
    folder = tmp_path_factory.mktemp("joined")
    return Federation(folder, make_site, study, start_of(study)).pinned().join()


@pytest.fixture
def federation(joined, tmp_path):
    return joined.copied(tmp_path / "sites")


@pytest.fixture
def words_of(study, make_training):
    """What a hospital gives into a round, computed beside it from its secret."""

    def words(site, round_number, model):
        patients = Patients(load_task("toy_task", {}).cohort(SITES.index(site), len(SITES)).train)
        return make_training(study, secret=secret_of(site), patients=patients).share(round_number, model)

    return words


def exact(vectors):
    """Integer addition modulo 2^32."""
    total = sum(vector.astype(object) for vector in vectors)
    return np.array([int(number) % 2**32 for number in total], dtype=np.uint32)


def events(federation, site):
    entries = [entry for entry in federation.custodian(site).audit.entries() if entry.study]
    return [entry.event for entry in entries if entry.event not in {"inbox", "approved", "asked"}]


class TestRounds:
    @pytest.mark.parametrize("restarts", [False, True], ids=["", "restarted before every question"])
    @pytest.mark.parametrize("silent", [(), ("birch",)], ids=["nobody", "one"])
    def test_the_sum_is_that_of_integers_whoever_drops_out(self, silent, restarts, federation, words_of):
        federation.restarts = restarts
        there = [site for site in SITES if site not in silent]
        total = federation.total(federation.collected(2, silent))
        np.testing.assert_array_equal(total, exact(words_of(site, 2, federation.start) for site in there))

    def test_what_left_is_masked_and_what_stays_is_not_there(self, federation, words_of):
        summing = federation.begin()
        sent = federation.masked("alder", summing.request).vector
        bare = words_of("alder", 1, federation.start)
        assert (sent != bare).mean() > 0.99
        for path in federation.folder.joinpath("alder").rglob("*"):
            assert not path.is_file() or bare.tobytes() not in path.read_bytes(), path

    def test_a_round_is_charged_with_both_noises_and_told_in_the_log(self, federation, study):
        federation.total(federation.collected(1, silent=("birch",)))
        (charge,) = federation.custodian("alder").ledger.budget.charges(study.id)
        noise = noise_multiplier(study)
        assert charge.cost.noise_coordinator == pytest.approx(noise)
        assert charge.cost.noise_everybody == pytest.approx(noise / np.sqrt(2))
        assert events(federation, "alder") == ["joined", "reserved", "released", "signed", "opened"]
        assert events(federation, "birch") == ["joined"]

    def test_a_site_that_comes_back_is_in_the_next_sum(self, federation, words_of):
        federation.total(federation.collected(1, silent=("birch",)))
        total = federation.total(federation.collected(2))
        np.testing.assert_array_equal(total, exact(words_of(site, 2, federation.start) for site in SITES))

    def test_the_state_is_for_the_custodian_alone(self, federation):
        assert stat.S_IMODE(federation.state("alder").stat().st_mode) == 0o600

    def test_the_same_question_gets_the_same_bytes_and_is_charged_once(self, federation, study):
        request = federation.begin().request
        first, second = (federation.masked("alder", request) for _ in range(2))
        assert first.vector.tobytes() == second.vector.tobytes()
        assert first.commitment == second.commitment
        assert len(federation.custodian("alder").ledger.budget.charges(study.id)) == 1

    def test_after_the_last_round_a_sum_is_still_opened(self, federation, words_of):
        total = federation.total(federation.collected(4))
        np.testing.assert_array_equal(total, exact(words_of(site, 4, federation.start) for site in SITES))


class TestEvaluation:
    def test_the_counts_are_added_up_with_shares_of_their_noise(self, federation, study):
        federation.total(federation.collected(1))
        federation.change(minimum_patients=1)
        counts, sites = decode(federation.total(federation.collected(5)), evaluation_grid(study))
        share = seen(study, evaluation_noise(study)).everybody
        assert sites == 4
        assert (counts * sites).sum() == pytest.approx(24, abs=6 * share * np.sqrt(4 * 2 * BINS))
        assert (counts * sites != np.rint(counts * sites)).all()

    def test_they_are_in_one_sum_only(self, federation):
        federation.change(minimum_patients=1)
        federation.masked("alder", federation.begin(5).request)
        later = federation.begin(5).request.model_copy(update={"cohort": ("alder", "birch", "cedar")})
        assert federation.masked("alder", later).rule == "secure-sum-burnt"


class TestTwoKindsInOneSum:
    """Alder's counts would have its own share of noise alone; that of the others is in other units."""

    @pytest.mark.attack(MIXED, held_by="a study's rounds end before the number of the evaluation's sum")
    def test_no_site_trains_behind_the_last_round(self, federation, study):
        federation.change(minimum_patients=1)
        request = federation.begin(study.rounds + 1).request
        assert isinstance(federation.masked("alder", request), MaskedReply)
        refused = federation.ask("birch", self.training(federation, request))
        assert (refused.kind, refused.rule) == ("failed", "MessageError")
        assert not federation.custodian("birch").ledger.budget.charges(study.id)

    @pytest.mark.mutant(MIXED, how="rounds have no end, as long as steps are left")
    def test_without_an_end_their_sum_is_opened(self, federation, study, monkeypatch, words_of):
        monkeypatch.setattr(Training, "require_sound", Work.require_sound)
        federation.change(minimum_patients=1)
        summing = federation.begin(study.rounds + 1)
        summing._looked_at = ""  # a coordinator that cuts vectors does not mind their commitments
        for site in SITES:
            ask = federation.question if site == "alder" else partial(self.training, federation)
            sent = federation.ask(site, ask(summing.request)).masked
            summing.add(site, sent.model_copy(update={"vector": sent.vector[: 2 * BINS + 1]}))
        others = [words_of(site, study.rounds + 1, federation.start)[: 2 * BINS + 1] for site in SITES[1:]]
        counts, sites = decode(federation.total(summing) - exact(others), evaluation_grid(study))
        share = seen(study, evaluation_noise(study)).everybody
        assert sites == 1
        assert counts.sum() == pytest.approx(6, abs=6 * share * np.sqrt(2 * BINS))

    def training(self, federation, request):
        return TrainRequest(
            study=federation.study, round=request.round, parameters=federation.start, sum=request
        )


class TestBurntRounds:
    @pytest.mark.attack(AGAIN, held_by="the round is burnt on disk before anything is charged")
    def test_a_round_that_broke_off_is_lost_and_the_next_one_is_whole(
        self, federation, study, monkeypatch, words_of
    ):
        request = federation.begin().request
        with monkeypatch.context() as patch:
            patch.setattr(custodian_module.Custodian, "_computed", lambda *_: 1 / 0)
            assert federation.masked("alder", request).rule == "unexpected-ZeroDivisionError"
        assert type(from_bytes(federation.state("alder").read_bytes())) is Ready
        refused = federation.masked("alder", request)
        assert (refused.kind, refused.rule) == ("refused", "secure-sum-burnt")
        assert len(federation.custodian("alder").ledger.budget.charges(study.id)) == 1
        total = federation.total(federation.collected(2))
        np.testing.assert_array_equal(total, exact(words_of(site, 2, federation.start) for site in SITES))

    @pytest.mark.mutant(AGAIN, how="neither state nor ledger keep that a round was begun")
    def test_a_site_that_keeps_nothing_masks_again(self, federation, monkeypatch):
        class Forgetful(Sums):
            def _keep(self, state, before):
                if not hasattr(state, "cohort"):
                    super()._keep(state, before)

        monkeypatch.setattr(custodian_module, "Sums", Forgetful)
        monkeypatch.setattr(Budget, "release", lambda *_: None)
        request = federation.begin().request
        first, second = (federation.masked("alder", request) for _ in range(2))
        assert first.vector.tobytes() != second.vector.tobytes()

    def test_another_model_in_the_same_round_is_refused(self, federation):
        request = federation.begin().request
        federation.masked("alder", request)
        assert federation.masked("alder", request, federation.start + 1).rule == "secure-sum-burnt"

    def test_nothing_is_charged_where_the_question_is_refused(self, federation, study):
        request = federation.begin().request.model_copy(update={"cohort": ("alder", "birch")})
        refused = federation.masked("alder", request)
        assert (refused.kind, refused.rule) == ("refused", "secure-sum-cohort")
        assert "at least 3" in refused.reason
        assert not federation.custodian("alder").ledger.budget.charges(study.id)


class TestLostStates:
    @pytest.mark.attack(LOST, held_by="the ledger, which knows what has left")
    def test_a_round_that_has_left_is_not_masked_anew(self, federation):
        federation.total(federation.collected(1))
        refused = federation.masked("alder", self.with_states_lost(federation).request)
        assert (refused.kind, refused.rule) == ("failed", "DataError")

    @pytest.mark.mutant(LOST, how="only the state says what was in a sum")
    def test_a_ledger_that_forgets_it_gives_one_hospital_away(self, federation, monkeypatch, words_of):
        monkeypatch.setattr(Budget, "release", lambda *_: None)
        first = federation.total(federation.collected(1))
        summing = self.with_states_lost(federation)
        for site in summing.cohort:
            summing.add(site, federation.masked(site, summing.request).masked)
        birch = words_of("birch", 1, federation.start)
        np.testing.assert_array_equal(first - federation.total(summing), birch)

    def with_states_lost(self, federation):
        """The same round over all but birch."""
        for site in SITES:
            federation.state(site).unlink()
        federation.coordinator = Coordinator(federation.plan, federation.roster.only(SITES))
        federation.join()
        model = hashlib.sha256(federation.start.tobytes()).digest()
        return federation.coordinator.begin(1, model, frozenset({"birch"}))


class TestOneSet:
    @pytest.mark.attack(TWO_SETS, held_by="one survivor set a round, on disk before its signature leaves")
    def test_a_second_survivor_set_is_refused_after_a_restart(self, federation):
        first, second = self.two_sets(federation)
        assert isinstance(federation.unmask("alder", first).answer, Agreement)
        refused = federation.unmask("alder", second)
        assert (refused.kind, refused.rule) == ("refused", "secure-sum-one-set")

    @pytest.mark.mutant(TWO_SETS, how="what was answered is not kept")
    def test_a_site_that_forgets_what_it_answered_signs_both(self, federation, monkeypatch):
        first, second = self.two_sets(federation)
        monkeypatch.setattr(Sums, "_keep", lambda *_: None)
        assert isinstance(federation.unmask("alder", first).answer, Agreement)
        assert isinstance(federation.unmask("alder", second).answer, OpenedShares)

    def two_sets(self, federation):
        """What alder would be asked if birch had dropped out, and if nobody had."""
        summing = federation.begin()
        replies = {site: federation.masked(site, summing.request).masked for site in SITES}
        asked = []
        for there in (("alder", "cedar", "dogwood"), SITES):
            other = federation.coordinator.begin(1, hashlib.sha256(federation.start.tobytes()).digest())
            for site in there:
                other.add(site, replies[site])
            asked.append(other.settle()["alder"])
        return asked


class TestQuestionsOfTheOtherKind:
    @pytest.mark.attack(PLAIN, held_by="what the study says of aggregation")
    def test_a_plain_question_about_a_secure_study_is_refused(self, federation, study):
        plain = TrainRequest(study=study, round=1, parameters=federation.start)
        refused = federation.ask("alder", plain)
        assert (refused.kind, refused.rule) == ("failed", "MessageError")
        assert not federation.custodian("alder").ledger.budget.charges(study.id)

    @pytest.mark.mutant(PLAIN, how="whoever asks says how updates travel")
    def test_without_that_rule_a_plain_update_would_leave(self, federation, study, monkeypatch):
        def by_itself(work, opened, before):
            return Answer(work.round, opened.training.run(work.round, federation.start, None).update, b"")

        local = study.model_copy(update={"privacy": study.privacy.model_copy(update={"mode": "local"})})
        monkeypatch.setattr(Work, "require_sound", lambda *_: None)
        monkeypatch.setattr(Training, "compute", by_itself)
        plain = TrainRequest(study=local, round=1, parameters=federation.start)
        assert isinstance(federation.ask("alder", plain), TrainReply)

    @pytest.mark.parametrize("kind", ["train", "evaluate"])
    def test_what_belongs_in_another_round_of_sums_is_refused(self, kind, federation, study):
        request = federation.begin(2).request
        question = (
            TrainRequest(study=study, round=1, parameters=federation.start, sum=request)
            if kind == "train"
            else EvaluateRequest(study=study, parameters=federation.start, sum=request)
        )
        assert federation.ask("alder", question).rule == "MessageError"

    def test_a_study_without_sums_gives_no_key(self, federation, make_study):
        plain = make_study(participants=list(SITES), quorum=3)
        federation.change(aggregation=["plain"])
        question = KeysRequest(study=plain, question=federation.coordinator.advert_request())
        assert federation.ask("alder", question).rule == "not-in-the-study"


class TestRoster:
    def test_without_one_there_are_no_sums(self, federation):
        (federation.folder / "alder" / "roster.json").unlink()
        question = KeysRequest(study=federation.study, question=federation.coordinator.advert_request())
        refused = federation.ask("alder", question)
        assert (refused.kind, refused.rule) == ("refused", "no-roster")

    def test_nothing_is_set_aside_for_sums_that_cannot_be_made(self, tmp_path, make_site, study, start_of):
        federation = Federation(tmp_path, make_site, study, start_of(study)).pinned()
        others = {site: key for site, key in federation.roster.keys.items() if site != "dogwood"}
        federation.pin("alder", Roster.signed(CHIEF, 2, others))
        refused = federation.ask("alder", DescribeRequest(study=study))
        assert (refused.kind, refused.rule) == ("refused", "secure-sum-member")
        assert not federation.custodian("alder").ledger.budget.started(study.id, "train")

    def test_a_participant_who_is_no_member_ends_it(self, federation):
        others = {site: key for site, key in federation.roster.keys.items() if site != "dogwood"}
        federation.pin("alder", Roster.signed(CHIEF, 2, others))
        refused = federation.masked("alder", federation.begin().request)
        assert (refused.kind, refused.rule) == ("refused", "secure-sum-member")

    def test_who_told_a_key_before_the_roster_changed_tells_another(self, federation, study):
        keys = federation.roster.keys | {"dogwood": SiteKeys.of(secret_of("mallory")).public}
        later = Roster.signed(CHIEF, 2, keys)
        federation.pin("alder", later)
        members = later.only(SITES)
        coordinator = Coordinator(plan_of(study, members, len(federation.start)), members)
        question = KeysRequest(study=study, question=coordinator.advert_request())
        coordinator.take(federation.ask("alder", question).advert)
        assert set(coordinator.adverts) == {"alder"}

    def test_another_key_of_a_participant_is_another_plan(self, federation):
        keys = federation.roster.keys | {"dogwood": SiteKeys.of(secret_of("mallory")).public}
        federation.pin("alder", Roster.signed(CHIEF, 2, keys))
        question = KeysRequest(study=federation.study, question=federation.coordinator.advert_request())
        assert federation.ask("alder", question).rule == "secure-sum-plan"


class Bare(Sums):
    """Commits to what went through the mask, and sends what did not."""

    def mask(self, begun, words):
        bare = words.copy()
        return super().mask(begun, words).model_copy(update={"vector": bare})


class TestTheDoor:
    @pytest.mark.attack(UNMASKED, held_by="the commitment to what went through the mask")
    def test_what_was_not_masked_stays_here(self, federation, monkeypatch, words_of):
        monkeypatch.setattr(custodian_module, "Sums", Bare)
        reply = federation.masked("alder", federation.begin().request)
        assert isinstance(reply, RefusalReply)
        assert (reply.kind, reply.rule) == ("failed", "ReleaseError")

    @pytest.mark.mutant(UNMASKED, how="the door takes a vector for the one committed to")
    def test_without_the_door_it_would_leave(self, federation, monkeypatch, words_of):
        monkeypatch.setattr(custodian_module, "Sums", Bare)
        monkeypatch.setattr("client_app.custodian.release._require_masked", lambda *_: None)
        sent = federation.masked("alder", federation.begin().request).vector
        np.testing.assert_array_equal(sent, words_of("alder", 1, federation.start))

    def test_an_answer_that_is_not_the_one_on_disk_stays_here(self, federation, monkeypatch):
        asked = federation.collected().settle()["alder"]

        def another(**fields):
            return UnmaskReply(**fields | {"answer": fields["answer"].model_copy(update={"round": 7})})

        monkeypatch.setattr(custodian_module, "UnmaskReply", another)
        assert federation.unmask("alder", asked).rule == "ReleaseError"


class TestPeople:
    def test_a_study_that_was_taken_back_opens_nothing(self, federation, study):
        asked = federation.collected().settle()
        federation.custodian("alder").approvals.revoke(study.id, "Dr Weber")
        assert federation.unmask("alder", asked["alder"]).rule == "study-revoked"


class TestPolicy:
    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"aggregation": ["plain"]}, "aggregation-not-allowed"),
            ({"privacy_modes": ["local"]}, "privacy-mode-not-allowed"),
            ({"minimum_hospitals": 4}, "too-few-hospitals"),
            ({"minimum_colluding": 2}, "too-few-colluding"),
            (
                {"lifetime": {"epsilon": 30.0, "delta": 1e-5, "against": "everybody"}},
                "epsilon-too-large",
            ),
        ],
    )
    def test_what_it_does_not_name_is_refused(self, changes, rule, federation):
        federation.change(**changes)
        refused = federation.masked("alder", federation.begin().request)
        assert (refused.kind, refused.rule) == ("refused", rule)
