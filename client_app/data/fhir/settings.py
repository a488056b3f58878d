"""How a hospital's FHIR server is reached."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from client_app.data.web_address import is_unread
from federation.schema import Frozen


class FhirSettings(Frozen):
    """See the module; none of it is secret, since the secret stands in a file of its own.

    Attributes:
        url: base of the R4 server, e.g. ``https://fhir.hospital.example/r4``; ``http`` on loopback only.
        patient_system: identifier system of the hospital's patient numbers, the ones that its PACS uses.
        token_url: where OAuth2 client credentials get a token; None where the server wants none.
        client_id: name of the client, as the hospital registered it.
        secret_file: holds the client's secret, mode 0600.
        ca_file: PEM of the only authorities to trust; None trusts those of the machine.
        page: resources to ask for at once.
        most_pages: pages that one search may have.
        most_resources: resources that one search may bring.
        most_page_mib: MiB that one page may take.
    """

    url: str
    patient_system: Annotated[str, Field(min_length=1)]
    token_url: str | None = None
    client_id: str | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    page: Annotated[int, Field(ge=1, le=1000)] = 200
    most_pages: Annotated[int, Field(ge=1)] = 10_000
    most_resources: Annotated[int, Field(ge=1)] = 1_000_000
    most_page_mib: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _reached_safely(self) -> Self:
        for name in ("url", "token_url"):
            value = getattr(self, name)
            if value is None:
                continue
            if not is_unread(value):
                raise ValueError(f"{name}={value} must begin with https://; http is for loopback only")
            parts = urlsplit(value)
            if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
                raise ValueError(f"{name} must be an address without a user, a query or a fragment")
        return self

    @model_validator(mode="after")
    def _credentials_together(self) -> Self:
        given = [
            name for name in ("token_url", "client_id", "secret_file") if getattr(self, name) is not None
        ]
        if len(given) not in (0, 3):
            raise ValueError(f"token_url, client_id and secret_file belong together; only {given} given")
        return self
