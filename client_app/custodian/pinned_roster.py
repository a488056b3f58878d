"""The roster that this hospital's people have pinned: whose keys it believes in a secure sum, and no others.

The coordinator is the hospitals' only channel to each other, so it could show each of them keys of its own.
What is pinned was compared by people, and what replaces it must come from the same coordinator and be later:
else a key that was stolen, and replaced since, would come back.
"""

from pathlib import Path

from federation.errors import SecureSumError
from federation.record_files import write_record
from federation.roster_files import read_roster
from federation.secure_sum.roster import Roster, SiteKey


class PinnedRoster:
    """The roster in ``<folder>/roster.json``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "roster.json"

    def read(self) -> Roster | None:
        """What is pinned; None where nothing ever was.

        Raises:
            DataError: the file is damaged, or cannot be read.
        """
        return read_roster(self._path) if self._path.exists() else None

    def require(self, roster: Roster, own: SiteKey) -> None:
        """Refuse a roster that may not be pinned here.

        Args:
            roster: that people have looked at.
            own: this hospital's name and key, which must stand in it.

        Raises:
            SecureSumError: its coordinator has not signed it, it is not later than the pinned one or not of
                the same coordinator, or has another key under this hospital's name.
            DataError: what is pinned is damaged.
        """
        roster.require_genuine()
        pinned = self.read()
        if pinned is not None:
            roster.require_after(pinned)
        if roster.keys.get(own.site) != own.key:
            raise SecureSumError(
                "roster-own-key",
                own.site,
                f"its own key does not stand under this name in roster version {roster.version}; give the "
                "coordinator what wardround-site roster key writes",
            )

    def pin(self, roster: Roster, own: SiteKey) -> None:
        """Believe ``roster`` from now on; it is on disk when this returns.

        Raises:
            SecureSumError: as ``require``.
            DataError: as ``require``.
            StorageError: the disk did not take it; what was pinned still is.
        """
        self.require(roster, own)
        write_record(self._path, roster)
