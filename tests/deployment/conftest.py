"""One federation of real processes for all tests that use one, since it takes a while to stand."""

import pytest

from benchmarks.hospitals import Hospitals
from simulation.programs import Programs


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory):
    """Four hospitals, a coordinator and a researcher, all members of one federation."""
    with Programs(tmp_path_factory.mktemp("federation")) as programs:
        yield Hospitals(programs).set_up()
