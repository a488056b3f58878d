"""Sound code passes the rehearsal; each weakened variant is caught by the test that is meant for it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from client_app.audit import rehearsal as module
from client_app.audit.rehearsal import rehearse, require_rehearsal
from client_app.training import gradients, local_round
from client_app.training.engines import ENGINES, book_keeping
from client_app.training.engines.engine import clip_factors
from client_app.training.noise import add_noise
from client_app.training.stream import Stream
from federation.errors import PrivacyError
from federation.messages import DescribeRequest, RefusalReply, TrainReply, TrainRequest
from federation.models import build_network
from tests.client_app.audit.weakened import SameEverywhere, SameInEachRound

HONEST = 20
ENGINE = "book_keeping"


def secret(number):
    return bytes([number]) * 32


@pytest.fixture
def study(make_study):
    return make_study()


@pytest.fixture
def network(study):
    return build_network(study.model, study.task)


@pytest.fixture
def outcome(study, network):
    """``outcome(number)``: which tests fail at the site with that secret."""

    def run(number=1):
        rehearsal = rehearse(study, network, secret(number), ENGINE)
        return {check.name for check in rehearsal.checks if not check.passed}

    return run


# The weakened variants, each put in the place of what production calls.


def noise_of(factor):
    def weaker(totals, noise_multiplier, clipping_norm, stream):
        return add_noise(totals, factor * noise_multiplier, clipping_norm, stream)

    return weaker


def from_one_seed(totals, noise_multiplier, clipping_norm, stream):
    """The same generator state at every site and in every step, as with a logged ``torch.manual_seed``."""
    draw = torch.Generator().manual_seed(42)
    deviation = noise_multiplier * clipping_norm
    return [
        t.double() + deviation * torch.randn(t.shape, generator=draw, dtype=torch.float64) for t in totals
    ]


def only_the_first(totals, noise_multiplier, clipping_norm, stream):
    """Noise for the first tensor, the others as they are."""
    return [
        *add_noise(totals[:1], noise_multiplier, clipping_norm, stream),
        *(t.double() for t in totals[1:]),
    ]


class SameInEachStep(Stream):
    """Forgets which step of the round it is."""

    def __init__(self, secret, study, round_number, step, *address):
        super().__init__(secret, study, round_number, *address)


class ClipsEachImage(gradients.PatientGradients):
    """Clips image by image and adds up, as if each were a patient."""

    def _batch_sum(self, batch):
        return super()._batch_sum(replace(batch, counted=batch.counted.repeat_interleave(batch.each)))


def factors_of_three_times(squares, clipping_norm, batch):
    return clip_factors(squares, 3 * clipping_norm, batch)


class TestSoundCode:
    @pytest.mark.deployment  # for its time
    def test_passes_every_time(self, outcome):
        assert [outcome(number) for number in range(HONEST)] == [set()] * HONEST

    @pytest.mark.parametrize(
        "changes",
        [
            {"model": {"trainable": "head"}},
            {"model": {"trainable": "norm_and_head"}},
            {"privacy": {"clipping_norm": 1e-3}},
            {"privacy": {"clipping_norm": 500.0}},
            {"privacy": {"sampling_rate": 0.2, "epsilon": 2.0}},
            {"training": {"optimizer": "adam", "steps": 3, "momentum": 0.5}},
            {"training": {"class_weights": [1.0, 4.0]}},
            {"strategy": {"name": "fedprox", "proximal": 0.1}},
        ],
        ids=str,
    )
    def test_passes_in_every_kind_of_study(self, changes, make_study):
        study = make_study(**changes)
        rehearsal = rehearse(study, build_network(study.model, study.task), secret(1), ENGINE)
        assert rehearsal.failures == ""
        assert rehearsal.passed

    @pytest.mark.parametrize("engine", ENGINES)
    def test_passes_by_every_engine(self, engine, study, network):
        rehearsal = rehearse(study, network, secret(1), engine)
        assert rehearsal.failures == ""

    def test_its_margins_leave_less_than_one_false_alarm_in_a_thousand(self, study, network):
        """The canaries' is the only test whose rate is not its threshold's: far from it, in deviations."""
        proved = [module._play(study, secret(number), ENGINE)[0].at_least for number in range(8)]
        assert np.mean(proved) + 5 * np.std(proved) < 3.0
        assert module.epsilon_at_least(5000, 700, 580, 1e-5, 0.95) < 3.0, "562 ± 10 are right if all is well"

    def test_leaves_the_network_as_it_was(self, study, network):
        before = [p.detach().clone() for p in network.parameters()]
        rehearse(study, network, secret(1), ENGINE)
        assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        local_round.PatientGradients(network, 1.0)  # takes no network that has hooks already

    def test_repeats_with_its_secret(self, study, network):
        assert rehearse(study, network, secret(3), ENGINE) == rehearse(study, network, secret(3), ENGINE)

    def test_without_a_promise_there_is_nothing_to_rehearse(self, make_study, no_privacy):
        study = make_study(privacy=no_privacy)
        with pytest.raises(PrivacyError, match="promises no privacy"):
            rehearse(study, build_network(study.model, study.task), secret(1), ENGINE)


class TestWeakenedCode:
    def test_half_the_noise_is_found_by_the_canaries_each_time(self, study, monkeypatch):
        monkeypatch.setattr(local_round, "add_noise", noise_of(0.5))
        caught = [module._play(study, secret(number), ENGINE)[1] for number in range(12)]
        assert not any(check.passed for check in caught)
        assert "noise allows" in caught[0].reason

    def test_a_clip_at_three_times_the_norm_is_found(self, outcome, monkeypatch):
        monkeypatch.setattr(book_keeping, "clip_factors", factors_of_three_times)
        monkeypatch.setattr(local_round, "check_engine", lambda *_, **__: None)  # it would find it, too
        assert outcome() == {"canaries", "sensitivity"}

    def test_a_clip_of_each_image_is_found(self, outcome, monkeypatch):
        monkeypatch.setattr("client_app.audit.sensitivity.PatientGradients", ClipsEachImage)
        assert outcome() == {"sensitivity"}

    @pytest.mark.parametrize("factor", [0.9, 1.1])
    def test_a_deviation_wrong_by_a_tenth_is_found(self, factor, outcome, monkeypatch):
        monkeypatch.setattr(local_round, "add_noise", noise_of(factor))
        assert [outcome(number) for number in range(3)] == [{"noise size"}] * 3

    def test_a_seed_that_all_share_is_found(self, outcome, monkeypatch):
        monkeypatch.setattr(local_round, "add_noise", from_one_seed)
        assert outcome() == {"noise apart", "noise everywhere"}

    @pytest.mark.parametrize("stream", [SameEverywhere, SameInEachStep])
    def test_noise_that_comes_again_is_found(self, stream, outcome, monkeypatch):
        monkeypatch.setattr(local_round, "Stream", stream)
        assert outcome() == {"noise apart"}

    def test_noise_that_comes_again_in_the_next_round_is_found(self, outcome, monkeypatch):
        monkeypatch.setattr(local_round, "Stream", SameInEachRound)
        assert outcome() == {"noise apart", "noise everywhere"}

    def test_a_layer_without_noise_is_found(self, outcome, monkeypatch):
        monkeypatch.setattr(local_round, "add_noise", only_the_first)
        assert "noise everywhere" in outcome()

    def test_no_noise_at_all_is_found(self, outcome, monkeypatch):
        monkeypatch.setattr(local_round, "add_noise", lambda totals, *rest: totals)
        assert {"canaries", "noise size", "noise everywhere"} <= outcome()


class TestGate:
    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "cache"))

    @pytest.fixture
    def rehearsals(self, monkeypatch):
        """Counts them."""
        made = []

        def counting(*args):
            made.append(args)
            return rehearse(*args)

        monkeypatch.setattr(module, "rehearse", counting)
        return made

    def test_a_site_whose_noise_is_halved_opens_no_data_and_trains_nothing(
        self, make_custodian, study, start_of, monkeypatch, caplog
    ):
        opened = []
        monkeypatch.setattr(local_round, "add_noise", noise_of(0.5))
        monkeypatch.setattr("client_app.custodian.opening.load_cohort", opened.append)
        train = TrainRequest(study=study, round=1, parameters=start_of(study))
        for request in (DescribeRequest(study=study), train):
            reply = make_custodian().handle(request)
            assert isinstance(reply, RefusalReply)
            assert (reply.kind, reply.rule) == ("failed", "PrivacyError")
        assert "rehearsal failed: canaries: " in caplog.text
        assert opened == []

    def test_a_failed_rehearsal_is_not_remembered(self, study, network, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(local_round, "add_noise", noise_of(0.5))
            with pytest.raises(PrivacyError, match="rehearsal failed: canaries"):
                require_rehearsal(study, network, secret(1), ENGINE)
        assert require_rehearsal(study, network, secret(1), ENGINE).passed

    def test_a_record_of_a_failed_one_opens_nothing(self, study, network, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(local_round, "add_noise", noise_of(0.5))
            patch.setattr(module, "_refuse_failed", lambda rehearsal: rehearsal)
            require_rehearsal(study, network, secret(1), ENGINE)
        with pytest.raises(PrivacyError, match="rehearsal failed: canaries"):
            require_rehearsal(study, network, secret(1), ENGINE)

    def test_all_sites_of_a_machine_share_one(self, rehearsals, make_custodian, study, start_of, tmp_path):
        request = TrainRequest(study=study, round=1, parameters=start_of(study))
        for number in range(3):
            custodian = make_custodian(secret(number), tmp_path / str(number))
            assert isinstance(custodian.handle(request), TrainReply)
        assert len(rehearsals) == 1

    def test_what_it_does_not_follow_from_needs_no_other(self, rehearsals, make_study, network):
        for study in (make_study(), make_study(title="Another", training={"learning_rate": 0.2})):
            kept = require_rehearsal(study, network, secret(1), ENGINE)
        assert len(rehearsals) == 1
        assert math.isclose(kept.noise_found / kept.noise_multiplier, 1, rel_tol=0.05)

    @pytest.mark.parametrize(
        "changes",
        [
            {"privacy": {"clipping_norm": 2.0}},
            {"privacy": {"epsilon": 4.0}},
            {"rounds": 5},
            {"model": {"trainable": "head"}},
            {"task": {"image_size": [16, 16]}},
        ],
        ids=str,
    )
    def test_what_it_follows_from_asks_for_another(self, changes, rehearsals, make_study):
        for study in (make_study(), make_study(**changes)):
            require_rehearsal(study, build_network(study.model, study.task), secret(1), ENGINE)
        assert len(rehearsals) == 2

    def test_other_code_asks_for_another(self, rehearsals, study, network, monkeypatch):
        require_rehearsal(study, network, secret(1), ENGINE)
        monkeypatch.setattr(module, "_code", lambda: "changed")
        require_rehearsal(study, network, secret(1), ENGINE)
        assert len(rehearsals) == 2

    def test_a_study_without_a_promise_is_not_rehearsed(
        self, rehearsals, make_custodian, make_study, no_privacy
    ):
        reply = make_custodian().handle(DescribeRequest(study=make_study(privacy=no_privacy)))
        assert not isinstance(reply, RefusalReply)
        assert rehearsals == []
