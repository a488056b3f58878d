"""The report's sentences about results, each built from the record and careful with what is missing."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from federation.page.numbers import DASH, apart, cost, count, duration, interval, runs, score, span
from federation.unit import at_delta
from server_app.record import Measurement, PrivacyStatement, RoundLine, Summary
from server_app.report.reading import Run


@dataclass(frozen=True)
class Note:
    """A paragraph that must not be overlooked; an ``"alarm"`` takes back what the page seems to say."""

    kind: Literal["alarm", "plain"]
    text: str


@dataclass(frozen=True)
class Fact:
    """One of the figures that stand large on top."""

    label: str
    value: str
    note: str = ""


def headline(run: Run) -> str:
    """The whole study in one sentence."""
    summary = run.summary
    if summary.status != "completed":
        done = _rounds_done(run)
        verb = "failed" if summary.status == "failed" else "was interrupted"
        reason = summary.reason.strip().rstrip(".") or "the record gives no reason"
        return f"This run {verb} after {done}: {reason}."
    told, hospitals = summary.held_out, count(len(run.participants), "hospital")
    if summary.pooled is None and told is not None and told.auc is not None:
        reached = f"reaches {score(told.auc)} (AUC), by the hospitals' own count"
        return f"The model that {hospitals} trained {protection(summary)} {reached}."
    if summary.pooled is None or summary.pooled.auc is None:
        rounds = count(len(run.rounds) - len(_lost(run.rounds)), "round")
        return f"{hospitals} trained one model in {rounds} {protection(summary)}; {_no_score(summary)}."
    together = score(summary.pooled.auc)
    alone = _alone(summary)
    if summary.comparison is None or not alone:
        return f"Together, {hospitals} reach {together} (AUC) {protection(summary)}."
    pooled = summary.comparison.pooled.auc
    # A third decimal where two would make different results look the same.
    decimals = 3 if together in {score(min(alone)), score(max(alone)), score(pooled)} else 2
    shown = [span(alone, decimals), span([summary.pooled.auc], decimals)]
    last = DASH if pooled is None else span([pooled], decimals)
    return f"Alone {shown[0]}, together {shown[1]}, pooled {last} (AUC) {protection(summary)}."


def _attendance(run: Run) -> str:
    if not run.rounds:
        return "no round has begun"
    absences = sum(absence.site in run.participants for line in run.rounds for absence in line.absent)
    attended = count(absences, "absence") if absences else "never absent"
    return attended if run.participants == run.sites else f"of {len(run.sites):,} asked; {attended}"


def protection(summary: Summary) -> str:
    """``"at ε = 8 per patient"``, with whom it is against if not everybody, or what stands in its place."""
    if summary.privacy.mode == "none":
        return "without privacy protection"
    epsilon = promised(summary)
    if epsilon is None:
        return "at an unrecorded ε"
    whom = onlooker(summary)
    return (
        f"at {'a nominal ' if seeded(summary) else ''}ε = {cost(epsilon)} per patient"
        f"{f' against {whom}' if whom else ''}"
    )


def onlooker(summary: Summary) -> str:
    """Whom alone the promise is against; empty where it holds against everybody, or nothing was promised."""
    guarantees = summary.privacy.guarantees
    return guarantees[0].title if guarantees and guarantees[0].against != "everybody" else ""


def seeded(summary: Summary) -> bool:
    """Whether the noise can be computed again, and taken off, by whoever knows a seed."""
    noise_source = summary.privacy.secret
    return summary.seed is not None or noise_source == "simulation seed"


def promised(summary: Summary) -> float | None:
    """The ε of the study, or the highest spent where the study only fixes the noise."""
    return spent(summary) if summary.privacy.epsilon is None else summary.privacy.epsilon


def spent(summary: Summary) -> float | None:
    """The highest ε that the steps really run have cost a patient anywhere; None if a site's is unknown."""
    costs = [site.epsilon for site in summary.sites.values()]
    known = [epsilon for epsilon in costs if epsilon is not None]
    return max(known) if known and len(known) == len(costs) else None


def _rounds_done(run: Run) -> str:
    done, planned = len(run.rounds), run.summary.rounds
    return f"{done} of {count(planned, 'round')}" if planned > done else count(done, "round")


def _no_score(summary: Summary) -> str:
    if not summary.simulation:
        return "hospitals told nothing of how good it is"
    if summary.pooled is not None:
        return "the test patients were all of one class, so no AUC could be measured"
    return "nobody measured how good it is"


def _alone(summary: Summary) -> list[float]:
    alone = summary.comparison.alone.values() if summary.comparison else []
    return [measured.auc for measured in alone if measured.auc is not None]


def explanation(summary: Summary) -> str:
    """What an AUC is, with this study's as the example; empty where there is none."""
    measured = summary.held_out if summary.pooled is None else summary.pooled
    if measured is None or measured.auc is None:
        return ""
    negative, positive = class_names(summary)
    won = round(100 * measured.auc)
    return (
        f"AUC: show the model one {positive} and one {negative} test image; in {won} of 100 such pairs it "
        f"gives the {positive} one the higher score. A coin would get 50."
    )


def class_names(summary: Summary) -> tuple[str, str]:
    """What the two classes are called, the healthy one first."""
    named = len(summary.classes) == 2
    return (summary.classes[0], summary.classes[1]) if named else ("healthy", "diseased")


def notes(run: Run) -> list[Note]:
    """What takes back, or puts in its place, something that the headline seems to say."""
    return [*_privacy_notes(run.summary), *_setting_notes(run), *_verdicts(run.summary)]


def _privacy_notes(summary: Summary) -> Iterator[Note]:
    if summary.privacy.mode == "none":
        yield Note("alarm", "No noise was added. The model may give away who it was trained on.")
    elif seeded(summary):
        seed = "" if summary.seed is None else f" ({summary.seed})"
        yield Note(
            "alarm",
            f"The noise came from a seed{seed}, so that the run can be repeated. Who knows the "
            "seed can take the noise off again: this run protects nobody, and its ε says what the same study "
            "would promise with secret noise.",
        )
    if summary.privacy.mode != "none" and not summary.privacy.guarantees:
        yield Note(
            "alarm",
            "The record does not say against whom its ε holds, nor what that rests on: ask whoever ran the "
            "study before anybody relies on it.",
        )
    agreed, paid = summary.privacy.epsilon, spent(summary)
    if agreed is not None and paid is not None and paid > agreed * (1 + 1e-9):
        yield Note("alarm", f"ε = {cost(agreed)} was promised, but patients paid up to {cost(paid)}.")


def _setting_notes(run: Run) -> Iterator[Note]:
    if run.summary.simulation:
        images = "rendered images" if run.summary.rendered else "public data"
        yield Note(
            "plain",
            f"Simulation: all hospitals ran on one computer, on {images}. Nobody had to agree to the study: "
            "what a hospital's policy allows is approved by its configuration.",
        )
    if run.samples_withheld:
        yield Note(
            "alarm", "A samples.png lay beside this record and was left out: no image leaves a hospital."
        )


def _verdicts(summary: Summary) -> Iterator[Note]:
    if summary.pooled is None:
        return
    for name, baseline in summary.baselines.items():
        if sentence := verdict(summary.pooled, name, baseline):
            yield Note("plain", sentence)


def verdict(model: Measurement, name: str, baseline: Measurement) -> str:
    """Whether the trivial rule ``name`` does as well as the model; empty where either was not measured."""
    if model.auc is None or baseline.auc is None:
        return ""
    ruler = (
        "A ruler" if any(word in name.lower() for word in ("area", "size", "diameter")) else "A trivial rule"
    )
    theirs, ours = apart(baseline.auc, model.auc)
    figures = f"{name} alone reaches {theirs}, the model {ours}"
    low = model.auc_interval[0] if model.auc_interval else model.auc
    if baseline.auc >= model.auc:
        text = (
            f"{ruler} does as well: {figures}. This study demonstrates the pipeline, not a better diagnosis."
        )
    elif baseline.auc >= low:
        text = (
            f"{ruler} does as well, as far as this test can tell: {figures}, whose interval "
            f"({interval(model.auc_interval)}) includes it. This study demonstrates the pipeline."
        )
    else:
        text = f"The model ranks better than its trivial rival: {figures}."
    return text + _harder(model, baseline)


def _harder(model: Measurement, baseline: Measurement) -> str:
    ours, theirs = model.stratum, baseline.stratum
    if ours is None or theirs is None or ours.auc is None or theirs.auc is None:
        return ""
    its, models = apart(theirs.auc, ours.auc)
    return (
        f" On the harder part, {ours.label} ({count(ours.images, 'image')}), it reaches {its}, "
        f"the model {models}."
    )


def facts(run: Run) -> list[Fact]:
    """The strip of key figures."""
    summary = run.summary
    pooled = summary.pooled
    told = summary.held_out
    if pooled is None and told is not None and told.auc is not None:
        quality = Fact(
            "test AUC", score(told.auc), f"by hospitals' noised counts, {interval(told.auc_interval)}"
        )
    elif pooled is None:
        quality = Fact("test AUC", DASH, "not measured" if summary.simulation else "no scores released")
    else:
        bounds = interval(pooled.auc_interval)
        quality = Fact("test AUC", score(pooled.auc), f"95 % interval {bounds}" if bounds else "no interval")
    lost = len(_lost(run.rounds))
    done = len(run.rounds) - lost
    planned = f"of {summary.rounds:,} planned" if summary.rounds != done else "as planned"
    return [
        Fact(
            "hospitals",
            f"{len(run.participants):,}",
            f"{_attendance(run)}; updates travelled {summary.privacy.travel}",
        ),
        Fact(
            "rounds",
            f"{done:,}",
            planned + (f"; {lost:,} came to nothing" if lost else "") + _broken_off(summary),
        ),
        quality,
        Fact("ε per patient", *_epsilon_fact(summary)),
        Fact("time", duration(summary.seconds), f"started {_minute(summary.started)}"),
    ]


def _broken_off(summary: Summary) -> str:
    places = [
        f"round {number}" if number <= summary.rounds else "the evaluation" for number in summary.resumed
    ]
    return f"; broken off, and gone on with at {', '.join(places)}" if places else ""


def _epsilon_fact(summary: Summary) -> tuple[str, str]:
    if summary.privacy.mode == "none":
        return "∞", "no protection"
    paid = spent(summary)
    really = f"really spent: {cost(paid)}" if paid is not None else "spent: not recorded"
    guarantees = summary.privacy.guarantees
    whom = f"against {guarantees[0].title}; " if guarantees else ""
    return cost(promised(summary)), f"{whom}{really}; {at_delta(summary.privacy.delta)}"


def lost_rounds(rounds: Iterable[RoundLine]) -> list[str]:
    """A sentence for each reason for which rounds came to nothing."""
    found: dict[str, list[int]] = {}
    for line in _lost(rounds):
        found.setdefault(line.lost.strip().rstrip("."), []).append(line.round)
    return [
        f"{'Round' if len(numbers) == 1 else 'Rounds'} {runs(numbers)} came to nothing: {reason}."
        for reason, numbers in found.items()
    ]


def _lost(rounds: Iterable[RoundLine]) -> list[RoundLine]:
    return [line for line in rounds if line.lost]


def _minute(started: str) -> str:
    """An ISO 8601 time to the minute; anything else as it stands."""
    return started[:16].replace("T", " ") if len(started) > 16 and started[10] == "T" else started


def noise(privacy: PrivacyStatement) -> str:
    """Noise, clipping and sampling as one line, for those who recompute."""
    parts = [
        ("noise multiplier", privacy.noise_multiplier),
        ("clipping norm", privacy.clipping_norm),
        ("sampling rate", privacy.sampling_rate),
    ]
    return ", ".join(
        f"{name} {value:.6g}" for name, value in parts if value is not None and math.isfinite(value)
    )
