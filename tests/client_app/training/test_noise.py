import math

import numpy as np
import pytest
import torch

from client_app.training.noise import add_noise, grid_step
from client_app.training.stream import Stream

SECRET = b"a secret of thirty-two bytes, no"


def in_floating_point(totals, noise_multiplier, clipping_norm, stream):
    """Mutant: what most libraries do, noise cast to float32 and added."""
    noise = stream.normal(sum(total.numel() for total in totals)) * noise_multiplier * clipping_norm
    return [totals[0] + torch.from_numpy(noise).float()]


def noisy(add, total, number, clipping_norm=1.0):
    stream = Stream(SECRET, "study", number, 0, "noise")
    return add([torch.full((2000,), total, dtype=torch.float32)], 1.0, clipping_norm, stream)[0]


def multiples_of(values, step):
    steps = values.double().numpy() / step
    return bool((steps == np.rint(steps)).all())


@pytest.mark.parametrize("total", [0.0, 1 / 3, -2.718281828, 1e-9])
@pytest.mark.parametrize("clipping_norm", [1.0, 0.1, 3.0])
def test_every_number_lies_on_the_grid_whatever_the_data(total, clipping_norm):
    released = noisy(add_noise, total, 1, clipping_norm)
    assert released.dtype == torch.float64
    assert multiples_of(released, grid_step(clipping_norm))


def test_the_last_bits_tell_nothing_and_in_floating_point_they_would():
    """Close to zero, float32 noise is finer than its sum with data can be: the sum's last bits are a tell."""

    def finest(add, total):
        values = torch.cat([noisy(add, total, number) for number in range(20)]).double()
        near = values[values.abs() < 0.01]
        return not multiples_of(near, 2.0**-25)

    assert finest(in_floating_point, 0.0) != finest(in_floating_point, 1.0), "the mutant gives it away"
    assert finest(add_noise, 0.0) == finest(add_noise, 1.0)


def test_noise_has_the_promised_deviation_of_the_raised_sensitivity():
    draws = torch.cat([noisy(add_noise, 0.25, number) for number in range(50)]).numpy() - 0.25
    expected = 1.0 + math.sqrt(2000) * grid_step(1.0)
    # The sample deviation of n normal draws has a standard error of 1 / sqrt(2n).
    assert abs(draws.std() / expected - 1) < 5 / math.sqrt(2 * draws.size)
    assert abs(draws.mean()) < 5 / math.sqrt(draws.size)


def test_data_far_from_zero_are_kept_to_the_grid():
    big, none = noisy(add_noise, 1000.3, 1), noisy(add_noise, 0.0, 1)
    assert torch.allclose(big - none, torch.tensor(1000.3, dtype=torch.float64), atol=1e-4)


def test_shapes_stay():
    totals = [torch.zeros(3, 4), torch.zeros(5), torch.zeros(())]
    shapes = [tuple(t.shape) for t in add_noise(totals, 1.0, 1.0, Stream(SECRET, "a"))]
    assert shapes == [(3, 4), (5,), ()]


def test_the_grid_is_a_power_of_two_fine_against_the_norm():
    for norm in (1e-6, 0.1, 1.0, 7.5, 1e6):
        step = grid_step(norm)
        assert math.log2(step).is_integer()
        assert norm / 2**21 < step <= norm / 2**20
