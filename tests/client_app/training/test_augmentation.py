import pytest
import torch

from client_app.training.augmentation import augmented, moved
from client_app.training.batches import Batch
from client_app.training.stream import Stream
from federation.study import AugmentationSpec

STILL = {"views": 1, "rotation": 0.0, "shift": 0.0, "mirror": False}
SHAPES = [(5, 1, 12, 16), (5, 2, 6, 12, 16)]


def spec(**changes):
    return AugmentationSpec(**{**STILL, **changes})


def stream(purpose="moves"):
    return Stream(bytes(32), "study", 1, 0, purpose)


def ramp(shape):
    """Images whose value is the column, from 0 to 1."""
    return torch.linspace(0, 1, shape[-1]).expand(shape).clone()


@pytest.mark.parametrize("shape", SHAPES)
def test_without_moves_images_stay_as_they_are(shape):
    images = torch.rand(shape)
    assert torch.allclose(moved(images, spec(), stream()), images, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mirrored_image_is_flipped_left_to_right_and_about_half_of_them_are(shape):
    images = torch.rand(shape[1:]).expand(400, *shape[1:])
    views = moved(images, spec(mirror=True), stream())
    straight = (views - images).flatten(1).abs().amax(1) < 1e-4
    flipped = (views - images.flip(-1)).flatten(1).abs().amax(1) < 1e-4
    assert (straight ^ flipped).all()
    assert 150 < int(flipped.sum()) < 250


def test_a_shift_moves_by_its_share_of_the_side_at_most_and_in_every_direction():
    images = ramp((2000, 1, 20, 20))
    change = (moved(images, spec(shift=0.1), stream()) - images)[:, 0, 10, 10] * 19 / 20  # in sides
    assert float(change.abs().max()) <= 0.1 + 1e-3
    assert float(change.max()) > 0.09
    assert float(change.min()) < -0.09


def test_a_quarter_turn_keeps_the_middle_and_the_shape_of_an_image_that_is_not_square():
    image = torch.zeros(1, 1, 16, 32)
    image[..., 8, 16:24] = 1  # a bar of eight pixels to the right of the centre
    turns = moved(image.expand(500, *image.shape[1:]), spec(rotation=180), stream())
    weight = turns.sum((1, 2, 3))
    near = turns[:, :, 2:14, 8:24].sum((1, 2, 3))
    assert (weight > 5).all()
    assert torch.allclose(weight, torch.full_like(weight, 8), atol=2.5), "a bar stays eight pixels long"
    assert (near > 3).all()


def test_views_are_copies_of_a_patients_own_images_and_of_nobody_elses():
    values = torch.tensor([1.0, 2.0, 3.0])
    everybody = torch.ones(3, dtype=torch.bool)
    batch = Batch(values[:, None, None, None].expand(3, 1, 8, 8), torch.tensor([0, 1, 1]), everybody)
    views = augmented(batch, spec(views=4, rotation=20, shift=0.2, mirror=True), stream())
    assert torch.allclose(views.images.mean((1, 2, 3)), values.repeat_interleave(4), atol=1e-4)
    assert views.targets.tolist() == [0] * 4 + [1] * 8
    assert views.each == 4
    assert views.counted.tolist() == [True] * 3


def test_every_view_moves_in_its_own_way_and_equal_streams_move_alike():
    images = torch.rand(1, 1, 16, 16).expand(6, 1, 16, 16)
    how = spec(rotation=30, shift=0.1)
    once, again = moved(images, how, stream()), moved(images, how, stream())
    assert torch.equal(once, again)
    assert len({tuple(view.flatten().tolist()) for view in once}) == 6
    assert not torch.equal(once, moved(images, how, stream("other")))
