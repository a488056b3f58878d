"""A PACS and a hospital for all tests here.

What starts somebody else's server runs with ``--all``, and so does what takes long.
"""

import pytest
from ingest_hospital import hospital
from orthanc import pacs

__all__ = ["hospital", "pacs"]

STARTED = {"hospital", "pacs", "server", "special"}
FILES = (
    *(f"fhir.test_{name}" for name in ("cohort", "gate", "quality", "fhir_server")),
    *(f"pacs.test_{name}" for name in ("dicomweb", "dimse", "interrupted")),
    *(f"dicom.test_{name}" for name in ("decoder", "door")),
)


def pytest_itemcollected(item):
    if STARTED & set(item.fixturenames) or item.module.__name__.endswith(FILES):
        item.add_marker(pytest.mark.deployment)
