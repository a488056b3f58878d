"""What the report says, situation by situation."""

import pytest

from server_app.record import Absence, Summary
from server_app.report import meaning
from server_app.report.meaning import epsilon_in_words, limits
from server_app.report.reading import Run
from server_app.report.text import explanation, facts, headline, lost_rounds, notes, verdict

APART = "updates travelled each by itself, so that the coordinator sees it"


def without_scores(summary: Summary, **changes: object) -> Summary:
    """The record of a real federation: no hospital released a score."""
    sites = {
        name: site.model_copy(update={"auc": None, "auc_interval": None, "measurement": None})
        for name, site in summary.sites.items()
    }
    nothing = {"simulation": False, "pooled": None, "baselines": {}, "comparison": None, "sites": sites}
    return summary.model_copy(update=nothing | changes)


def without_privacy(summary: Summary) -> Summary:
    privacy = summary.privacy.model_copy(update={"mode": "none", "epsilon": None, "delta": None})
    sites = {name: site.model_copy(update={"epsilon": None}) for name, site in summary.sites.items()}
    return summary.model_copy(update={"privacy": privacy, "sites": sites})


def told(run: Run) -> str:
    return " ".join(note.text for note in notes(run))


@pytest.fixture
def without_dogwood(summary, rounds) -> Run:
    """A run that one hospital refused from the first round on."""
    refused = Absence(site="dogwood", reason="refused by epsilon-too-large")
    lines = [
        line.model_copy(
            update={
                "participants": tuple(site for site in line.participants if site != "dogwood"),
                "absent": (*line.absent, refused),
            }
        )
        for line in rounds()[::2]
    ]
    kept = {name: site for name, site in summary.sites.items() if name != "dogwood"}
    return Run(summary.model_copy(update={"sites": kept, "comparison": None}), tuple(lines))


class TestHeadline:
    def test_compares_alone_together_and_pooled(self, summary, rounds):
        run = Run(summary, tuple(rounds()[::2]))
        assert headline(run) == "Alone 0.87–0.91, together 0.94, pooled 0.95 (AUC) at ε = 8 per patient."

    def test_without_comparison_tells_the_score_alone(self, summary):
        run = Run(summary.model_copy(update={"comparison": None}))
        assert headline(run) == "Together, 4 hospitals reach 0.94 (AUC) at ε = 8 per patient."

    def test_who_took_part_in_no_round_is_not_counted(self, without_dogwood):
        assert headline(without_dogwood) == "Together, 3 hospitals reach 0.94 (AUC) at ε = 8 per patient."
        assert ("hospitals", "3", f"of 4 asked; 1 absence; {APART}") in {
            (fact.label, fact.value, fact.note) for fact in facts(without_dogwood)
        }

    def test_outside_simulation_says_that_no_scores_are_released(self, summary, rounds):
        run = Run(without_scores(summary), tuple(rounds()[::2]))
        assert headline(run) == (
            "4 hospitals trained one model in 3 rounds at ε = 8 per patient; "
            "hospitals told nothing of how good it is."
        )

    def test_says_when_nobody_measured(self, summary):
        assert headline(Run(without_scores(summary, simulation=True))).endswith(
            "nobody measured how good it is."
        )

    def test_says_when_no_auc_was_measurable(self, summary, measure):
        run = Run(summary.model_copy(update={"pooled": measure(None)}))
        assert "all of one class" in headline(run)

    def test_says_when_there_was_no_privacy(self, summary):
        assert headline(Run(without_privacy(summary))).endswith("(AUC) without privacy protection.")

    def test_calls_epsilon_nominal_when_the_noise_came_from_a_seed(self, summary):
        assert "at a nominal ε = 8" in headline(Run(summary.model_copy(update={"seed": 7})))

    def test_where_noise_is_shared_it_says_against_whom(self, shared):
        assert headline(Run(shared)).endswith(
            "at ε = 8 per patient against the coordinator with 1 of 4 hospitals."
        )

    def test_a_lost_round_is_not_counted(self, summary, losing):
        run = Run(without_scores(summary), tuple(losing[::2]))
        assert headline(run).startswith("4 hospitals trained one model in 2 rounds")

    def test_a_failed_run_says_so_and_why(self, summary, rounds):
        failed = summary.model_copy(
            update={"status": "failed", "reason": "birch ran out of budget.", "rounds": 10}
        )
        assert headline(Run(failed, tuple(rounds()[::2]))) == (
            "This run failed after 3 of 10 rounds: birch ran out of budget."
        )

    def test_an_interrupted_run_without_a_reason_says_that_too(self, summary):
        stopped = summary.model_copy(update={"status": "interrupted"})
        assert headline(Run(stopped)) == (
            "This run was interrupted after 0 of 3 rounds: the record gives no reason."
        )

    def test_uses_the_highest_cost_when_the_study_fixes_only_the_noise(self, summary):
        fixed = summary.model_copy(update={"privacy": summary.privacy.model_copy(update={"epsilon": None})})
        assert headline(Run(fixed)).endswith("at ε = 7.99 per patient.")


class TestBaseline:
    def test_one_that_beats_the_model_is_called_as_good(self, measure):
        text = verdict(measure(0.936, 0.90), "lesion area", measure(0.944, 0.88))
        assert text.startswith("A ruler does as well: lesion area alone reaches 0.944, the model 0.936.")
        assert "demonstrates the pipeline" in text

    def test_one_within_the_interval_cannot_be_told_apart(self, measure):
        text = verdict(measure(0.94), "lesion area", measure(0.92))
        assert text.startswith("A ruler does as well, as far as this test can tell")
        assert "demonstrates the pipeline" in text

    def test_one_below_the_interval_is_beaten(self, measure):
        assert verdict(measure(0.94), "lesion area", measure(0.80)).startswith("The model ranks better")

    def test_the_harder_part_always_stands_beside(self, measure):
        text = verdict(measure(0.94, 0.90), "lesion area", measure(0.945, 0.88))
        assert text.endswith("5–15 mm (191 images), it reaches 0.88, the model 0.90.")

    def test_a_rule_that_measures_nothing_is_no_ruler(self, measure):
        assert verdict(measure(0.6), "most frequent class", measure(0.7)).startswith(
            "A trivial rule does as well"
        )

    def test_nothing_is_claimed_where_nothing_was_measured(self, measure):
        assert verdict(measure(None), "lesion area", measure(0.9)) == ""


class TestNotes:
    def test_a_seed_protects_nobody(self, summary):
        assert "this run protects nobody" in told(Run(summary.model_copy(update={"seed": 7})))

    def test_secret_noise_raises_no_alarm(self, summary):
        assert [note.kind for note in notes(Run(summary))] == ["plain", "plain"]

    def test_no_noise_is_an_alarm(self, summary):
        assert notes(Run(without_privacy(summary)))[0].kind == "alarm"

    def test_a_broken_promise_is_an_alarm(self, summary):
        over = {"alder": summary.sites["alder"].model_copy(update={"epsilon": 8.2})}
        text = told(Run(summary.model_copy(update={"sites": summary.sites | over})))
        assert "ε = 8 was promised, but patients paid up to 8.2." in text

    @pytest.mark.parametrize("kind", ["summary", "shared"])
    def test_a_promise_that_does_not_say_against_whom_is_an_alarm(self, kind, request):
        whole = request.getfixturevalue(kind)
        unsaid = whole.model_copy(update={"privacy": whole.privacy.model_copy(update={"guarantees": ()})})
        assert "does not say against whom" in told(Run(unsaid))
        assert "does not say against whom" not in told(Run(whole))

    def test_without_a_promise_nobody_asks_against_whom(self, summary):
        nothing = without_privacy(summary)
        privacy = nothing.privacy.model_copy(update={"guarantees": ()})
        assert "against whom" not in told(Run(nothing.model_copy(update={"privacy": privacy})))


class TestMeaning:
    def test_noise_of_one_s_own_is_said_to_hold_against_everybody(self, summary):
        text = " ".join(epsilon_in_words(summary))
        assert "Whom it holds against: everybody together. Holds since each hospital adds all" in text
        assert "whatever leaves a hospital is" in text

    def test_where_noise_is_shared_the_bet_is_about_what_those_can_see_that_it_is_against(self, shared):
        text = " ".join(epsilon_in_words(shared))
        assert "whatever the coordinator with 1 of 4 hospitals can see is at most" in text
        assert "shows all that the coordinator with 1 of 4 hospitals can see to a guesser" in text
        assert "whatever leaves a hospital" not in text

    def test_names_the_bound_of_the_bet(self, summary):
        text = " ".join(epsilon_in_words(summary))
        assert "99.97\u00a0% at this study's ε = 8" in text
        assert "that ceiling is weak" in text
        assert "0.00001 (1 in 100,000)" in text

    def test_a_small_epsilon_is_called_strong(self, summary):
        strong = summary.model_copy(update={"privacy": summary.privacy.model_copy(update={"epsilon": 0.5})})
        assert "That ceiling is strong" in " ".join(epsilon_in_words(strong))

    def test_a_patient_at_two_hospitals_counts_twice(self, summary):
        assert "counts twice" in epsilon_in_words(summary)[-1]
        assert "as much as 16." in epsilon_in_words(summary)[-1]

    def test_where_noise_is_shared_both_copies_share_it_and_epsilon_more_than_doubles(self, shared):
        text = epsilon_in_words(shared)[-1]
        assert "that of half the noise, more than 16." in text
        assert "add up" not in text

    def test_the_bet_names_no_epsilon_twice(self, summary):
        three = summary.model_copy(update={"privacy": summary.privacy.model_copy(update={"epsilon": 3.0})})
        assert " ".join(epsilon_in_words(three)).count("at ε = 3") == 0

    def test_without_privacy_nothing_was_promised(self, summary):
        assert epsilon_in_words(without_privacy(summary))[0].startswith("Nothing was promised.")

    def test_with_a_seed_the_promise_is_taken_back_first(self, summary):
        seeded = summary.model_copy(update={"seed": 7})
        assert epsilon_in_words(seeded)[0].startswith("This run kept no such promise")


def test_limits_name_rendering_the_test_and_the_purpose(summary):
    text = " ".join(limits(Run(summary)))
    assert "not a medical device" in text
    assert "images are rendered" in text
    assert "313 images of 153 patients; 104 images are malignant" in text


def test_limits_do_not_call_other_data_rendered(summary):
    assert "rendered" not in " ".join(limits(Run(summary.model_copy(update={"rendered": False}))))


def test_the_strip_gives_promise_and_cost(summary, rounds):
    strip = {fact.label: (fact.value, fact.note) for fact in facts(Run(summary, tuple(rounds()[::2])))}
    assert strip == {
        "hospitals": ("4", f"1 absence; {APART}"),
        "rounds": ("3", "as planned"),
        "test AUC": ("0.94", "95 % interval 0.91–0.97"),
        "ε per patient": (
            "8",
            "against everybody together; really spent: 7.99; "
            "per patient (add or remove one patient) at δ = 1e-05",
        ),
        "time": ("3 min 20 s", "started 2026-03-02 09:14"),
    }


def test_the_strip_tells_lost_rounds_sums_and_whom_the_promise_is_against(shared, losing):
    strip = {fact.label: (fact.value, fact.note) for fact in facts(Run(shared, tuple(losing[::2])))}
    assert strip["rounds"] == ("2", "of 3 planned; 1 came to nothing")
    assert strip["hospitals"][1].endswith("travelled in secure sums over at least 3 of 4 hospitals")
    assert strip["ε per patient"][1].startswith("against the coordinator with 1 of 4 hospitals; really spent")


def test_the_strip_tells_where_a_run_was_broken_off(summary, losing):
    resumed = summary.model_copy(update={"resumed": (2, summary.rounds + 1)})
    strip = {fact.label: fact.note for fact in facts(Run(resumed, tuple(losing[::2])))}
    assert strip["rounds"].endswith("broken off, and gone on with at round 2, the evaluation")


def test_rounds_lost_for_one_reason_are_told_together(losing):
    lost = losing[2]
    others = [lost.model_copy(update={"round": number}) for number in (3, 7)]
    odd = lost.model_copy(update={"round": 9, "lost": "no sum."})
    assert lost_rounds([losing[0], lost, *others, odd]) == [
        "Rounds 2–3, 7 came to nothing: 2 hospitals are in the sum, quorum 3.",
        "Round 9 came to nothing: no sum.",
    ]


def test_the_strip_of_a_run_that_never_began_praises_nobody_s_attendance(summary):
    unbegun = Run(summary.model_copy(update={"status": "failed", "reason": "quorum", "sites": {}}))
    assert ("hospitals", "0", f"no round has begun; {APART}") in {
        (f.label, f.value, f.note) for f in facts(unbegun)
    }


class TestHeldOut:
    """What the hospitals themselves say of the released model."""

    def test_outside_simulation_it_is_the_headline(self, summary, rounds, held_out):
        run = Run(without_scores(summary, held_out=held_out()), tuple(rounds()[::2]))
        assert headline(run) == (
            "The model that 4 hospitals trained at ε = 8 per patient reaches 0.93 (AUC), "
            "by the hospitals' own count."
        )
        assert facts(run)[2].value == "0.93"
        assert "in 93 of 100" in explanation(run.summary)

    def test_in_a_simulation_every_single_score_goes_first(self, summary, rounds, held_out):
        run = Run(summary.model_copy(update={"held_out": held_out()}), tuple(rounds()[::2]))
        assert "own count" not in headline(run)
        assert "every single score" in " ".join(meaning.held_out(run.summary))

    def test_it_says_what_it_cost_how_far_counts_are_off_and_who_did_not_tell(self, summary, held_out):
        told = " ".join(meaning.held_out(without_scores(summary, held_out=held_out())))
        assert "ε = 2" in told
        assert "off by about 4.2 patients" in told
        assert "dogwood did not tell: too few." in told

    def test_where_noise_is_shared_it_says_so_and_against_whom(self, shared, held_out):
        told = " ".join(meaning.held_out(without_scores(shared, held_out=held_out())))
        assert "adds its share of the noise" in told
        assert "ε = 2 at δ = 0.00001 (1 in 100,000), against the coordinator with 1 of 4 hospitals" in told

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"healthy": (), "diseased": (), "auc": None}, "fewer than the study asks for"),
            ({"auc": None, "auc_interval": None}, "say nothing of how good it is"),
            ({"epsilon": None, "noise": None}, "may give somebody away"),
        ],
    )
    def test_it_says_what_is_missing(self, changes, said, summary, held_out):
        told = " ".join(meaning.held_out(without_scores(summary, held_out=held_out(**changes))))
        assert said in told
