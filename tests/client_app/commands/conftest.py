"""A hospital whose custodian answers on its admin socket, and the commands as somebody there types them."""

import pytest
from click.testing import CliRunner

from client_app.cli import commands
from client_app.custodian.admin import admin_app
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.site import hospital
from federation.messages import DescribeRequest, TrainRequest


@pytest.fixture
def site_file(tmp_path, write_hospital):
    return write_hospital(tmp_path)


@pytest.fixture
def custodian(site_file, serve_app):
    """It runs in the test's own process, on a real socket."""
    config = hospital(site_file)
    custodian = Custodian(config, config.service.folder, SiteKeys.kept_in(config.service.folder))
    serve_app(config.service.admin, admin_app(custodian))
    return custodian


@pytest.fixture
def typed(custodian, site_file):
    """What ``wardround-site ...`` prints; the error that it ends with is raised."""

    def run(*arguments):
        result = CliRunner().invoke(commands, [*arguments, "--config", str(site_file)])
        if result.exception is not None:
            raise result.exception
        return result.output

    return run


@pytest.fixture
def propose(custodian):
    """A study lands in the inbox."""

    def proposed(study):
        assert custodian.handle(DescribeRequest(study=study)).rule == "not-approved"
        return study

    return proposed


@pytest.fixture
def train(custodian, start_of):
    return lambda study, number=1: custodian.handle(
        TrainRequest(study=study, round=number, parameters=start_of(study))
    )
