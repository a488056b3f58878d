"""Somebody who sees all hospitals' patients at once, which only a simulation has."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from client_app.custodian.in_process import steps_charged
from client_app.training.evaluation import scores_of
from federation.config import RunConfig
from federation.errors import RunError
from federation.files import append_line, write_whole
from federation.messages import Parameters
from federation.models import build_network, set_parameters
from federation.promise import epsilon_after
from federation.stored_models import Manifest
from federation.study import Study
from federation.tasks import Cohort, pool
from server_app.listeners import Listener
from server_app.membership import Membership
from server_app.record import EvaluationLine, Measurement, RoundLine, SiteSummary, Summary
from server_app.statement import privacy_statement
from simulation.measure import measure


class Judge:
    """Measures models of one study on the test patients of its hospitals."""

    def __init__(self, study: Study, cohorts: Mapping[str, Cohort]) -> None:
        self._study = study
        self.cohorts = cohorts
        self._everybody = pool([cohort.test for cohort in cohorts.values()])
        self._network = build_network(study.model, study.task)

    def judge(self, parameters: Parameters) -> tuple[Measurement, dict[str, Measurement]]:
        """The model on all hospitals' test patients together, and on each hospital's."""
        set_parameters(self._network, parameters)
        scores = {
            site: scores_of(self._study, self._network, cohort.test) for site, cohort in self.cohorts.items()
        }
        everybody = np.concatenate(list(scores.values()))
        return (
            measure(everybody, self._everybody, self._study.task.stratum),
            {site: measure(scores[site], cohort.test) for site, cohort in self.cohorts.items()},
        )

    def baselines(self) -> dict[str, Measurement]:
        """What the task's trivial classifier does: a covariate's size alone."""
        baseline = self._study.task.baseline
        if baseline is None:
            return {}
        scores = np.asarray(self._everybody.covariates[baseline.covariate])
        spec = self._study.task.stratum
        return {baseline.label: measure(scores, self._everybody, spec, as_probability=False)}


class Keeper(Listener):
    """The listener that keeps what a run ends with."""

    def __init__(self) -> None:
        self._summary: Summary | None = None
        self._released: Parameters | None = None

    def finished(self, summary: Summary, parameters: Parameters | None) -> None:
        """Keep both."""
        self._summary, self._released = summary, parameters

    @property
    def summary(self) -> Summary:
        """The summary of the run.

        Raises:
            RunError: the run has not ended.
        """
        if self._summary is None:
            raise RunError("the run has not ended, so there is no summary")
        return self._summary

    @property
    def released(self) -> Parameters:
        """The released model, float32 ``[all]``.

        Raises:
            RunError: the run has released none.
        """
        if self._released is None:
            raise RunError("the run has released no model")
        return self._released


class Recorder(Listener):
    """The listener that adds what a judge sees of each round's model to ``metrics.jsonl``.

    Args:
        judge: measures.
        folder: the run's.
    """

    def __init__(self, judge: Judge, folder: Path) -> None:
        self._judge = judge
        self._folder = folder
        self._recorded: dict[int, EvaluationLine] = {}
        self.latest: EvaluationLine | None = None

    def started(self, study: Study, folder: Path, membership: Membership, initial: Parameters) -> None:  # noqa: ARG002
        """Measure the initial model, so that it can be seen what the patients' data add."""
        self._recorded = _evaluations(folder)
        self._record(0, initial)

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:
        """Measure the round's model."""
        self._record(line.round, parameters)

    def finished(self, summary: Summary, parameters: Parameters | None) -> None:  # noqa: ARG002
        """Say in the record that it was a simulation, however it ended."""
        write_summary(self._folder, summary.model_copy(update={"simulation": True}))

    def _record(self, round_number: int, parameters: Parameters) -> None:
        if round_number in self._recorded:  # before the run was broken off
            self.latest = self._recorded[round_number]
            return
        pooled, sites = self._judge.judge(parameters)
        self.latest = EvaluationLine(round=round_number, pooled=pooled, sites=sites)
        append_line(self._folder / "metrics.jsonl", self.latest.model_dump_json())


def _evaluations(folder: Path) -> dict[int, EvaluationLine]:
    """What stands in ``metrics.jsonl`` of models measured, by round."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    found = [EvaluationLine.model_validate_json(line) for line in lines if b'"event":"evaluation"' in line]
    return {line.round: line for line in found}


def complete(summary: Summary, judge: Judge, released: Parameters) -> Summary:
    """``summary`` with what only a simulation knows: true counts, and the released model's measurements."""
    pooled, measured = judge.judge(released)
    sites = {
        name: site.model_copy(
            update={
                "patients": judge.cohorts[name].train.patient_count,
                "auc": measured[name].auc,
                "auc_interval": measured[name].auc_interval,
                "measurement": measured[name],
            }
        )
        for name, site in summary.sites.items()
    }
    return summary.model_copy(
        update={
            "simulation": True,
            "sites": sites,
            "pooled": pooled,
            "baselines": judge.baselines(),
        }
    )


def interrupted(run: RunConfig, cohorts: Mapping[str, Cohort], folder: Path) -> Summary:
    """The summary of a run that was stopped before it could write one, from what it has left in ``folder``.

    The steps are those that the hospitals themselves have charged.
    """
    study, begun = run.study, (folder / "study.json").stat().st_mtime
    steps = {name: steps_charged(run, folder, name) for name in cohorts}
    lines = (folder / "metrics.jsonl").read_bytes().splitlines()
    rounds = [RoundLine.model_validate_json(line) for line in lines if json.loads(line)["event"] == "round"]
    manifests = [folder / "models" / f"round-{line.round:03d}.json" for line in rounds]
    return Summary(
        study=study.name,
        title=study.title,
        study_id=study.id,
        model_version=Manifest.model_validate_json(manifests[-1].read_bytes()).version if manifests else "",
        status="interrupted",
        reason="stopped by hand",
        started=datetime.fromtimestamp(begun, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.time() - begun, 3),
        rounds=study.rounds,
        simulation=True,
        seed=run.options.seed,
        classes=study.task.classes,
        rendered=study.task.rendered,
        privacy=privacy_statement(study, run.options.seed),
        start_from=study.start_from,
        sites={
            name: SiteSummary(
                description=cohort.description,
                patients=cohort.train.patient_count,
                steps=steps[name],
                rounds=sum(name in line.participants for line in rounds),
                epsilon=epsilon_after(study, steps[name]),
                delta=study.privacy.delta,
            )
            for name, cohort in cohorts.items()
            if steps[name]
        },
    )


def write_summary(folder: Path, summary: Summary) -> None:
    """Replace ``summary.json``."""
    write_whole(folder / "summary.json", summary.model_dump_json(indent=2).encode())
