"""The lung around a lesion: parenchyma, vessels and sometimes the chest wall. It knows nothing of the lesion.

Distances in mm, densities in HU. The figures are textbook values for chest CT at inspiration, not fits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from tasks.nodule_ct.shape import PIXEL, SIZE, new_canvas, shares, to_canvas

WALL_SHARE = 0.2
"""The share of patches with a piece of chest wall in them."""

_VESSELS = 24
_AXIS = (np.arange(SIZE) + 0.5 - SIZE / 2) * PIXEL
_COLUMN, _ROW = np.meshgrid(_AXIS, _AXIS)
_ALONG = np.linspace(0.0, 1.0, 11)
_ARCH, _WAVE = 4 * _ALONG * (1 - _ALONG), np.sin(2 * np.pi * _ALONG)


@dataclass(frozen=True)
class Body:
    """What all images of one patient have in common.

    Attributes:
        parenchyma: density of aerated lung in HU.
        noise: how much noisier than a typical patient, a factor.
    """

    parenchyma: float
    noise: float


def draw_body(random: np.random.Generator) -> Body:
    """Some patient: lung of -865 ± 22 HU; noise log-normal, as body size varies."""
    return Body(float(random.normal(-865, 22)), float(np.exp(random.normal(0, 0.25))))


def background(
    body: Body, thickness: float, contrast: bool, random: np.random.Generator
) -> NDArray[np.float32]:
    """Lung without lesion, noise or blur, float32 ``[64, 64]`` in HU, on a slice of ``thickness`` mm."""
    # Blood and water sink: lung is denser towards the back, which is down when the patient lies.
    slope_x, slope_y = random.normal(0, 0.5), random.normal(0.5, 0.5)
    lung = body.parenchyma + slope_x * _COLUMN + slope_y * _ROW
    blood = random.normal(120 if contrast else 30, 15)
    vessels = _vessels(thickness, random)
    image: NDArray[np.float32] = (lung + (blood - lung) * vessels).astype(np.float32)
    return _with_wall(image, random) if random.random() < WALL_SHARE else image


def _vessels(thickness: float, random: np.random.Generator) -> NDArray[np.float32]:
    """The share of each pixel's column that is blood: cylinders of any direction, cut by the slice.

    A vessel across the slice shows as a dot, one that runs within it as a strip, fainter when it is thinner
    than the slice (partial volume). The second half branch off the first.
    """
    trunks = _VESSELS // 2
    diameter = np.clip(np.exp(random.normal(np.log(1.2), 0.45, _VESSELS)), 0.6, 5.0)
    diameter[trunks:] = 0.75 * diameter[:trunks]
    rise = random.uniform(0.03, 1.0, _VESSELS)  # cosine of the angle to the slice's normal: any direction
    run = np.sqrt(1 - rise**2)
    length = np.minimum(thickness * run / rise + diameter / rise, 40.0)
    fraction = np.minimum(diameter / np.maximum(run, 0.05) / thickness, 1.0)
    start = random.uniform(-30, 30, (_VESSELS, 2))
    angle = random.uniform(0, 2 * np.pi, _VESSELS)
    angle[trunks:] = angle[:trunks] + random.choice([-1, 1], trunks) * random.uniform(0.4, 0.9, trunks)
    bend = random.normal(0, 0.1, _VESSELS) * length
    sway = random.normal(0, 0.05, _VESSELS) * length
    forward = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    sideways = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    start[trunks:] = start[:trunks] + forward[:trunks] * length[:trunks, None] * 0.4
    middle = (
        start[:, None]
        + forward[:, None] * (length[:, None] * _ALONG)[..., None]
        + sideways[:, None] * (np.outer(bend, _ARCH) + np.outer(sway, _WAVE))[..., None]
    )
    # Vessels taper, and their ends are round: the half width falls to nothing there, like an ellipse's.
    half = diameter[:, None] / 2 * (1 - 0.3 * _ALONG) * np.sqrt(np.maximum(1 - (2 * _ALONG - 1) ** 4, 0))
    rim = sideways[:, None] * half[..., None]
    outline = np.concatenate([middle + rim, (middle - rim)[:, ::-1]], axis=1)
    canvas = new_canvas()
    draw = ImageDraw.Draw(canvas)
    corners = to_canvas(outline).reshape(_VESSELS, -1).tolist()
    for vessel in np.argsort(fraction).tolist():
        draw.polygon(corners[vessel], fill=int(255 * fraction[vessel]))
    return shares(canvas)


def _with_wall(image: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The same with the chest wall on one side: muscle, a rib, fat further out."""
    angle = random.uniform(0, 2 * np.pi)
    nearest = random.uniform(6, 22)
    bend = random.uniform(60, 140)  # radius of the chest there
    outward = np.array([np.cos(angle), np.sin(angle)])
    middle = (nearest - bend) * outward
    depth = np.hypot(_COLUMN - middle[0], _ROW - middle[1]) - bend
    along = _ROW * outward[0] - _COLUMN * outward[1]
    tissue = np.where(depth > random.uniform(12, 20), -95.0, random.normal(45, 8))
    rib = np.hypot((along - random.uniform(-25, 25)) / random.uniform(9, 16), (depth - 7) / 4.0)
    tissue = np.where(rib < 1, np.where(rib > 0.65, 420.0, 180.0), tissue)
    wall = np.clip(depth / PIXEL + 0.5, 0, 1)
    walled: NDArray[np.float32] = (image + (tissue - image) * wall).astype(np.float32)
    return walled
