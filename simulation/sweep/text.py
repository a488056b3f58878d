"""The sentences of a sweep's report, each built from the record and careful with what is missing."""

from collections.abc import Iterator, Sequence
from itertools import chain

from federation.page.numbers import apart, cost, count, duration, interval, score, span
from federation.unit import at_delta
from server_app.report.text import Fact, Note
from simulation.sweep.figures import Point, Series, averaged, epsilon_varies
from simulation.sweep.record import JobRecord, SweepRecord
from simulation.sweep.words import words

_FEW = 3  # series that a sentence can hold


def headline(record: SweepRecord, series: Sequence[Series]) -> str:
    """The whole sweep in one sentence."""
    measured = record.measured
    if not measured:
        return f"None of {count(len(record.jobs), 'run')} has an AUC."
    if epsilon_varies(record) and len(series) <= _FEW:
        seeds = f", on average over {count(averaged(record), 'seed')}" if averaged(record) > 1 else ""
        return f"AUC is {'; '.join(_from_to(one) for one in series)}{seeds}."
    worst, best = min(measured, key=_auc), max(measured, key=_auc)
    if worst is best:
        return f"AUC is {score(best.auc)} ({words(record, best) or 'as set'})."
    low, high = apart(_auc(worst), _auc(best))
    return f"AUC lies between {low} ({words(record, worst)}) and {high} ({words(record, best)})."


def _auc(job: JobRecord) -> float:
    return job.auc or 0.0


def _from_to(series: Series) -> str:
    """``"0.71 at ε = 1 and 0.86 at ε = 8 with 4 hospitals"``."""
    first, last = series.points[0], series.points[-1]
    who = f" with {series.name}" if series.name else ""
    if first is last:
        return f"{score(first.auc)} {first.place}{who}"
    one, other = apart(first.auc, last.auc)
    return f"{one} {first.place} and {other} {last.place}{who}"


def facts(record: SweepRecord) -> list[Fact]:
    """The strip of key figures."""
    done = sum(job.status == "completed" for job in record.jobs)
    aucs = [_auc(job) for job in record.measured]
    promises = [job.epsilon for job in record.jobs if job.epsilon is not None]
    without = len(record.jobs) - len(promises)
    epsilons = list(dict.fromkeys([cost(min(promises)), cost(max(promises))])) if promises else ["∞"]
    return [
        Fact("runs", f"{done:,}", "as planned" if done == len(record.jobs) else f"of {len(record.jobs):,}"),
        Fact("test AUC", span(aucs) if aucs else score(None), "lowest and highest" if len(aucs) > 1 else ""),
        Fact("ε per patient", "–".join(epsilons), _what_epsilon_is(record, without)),
        Fact("hospitals", _counts(record), "simulated"),
        Fact("time", duration(record.seconds), f"{record.at_once} at once"),
    ]


def _what_epsilon_is(record: SweepRecord, without: int) -> str:
    deltas = sorted({job.delta for job in record.jobs if job.delta is not None}, reverse=True)
    # Of several δ the largest: it is what all of the runs keep.
    held = f"{at_delta(deltas[0] if deltas else None)}{' or less' if len(deltas) > 1 else ''}"
    return f"{held}; {without} without privacy" if without else held


def _counts(record: SweepRecord) -> str:
    return ", ".join(str(number) for number in sorted({job.hospitals for job in record.jobs}))


def promised(job: JobRecord) -> str:
    """A run's ε in the table, e.g. ``"3 against the coordinator"``."""
    if job.epsilon is None:
        return "no privacy"
    return f"{cost(job.epsilon)} against the coordinator" if job.distributed else cost(job.epsilon)


def notes(record: SweepRecord, series: Sequence[Series]) -> list[Note]:
    """What takes back, or puts in its place, something that the page seems to say."""
    return [*_endings(record), *_protection(record), *_comparisons(record, series)]


def _endings(record: SweepRecord) -> Iterator[Note]:
    for job in record.jobs:
        if job.status == "failed":
            yield Note("alarm", f"The run with {words(record, job) or 'these settings'} failed: {job.reason}")
    missing = [job for job in record.jobs if job.status not in ("completed", "failed")]
    if missing:
        named = "; ".join(words(record, job) for job in missing)
        yield Note("alarm", f"Stopped by hand before {count(len(missing), 'run')} ended: {named}.")


def _protection(record: SweepRecord) -> Iterator[Note]:
    if any(job.seed is not None for job in record.jobs):
        yield Note(
            "alarm",
            "The noise came from a seed, so that the runs can be repeated. Who knows the seed can take the "
            "noise off again: such a run protects nobody, and its ε says what it would promise with secret "
            "noise.",
        )
    if any(job.distributed for job in record.jobs):
        yield Note(
            "plain",
            "Where noise is distributed, ε holds against the coordinator and the hospitals that may be in "
            "league with it. Against others it is another number, which each such run's own report states.",
        )
    promises = [job.epsilon for job in record.jobs if job.epsilon is not None]
    if len(promises) > 1:
        whom = " against the coordinator" if any(job.distributed for job in record.jobs) else ""
        yield Note(
            "plain",
            f"Trying costs privacy, too. On real patients the promises of {len(promises)} runs add up to "
            f"ε = {cost(sum(promises))}{whom}; that is why one tries in a simulation and then runs one "
            "study.",
        )
    images = "rendered images" if record.rendered else "public data"
    yield Note("plain", f"Simulation: all hospitals ran on one computer, on {images}.")


def _comparisons(record: SweepRecord, series: Sequence[Series]) -> Iterator[Note]:
    if epsilon_varies(record) and len(series) <= _FEW and averaged(record) == 1:
        for one in series:
            yield from _told_apart(one)
    if len(record.measured) > 1:
        yield Note(
            "plain",
            "The best of several results is partly luck. Whoever picks a setting by these figures has to "
            "measure it again, on patients that had no part in the choice.",
        )


def _told_apart(series: Series) -> Iterator[Note]:
    first, last = series.points[0], series.points[-1]
    if first.bounds is None or last.bounds is None or first is last:
        return
    overlap = first.bounds[0] <= last.bounds[1] and last.bounds[0] <= first.bounds[1]
    says = (
        "overlap: this test does not settle which is better"
        if overlap
        else "do not overlap: luck with the test patients does not explain the difference"
    )
    who = f"With {series.name}, the" if series.name else "The"
    yield Note("plain", f"{who} intervals {_at(first)} and {_at(last)} {says}.")


def _at(point: Point) -> str:
    return f"{point.place} ({interval(point.bounds)})"


def settings_of_all(record: SweepRecord) -> list[str]:
    """The overrides that every run was told."""
    alike = set.intersection(*(set(job.overrides) for job in record.jobs))
    return list(dict.fromkeys(item for item in chain(*(j.overrides for j in record.jobs)) if item in alike))
