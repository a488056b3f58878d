"""How the report of a sweep names a run: by what was varied, in words."""

from collections.abc import Collection

from federation.page.numbers import count
from simulation.sweep.expansion import brief
from simulation.sweep.record import JobRecord, SweepRecord


def words(record: SweepRecord, job: JobRecord, without: Collection[str] = ()) -> str:
    """What tells ``job`` from the others, e.g. ``"ε = 1, 4 hospitals"``, leaving out some settings."""
    return ", ".join(_word(record, job, key) for key in record.swept if key not in without)


def _word(record: SweepRecord, job: JobRecord, key: str) -> str:
    value = job.settings[key]
    if key == "privacy.epsilon":
        return f"ε\u00a0=\u00a0{value}"
    if key == "federation" and hospitals_differ(record):
        return count(job.hospitals, "hospital")
    return f"{brief(list(record.swept))[key]} {value}"


def hospitals_differ(record: SweepRecord) -> bool:
    """Whether the number of hospitals tells one federation from another."""
    pairs = {(job.settings.get("federation"), job.hospitals) for job in record.jobs}
    return len({hospitals for _, hospitals in pairs}) == len({choice for choice, _ in pairs}) == len(pairs)


def headings(record: SweepRecord) -> dict[str, str]:
    """Each swept setting as the head of a column, but for federations that their hospitals' number tells."""
    named = brief(list(record.swept))
    shown = [key for key in named if key != "federation" or not hospitals_differ(record)]
    return {key: "ε" if key == "privacy.epsilon" else named[key] for key in shown}
