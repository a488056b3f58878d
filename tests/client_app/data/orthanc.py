"""A real Orthanc for tests: started when the first asks for it, killed afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from client_app.data.pacs.settings import DicomwebSettings, DimseSettings
from simulation.hospital.ct_series import CtStudy, all_bytes, studies
from simulation.hospital.orthanc import Orthanc, missing, start_orthanc
from simulation.programs import Programs, free_ports

OWN_TITLE, STRANGER = "WARDROUND", "STRANGER"


@dataclass(frozen=True)
class Pacs:
    """An Orthanc, what is in it, and who may ask it.

    Attributes:
        orthanc: where it is.
        studies: what it holds.
        own_port: where it sends what ``OWN_TITLE`` has it move.
        credentials: a file with its user.
    """

    orthanc: Orthanc
    studies: list[CtStudy]
    own_port: int
    credentials: str

    def dicomweb(self, **changes: object) -> DicomwebSettings:
        url = f"{self.orthanc.url}/dicom-web"
        return DicomwebSettings.model_validate({"url": url, "credentials": self.credentials} | changes)

    def dimse(self, **changes: object) -> DimseSettings:
        values = {
            "host": "localhost",
            "port": self.orthanc.dimse,
            "title": self.orthanc.title,
            "own_title": OWN_TITLE,
            "own_port": self.own_port,
        }
        return DimseSettings.model_validate(values | changes)

    def settings(self, way: str, **changes: object) -> DicomwebSettings | DimseSettings:
        """Of one of ``WAYS``."""
        return self.dicomweb(**changes) if way == "dicomweb" else self.dimse(retrieve=way, **changes)


WAYS = ("dicomweb", "get", "move")


def skip_without_orthanc() -> None:
    if reason := missing():
        pytest.skip(reason)


def start_pacs(programs: Programs, made: list[CtStudy]) -> Pacs:
    """One with studies in it."""
    skip_without_orthanc()
    (own_port,) = free_ports(1)
    orthanc = start_orthanc(programs, "orthanc", {OWN_TITLE: own_port})
    orthanc.store(all_bytes(made))
    credentials = programs.folder / "credentials"
    credentials.write_text("Basic " + ":".join(orthanc.user))
    credentials.chmod(0o600)
    return Pacs(orthanc, made, own_port, str(credentials))


@pytest.fixture(scope="session")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """One of 20 studies, 240 files, of 16 patients; none may change what it holds."""
    with Programs(tmp_path_factory.mktemp("pacs")) as programs:
        yield start_pacs(programs, studies(20))
