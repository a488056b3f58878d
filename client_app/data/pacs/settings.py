"""How a hospital's archive is reached; stands under ``ingest.pacs`` in ``site.yaml``."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from client_app.data.web_address import is_unread
from federation.schema import Frozen

# PS3.5 table 6.2-1, without the spaces inside that some archives trip over.
AeTitle = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,16}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Rate(Frozen):
    """How much an archive that doctors wait for is asked for; None is no limit.

    Attributes:
        studies_per_minute: at most so many.
        megabytes_per_second: at most so much on average, in units of 10^6 bytes.
    """

    studies_per_minute: Annotated[float, Field(gt=0)] | None = None
    megabytes_per_second: Annotated[float, Field(gt=0)] | None = None


class Tls(Frozen):
    """PEM files for encrypted connections.

    Attributes:
        authority: whose certificates the archive's must be signed by; None is the machine's own list.
        certificate: ours, with which we say who we are; with it comes ``key``.
        key: of that certificate.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together; give both or neither")
        return self


class _Archive(Frozen):
    """What holds for all ways.

    Attributes:
        rate: how much is asked for.
        retries: how often it is tried again, in a row, when nothing comes; see ``Patience``.
        timeout: seconds without a sign of life after which a connection is given up.
        instance_seconds: the longest that one file may take.
        instance_mib: the largest file that is taken, in MiB; DIMSE holds one in memory.
    """

    rate: Rate = Rate()
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    timeout: Annotated[float, Field(gt=0)] = 60.0
    instance_seconds: Annotated[float, Field(gt=0)] = 600.0
    instance_mib: Annotated[int, Field(ge=1, le=16384)] = 1024


class DicomwebSettings(_Archive):
    """An archive that speaks DICOMweb.

    Attributes:
        url: where ``/studies`` is below, e.g. ``https://pacs.hospital.example/dicom-web``.
        tls: with which certificates.
        credentials: a file of one line, ``Basic user:password`` or ``Bearer token``, for its owner only.
    """

    kind: Literal["dicomweb"] = "dicomweb"
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")]
    tls: Tls = Tls()
    credentials: Path | None = None

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> Self:
        if self.credentials and not is_unread(self.url):
            raise ValueError("credentials would be sent in the clear; give an https:// url")
        return self


class DimseSettings(_Archive):
    """An archive that speaks DIMSE.

    Attributes:
        host: its name or address.
        port: where it listens.
        title: its AE title.
        own_title: ours; the archive must know it.
        retrieve: ``get`` brings images on the same connection; for ``move`` the archive opens one to us, and
            must know our address.
        own_port: where we listen for it; needed for ``move``.
        tls: None is none.
    """

    kind: Literal["dimse"] = "dimse"
    host: Annotated[str, StringConstraints(min_length=1)]
    port: Port
    title: AeTitle
    own_title: AeTitle
    retrieve: Literal["get", "move"] = "get"
    own_port: Port | None = None
    tls: Tls | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.retrieve == "move" and self.own_port is None:
            raise ValueError("retrieve=move needs own_port, where the archive sends the images")
        if self.retrieve == "move" and self.tls and self.tls.certificate is None:
            raise ValueError("retrieve=move over TLS needs tls.certificate and tls.key, to listen with")
        return self


class FolderSettings(_Archive):
    """A folder of DICOM files.

    Attributes:
        folder: where they are, or below.
    """

    kind: Literal["folder"] = "folder"
    folder: Path


Settings = DicomwebSettings | DimseSettings | FolderSettings
PacsSettings = Annotated[Settings, Field(discriminator="kind")]
