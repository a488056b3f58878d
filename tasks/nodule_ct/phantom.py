"""Phantoms: invented lesions through the same renderer. No patient's data goes into them, so they are public.

Sizes, shapes and looks follow general radiological knowledge (Fleischner Society 2017, Lung-RADS 2022): most
nodules are small, solid and smooth; calcium in a benign pattern is common in small smooth ones; spicules and
part-solid texture come with larger ones. The label follows the Brock model's terms for size, spiculation and
texture (McWilliams et al., NEJM 369:910, 2013), made steeper. All of it is assumption; nothing is fitted to
LIDC-IDRI.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.nodule_ct.background import draw_body
from tasks.nodule_ct.protocol import PROTOCOLS
from tasks.nodule_ct.render import random_for, render
from tasks.nodule_ct.shape import PIXEL, SIZE, Calcification, Lesion, slab_weights

_ANGLES = np.linspace(0, 2 * np.pi, 120, endpoint=False)
_AXIS = (np.arange(SIZE) + 0.5 - SIZE / 2) * PIXEL
_PIXEL_RADIUS = np.hypot(*np.meshgrid(_AXIS, _AXIS))
_PIXEL_ANGLE = np.arctan2(*np.meshgrid(_AXIS, _AXIS)[::-1])
_BENIGN_PATTERNS = (
    Calcification.SOLID,
    Calcification.CENTRAL,
    Calcification.LAMINATED,
    Calcification.POPCORN,
)
_STEEPNESS = 2.0  # Brock's odds are of cancer in screening; readers' judgements are more clear-cut
_EVEN_ODDS = 3.13  # Brock's terms at which the label is a coin's throw: a smooth solid nodule of 10 mm


@dataclass(frozen=True)
class Phantom:
    """One invented lesion, rendered.

    Attributes:
        image: int16 ``[64, 64]`` in HU.
        target: 1 when it was labelled malignant.
        area: of the drawn lesion on its slice, in mm².
    """

    image: NDArray[np.int16]
    target: int
    area: float


@dataclass(frozen=True)
class _Look:
    """What was drawn for one phantom: diameter in mm; spiculation and lobulation from 0 to 1."""

    diameter: float
    spiculation: float
    lobulation: float
    texture: float
    margin: float
    pattern: Calcification


def phantom(seed: int, number: int) -> Phantom:
    """Phantom ``number`` of a seed; it does not depend on how many others are made."""
    random = random_for("phantom", seed, number)
    look = _draw_look(random)
    protocol = PROTOCOLS[random.integers(len(PROTOCOLS))]
    thickness = float(random.choice(protocol.thicknesses))
    coverage, area = _draw_shape(look, thickness, random)
    calcified = 1.0 if look.pattern is not Calcification.ABSENT else 0.0
    lesion = Lesion(coverage, look.texture, look.margin, look.pattern, calcified)
    image = render(
        lesion=lesion,
        protocol=protocol,
        thickness=thickness,
        contrast=bool(random.random() < 1 / 3),
        body=draw_body(random),
        random=random,
    )
    return Phantom(image, int(random.random() < _chance(look)), area)


def _draw_look(random: np.random.Generator) -> _Look:
    """A nodule's features: size first, then what tends to come with it."""
    diameter = float(np.clip(np.exp(random.normal(np.log(9), 0.55)), 3.5, 40))
    large = float(np.clip((diameter - 5) / 15, 0, 1))
    spiculation = random.uniform(0.3, 1.0) if random.random() < 0.08 + 0.45 * large else 0.0
    lobulation = random.uniform(0.2, 1.0) if random.random() < 0.2 + 0.5 * large else 0.0
    kind = random.random()
    if kind < 0.75:
        texture = float(random.choice([5.0, 4.75, 4.5], p=[0.7, 0.2, 0.1]))
    else:
        texture = random.uniform(2, 4.5) if kind < 0.88 else random.uniform(1, 2)
    margin = 5 - abs(random.normal(0, 0.8)) - 1.5 * spiculation - (5 - texture) / 4
    pattern = Calcification.ABSENT
    if texture == 5 and not spiculation and random.random() < 0.5 - 0.4 * large:
        pattern = _BENIGN_PATTERNS[random.choice(len(_BENIGN_PATTERNS), p=[0.7, 0.16, 0.07, 0.07])]
    elif texture == 5 and random.random() < 0.04:
        pattern = Calcification.NON_CENTRAL
    return _Look(diameter, spiculation, lobulation, texture, float(np.clip(margin, 1, 5)), pattern)


def _chance(look: _Look) -> float:
    """The chance of the label "malignant"."""
    terms = -5.3854 * ((look.diameter / 10) ** -0.5 - 1.58113883)
    terms += 0.7729 * (look.spiculation > 0)
    terms += -0.1276 if look.texture < 2 else 0.377 if look.texture < 4.5 else 0.0
    if look.pattern in _BENIGN_PATTERNS:
        terms -= 5  # the Brock model is not for these: Fleischner calls them benign
    return float(1 / (1 + np.exp(-_STEEPNESS * (terms - _EVEN_ODDS))))


def _draw_shape(
    look: _Look, thickness: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Coverage ``[64, 64]`` and area in mm² of a lobed, spiked ellipsoid as two readers outline it."""
    long, short, height = look.diameter / 2 * np.array([1.0, *random.uniform([0.6, 0.6], 1.0)])
    turn = random.uniform(0, 2 * np.pi)
    rim = 1 / np.hypot(np.cos(_ANGLES - turn) / long, np.sin(_ANGLES - turn) / short)
    waves = np.arange(2, 6)
    sizes = random.normal(0, 0.03 + 0.08 * look.lobulation, 4)
    rim = rim * (1 + np.cos(np.outer(_ANGLES, waves) + random.uniform(0, 2 * np.pi, 4)) @ sizes)
    if look.spiculation:
        rim = rim + look.spiculation * _spikes(look.diameter / 2, random)
    own, neighbour = slab_weights(thickness, thickness)
    coverage = np.zeros((SIZE, SIZE), dtype=np.float32)
    # The slice rarely goes through the very middle, and a reader sees even the flattest lesion on one slice.
    offset = random.uniform(-0.5, 0.5) * thickness
    height = max(height, thickness / 2 + 0.1)
    rim_at_pixel = np.interp(_PIXEL_ANGLE, _ANGLES, rim, period=2 * np.pi)
    readers = np.exp(random.normal(0, 0.06, 2))
    for reader in readers:
        for step, weight in ((-1, neighbour), (0, own), (1, neighbour)):
            narrowing = 1 - ((offset + step * thickness) / height) ** 2
            if narrowing > 0:
                beyond = _PIXEL_RADIUS - rim_at_pixel * (reader * np.sqrt(narrowing))
                coverage += np.float32(weight / 2) * np.clip(0.5 - beyond / PIXEL, 0, 1).astype(np.float32)
    scale = float(np.mean(readers**2)) * (1 - (offset / height) ** 2)
    area = float(rim @ np.roll(rim, -1)) / 2 * np.sin(_ANGLES[1]) * scale
    return coverage, float(area)


def _spikes(radius: float, random: np.random.Generator) -> NDArray[np.float64]:
    """How far a fully spiculated rim stands out at each angle, in mm: thin strands of 1 to 5 mm."""
    count = int(random.integers(5, 13))
    away = np.abs((_ANGLES[:, None] - random.uniform(0, 2 * np.pi, count) + np.pi) % (2 * np.pi) - np.pi)
    length = np.minimum(random.uniform(1, 5, count), radius)
    heights: NDArray[np.float64] = (length * np.exp(-away * radius / 0.8)).max(axis=1)
    return heights
