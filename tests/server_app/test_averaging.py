import numpy as np
import pytest

from federation.config import compose_run
from server_app.averaging import MovingAverage, TailAverage, average_of


def model(value):
    return np.array([value], dtype=np.float32)


def after(average, values):
    for number, value in enumerate(values, 1):
        average.add(number, model(value))
    return average.value


@pytest.mark.parametrize("first", [1, 2, 7, 10])
def test_the_tail_is_the_mean_of_the_models_from_its_first_round_on(first):
    average = TailAverage(first)
    assert after(average, range(1, 11)) == pytest.approx([(first + 10) / 2])
    assert average.value.dtype == np.float32
    assert [number for number in range(1, 11) if average.counts(number)] == list(range(first, 11))


def test_a_moving_average_weighs_a_model_less_the_longer_ago_it_was():
    average = MovingAverage(0.75)
    assert after(average, [8, 0, 4]) == pytest.approx([8 * 0.75**2 + 4 * 0.25])
    assert average.value.dtype == np.float32


def test_a_moving_average_of_equal_models_is_that_model():
    assert after(MovingAverage(0.9), [3.5] * 20) == pytest.approx([3.5])


def test_there_is_no_average_before_the_first_model():
    with pytest.raises(ValueError, match="no round's model"):
        _ = MovingAverage(0.5).value


def test_a_study_releases_its_tail_unless_it_asks_for_a_moving_average():
    assert isinstance(average_of(compose_run([]).study), TailAverage)
    assert isinstance(average_of(compose_run(["moving_average=0.9"]).study), MovingAverage)
