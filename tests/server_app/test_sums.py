import hashlib
import json
import secrets
import time
from itertools import product

import numpy as np
import pytest
from federated import names, resigned, roster_of
from flwr.app import MessageType
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

from client_app.custodian.sums import Sums
from federation.errors import DataError, QuorumError, SecureSumError
from federation.messages import KeysRequest, MaskedReply, TrainReply, TrainRequest, UnmaskRequest
from federation.secure_sum.coordinator import Coordinator
from federation.secure_sum.messages import Agreement, OpenedShares
from federation.secure_sum.parties import Parties
from federation.secure_sum.roster import Members
from federation.secure_sum.states import Answered
from federation.sums import plan_of
from server_app.exchange import ask
from tests.server_app.conftest import client_app
from tests.server_app.summing import (
    FAULTS,
    MODEL,
    NUMBERS,
    Changed,
    Dying,
    Federation,
    Killed,
    Late,
    answers_in_vain,
    dropped,
    garbage,
    longer,
    raises,
    refuses,
    schedule_of,
    secure,
    words_of,
)


@pytest.fixture
def federation(study, tmp_path):
    """``federation(5, dropouts=1)``: that many hospitals; at the end, nobody was asked for two sets."""
    made = []

    def make(sites, dropouts=0, **changes):
        made.append(Federation(secure(study, names(sites), dropouts, **changes), tmp_path / f"{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.require_one_set_a_round()


def most_dropouts(sites):
    return sites - max(3, Parties(sites, 1, 0).threshold)


def silences(sites):
    """How many say nothing in A, B and C, for as many rounds; enough remain in each."""
    remain, most = Parties(sites, 1, 0).threshold, most_dropouts(sites)
    counts = product(range(most + 1), range(sites), range(sites))
    return [(a, b, c) for a, b, c in counts if a + b + c <= sites - remain and (a or not c)]


def some_silences(sites):
    """None, one, two, and the most in each exchange."""
    every, most = silences(sites), most_dropouts(sites)
    chosen = {(a, 0, 0) for a in (0, 1, 2, most)} | {(0, b, 0) for b in (1, 2, most)} | {(2, 1, 1)}
    chosen |= {(1, some, 0) for some in (1, most - 1)} | {(1, 0, some) for some in (1, 2, most - 1)}
    return [counts for counts in every if counts in chosen]


def too_many(sites):
    """One more than that in each exchange, and then nobody."""
    most, spare = most_dropouts(sites), sites - Parties(sites, 1, 0).threshold
    one_more = [(most + 1, 0, 0), (0, spare + 1, 0), *([(1, spare, 0), (1, 0, spare)] if most else [])]
    return [*one_more, (0, 0, 0)]


def sums_of_all_rounds(federation, rounds, grid):
    """Each round in which some say nothing, by real messages; whoever was silent comes back."""
    sums = federation.sums(grid)
    sums.join()
    return {number: federation.add_up(sums, number) for number in rounds}


def require_exact(federation, rounds, results):
    """Each is the sum of its survivors, or none where too few remained."""
    threshold = federation.study.parties.threshold
    for number, silent in rounds.items():
        summed, a, b, c = results[number], len(silent.a), len(silent.b), len(silent.c)
        survivors = [site for site in federation.sites if site not in silent.a]
        asked = {"A"} | ({"B"} if len(survivors) >= federation.study.parties.min_survivors else set())
        asked |= {"C"} if a and asked == {"A", "B"} and len(survivors) - b >= threshold else set()
        assert federation.exchanges(number) == asked
        assert sorted(summed.replies) == survivors, summed.absent
        assert set(summed.absent) == {*silent.a, *silent.b, *silent.c}, summed.absent
        if "B" in asked and len(survivors) - b - c >= threshold:
            assert summed.lost == ""
            assert summed.total.dtype == np.uint32
            assert np.array_equal(summed.total, federation.exact(survivors, number))
        else:
            assert summed.total is None
            assert summed.lost.endswith("begin a new round when more can be reached")
    assert sum(results[number].total is None for number in rounds) == len(too_many(len(federation.sites))) - 1


class TestSums:
    @pytest.mark.parametrize(
        "sites", [3, 5, *(pytest.param(many, marks=pytest.mark.deployment) for many in (10, 30))]
    )
    def test_a_sum_is_that_of_the_survivors_bit_by_bit_whoever_is_silent_and_when(
        self, federation, on_grid, sites
    ):
        """Up to the most that the plan bears in each exchange, and one more; hospitals restart in between."""
        counts = silences(sites) if sites <= 10 else some_silences(sites)
        assert {a for a, _, _ in counts} >= {0, min(1, most_dropouts(sites)), most_dropouts(sites)}
        rounds = dropped(names(sites), [*counts, *too_many(sites)])
        party = federation(sites, most_dropouts(sites))
        hospitals = party.hospitals(schedule_of(rounds))
        results = on_grid(lambda grid: sums_of_all_rounds(party, rounds, grid), *hospitals)
        require_exact(party, rounds, results)

    def test_over_whoever_is_there_from_the_start_it_takes_two_exchanges(self, federation, on_grid):
        """A hospital that gave its key and is not a member any more is not asked."""
        party = federation(5, 1)

        def do(grid):
            party.sums(grid).join()
            return party.add_up(party.sums(grid, without=["cedar"]), 1)

        summed = on_grid(do, *party.hospitals())
        survivors = ["alder", "beech", "dogwood", "elm"]
        assert np.array_equal(summed.total, party.exact(survivors, 1))
        assert (summed.lost, summed.absent) == ("", {})
        assert party.exchanges(1) == {"A", "B"}
        assert {number for number, _, _ in party.asked("cedar")} == {0}

    @pytest.mark.deployment  # for its time
    @pytest.mark.parametrize("exchange", ["A", "B", "C"])
    def test_a_hospital_that_is_late_is_left_out_by_name_and_comes_back(self, federation, on_grid, exchange):
        party = federation(10, 4)
        schedule = {("ivy", 1, exchange): Late(3.0)}
        if exchange == "C":
            schedule["elm", 1, "A"] = raises

        def do(grid):
            sums = party.sums(grid, deadline=2.0)
            sums.join()
            first = party.add_up(sums, 1)
            time.sleep(2)  # so that it is not late for the next one, too
            return first, party.add_up(sums, 2)

        first, second = on_grid(do, *party.hospitals(schedule))
        missing = {"A": ["ivy"], "B": [], "C": ["elm"]}[exchange]
        survivors = [site for site in party.sites if site not in missing]
        assert np.array_equal(first.total, party.exact(survivors, 1))
        assert first.absent["ivy"].endswith("no reply within 2 s")
        assert np.array_equal(second.total, party.exact(party.sites, 2))
        assert second.absent == {}

    def test_of_what_a_hospital_sends_nothing_is_kept_but_its_word(self, federation, on_grid):
        party = federation(3)
        summed = on_grid(lambda grid: sums_of_all_rounds(party, [1], grid)[1], *party.hospitals())
        assert [reply.vector.size for reply in summed.replies.values()] == [0, 0, 0]
        assert [reply.steps for reply in summed.replies.values()] == [party.study.training.steps] * 3


def in_the_name_of(site):
    return lambda reply: reply.model_copy(update={"site": site})


def as_update(reply):
    parameters = np.zeros(NUMBERS, dtype=np.float32)
    return TrainReply(site=reply.site, round=reply.round, steps=reply.steps, parameters=parameters)


def of_another_round(reply):
    return reply.model_copy(update={"round": reply.round + 1})


def changed_on_its_way(reply):
    return reply.model_copy(update={"vector": reply.vector + np.uint32(1)})


NO_VECTORS = {
    "another length": (longer, "invalid reply: [42] numbers, not [41]"),
    "nothing": (
        lambda reply: reply.model_copy(update={"vector": reply.vector[:0]}),
        "invalid reply: [0] numbers, not [41]",
    ),
    "another's name": (in_the_name_of("cedar"), "invalid reply: it says that it is cedar"),
    "an update": (as_update, "invalid reply: a TrainReply is no MaskedReply"),
    "another round": (of_another_round, "alder: answered in another's name or for another round"),
    "round 0": (lambda reply: reply.model_copy(update={"round": 0}), "MaskedReply.round"),
    "changed": (changed_on_its_way, "alder: sent something else than it committed to"),
}


TOO_FEW = {
    "in A": ({"A": 2}, "3 sites of the cohort sent a vector of round 1", {"A"}),
    "in B": ({"B": 2}, "3 sites have opened their shares of round 1", {"A", "B"}),
    "in B after a dropout": ({"A": 1, "B": 1}, "3 sites have signed the survivors of round 1", {"A", "B"}),
    "in C": ({"A": 1, "C": 1}, "3 sites have opened their shares of round 1", {"A", "B", "C"}),
}


class TestFaults:
    @pytest.mark.parametrize(("change", "reason"), NO_VECTORS.values(), ids=NO_VECTORS)
    def test_the_first_hospital_alone_is_left_out_by_name(
        self, federation, on_grid, change, reason, monkeypatch
    ):
        """The first, since what it sends could be taken for the measure of the others'."""
        monkeypatch.setattr(secrets, "choice", lambda cohort: cohort[0])  # whose vector is looked at
        party = federation(5, 1)
        hospitals = party.hospitals({("alder", 1, "A"): Changed(change)})
        results = on_grid(lambda grid: sums_of_all_rounds(party, [1, 2], grid), *hospitals)
        others = party.sites[1:]
        assert results[1].lost == ""
        assert np.array_equal(results[1].total, party.exact(others, 1))
        assert tuple(results[1].replies) == others
        assert list(results[1].absent) == ["alder"]
        assert reason in results[1].absent["alder"]
        assert results[1].refused == set()
        assert np.array_equal(results[2].total, party.exact(party.sites, 2))

    def test_who_refuses_is_told_from_who_failed(self, federation, on_grid):
        """Of the one it is known that its patients were not touched."""
        party = federation(10, 4)
        hospitals = party.hospitals({("fir", 1, "A"): refuses, ("gorse", 1, "A"): answers_in_vain})
        summed = on_grid(lambda grid: sums_of_all_rounds(party, [1], grid)[1], *hospitals)
        assert set(summed.absent) == {"fir", "gorse"}
        assert summed.refused == {"fir"}

    def test_no_error_of_a_hospital_is_passed_on(self, federation, on_grid):
        party = federation(5, 1)
        hospitals = party.hospitals({("elm", 1, "A"): raises})
        summed = on_grid(lambda grid: sums_of_all_rounds(party, [1], grid)[1], *hospitals)
        assert "its node reports error" in summed.absent["elm"]
        assert "Miller" not in str(summed)

    @pytest.mark.parametrize("few", TOO_FEW)
    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
    def test_with_too_few_the_round_is_lost_unopened_and_the_next_one_works(
        self, federation, on_grid, few, fault
    ):
        """Of five hospitals, of which one may drop out; four open a sum."""
        faults, reason, exchanges = TOO_FEW[few]
        party = federation(5, 1)
        sites = iter(party.sites)
        schedule = {(next(sites), 1, where): fault for where, count in faults.items() for _ in range(count)}
        hospitals = party.hospitals(schedule)
        results = on_grid(lambda grid: sums_of_all_rounds(party, [1, 2], grid), *hospitals)
        assert results[1].lost.startswith(reason)
        assert results[1].total is None
        assert set(results[1].absent) == {site for site, *_ in schedule}
        assert party.exchanges(1) == exchanges
        assert np.array_equal(results[2].total, party.exact(party.sites, 2))
        assert (results[2].lost, results[2].absent) == ("", {})

    def test_wrong_shares_cost_the_round_and_open_nothing(self, federation, on_grid):
        party = federation(3)

        def wrong(reply):
            shares = {site: bytes(32) for site in reply.answer.of_self}
            return reply.model_copy(update={"answer": reply.answer.model_copy(update={"of_self": shares})})

        hospitals = party.hospitals({("beech", 1, "B"): Changed(wrong)})
        results = on_grid(lambda grid: sums_of_all_rounds(party, [1, 2], grid), *hospitals)
        assert results[1].total is None
        assert "shares" in results[1].lost
        assert np.array_equal(results[2].total, party.exact(party.sites, 2))

    @pytest.mark.parametrize("dropout", [False, True])
    def test_who_signs_where_shares_are_asked_for_or_opens_too_early_is_named(
        self, federation, on_grid, dropout
    ):
        party = federation(10, 4)

        def other(reply):
            survivors = party.sites[1:]
            of_pairs = {site: {"alder": bytes(32)} for site in survivors}
            shares = {"of_self": dict.fromkeys(survivors, bytes(32)), "of_pairs": of_pairs}
            answer = (
                OpenedShares(site=reply.site, round=1, **shares)
                if dropout
                else Agreement(site=reply.site, round=1, signature=bytes(64))
            )
            return reply.model_copy(update={"answer": answer})

        faults = {("fir", 1, "B"): Changed(other)} | ({("alder", 1, "A"): raises} if dropout else {})
        summed = on_grid(lambda grid: sums_of_all_rounds(party, [1], grid)[1], *party.hospitals(faults))
        said = "a OpenedShares is no Agreement" if dropout else "a Agreement is no OpenedShares"
        assert summed.absent["fir"].endswith(f"invalid reply: {said}")
        assert np.array_equal(summed.total, party.exact(party.sites[1:] if dropout else party.sites, 1))

    def test_masks_that_would_not_cancel_cost_the_round_and_every_reason_names_who_was_first(
        self, federation, on_grid
    ):
        """Of two who do not agree nobody knows who lies; here all the others could tell."""
        party = federation(5, 1)

        def lying(reply):
            secrets = (reply.secrets[0], *(bytes(32) for _ in reply.secrets[1:]))
            return MaskedReply.of("alder", reply.steps, resigned("alder", reply.masked, secrets=secrets))

        hospitals = party.hospitals({("alder", 1, "A"): Changed(lying)})
        results = on_grid(lambda grid: sums_of_all_rounds(party, [1, 2], grid), *hospitals)
        assert results[1].lost.startswith("1 sites of the cohort sent a vector of round 1")
        assert tuple(results[1].absent) == party.sites[1:]
        assert all("and alder do not agree on their mask" in why for why in results[1].absent.values())
        assert np.array_equal(results[2].total, party.exact(party.sites, 2))

    def test_a_cohort_of_too_few_is_not_asked_for_anything(self, federation, on_grid):
        party = federation(5, 1)

        def do(grid):
            party.sums(grid).join()
            members = party.sums(grid, without=["elm", "cedar"])
            return party.add_up(members, 1), party.add_up(party.sums(grid), 2)

        lost, next_one = on_grid(do, *party.hospitals())
        assert lost.lost.startswith("3 sites in the cohort of round 1, and the plan has at least 4")
        assert party.exchanges(1) == set()
        assert np.array_equal(next_one.total, party.exact(party.sites, 2))


def with_the_key_of_another_plan(reply):
    advert = reply.advert.model_copy(update={"key": bytes(reversed(reply.advert.key))})
    return reply.model_copy(update={"advert": advert})


NO_KEYS = {
    "refuses": (refuses, "refused by out-of-hours: at night (reference r1)"),
    "raises": (raises, "its node reports error"),
    "garbage": (garbage, "invalid reply: a message with records []"),
    "another's name": (Changed(in_the_name_of("cedar")), "invalid reply: it says that it is cedar"),
    "no signature": (Changed(with_the_key_of_another_plan), "its key does not bear its signature"),
}


class TestKeys:
    @pytest.mark.parametrize(("fault", "reason"), NO_KEYS.values(), ids=NO_KEYS)
    def test_a_hospital_without_a_key_is_absent_by_name_and_never_asked_again(
        self, federation, on_grid, fault, reason
    ):
        party = federation(5, 1)

        def do(grid):
            sums = party.sums(grid)
            membership = sums.join()
            return membership, party.add_up(sums, 1)

        membership, summed = on_grid(do, *party.hospitals({("elm", 0, "keys"): fault}))
        assert tuple(membership.members) == party.sites[:4]
        assert list(membership.absent) == ["elm"]
        assert reason in membership.absent["elm"]
        assert np.array_equal(summed.total, party.exact(party.sites[:4], 1))
        assert party.exchanges(1) == {"A", "B"}, "it was not in the cohort, so nobody dropped out"
        assert {number for number, _, _ in party.asked("elm")} == {0}

    def test_fewer_than_a_sum_is_over_end_it_before_any_round(self, federation, on_grid):
        party = federation(5, 1)
        schedule = {("elm", 0, "keys"): refuses, ("alder", 0, "keys"): raises}
        with pytest.raises(QuorumError, match="3 of at least 4 hospitals will take part") as error:
            on_grid(lambda grid: sums_of_all_rounds(party, [1], grid), *party.hospitals(schedule))
        assert "elm: refused by out-of-hours" in str(error.value)
        assert "alder: its node reports error" in str(error.value)
        assert {number for number, _, _ in party.asked()} == {0}

    def test_who_gave_none_is_asked_again_after_a_restart_as_long_as_no_round_has_begun(
        self, federation, on_grid
    ):
        party = federation(5, 1)
        on_grid(lambda grid: party.sums(grid).join(), *party.hospitals({("elm", 0, "keys"): raises}))
        membership = on_grid(lambda grid: party.sums(grid).join(), *party.hospitals())
        assert tuple(membership.members) == party.sites
        assert [len(party.keys_asked(site)) for site in ("elm", "alder")] == [2, 1]

    def test_afterwards_it_stays_out(self, federation, on_grid):
        """The others took everybody's key in their first round."""
        party = federation(5, 1)
        hospitals = party.hospitals({("elm", 0, "keys"): raises})
        on_grid(lambda grid: sums_of_all_rounds(party, [1], grid), *hospitals)
        membership = on_grid(lambda grid: party.sums(grid).join(), *party.hospitals())
        assert membership.absent == {"elm": "gave no key before the first round"}
        assert len(party.keys_asked("elm")) == 1


class TestRestart:
    def test_the_coordinator_goes_on_with_the_keys_that_it_has(self, federation, on_grid):
        """It begins anew before every round; sums are as exact as ever."""
        party = federation(5, 1)

        def do(grid):
            party.sums(grid).join()
            return {number: party.add_up(party.sums(grid), number) for number in (1, 2, 5)}

        results = on_grid(do, *party.hospitals({("cedar", 2, "A"): raises}))
        assert np.array_equal(results[1].total, party.exact(party.sites, 1))
        survivors = [site for site in party.sites if site != "cedar"]
        assert np.array_equal(results[2].total, party.exact(survivors, 2))
        assert np.array_equal(results[5].total, party.exact(party.sites, 5))
        assert [len(party.keys_asked(site)) for site in party.sites] == [1] * 5

    @pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("exchange", ["A", "B", "C"])
    def test_it_knows_which_round_it_had_begun_when_it_was_killed(self, federation, on_grid, exchange, sent):
        party = federation(5, 1)
        schedule = {("cedar", 1, "A"): raises} if exchange == "C" else {}

        def do(grid):
            party.sums(grid).join()
            with pytest.raises(Killed):
                party.add_up(party.sums(Dying(grid, 1, exchange, sent)), 1)
            sums = party.sums(grid)
            return sums.begun, party.add_up(sums, 2), sums.begun

        before, summed, after = on_grid(do, *party.hospitals(schedule))
        assert (before, after) == (1, 2)
        assert np.array_equal(summed.total, party.exact(party.sites, 2))

    def test_the_same_round_a_second_time_is_refused_by_those_who_were_shown_another_model(
        self, federation, on_grid
    ):
        """Why the begun round is kept: of a second try nothing comes, whatever the hospitals learnt."""
        party = federation(3)

        def do(grid):
            sums = party.sums(grid)
            sums.join()
            party.add_up(sums, 1)
            return party.add_up(sums, 1, model=MODEL + 1)

        summed = on_grid(do, *party.hospitals())
        assert summed.total is None
        assert all("round 1 is burnt" in reason for reason in summed.absent.values())
        assert len(summed.absent) == 3
        assert summed.refused == set(), "they have trained, and their patients were charged"

    def test_another_roster_is_refused_by_name(self, federation, on_grid):
        party = federation(5, 1)
        others = roster_of(party.sites).only(party.sites)
        keys = {
            **others.keys,
            "elm": others.keys["elm"][:-1] + ("0" if others.keys["elm"][-1] != "0" else "1"),
        }

        def do(grid):
            party.sums(grid).join()
            with pytest.raises(DataError, match="give the roster that the run was begun with") as error:
                party.sums(grid, members=Members(keys=keys))
            return str(error.value)

        said = on_grid(do, *party.hospitals())
        assert "secure-sum.json is of the plan" in said

    @pytest.mark.parametrize("content", [b"", b"{", b'{"plan": 1}', b'{"plan": "x", "begun": -1}'])
    def test_a_file_that_is_none_is_not_overwritten(self, federation, on_grid, content):
        party = federation(3)
        path = party.folder / "run" / "secure-sum.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

        def do(grid):
            with pytest.raises(
                DataError, match=r"(?s)secure-sum\.json cannot be read .*; begin the study anew"
            ):
                party.sums(grid)

        on_grid(do, *party.hospitals())
        assert path.read_bytes() == content


TWO_SETS = "open a second survivor set of a round after a claimed dropout, over Flower"


def two_sets(party, grid):
    """The whole cohort's sum, and then that without the first hospital; the difference is its vector."""
    members, model = party.membership(grid).members, hashlib.sha256(MODEL.tobytes()).digest()
    coordinator = Coordinator(plan_of(party.study, party.members, NUMBERS), party.members)

    def told(questions, kind):
        by_node = {members[site].node: question for site, question in questions.items()}
        answers = ask(grid, by_node, kind, 60.0, party.book)
        for site in questions:
            answer = answers[members[site].node]
            if answer.record is None:
                raise SecureSumError("refused", site, answer.problem)
            yield site, answer.record

    question = KeysRequest(study=party.study, question=coordinator.advert_request())
    for _, reply in told(dict.fromkeys(party.sites, question), MessageType.QUERY):
        coordinator.take(reply.advert)
    whole, without = coordinator.begin(1, model), coordinator.begin(1, model)
    question = TrainRequest(study=party.study, round=1, parameters=MODEL, sum=whole.request)
    for site, reply in told(dict.fromkeys(whole.cohort, question), MessageType.TRAIN):
        whole.add(site, reply.masked)
        if site != whole.cohort[0]:
            without.add(site, reply.masked)

    def unmask(questions, take):
        requests = {site: UnmaskRequest(study=party.study, question=q) for site, q in questions.items()}
        for site, reply in told(requests, MessageType.QUERY):
            take(site, reply.answer)

    unmask(whole.settle(), whole.open)
    unmask(without.settle(), without.agree)
    unmask(dict.fromkeys(without.survivors, without.open_request()), without.open)
    return whole.total() - without.total()


class ForgetsWhatItOpened(Sums):
    """A state that is never written: that of having answered."""

    def _keep(self, state, before):
        if not isinstance(state, Answered):
            super()._keep(state, before)


TWICE = "ask for a round twice, over different hospitals, and take the difference"


def forget_the_round(party):
    """As a coordinator does that wants to ask it in another way."""
    file = party.folder / "run" / "secure-sum.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"begun": 0, "cohort": [], "survivors": []}))


def twice(party, grid):
    """The hospitals train from the same model again, and learn the same."""
    party.sums(grid).join()
    first = party.add_up(party.sums(grid), 1)
    forget_the_round(party)
    second = party.add_up(party.sums(grid, without=["alder"]), 1)
    return first.total, second


class BeginsAnew(Sums):
    """A hospital that finds its disk as it was before the first round, whenever it is asked for one."""

    def begin(self, question, model):
        image = self._path.with_name("image")
        if image.exists():
            self._path.write_bytes(image.read_bytes())
        else:
            image.write_bytes(self._path.read_bytes())
        return super().begin(question, model)


class TestTwice:
    @pytest.mark.attack(TWICE, held_by="the round that a hospital burns on disk before it trains")
    def test_a_round_is_burnt_once_it_has_begun(self, federation, on_grid):
        party = federation(5, 1)
        _, second = on_grid(lambda grid: twice(party, grid), *party.hospitals())
        assert second.total is None
        assert all("round 1 is burnt" in reason for reason in second.absent.values())
        assert len(second.absent) == 4

    @pytest.mark.mutant(TWICE, how="hospitals begin from an old image of their disk")
    def test_without_what_they_kept_one_hospital_is_opened(self, study, tmp_path, on_grid):
        party = Federation(secure(study, names(5), dropouts=1), tmp_path)
        first, second = on_grid(lambda grid: twice(party, grid), *party.hospitals(kind=BeginsAnew))
        assert np.array_equal(first - second.total, words_of("alder", 1))


class TestTwoSets:
    @pytest.mark.attack(TWO_SETS, held_by="the state that a hospital has on disk before it answers")
    def test_a_hospital_that_has_answered_opens_no_other_set(self, study, tmp_path, on_grid):
        party = Federation(secure(study, names(5), dropouts=1), tmp_path)
        with pytest.raises(SecureSumError, match="refused by one-set"):
            on_grid(lambda grid: two_sets(party, grid), *party.hospitals())

    @pytest.mark.mutant(TWO_SETS, how="hospitals do not keep what they have answered")
    def test_without_the_kept_state_one_hospital_is_opened(self, study, tmp_path, on_grid):
        party = Federation(secure(study, names(5), dropouts=1), tmp_path)
        hospitals = party.hospitals(kind=ForgetsWhatItOpened)
        difference = on_grid(lambda grid: two_sets(party, grid), *hospitals)
        assert np.array_equal(difference, words_of("alder", 1))


def through_flower(do, hospitals):
    """What ``do(grid)`` returns in a ServerApp of Flower's, with the hospitals in processes of Ray's."""
    app, results = ServerApp(), []

    @app.main()
    def main(grid, _):
        results.append(do(grid))

    answers = {str(number): hospital for number, hospital in enumerate(hospitals)}
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(app, client_app(answers), len(hospitals), backend_config=resources)
    return results[0]


@pytest.mark.deployment
@pytest.mark.filterwarnings("ignore")
class TestThroughFlower:
    @pytest.mark.parametrize("sites", [3, 5, 10, 30])
    def test_it_is_the_same_sum_bit_by_bit(self, federation, sites, monkeypatch):
        """Real messages between real processes; one run with all rounds in it."""
        monkeypatch.setenv("PYTHONPATH", "")  # which Flower extends
        rounds = dropped(names(sites), [*some_silences(sites), *too_many(sites)])
        party = federation(sites, most_dropouts(sites))
        hospitals = party.hospitals(schedule_of(rounds))
        results = through_flower(lambda grid: sums_of_all_rounds(party, rounds, grid), hospitals)
        require_exact(party, rounds, results)
