"""What the card of a released model says of its promise."""

import pytest

from federation.config import compose_run
from server_app.model_card import write_model_card
from server_app.record import SiteSummary, Summary
from server_app.statement import privacy_statement

SHARED = ("privacy=distributed", "rounds=2", "training.steps=1")


@pytest.fixture
def card_of(tmp_path):
    """The card of a run with these settings, the record changed as ``change`` says."""

    def write(*overrides, change=lambda privacy: privacy):
        study = compose_run(overrides).study
        summary = Summary(
            study=study.name,
            title=study.title,
            study_id=study.id,
            model_version="v1",
            status="completed",
            started="2026-03-02T09:14:07Z",
            seconds=1.0,
            rounds=study.rounds,
            simulation=False,
            seed=None,
            classes=study.task.classes,
            rendered=True,
            privacy=change(privacy_statement(study, None)),
            sites={"alder": SiteSummary(patients=10, steps=2, rounds=2, epsilon=3.0, delta=1e-5)},
        )
        write_model_card(tmp_path, study, summary)
        return (tmp_path / "model_card.md").read_text(), summary.privacy

    return write


def unsaid(card, privacy):
    """What of a promise's numbers a card keeps to itself."""
    return [
        each.against
        for each in privacy.guarantees
        if not any(each.title in row and each.assumption in row for row in card.splitlines())
    ]


def test_shared_noise_has_three_numbers_with_what_they_rest_on(card_of):
    card, privacy = card_of(*SHARED)
    assert len(privacy.guarantees) == 3
    assert not unsaid(card, privacy)
    assert "δ = 1e-05, against the coordinator with 1 of 4 hospitals." in card
    assert "| the coordinator with 1 of 4 hospitals | ε = 3 |" in card
    assert "Updates travelled in secure sums over at least 3 of 4 hospitals." in card


def test_it_says_what_goes_in_and_how_much_was_computed(card_of):
    assert "its head; 1 channel, 64 x 64 pixels |" in card_of()[0]
    rows, _ = card_of("study=heart_disease", "privacy=distributed", "rounds=2")
    assert "all of it; rows of 31 numbers |" in rows
    assert "| 10 rounds of one step, fedavg;" in rows


def test_a_card_that_leaves_them_out_is_caught(card_of):
    card, _ = card_of(*SHARED, change=lambda privacy: privacy.model_copy(update={"guarantees": ()}))
    _, whole = card_of(*SHARED)
    assert unsaid(card, whole) == ["coordinator", "peer", "everybody"]
    assert "against whom is not on record" in card


def test_noise_of_one_s_own_holds_against_everybody(card_of):
    card, privacy = card_of("aggregation=plain", "privacy=local", "rounds=2")
    assert not unsaid(card, privacy)
    assert "ε = 8 at δ = 1e-05, against everybody together." in card
    assert "Updates travelled each by itself, so that the coordinator sees it." in card


def test_without_privacy_it_says_how_updates_travelled_and_promises_nothing(card_of):
    card, _ = card_of("privacy=none", "aggregation=secure")
    assert "None was promised" in card
    assert "Updates travelled in secure sums over at least 3 of 4 hospitals." in card
    assert "| against |" not in card
