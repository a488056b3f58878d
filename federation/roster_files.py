"""Rosters and sites' keys as files; they may travel any way, since they are signed or compared as words."""

from pathlib import Path

from federation.errors import DataError, SecureSumError
from federation.record_files import read_record
from federation.secure_sum.roster import Roster, SiteKey


def read_roster(path: Path) -> Roster:
    """The roster at ``path``, which bears the signature of the coordinator that it names.

    Raises:
        DataError: it cannot be read, is none, or is not signed.
    """
    roster = read_record(path, Roster, "roster")
    try:
        roster.require_genuine()
    except SecureSumError as error:
        raise DataError(f"{path}: {error}") from error
    return roster


def read_site_key(path: Path) -> SiteKey:
    """What a site has told of itself.

    Raises:
        DataError: it cannot be read, or is none.
    """
    return read_record(path, SiteKey, "site's key")
