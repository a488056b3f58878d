from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from tasks.nodule_ct.background import Body, draw_body
from tasks.nodule_ct.label import Label
from tasks.nodule_ct.lidc import Nodule
from tasks.nodule_ct.protocol import PROTOCOLS, protocol_number
from tasks.nodule_ct.render import LEAST_HU, MOST_HU, random_for, render, render_nodule
from tasks.nodule_ct.shape import SIZE, Calcification, Lesion, lesion_of, slab_weights
from tasks.split import in_train

Renderer = Callable[[Nodule], np.ndarray]


def rated(nodule: Nodule, **ratings: int) -> Nodule:
    """The same nodule, had every reader rated it so."""
    readings = tuple(replace(r, ratings=replace(r.ratings, **ratings)) for r in nodule.readings)
    return replace(nodule, readings=readings)


def sees_malignancy(renderer: Renderer, nodules: list[Nodule]) -> bool:
    return any(
        not np.array_equal(renderer(rated(nodule, malignancy=1)), renderer(rated(nodule, malignancy=5)))
        for nodule in nodules
    )


def brighter_when_malignant(nodule: Nodule) -> np.ndarray:
    patch = render_nodule(nodule)
    patch[0, 0] += int(nodule.malignancy)
    return patch


def other_noise_when_malignant(nodule: Nodule) -> np.ndarray:
    return render(
        lesion=lesion_of(nodule),
        protocol=PROTOCOLS[protocol_number(nodule.slice_thickness)],
        thickness=nodule.slice_thickness,
        contrast=nodule.contrast,
        body=draw_body(random_for("patient", nodule.patient)),
        random=random_for("nodule", nodule.identity, nodule.malignancy),
    )


def disc(radius: float = 6.0, **changes: object) -> Lesion:
    axis = (np.arange(SIZE) + 0.5 - SIZE / 2) * 0.75
    coverage = (np.hypot(*np.meshgrid(axis, axis)) < radius).astype(np.float32)
    lesion = Lesion(coverage, texture=5, margin=5, pattern=Calcification.ABSENT, calcified=0)
    return replace(lesion, **changes)


def drawn(lesion: Lesion | None, part: int = 0, seed: object = 0) -> np.ndarray:
    protocol = PROTOCOLS[part]
    return render(
        lesion=lesion,
        protocol=protocol,
        thickness=protocol.thicknesses[0],
        contrast=False,
        body=Body(parenchyma=-865, noise=1),
        random=random_for("test", seed),
    )


def test_changing_a_malignancy_rating_changes_no_pixel(some_nodules):
    assert not sees_malignancy(render_nodule, some_nodules)


@pytest.mark.parametrize("mutant", [brighter_when_malignant, other_noise_when_malignant])
def test_a_renderer_that_leaks_malignancy_is_caught(mutant, some_nodules):
    assert sees_malignancy(mutant, some_nodules)


def test_what_the_renderer_is_given_has_no_field_for_malignancy():
    names = {field.name for field in fields(Lesion)}
    assert names == {"coverage", "texture", "margin", "pattern", "calcified"}


@pytest.mark.parametrize("rating", [{"texture": 1}, {"margin": 1}, {"calcification": 3}])
def test_changing_how_a_nodule_looks_changes_its_pixels(rating, some_nodules):
    plain = {"texture": 5, "margin": 5, "calcification": 6}
    for nodule in some_nodules:
        before = render_nodule(rated(nodule, **plain))
        assert not np.array_equal(before, render_nodule(rated(nodule, **plain | rating)))


def test_a_patch_has_the_same_bits_alone_in_a_batch_and_in_any_order(some_nodules):
    forwards = [render_nodule(nodule) for nodule in some_nodules]
    backwards = [render_nodule(nodule) for nodule in reversed(some_nodules)]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert np.array_equal(forwards[7], render_nodule(some_nodules[7]))


def test_a_patch_is_whole_hounsfield_units_within_the_window(some_nodules):
    for patch in map(render_nodule, some_nodules):
        assert patch.shape == (SIZE, SIZE)
        assert patch.dtype == np.int16
        assert LEAST_HU <= patch.min() < patch.max() <= MOST_HU


def test_densities_are_ordered_lung_ground_glass_solid_calcified():
    looks = [None, disc(texture=1), disc(), disc(pattern=Calcification.SOLID, calcified=1)]
    means = [np.mean([drawn(look, seed=s)[28:36, 28:36].mean() for s in range(20)]) for look in looks]
    assert -900 < means[0] < means[1] - 100 < means[2] - 500
    assert means[2] == pytest.approx(25, abs=40)
    assert means[3] > means[2] + 200


def test_a_poor_margin_blurs_the_edge():
    sharp, poor = (
        np.mean([drawn(disc(margin=margin), seed=s) for s in range(20)], axis=0) for margin in (5, 1)
    )
    assert np.abs(np.diff(poor[32])).max() < 0.6 * np.abs(np.diff(sharp[32])).max()


def test_the_noise_of_an_image_is_that_of_its_protocol():
    for part, protocol in enumerate(PROTOCOLS):
        # Far from vessels and wall: the median spread over many patches of a corner.
        spread = np.median([drawn(None, part, seed)[:8, :8].std() for seed in range(60)])
        expected = np.hypot(protocol.noise, 22)
        assert 0.7 * expected < spread < 1.3 * expected


def test_every_calcification_pattern_but_none_adds_density():
    plain = drawn(disc(8)).sum(dtype=int)
    for pattern in Calcification:
        with_calcium = drawn(disc(8, pattern=pattern, calcified=1)).sum(dtype=int)
        assert (with_calcium > plain) == (pattern is not Calcification.ABSENT)


def test_a_thick_slice_takes_more_from_its_neighbours():
    own, neighbour = slab_weights(spacing=1, thickness=1)
    assert own + 2 * neighbour == pytest.approx(1)
    assert slab_weights(spacing=1, thickness=2)[1] == pytest.approx(2 * neighbour)


def test_the_background_alone_predicts_nothing(nodules, auc):
    chosen = [n for n in nodules if Label.MALIGNANCY.target(n) is not None]
    chosen = [n for n in chosen if protocol_number(n.slice_thickness) == 1]
    images = np.stack(
        [
            render(
                lesion=None,
                protocol=PROTOCOLS[1],
                thickness=n.slice_thickness,
                contrast=n.contrast,
                body=draw_body(random_for("patient", n.patient)),
                random=random_for("nodule", n.identity),
            )
            for n in chosen
        ]
    )
    targets = np.array([Label.MALIGNANCY.target(n) for n in chosen])
    train = np.array([in_train(n.patient) for n in chosen])
    coarse = images.reshape(-1, 8, 8, 8, 8).mean(axis=(2, 4)).reshape(-1, 64)
    features = np.column_stack([np.ones(len(images)), coarse / 100, images.std(axis=(1, 2)) / 100])
    ridge = features[train].T @ features[train] + 30 * np.eye(66)
    weights = np.linalg.solve(ridge, features[train].T @ (targets[train] * 2.0 - 1))
    # 87 test nodules: the standard error of this AUC is about .06.
    assert abs(auc(targets[~train], features[~train] @ weights) - 0.5) < 0.15
