"""A hospital that wants to be a member, and a coordinator who admits."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from client_app.enrolment.site import SiteEnrolment
from federation.admission import Kit, Request
from federation.certificates import utc_now
from server_app.admission.folder import Folder, provision
from server_app.admission.members import admit


class KilledError(BaseException):
    """The process is gone: nothing that catches errors sees it."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """``with killed_at(3) as died:``: what is done in it ends before its third step on the disk.

    Yields a list that holds something if it came to that.
    """

    @contextmanager
    def killed(step: int) -> Iterator[list[int]]:
        left, died = [step], []

        def counted(do: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*args: Any, **kwargs: Any) -> Any:
                left[0] -= 1
                if left[0] <= 0:
                    died.append(step)
                    raise KilledError
                return do(*args, **kwargs)

            return stepped

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", counted(os.fsync))
            patch.setattr(os, "link", counted(os.link))
            patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
            for name in ("mkdir", "replace", "rename", "symlink_to"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            with suppress(KilledError):
                yield died

    return killed


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
