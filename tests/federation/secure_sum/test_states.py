import numpy as np
import pytest
from federated import MODEL, OTHER_MODEL, Federation

from federation.errors import SecureSumError
from federation.secure_sum.messages import AdvertRequest, OpenRequest, RoundRequest
from federation.secure_sum.states import (
    Advertised,
    Agreed,
    Answered,
    Masked,
    New,
    Ready,
    Training,
    from_bytes,
    to_bytes,
)


@pytest.fixture(scope="module")
def federation():
    return Federation(4, colluding=1, dropouts=1).advertise()


@pytest.fixture(scope="module")
def states(federation):
    """One of alder's states of each kind, of round 3 without dogwood."""
    site, advertised = federation.sites["alder"], federation.state("alder")
    summing = federation.coordinator.begin(3, MODEL)
    training = site.begin(advertised, summing.request, MODEL)
    for name in ("alder", "beech", "cedar"):
        summing.add(name, federation.masked(name, summing.request))
    masked, questions = federation.state("alder"), summing.settle()
    agreed = site.answer(masked, questions["alder"])
    for name, question in questions.items():
        state = federation.sites[name].answer(federation.state(name), question)
        summing.agree(name, state.reply)
    return {
        "questions": (summing.request, questions["alder"], summing.open_request()),
        "new": New(),
        "advertised": advertised,
        "training": training,
        "ready": from_bytes(to_bytes(training)),
        "masked": masked,
        "agreed": agreed,
        "answered": site.open(agreed, summing.open_request()),
    }


KEPT = ("new", "advertised", "ready", "masked", "agreed", "answered")


class TestBytes:
    @pytest.mark.parametrize("name", KEPT)
    def test_a_state_comes_back_as_it_was(self, states, name):
        back = from_bytes(to_bytes(states[name]))
        assert type(back) is type(states[name])
        assert to_bytes(back) == to_bytes(states[name])

    def test_the_kinds_are_those_that_there_are(self, states):
        kinds = (New, Advertised, Ready, Masked, Agreed, Answered)
        assert [type(states[name]) for name in KEPT] == list(kinds)
        assert type(states["training"]) is Training

    def test_who_crashed_while_training_comes_back_with_the_round_burnt_and_without_its_keys(self, states):
        stored = to_bytes(states["training"])
        assert from_bytes(stored).round == 3
        assert b"chains" not in stored
        assert b"private" not in stored

    def test_the_key_of_the_adverts_is_gone_once_a_round_has_begun(self, states):
        assert b"private" in to_bytes(states["advertised"])
        for name in ("ready", "masked", "agreed", "answered"):
            assert b"private" not in to_bytes(states[name])

    @pytest.mark.parametrize("name", KEPT)
    def test_what_is_not_whole_is_refused_without_a_word_of_it(self, states, name):
        stored = to_bytes(states[name])
        for broken in (
            b"",
            stored[:7],
            stored[:-1],
            stored[:-4],
            stored + b"x",
            stored[:20] + b"!" + stored[21:],
        ):
            with pytest.raises(
                SecureSumError, match=r"^the stored state of a secure sum is not whole; restore"
            ):
                from_bytes(broken)

    @pytest.mark.parametrize("name", ["advertised", "training", "masked", "agreed", "answered"])
    def test_how_a_state_prints_tells_no_key(self, states, name):
        for text in (repr(states[name]), str(states[name]), f"{states[name]}"):
            assert len(text) < 120
            assert "b'" not in text
            assert 'b"' not in text


class TestOrder:
    """Alder's answers to requests out of turn."""

    def test_the_same_question_has_the_same_answer(self, federation, states):
        site = federation.sites["alder"]
        first, second, third = states["questions"]
        assert site.begin(states["masked"], first, MODEL) is states["masked"]
        assert site.answer(states["agreed"], second) is states["agreed"]
        assert site.open(states["answered"], third) is states["answered"]
        plan = AdvertRequest(plan=federation.plan.digest.hex())
        assert site.advertise(states["advertised"], plan) is states["advertised"]

    def test_a_round_that_was_begun_does_not_begin_again(self, federation, states):
        site, request = federation.sites["alder"], states["questions"][0]
        smaller = request.model_copy(update={"cohort": ("alder", "beech", "cedar")})
        for name, question, model in (
            ("ready", request, MODEL),
            ("training", request, MODEL),
            *((name, request, OTHER_MODEL) for name in ("masked", "agreed", "answered")),
            *((name, smaller, MODEL) for name in ("masked", "agreed", "answered")),
        ):
            with pytest.raises(
                SecureSumError, match="alder: round 3 is burnt, the last one begun was 3"
            ) as refused:
                site.begin(states[name], question, model)
            assert refused.value.check == "burnt"
        with pytest.raises(SecureSumError, match="burnt"):
            site.begin(states["answered"], request.model_copy(update={"round": 2}), MODEL)

    def test_a_coordinator_that_forgot_a_round_is_told_all_of_it_again(self, federation, states):
        """Nothing else: each answer has the bytes that it had."""
        site, (first, second, third) = federation.sites["alder"], states["questions"]
        again = site.begin(states["answered"], first, MODEL)
        assert again is states["answered"]
        assert again.sent.vector.tobytes() == states["masked"].reply.vector.tobytes()
        agreed = site.answer(again, second)
        assert agreed.reply == states["agreed"].reply
        assert site.open(agreed, third).reply == states["answered"].reply

    def test_from_any_state_of_a_round_a_later_one_begins(self, federation, states):
        later = states["questions"][0].model_copy(update={"round": 4, "adverts": ()})
        begun = [
            federation.sites["alder"].begin(states[name], later, MODEL)
            for name in ("ready", "training", "masked", "agreed", "answered")
        ]
        assert len({tuple(state.chains.items()) for state in begun}) == 1

    def test_rounds_that_were_left_out_make_no_difference_to_the_keys(self, federation, states):
        site, (request, *_) = federation.sites["alder"], states["questions"]
        at_once = site.begin(states["advertised"], request.model_copy(update={"round": 9}), MODEL)
        state = states["advertised"]
        for number in (1, 2, 5, 9):
            state = site.begin(state, request.model_copy(update={"round": number}), MODEL)
        assert state.chains == at_once.chains

    def test_a_vector_is_masked_only_for_a_round_that_waits_for_it(self, federation, states):
        for name in (*KEPT, "masked"):
            with pytest.raises(SecureSumError, match="no round waits for its vector"):
                federation.sites["alder"].mask(states[name], np.zeros(3, np.uint32))

    def test_no_other_key_is_told_once_rounds_have_begun(self, federation, states):
        request = AdvertRequest(plan=federation.plan.digest.hex())
        for name in ("ready", "masked", "answered"):
            with pytest.raises(SecureSumError, match="it tells no other key"):
                federation.sites["alder"].advertise(states[name], request)

    def test_no_round_begins_before_keys_were_told(self, federation, states):
        with pytest.raises(SecureSumError, match="has told no key yet"):
            federation.sites["alder"].begin(New(), states["questions"][0], MODEL)

    def test_another_plan_gets_no_key(self, federation):
        with pytest.raises(SecureSumError, match="was asked for the plan 000000000000, and has approved"):
            federation.sites["alder"].advertise(New(), AdvertRequest(plan="0" * 64))

    def test_questions_without_a_vector_or_a_signature_before_them_are_refused(self, federation, states):
        _, survivors, opening = states["questions"]
        site = federation.sites["alder"]
        for name in ("new", "advertised", "ready", "training"):
            with pytest.raises(SecureSumError, match="has no open question about round 3"):
                site.answer(states[name], survivors)
        for name in ("new", "advertised", "ready", "training", "masked"):
            with pytest.raises(SecureSumError, match="has not signed this survivor set in round 3"):
                site.open(states[name], opening)
        with pytest.raises(SecureSumError, match="has not signed"):
            site.open(states["agreed"], OpenRequest(round=4, survivors=opening.survivors, signatures={}))


class TestCohort:
    @pytest.mark.parametrize(
        ("cohort", "says"),
        [
            (("beech", "alder", "cedar"), "not sorted, each site once"),
            (("alder", "alder", "beech", "cedar"), "not sorted, each site once"),
            (("beech", "cedar", "dogwood"), "alder: is not in the cohort"),
            (("alder", "beech"), "was shown a cohort of 2; the plan has at least 3"),
            (("alder", "beech", "nobody"), "nobody: is not in the roster"),
        ],
    )
    def test_one_that_the_plan_does_not_have_is_refused(self, federation, states, cohort, says):
        request = RoundRequest(round=4, cohort=cohort, adverts=states["questions"][0].adverts)
        with pytest.raises(SecureSumError, match=says):
            federation.sites["alder"].begin(states["advertised"], request, MODEL)

    def test_a_peer_without_an_advert_is_refused_then_and_later(self, federation, states):
        request = states["questions"][0]
        without = request.model_copy(update={"adverts": request.adverts[:3]})
        with pytest.raises(SecureSumError, match="dogwood: gave no key before the first round"):
            federation.sites["alder"].begin(states["advertised"], without, MODEL)
        three = RoundRequest(round=3, cohort=("alder", "beech", "cedar"), adverts=request.adverts[:3])
        begun = federation.sites["alder"].begin(states["advertised"], three, MODEL)
        with pytest.raises(SecureSumError, match="dogwood: gave no key before the first round"):
            federation.sites["alder"].begin(begun, request.model_copy(update={"round": 4}), MODEL)
