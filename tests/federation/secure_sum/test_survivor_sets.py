"""Every survivor set that a coordinator may tell each honest site, and what it learns by that.

The sites are asked for real, each for every set, and their answers are put together in every way. What the
coordinator learns follows from which seeds it can recover: vectors whose common masks stay closed are only
known as a sum, and that one only where all self masks in it are open.
"""

from itertools import combinations, product

import pytest
from federated import Federation

from federation.errors import SecureSumError
from federation.secure_sum.messages import OpenRequest, SurvivorsRequest
from federation.secure_sum.plan import Plan
from federation.secure_sum.signing import sign
from federation.secure_sum.site import SecureSite
from federation.secure_sum.states import Agreed

PLANS = [
    (sites, colluding, dropouts)
    for sites in (3, 4, 5)
    for colluding in range(sites - 1)
    for dropouts in range(sites - max((sites + colluding) // 2 + 1, 3) + 1)
]


class LowPlan(Plan):
    """A plan whose threshold is one lower."""

    @property
    def threshold(self):
        return super().threshold - 1


class HastySite(SecureSite):
    """A site that opens a survivor set which others have not signed."""

    def _require_signatures(self, state, signatures):
        pass


class Strategies:
    """All that a coordinator can do in one round, in league with the last ``colluding`` sites.

    Args:
        federation: advertised; all of its sites will have sent a vector.
        without: sites that are not in the cohort.
    """

    def __init__(self, federation, without=frozenset()):
        self.federation, plan = federation, federation.plan
        self.summing = federation.collected(without=without)
        self.cohort = self.summing.cohort
        self.colluding = self.cohort[len(self.cohort) - plan.colluding :]
        self.honest = self.cohort[: len(self.cohort) - plan.colluding]
        self.sets = [s for size in range(1, len(self.cohort) + 1) for s in combinations(self.cohort, size)]
        sent = {name: federation.state(name).reply for name in self.cohort}
        self.requests = {
            (name, survivors): SurvivorsRequest(
                round=1,
                survivors=survivors,
                commitments=tuple(sent[site].commitment for site in survivors),
                boxes={site: sent[site].boxes[name] for site in survivors if site != name},
            )
            for name in self.honest
            for survivors in self.sets
        }
        self.answers = {name: {s: self.answer(name, s) for s in self.sets} for name in self.honest}
        self.answers = {
            name: {s: state for s, state in answers.items() if state}
            for name, answers in self.answers.items()
        }

    def answer(self, name, survivors, state=None):
        """The state that ``name`` comes into by these survivors; None if it refuses."""
        try:
            site, state = self.federation.sites[name], state or self.federation.state(name)
            return site.answer(state, self.requests[name, survivors])
        except SecureSumError:
            return None

    def opened(self, name, survivors, honest_signers):
        """What ``name`` opens if it was told ``survivors`` and these and all colluding sites signed them."""
        state = self.answers[name][survivors]
        if not isinstance(state, Agreed):
            return state.reply
        signatures = {signer: self.answers[signer][survivors].reply.signature for signer in honest_signers}
        for site in set(self.colluding) & set(survivors):
            key = self.federation.sites[site].identity
            signatures[site] = sign(key, "survivors", state.context, survivors)
        try:
            request = OpenRequest(round=1, survivors=survivors, signatures=signatures)
            return self.federation.sites[name].open(state, request).reply
        except SecureSumError:
            return None

    def learnt(self):
        """For every strategy, the honest sites by group whose sum the coordinator learns."""
        replies, needed = {}, self.federation.plan.threshold - len(self.colluding)
        for told in product(*([None, *self.answers[name]] for name in self.honest)):
            shares = {}
            for name, survivors in zip(self.honest, told, strict=True):
                if survivors is None:
                    continue
                signers = tuple(s for s, other in zip(self.honest, told, strict=True) if other == survivors)
                key = name, survivors, signers
                if key not in replies:
                    replies[key] = secrets(self.opened(*key), self.honest)
                for secret in replies[key]:
                    shares[secret] = shares.get(secret, 0) + 1
            known = {secret for secret, count in shares.items() if count >= needed}
            yield told, [group for group in groups(self.honest, known) if {(s, s) for s in group} <= known]


def secrets(reply, honest):
    """The honest sites' secrets of which ``reply`` holds a share: (site, itself or its peer)."""
    if reply is None:
        return []
    pairs = [(site, dead) for site, shares in reply.of_pairs.items() for dead in shares]
    return [(site, peer) for site, peer in [*((s, s) for s in reply.of_self), *pairs] if site in honest]


def groups(sites, known):
    """Those of ``sites`` that hang together by a mask whose seed is not ``known``."""
    ahead, found = list(sites), []
    while ahead:
        group, edge = set(), [ahead[0]]
        while edge:
            site = edge.pop()
            group.add(site)
            ahead.remove(site)
            edge = [
                *edge,
                *(
                    peer
                    for peer in ahead
                    if peer not in edge and (site, peer) not in known and (peer, site) not in known
                ),
            ]
        found.append(frozenset(group))
    return found


ATTACK = "any survivor set to any site"


def too_much(strategies):
    """The strategies by which the coordinator learns two sums, or one over too few honest sites."""
    plan = strategies.federation.plan
    fewest = plan.min_survivors - plan.colluding
    for told, learnt in strategies.learnt():
        if len(learnt) > 1 or any(len(group) < fewest for group in learnt):
            yield told, learnt


@pytest.mark.attack(ATTACK, held_by="one set a round that more than half have signed")
class TestEveryStrategy:
    @pytest.mark.parametrize(("sites", "colluding", "dropouts"), PLANS)
    def test_opens_at_most_one_sum_and_none_over_too_few(self, sites, colluding, dropouts):
        federation = Federation(sites, colluding=colluding, dropouts=dropouts).advertise()
        assert not list(too_much(Strategies(federation)))

    def test_opens_no_more_where_not_everybody_is_in_the_cohort(self):
        for sites, colluding, dropouts, away in ((4, 1, 1, 1), (5, 0, 2, 1), (5, 0, 2, 2), (5, 1, 1, 1)):
            federation = Federation(sites, colluding=colluding, dropouts=dropouts).advertise()
            assert not list(too_much(Strategies(federation, without=frozenset(federation.names[:away]))))

    def test_some_open_the_sum_over_all_honest_sites_and_some_one_over_fewer(self):
        strategies = Strategies(Federation(5, colluding=1, dropouts=1).advertise())
        assert {len(group) for _, learnt in strategies.learnt() for group in learnt} == {3, 4}

    def test_is_one_set_a_site_since_a_second_one_is_refused(self):
        federation = Federation(5, colluding=1, dropouts=1).advertise()
        strategies = Strategies(federation)
        for name, answers in strategies.answers.items():
            for survivors, state in answers.items():
                others = [other for other in strategies.sets if other != survivors]
                assert not any(strategies.answer(name, other, state) for other in others)
                assert strategies.answer(name, survivors, state) is state


@pytest.mark.mutant(ATTACK, how="a threshold that is one lower")
@pytest.mark.parametrize(
    ("sites", "colluding", "dropouts"), [(4, 0, 1), (4, 1, 1), (5, 0, 1), (5, 1, 1), (5, 2, 1)]
)
def test_with_a_threshold_one_lower_a_single_site_is_opened(sites, colluding, dropouts):
    plan = {"colluding": colluding, "dropouts": dropouts}
    federation = Federation(sites, plan_kind=LowPlan, **plan).advertise()
    assert any(len(group) == 1 for _, learnt in too_much(Strategies(federation)) for group in learnt)


@pytest.mark.mutant(ATTACK, how="sets are opened that others have not signed")
def test_without_signatures_a_sum_over_two_of_three_is_opened():
    federation = Federation(5, HastySite, colluding=0, dropouts=2).advertise()
    assert {len(group) for _, learnt in too_much(Strategies(federation)) for group in learnt} == {2}
