"""A task of noise that takes no time, for tests of what stands around the data.

Options: ``one_class``, the number of a hospital without a second class; ``hospitals``, how many there are.
"""

import numpy as np
from PIL import Image

from federation.errors import DataError
from federation.tasks import Cohort, Examples

SIDE = 8


def create(options, folder):
    return TinyTask(int(options.get("hospitals", 4)), options.get("one_class"))


class TinyTask:
    def __init__(self, hospitals, one_class):
        self._hospitals = hospitals
        self._one_class = one_class

    def cohort(self, part, parts):
        if parts > self._hospitals:
            raise DataError(f"{parts} hospitals were asked for, but the data has {self._hospitals}")
        one_class = self._one_class == part
        return Cohort(
            f"noise {part}",
            train=_noise(60, part, one_class, f"{part}"),
            test=_noise(60, 100 + part, one_class, f"{part}-test"),
        )

    def public_examples(self, count, seed):
        return _noise(count, 1000 + seed, one_class=False)

    def read_image(self, path):
        """Grey PNGs of 8 x 8 pixels, 0 to 1."""
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("L"), np.float32)[None] / np.float32(255)
        except OSError as error:
            raise DataError(f"{path.name} cannot be read: {error}") from error


def _noise(count, seed, one_class, name=""):
    """Two images of each patient, nobody's without a name; the second class is a little brighter."""
    draw = np.random.default_rng(seed)
    targets = np.zeros(count, np.int64) if one_class else (np.arange(count) // 2) % 2
    images = draw.normal(0, 0.5, (count, 1, SIDE, SIDE)) + 0.1 * targets[:, None, None, None]
    area = draw.uniform(10, 200, count) + 50 * targets
    return Examples(
        images=images.astype(np.float32),
        targets=targets,
        patients=np.arange(count) // 2,
        covariates={"area_mm2": area, "diameter_mm": 2 * np.sqrt(area / np.pi)},
        identities=tuple(f"{name}-{number}" for number in range(count // 2)) if name else (),
    )
