import numpy as np
import pytest

from client_app.data.store.writer import StoreWriter
from client_app.data.volume import Volume

AXES = ((0, 0, 1), (0, 1, 0), (1, 0, 0))


def volume(number=0, *, dtype=np.int16, spacing=(1.25, 0.75, 0.75)):
    """Three slices that no other number has."""
    values = np.random.default_rng(number).integers(-1000, 400, (3, 8, 8)).astype(dtype)
    return Volume(values, spacing, AXES, "CT", {"kernel": "STANDARD"})


def patient(number=0):
    return f"{number:016x}"


def arrays(folder):
    """The hashes of all arrays that lie in a store."""
    return sorted(path.stem for path in (folder / "arrays").glob("*/*"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def writer(folder):
    with StoreWriter(folder) as writer:
        yield writer


@pytest.fixture
def put():
    """Add series ``number``, of the patient of that number unless another is said."""

    def put(writer, number=0, *, whose=None, values=None, **features):
        return writer.add(
            values or volume(number),
            patient=patient(number if whose is None else whose),
            series=f"2.25.{number}",
            features={"label": "malignant", **features},
            provenance={"criteria": ("nodule",)},
        )

    return put
