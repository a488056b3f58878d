"""A run as TensorBoard or MLflow shows it; neither is needed, and neither can break a run.

Both get the same: the study's settings once, and after each round how many took part, how long it took, the
largest ε so far, and in a simulation the AUC on all hospitals' test patients and on each one's.
"""

import importlib
import json
import logging
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from federation.errors import ConfigError
from federation.messages import Parameters
from federation.study import Study
from server_app.listeners import Listener
from server_app.membership import Membership
from server_app.record import EvaluationLine, RoundLine, Summary

Kind = Literal["tensorboard", "mlflow"]
Latest = Callable[[], EvaluationLine | None]

logger = logging.getLogger("wardround.trackers")


class Tracker(Listener, ABC):
    """What both kinds have in common.

    Args:
        latest: gives the measurement of the round that has just finished; None where nobody measures.
    """

    def __init__(self, latest: Latest) -> None:
        self._latest = latest
        self._alive = False

    @abstractmethod
    def begin(self, study: Study, folder: Path) -> None:
        """Open the record of a run in ``folder``, and note the study's settings in it."""

    @abstractmethod
    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a round."""

    @abstractmethod
    def end(self, status: str) -> None:
        """Close the record; ``status`` is the summary's."""

    def started(self, study: Study, folder: Path, membership: Membership, initial: Parameters) -> None:  # noqa: ARG002
        """Begin, with what the initial model reaches.

        Raises:
            ConfigError: nothing can be recorded there; better said now than after the run.
        """
        try:
            self.begin(study, folder)
        except Exception as error:
            raise ConfigError(f"the tracker cannot begin ({error}); mend it or say tracker=none") from error
        self._alive = True
        self._try(lambda: self._note_areas(0))

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:  # noqa: ARG002
        """Add a round."""
        costs = [epsilon for epsilon in line.epsilon.values() if epsilon is not None]
        values = {"round/participants": float(len(line.participants)), "round/seconds": line.seconds}
        if costs:
            values["epsilon/largest"] = max(costs)
        self._try(lambda: self.note(line.round, values))
        self._try(lambda: self._note_areas(line.round))

    def finished(self, summary: Summary, parameters: Parameters | None) -> None:  # noqa: ARG002
        """Close the record."""
        self._try(lambda: self.end(summary.status))

    def _note_areas(self, round_number: int) -> None:
        latest = self._latest()
        if latest is None or latest.round != round_number:
            return
        areas = {"pooled": latest.pooled.auc, **{name: site.auc for name, site in latest.sites.items()}}
        known = {f"auc/{name}": area for name, area in areas.items() if area is not None}
        if known:
            self.note(round_number, known)

    def _try(self, do: Callable[[], None]) -> None:
        """A server that goes away in the middle must not cost the hospitals their run."""
        if not self._alive:
            return
        try:
            do()
        except Exception as error:
            self._alive = False
            logger.warning("the tracker stops, the run goes on: %s", error)


class TensorBoard(Tracker):
    """Event files in ``tensorboard/`` of the run's folder, for ``tensorboard --logdir runs``."""

    def begin(self, study: Study, folder: Path) -> None:
        """See the class."""
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))
        rows = "\n".join(f"| {name} | {value} |" for name, value in settings_of(study).items())
        self._writer.add_text("study", f"| setting | value |\n|---|---|\n{rows}", 0)
        self._writer.flush()

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """See the class."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, status: str) -> None:
        """See the class."""
        self._writer.add_text("status", status, 0)
        self._writer.close()


class Mlflow(Tracker):
    """A run at ``MLFLOW_TRACKING_URI``, or without it in a database in ``mlruns/`` of the run's folder.

    ``mlflow ui --backend-store-uri sqlite:///<run>/mlruns/mlflow.db`` of the full MLflow shows the latter.
    """

    def begin(self, study: Study, folder: Path) -> None:
        """See the class."""
        with _quiet_mlflow():
            from mlflow import MlflowClient  # noqa: PLC0415

            uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
            if not uri:
                store = folder.absolute() / "mlruns"
                store.mkdir(parents=True, exist_ok=True)
                uri, artifacts = f"sqlite:///{store / 'mlflow.db'}", (store / "artifacts").as_uri()
            self._client: Any = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(study.name)
            experiment = (
                known.experiment_id
                if known
                else self._client.create_experiment(study.name, artifact_location=artifacts)
            )
            self._run: str = self._client.create_run(experiment, run_name=folder.name).info.run_id
            for name, value in settings_of(study).items():
                self._client.log_param(self._run, name, value)

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """See the class."""
        from mlflow.entities import Metric  # noqa: PLC0415

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        with _quiet_mlflow():
            self._client.log_batch(self._run, metrics=metrics)

    def end(self, status: str) -> None:
        """See the class."""
        ending = {"completed": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED")
        with _quiet_mlflow():
            self._client.set_terminated(self._run, ending)


_KINDS: dict[Kind, tuple[str, type[Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "mlflow": ("mlflow", Mlflow),
}


def make_tracker(kind: Kind, latest: Latest) -> Tracker:
    """The tracker of that name, once it is clear that its library is there.

    Args:
        kind: which.
        latest: gives the measurement of the round that has just finished.

    Raises:
        ConfigError: its library is not installed.
    """
    module, tracker = _KINDS[kind]
    try:
        with _quiet_mlflow():
            importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"tracker={kind} needs a library that is not there ({error}); pip install 'wardround[{kind}]'"
        ) from error
    return tracker(latest)


def settings_of(study: Study) -> dict[str, str]:
    """The study's settings by dotted name, as JSON; texts as they are."""
    values: dict[str, str] = {"study_id": study.id}
    _flatten(json.loads(study.canonical_json), "", values)
    return values


def _flatten(part: Mapping[str, Any], prefix: str, into: dict[str, str]) -> None:
    for name, value in part.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", into)
        else:
            into[prefix + name] = value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """MLflow tells nobody that it is used, waits only briefly for a server, and keeps to itself."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # MLflow's database layer, with SQLAlchemy 2.1.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated")
        yield
