"""The roster that the coordinator signs: of what sites tell of themselves, changed a version at a time."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import ConfigError
from federation.key_files import kept_key, read_key
from federation.record_files import write_record
from federation.roster_files import read_roster, read_site_key
from federation.schema import nearest, validated
from federation.secure_sum.parties import LEAST_SITES, MOST_SITES
from federation.secure_sum.roster import Members, Roster


def create_roster(key_file: Path, to: Path, sites: Iterable[Path]) -> Roster:
    """Sign the first version of a roster.

    Args:
        key_file: the coordinator's key; drawn if there is none.
        to: a file that is not there yet.
        sites: files as ``wardround-site roster key`` writes them.

    Raises:
        ConfigError: ``to`` is there, a site comes twice, or they are too few or too many.
        DataError: a site's file, or the key's, is not what it should be.
        StorageError: the disk did not take it.
    """
    if to.exists():
        raise ConfigError(f"--to {to} is there already; name another file, or use roster change")
    keys = _require_members(_added({}, sites))
    roster = Roster.signed(_key(kept_key(key_file)), 1, keys)
    write_record(to, roster)
    return roster


def change_roster(
    key_file: Path, path: Path, add: Iterable[Path] = (), remove: Iterable[str] = ()
) -> tuple[Roster, Roster]:
    """Sign the next version of the roster at ``path``, in its place.

    Args:
        key_file: the key that the roster is signed with.
        path: of the roster.
        add: files of sites; of one whose key is replaced the name is removed, too.
        remove: names of sites.

    Returns:
        The roster before, and after.

    Raises:
        ConfigError: the key is another, nothing would change, a site comes twice or is not there, or those
            that remain are too few or too many.
        DataError: a file is not what it should be.
        StorageError: the disk did not take it; the roster is as it was.
    """
    before, coordinator = read_roster(path), _key(read_key(key_file))
    if coordinator.public_key().public_bytes_raw().hex() != before.coordinator:
        raise ConfigError(f"--key {key_file} is not the key that {path} is signed with; give that one")
    keys = dict(before.keys)
    for site in remove:
        if site not in keys:
            raise ConfigError(f"--remove {site}: it is not in the roster; {nearest(site, keys)}")
        del keys[site]
    keys = _require_members(_added(keys, add))
    if keys == before.keys:
        raise ConfigError(f"{path} would stay as it is; say what changes with --add FILE or --remove SITE")
    roster = Roster.signed(coordinator, before.version + 1, keys)
    write_record(path, roster)
    return before, roster


def _added(keys: Mapping[str, str], sites: Iterable[Path]) -> dict[str, str]:
    added = dict(keys)
    for path in sites:
        told = read_site_key(path)
        if told.site in added:
            raise ConfigError(
                f"{path}: {told.site} is in the roster already; leave it out, or to replace its key "
                f"--remove {told.site}, too"
            )
        added[told.site] = told.key
    return added


def _require_members(keys: Mapping[str, str]) -> dict[str, str]:
    if not LEAST_SITES <= len(keys) <= MOST_SITES:
        raise ConfigError(
            f"the roster would have {len(keys)} sites; give {LEAST_SITES} at least, {MOST_SITES} at most"
        )
    return dict(validated(Members, {"keys": dict(keys)}, "roster").keys)


def _key(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret)
