"""Whose keys a hospital believes, and what a coordinator tries to have it believe others."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.custodian.pinned_roster import PinnedRoster
from federation.errors import DataError, SecureSumError, StorageError
from federation.secure_sum.roster import Roster, SiteKey

SITES = ("alder", "beech", "cedar")


def secret(name):
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public(name):
    return secret(name).public_key().public_bytes_raw().hex()


def roster_of(version, coordinator="coordinator", **keys):
    """Of three sites with their own keys, or those of another name, or None for a site that is left out."""
    named = {site: keys.get(site, site) for site in (*SITES, *keys)}
    return Roster.signed(
        secret(coordinator), version, {site: public(name) for site, name in named.items() if name is not None}
    )


OWN = SiteKey(site="alder", key=public("alder"))


@pytest.fixture
def pinned(tmp_path):
    """A hospital that has pinned version 2."""
    pinned = PinnedRoster(tmp_path)
    pinned.pin(roster_of(2), OWN)
    return pinned


class TestPinnedRoster:
    def test_at_first_there_is_none(self, tmp_path):
        assert PinnedRoster(tmp_path).read() is None

    def test_what_was_pinned_is_there_after_a_restart(self, pinned, tmp_path):
        assert PinnedRoster(tmp_path).read() == roster_of(2)
        assert [path.name for path in tmp_path.iterdir()] == ["roster.json"]

    def test_a_later_one_replaces_it(self, pinned):
        later = roster_of(3, dogwood="dogwood", beech="beech anew")
        pinned.pin(later, OWN)
        assert pinned.read() == later

    def test_to_pin_it_again_changes_nothing(self, pinned):
        pinned.pin(roster_of(2), OWN)
        assert pinned.read() == roster_of(2)

    @pytest.mark.parametrize("size", [0, 1, 100, -1])
    def test_a_damaged_one_is_no_missing_one_and_nothing_replaces_it(self, size, pinned, tmp_path):
        path = tmp_path / "roster.json"
        path.write_bytes(path.read_bytes()[:size].rstrip(b"}\n"))
        with pytest.raises(DataError, match=r"roster.json is no roster"):
            pinned.read()
        with pytest.raises(DataError, match=r"roster.json is no roster"):
            pinned.pin(roster_of(3), OWN)

    def test_one_that_was_changed_on_the_disk_is_damaged(self, pinned, tmp_path):
        path = tmp_path / "roster.json"
        path.write_text(path.read_text().replace(public("beech"), public("stolen")))
        with pytest.raises(DataError, match="does not bear its coordinator's signature"):
            pinned.read()

    def test_where_the_disk_does_not_take_it_the_one_before_stays(self, pinned, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match="No space left on device"):
                pinned.pin(roster_of(3), OWN)
        assert pinned.read() == roster_of(2)


class AnyVersion(PinnedRoster):
    """Believes whatever the coordinator has ever signed."""

    def require(self, roster, own):
        roster.require_genuine()
        assert roster.coordinator == self.read().coordinator


class AnyCoordinator(PinnedRoster):
    """Believes whoever has signed, as long as the roster is later."""

    def require(self, roster, own):
        roster.require_genuine()
        assert roster.version > self.read().version


class AnyOwnKey(PinnedRoster):
    """Does not look for its own key."""

    def require(self, roster, own):
        roster.require_after(self.read())


class Unsigned(PinnedRoster):
    """Believes what a roster says of who signed it."""

    def require(self, roster, own):
        pinned = self.read()
        assert (roster.coordinator, roster.version > pinned.version) == (pinned.coordinator, True)


DOWNGRADE = "roster downgrade: keys that a hospital has not compared, or that were replaced since"
HELD_BY = "a pinned roster: later versions alone, one coordinator, and the hospital's own key"
FORGED = roster_of(3, beech="stolen").model_copy(update={"signature": roster_of(3).signature})
ATTACKS = [
    pytest.param(roster_of(1, beech="stolen"), "roster-version", AnyVersion, id="an older version"),
    pytest.param(roster_of(2, beech="stolen"), "roster-version", AnyVersion, id="another of the version"),
    pytest.param(
        roster_of(3, "another coordinator"), "roster-coordinator", AnyCoordinator, id="another coordinator"
    ),
    pytest.param(roster_of(3, alder="stolen"), "roster-own-key", AnyOwnKey, id="its own key exchanged"),
    pytest.param(
        roster_of(3, alder=None, dogwood="alder"), "roster-own-key", AnyOwnKey, id="its key elsewhere"
    ),
    pytest.param(FORGED, "roster-signature", Unsigned, id="keys exchanged under the signature"),
]


class TestDowngrade:
    """Hospital alder has pinned version 2; the coordinator, or whoever is in between, comes with another."""

    @staticmethod
    def attack(kind, roster, folder):
        """Whether the hospital then believes ``roster``."""
        PinnedRoster(folder).pin(roster_of(2), OWN)
        pinned = kind(folder)
        pinned.pin(roster, OWN)
        return Roster.model_validate_json((folder / "roster.json").read_bytes()) == roster

    @pytest.mark.attack(DOWNGRADE, held_by=HELD_BY)
    @pytest.mark.parametrize(("roster", "check", "_"), ATTACKS)
    def test_it_is_refused_and_the_pinned_one_stays(self, roster, check, _, tmp_path):
        with pytest.raises(SecureSumError) as refused:
            self.attack(PinnedRoster, roster, tmp_path)
        assert refused.value.check == check
        assert PinnedRoster(tmp_path).read() == roster_of(2)

    @pytest.mark.parametrize(
        ("roster", "_", "kind"),
        [
            pytest.param(
                *each.values, id=each.id, marks=pytest.mark.mutant(DOWNGRADE, each.values[2].__doc__)
            )
            for each in ATTACKS
        ],
    )
    def test_a_weakened_hospital_believes_it(self, roster, _, kind, tmp_path):
        assert self.attack(kind, roster, tmp_path)

    @pytest.mark.attack(DOWNGRADE, held_by=HELD_BY)
    @pytest.mark.parametrize("own", [{"alder": "stolen"}, {"alder": None, "dogwood": "dogwood"}])
    def test_nor_is_the_first_one_believed_without_its_own_key(self, own, tmp_path):
        with pytest.raises(SecureSumError, match="alder: its own key does not stand under this name"):
            PinnedRoster(tmp_path).pin(roster_of(1, **own), OWN)
        assert PinnedRoster(tmp_path).read() is None
