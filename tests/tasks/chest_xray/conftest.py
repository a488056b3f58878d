import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from federation.tasks import load_task

# The same folder that conf/site/simulated.yaml names, seen from the project's root.
SHARED = Path(__file__).parents[3] / "../shared/data"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """No test reads or writes the developer's own cache."""
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def shared(name):
    """Real data that nobody commits; without it the test is skipped, and says why."""
    if not (SHARED / name).exists():
        pytest.skip(f"real data: {name} is not in ../shared/data")
    return SHARED


@pytest.fixture(name="shared")
def shared_fixture():
    return shared


@pytest.fixture
def draw(tmp_path):
    """Writes grey images below ``xrays/``, each of one brightness."""

    def one(name, grey=100, size=(20, 30)):
        path = tmp_path / "xrays" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size, grey, np.uint8)).save(path)

    return one


@pytest.fixture
def write_list(tmp_path):
    def write(*rows, columns=("file", "label", "patient", "site", "split")):
        with (tmp_path / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])

    return write


@pytest.fixture
def task(tmp_path):
    """The task on ``xrays/``."""

    def load(**options):
        return load_task("tasks.chest_xray", {"collection": "folder", "images": "xrays", **options}, tmp_path)

    return load
