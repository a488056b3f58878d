"""Rounds over sums make the models that single updates make; of gradients, those that one site would make."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from federation.config import compose_run
from federation.messages import DescribeReply, DescribeRequest, TrainReply, from_content
from federation.models import build_network, layout_of
from federation.secure_sum.ring import encode
from federation.sums import training_grid
from server_app.membership import assemble
from server_app.rounds import Rounds
from tests.server_app.conftest import SITES, TINY
from tests.server_app.summing import Federation, Silent, answers_in_vain, raises, schedule_of

PATIENTS = dict(zip(SITES, (100, 250, 30, 420), strict=True))
ROUNDS = 3
# Another one each time, in A; the largest in round 2.
SILENT = {2: Silent(a=("dogwood",)), 3: Silent(a=("alder",))}
MEAN, ADAPTIVE = 1e-5, 5e-5  # what the grid's unit may move three rounds
STRATEGIES = {"fedavg": MEAN, "fedprox": MEAN, "fedavgm": MEAN, "fedadam": ADAPTIVE, "fedyogi": ADAPTIVE}


def drawn(site, round_number, size, scale):
    """What a site learnt in a round, float32 ``[size]``."""
    seed = int.from_bytes(hashlib.sha256(f"{site} {round_number}".encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(0, scale, size).astype(np.float32)


def update_of(site, round_number, size):
    return drawn(site, round_number, size, 0.1)


def gradient_of(site, round_number, size):
    """The sum of its patients' gradients, of some clipping norms."""
    return drawn(site, round_number, size, 8.0)


def survivors(round_number):
    return [site for site in SITES if site not in SILENT.get(round_number, Silent()).a]


@dataclass(frozen=True)
class Plain:
    """A node that sends its update by itself."""

    site: str
    numbers: int

    def __call__(self, message):
        request = from_content(message.content)
        if isinstance(request, DescribeRequest):
            return DescribeReply(site=self.site, declared_patients=PATIENTS[self.site])
        if self.site not in survivors(request.round):
            raise RuntimeError
        parameters = update_of(self.site, request.round, self.numbers)
        return TrainReply(site=self.site, round=request.round, steps=1, parameters=parameters)


def masked_update(site, request):
    size = int(layout_of(build_network(request.study.model, request.study.task)).mask.sum())
    weight = min(PATIENTS[site], request.study.secure_sum.weight_cap)
    return encode(update_of(site, request.round, size), weight, training_grid(request.study, size))


def masked_gradient(site, request):
    size = int(layout_of(build_network(request.study.model, request.study.task)).mask.sum())
    return encode(gradient_of(site, request.round, size), 1, training_grid(request.study, size))


def study_of(*overrides):
    return compose_run([*TINY, f"rounds={ROUNDS}", *overrides]).study


@pytest.fixture
def start(layout):
    return np.linspace(-1, 1, layout.size, dtype=np.float32)


@pytest.fixture
def results(on_grid, layout, start, book, tmp_path):
    """The results of all rounds, one by one or in sums; with ``restarts`` a new coordinator for each."""

    def run(study, words=None, schedule=None, restarts=False):
        numbers = int(layout.mask.sum())
        party = Federation(study, tmp_path, numbers)
        if study.secure_sum is None:
            hospitals = [Plain(site, numbers) for site in SITES]
        else:
            silent = schedule_of(SILENT) if schedule is None else schedule
            hospitals = [replace(h, patients=PATIENTS[h.site]) for h in party.hospitals(silent, words=words)]

        def do(grid):
            membership = assemble(grid, study, 60, 60, book)

            def begun():
                sums = None if study.secure_sum is None else party.sums(grid)
                if sums is not None:
                    sums.join()
                return Rounds(grid, study, membership, layout, 60, book=book, sums=sums)

            rounds, found, model = begun(), [], start
            for number in range(1, ROUNDS + 1):
                if restarts:
                    state, rounds = rounds.state, begun()
                    rounds.restore(state)
                found.append(rounds.run(number, model))
                model = found[-1].parameters
            return found

        return on_grid(do, *hospitals)

    return run


@pytest.mark.parametrize(("strategy", "tolerance"), STRATEGIES.items(), ids=STRATEGIES)
def test_every_strategy_makes_of_a_sum_what_it_makes_of_the_single_updates(
    results, start, layout, strategy, tolerance
):
    """With a hospital missing in two of the rounds; to what the grid of the sum rounds off."""
    plain = results(study_of(f"strategy={strategy}"))
    summed = results(study_of(f"strategy={strategy}", "aggregation=secure"), masked_update)
    before = start
    for number, (one, other) in enumerate(zip(plain, summed, strict=True), start=1):
        assert other.lost == ""
        assert sorted(other.steps) == sorted(one.steps) == survivors(number)
        assert np.abs(one.parameters - before)[layout.mask].max() > 100 * tolerance
        np.testing.assert_allclose(other.parameters, one.parameters, rtol=0, atol=tolerance)
        assert np.array_equal(other.parameters[~layout.mask], start[~layout.mask])
        before = one.parameters


def test_a_hospital_above_the_cap_counts_as_one_at_it(results, start, layout):
    capped = study_of("aggregation=secure", "secure_sum.weight_cap=100")
    (first, *_) = results(capped, masked_update)
    weights = np.array([100, 100, 30, 100])
    updates = np.stack([update_of(site, 1, int(layout.mask.sum())) for site in SITES]).astype(np.float64)
    expected = start[layout.mask] + np.average(updates, axis=0, weights=weights)
    np.testing.assert_allclose(first.parameters[layout.mask], expected, rtol=0, atol=1e-6)


@pytest.mark.deployment  # for its time
@pytest.mark.parametrize("restarts", [False, True], ids=["in one go", "restarted each round"])
@pytest.mark.parametrize("momentum", [0.0, 0.9, None], ids=["sgd", "momentum", "adam"])
def test_distributed_rounds_step_as_torch_does_on_the_pooled_gradient(
    results, start, layout, momentum, restarts
):
    """The denominator is that of the survivors: sampling rate times the patients that they declare."""
    chosen = (
        ("training.optimizer=adam", "training.learning_rate=0.01", "training.momentum=0")
        if momentum is None
        else ("training.learning_rate=0.5", f"training.momentum={momentum}")
    )
    overrides = (
        "aggregation=secure",
        "privacy=distributed",
        "privacy.sampling_rate=0.5",
        "training.steps=1",
        *chosen,
    )
    found = results(study_of(*overrides), masked_gradient, restarts=restarts)
    by_survivors, by_all = (torch.nn.Parameter(torch.from_numpy(start[layout.mask])) for _ in range(2))
    optimizers = [
        torch.optim.Adam([each], lr=0.01)
        if momentum is None
        else torch.optim.SGD([each], lr=0.5, momentum=momentum)
        for each in (by_survivors, by_all)
    ]
    for number, result in enumerate(found, start=1):
        assert result.lost == ""
        there = survivors(number)
        total = sum(gradient_of(site, number, len(by_all)).astype(np.float64) for site in there)
        for each, sites in ((by_survivors, there), (by_all, SITES)):
            expected = 0.5 * sum(PATIENTS[site] for site in sites)
            each.grad = torch.from_numpy((total / expected).astype(np.float32))
        for optimizer in optimizers:
            optimizer.step()
        after = result.parameters[layout.mask]
        np.testing.assert_allclose(after, by_survivors.detach().numpy(), rtol=0, atol=3e-6)
        assert np.array_equal(result.parameters[~layout.mask], start[~layout.mask])
    assert np.abs(after - by_all.detach().numpy()).max() > 1e-3


TWO = {("birch", 2, "A"): raises, ("cedar", 2, "A"): answers_in_vain}


def require_lost(before, lost):
    assert lost.lost.startswith("2 sites of the cohort sent a vector of round 2")
    assert lost.parameters.tobytes() == before.parameters.tobytes()
    assert set(lost.absent) == {"birch", "cedar"}


def change(before, after, layout):
    assert after.lost == ""
    return (after.parameters - before.parameters)[layout.mask]


def test_a_lost_round_leaves_the_model_and_the_strategy_as_they_were(results, start, layout):
    """The momentum after it is that of before it."""
    first, lost, third = results(study_of("strategy=fedavgm", "aggregation=secure"), masked_update, TWO)
    mean = np.average(
        [update_of(site, 3, int(layout.mask.sum())) for site in SITES],
        axis=0,
        weights=list(PATIENTS.values()),
    )
    require_lost(first, lost)
    expected = 0.9 * (first.parameters - start)[layout.mask] + mean
    np.testing.assert_allclose(change(lost, third, layout), expected, rtol=0, atol=MEAN)


def test_a_lost_round_leaves_the_optimiser_as_it_was(results, start, layout):
    """The same of distributed steps."""
    rate = ("training.learning_rate=0.5", "training.momentum=0.9")
    study = study_of("aggregation=secure", "privacy=distributed", "training.steps=1", *rate)
    first, lost, third = results(study, masked_gradient, TWO)
    gradient = sum(gradient_of(site, 3, int(layout.mask.sum())) for site in SITES) / sum(PATIENTS.values())
    require_lost(first, lost)
    expected = 0.9 * (first.parameters - start)[layout.mask] - 0.5 * gradient
    np.testing.assert_allclose(change(lost, third, layout), expected, rtol=0, atol=MEAN)


@pytest.mark.parametrize("weight", [0, -1, 2**31 - 1])
@pytest.mark.parametrize(
    "overrides", [("aggregation=secure",), ("aggregation=secure", "privacy=distributed", "training.steps=1")]
)
def test_a_weight_that_the_hospitals_cannot_have_loses_the_round_and_not_the_run(results, overrides, weight):
    """One of them sends nonsense; who it is the sum does not tell."""
    study = study_of(*overrides)
    honest = masked_gradient if study.privacy.mode == "distributed" else masked_update

    def words(site, request):
        sent = honest(site, request)
        if (site, request.round) == ("alder", 2):
            others = sum(int(honest(other, request)[0]) for other in SITES if other != site)
            sent[0] = (weight - others) % 2**32
        return sent

    first, second, third = results(study, words, {})
    assert second.lost.startswith(f"a total weight of {weight}")
    assert second.parameters.tobytes() == first.parameters.tobytes()
    assert (third.lost, tuple(third.steps)) == ("", SITES)


def test_a_sum_over_fewer_than_the_quorum_is_lost(results):
    _, second, _ = results(study_of("aggregation=secure", "quorum=4"), masked_update)
    assert second.lost == "3 hospitals are in the sum, quorum 4"
    assert list(second.absent) == ["dogwood"]
