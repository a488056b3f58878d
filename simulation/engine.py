"""Run a study in this process, from its overrides."""

import os
from collections.abc import Mapping, Sequence

import torch

from client_app.app import app as client_app
from client_app.data.cohort import load_cohort
from client_app.site import simulated_site
from federation.config import RunConfig
from federation.errors import DataError
from federation.run_config import flower_run_config
from federation.study import TaskSpec
from federation.tasks import Cohort, Examples
from server_app.app import app as server_app
from server_app.listeners import Listener, listening
from simulation.inline_grid import run_apps

_RUN_ID = 1


def load_cohorts(run: RunConfig) -> Mapping[str, Cohort]:
    """Every simulated hospital's patients, by name.

    Raises:
        ConfigError: a hospital's settings are wrong.
        DataError: the data do not have that many hospitals, or are not what the study expects.
    """
    sites = [simulated_site(run.federation, run.site, name) for name in run.federation.sites]
    cohorts = {site.name: load_cohort(site.data, run.study.task) for site in sites}
    for cohort in cohorts.values():
        _check_covariates(cohort.test, run.study.task)
    return cohorts


def _check_covariates(examples: Examples, task: TaskSpec) -> None:
    """Refuse before anything is trained what could not be measured afterwards."""
    for part in (task.baseline, task.stratum):
        if part is not None and part.covariate not in examples.covariates:
            raise DataError(
                f"task {task.name} has no covariate {part.covariate!r} but {sorted(examples.covariates)}; "
                "mend task.baseline or task.stratum"
            )


def run_inline(overrides: Sequence[str], nodes: int, *listeners: Listener) -> None:
    """Run both apps in this process; sites work side by side, one thread each.

    One thread a site, whatever the machine: sums are then taken in the same order, and a seeded run gives the
    same bits on one core as on eight.
    """
    torch.set_num_threads(1)
    with listening(*listeners):
        run_apps(
            server_app,
            client_app,
            flower_run_config(list(overrides)),
            nodes=nodes,
            run_id=_RUN_ID,
            at_once=len(usable_cores()),
        )


def usable_cores() -> set[int]:
    """The cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
