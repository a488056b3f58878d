"""Images that never were DICOM, or are none any more: PNG and NIfTI.

Only values and their geometry are taken from a file, no other header, no text, no EXIF. What it does not say,
whoever takes it in has to: `ImageKind`.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset

from client_app.data.deidentify.admission import speaks_of_head
from client_app.data.deidentify.options import DEFAULTS, Options
from client_app.data.deidentify.text_detector import looks_like_text
from client_app.data.dicom.geometry import PROJECTIONS
from client_app.data.pacs.nifti import placed, read_scan
from client_app.data.pacs.source import MODALITY
from client_app.data.refusal import Refused, is_of_the_machine
from client_app.data.volume import Volume, compact
from federation.errors import ConfigError

_NIFTI = (".nii", ".nii.gz")
_GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L", "F")
_PLACED = frozenset(["CT", "MR", "PT"])  # what has a place in the patient, and may show a face
_BODY_PART = re.compile(r"[A-Z][A-Z0-9 _]{1,15}", re.ASCII)
# A picture of somebody who stands upright, seen from the front: down is to the feet, across to their left.
_UPRIGHT = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))


@dataclass(frozen=True)
class ImageKind:
    """What all images of a folder are.

    Attributes:
        modality: as DICOM names it, e.g. ``DX``.
        body_part: likewise, e.g. ``CHEST``; needed for CT, MR and PT, since heads show faces.
        spacing: mm between the pixels of a PNG, which does not say it.
        without_text: whether somebody has looked, and none of them has text burned in.
        options: of the site's de-identification.

    Raises:
        ConfigError: one is missing, or is none; or images of this kind are not taken.
    """

    modality: str
    body_part: str = ""
    spacing: float | None = None
    without_text: bool = False
    options: Options = DEFAULTS

    def __post_init__(self) -> None:
        if not MODALITY.fullmatch(self.modality):
            raise ConfigError(f"modality={self.modality!r} is none; give one as DICOM writes it, e.g. DX")
        if self.body_part and not _BODY_PART.fullmatch(self.body_part):
            raise ConfigError(
                f"body_part={self.body_part!r} is none; give one as DICOM writes it, e.g. CHEST"
            )
        if self.spacing is not None and not 1e-4 < self.spacing < 1e3:
            raise ConfigError(
                f"spacing={self.spacing:g} mm is not between 0.0001 and 1000; give the mm from one pixel to "
                "the next, e.g. 0.2"
            )
        if self.placed and not self.body_part:
            raise ConfigError(
                f"modality={self.modality} needs a body part, since from a head a face can be rendered"
            )
        if self._head and not self.options.allow_heads:
            raise ConfigError(
                f"body_part={self.body_part}: from a head's {self.modality} a face can be rendered; deface "
                "it first, or set ingest.deidentify.allow_heads"
            )
        if self.wary and not self.without_text:
            raise ConfigError(
                f"images of modality={self.modality} often have text in them, names too; look at them, and "
                "where none has, say --no-burned-in-text"
            )

    @property
    def wary(self) -> bool:
        """Whether images of this modality often have text in them."""
        return self.modality not in _PLACED | PROJECTIONS

    @property
    def placed(self) -> bool:
        """Whether its values have a unit and a place in the patient, of which a PNG says neither."""
        return self.modality in _PLACED

    @property
    def _head(self) -> bool:
        said = Dataset()
        said.Modality, said.BodyPartExamined = self.modality, self.body_part
        return bool(speaks_of_head(said))


def is_png(path: Path) -> bool:
    """Whether it is called a PNG."""
    return path.name.lower().endswith(".png")


def is_image(path: Path) -> bool:
    """Whether it is called a PNG or a NIfTI."""
    return is_png(path) or path.name.lower().endswith(_NIFTI)


def read_image(path: Path, kind: ImageKind) -> Volume:
    """The image in a file.

    Raises:
        Refused: it is no whole PNG or NIfTI (``not-an-image``), several (``multi-frame``), not one volume
            (``not-a-volume``), or larger than is taken (``too-large``); it has a row of letters in it
            (``burned-in-text``) or is in colour where only screens are (``screenshot``); its size
            (``no-spacing``) or place (``no-geometry``, ``bad-geometry``) is not known, or some of its values
            are not (``not-finite``).
    """
    facts = {"body_part": kind.body_part} if kind.body_part else {}
    if path.name.lower().endswith(_NIFTI):
        scan = read_scan(path)
        _look(scan.values.T, kind)
        values, spacing, directions = placed(scan)
    else:
        if kind.placed:
            raise Refused(
                "no-geometry", f"a PNG says neither place nor unit of a {kind.modality}; take DICOM"
            )
        if kind.spacing is None:
            raise Refused("no-spacing", "a PNG does not say how large its pixels are; give --spacing")
        values = _picture(path, kind)[None]
        _look(values, kind)
        spacing, directions = (1.0, kind.spacing, kind.spacing), _UPRIGHT
    return Volume(compact(values), spacing, directions, kind.modality, facts)


def _look(pictures: NDArray[np.float32], kind: ImageKind) -> None:
    """Look at each of ``[pictures, rows, columns]``, as the file has them."""
    if not np.isfinite(pictures).all():
        raise Refused("not-finite", "some values of the image are no numbers; say what they are first")
    with np.errstate(over="ignore"):  # a stranger's values may be as large as 32 bits hold
        found = any(looks_like_text(picture, wary=kind.wary) for picture in pictures)
    if found:
        raise Refused(
            "burned-in-text", "something in the image looks like a row of letters; look at it, clean it"
        )


def _picture(path: Path, kind: ImageKind) -> NDArray[np.float32]:
    """``[rows, columns]``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                if getattr(image, "n_frames", 1) != 1:
                    raise Refused("multi-frame", "the PNG is a film; give each picture a file")
                if image.mode in _GREY:
                    return np.asarray(image, dtype=np.float32)
                colours = np.asarray(image.convert("RGB"))
                if not kind.wary and (colours != colours[..., :1]).any():
                    raise Refused(
                        "screenshot", f"a {kind.modality} in colour is likely a picture of a screen"
                    )
                return np.asarray(image.convert("L"), dtype=np.float32)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Refused("too-large", "the image has more pixels than is taken") from None
    except (OSError, MemoryError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        reason, passing = type(error).__name__, is_of_the_machine(error)
    if passing:
        raise Refused("unreadable", f"the PNG cannot be read now ({reason})", passing=True)
    raise Refused("not-an-image", f"the file is no whole PNG ({reason})")
