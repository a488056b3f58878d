"""``./scripts/simulate --multirun``: the same study with several values of some settings, side by side."""

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from rich.console import Console

from client_app.site import simulated_site
from federation.config import RunConfig, compose_run, run_folder
from federation.errors import ConfigError, MessageError, WardroundError
from federation.files import write_whole
from federation.overrides import quoted, setting_of
from server_app.initial_model import initial_model
from server_app.record import Measurement
from server_app.report.reading import read_run
from simulation.engine import load_cohorts
from simulation.sweep.expansion import Settings, expand, folder_names
from simulation.sweep.record import JobRecord, SweepRecord
from simulation.sweep.report import write_sweep_report
from simulation.sweep.workers import Ended, Work, core_shares, run_all

Argument = TypeVar("Argument")

_LOG = "run.log"
# What a run is told by the sweep, which keeps what it was itself told.
_OWN = ("run_dir", "progress")


@dataclass(frozen=True)
class Job:
    """One run of a sweep, checked and not yet run; ``overrides`` leave out where it goes."""

    folder: str
    settings: Settings
    overrides: tuple[str, ...]
    run: RunConfig


def run_sweep(overrides: Sequence[str]) -> int:
    """Run every combination of the values in ``overrides``; returns 1 if any of the runs failed, else 0.

    Raises:
        ConfigError: one of the runs is not described rightly; none has been begun.
        StorageError: the disk did not take the record.
        KeyboardInterrupt: stopped by hand; the record and the report say what was finished.
    """
    jobs = plan(overrides)
    studies = dict.fromkeys(job.run.study.name for job in jobs)
    folder = run_folder(jobs[0].run, f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-sweep-{'-'.join(studies)}")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"run_dir={folder} is not empty; choose another folder")
    quiet = any(job.run.options.progress == "quiet" for job in jobs)
    return Sweep(jobs, folder, Console(quiet=quiet, highlight=False, soft_wrap=True)).execute()


def plan(overrides: Sequence[str]) -> list[Job]:
    """Every run of the sweep, composed and validated, so that a mistake in the last stops even the first.

    Raises:
        ConfigError: a setting or its value is wrong, or cannot be swept.
    """
    keys = [setting_of(override) for override in overrides]
    if "resume" in keys:
        raise ConfigError("resume continues a single run; leave it out, or leave out --multirun")
    # What each run would be compared with takes several times as long as the run, its audit as long again.
    left_out = [f"{key}=false" for key in ("compare", "audit") if key not in keys]
    combinations = expand([*overrides, *left_out])
    names = folder_names([settings for settings, _ in combinations])
    jobs = [
        Job(name, settings, tuple(line for line in lines if setting_of(line) not in _OWN), compose_run(lines))
        for name, (settings, lines) in zip(names, combinations, strict=True)
    ]
    for job in jobs:
        for name in job.run.federation.sites:
            simulated_site(job.run.federation, job.run.site, name)
    return jobs


class Sweep:
    """The runs of a sweep, and the record of how they went.

    Args:
        jobs: what to run.
        folder: where the record, the report and the runs' own folders go.
        console: takes a line as each run ends.
    """

    def __init__(self, jobs: Sequence[Job], folder: Path, console: Console) -> None:
        self._jobs = jobs
        self._folder = folder
        self._console = console
        self._clock = time.monotonic()
        self._records = {number: _planned(job) for number, job in enumerate(jobs)}
        self._ended = 0
        self._interrupted = False
        self._fixed = {
            "titles": tuple(dict.fromkeys(job.run.study.title for job in jobs)),
            "swept": {key: tuple(dict.fromkeys(j.settings[key] for j in jobs)) for key in jobs[0].settings},
            "at_once": len(core_shares(len(jobs))),
            "rendered": any(job.run.study.task.rendered for job in jobs),
            "started": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }

    def execute(self) -> int:
        """Run all; see ``run_sweep``."""
        self._write()
        self._console.print(
            f"{len(self._jobs)} runs, {self._fixed['at_once']} at once, in {self._folder}", markup=False
        )
        try:
            prepare([job.run for job in self._jobs])
            run_all([self._work(job) for job in self._jobs], self._end)
        except KeyboardInterrupt:
            self._interrupted = True
            raise
        finally:
            report = write_sweep_report(self._folder, self._write())
            self._console.print(f"report: {report}", markup=False)
            sys.stdout.write(f"{self._folder}\n")
        return int(any(record.status == "failed" for record in self._records.values()))

    def _work(self, job: Job) -> Work:
        folder = self._folder / job.folder
        return Work([*job.overrides, f"run_dir={quoted(folder)}", "progress=quiet"], folder / _LOG)

    def _end(self, number: int, ended: Ended | None) -> None:
        """Put down how a run ended, and say it."""
        job = self._jobs[number]
        record = self._records[number] = self._outcome(self._records[number], ended)
        self._write()
        if ended is None:
            return
        self._ended += 1
        result = record.status if record.measured is None else _result(record.measured)
        line = f"{self._ended}/{len(self._jobs)}  {job.folder}  {result}  {ended.seconds:.0f} s"
        self._console.print(line, markup=False)
        if record.status == "failed":
            problem = f"{job.folder}: {record.reason}; see {self._folder / job.folder / _LOG}"
            Console(stderr=True, soft_wrap=True, highlight=False).print(problem, markup=False)

    def _outcome(self, record: JobRecord, ended: Ended | None) -> JobRecord:
        if ended is None:
            return record.model_copy(update={"status": "not run"})
        folder = self._folder / record.folder
        when = {"began": round(ended.began - self._clock, 3), "seconds": round(ended.seconds, 3)}
        if ended.code == 130:
            return record.model_copy(update={**when, "status": "interrupted"})
        try:
            if ended.code != 0:
                raise MessageError(_reason(ended.code, folder / _LOG))
            measured = read_run(folder).summary.pooled
        except MessageError as error:
            return record.model_copy(update={**when, "status": "failed", "reason": str(error)})
        # The curve stands in the run's own record.
        small = measured.model_copy(update={"roc": None}) if measured else None
        return record.model_copy(update={**when, "status": "completed", "measured": small})

    def _write(self) -> SweepRecord:
        """``sweep.json`` as things stand."""
        if self._interrupted:
            for number, record in self._records.items():
                if record.status == "waiting":
                    self._records[number] = record.model_copy(update={"status": "not run"})
        sweep = SweepRecord.model_validate(
            {
                **self._fixed,
                "seconds": round(time.monotonic() - self._clock, 3),
                "jobs": tuple(self._records.values()),
            }
        )
        write_whole(self._folder / "sweep.json", sweep.model_dump_json(indent=2).encode())
        return sweep


def _planned(job: Job) -> JobRecord:
    return JobRecord(
        folder=job.folder,
        settings=dict(job.settings),
        overrides=job.overrides,
        epsilon=job.run.study.privacy.epsilon,
        distributed=job.run.study.privacy.mode == "distributed",
        delta=job.run.study.privacy.delta,
        seed=job.run.options.seed,
        hospitals=len(job.run.federation.sites),
    )


def _result(measured: Measurement) -> str:
    if measured.auc is None or measured.auc_interval is None:
        return "no AUC"
    low, high = measured.auc_interval
    return f"AUC {measured.auc:.3f} ({low:.3f}–{high:.3f})"


def _reason(code: int, log: Path) -> str:
    """Why a run ended with an exit code other than 0: the last line that it left."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}"


def prepare(runs: Sequence[RunConfig]) -> None:
    """Make once, and keep in the cache, what several runs would else make at the same time."""
    # As the runs do: the sums of another number of threads would differ in their last bits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in _shared(runs, lambda run: [run.study.task, run.federation.sites, run.site]):
            _attempt(load_cohorts, run)
        for run in _shared(runs, lambda run: [run.study.task, run.study.model, run.study.pretraining]):
            _attempt(initial_model, run.study)
    finally:
        torch.set_num_threads(threads)


def _attempt(make: Callable[[Argument], object], argument: Argument) -> None:
    # The run that needs it fails in the same way, and is the one to say so.
    with suppress(WardroundError):
        make(argument)


def _shared(runs: Sequence[RunConfig], parts: Callable[[RunConfig], list[Any]]) -> list[RunConfig]:
    """One run for each value of ``parts`` that several have."""
    keys = [json.dumps(parts(run), sort_keys=True, default=_plain) for run in runs]
    counts = Counter(keys)
    return [run for key, run in dict(zip(keys, runs, strict=True)).items() if counts[key] > 1]


def _plain(value: BaseModel) -> Any:
    return value.model_dump(mode="json")
