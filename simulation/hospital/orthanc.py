"""A PACS to try things on: Orthanc on loopback, in a folder of its own."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from federation.errors import RunError
from simulation.programs import Programs, free_ports

PROGRAM = "Orthanc"
_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_USER, _PASSWORD = "wardround", "for-tests-only"


@dataclass(frozen=True)
class Keys:
    """Whom it is, and whom it trusts, as PEM files.

    Attributes:
        certificate: its own.
        key: of that certificate.
        authority: whose certificates it takes.
    """

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True)
class Orthanc:
    """One that runs.

    Attributes:
        http: port of its web server.
        dimse: port of its DICOM server.
        title: its AE title.
        keys: TLS for DIMSE. Its web server has none: that of Orthanc 1.10 crashes with OpenSSL 3, and
            stands behind a proxy in hospitals anyway.
    """

    http: int
    dimse: int
    title: str = "NORTHPACS"
    keys: Keys | None = None
    user: tuple[str, str] = (_USER, _PASSWORD)

    @property
    def url(self) -> str:
        """Of its web server; DICOMweb is below ``/dicom-web``."""
        return f"http://localhost:{self.http}"

    def store(self, files: Iterable[bytes]) -> None:
        """Put DICOM files into it."""
        with self._client() as client:
            for file in files:
                client.post("/instances", content=file).raise_for_status()

    def statistics(self) -> dict[str, object]:
        """What it holds, as it counts it: ``CountStudies``, ``CountInstances`` and more."""
        with self._client() as client:
            told: dict[str, object] = client.get("/statistics").raise_for_status().json()
        return told

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=self.user, trust_env=False)


def missing() -> str | None:
    """Why no Orthanc can be started here, or None."""
    if shutil.which(PROGRAM, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") is None:
        return "Orthanc is not installed; apt-get install orthanc"
    if not _DICOMWEB.exists():
        return "Orthanc's DICOMweb plugin is not installed; apt-get install orthanc-dicomweb"
    return None


def start_orthanc(
    programs: Programs, name: str, modalities: Mapping[str, int], keys: Keys | None = None
) -> Orthanc:
    """Start one as ``name``, and wait until it answers.

    Args:
        programs: what it is killed with.
        name: of its log, and of its folder below that of ``programs``.
        modalities: the AE titles that it answers, with the port of loopback that it sends them images on.
        keys: TLS for DIMSE, with others' certificates checked.

    Raises:
        RunError: there is none on this machine, or it does not start.
    """
    if reason := missing():
        raise RunError(reason)
    http, dimse = free_ports(2)
    orthanc = Orthanc(http, dimse, keys=keys)
    folder = programs.folder / name
    folder.mkdir(exist_ok=True)
    file = programs.folder / f"{name}.json"
    file.write_text(json.dumps(_settings(orthanc, folder, modalities), indent=2))
    programs.start(name, PROGRAM, file)
    programs.until_listening(dimse)
    programs.until_listening(http)
    return orthanc


def _settings(orthanc: Orthanc, folder: Path, modalities: Mapping[str, int]) -> dict[str, object]:
    peers = {
        title: {"AET": title, "Host": "127.0.0.1", "Port": port, "UseDicomTls": orthanc.keys is not None}
        for title, port in modalities.items()
    }
    return {
        "Name": "Northtown",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [str(_DICOMWEB)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "HttpPort": orthanc.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": dict([orthanc.user]),
        "DicomPort": orthanc.dimse,
        "DicomAet": orthanc.title,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": peers,
        **(_tls(orthanc.keys) if orthanc.keys else {}),
    }


def _tls(keys: Keys) -> dict[str, object]:
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(keys.certificate),
        "DicomTlsPrivateKey": str(keys.key),
        "DicomTlsTrustedCertificates": str(keys.authority),
        "DicomTlsRemoteCertificateRequired": True,
    }
