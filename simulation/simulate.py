"""``./scripts/simulate``: one study over simulated hospitals, and the record that it leaves."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from client_app.audit.page import write_audit
from client_app.audit.privacy_audit import audit_privacy
from federation.against import in_words
from federation.config import compose_run, run_folder
from federation.errors import StorageError, WardroundError
from federation.overrides import quoted
from federation.page.numbers import cost
from federation.unit import at_delta
from server_app.model_card import write_model_card
from server_app.record import Summary
from server_app.report import write_report
from server_app.report.text import spent
from server_app.study_run import refuse_used_folder
from server_app.trackers import make_tracker
from simulation.compare import Comparer
from simulation.engine import load_cohorts, run_inline
from simulation.flower_engine import run_flower
from simulation.observer import Judge, Keeper, Recorder, complete, interrupted, write_summary
from simulation.progress import Display
from simulation.samples import write_samples
from simulation.sweep.expansion import refuse_sweep
from simulation.sweep.run import run_sweep

USAGE = """usage: ./scripts/simulate [-q] [-m] [KEY=VALUE ...]

Runs a study over simulated hospitals on this machine and leaves its record in runs/.

  ./scripts/simulate                              the default study
  ./scripts/simulate privacy.epsilon=3 rounds=5   the same with other settings
  ./scripts/simulate privacy=none                 without privacy, for comparison
  ./scripts/simulate compare=false audit=false    only the federation, which is quicker
  ./scripts/simulate resume=runs/latest           go on with a run that was broken off
  ./scripts/simulate -m privacy.epsilon=1,3,8     each of these, side by side, and a report that compares them

Every setting stands in conf/, with a comment. -q prints nothing but the run's folder. -m (--multirun) takes
several values of several settings, as Hydra writes them, and runs every combination.
"""

_MULTIRUN = ("-m", "--multirun")


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments describe; returns the exit code."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(USAGE)
        return 0
    overrides = ["progress=quiet" if item in {"-q", "--quiet"} else item for item in arguments]
    settings = [item for item in overrides if item not in _MULTIRUN]
    try:
        if len(settings) < len(overrides):
            return run_sweep(settings)
        refuse_sweep(settings)
        _simulate(settings)
    except WardroundError as error:
        Console(stderr=True, soft_wrap=True).print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped by hand; what was finished is in the run's folder")
        return 130
    return 0


def _simulate(overrides: Sequence[str]) -> None:
    run = compose_run(overrides)
    folder = run_folder(run, f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{run.study.name}")
    where = [f"run_dir={quoted(folder)}"]
    if run.options.resume is None:
        refuse_used_folder(folder)
    else:
        where.append(f"resume={quoted(folder)}")
    judge = Judge(run.study, load_cohorts(run))
    overrides = [*run.overrides, *where]
    recorder, keeper = Recorder(judge, folder), Keeper()
    kind = run.options.tracker
    trackers = [] if kind == "none" else [make_tracker(kind, lambda: recorder.latest)]
    with _logging_to(folder / "run.log"), Display(run.options, lambda: recorder.latest) as display:
        _point_latest(folder)
        try:
            run_study = run_flower if run.options.engine == "flower" else run_inline
            run_study(overrides, len(judge.cohorts), recorder, keeper, display, *trackers)
            summary = complete(keeper.summary, judge, keeper.released)
            write_summary(folder, summary)
            display.say(_result(summary))
            write_model_card(folder, run.study, summary)
            write_samples(folder / "samples.png", judge.cohorts, run.study.task)
            if run.options.compare:
                display.say("the same recipe with each hospital alone, everybody pooled, and without privacy")
                comparison = Comparer(overrides, run, judge.cohorts, folder).compare()
                write_summary(folder, summary.model_copy(update={"comparison": comparison}))
            if run.options.audit:
                display.say("the protection on synthetic patients, and attacks on the released model")
                write_audit(audit_privacy([], folder), folder)
        except KeyboardInterrupt:
            if (folder / "study.json").exists() and not (folder / "summary.json").exists():
                summary = interrupted(run, judge.cohorts, folder)
                write_summary(folder, summary)
                for tracker in trackers:
                    tracker.finished(summary, None)
                display.say(f"to go on with it: ./scripts/simulate resume={quoted(folder)}")
            raise
        finally:
            _leave(folder, display)


def _result(summary: Summary) -> str:
    """What the released model reaches, in a line, and in one more what was promised against whom."""
    pooled = summary.pooled
    paid = spent(summary)
    protection = "no privacy" if paid is None else f"ε = {cost(paid)} {at_delta(summary.privacy.delta)}"
    if pooled is None or pooled.auc is None or pooled.auc_interval is None:
        return (
            f"released {summary.model_version}, {protection}; the test patients are of one class, so it has "
            f"no AUC{_promise(summary)}"
        )
    low, high = pooled.auc_interval
    told = summary.held_out
    counted = "" if told is None or told.auc is None else f", by hospitals' noised counts {told.auc:.3f}"
    return (
        f"released {summary.model_version}: test AUC {pooled.auc:.3f} ({low:.3f}–{high:.3f}){counted}, "
        f"{protection}{_promise(summary)}"
    )


def _promise(summary: Summary) -> str:
    told = in_words(summary.privacy.guarantees)
    return f"\npromised to each patient: {told}" if told else ""


def _leave(folder: Path, display: Display) -> None:
    """Write the report of whatever there is, and say where it lies."""
    if not (folder / "summary.json").exists():
        return
    report = write_report(folder)
    display.say(f"report: {report}")
    sys.stdout.write(f"{folder}\n")


def _point_latest(folder: Path) -> None:
    """Make ``runs/latest`` lead to the run's folder, if that is in ``runs``."""
    if folder.parent.name != "runs":
        return
    latest = folder.parent / "latest"
    if latest.is_symlink() or not latest.exists():
        latest.unlink(missing_ok=True)
        latest.symlink_to(folder.name, target_is_directory=True)


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Keep the sites' and the coordinator's logs with the run, out of the way of its progress.

    Raises:
        StorageError: the run's folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file)
    except OSError as error:
        raise StorageError(f"run_dir={file.parent} cannot be written ({error.strerror})") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("wardround", "flwr")]
    before = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        handler.close()
