"""What a coordinator and the sites in league with it try, and the weakened variants that let them.

Each attack is one function that returns what it learnt; against the protocol it is stopped on its way.
"""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from federated import (
    CHIEF,
    MODEL,
    OTHER_MODEL,
    SIZE,
    Federation,
    identity,
    names,
    plan_for,
    public,
    resigned,
    roster_of,
)

from federation.errors import ConfigError, SecureSumError
from federation.secure_sum import site as site_module
from federation.secure_sum.agreement import box_key, first_chain_key, mask_seed, seal, unseal
from federation.secure_sum.commitments import pair_sign, secret_digest
from federation.secure_sum.masks import Mask, add_masks
from federation.secure_sum.messages import Advert, AdvertRequest, OpenRequest, RoundRequest, SurvivorsRequest
from federation.secure_sum.plan import Plan
from federation.secure_sum.ring import encode
from federation.secure_sum.roster import Roster
from federation.secure_sum.round_sum import RoundSum
from federation.secure_sum.shamir import PRIME, recover, weights_at_zero
from federation.secure_sum.signing import sign
from federation.secure_sum.site import SecureSite
from federation.secure_sum.states import Answered, New, from_bytes, to_bytes
from federation.secure_sum.transcript import context


def question(sent, survivors, name, commitments=None, boxes=None):
    """Exchange B, for what ``sent`` holds by site."""
    return SurvivorsRequest(
        round=1,
        survivors=survivors,
        commitments=commitments or tuple(sent[site].commitment for site in survivors if site in sent),
        boxes=boxes or {site: sent[site].boxes[name] for site in survivors if site in sent and site != name},
    )


def all_sent(federation, model=MODEL):
    """Everybody's masked vector of round 1, by site."""
    summing = federation.coordinator.begin(1, model)
    return {name: federation.masked(name, summing.request, model) for name in summing.cohort}


def signed_by(federation, survivors, signers, model=MODEL):
    """Exchange C, with signatures of ``signers``, who are in league or were asked."""
    told = context(federation.plan.digest, 1, federation.names, model)
    return OpenRequest(
        round=1,
        survivors=survivors,
        signatures={name: sign(identity(name), "survivors", told, survivors) for name in signers},
    )


def share_of(reply, owner, other):
    """The share of a seed of ``owner``, its own or that with ``other``; None if ``reply`` has none."""
    return reply.of_self.get(owner) if other == owner else reply.of_pairs.get(owner, {}).get(other)


def seed_from(federation, replies, owner, other):
    """A seed as ``owner`` shared it; None if too few shares are open."""
    shares = {
        federation.names.index(reply.site) + 1: share
        for reply in replies
        if (share := share_of(reply, owner, other)) is not None
    }
    threshold = federation.plan.threshold
    return recover(shares, threshold) if len(shares) >= threshold else None


def strip(vector, owner, other, seed):
    """Take the mask of ``owner``, its own or that with ``other``, from its vector."""
    if other == owner:
        add_masks(vector, [Mask(seed, "self", -1)])
    else:
        add_masks(vector, [Mask(seed, "pair", pair_sign(other, owner))])


def unmasked(federation, victim, sent, replies, known=()):
    """The victim's vector, as far as shares in ``replies`` open its seeds; None if some stay closed.

    Args:
        federation: all of whose sites are in the cohort.
        victim: whose vector is wanted.
        sent: masked vectors by site.
        replies: opened shares, also those that colluding sites hold.
        known: seeds by peer that need no opening.
    """
    vector, seeds = sent[victim].vector.copy(), dict(known)
    for peer in federation.names:
        seed = (
            seeds.get(peer)
            or seed_from(federation, replies, victim, peer)
            or seed_from(federation, replies, peer, victim)
        )
        if seed is None:
            return None
        strip(vector, victim, peer, seed)
    return vector


def stopped(by, attack, *arguments):
    with pytest.raises(SecureSumError) as refused:
        attack(*arguments)
    assert refused.value.check == by


def is_opened(federation, victim, learnt):
    return learnt is not None and (learnt == federation.vectors[victim, 1]).all()


class TestKeySubstitution:
    """The coordinator shows the victim keys of its own in place of everybody else's."""

    WHAT = "the coordinator puts its own keys in others' place"

    class Trusting(SecureSite):
        def _require_advert(self, advert):
            pass

    @staticmethod
    def attack(federation, victim="alder"):
        genuine = federation.coordinator.adverts
        own = {name: X25519PrivateKey.generate() for name in federation.names if name != victim}
        adverts = tuple(
            advert
            if name == victim
            else advert.model_copy(update={"key": own[name].public_key().public_bytes_raw()})
            for name, advert in genuine.items()
        )
        request = RoundRequest(round=1, cohort=federation.names, adverts=adverts)
        sent = federation.masked(victim, request)
        told, shares, seeds = sent.commitment.context, {}, {}
        for name, key in own.items():
            private, plan = key.private_bytes_raw(), federation.plan.digest
            chain = first_chain_key(private, name, victim, genuine[victim].key, plan)
            content = unseal(box_key(chain, told, victim), sent.boxes[name], victim, name, 1)
            shares[federation.names.index(name) + 1] = content[:32]
            seeds[name] = mask_seed(chain, told)
        seeds[victim] = recover(shares, federation.plan.threshold)
        return unmasked(federation, victim, {victim: sent}, [], seeds)

    @pytest.mark.attack(WHAT, held_by="adverts signed by keys in the pinned roster")
    def test_a_key_without_its_owners_signature_is_refused(self):
        stopped("advert", self.attack, Federation(5).advertise())

    @pytest.mark.attack(WHAT, held_by="adverts signed by keys in the pinned roster")
    def test_so_is_another_key_in_a_later_round_and_a_second_advert(self):
        federation = Federation(3).advertise()
        federation.collected()
        adverts = federation.coordinator.adverts
        changed = adverts["beech"].model_copy(update={"key": bytes([9]) * 32})
        request = RoundRequest(round=2, cohort=federation.names, adverts=(changed,))
        stopped("advert", federation.masked, "alder", request)
        fresh = Federation(3).advertise()
        twice = (*fresh.coordinator.adverts.values(), fresh.coordinator.adverts["beech"])
        stopped("advert", fresh.masked, "alder", RoundRequest(round=1, cohort=fresh.names, adverts=twice))

    @pytest.mark.mutant(WHAT, how="adverts are believed without their signature")
    def test_a_site_that_believes_them_is_opened_at_once(self):
        federation = Federation(5, self.Trusting).advertise()
        assert is_opened(federation, "alder", self.attack(federation))


class TestDifferentModels:
    """Everybody but the victim is told a model from which nothing can be learnt (arXiv 2111.07380)."""

    WHAT = "different models or cohorts to different sites"

    class Incurious(SecureSite):
        def begin(self, state, request, model):
            return super().begin(state, request, bytes(32))

    @staticmethod
    def send(federation, victim="alder"):
        """The victim learns; the others' vectors are zero, and so are their weights."""
        request = federation.coordinator.begin(1, MODEL).request
        sent = {victim: federation.masked(victim, request, MODEL)}
        for name in federation.names[1:]:
            state = federation.sites[name].begin(federation.state(name), request, OTHER_MODEL)
            nothing = encode(np.zeros(SIZE, np.float32), 0, federation.plan.grid)
            sent[name] = federation.keep(name, federation.sites[name].mask(state, nothing))
        return sent

    @classmethod
    def attack(cls, federation):
        sent = cls.send(federation)
        replies = [
            federation.answer(name, question(sent, federation.names, name)) for name in federation.names
        ]
        total = sum((reply.vector for reply in sent.values()), np.zeros(SIZE + 1, np.uint32))
        places = range(1, len(replies) + 1)
        for name in federation.names:
            shares = {place: reply.of_self[name] for place, reply in zip(places, replies, strict=True)}
            add_masks(total, [Mask(recover(shares, federation.plan.threshold), "self", -1)])
        return total

    @pytest.mark.attack(WHAT, held_by="one context of both in masks and commitments")
    def test_the_sites_see_that_others_were_told_another(self):
        stopped("context", self.attack, Federation(3).advertise())

    @pytest.mark.attack(WHAT, held_by="one context of both in masks and commitments")
    def test_and_their_masks_would_not_cancel(self):
        sent = self.send(Federation(3).advertise())
        assert not set(sent["alder"].secrets) & set(sent["beech"].secrets)
        assert set(sent["cedar"].secrets) & set(sent["beech"].secrets)

    @pytest.mark.attack(WHAT, held_by="one context of both in masks and commitments")
    def test_so_they_see_that_others_were_told_another_cohort(self):
        federation = Federation(4, dropouts=1).advertise()
        whole = federation.coordinator.begin(1, MODEL).request
        fewer = whole.model_copy(update={"cohort": ("alder", "beech", "cedar")})
        sent = {name: federation.masked(name, whole) for name in federation.names[1:]}
        sent["alder"] = federation.masked("alder", fewer)
        asked = question(sent, ("alder", "beech", "cedar"), "alder")
        stopped("context", federation.answer, "alder", asked)

    @pytest.mark.mutant(WHAT, how="a context without the model")
    def test_without_it_the_sum_is_the_victims(self):
        federation = Federation(3, self.Incurious).advertise()
        assert is_opened(federation, "alder", self.attack(federation))


class LowPlan(Plan):
    """A plan whose threshold is one lower."""

    @property
    def threshold(self):
        return super().threshold - 1


class TestDifferentSurvivors:
    """Half of the sites are told one set and half another."""

    WHAT = "different survivor sets to different sites"

    @staticmethod
    def attack(federation, told, victim):
        """``told`` are the sets of each site in turn; what they open is put together."""
        sent, replies = all_sent(federation), []
        asked = list(zip(federation.names, told, strict=True))
        for name, survivors in asked:
            federation.answer(name, question(sent, survivors, name))
        for name, survivors in asked:
            if not isinstance(federation.state(name), Answered):
                signers = [other for other, theirs in asked if theirs == survivors]
                federation.open(name, signed_by(federation, survivors, signers))
            replies.append(federation.state(name).reply)
        return unmasked(federation, victim, sent, replies)

    EVERYBODY = names(4)
    ONE, OTHER = ("alder", "beech", "cedar"), ("alder", "cedar", "dogwood")
    HALVES = (ONE, ONE, OTHER, OTHER)

    @pytest.mark.attack(WHAT, held_by="one set a round that more than half have signed")
    def test_neither_set_has_signatures_enough(self):
        federation = Federation(4, colluding=0, dropouts=1).advertise()
        stopped("signatures", self.attack, federation, self.HALVES, "beech")

    @pytest.mark.attack(WHAT, held_by="one set a round that more than half have signed")
    def test_signatures_of_others_on_another_set_or_round_do_not_count(self):
        federation = Federation(4, colluding=0, dropouts=1).advertise()
        sent = all_sent(federation)
        site, survivors = federation.sites["alder"], self.ONE
        agreed = site.answer(federation.state("alder"), question(sent, survivors, "alder"))
        enough = signed_by(federation, survivors, survivors)
        assert site.open(agreed, enough)
        for bad in (
            signed_by(federation, self.OTHER, survivors).signatures,
            signed_by(federation, survivors, survivors, OTHER_MODEL).signatures,
            {**enough.signatures, "cedar": enough.signatures["beech"]},
            {**enough.signatures, **signed_by(federation, survivors, ["dogwood"]).signatures},
        ):
            stopped("signatures", site.open, agreed, enough.model_copy(update={"signatures": bad}))
        stopped("one-set", site.open, agreed, signed_by(federation, self.OTHER, self.OTHER))

    @pytest.mark.mutant(WHAT, how="a threshold that is one lower")
    def test_with_a_threshold_one_lower_each_half_opens_its_part_of_a_single_site(self):
        federation = Federation(4, plan_kind=LowPlan, colluding=0, dropouts=1).advertise()
        assert is_opened(federation, "beech", self.attack(federation, self.HALVES, "beech"))

    CLAIMED = "a claimed dropout, to subtract two sums of one round"
    CLAIM = (EVERYBODY, EVERYBODY, OTHER, OTHER)

    @pytest.mark.attack(CLAIMED, held_by="shares and signatures of more than half")
    def test_who_is_said_to_have_dropped_out_stays_masked(self):
        federation = Federation(4, colluding=0, dropouts=1).advertise()
        stopped("signatures", self.attack, federation, self.CLAIM, "beech")

    @pytest.mark.mutant(CLAIMED, how="a threshold that is one lower")
    def test_with_a_threshold_one_lower_it_is_opened(self):
        federation = Federation(4, plan_kind=LowPlan, colluding=0, dropouts=1).advertise()
        assert is_opened(federation, "beech", self.attack(federation, self.CLAIM, "beech"))


class TestBothShares:
    """A site is first a survivor, and then said to have dropped out."""

    WHAT = "both shares of one peer"
    REST = ("alder", "cedar", "dogwood")

    class Forgetful(Federation):
        """Its sites send answers that they have not kept."""

        def keep(self, name, state):
            return state.reply if isinstance(state, Answered) else super().keep(name, state)

    @classmethod
    def attack(cls, federation, victim="beech"):
        sent, replies = all_sent(federation), []
        for name in federation.names:
            asked = question(sent, federation.names, name)
            replies.append(federation.answer(name, asked))
        for name in cls.REST:
            asked = question(sent, cls.REST, name)
            federation.answer(name, asked)
        for name in cls.REST:
            opening = signed_by(federation, cls.REST, cls.REST)
            replies.append(federation.open(name, opening))
        return unmasked(federation, victim, sent, replies)

    @pytest.mark.attack(WHAT, held_by="one answer a round, kept before it leaves")
    def test_a_second_set_is_refused(self):
        stopped("one-set", self.attack, Federation(4, dropouts=1).advertise())

    @pytest.mark.mutant(WHAT, how="an answer is not kept before it leaves")
    def test_a_site_that_forgets_its_answer_gives_both(self):
        federation = self.Forgetful(4, dropouts=1).advertise()
        assert is_opened(federation, "beech", self.attack(federation))


class TestInventedSurvivors:
    """A sum over the victim and sites that do not exist."""

    WHAT = "survivors who never sent anything"
    GHOSTS = ("alder", "yew", "zelkova")

    class Counting(SecureSite):
        """Counts names and asks for no commitment."""

        def _require_survivors(self, state, request):
            assert len(request.survivors) >= self.plan.min_survivors

        def _require_signatures(self, state, signatures):
            pass

        def _shares(self, state, request):
            real = tuple(site for site in request.survivors if site in state.cohort)
            return super()._shares(state, request.model_copy(update={"survivors": real}))

    @classmethod
    def attack(cls, federation, victim="alder"):
        sent, replies = all_sent(federation), []
        for name in federation.names:
            asked = question(sent, cls.GHOSTS, name)
            federation.answer(name, asked)
            opening = OpenRequest(round=1, survivors=cls.GHOSTS, signatures={})
            replies.append(federation.open(name, opening))
        return unmasked(federation, victim, sent, replies)

    @pytest.mark.attack(WHAT, held_by="signed commitments of members of the cohort")
    def test_names_from_outside_the_cohort_are_refused(self):
        stopped("survivors", self.attack, Federation(4, dropouts=1).advertise())

    @pytest.mark.attack(WHAT, held_by="signed commitments of members of the cohort")
    @pytest.mark.parametrize(
        ("forged", "by"),
        [
            (lambda sent, old: sent["alder"], "commitment"),
            (lambda sent, old: sent["alder"].model_copy(update={"site": "beech"}), "commitment"),
            (lambda sent, old: sent["beech"].model_copy(update={"vector": bytes(32)}), "commitment"),
            (lambda sent, old: old, "context"),
        ],
    )
    def test_a_commitment_is_the_sites_own_and_of_this_round(self, forged, by):
        federation = Federation(3).advertise()
        old = federation.collected(1).settle()["alder"].commitments[1]
        summing = federation.collected(2)
        asked = summing.settle()["alder"]
        sent = {commitment.site: commitment for commitment in asked.commitments}
        changed = asked.model_copy(update={"commitments": (sent["alder"], forged(sent, old), sent["cedar"])})
        stopped(by, federation.answer, "alder", changed)

    @pytest.mark.attack(WHAT, held_by="signed commitments of members of the cohort")
    def test_a_site_knows_its_own_commitment_and_its_own_place(self):
        federation = Federation(4, dropouts=1).advertise()
        before, request = federation.state("alder"), federation.coordinator.begin(1, MODEL).request
        sent = all_sent(federation)
        training = federation.sites["alder"].begin(before, request, MODEL)
        other = federation.sites["alder"].mask(training, federation.words("alder"))
        commitments = (other.reply.commitment, sent["beech"].commitment, sent["cedar"].commitment)
        asked = question(sent, ("alder", "beech", "cedar"), "alder", commitments)
        stopped("commitment", federation.answer, "alder", asked)
        asked = question(sent, ("beech", "cedar", "dogwood"), "alder")
        stopped("survivors", federation.answer, "alder", asked)

    @pytest.mark.mutant(WHAT, how="survivors are counted, not asked for commitments")
    def test_a_site_that_only_counts_them_opens_the_victim(self):
        federation = Federation(4, self.Counting, dropouts=1).advertise()
        assert is_opened(federation, "alder", self.attack(federation))


class TestSwappedBoxes:
    """The boxes of a site that is said to have dropped out are shown as those of a colluding survivor."""

    WHAT = "swapped or replayed boxes"
    SURVIVORS = ("alder", "cedar", "dogwood")

    class AnyBox(SecureSite):
        """Opens a box with whichever key fits."""

        def _unsealed(self, state, sender, boxes):
            for peer in state.openers:
                try:
                    return unseal(state.openers[peer], boxes[sender], peer, self.name, state.round)
                except SecureSumError:
                    continue
            raise AssertionError

    @classmethod
    def attack(cls, federation, victim="beech", colluding="dogwood"):
        before = federation.state(colluding)
        sent, replies = all_sent(federation), []
        for name in ("alder", "cedar"):
            boxes = {peer: sent[peer].boxes[name] for peer in cls.SURVIVORS if peer != name}
            asked = question(sent, cls.SURVIVORS, name, boxes={**boxes, colluding: sent[victim].boxes[name]})
            site = federation.sites[name]
            state = site.answer(federation.state(name), asked)
            reply = site.open(state, signed_by(federation, cls.SURVIVORS, cls.SURVIVORS)).reply
            replies.append(reply.model_copy(update={"of_self": {victim: reply.of_self[colluding]}}))
        own, request = federation.sites[colluding], federation.coordinator.begin(1, MODEL).request
        chains = own.begin(before, request, MODEL).chains
        held = own._shares(federation.state(colluding), question(sent, cls.SURVIVORS, colluding))
        opener = federation.state(colluding).openers[victim]
        box = unseal(opener, sent[victim].boxes[colluding], victim, colluding, 1)
        replies.append(held.model_copy(update={"of_self": {victim: box[:32]}}))
        known = {colluding: mask_seed(chains[victim], sent[victim].commitment.context)}
        return unmasked(federation, victim, sent, replies, known)

    @pytest.mark.attack(WHAT, held_by="a key for each pair, direction and round, and associated data")
    def test_a_box_opens_only_as_its_senders(self):
        stopped("box", self.attack, Federation(4, dropouts=1).advertise())

    @pytest.mark.attack(WHAT, held_by="a key for each pair, direction and round, and associated data")
    def test_nor_does_one_of_an_earlier_round_or_the_receivers_own(self):
        federation = Federation(3).advertise()
        old = federation.collected(1).settle()["alder"].boxes
        summing = federation.collected(2)
        asked = summing.settle()["alder"]
        reflected = {**asked.boxes, "beech": federation.state("alder").reply.boxes["beech"]}
        for boxes in ({**asked.boxes, "beech": old["beech"]}, reflected, {}):
            changed = asked.model_copy(update={"boxes": boxes})
            stopped("box", federation.answer, "alder", changed)

    @pytest.mark.attack(WHAT, held_by="a key for each pair, direction and round, and associated data")
    @pytest.mark.parametrize("content", [b"", bytes(32), bytes(32 * 5)])
    def test_nor_is_one_taken_that_its_sender_filled_with_too_little_or_too_much(self, content):
        federation = Federation(4, dropouts=1).advertise()
        before, request = federation.state("beech"), federation.coordinator.begin(1, MODEL).request
        sent = all_sent(federation)
        chains = federation.sites["beech"].begin(before, request, MODEL).chains
        key = box_key(chains["alder"], sent["beech"].commitment.context, "beech")
        boxes = {**sent["beech"].boxes, "alder": seal(key, content, "beech", "alder", 1)}
        sent["beech"] = resigned("beech", sent["beech"], boxes=boxes)
        stopped("box", federation.answer, "alder", question(sent, federation.names, "alder"))

    @pytest.mark.mutant(WHAT, how="a box is opened with whichever key fits")
    def test_a_site_that_does_not_ask_whose_it_is_opens_the_victim(self):
        federation = Federation(4, self.AnyBox, dropouts=1).advertise()
        assert is_opened(federation, "beech", self.attack(federation))


class TestSecondVector:
    """A site is made to mask two vectors in the same way, by a crash or by asking twice."""

    WHAT = "a second vector under one mask"

    class Repeating(SecureSite):
        """Draws its self mask from what it also has after a crash."""

        def _self_seed(self):
            return hashlib.sha256(self.name.encode()).digest()[:31]

    @staticmethod
    def attack(federation, crash):
        """The difference of two vectors, as the coordinator sees it, and what it is."""
        site, request = federation.sites["alder"], federation.coordinator.begin(1, MODEL).request
        training = site.begin(federation.state("alder"), request, MODEL)
        vectors = federation.words("alder", 1), federation.words("alder", 2)
        difference = vectors[0] - vectors[1]
        first = site.mask(training, vectors[0]).reply.vector
        return first - site.mask(crash(training), vectors[1]).reply.vector, difference

    @pytest.mark.attack(WHAT, held_by="burnt rounds, and a fresh self mask")
    def test_after_a_crash_the_round_is_burnt(self):
        federation = Federation(3).advertise()
        stopped("order", self.attack, federation, lambda training: from_bytes(to_bytes(training)))

    @pytest.mark.attack(WHAT, held_by="burnt rounds, and a fresh self mask")
    def test_even_without_a_crash_the_difference_stays_masked(self):
        seen, difference = self.attack(Federation(3).advertise(), lambda training: training)
        assert (seen != difference).all()

    @pytest.mark.attack(WHAT, held_by="burnt rounds, and a fresh self mask")
    @pytest.mark.parametrize("model", [MODEL, OTHER_MODEL])
    def test_asked_again_it_sends_the_same_bytes_or_nothing(self, model):
        federation = Federation(3).advertise()
        request = federation.coordinator.begin(1, MODEL).request
        sent = federation.masked("alder", request)
        if model == MODEL:
            again = federation.sites["alder"].begin(federation.state("alder"), request, model)
            assert again.reply.model_dump(exclude={"vector"}) == sent.model_dump(exclude={"vector"})
            assert (again.reply.vector == sent.vector).all()
        else:
            stopped("burnt", federation.masked, "alder", request, model)

    @pytest.mark.mutant(WHAT, how="keys and self mask outlive a crash")
    def test_a_site_that_masks_alike_gives_the_difference_away(self):
        seen, difference = self.attack(Federation(3, self.Repeating).advertise(), lambda training: training)
        assert (seen == difference).all()


class TestTinySum:
    """A sum over the victim and a site in league with the coordinator."""

    WHAT = "a sum over one honest site"
    TWO = ("alder", "dogwood")

    class Meagre(Plan):
        """Two are enough for everything."""

        threshold = property(lambda self: 2)
        min_survivors = property(lambda self: 2)

    @classmethod
    def attack(cls, federation, victim="alder", colluding="dogwood"):
        sent = all_sent(federation)
        site, own = federation.sites[victim], federation.sites[colluding]
        state = site.answer(federation.state(victim), question(sent, cls.TWO, victim))
        reply = site.open(state, signed_by(federation, cls.TWO, cls.TWO)).reply
        held = own._shares(federation.state(colluding), question(sent, cls.TWO, colluding))
        seen = sum((sent[name].vector for name in cls.TWO), np.zeros(SIZE + 1, np.uint32))
        for owner in cls.TWO:
            for other in (owner, "beech", "cedar"):
                strip(seen, owner, other, seed_from(federation, [reply, held], owner, other))
        return seen - federation.vectors[colluding, 1]

    @pytest.mark.attack(WHAT, held_by="min_survivors, and a threshold above what collude")
    def test_too_few_survivors_are_refused(self):
        stopped("min-survivors", self.attack, Federation(4, dropouts=1).advertise())

    @pytest.mark.attack(WHAT, held_by="min_survivors, and a threshold above what collude")
    @pytest.mark.parametrize("survivors", [("alder", "alder", "dogwood"), ("alder", "dogwood", "dogwood")])
    def test_nobody_counts_twice(self, survivors):
        federation = Federation(4, dropouts=1).advertise()
        asked = question(all_sent(federation), survivors, "alder")
        stopped("survivors", federation.answer, "alder", asked)

    @pytest.mark.attack(WHAT, held_by="min_survivors, and a threshold above what collude")
    def test_and_so_is_too_small_a_cohort(self):
        federation = Federation(4, dropouts=1).advertise()
        adverts = tuple(federation.coordinator.adverts.values())
        stopped("cohort", federation.masked, "alder", RoundRequest(round=1, cohort=self.TWO, adverts=adverts))

    @pytest.mark.mutant(WHAT, how="a plan that is content with two")
    def test_a_plan_that_is_content_with_two_opens_the_victim(self):
        federation = Federation(4, plan_kind=self.Meagre, dropouts=1).advertise()
        assert is_opened(federation, "alder", self.attack(federation))


class TestOldRoster:
    """Beech's key was stolen and replaced; the coordinator comes with the roster of before."""

    WHAT = "an earlier roster, with a key that was stolen"
    OLD = Roster.signed(CHIEF, 1, {name: public("stolen" if name == "beech" else name) for name in names(3)})
    PINNED = roster_of(names(3), version=2)

    class Undated(Roster):
        """Has no version to be earlier by."""

        def require_after(self, pinned):
            super().require_after(pinned.model_copy(update={"version": 0}))

    @classmethod
    def attack(cls, roster):
        """Whether a thief takes part in beech's name."""
        roster.require_after(cls.PINNED)
        plan = plan_for(roster)
        site = SecureSite(plan, roster, "alder", identity("alder"))
        told = site.advertise(New(), AdvertRequest(plan=plan.digest.hex()))
        key = X25519PrivateKey.generate().public_key().public_bytes_raw()
        signature = sign(identity("stolen"), "advert", plan.digest, "beech", key)
        stolen = Advert(site="beech", key=key, signature=signature)
        return site._ready(told, (stolen,)).peers["beech"].key == key

    @pytest.mark.attack(WHAT, held_by="versions of the roster, and its hash in the plan")
    def test_an_earlier_version_is_refused(self):
        stopped("roster-version", self.attack, self.OLD)

    @pytest.mark.attack(WHAT, held_by="versions of the roster, and its hash in the plan")
    def test_nor_does_it_go_with_the_plan(self):
        with pytest.raises(ConfigError, match="is not that of the plan"):
            SecureSite(plan_for(self.PINNED), self.OLD, "alder", identity("alder"))

    @pytest.mark.mutant(WHAT, how="any roster that the coordinator once signed")
    def test_without_versions_the_thief_takes_part(self):
        assert self.attack(self.Undated(**self.OLD.model_dump()))


class TestTheft:
    """Somebody reads a site's disk after a round, and has recorded that round."""

    WHAT = "earlier rounds, read with stolen keys"

    @staticmethod
    def attack(federation):
        """How many seeds of round 1 follow from what lies on alder's disk in round 2."""
        summing = federation.collected(1)
        sent = federation.state("alder").reply
        federation.total(summing)
        federation.collected(2)
        told, peers = sent.commitment.context, federation.state("alder").peers
        seeds = [mask_seed(peer.chain, told) for peer in peers.values()]
        return len({secret_digest(told, seed) for seed in seeds} & set(sent.secrets))

    @pytest.mark.attack(WHAT, held_by="keys that move on each round, the first ones erased")
    def test_no_seed_of_the_round_before_follows_from_what_is_kept(self):
        assert self.attack(Federation(3).advertise()) == 0

    @pytest.mark.mutant(WHAT, how="the same keys in every round")
    def test_keys_that_stay_open_every_pair(self, monkeypatch):
        monkeypatch.setattr(site_module, "next_chain_key", lambda chain: chain)
        assert self.attack(Federation(3).advertise()) == 2


class TestWrongShares:
    """A colluding site opens shares that it made up, to spoil the sum unseen."""

    WHAT = "wrong shares, to spoil the sum unseen"

    class Unasking(RoundSum):
        def _require_told(self, site, secret, seed):
            pass

    @staticmethod
    def attack(federation, kind):
        """The sum where beech's share of alder's self mask makes one more of it than it is."""
        begun = federation.coordinator.begin(1, MODEL)
        summing = kind(federation.plan, federation.roster, begun.request, MODEL)
        for name in federation.names:
            summing.add(name, federation.masked(name, summing.request))
        for name, asked in summing.settle().items():
            reply = federation.answer(name, asked)
            if name == "beech":
                share = int.from_bytes(reply.of_self["alder"], "little")
                share += pow(weights_at_zero([1, 2, 3])[1], -1, PRIME)
                wrong = (share % PRIME).to_bytes(32, "little")
                reply = reply.model_copy(update={"of_self": {**reply.of_self, "alder": wrong}})
            summing.open(name, reply)
        return summing.total()

    @pytest.mark.attack(WHAT, held_by="digests of what was shared, in the commitments")
    def test_they_are_found(self):
        stopped("secret", self.attack, Federation(3).advertise(), RoundSum)

    @pytest.mark.mutant(WHAT, how="what comes out of shares is not compared")
    def test_a_coordinator_that_does_not_compare_takes_noise_for_the_sum(self):
        federation = Federation(3).advertise()
        total = self.attack(federation, self.Unasking)
        assert (total != federation.exact(federation.names)).mean() > 0.9
