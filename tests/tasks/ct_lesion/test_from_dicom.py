"""A nodule as a CT series, through files, door and store, is the very patch that nodule_ct makes of it."""

import shutil
import subprocess

import numpy as np
import pytest

from client_app.data.dicom.door import read_instance
from client_app.data.dicom.series import volume
from client_app.data.store.writer import StoreWriter
from federation.tasks import load_task
from tasks.nodule_ct.label import Label
from tasks.nodule_ct.lidc import read_nodules
from tasks.nodule_ct.patch import scale
from tasks.nodule_ct.render import render_nodule
from tasks.nodule_ct.shape import PIXEL
from tests.client_app.data.dicom.conftest import as_bytes, ct_slice

NODULES = [nodule for nodule in read_nodules()[:40] if Label.MALIGNANCY.target(nodule) is not None][:6]
SLICES = 5


def slices(nodule, series):
    """The patch as the middle of five slices; the others are other nodules' noise."""
    patch = render_nodule(nodule)
    for number in range(SLICES):
        values = patch if number == SLICES // 2 else np.roll(patch, 7 * (number + 1), axis=1)
        yield ct_slice(
            number,
            (values + 1024).astype(np.uint16),  # as scanners store it, from air upwards
            SeriesInstanceUID=series,
            SOPInstanceUID=f"{series}.{number}",
            PixelSpacing=[PIXEL, PIXEL],
            SliceThickness=nodule.slice_thickness,
            ImagePositionPatient=[-24, -24, number * nodule.slice_thickness],
            BitsStored=12,
            HighBit=11,
        )


@pytest.mark.parametrize("codec", [None, ["dcmcjpls", "+el"], ["dcmcjpeg", "+e1"], ["dcmcrle"]])
def test_a_nodule_through_dicom_and_store_is_the_patch_of_nodule_ct_bit_for_bit(tmp_path, codec):
    if codec and not shutil.which(codec[0]):
        pytest.skip(f"{codec[0]} of dcmtk is not installed")
    with StoreWriter(tmp_path / "store") as writer:
        for number, nodule in enumerate(NODULES):
            paths = []
            # Files come in any order.
            for place, dataset in enumerate(reversed(list(slices(nodule, f"2.25.{1000 + number}")))):
                path = tmp_path / f"{number}-{place}.dcm"
                path.write_bytes(as_bytes(dataset))
                if codec:
                    plain, path = path, path.with_suffix(".compressed.dcm")
                    subprocess.run([*codec, str(plain), str(path)], check=True, capture_output=True)
                paths.append(path)
            found = volume([read_instance(path) for path in paths])
            assert found.values.dtype == np.int16
            label = ("benign", "malignant")[Label.MALIGNANCY.target(nodule)]
            writer.add(
                found, patient=f"{number:016x}", series=f"{number}", features={"label": label}, provenance={}
            )
    cohort = load_task("tasks.ct_lesion", {}, tmp_path / "store").cohort(0, 1)
    seen = {}
    for half in (cohort.train, cohort.test):
        for image, target, who in zip(half.images, half.targets, half.patients, strict=True):
            seen[int(half.identities[who], 16)] = (image, target)
    assert len(seen) == len(NODULES)
    for number, nodule in enumerate(NODULES):
        image, target = seen[number]
        assert np.array_equal(image[0], scale(render_nodule(nodule)))
        assert target == Label.MALIGNANCY.target(nodule)
