import pytest
import torch
from torch import nn

from client_app.training.batch_size import batch_size

HEAD = nn.Linear(512, 2), torch.ones(1, 512)
# 75 million multiplications and additions for an image.
WIDE = nn.Sequential(nn.Conv2d(1, 64, 3), nn.Conv2d(64, 64, 3)), torch.ones(1, 1, 34, 34)


def size(network, views, expected=100.0, rate=1.0, most=256):
    return batch_size(network, views, expected=expected, sampling_rate=rate, most=most)


def test_where_an_image_costs_next_to_nothing_all_go_at_once():
    assert size(*HEAD) == 100
    assert size(*HEAD, rate=0.1) == 119, "two standard deviations more, since some steps have more"


@pytest.mark.parametrize("expected", [1.0, 7.0, 100.0, 1000.0])
def test_where_an_image_costs_much_little_is_filled_up_for_nothing(expected):
    images = size(*WIDE, expected=expected)
    batches = -(-expected // images)
    assert images <= max(1, 0.6 * expected)
    assert images * batches <= 1.1 * expected + 1


def test_memory_bounds_it():
    assert size(*HEAD, most=30) == 25, "four batches of 25"


def test_many_views_make_an_image_costly():
    network, image = WIDE
    assert size(network, image[:, :, :10, :10]) > size(network, image[:, :, :10, :10].expand(40, -1, -1, -1))


def test_nobody_expected_is_a_batch_of_one():
    assert size(*HEAD, expected=1e-9, rate=1e-9) == 1
