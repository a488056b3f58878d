"""Placeholder until the roster commands are merged."""

from pathlib import Path

from federation.files import write_whole
from federation.secure_sum.roster import Roster


class PinnedRoster:
    """The roster that the hospital's people have pinned."""

    def __init__(self, site_folder: Path) -> None:
        self._path = site_folder / "roster.json"

    def read(self) -> Roster | None:
        """What is pinned."""
        return Roster.model_validate_json(self._path.read_bytes()) if self._path.exists() else None

    def pin(self, roster: Roster) -> None:
        """Pin."""
        write_whole(self._path, roster.model_dump_json().encode())
