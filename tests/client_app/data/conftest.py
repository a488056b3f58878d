"""A PACS and a hospital for all tests here; whatever starts somebody else's server runs with ``--all``."""

import pytest
from ingest_hospital import hospital
from orthanc import pacs

__all__ = ["hospital", "pacs"]

STARTED = {"hospital", "pacs", "server", "special"}
FILES = ("test_interrupted", *(f"fhir.test_{name}" for name in ("cohort", "gate", "quality", "fhir_server")))


def pytest_itemcollected(item):
    if STARTED & set(item.fixturenames) or item.module.__name__.endswith(FILES):
        item.add_marker(pytest.mark.deployment)
