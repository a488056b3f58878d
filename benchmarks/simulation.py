"""One job by a bare PyTorch loop, by both of our engines and by Apple's pfl, each in whole processes.

The job is ``benchmarks.job``: full batches, no momentum, no privacy, so that all do the very same updates;
that they end in the same model is checked. Everybody measures the model after each round in the same way, and
torch has one thread a site.

* bare loop: nothing but PyTorch, one hospital after another; no record.
* inline: ``./scripts/simulate compare=false audit=false``, hospitals side by side on the cores. Each round is
  checked, burnt, aggregated by Flower's strategy and left on disk. The rounds are timed in a process of their
  own, since the whole one also composes, draws samples and writes the report.
* flower, cold: the same with ``engine=flower``: a SuperLink and Ray start and end with the run.
* flower, warm: ``flwr run`` on a SuperLink that has had a run before; Ray and the sites' processes start
  anew, since that is how Flower's simulation works.
* pfl: its PyTorch model, its simulated backend and its federated averaging; no record.

Flower's rounds are timed from outside, ten times a second, from the first site's burn on. The target: from
the first round's start to the last one's end, inline takes at most 1.15 times the bare loop's processor time.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import job
from benchmarks.flower_rounds import flower_clock
from benchmarks.marks import Marks, Rounds, read_model, read_rounds
from benchmarks.pfl_environment import pfl_python
from benchmarks.processes import FailedError, Tree, Usage, run_watched
from benchmarks.table import Row
from federation.config import CONF
from federation.overrides import quoted

REPETITIONS = 3
_BARE = "bare loop"
_TOLERANCE = 1e-5
# Flower's processes run elsewhere, and have to find the benchmark's task.
_HERE = {"PYTHONPATH": str(CONF.parent)}


@dataclass(frozen=True)
class _Taken:
    """What a contestant took once: the whole process, and its rounds."""

    whole: Usage
    rounds: Rounds | None


def run() -> list[Row]:
    """Medians over the repetitions, which take turns, beside the bare loop's."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        contestants: dict[str, Callable[[Path], _Taken]] = {
            _BARE: lambda here: _program("bare_loop", sys.executable, here),
            "inline": _inline,
            "flower, cold": _flower_cold,
        }
        skipped: dict[str, str] = {}
        try:
            python = str(pfl_python())
            contestants["pfl"] = lambda here: _program("pfl_loop", python, here)
        except FailedError as failure:
            skipped["pfl"] = str(failure)
        taken: dict[str, list[_Taken]] = {case: [] for case in contestants}
        for repetition in range(REPETITIONS):
            for case, start in contestants.items():
                here = folder / f"{case}-{repetition}"
                here.mkdir()
                taken[case].append(start(here))
        _check_same_model([folder / f"{case}-0" for case in ("bare loop", "inline", "pfl") if case in taken])
        taken["flower, warm"] = _flower_warm(folder / "warm")
    return [
        *(row for case, those in taken.items() for row in _rows(case, those, taken[_BARE])),
        *(Row(case, f"skipped: {reason}", None, "") for case, reason in skipped.items()),
    ]


def _program(name: str, python: str, folder: Path) -> _Taken:
    whole = run_watched([python, "-m", f"benchmarks.{name}", str(folder)], _HERE)
    return _Taken(whole, read_rounds(folder))


def _inline(folder: Path) -> _Taken:
    timed = _program("inline_rounds", sys.executable, folder)
    return _Taken(run_watched(_simulate(folder / "whole"), _HERE), timed.rounds)


def _flower_cold(folder: Path) -> _Taken:
    seen: list[Tree] = []
    marks = Marks(lambda: seen[-1].cpu)

    def looking(tree: Tree) -> None:
        seen.append(tree)
        flower_clock(folder / "whole", marks)

    whole = run_watched([*_simulate(folder / "whole"), "engine=flower"], _HERE, looking)
    return _Taken(whole, Rounds(marks.rounds.cpu, None))


def _flower_warm(folder: Path) -> list[_Taken]:
    """All runs but the first of those on one SuperLink."""
    folder.mkdir()
    runs = REPETITIONS + 1
    run_watched([sys.executable, "-m", "benchmarks.flower_rounds", str(folder), str(runs)], _HERE)
    told = [json.loads((folder / str(number) / "usage.json").read_text()) for number in range(1, runs)]
    return [_Taken(Usage(t["cpu"], t["wall"], t["memory"]), Rounds(t["rounds"], None)) for t in told]


def _simulate(folder: Path) -> list[str]:
    return [sys.executable, "-m", "simulation", "-q", f"run_dir={quoted(folder)}", *job.overrides()]


def _check_same_model(folders: list[Path]) -> None:
    """Stop a comparison of different work.

    Raises:
        FailedError: two contestants end in different models.
    """
    first, *others = [read_model(folder) for folder in folders]
    for folder, model in zip(folders[1:], others, strict=True):
        difference = float(np.abs(model - first).max())
        if difference > _TOLERANCE:
            raise FailedError(
                f"{folder.name} ends in another model than {folders[0].name}, by {difference:.1e}"
            )


def _rows(case: str, taken: list[_Taken], bare: list[_Taken]) -> list[Row]:
    figures, of_bare = _figures(taken), _figures(bare)
    return [
        Row(case, metric, value, unit)
        if case == _BARE
        else Row(case, metric, value, unit, _BARE, value / of_bare[metric, unit])
        for (metric, unit), value in figures.items()
    ]


def _figures(taken: list[_Taken]) -> Mapping[tuple[str, str], float]:
    """The medians, by metric and unit."""
    rounds = [t.rounds for t in taken if t.rounds is not None]
    apart = [r.cpu - r.measuring for r in rounds if r.measuring is not None]
    return {
        ("first round to last, CPU", "s"): median(r.cpu for r in rounds),
        **({("the same, measuring apart, CPU", "s"): median(apart)} if apart else {}),
        ("whole, CPU", "s"): median(t.whole.cpu for t in taken),
        ("whole, wall", "s"): median(t.whole.wall for t in taken),
        ("most memory", "MiB"): median(t.whole.memory / 2**20 for t in taken),
    }
