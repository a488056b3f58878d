"""A hospital that wants to be a member, and a coordinator who admits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client_app.enrolment.site import SiteEnrolment
from federation.admission import Kit, Request
from federation.certificates import utc_now
from server_app.admission.folder import Folder, provision
from server_app.admission.members import admit


@pytest.fixture
def alder(tmp_path: Path) -> SiteEnrolment:
    """A hospital's folder in which nothing is yet."""
    return SiteEnrolment(tmp_path / "connection")


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """Its custodian's folder."""
    return tmp_path / "service"


@pytest.fixture
def make_coordinator(tmp_path: Path) -> Callable[..., Folder]:
    """``make_coordinator("hearts")``: one that has admitted nobody."""

    def make(name: str = "lungs") -> Folder:
        settings = tmp_path / f"{name}.yaml"
        settings.write_text(f"name: {name}\naddress: wardround.example\n")
        return provision(settings, tmp_path / name, utc_now())

    return make


@pytest.fixture
def coordinator(make_coordinator: Callable[..., Folder]) -> Folder:
    return make_coordinator()


@pytest.fixture
def admitted(coordinator: Folder) -> Callable[[Request], Kit]:
    """The kit for a request."""
    return lambda request: admit(coordinator, request, utc_now())
