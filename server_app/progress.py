"""How a run goes, as lines in its log that programs can read: ``wardround-coordinator watch`` does."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from server_app.record import Absence, Entry, RoundLine


class Began(Entry):
    """The hospitals have come and the first model is there.

    Attributes:
        run: the name of its folder at the coordinator, by which it is resumed.
        rounds: as planned.
        hospitals: who takes part.
        absent: who does not, and why.
    """

    event: Literal["began"] = "began"
    run: str
    study: str
    study_id: str
    rounds: int
    hospitals: tuple[str, ...]
    absent: tuple[Absence, ...]


class Ended(Entry):
    """The run is over and on disk."""

    event: Literal["ended"] = "ended"
    status: Literal["completed", "failed", "interrupted"]
    reason: str
    model_version: str


Event = Began | RoundLine | Ended
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
# As Flower's console writes a record: the level in colour, and the text.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"INFO\s*:\s+progress (\{.*\})")


def line_of(event: Event) -> str:
    """``event`` as the text of one record."""
    return f"progress {event.model_dump_json()}"


class Reader:
    """Finds events in a log that comes in pieces, which may end within a line."""

    def __init__(self) -> None:
        self._rest = ""

    def events(self, piece: str) -> Iterator[Event]:
        """Those of the lines that ``piece`` completes; other lines, and those of other versions, are left."""
        *lines, self._rest = (self._rest + piece).split("\n")
        for line in lines:
            found = _LINE.fullmatch(_COLOUR.sub("", line).rstrip("\r"))
            if found is None:
                continue
            try:
                yield _EVENT.validate_json(found[1])
            except ValidationError:
                continue
