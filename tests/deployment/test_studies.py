"""Studies over four hospitals and a coordinator as real processes, through both gateways."""

import pytest

pytestmark = pytest.mark.deployment


def test_a_study_with_secure_sums_runs_to_its_end(hospitals):
    run = hospitals.approved_run()
    summary = hospitals.ended(run)
    assert summary["status"] == "completed", summary["reason"]
    assert [line["participants"] for line in hospitals.rounds(run)] == [list(hospitals.sites)] * 2
    assert summary["privacy"]["aggregation"] == "secure"
