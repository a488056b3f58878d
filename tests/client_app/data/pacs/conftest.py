"""A PACS for all tests here; those that need one are marked so."""

import pytest
from orthanc import pacs

__all__ = ["pacs"]

NEEDS_A_PACS = {"pacs", "special", "hospital"}


def pytest_itemcollected(item):
    """Also where real processes are killed."""
    if NEEDS_A_PACS & set(item.fixturenames) or item.module.__name__.endswith("test_interrupted"):
        item.add_marker(pytest.mark.deployment)
