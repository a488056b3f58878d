"""Whole rounds: the sum is that of integers, whoever drops out where, and through every restart."""

import secrets
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from federated import MODEL, NAMES, OTHER_MODEL, Federation, resigned

from federation.errors import QuorumError, SecureSumError
from federation.secure_sum.parties import MOST_ROUNDS
from federation.secure_sum.ring import decode


def rounds():
    """n, c, d, and how many are silent in exchanges A, B and C."""
    cases = ((3, 1, 0), (3, 0, 0), (4, 1, 1), (5, 0, 2), (5, 1, 1), (10, 1, 4), (10, 3, 3))
    for sites, colluding, dropouts in cases:
        for first in range(dropouts + 1):
            for then in range(dropouts - first + 1):
                for last in range(dropouts - first - then + 1 if first else 1):
                    yield (sites, colluding, dropouts), (first, then, last)


@pytest.mark.parametrize(("plan", "silent"), list(rounds()))
def test_the_sum_is_that_of_integers_whoever_drops_out_in_whichever_exchange(plan, silent):
    (sites, colluding, dropouts), (first, then, last) = plan, silent
    federation = Federation(sites, colluding=colluding, dropouts=dropouts).advertise()
    gone = NAMES[1 : 1 + first]
    summing = federation.collected(silent=gone)
    rest = [name for name in federation.names if name not in gone]
    total = federation.total(summing, rest[:then], rest[then : then + last])
    np.testing.assert_array_equal(total, federation.exact(rest))


def test_every_choice_of_sites_that_drop_out_leaves_the_sum_of_the_others():
    for silent in combinations(NAMES[:5], 2):
        federation = Federation(5, colluding=0, dropouts=2).advertise()
        rest = [name for name in federation.names if name not in silent]
        np.testing.assert_array_equal(
            federation.total(federation.collected(silent=silent)), federation.exact(rest)
        )


@pytest.mark.parametrize("silent", range(0, 15, 7))
def test_thirty_sites(silent):
    federation = Federation(30, colluding=1, dropouts=14).advertise()
    summing = federation.collected(silent=federation.names[:silent])
    np.testing.assert_array_equal(federation.total(summing), federation.exact(federation.names[silent:]))


def test_rounds_follow_each_other_and_one_that_failed_is_left_behind():
    federation = Federation(4, colluding=1, dropouts=1).advertise()
    np.testing.assert_array_equal(
        federation.total(federation.collected(1)), federation.exact(federation.names, 1)
    )
    federation.collected(2, model=OTHER_MODEL)
    federation.collected(5, silent=("alder", "beech"))
    summing = federation.collected(7, silent=("cedar",), model=OTHER_MODEL)
    np.testing.assert_array_equal(
        federation.total(summing), federation.exact(("alder", "beech", "dogwood"), 7)
    )


def test_a_site_that_is_gone_need_not_be_asked_again():
    federation = Federation(4, colluding=1, dropouts=1).advertise()
    summing = federation.collected(1, without=frozenset({"beech"}))
    assert summing.cohort == ("alder", "cedar", "dogwood")
    total = federation.total(summing)
    assert summing.whole
    np.testing.assert_array_equal(total, federation.exact(summing.cohort))


def test_the_mean_of_the_sum_is_the_weighted_mean():
    federation = Federation(3).advertise()
    mean, weight = decode(federation.total(federation.collected()), federation.plan.grid)
    each = [decode(federation.vectors[name, 1], federation.plan.grid) for name in federation.names]
    assert weight == sum(q for _, q in each)
    expected = sum(np.float64(q) * one for one, q in each) / weight
    np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_a_masked_vector_tells_nothing_at_sight():
    federation = Federation(3).advertise()
    summing = federation.coordinator.begin(1, MODEL)
    vector = federation.masked("alder", summing.request).vector
    assert (vector != federation.vectors["alder", 1]).all()


def test_a_round_far_off_costs_no_time_where_it_is_refused(monkeypatch):
    federation = Federation(4, dropouts=1)
    for name in federation.names[:3]:
        request = federation.coordinator.advert_request()
        federation.coordinator.take(
            federation.keep(name, federation.sites[name].advertise(federation.state(name), request))
        )
    request = federation.coordinator.begin(MOST_ROUNDS, MODEL).request
    monkeypatch.setattr("federation.secure_sum.site.next_chain_key", lambda _: pytest.fail("took a step"))
    with pytest.raises(SecureSumError, match="dogwood: gave no key"):
        federation.masked("alder", request.model_copy(update={"cohort": federation.names}))


class TestWhatTheCoordinatorNotices:
    def test_a_round_with_too_few_ends_and_opens_nothing(self):
        federation = Federation(3).advertise()
        with pytest.raises(QuorumError, match=r"2 sites of the cohort sent a vector of round 1.*at least 3"):
            federation.collected(silent=("alder",)).settle()

    def test_a_cohort_that_is_too_small_is_not_asked(self):
        with pytest.raises(QuorumError, match="2 sites in the cohort"):
            Federation(3).advertise().coordinator.begin(1, MODEL, frozenset({"elm", "alder"}))

    def test_too_few_shares_open_nothing(self):
        federation = Federation(5, colluding=1, dropouts=1).advertise()
        summing = federation.collected()
        with pytest.raises(QuorumError, match="3 sites have opened their shares of round 1, and it takes 4"):
            federation.total(summing, ("alder", "beech"))

    def test_an_advert_in_anothers_name_is_not_taken(self):
        federation = Federation(3).advertise()
        advert = federation.coordinator.adverts["alder"]
        with pytest.raises(SecureSumError, match="beech: its key does not bear its signature"):
            federation.coordinator.take(advert.model_copy(update={"site": "beech"}))

    @pytest.mark.parametrize(
        ("change", "check"),
        [
            (lambda sent: {"vector": sent.vector + np.uint32(1)}, "commitment"),
            (lambda sent: {"boxes": dict.fromkeys(sent.boxes, b"x")}, "commitment"),
            (lambda sent: {"secrets": (bytes(32),) * 3}, "commitment"),
            (lambda sent: {"secrets": sent.secrets[:2]}, "shares"),
            (lambda sent: {"boxes": {}}, "shares"),
            (lambda sent: {"round": 2}, "commitment"),
            (lambda sent: {"vector": sent.vector.astype(np.int64)}, "shape"),
            (
                lambda sent: {"commitment": sent.commitment.model_copy(update={"vector": bytes(32)})},
                "commitment",
            ),
        ],
    )
    def test_what_was_changed_on_its_way_is_not_added(self, change, check, monkeypatch):
        monkeypatch.setattr(secrets, "choice", lambda cohort: cohort[0])
        federation = Federation(3).advertise()
        summing = federation.coordinator.begin(1, MODEL)
        sent = federation.masked("alder", summing.request)
        with pytest.raises(SecureSumError, match=r"^alder: ") as refused:
            summing.add("alder", sent.model_copy(update=change(sent)))
        assert (refused.value.check, refused.value.site) == (check, "alder")
        summing.add("alder", sent)
        with pytest.raises(SecureSumError, match="its second one"):
            summing.add("alder", sent)

    def test_a_vector_that_is_changed_round_after_round_is_found_and_named(self):
        """By chance it is not looked at for thirty rounds once in 190,000."""
        federation, found = Federation(3).advertise(), []
        for number in range(1, 31):
            summing = federation.coordinator.begin(number, MODEL)
            sent = federation.masked("alder", summing.request)
            try:
                summing.add("alder", sent.model_copy(update={"vector": sent.vector + np.uint32(1)}))
            except SecureSumError as refused:
                found.append((refused.check, refused.site))
        assert set(found) == {("commitment", "alder")}

    def test_vectors_of_two_lengths_do_not_add_up(self):
        federation = Federation(3).advertise()
        summing = federation.coordinator.begin(1, MODEL)
        summing.add("alder", federation.masked("alder", summing.request))
        with pytest.raises(SecureSumError, match="beech: its vector has 4 numbers, and the first had 51"):
            summing.add("beech", federation.masked("beech", summing.request, vector=np.zeros(3, np.float32)))

    def test_wrong_shares_are_found_before_they_spoil_the_sum(self):
        federation = Federation(3).advertise()
        summing = federation.collected()
        for name, request in summing.settle().items():
            reply = federation.sites[name].answer(federation.state(name), request).reply
            if name == "beech":
                reply = reply.model_copy(update={"of_self": {**reply.of_self, "cedar": bytes(32)}})
            summing.open(name, reply)
        with pytest.raises(SecureSumError) as found:
            summing.total()
        assert found.value.check in ("secret", "shares")

    def test_a_signature_on_another_set_is_not_counted(self):
        federation = Federation(4, dropouts=1).advertise()
        summing = federation.collected(silent=("elm", "dogwood"))
        request = summing.settle()["alder"]
        reply = federation.sites["alder"].answer(federation.state("alder"), request).reply
        with pytest.raises(SecureSumError, match="beech: has not signed the survivors"):
            summing.agree("beech", reply)

    def test_a_vector_that_comes_late_is_not_added(self):
        federation = Federation(4, dropouts=1).advertise()
        summing = federation.collected(silent=("beech",))
        late = federation.masked("beech", summing.request)
        summing.settle()
        with pytest.raises(SecureSumError, match="beech: its vector is late"):
            summing.add("beech", late)
        np.testing.assert_array_equal(
            federation.total(summing), federation.exact(("alder", "cedar", "dogwood"))
        )

    def test_two_sites_that_do_not_agree_on_their_mask_are_named(self):
        federation = Federation(3).advertise()
        summing = federation.coordinator.begin(1, MODEL)
        summing.add("alder", federation.masked("alder", summing.request))
        sent = federation.masked("beech", summing.request)
        secrets = (sent.secrets[0], bytes(32), sent.secrets[2])
        sent = resigned("beech", sent, secrets=secrets)
        with pytest.raises(SecureSumError, match="beech: and alder do not agree on their mask"):
            summing.add("beech", sent)

    @pytest.mark.parametrize("silent", [(), ("dogwood",)])
    def test_shares_that_were_not_asked_for_are_not_kept(self, silent):
        federation = Federation(4, dropouts=1).advertise()
        summing = federation.collected(silent=silent)
        questions = summing.settle()
        for name, request in questions.items():
            reply = federation.answer(name, request)
            if not summing.whole:
                summing.agree(name, reply)
        opening = None if summing.whole else summing.open_request()
        for name in questions:
            reply = federation.state(name).reply if summing.whole else federation.open(name, opening)
            for changed in (
                {"of_self": dict(list(reply.of_self.items())[1:])},
                {"of_pairs": {"alder": {"beech": bytes(32)}}},
            ):
                with pytest.raises(SecureSumError, match=f"{name}: its shares are not those asked for"):
                    summing.open(name, reply.model_copy(update=changed))
            summing.open(name, reply)
        np.testing.assert_array_equal(summing.total(), federation.exact(summing.survivors))

    def test_what_a_site_sent_is_not_added_to_in_place(self):
        federation = Federation(3).advertise()
        summing = federation.coordinator.begin(1, MODEL)
        sent = {name: federation.masked(name, summing.request) for name in federation.names}
        before = sent["alder"].vector.copy()
        for name, reply in sent.items():
            summing.add(name, reply)
        federation.total(summing)
        np.testing.assert_array_equal(sent["alder"].vector, before)

    def test_a_sum_is_given_away_once(self):
        federation = Federation(3).advertise()
        summing = federation.collected()
        federation.total(summing)
        with pytest.raises(SecureSumError, match="was given away before"):
            summing.total()


def test_a_coordinator_holds_one_vector_however_many_come():
    federation = Federation(5, dropouts=1).advertise()
    summing, values = federation.coordinator.begin(1, MODEL), 500_000
    tracemalloc.start()
    try:
        for name in federation.names[1:]:
            summing.add(name, federation.masked(name, summing.request, vector=np.ones(values, np.float32)))
            federation.stored[name] = None
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * 4 * values
