"""A real FHIR R4 server, started for the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from simulation.hospital.fhir import FhirServer, missing, start_fhir
from simulation.programs import Programs


@contextmanager
def running_fhir_server() -> Iterator[FhirServer]:
    """An empty server on loopback; without Node the test is skipped."""
    if reason := missing():
        pytest.skip(reason)
    with TemporaryDirectory() as folder, Programs(Path(folder)) as programs:
        yield start_fhir(programs, "fhir")
