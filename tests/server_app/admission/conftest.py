"""A coordinator, and those who want to be members."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from federation.admission import Request
from federation.certificates import new_key
from federation.secure_sum.roster import SiteKey
from server_app.admission.folder import Folder, provision

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    file = tmp_path / "federation.yaml"
    file.write_text("name: lungs\naddress: wardround.example\n")
    return file


@pytest.fixture
def folder(tmp_path: Path, settings_file: Path) -> Folder:
    """A coordinator's folder in which nobody is admitted."""
    return provision(settings_file, tmp_path / "coordinator", NOW)


@pytest.fixture(scope="session")
def make_request() -> Callable[..., Request]:
    """``make_request("alder", node=..., client=..., identity=...)``; without a node it is a researcher's."""

    def make(
        name: str,
        node: ec.EllipticCurvePrivateKey | None = None,
        client: ec.EllipticCurvePrivateKey | None = None,
        identity: str = "a1" * 32,
    ) -> Request:
        key = None if node is None else SiteKey(site=name, key=identity)
        return Request.signed(name, client or new_key(), node, key)

    return make


@pytest.fixture
def alder(make_request: Callable[..., Request]) -> Request:
    """A hospital's request."""
    return make_request("alder", new_key())
