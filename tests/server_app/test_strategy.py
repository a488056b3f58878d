from itertools import permutations

import numpy as np
import pytest

from federation.config import compose_run
from federation.errors import RunError
from server_app.strategy import ServerOptimizer, SiteUpdate

SIZE, ROUNDS = 50, 3
WEIGHTS = {"alder": 160, "birch": 150, "cedar": 70, "dogwood": 20}
NAMES = ("fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi")


def spec_of(name):
    return compose_run([f"strategy={name}"]).study.strategy


def updates_of(round_number):
    draw = np.random.default_rng(round_number)
    return [
        SiteUpdate(site, weight, draw.normal(0, 0.1, SIZE).astype(np.float32))
        for site, weight in WEIGHTS.items()
    ]


def first_model():
    return np.random.default_rng(0).normal(size=SIZE).astype(np.float32)


@pytest.fixture
def rounds_of(on_grid, hospital):
    """The models after each of three rounds of a strategy."""

    def run(spec, updates=updates_of, start=None, rounds=ROUNDS):
        def do(grid):
            optimizer, models = ServerOptimizer(spec, grid), [first_model() if start is None else start]
            for number in range(1, rounds + 1):
                models.append(optimizer.step(number, models[-1], updates(number)))
            return models[1:]

        return on_grid(do, hospital("alder"))

    return run


def mean_change(round_number):
    total = sum(WEIGHTS.values())
    return sum(
        update.weight / total * update.change.astype(np.float64) for update in updates_of(round_number)
    )


def by_formula(spec):
    """The same three rounds in float64, from the papers' formulas."""
    x, models = first_model().astype(np.float64), []
    m, v = np.zeros(SIZE), np.zeros(SIZE)
    for t in range(1, ROUNDS + 1):
        delta = mean_change(t)
        match spec.name:
            case (
                "fedavg" | "fedprox"
            ):  # McMahan et al. 2017, algorithm 1; Li et al. 2020 differs at the sites
                x = x + delta
            case "fedavgm":  # Hsu et al. 2019, section 4.3
                m = spec.momentum * m + delta
                x = x + spec.learning_rate * m
            case "fedadam" | "fedyogi":  # Reddi et al. 2021, algorithm 2
                m = spec.momentum * m + (1 - spec.momentum) * delta
                rate = spec.learning_rate
                if spec.name == "fedadam":
                    v = spec.second_moment * v + (1 - spec.second_moment) * delta**2
                    # Flower adds the bias correction of Kingma & Ba 2015, and counts one round ahead.
                    rate *= np.sqrt(1 - spec.second_moment ** (t + 1)) / (1 - spec.momentum ** (t + 1))
                else:
                    v = v - (1 - spec.second_moment) * delta**2 * np.sign(v - delta**2)
                x = x + rate * m / (np.sqrt(v) + spec.adaptivity)
        models.append(x)
    return models


@pytest.mark.parametrize("name", NAMES)
def test_three_rounds_follow_the_formula(rounds_of, name):
    spec = spec_of(name)
    for model, expected in zip(rounds_of(spec), by_formula(spec), strict=True):
        np.testing.assert_allclose(model, expected, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_float32_after_every_round(rounds_of, name):
    for model in rounds_of(spec_of(name)):
        assert model.dtype == np.float32
        assert model.shape == (SIZE,)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_updates_changes_no_bit(rounds_of, name):
    usual = rounds_of(spec_of(name))[-1].tobytes()
    for order in list(permutations(range(4)))[1::7]:
        shuffled = rounds_of(
            spec_of(name), lambda number, order=order: [updates_of(number)[i] for i in order]
        )
        assert shuffled[-1].tobytes() == usual


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_would_not_be_finite_ends_the_run(rounds_of, name):
    huge = np.full(SIZE, np.finfo(np.float32).max, dtype=np.float32)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(RunError, match=r"round 1: the model is not finite; lower strategy\.learning_rate"),
    ):
        rounds_of(spec_of(name), lambda number: [SiteUpdate("alder", 1, huge)], start=huge)


@pytest.mark.parametrize("name", ["fedavg", "fedprox"])
def test_one_hospital_alone_gets_its_own_model_back(rounds_of, name):
    (update, *_) = updates_of(1)
    (model,) = rounds_of(spec_of(name), lambda number: [update], rounds=1)
    np.testing.assert_allclose(model, first_model() + update.change, rtol=1e-6)


def test_strategies_with_settings_depend_on_them(rounds_of):
    for name, setting, value in (
        ("fedavgm", "momentum", 0.5),
        ("fedavgm", "learning_rate", 0.5),
        ("fedadam", "adaptivity", 0.1),
        ("fedyogi", "second_moment", 0.5),
    ):
        spec = spec_of(name)
        other = spec.model_copy(update={setting: value})
        assert not np.array_equal(rounds_of(spec)[-1], rounds_of(other)[-1]), f"{name}.{setting}"
