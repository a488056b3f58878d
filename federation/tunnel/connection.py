"""``connection.json``: whom this folder of keys leads to."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from federation.errors import DataError
from federation.schema import Frozen
from federation.study import Name

Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]


class Connection(Frozen):
    """What the kit has said of the coordinator.

    Attributes:
        name: who this is.
        kind: which of the coordinator's two ports is theirs.
        federation: its name.
        address: the coordinator's DNS name or IP address, which its certificate must have.
        sites_port: for hospitals.
        control_port: for researchers.
    """

    name: Name
    kind: Literal["site", "researcher"]
    federation: str
    address: Address
    sites_port: Port
    control_port: Port


def read_connection(folder: Path, kind: Literal["site", "researcher"]) -> Connection:
    """The connection in ``folder``, which must be a ``kind``'s.

    Raises:
        DataError: it is missing, is none, or is the other kind's.
    """
    file = folder / "connection.json"
    try:
        connection = Connection.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); install the kit") from error
    except ValidationError as error:
        wrong = ", ".join(sorted({".".join(map(str, each["loc"])) or "JSON" for each in error.errors()}))
        raise DataError(f"{file} is no connection (wrong: {wrong}); install the kit again") from error
    if connection.kind != kind:
        raise DataError(f"{file} is a {connection.kind}'s; this command is a {kind}'s")
    return connection
