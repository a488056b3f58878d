"""The job by Wardround's inline engine, with a stopwatch: ``python -m benchmarks.inline_rounds FOLDER``.

Everything that ``./scripts/simulate`` has running between the first round and the last is here, too.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import job
from benchmarks.marks import Marks
from federation.config import compose_run
from federation.messages import Parameters
from federation.overrides import quoted
from federation.study import Study
from server_app.listeners import Listener
from server_app.membership import Membership
from server_app.record import RoundLine
from simulation.engine import load_cohorts, run_inline
from simulation.observer import Judge, Recorder


def train(marks: Marks, folder: Path) -> NDArray[np.float32]:
    """Run the job into ``folder``; the last round's model, float32 ``[all]``."""
    overrides = [*job.overrides(), f"run_dir={quoted(folder)}"]
    run = compose_run(overrides)
    judge = Judge(run.study, load_cohorts(run))
    before = _BeforeMeasuring(marks)
    after = _AfterMeasuring(marks, before)
    run_inline(overrides, job.SITES, before, Recorder(judge, folder), after)
    return after.model


class _BeforeMeasuring(Listener):
    """Told of a round before the recorder is, which measures the round's model."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self.measuring = ExitStack()

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:  # noqa: ARG002
        """Now it is measured."""
        self.measuring.enter_context(self._marks.measuring())


class _AfterMeasuring(Listener):
    """Told after the recorder."""

    def __init__(self, marks: Marks, before: _BeforeMeasuring) -> None:
        self._marks = marks
        self._before = before
        self.model: Parameters = np.zeros(0, np.float32)

    def started(self, study: Study, folder: Path, membership: Membership, initial: Parameters) -> None:  # noqa: ARG002
        """The initial model has been measured; round 1 comes next."""
        self._marks.begin()

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:  # noqa: ARG002
        """The round's model has been measured."""
        self._before.measuring.close()
        self._marks.end()
        self.model = parameters


def main(folder: Path) -> None:
    """Train, and leave in ``folder`` what it took."""
    marks = Marks()
    model = train(marks, folder / "run")
    marks.write(folder, model)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
