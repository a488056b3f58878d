"""A hospital whose custodian answers, one whose custodian has seen much, and the commands as typed."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client_app.cli import commands
from client_app.custodian.admin import admin_app
from client_app.custodian.approvals import Agreement
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.site import HospitalConfig, hospital
from federation.audit_log import AuditHead, sign_head
from federation.messages import DescribeRequest, TrainReply, TrainRequest

NEXT_YEAR = datetime.now(UTC).date() + timedelta(days=365)
BIRCH = SiteKeys.seeded(1, "birch").identity


@pytest.fixture(autouse=True, scope="session")
def _named_task_is_installed(_toy_task_is_installed):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield


@dataclass(frozen=True)
class Hospital:
    """A hospital as its people see it."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def service(self) -> Path:
        return self.folder / "service"

    @property
    def config(self) -> HospitalConfig:
        return hospital(self.file)

    def custodian(self) -> Custodian:
        return Custodian(self.config, self.service, SiteKeys.kept_in(self.service))

    def change(self, **policy) -> None:
        """Say something else in the policy."""
        values = json.loads(self.file.read_text())
        values["policy"] |= policy
        self.file.write_text(json.dumps(values))

    def run(self, *arguments) -> Result:
        """``wardround-site ...`` about this hospital."""
        return CliRunner().invoke(commands, [*map(str, arguments), "--config", str(self.file)])


@pytest.fixture(scope="session")
def make_hospital(write_hospital):
    """A hospital in a folder where no custodian has ever run."""

    def make(folder: Path) -> Hospital:
        folder.mkdir(parents=True, exist_ok=True)
        service = {
            "folder": str(folder / "service"),
            "relay": str(folder / "relay" / "s"),
            "admin": str(folder / "admin" / "s"),
        }
        policy = {"tasks": ["named_task"]}
        write_hospital(folder, policy=policy, description="squares", service=service, resources={})
        return Hospital(folder)

    return make


@pytest.fixture(scope="session")
def live(make_study, start_of):
    """Two rounds of a study, one withdrawal, refusals and failures; returns the study and the last heads."""

    def lived(one: Hospital) -> tuple[str, tuple[AuditHead, ...]]:
        from named_task import PLANTED  # noqa: PLC0415

        custodian = one.custodian()
        study = make_study(task={"package": "named_task"}, title="Squares [red] and\x1b[31m blue")
        failing = make_study(task={"package": "named_task", "options": {"fails": True}})
        agreement = Agreement(by="Dr. Frei", until=NEXT_YEAR)
        peer = sign_head(BIRCH, "birch", 3, f"{3:064x}")

        def train(number):
            parameters = start_of(study)
            return custodian.handle(
                TrainRequest(study=study, round=number, parameters=parameters, heads=(peer,))
            )

        for each in (study, failing):
            assert custodian.handle(DescribeRequest(study=each)).rule == "not-approved"
            custodian.approvals.approve(each.id, agreement)
        assert custodian.handle(DescribeRequest(study=failing)).rule == "unexpected-RuntimeError"
        custodian.approvals.revoke(failing.id, "Dr. Frei")
        assert isinstance(train(1), TrainReply)
        keys = SiteKeys.found_in(one.service)
        custodian.ledger.consent.withdraw({keys.pseudonym(PLANTED[2])})
        custodian.audit.append("withdrawn", "Dr. Frei", facts={"patients": 1})
        reply = train(2)
        assert isinstance(reply, TrainReply)
        assert train(1).rule == "round-burnt"
        custodian.ledger.close()
        return study.id, reply.heads

    return lived


@pytest.fixture(scope="session")
def _once(tmp_path_factory, make_hospital, live):
    one = make_hospital(tmp_path_factory.mktemp("hospital"))
    return one, *live(one)


@pytest.fixture
def alder(_once, tmp_path, make_hospital) -> Hospital:
    """A copy of it in the test's own folder."""
    one = make_hospital(tmp_path / "alder")
    shutil.copytree(_once[0].service, one.service)
    return one


@pytest.fixture
def study_id(_once) -> str:
    return _once[1]


@pytest.fixture
def heads(_once) -> tuple[AuditHead, ...]:
    """What others hold of the hospital, its own head first."""
    return _once[2]


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
