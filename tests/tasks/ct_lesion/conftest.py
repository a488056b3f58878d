import numpy as np
import pytest

from client_app.data.store.writer import StoreWriter
from client_app.data.volume import Volume

AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; what was made in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WARDROUND_CACHE", str(folder))
    return lambda: sorted(path.name for path in (folder / "ct_lesion").glob("*"))


@pytest.fixture
def fill():
    """Put series of some patients into a store: ``[(patient, features), ...]``."""

    def fill(folder, rows, *, modality="CT", first=0):
        with StoreWriter(folder) as writer:
            for number, (patient, features) in enumerate(rows, first):
                values = np.random.default_rng(number).integers(-1200, 600, (5, 70, 60)).astype(np.int16)
                writer.add(
                    Volume(values, (2.0, 0.75, 0.75), AXIAL, modality),
                    patient=f"{patient:016x}",
                    series=f"2.25.{number}",
                    features=features,
                    provenance={},
                )

    return fill
