import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

import client_app
from client_app.custodian import witness
from client_app.custodian.answers import Answers
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.budget import Budget
from client_app.training.gradients import PatientGradients
from federation.errors import LedgerError, ReleaseError
from federation.messages import DescribeReply, DescribeRequest, RefusalReply, TrainReply, TrainRequest
from federation.models import build_network, get_parameters, layout_of, set_parameters
from federation.promise import epsilon_after, noise_multiplier

PATIENT = "Erika Mustermann"
REPLAYED = "a round asked again with another model, so that its noise cancels"
BURNT = "a round is charged once, on disk, and the same question gets the same bytes"
UNNOISED = "an update without the noise that was promised"
FULL = "a full disk"
UNLOGGED = "a request whose refusal is in no audit log"


class NeverBurns(Budget):
    """Mutant: charges every round as if it were the first."""

    def reserve(self, *args, **changes):
        with self._database.writing() as rows:
            rows.execute("DELETE FROM spends")
        return super().reserve(*args, **changes)


class Forgets(Answers):
    """Mutant: remembers no answer."""

    last = None


@pytest.fixture
def study(make_study):
    return make_study()


@pytest.fixture
def train(start_of):
    """Ask a custodian to train a round."""

    def ask(custodian, study, round_number=1, parameters=None):
        parameters = start_of(study) if parameters is None else parameters
        return custodian.handle(TrainRequest(study=study, round=round_number, parameters=parameters))

    return ask


def steps_charged(custodian, study):
    """As it stands on disk."""
    charge = custodian.ledger.budget.last(study.id, "train")
    return 0 if charge is None else charge.steps


class TestDescribe:
    def test_tells_a_coarse_cohort_size_and_what_the_data_are(self, make_custodian, study):
        reply = make_custodian().handle(DescribeRequest(study=study))
        assert isinstance(reply, DescribeReply)
        assert (reply.site, reply.declared_patients) == ("alder", 20)
        assert reply.description == "part 0 of 2 (size taken from the data)"

    @pytest.mark.parametrize(("patients", "declared"), [(21, 20), (24, 20), (26, 30), (44, 40)])
    def test_cohort_sizes_are_told_in_steps_of_ten(self, patients, declared, make_custodian, make_study):
        study = make_study(task={"options": {"patients": patients}})
        assert make_custodian().handle(DescribeRequest(study=study)).declared_patients == declared

    def test_a_declared_size_is_told_as_it_stands_whatever_the_data(self, make_custodian, make_study):
        replies = [
            make_custodian(declared_patients=33).handle(DescribeRequest(study=study))
            for study in (make_study(task={"options": {"patients": n}}) for n in (24, 25, 34, 35))
        ]
        assert {reply.declared_patients for reply in replies} == {33}
        assert {reply.description for reply in replies} == {"part 0 of 2"}

    def test_updates_are_divided_by_the_declared_size(
        self, make_custodian, make_study, train, start_of, tmp_path
    ):
        study = make_study(training={"steps": 1, "momentum": 0.0})
        moved = []
        for declared in (20, 40):
            custodian = make_custodian(folder=tmp_path / str(declared), declared_patients=declared)
            moved.append(train(custodian, study).parameters)
        assert np.allclose(moved[0], 2 * moved[1], rtol=1e-4, atol=1e-6)

    def test_a_cohort_is_never_declared_empty(self, make_custodian, make_study):
        study = make_study(task={"options": {"patients": 3}})
        custodian = make_custodian(policy={"minimum_patients": 1})
        assert custodian.handle(DescribeRequest(study=study)).declared_patients == 10


class TestTrain:
    def test_releases_the_update_and_what_it_cost(self, make_custodian, study, train, start_of):
        custodian = make_custodian()
        for number in (1, 2, 3, 4):
            reply = train(custodian, study, number)
            assert isinstance(reply, TrainReply)
            assert (reply.site, reply.round, reply.steps) == ("alder", number, 2 * number)
            assert reply.parameters.shape == start_of(study).shape
        assert epsilon_after(study, reply.steps) <= study.privacy.epsilon
        assert steps_charged(custodian, study) == 8
        refusal = train(custodian, study, 5)
        assert (refusal.kind, refusal.rule) == ("refused", "study-ended")

    def test_only_what_learns_is_released(self, make_custodian, make_study, train):
        study = make_study(model={"trainable": "head"})
        mask = layout_of(build_network(study.model, study.task)).mask
        assert train(make_custodian(), study).parameters.shape == (mask.sum(),)

    def test_another_study_is_opened_when_it_is_asked_for(self, make_custodian, make_study, train):
        custodian = make_custodian()
        for study in (make_study(), make_study(title="Another"), make_study()):
            train(custodian, study, 1)
        assert train(custodian, make_study(), 2).steps == 4

    def test_after_a_restart_the_study_goes_on_bit_for_bit(self, make_custodian, make_study, train, tmp_path):
        study = make_study(training={"momentum": 0.9})
        whole = make_custodian(folder=tmp_path / "whole")
        expected = [train(whole, study, number).parameters for number in (1, 2)]
        found = [train(make_custodian(folder=tmp_path / "killed"), study, n).parameters for n in (1, 2)]
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))

    def test_another_secret_is_another_update_and_the_same_seed_the_same(
        self, make_custodian, study, train, tmp_path
    ):
        updates = [
            train(make_custodian(SiteKeys.seeded(seed, site).noise, tmp_path / str(number)), study).parameters
            for number, (seed, site) in enumerate([(1, "alder"), (1, "alder"), (2, "alder"), (1, "birch")])
        ]
        assert np.array_equal(updates[0], updates[1])
        assert not np.array_equal(updates[0], updates[2])
        assert not np.array_equal(updates[0], updates[3])


REFUSED = {
    "not-a-participant": {"participants": ["birch", "cedar"]},
    "study-expired": {"expires": "2020-01-01"},
    "purpose-not-allowed": {"purpose": "marketing"},
    "task-not-allowed": {"task": {"package": "circles"}},
    "privacy-mode-not-allowed": {
        "privacy": {"mode": "none", "epsilon": None, "delta": None, "clipping_norm": None}
    },
    "epsilon-too-large": {"privacy": {"epsilon": 10.5}},
    "delta-too-large": {"privacy": {"delta": 2e-4}},
    "cohort-too-small": {"task": {"options": {"patients": 13}}},
    "cohort-of-one-class": {"task": {"options": {"one_class": True}}},
    "declared-size-off": {"task": {"options": {"patients": 130}}},
    "delta-too-large-for-cohort": {"privacy": {"delta": 0.04}, "task": {"options": {"patients": 27}}},
}
# What the site's own settings must be for a rule to be the one that objects.
SETTINGS = {
    "declared-size-off": {"declared_patients": 60},
    "delta-too-large-for-cohort": {"policy": {"maximum_delta": 0.1, "privacy_modes": ["local"]}},
}


class TestRefusals:
    @pytest.mark.parametrize("rule", REFUSED)
    def test_every_rule_is_asked_before_anything_is_answered(self, rule, make_custodian, make_study, train):
        study = make_study(**REFUSED[rule])
        custodian = make_custodian(**SETTINGS.get(rule, {"policy": {"privacy_modes": ["local"]}}))
        for reply in (custodian.handle(DescribeRequest(study=study)), train(custodian, study)):
            assert isinstance(reply, RefusalReply)
            assert (reply.site, reply.kind, reply.rule) == ("alder", "refused", rule)
            assert "13" not in reply.reason
        assert steps_charged(custodian, study) == 0

    @pytest.mark.parametrize("rule", list(REFUSED)[:7])
    def test_no_data_are_opened_for_a_study_that_is_refused_as_it_stands(
        self, rule, make_custodian, make_study
    ):
        changes = dict(REFUSED[rule])
        changes["task"] = {"package": "no_such_task"} | changes.get("task", {})
        custodian = make_custodian(policy={"privacy_modes": ["local"], "tasks": ["no_such_task"]})
        assert custodian.handle(DescribeRequest(study=make_study(**changes))).rule == rule

    @pytest.mark.attack(UNLOGGED, held_by="reasons are cut, names of errors are cleaned")
    def test_a_reason_that_repeats_a_long_text_is_cut(self, make_custodian, make_study):
        custodian = make_custodian()
        reply = custodian.handle(DescribeRequest(study=make_study(purpose="x" * 2000)))
        assert (reply.kind, reply.rule, len(reply.reason)) == ("refused", "purpose-not-allowed", 1000)
        assert [entry.rule for entry in custodian.audit.entries()] == ["purpose-not-allowed"]

    @pytest.mark.attack(UNLOGGED, held_by="reasons are cut, names of errors are cleaned")
    def test_an_error_with_an_unusual_name_is_answered_like_any_other(
        self, make_custodian, study, monkeypatch
    ):
        def open_(*_):
            raise type("_Array2MemoryError", (MemoryError,), {})

        custodian = make_custodian()
        monkeypatch.setattr(custodian._opener, "open", open_)
        reply = custodian.handle(DescribeRequest(study=study))
        assert (reply.kind, reply.rule) == ("failed", "unexpected-ArrayMemoryError")
        assert [entry.event for entry in custodian.audit.entries()][-1] == "failed"

    @pytest.mark.mutant(UNLOGGED, "reasons as long as they come")
    def test_a_reason_that_is_not_cut_is_neither_told_nor_logged(
        self, make_custodian, make_study, monkeypatch
    ):
        monkeypatch.setattr("client_app.custodian.custodian.MOST_REASON", 10_000)
        custodian = make_custodian()
        with pytest.raises(ReleaseError):
            custodian.handle(DescribeRequest(study=make_study(purpose="x" * 2000)))
        assert list(custodian.audit.entries()) == []

    def test_a_study_that_expires_while_it_is_warm_is_refused(
        self, make_custodian, make_study, train, monkeypatch
    ):
        study, custodian = make_study(expires="2999-12-31"), make_custodian()
        assert isinstance(train(custodian, study), TrainReply)

        class Later(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime(3000, 1, 1, tzinfo=tz)

        monkeypatch.setattr("client_app.custodian.witness.datetime", Later)
        assert train(custodian, study, 2).rule == "study-expired"

    def test_what_an_expired_study_has_not_used_comes_back(
        self, make_custodian, make_study, train, set_clock
    ):
        custodian = make_custodian(policy={"lifetime": {"epsilon": 9.0}})
        first = make_study(expires=(datetime.now(UTC).date() + timedelta(days=1)).isoformat())
        second = make_study(title="Another", privacy={"epsilon": 6.0})
        assert isinstance(train(custodian, first), TrainReply)
        assert train(custodian, second).rule == "cohort-too-small"
        set_clock(witness, timedelta(days=3))
        assert isinstance(train(custodian, second), TrainReply)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_a_model_that_is_not_finite_costs_nothing(self, wrong, make_custodian, study, train):
        parameters = np.zeros_like(get_parameters(build_network(study.model, study.task)))
        parameters[3] = wrong
        custodian = make_custodian()
        reply = train(custodian, study, 1, parameters)
        assert (reply.kind, reply.rule) == ("failed", "MessageError")
        assert steps_charged(custodian, study) == 0
        assert isinstance(train(custodian, study, 1), TrainReply)

    @pytest.mark.parametrize("parameters", [np.zeros(3, np.float32), np.zeros(0, np.float32)])
    def test_a_model_of_another_network_costs_nothing(self, parameters, make_custodian, study, train):
        custodian = make_custodian()
        reply = train(custodian, study, 1, parameters)
        assert (reply.kind, reply.rule) == ("failed", "MessageError")
        assert steps_charged(custodian, study) == 0

    def test_a_model_that_overflows_on_patients_tells_nothing_of_them(
        self, make_custodian, study, train, start_of
    ):
        huge = start_of(study) * np.float32(1e37)
        assert isinstance(train(make_custodian(), study, 1, huge), TrainReply)


class TestBurntRounds:
    """Who gets two answers with the same noise takes one from the other, and the noise is gone."""

    @pytest.fixture
    def one_step(self, make_study):
        return make_study(training={"steps": 1, "learning_rate": 1.0}, privacy={"epsilon": 1.0})

    @pytest.fixture
    def models(self, one_step, another_model):
        return [another_model(one_step, seed) for seed in (1, 2)]

    @pytest.fixture
    def noise_free(self, one_step, models, squares):
        """The difference of the two models' updates at a hospital that adds no noise at all."""
        sums = []
        for model in models:
            network = build_network(one_step.model, one_step.task)
            set_parameters(network, model)
            totals = PatientGradients(network, one_step.privacy.clipping_norm).total(
                squares.batches(np.arange(len(squares)), 64)
            )
            sums.append(torch.cat([total.flatten() for total in totals]).numpy())
        return one_step.training.learning_rate * (sums[1] - sums[0]) / 20

    @pytest.fixture
    def ask_twice(self, make_custodian, one_step, models, train):
        """Ask one round with both models; returns the custodian and its two answers."""

        def ask():
            custodian = make_custodian()
            return custodian, [train(custodian, one_step, 1, model) for model in models]

        return ask

    @pytest.mark.attack(REPLAYED, held_by=BURNT)
    def test_the_same_round_with_another_model_is_refused(
        self, ask_twice, make_custodian, one_step, train, models
    ):
        custodian, (first, second) = ask_twice()
        assert isinstance(first, TrainReply)
        assert (second.kind, second.rule) == ("refused", "round-burnt")
        again = train(make_custodian(), one_step, 1, models[1])
        assert again.rule == "round-burnt", "also after a restart"
        assert steps_charged(custodian, one_step) == 1

    @pytest.mark.attack(REPLAYED, held_by=BURNT)
    def test_the_same_round_with_the_same_model_is_given_the_same_answer(
        self, make_custodian, one_step, train, models
    ):
        first = train(make_custodian(), one_step, 1, models[0])
        again = train(make_custodian(), one_step, 1, models[0])
        assert again.parameters.tobytes() == first.parameters.tobytes(), "also after a restart"
        assert steps_charged(make_custodian(), one_step) == 1

    @pytest.mark.mutant(REPLAYED, "a ledger that charges every round as if it were the first")
    def test_a_custodian_that_never_burns_gives_noise_free_gradients_away(
        self, ask_twice, noise_free, one_step, monkeypatch
    ):
        monkeypatch.setattr("client_app.custodian.ledger.ledger.Budget", NeverBurns)
        monkeypatch.setattr("client_app.custodian.custodian.Answers", Forgets)
        _, (first, second) = ask_twice()
        noise = noise_multiplier(one_step) * one_step.training.learning_rate / 20
        left = np.abs(first.parameters - second.parameters - noise_free).max()
        assert left < 1e-5 < noise / 1000, "of the noise nothing is left"

    def test_the_same_round_asked_often_at_once_has_one_answer(self, make_custodian, study, train):
        custodian = make_custodian()
        custodian.handle(DescribeRequest(study=study))
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: train(custodian, study, 1), range(8)))
        assert len({reply.parameters.tobytes() for reply in replies}) == 1
        assert steps_charged(custodian, study) == study.training.steps

    def test_two_rounds_asked_at_once_are_those_asked_one_after_another(
        self, make_custodian, make_study, train, tmp_path
    ):
        study = make_study(rounds=8, training={"steps": 8})
        quiet, busy = make_custodian(folder=tmp_path / "quiet"), make_custodian(folder=tmp_path / "busy")
        busy.handle(DescribeRequest(study=study))
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda n: train(busy, study, n), range(1, 9)))
        trained = sorted((r.round, r.parameters) for r in replies if isinstance(r, TrainReply))
        assert trained
        for number, parameters in trained:
            assert np.array_equal(train(quiet, study, number).parameters, parameters)


def adds_nothing(totals, noise_multiplier, clipping_norm, stream):
    """Mutant of ``add_noise``."""
    return totals


class TestNoise:
    @pytest.fixture(autouse=True)
    def _without_noise(self, monkeypatch, tmp_path):
        monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "cache"))  # nothing was rehearsed here before
        monkeypatch.setattr("client_app.training.local_round.add_noise", adds_nothing)

    @pytest.mark.attack(UNNOISED, held_by="a rehearsal of clipping and noise, before any data are opened")
    def test_a_program_that_adds_none_trains_nothing(self, make_custodian, study, train):
        custodian = make_custodian()
        reply = train(custodian, study)
        assert (reply.kind, reply.rule) == ("failed", "PrivacyError")
        assert steps_charged(custodian, study) == 0

    @pytest.mark.mutant(UNNOISED, "no rehearsal")
    def test_without_a_rehearsal_it_would_release_the_bare_sum(
        self, make_custodian, study, train, monkeypatch, tmp_path
    ):
        monkeypatch.setattr("client_app.custodian.opening.require_rehearsal", lambda *args: None)
        secrets = {name: SiteKeys.seeded(1, name).noise for name in ("one", "other")}
        updates = [train(make_custodian(secret, tmp_path / name), study) for name, secret in secrets.items()]
        assert np.array_equal(updates[0].parameters, updates[1].parameters), "no secret hides anything"


class TestFailures:
    def break_loss(self, monkeypatch, text):
        def broken(*args, **kwargs):
            raise RuntimeError(text)

        monkeypatch.setattr("client_app.training.gradients.cross_entropy", broken)

    def test_a_round_that_breaks_off_is_charged_and_the_next_one_is_whole(
        self, make_custodian, study, train, monkeypatch
    ):
        custodian = make_custodian()
        train(custodian, study, 1)
        with monkeypatch.context() as patch:
            self.break_loss(patch, "out of memory")
            reply = train(custodian, study, 2)
        assert (reply.kind, reply.rule) == ("failed", "unexpected-RuntimeError")
        assert steps_charged(custodian, study) == 4
        other = np.zeros_like(get_parameters(build_network(study.model, study.task)))
        assert train(custodian, study, 2, other).rule == "round-burnt"
        after = train(custodian, study, 3)
        assert isinstance(after, TrainReply), "the failure has left nothing behind"
        unhurt = make_custodian(folder=custodian._folder / "unhurt")
        assert np.array_equal(after.parameters, train(unhurt, study, 3).parameters)

    def test_what_an_unexpected_error_says_stays_in_the_log(
        self, make_custodian, study, train, monkeypatch, caplog
    ):
        self.break_loss(monkeypatch, f"the images of {PATIENT} are broken")
        with caplog.at_level(logging.WARNING, "wardround.custodian"):
            reply = train(make_custodian(), study)
        assert PATIENT not in reply.model_dump_json()
        (record,) = [r for r in caplog.records if r.name == "wardround.custodian"]
        assert reply.reference in record.getMessage()
        assert PATIENT in caplog.text

    def test_what_an_error_in_the_data_says_stays_in_the_log(self, make_custodian, make_study, caplog):
        study = make_study(task={"options": {"fails_with": f"no images of {PATIENT}"}})
        reply = make_custodian().handle(DescribeRequest(study=study))
        assert (reply.kind, reply.rule) == ("failed", "unexpected-RuntimeError")
        assert PATIENT not in reply.model_dump_json()
        assert PATIENT in caplog.text
        assert reply.reference in caplog.text

    def test_without_a_whole_ledger_there_is_no_custodian(self, make_custodian, study, train, tmp_path):
        train(make_custodian(), study, 1)
        for file in tmp_path.glob("ledger.sqlite*"):
            file.write_bytes(b"\x00" * 5000)
        with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
            make_custodian()

    def test_an_answer_that_has_left_and_is_lost_is_not_computed_anew(
        self, make_custodian, study, train, tmp_path
    ):
        first = train(make_custodian(), study, 1)
        (tmp_path / "studies" / study.id / "train.safetensors").unlink()
        again = train(make_custodian(), study, 1)
        assert isinstance(first, TrainReply)
        assert (again.kind, again.rule) == ("failed", "DataError")

    def test_what_a_study_has_not_used_comes_back_also_where_it_died_just_before(
        self, make_custodian, study, train, monkeypatch
    ):
        def die(*args):
            raise KeyboardInterrupt

        custodian = make_custodian()
        with monkeypatch.context() as patch:
            patch.setattr(Budget, "end", die)
            with pytest.raises(KeyboardInterrupt):
                train(custodian, study, study.rounds)
        custodian = make_custodian()
        assert isinstance(train(custodian, study, study.rounds), TrainReply)
        ((spent,),) = {tuple(history) for history in custodian.ledger.budget.histories().values()}
        assert spent.steps == study.training.steps

    @pytest.fixture
    def on_a_full_disk(self, make_site, make_study, tmp_path):
        """What a hospital answers as room comes and goes."""
        # An answer that is larger than all that is written before it.
        study = make_study(training={"momentum": 0.9}, model={"arguments": {"channels": [128, 128]}})
        (tmp_path / "study.json").write_text(study.canonical_json)
        (tmp_path / "site.json").write_text(make_site().model_dump_json())

        def run(kind):
            said = subprocess.run(
                [sys.executable, "-c", _ON_A_FULL_DISK, str(Path(__file__).parents[1]), str(tmp_path), kind],
                cwd=Path(client_app.__file__).parents[1],
                capture_output=True,
                text=True,
                check=False,
            )
            assert said.returncode == 0, said.stderr
            return said.stdout.splitlines()

        return run

    @pytest.mark.attack(FULL, held_by="what was not taken is taken back, and refused")
    @pytest.mark.deployment  # for its time
    def test_a_full_disk_costs_the_round_in_progress_and_no_more(self, on_a_full_disk):
        assert on_a_full_disk("ours") == [
            "no room for progress: failed StorageError, 0 steps charged",
            "no room for the answer: failed StorageError, 2 steps charged",
            "room again, same round: trained, 2 steps charged",
            "room again, next round: trained, 4 steps charged",
        ]

    @pytest.mark.mutant(FULL, "an answer leaves that the disk did not take")
    @pytest.mark.deployment  # for its time
    def test_an_answer_that_the_disk_did_not_take_would_be_lost(self, on_a_full_disk):
        assert on_a_full_disk("mutant")[1:3] == [
            "no room for the answer: trained, 2 steps charged",
            "room again, same round: failed DataError, 2 steps charged",
        ]


# In a process of its own, since a limit on the size of files is one for the whole process.
_ON_A_FULL_DISK = """
import contextlib, resource, signal, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from client_app.custodian.answers import Answers
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.site import SiteConfig
from federation.errors import StorageError
from federation.messages import TrainRequest
from federation.models import build_network, get_parameters
from federation.study import Study

remember = Answers.remember


def remember_if_there_is_room(self, answer):
    with contextlib.suppress(StorageError):
        remember(self, answer)


if sys.argv[3] == "mutant":
    Answers.remember = remember_if_there_is_room

folder = Path(sys.argv[2])
study = Study.model_validate_json((folder / "study.json").read_text())
site = SiteConfig.model_validate_json((folder / "site.json").read_text())
custodian = Custodian(site, folder, SiteKeys.of(bytes(32)))
model = get_parameters(build_network(study.model, study.task))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def ask(when, round_number, room):
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if room is None else room, most))
    reply = custodian.handle(TrainRequest(study=study, round=round_number, parameters=model))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    charge = custodian.ledger.budget.last(study.id, "train")
    steps = 0 if charge is None else charge.steps
    outcome = f"{reply.kind} {reply.rule}" if hasattr(reply, "rule") else "trained"
    print(f"{when}: {outcome}, {steps} steps charged")


ask("no room for progress", 1, 8)
ask("no room for the answer", 1, 400_000)
ask("room again, same round", 1, None)
ask("room again, next round", 2, None)
"""
