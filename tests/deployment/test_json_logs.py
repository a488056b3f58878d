"""With ``WARDROUND_LOG=json`` a collector that reads the output of all processes finds records alone."""

import json

import pytest

from benchmarks.hospitals import Hospitals
from simulation.programs import BIN, Programs

pytestmark = pytest.mark.deployment

EVERYBODY = {"superlink", "coordinator", "tunnel", "nginx"} | {
    f"alder-{part}" for part in ("custodian", "gateway", "supernode", "launcher")
}


class One(Hospitals):
    """A federation of one hospital."""

    def roster(self):
        """Of fewer than three there is none."""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """By all processes, and by ``flwr log``, after a study that the hospital has refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARDROUND_LOG", "json")
        with Programs(tmp_path_factory.mktemp("federation")) as programs:
            hospitals = One(programs, ["alder"]).set_up()
            run = hospitals.run(aggregation="plain", quorum=1)
            hospitals.ended(run)
            hospitals.ended_at_flower(run)
            shown = programs.run(BIN / "flwr", "log", run, "trial", "--show")
    return {name: programs.log(name).splitlines() for name in EVERYBODY}, shown


@pytest.fixture(scope="module")
def records(said):
    """Of each process; of nginx those of who came, since its errors are lines."""
    lines, _ = said
    lines["nginx"] = [line for line in lines["nginx"] if line.startswith("{")]
    return {name: [json.loads(line) for line in lines[name]] for name in EVERYBODY}


def test_each_line_of_each_process_is_a_record(records):
    for name in EVERYBODY - {"nginx"}:
        assert records[name], name
        for told in records[name]:
            assert {*told, "exception"} == {"time", "level", "logger", "message", "exception"}


def test_nginx_says_who_came_and_by_which_path(records):
    assert {"alder", "ada"} <= {told["who"] for told in records["nginx"]}
    assert "/v1/fleet/pull-messages" in {told["path"] for told in records["nginx"]}


def test_flowers_own_are_among_them(records):
    for name in ("superlink", "alder-supernode"):
        assert {"flwr", "uvicorn.error"} <= {told["logger"] for told in records[name]}
    assert any("not-approved" in told["message"] for told in records["coordinator"])


def test_a_researcher_reads_lines_as_ever(said):
    _, shown = said
    assert "not-approved" in shown
    assert '"level"' not in shown
