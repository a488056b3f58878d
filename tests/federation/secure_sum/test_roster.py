import pytest
from federated import CHIEF, identity, names, plan_for, public, roster_of

from federation.errors import ConfigError, SecureSumError
from federation.schema import validated
from federation.secure_sum.roster import Roster
from federation.secure_sum.site import SecureSite

ROSTER = roster_of(names(4))
CHIEFS_KEY = CHIEF.public_key().public_bytes_raw()


class TestRoster:
    def test_its_hash_is_of_version_and_members_in_any_order(self):
        assert roster_of(reversed(names(4))).hash == ROSTER.hash
        assert len({ROSTER.hash, roster_of(names(3)).hash, roster_of(names(4), version=2).hash}) == 3

    def test_its_fingerprint_can_be_read_aloud(self):
        assert ROSTER.fingerprint.replace(" ", "") == ROSTER.hash[:32]
        assert [len(group) for group in ROSTER.fingerprint.split()] == [4] * 8

    def test_it_comes_back_from_json(self):
        assert Roster.model_validate_json(ROSTER.model_dump_json()) == ROSTER

    def test_two_sites_do_not_share_a_key(self):
        values = {**ROSTER.model_dump(), "keys": {**ROSTER.keys, "elm": public("alder")}}
        with pytest.raises(ConfigError, match="two sites have one key"):
            validated(Roster, values, "roster")

    def test_a_later_one_of_the_coordinator_may_follow(self):
        roster_of(names(5), version=2).require_after(ROSTER, CHIEFS_KEY)
        ROSTER.require_after(ROSTER, CHIEFS_KEY)

    def test_one_that_was_changed_or_signed_by_somebody_else_may_not(self):
        changed = ROSTER.model_copy(update={"version": 2})
        others = Roster.signed(identity("alder"), 2, ROSTER.keys)
        for roster in (changed, others):
            with pytest.raises(SecureSumError, match="does not bear the coordinator's signature") as refused:
                roster.require_after(ROSTER, CHIEFS_KEY)
            assert refused.value.check == "roster-signature"

    def test_a_site_without_its_own_key_in_it_does_not_start(self):
        with pytest.raises(SecureSumError, match="alder: the roster has another key for it"):
            SecureSite(plan_for(ROSTER), ROSTER, "alder", identity("beech"))
        with pytest.raises(SecureSumError, match="elm: is not in the roster"):
            SecureSite(plan_for(ROSTER), ROSTER, "elm", identity("elm"))
