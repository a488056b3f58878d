from datetime import UTC, datetime

import numpy as np
import pytest

from client_app.audit import words
from client_app.audit.membership import judge_attack, most_found
from client_app.audit.records import (
    CanaryGame,
    Check,
    Contribution,
    Inversion,
    Membership,
    PrivacyAudit,
    Rehearsal,
)


def rehearsed(passed):
    check = Check(name="noise size", passed=passed, found=1.0, limit=1e-6, reason="so much")
    game = CanaryGame(
        canaries=5000, guesses=700, right=560, promised=3.0, delta=1e-5, at_least=1.8, confidence=0.95
    )
    return Rehearsal(
        checks=(check,),
        game=game,
        contributions=(Contribution(images=1, share=1.0),),
        noise_multiplier=2.0,
        noise_found=2.0,
    )


def audited(attack=None, epsilon=1.0, passed=True, mode="local"):
    return PrivacyAudit(
        title="Squares",
        study_id="0" * 64,
        made=datetime(2026, 1, 1, tzinfo=UTC),
        epsilon=epsilon,
        delta=1e-5,
        mode=mode,
        rests_on="",
        fewest_in_sum=None,
        clipping_norm=1.0,
        sampling_rate=1.0,
        steps=10,
        rehearsal=rehearsed(passed),
        inversion=None,
        membership=attack
        and Membership(version="v", hospitals=("alder",), reference="r", attacks={"calibrated": attack}),
    )


# Finds a tenth of 1000 members at no false alarm, or nobody.
TENTH = judge_attack(np.repeat([3.0, 0.0], [100, 900]), np.ones(300))
NOBODY = judge_attack(np.zeros(1000), np.zeros(300))


@pytest.mark.parametrize(("epsilon", "broken"), [(1.0, True), (3.0, False)])
def test_more_members_than_the_promise_leaves_are_an_alarm(epsilon, broken):
    notes = words.notes(audited(TENTH, epsilon))
    assert [note.kind for note in notes] == (["alarm"] if broken else [])
    assert not broken or "finds 10.0% of the training patients" in notes[0].text


def test_guessing_is_called_guessing_and_more_than_that_is_not():
    assert "no better than guessing" in words.membership_in_words(NOBODY)
    assert "better than guessing: the model remembers" in words.membership_in_words(TENTH)


@pytest.mark.parametrize(
    ("protected", "ending"),
    [(5.0, "in such a sum, and meets no more noise than the promise counts on."), (None, "in such a sum.")],
)
def test_where_updates_travel_in_sums_the_inversion_says_what_the_coordinator_sees(protected, ending):
    inversion = Inversion(
        iterations=120, noise_multiplier=None, constant_psnr=9.0, bare_psnr=30.0, protected_psnr=protected
    )
    said = words.inversion_in_words(inversion, 3)
    assert "sees no single update but sums over 3 hospitals or more" in said
    assert said.endswith(ending)
    assert "sum" not in words.inversion_in_words(inversion, None)


def test_where_noise_is_distributed_the_page_says_what_a_single_hospital_cannot_try():
    said = " ".join(words.limits(audited(mode="distributed")))
    assert "could not stand the canaries by itself" in said
    assert "could not stand" not in " ".join(words.limits(audited()))


def test_a_failed_test_is_the_headline_and_an_alarm():
    assert words.headline(audited(passed=False)).endswith("do not train with this program")
    assert words.notes(audited(passed=False))[0].text == "Failed: noise size. so much."
    assert words.notes(audited()) == []


@pytest.mark.parametrize(
    ("false_alarms", "most"), [(0.0, 1e-5), (0.01, 0.0271928), (1.0, 1.0), (0.9, 0.963216)]
)
def test_what_epsilon_one_leaves_to_the_best_attacker(false_alarms, most):
    assert most_found(false_alarms, 1.0, 1e-5) == pytest.approx(most, abs=1e-5)
