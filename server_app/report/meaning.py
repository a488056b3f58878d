"""What was promised to a patient, and what this page does not show, in plain words."""

import math

from federation.page.numbers import cost, count, percent, score, small, with_interval
from server_app.record import Summary
from server_app.report import odds
from server_app.report.reading import Run
from server_app.report.text import class_names, onlooker, promised, seeded

_SEEDED = (
    "This run kept no such promise, because its noise came from a seed. What follows holds for the same "
    "study with secret noise."
)


def bound(summary: Summary) -> tuple[float, float] | None:
    """The (ε, δ) to explain; None where nothing was promised or it is not on record."""
    epsilon, delta = promised(summary), summary.privacy.delta
    if summary.privacy.mode == "none" or epsilon is None or delta is None:
        return None
    return epsilon, delta


def epsilon_in_words(summary: Summary) -> list[str]:
    """Paragraphs: the promise, whom it holds against, the bet, how strong that is, whom it counts."""
    if summary.privacy.mode == "none":
        return [
            "Nothing was promised. Without noise there is no bound on what the model, or an update on its "
            "way, tells about one patient. Only synthetic or simulated data may be used like this."
        ]
    agreed = bound(summary)
    if agreed is None:
        return ["The record names no ε or no δ for this run, so no bound can be explained here."]
    epsilon, delta = agreed
    return [
        *([_SEEDED] if seeded(summary) else []),
        _promise(epsilon, delta, onlooker(summary)),
        *_against(summary),
        _bet(epsilon, delta, onlooker(summary)),
        _honest(epsilon, delta),
        _twice(summary, epsilon),
    ]


def _promise(epsilon: float, delta: float, whom: str) -> str:
    released = f"whatever {whom} can see" if whom else "whatever leaves a hospital"
    return (
        "The promise is to each patient. Take the study as it ran, and the same study with one patient "
        f"added or removed, all images of that patient at once: {released} is at most "
        f"{_factor(epsilon)} (e^ε) times as likely in one as in the other, apart from a slack of "
        f"δ = {small(delta)}. The smaller ε, the less anybody can tell the two apart; at ε = 0 nothing could "
        "be learned at all."
    )


def _against(summary: Summary) -> list[str]:
    """Where the promise holds against everybody, that; the other cases have a picture."""
    return [
        f"Whom it holds against: {each.title}. {each.assumption}"
        for each in summary.privacy.guarantees
        if not onlooker(summary)
    ]


def _factor(epsilon: float) -> str:
    """e^epsilon, rounded up."""
    if epsilon > 30:
        return "more than a million million"
    return (
        f"{math.ceil(math.exp(epsilon)):,}" if epsilon > 3 else f"{math.ceil(10 * math.exp(epsilon)) / 10:g}"
    )


def _bet(epsilon: float, delta: float, whom: str) -> str:
    released = f"all that {whom} can see" if whom else "everything that was released"
    others = "".join(
        f"{percent(odds.best_guess(each, delta))} at ε = {each}, "
        for each in (1, 3)
        if cost(each) != cost(epsilon)
    )
    return (
        f"As a bet: somebody flips a coin to decide whether your record takes part, then shows {released} "
        "to a guesser who knows all the other patients. Without it the guesser is right half of the time. "
        f"With it, at most e^ε/(1+e^ε) of the time, and a little for δ: {others}and "
        f"{percent(odds.best_guess(epsilon, delta))} at this study's ε = {cost(epsilon)}."
    )


def _honest(epsilon: float, delta: float) -> str:
    ceiling = odds.best_guess(epsilon, delta)
    if ceiling > 0.95:
        strength = "Taken alone, that ceiling is weak: it hardly excludes a correct guess."
    elif ceiling > 0.75:
        strength = "That ceiling leaves the guesser a real advantage."
    else:
        strength = "That ceiling is strong: the guesser stays close to the coin."
    return (
        f"{strength} It is a worst case, not a forecast. One pair (ε, δ) overstates what noise of this kind "
        f"lets through: a single release of Gaussian noise with the same pair allows "
        f"{percent(odds.gaussian_guess(epsilon, delta))}; this study's many small steps follow a similar but "
        "not the same curve. Attacks published so far on models trained in this way do much worse than the "
        "ceiling. But that is experience, not a promise."
    )


def _twice(summary: Summary, epsilon: float) -> str:
    if summary.privacy.mode == "distributed":
        return (
            "A patient treated at two of these hospitals is worse off: both copies are in one sum and share "
            f"its noise. For that patient ε is not {cost(epsilon)} but that of half the noise, more than "
            f"{cost(2 * epsilon)}."
        )
    sum_of_two = f", here to as much as {cost(2 * epsilon)}" if len(summary.sites) > 1 else ""
    return (
        "A patient treated at two of these hospitals counts twice: each protects its own copy, and the ε add "
        f"up{sum_of_two}."
    )


def held_out(summary: Summary) -> list[str]:
    """Paragraphs: how the hospitals tell how good the model is, what it comes to, who did not tell."""
    told = summary.held_out
    if told is None:
        return []
    how = (
        "No patient's score leaves a hospital. Each hospital counts how many of its held-out patients, from "
        "whom nothing was learnt, get which score from the released model"
    )
    if told.noise is not None and told.delta is not None:
        whom = onlooker(summary)
        how += (
            f", and adds {'its share of the noise' if whom else 'noise'} before it tells: to each held-out "
            f"patient that promises ε = {cost(told.epsilon)} at δ = {small(told.delta)}"
            f"{f', against {whom}' if whom else ''}. Each count is off by about {told.noise:.1f} patients."
        )
    else:
        how += ". This study asks for no noise, so these counts may give somebody away."
    found = [how]
    if not told.healthy:
        found.append(
            f"Only {count(len(told.hospitals), 'hospital')} told, fewer than the study asks for, so there "
            "is no figure."
        )
    elif told.auc is None:
        found.append("With so few patients, or so much noise, the counts say nothing of how good it is.")
    else:
        found.append(
            f"From these counts the model's AUC is {with_interval(told.auc, told.auc_interval)}; the "
            "interval holds what noise and chance make of it, and ten coarse bins hide a little."
        )
        if summary.pooled is not None and summary.pooled.auc is not None:
            found.append(
                "This simulation can look at every single score, also where a hospital stayed out, which "
                f"gives {score(summary.pooled.auc)}."
            )
    found += [f"{absence.site} did not tell: {absence.reason}." for absence in told.absent]
    return found


def limits(run: Run) -> list[str]:
    """What a reader must not conclude."""
    summary = run.summary
    found = [
        "This model is not a medical device. It was not made for, or tested in, the care of any patient."
    ]
    if summary.status != "completed":
        found.append("The run did not finish. Whatever figures stand here are those of an unfinished model.")
    if summary.start_from is not None:
        found.append(
            f"It started from {summary.start_from}, a model of an earlier study. What that study cost its "
            "patients stands in its own record, and comes on top of every ε here."
        )
    if run.summary.rendered:
        found.append(
            "The images are rendered: drawn by a computer, not acquired from patients; the task's data card "
            "says from what. The model has seen no patient's scan; nothing here says how it would do on one."
        )
    if summary.simulation:
        found.append(
            "The hospitals are simulated: parts of one collection on one computer. Networks, staff and "
            "machines of real hospitals played no part."
        )
    return [*found, *_test_limits(summary), *_open_questions(summary)]


def _test_limits(summary: Summary) -> list[str]:
    measured = summary.pooled
    if measured is None:
        if summary.held_out is not None and summary.held_out.auc is not None:
            return [
                "How good the model is was told by the hospitals themselves; nobody else has seen a score."
            ]
        return ["How good the model is was not measured in this run."]
    _, positive = class_names(summary)
    text = (
        f"The test: {count(measured.images, 'image')} of {count(measured.patients, 'patient')}; "
        f"{count(measured.positives, 'image')} {'is' if measured.positives == 1 else 'are'} {positive}."
    )
    if measured.auc_interval is not None:
        half = (measured.auc_interval[1] - measured.auc_interval[0]) / 2
        text += (
            f" Other patients would move the AUC by up to about {half:.2f} either way, by chance alone."
            if half >= 0.005
            else " It is too easy to tell good models apart."
        )
    return [
        text,
        "No baseline was measured, so nothing shows that the task is hard."
        if not summary.baselines
        else "Model and baseline met the same images; the difference between them was not tested.",
        "A single hospital's test is smaller still: differences between hospitals may be chance.",
    ]


def _open_questions(summary: Summary) -> list[str]:
    missing = [
        "other hospitals than these",
        "groups of patients (age, sex, scanner)",
        "the effect on any decision",
    ]
    if summary.pooled is not None and summary.comparison is None:
        missing.insert(0, "training alone or on pooled data, for comparison")
    return ["Not shown: " + "; ".join(missing) + "."]
