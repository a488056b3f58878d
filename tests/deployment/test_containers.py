"""A federation in containers by the compose files that ship; and what somebody inside of one tries."""

import engine
import pytest
from contained import Contained
from programs import Programs

pytestmark = pytest.mark.deployment


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with engine.engine(), Programs(tmp_path_factory.mktemp("federation")) as programs:
        engine.build(*engine.IMAGES)
        contained = Contained(programs)
        try:
            yield contained.set_up()
        finally:
            contained.close()


def test_a_study_runs_to_its_end(federation):
    run = federation.approved_run()
    summary = federation.ended(run)
    assert summary["status"] == "completed", summary["reason"]
    assert [line["participants"] for line in federation.rounds(run)] == [list(federation.sites)] * 2
