"""Four hospitals and a coordinator as real processes, through both gateways."""

import pytest

from benchmarks.hospitals import Hospitals
from benchmarks.programs import Programs

pytestmark = pytest.mark.deployment


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    with Programs(tmp_path_factory.mktemp("federation")) as programs:
        yield Hospitals(programs).set_up()


def test_a_study_with_secure_sums_runs_to_its_end(hospitals):
    run = hospitals.approved_run()
    summary = hospitals.ended(run)
    assert summary["status"] == "completed", summary["reason"]
    assert [line["participants"] for line in hospitals.rounds(run)] == [list(hospitals.sites)] * 2
    assert summary["privacy"]["aggregation"] == "secure"
