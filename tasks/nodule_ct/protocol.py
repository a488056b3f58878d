"""How the five hospitals of this simulation scan: by slice thickness, because LIDC-IDRI does not name them.

Resolution and noise are assumptions in the range of published chest CT protocols; they were not measured.
"""

from dataclasses import dataclass

from federation.errors import DataError


@dataclass(frozen=True)
class Protocol:
    """One hospital's way to make a CT slice.

    Attributes:
        description: for people.
        thicknesses: the slice thicknesses in mm that it is known by.
        blur: full width at half maximum of the point spread, in mm.
        noise: standard deviation in HU of a typical patient's image.
        cutoff: where the reconstruction filter has fallen to 1/sqrt(e), in cycles per mm.
    """

    description: str
    thicknesses: tuple[float, ...]
    blur: float
    noise: float
    cutoff: float


PROTOCOLS = (
    Protocol("CT slices of 1.25 mm", (1.25,), blur=1.0, noise=40.0, cutoff=0.45),
    Protocol("CT slices of 2.5 mm", (2.5,), blur=1.3, noise=26.0, cutoff=0.32),
    Protocol("CT slices of 2 mm (some 1.5)", (1.5, 2.0), blur=1.6, noise=20.0, cutoff=0.25),
    Protocol("CT slices of 3 mm (some 4 and 5)", (3.0, 4.0, 5.0), blur=1.4, noise=24.0, cutoff=0.30),
    Protocol("CT slices of at most 1 mm", (0.6, 0.75, 0.9, 1.0), blur=0.9, noise=52.0, cutoff=0.55),
)
"""In the order of the hospitals; the last one has too few malignant test patients to stand alone."""


def protocol_number(slice_thickness: float) -> int:
    """Which of `PROTOCOLS` makes slices of this thickness in mm.

    Raises:
        DataError: none does.
    """
    for number, protocol in enumerate(PROTOCOLS):
        if slice_thickness in protocol.thicknesses:
            return number
    raise DataError(f"slice thickness {slice_thickness} mm belongs to no protocol in {__name__}")
