"""A nodule of LIDC-IDRI as a small CT series around it, as a scanner would send it to a PACS.

The slice in the middle is the very patch that ``task=nodule_ct`` learns from; those beside it see less of the
nodule. Rendered, as that patch is: no density was measured.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.nodule_ct.background import draw_body
from tasks.nodule_ct.lidc import Nodule
from tasks.nodule_ct.protocol import PROTOCOLS, protocol_number
from tasks.nodule_ct.render import random_for, render, render_nodule
from tasks.nodule_ct.shape import lesion_of

_SEEN = {1: 0.6, 2: 0.2}  # how much of the nodule's section the slices on both sides see


def nodule_slices(nodule: Nodule) -> NDArray[np.int16]:
    """Five slices ``[5, 64, 64]`` in HU, from the feet up; the same bits each time."""
    lesion, body = lesion_of(nodule), draw_body(random_for("patient", nodule.patient))

    def beside(place: int) -> NDArray[np.int16]:
        return render(
            lesion=replace(lesion, coverage=lesion.coverage * np.float32(_SEEN[abs(place)])),
            protocol=PROTOCOLS[protocol_number(nodule.slice_thickness)],
            thickness=nodule.slice_thickness,
            contrast=nodule.contrast,
            body=body,
            random=random_for("nodule", nodule.identity, place),
        )

    return np.stack([render_nodule(nodule) if place == 0 else beside(place) for place in range(-2, 3)])
