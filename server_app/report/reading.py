"""A run folder, read back as the typed record that it was written from."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from federation.errors import MessageError
from server_app.record import Entry, EvaluationLine, RoundLine, Summary

Record = TypeVar("Record", bound=Entry)
Line = TypeVar("Line", RoundLine, EvaluationLine)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EVENTS: dict[str, type[RoundLine] | type[EvaluationLine]] = {
    "round": RoundLine,
    "evaluation": EvaluationLine,
}


@dataclass(frozen=True)
class Run:
    """What one run left behind.

    Attributes:
        rounds: by round, ascending.
        evaluations: by round, ascending.
        samples: a PNG contact sheet; None where there is none, and always outside
            simulation, whatever lies in the folder.
        samples_withheld: a contact sheet lay beside the record of a real federation.
        audit: what the privacy audit in the folder comes to, in a sentence; None where there is none.
    """

    summary: Summary
    rounds: tuple[RoundLine, ...] = ()
    evaluations: tuple[EvaluationLine, ...] = ()
    samples: bytes | None = None
    samples_withheld: bool = False
    audit: str | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Every hospital that the record names: the summary's first, then any that only rounds name."""
        names = dict.fromkeys(self.summary.sites)
        for line in self.rounds:
            names |= dict.fromkeys((*line.participants, *(absence.site for absence in line.absent)))
        return tuple(names)

    @property
    def participants(self) -> tuple[str, ...]:
        """Those of the hospitals that took part in a round at least; others stayed out of all of them."""
        took_part = {name for name, site in self.summary.sites.items() if site.rounds}
        took_part.update(*(line.participants for line in self.rounds))
        return tuple(site for site in self.sites if site in took_part)


def read_run(run_dir: Path) -> Run:
    """The record in ``run_dir``: ``summary.json``, ``metrics.jsonl`` and, in simulation, ``samples.png``.

    Raises:
        MessageError: a file is missing, cannot be read, or is not what ``server_app/record.py`` says.
    """
    summary = _parse(Summary, _read(run_dir / "summary.json").decode(errors="replace"), "summary.json")
    metrics = run_dir / "metrics.jsonl"
    # A run that fell over before its first round has nothing to measure; one that completed has.
    text = _read(metrics).decode(errors="replace") if metrics.exists() or _must_have_rounds(summary) else ""
    lines = [_parse_line(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    samples = run_dir / "samples.png"
    return Run(
        summary=summary,
        rounds=_ascending([line for line in lines if isinstance(line, RoundLine)]),
        evaluations=_ascending([line for line in lines if isinstance(line, EvaluationLine)]),
        samples=_read_png(samples) if summary.simulation and samples.exists() else None,
        samples_withheld=not summary.simulation and samples.exists(),
        audit=_audit(run_dir / "privacy-audit.json"),
    )


def _audit(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        return str(json.loads(_read(path))["headline"])
    except (ValueError, TypeError, KeyError) as error:
        raise MessageError(f"{path} is no privacy audit; make it again or remove it") from error


def _must_have_rounds(summary: Summary) -> bool:
    return summary.status == "completed" and summary.rounds > 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MessageError(
            f"{path} does not exist: has the run ended, and is {path.parent} a run's folder?"
        ) from error
    except OSError as error:
        raise MessageError(f"{path} cannot be read ({error.strerror}); check its owner and mode") from error


def _read_png(path: Path) -> bytes:
    content = _read(path)
    if not content.startswith(_PNG_SIGNATURE):
        raise MessageError(f"{path} is no PNG; write the contact sheet again or remove it")
    return content


def _parse(kind: type[Record], text: str, where: str) -> Record:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise MessageError(f"{where}: {field}: {first['msg']}; see server_app/record.py") from error


def _parse_line(line: str, number: int) -> RoundLine | EvaluationLine:
    where = f"metrics.jsonl, line {number}"
    try:
        event = json.loads(line)["event"]
    except (ValueError, TypeError, KeyError) as error:
        raise MessageError(f"{where}: no JSON object with an 'event'; was the file cut off?") from error
    if not isinstance(event, str) or event not in _EVENTS:
        raise MessageError(f"{where}: event={event!r} is unknown; this report knows {sorted(_EVENTS)}")
    return _parse(_EVENTS[event], line, where)


def _ascending(lines: list[Line]) -> tuple[Line, ...]:
    ordered = sorted(lines, key=lambda line: line.round)
    for one, other in pairwise(ordered):
        if one.round == other.round:
            raise MessageError(
                f"metrics.jsonl: {one.event} {one.round} is written twice; which of the two is true?"
            )
    return tuple(ordered)
