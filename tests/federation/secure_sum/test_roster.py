import pytest
from federated import identity, names, plan_for, public, roster_of

from federation.errors import ConfigError, SecureSumError
from federation.schema import validated
from federation.secure_sum.fingerprint import words_of
from federation.secure_sum.roster import Roster, SiteKey, key_words
from federation.secure_sum.site import SecureSite

ROSTER = roster_of(names(4))


class TestRoster:
    def test_its_hash_is_of_version_coordinator_and_members_in_any_order(self):
        assert roster_of(reversed(names(4))).hash == ROSTER.hash
        others = Roster.signed(identity("alder"), 1, ROSTER.keys)
        changed = (roster_of(names(3)), roster_of(names(4), version=2), others)
        assert len({each.hash for each in (ROSTER, *changed)}) == 4

    def test_its_fingerprint_can_be_read_aloud(self):
        assert ROSTER.fingerprint == words_of(ROSTER.hash)

    def test_it_comes_back_from_json(self):
        assert Roster.model_validate_json(ROSTER.model_dump_json()) == ROSTER

    def test_two_sites_do_not_share_a_key(self):
        values = {**ROSTER.model_dump(), "keys": {**ROSTER.keys, "elm": public("alder")}}
        with pytest.raises(ConfigError, match="two sites have one key"):
            validated(Roster, values, "roster")

    def test_a_later_one_of_the_coordinator_may_follow(self):
        roster_of(names(5), version=2).require_after(ROSTER)
        ROSTER.require_after(ROSTER)

    @pytest.mark.parametrize(
        ("roster", "check"),
        [
            (ROSTER.model_copy(update={"version": 2}), "roster-signature"),
            (ROSTER.model_copy(update={"keys": {**ROSTER.keys, "elm": public("elm")}}), "roster-signature"),
            (ROSTER.model_copy(update={"coordinator": public("alder")}), "roster-signature"),
            (Roster.signed(identity("alder"), 2, ROSTER.keys), "roster-coordinator"),
            (roster_of(names(5)), "roster-version"),
        ],
        ids=["another version", "another member", "another coordinator", "another's", "of the same version"],
    )
    def test_one_that_was_changed_or_signed_by_somebody_else_may_not(self, roster, check):
        with pytest.raises(SecureSumError) as refused:
            roster.require_after(ROSTER)
        assert refused.value.check == check

    def test_what_a_site_tells_of_itself_has_words_that_hang_on_its_key(self):
        alder = SiteKey(site="alder", key=public("alder"))
        assert len(alder.words.split()) == 12
        assert alder.words == key_words(public("alder")) != key_words(public("beech"))

    def test_a_site_without_its_own_key_in_it_does_not_start(self):
        with pytest.raises(SecureSumError, match="alder: the roster has another key for it"):
            SecureSite(plan_for(ROSTER), ROSTER, "alder", identity("beech"))
        with pytest.raises(SecureSumError, match="elm: is not in the roster"):
            SecureSite(plan_for(ROSTER), ROSTER, "elm", identity("elm"))
