"""Where noise is distributed a site's share is rehearsed, too; each weakened one is caught by that test."""

from dataclasses import replace

import numpy as np
import pytest

from client_app.audit import rehearsal as module
from client_app.audit.rehearsal import rehearse, require_rehearsal
from client_app.audit.share_checks import _ROUNDING, share_check
from client_app.training import local_round
from client_app.training.engines import ENGINES
from client_app.training.noise import noise_share
from federation.errors import PrivacyError
from federation.models import build_network
from federation.promise import noise_multiplier
from federation.secure_sum.ring import encode
from federation.sums import share_deviation
from tests.client_app.audit.weakened import SameEverywhere, SameInEachRound

HONEST = 20


def secret(number):
    return bytes([number]) * 32


@pytest.fixture(scope="module")
def make_distributed(make_study):
    """Of five hospitals, of which one colludes and one may drop out; with changes."""

    def make(secure_sum=None, **changes):
        return make_study(
            **{
                "training": {"steps": 1},
                "rounds": 8,
                "participants": ["alder", "birch", "cedar", "dogwood", "elm"],
            }
            | changes
            | {
                "privacy": {"mode": "distributed", **changes.get("privacy", {})},
                "aggregation": "secure",
                "secure_sum": {
                    "colluding": 1,
                    "dropouts": 1,
                    "lost_rounds": 3,
                    "weight_cap": 1000,
                    **(secure_sum or {}),
                },
            }
        )

    return make


@pytest.fixture
def study(make_distributed):
    return make_distributed()


def of(study, number=1):
    return rehearse(study, build_network(study.model, study.task), secret(number), "book_keeping")


def failed(rehearsal):
    return {check.name for check in rehearsal.checks if not check.passed}


def share_test(study, number=1, engine="book_keeping"):
    """The rehearsal's test of shares alone."""
    return share_check(study, build_network(study.model, study.task), secret(number), engine)[0]


# The weakened variants, each put in the place of what production calls.


def share_of(factor):
    def weaker(count, deviation, stream):
        return noise_share(count, factor * deviation, stream)

    return weaker


def all_counted_on(study, noise, sensitivity, numbers, grid):
    """As if nobody colluded and nobody dropped out."""
    parties = study.parties
    return share_deviation(study, noise, sensitivity, numbers, grid) * (parties.honest / parties.sites) ** 0.5


def without_rounding(study, noise, sensitivity, numbers, grid):
    """On a coarse grid, forgets how far rounding lets a patient move the sum."""
    step = np.sqrt(numbers) * grid.unit
    return share_deviation(study, noise, sensitivity, numbers, grid) * sensitivity / (sensitivity + step)


def all_but_two(count, deviation, stream):
    """The last two numbers as they are."""
    noise = noise_share(count, deviation, stream)
    noise[-2:] = 0
    return noise


def with_its_own_grid(vector, weight, grid, noise):
    """The grid ends at the site's own largest number, which tells what that is."""
    return encode(vector, weight, replace(grid, clip_bound=float(np.abs(vector).max()) or 1.0), noise)


def with_its_own_weight(vector, weight, grid, noise):
    """Tells in the weight's place whether there are patients."""
    words = encode(vector, weight, grid, noise)
    words[0] += bool(vector.any())
    return words


def without_an_end(vector, weight, grid, noise):
    """Clips nothing."""
    words = encode(0 * vector, weight, grid, noise)
    words[1:] += np.rint(vector / grid.unit).astype(np.int64).astype(np.uint32)
    return words


def a_mean(vector, weight, grid, noise):
    """Divided by how many there are, as a site's update would be."""
    return encode(vector / max(1.0, np.abs(vector).sum()), weight, grid, noise)


class TestSoundCode:
    @pytest.mark.deployment  # for its time
    def test_passes_every_time(self, study):
        assert [failed(of(study, number)) for number in range(HONEST)] == [set()] * HONEST

    @pytest.mark.deployment  # for its time
    @pytest.mark.parametrize(
        "changes",
        [
            {"privacy": {"clipping_norm": 1e-3}},
            {"privacy": {"clipping_norm": 500.0}},
            {"privacy": {"sampling_rate": 0.2, "epsilon": 2.0}},
            {"model": {"trainable": "head"}},
            {"training": {"steps": 1, "class_weights": [1.0, 4.0], "optimizer": "adam"}},
            {"participants": ["alder", "birch", "cedar"], "secure_sum": {"dropouts": 0}},
            {
                "participants": [f"site_{n}" for n in range(60)],
                "secure_sum": {"colluding": 20, "dropouts": 9},
            },
            {"secure_sum": {"clip_bound": 1e5}},
            {"secure_sum": {"clip_bound": 3.0}},
        ],
        ids=lambda changes: str(changes)[:60],
    )
    def test_passes_in_every_kind_of_study(self, changes, make_distributed):
        assert (test := share_test(make_distributed(**changes))).passed, test.reason

    @pytest.mark.parametrize("engine", ENGINES)
    def test_passes_by_every_engine(self, engine, study):
        assert share_test(study, engine=engine).passed

    def test_finds_the_noise_that_the_promise_asks_for(self, study):
        found = of(study)
        assert found.noise_multiplier == noise_multiplier(study)
        assert found.noise_found == pytest.approx(found.noise_multiplier, rel=0.05)

    def test_only_distributed_noise_has_shares_to_try(self, make_study, make_distributed):
        local = make_distributed().model_copy(update={"privacy": make_study().privacy})
        for study in (make_study(), local):
            assert "noise share" not in {check.name for check in of(study).checks}
            assert of(study).passed


@pytest.mark.deployment  # for its time
class TestWeakenedCode:
    @pytest.mark.parametrize("factor", [0.5, 0.9, 1.1])
    def test_a_share_of_another_size_is_found(self, factor, study, monkeypatch):
        monkeypatch.setattr(local_round, "noise_share", share_of(factor))
        assert failed(of(study)) == {"noise share"}
        outcomes = [share_test(study, number) for number in range(3)]
        assert [outcome.passed for outcome in outcomes] == [False] * 3
        assert outcomes[0].found == pytest.approx(factor, rel=0.05)

    def test_a_share_that_counts_on_all_others_is_found(self, study, monkeypatch):
        monkeypatch.setattr(local_round, "share_deviation", all_counted_on)
        assert not share_test(study).passed

    def test_a_share_that_forgets_rounding_is_found_where_it_matters(self, make_distributed, monkeypatch):
        monkeypatch.setattr(local_round, "share_deviation", without_rounding)
        assert not share_test(make_distributed({"clip_bound": 3e5})).passed

    @pytest.mark.parametrize("stream", [SameEverywhere, SameInEachRound])
    def test_a_share_that_comes_again_is_found(self, stream, study, monkeypatch):
        monkeypatch.setattr(local_round, "Stream", stream)
        assert not (test := share_test(study)).passed
        assert "correlate by 1.000" in test.reason

    def test_numbers_without_noise_are_found(self, study, monkeypatch):
        monkeypatch.setattr(local_round, "noise_share", all_but_two)
        assert not (test := share_test(study)).passed
        assert ", 2 came without noise" in test.reason

    def test_no_share_at_all_is_found(self, study, monkeypatch):
        monkeypatch.setattr(local_round, "noise_share", lambda count, *_: np.zeros(count + 1, np.int64))
        assert not share_test(study).passed

    @pytest.mark.parametrize(
        "mutant", [with_its_own_grid, with_its_own_weight, without_an_end, a_mean], ids=lambda m: m.__name__
    )
    def test_a_grid_that_hangs_on_the_patients_is_found(self, mutant, study, monkeypatch):
        monkeypatch.setattr(local_round, "encode", mutant)
        assert not (test := share_test(study)).passed
        assert test.limit == _ROUNDING, "the noise itself is as it should be"


class TestGate:
    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "cache"))

    def test_with_half_its_share_a_site_trains_nothing(self, study, monkeypatch):
        monkeypatch.setattr(local_round, "noise_share", share_of(0.5))
        network = build_network(study.model, study.task)
        with pytest.raises(PrivacyError, match="rehearsal failed: noise share"):
            require_rehearsal(study, network, secret(1), "book_keeping")

    def test_other_hospitals_or_another_grid_ask_for_another(self, make_distributed, monkeypatch):
        made, passed = [], of(make_distributed())
        monkeypatch.setattr(module, "rehearse", lambda *args: made.append(args) or passed)
        for study in (
            make_distributed(),
            make_distributed(title="Another"),
            make_distributed({"dropouts": 0}),
            make_distributed({"colluding": 2}),
            make_distributed({"clip_bound": 7.0}),
            make_distributed(participants=["alder", "birch", "cedar", "dogwood"]),
        ):
            require_rehearsal(study, build_network(study.model, study.task), secret(1), "book_keeping")
        assert len(made) == 5
