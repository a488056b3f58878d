"""The renderer: a lesion's shape and look, a protocol and a patient's body become a CT patch in HU.

Rendered, not measured: LIDC-IDRI's outlines and ratings are real, its densities are not at hand. Nothing here
can see a malignancy rating, because `Lesion` has no field for it.
"""

from functools import lru_cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from tasks.nodule_ct.background import Body, background, draw_body
from tasks.nodule_ct.lidc import Nodule
from tasks.nodule_ct.protocol import PROTOCOLS, Protocol, protocol_number
from tasks.nodule_ct.shape import PIXEL, SIZE, Calcification, Lesion, lesion_of

LEAST_HU, MOST_HU = -1000, 400

_RATING = (1, 2, 3, 4, 5)
_EDGE_SIGMA = (2.0, 1.5, 1.0, 0.65, 0.4)  # mm, by margin
_CORE_DEPTH = (1.2, 0.75, 0.5, 0.25, -0.5)  # of the way to the centre, by texture: where solid tissue begins
_SIGMA_OF_WIDTH = 1 / np.sqrt(8 * np.log(2))
_MOTTLE = 22.0  # HU, of lung and soft tissue
_MOTTLE_SIGMA = 1.2  # mm


def random_for(*names: object) -> np.random.Generator:
    """A generator of its own for each name, whatever else is drawn and in whatever order."""
    digest = sha256("/".join(str(name) for name in names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def render_nodule(nodule: Nodule) -> NDArray[np.int16]:
    """A nodule's patch, int16 ``[64, 64]`` in HU; the same bits alone, in a batch and in any order."""
    return render(
        lesion=lesion_of(nodule),
        protocol=PROTOCOLS[protocol_number(nodule.slice_thickness)],
        thickness=nodule.slice_thickness,
        contrast=nodule.contrast,
        body=draw_body(random_for("patient", nodule.patient)),
        random=random_for("nodule", nodule.identity),
    )


def render(
    *,
    lesion: Lesion | None,
    protocol: Protocol,
    thickness: float,
    contrast: bool,
    body: Body,
    random: np.random.Generator,
) -> NDArray[np.int16]:
    """One patch, int16 ``[64, 64]`` in HU, from `LEAST_HU` to `MOST_HU`.

    Args:
        lesion: what lies in the middle; None leaves the background alone.
        protocol: of the hospital.
        thickness: of the slice, in mm.
        contrast: whether contrast medium was given.
        body: of the patient.
        random: consumed; two equal ones give equal bits.
    """
    image = background(body, thickness, contrast, random)
    noise = _noise(protocol, body.noise, random)
    if lesion is not None:
        image = with_lesion(image, lesion, contrast, random)
    image = gaussian_filter(image, protocol.blur * _SIGMA_OF_WIDTH / PIXEL, mode="nearest", truncate=3.0)
    patch: NDArray[np.int16] = np.clip(np.rint(image + noise), LEAST_HU, MOST_HU).astype(np.int16)
    return patch


def with_lesion(
    image: NDArray[np.float32], lesion: Lesion, contrast: bool, random: np.random.Generator
) -> NDArray[np.float32]:
    """The background with the lesion in it, float32 ``[64, 64]`` in HU."""
    ground_glass, solid = random.normal(270, 40), random.normal(50 if contrast else 25, 20)
    calcium = random.normal(480, 120)
    roughness = random.standard_normal((SIZE // 4, SIZE // 4))
    spot = random.normal(0, 0.35, 2)
    radius = lesion.radius
    sigma = min(float(np.interp(lesion.margin, _RATING, _EDGE_SIGMA)), 0.45 * radius)
    covered: NDArray[np.float32] = gaussian_filter(lesion.coverage, sigma / PIXEL, truncate=3.0)
    # Ground glass lets vessels shine through and adds nothing to what is dense already.
    hazy: NDArray[np.float32] = np.maximum(image, np.minimum(image + ground_glass * covered, -200))
    if lesion.texture == 5 and lesion.calcified == 0:
        return hazy + (np.float32(solid) - hazy) * covered
    inside = distance_transform_edt(lesion.coverage > 0.5 * lesion.coverage.max())
    depth: NDArray[np.float32] = (inside / max(inside.max(), 1.0)).astype(np.float32)
    uneven = depth + np.float32(0.18) * _smooth(roughness)
    core = gaussian_filter((uneven > np.interp(lesion.texture, _RATING, _CORE_DEPTH)).astype(np.float32), 0.6)
    soft: NDArray[np.float32] = hazy + (np.float32(solid) - hazy) * np.minimum(core, covered)
    if lesion.calcified == 0:
        return soft
    where = calcium_mask(lesion.pattern, depth, uneven, spot)
    bone: NDArray[np.float32] = covered * gaussian_filter(where.astype(np.float32), 0.5)
    return soft + np.float32(calcium * lesion.calcified) * bone


def calcium_mask(
    pattern: Calcification,
    depth: NDArray[np.float32],
    uneven: NDArray[np.float32],
    spot: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Where a pattern puts calcium, ``[64, 64]``.

    Args:
        pattern: as the readers named it.
        depth: 0 outside and at the lesion's edge, 1 at its centre.
        uneven: the same with an irregular field on it.
        spot: how far off the middle an eccentric calcification lies, of the lesion's radius.
    """
    shift = np.rint(spot * np.sqrt((depth > 0).sum() / np.pi)).astype(int)
    where: dict[Calcification, NDArray[np.bool_]] = {
        Calcification.POPCORN: (uneven - depth > 0.02) & (depth > 0.15),
        Calcification.LAMINATED: (np.abs(depth - 0.35) < 0.15) | (depth > 0.85),
        Calcification.SOLID: depth > 0.05,
        Calcification.NON_CENTRAL: np.roll(depth > 0.6, (int(shift[0]), int(shift[1])), axis=(0, 1)),
        Calcification.CENTRAL: depth > 0.45,
        Calcification.ABSENT: np.zeros_like(depth, dtype=np.bool_),
    }
    return where[pattern]


def _smooth(coarse: NDArray[np.float64]) -> NDArray[np.float32]:
    """A coarse field ``[16, 16]`` stretched to ``[64, 64]``, about as varied."""
    stretched: NDArray[np.float32] = np.kron(coarse, np.ones((4, 4))).astype(np.float32)
    smooth: NDArray[np.float32] = gaussian_filter(stretched, 1.5, truncate=3.0)
    return smooth * np.float32(1.3)


def _noise(protocol: Protocol, scale: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Quantum noise of the protocol plus the mottle of tissue, float32 ``[64, 64]`` in HU."""
    quantum, mottle = _spectra(protocol)
    # Two independent Gaussian fields are one whose spectrum is their sum, at half the work.
    amplitude = np.sqrt(quantum * np.float32(protocol.noise * scale) ** 2 + mottle * np.float32(_MOTTLE) ** 2)
    white = np.fft.rfft2(random.standard_normal((SIZE, SIZE), dtype=np.float32))
    return np.fft.irfft2(white * amplitude, s=(SIZE, SIZE)).astype(np.float32)


@lru_cache
def _spectra(protocol: Protocol) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Power over the frequencies of a patch, float32 ``[64, 33]``, for fields of unit variance.

    Noise: ramp times Gaussian, as filtered back projection makes it (Riederer, Pelc & Chesler 1978). Mottle:
    Gaussian.
    """
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE, PIXEL), np.fft.fftfreq(SIZE, PIXEL)))
    quantum = (frequency + 0.01) * np.exp(-((frequency / protocol.cutoff) ** 2))
    mottle = np.exp(-((2 * np.pi * frequency * _MOTTLE_SIGMA) ** 2))
    half = SIZE // 2 + 1
    quantum, mottle = (power[:, :half] / power.mean() for power in (quantum, mottle))
    return quantum.astype(np.float32), mottle.astype(np.float32)
