"""A run that goes on in another process, told from the record that it writes."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from federation.config import RunConfig
from federation.errors import RunError
from federation.files import write_whole
from federation.models import build_network, layout_of
from server_app.initial_model import initial_model
from server_app.listeners import Listener
from server_app.membership import Membership
from server_app.record import RoundLine, Summary
from server_app.registry import Registry


class Follower:
    """Tells listeners of a run what the run itself would tell them.

    Args:
        run: what runs.
        folder: the run's.
        listeners: who is told. What they add to ``metrics.jsonl`` is put in order by ``sort``.
    """

    def __init__(self, run: RunConfig, folder: Path, listeners: Sequence[Listener]) -> None:
        self._study = run.study
        self._models = Path(run.options.models)
        self._folder = folder
        self._listeners = listeners
        layout = layout_of(build_network(run.study.model, run.study.task))
        self._registry = Registry(folder, run.study, layout)
        self._read = 0

    def begin(self) -> None:
        """Tell of the start; the initial model is then in the cache, where the run finds it."""
        for listener in self._listeners:
            listener.preparing(self._study)
        initial = initial_model(self._study, self._models)
        for listener in self._listeners:
            listener.started(self._study, self._folder, Membership({}, {}), initial)

    @property
    def begun(self) -> bool:
        """Whether the run has written anything."""
        return (self._folder / "study.json").exists()

    def follow(self) -> None:
        """Tell of the rounds that have finished since."""
        for line in self._new_lines():
            if json.loads(line)["event"] == "round":
                entry = RoundLine.model_validate_json(line)
                model = self._registry.read(entry.round)
                for listener in self._listeners:
                    listener.round_finished(entry, model)

    def end(self) -> None:
        """Tell of the end.

        Raises:
            RunError: the run failed, or ended without a record.
        """
        path = self._folder / "summary.json"
        if not path.exists():
            raise RunError(f"the run ended without a summary; see {self._folder / 'run.log'}")
        summary = Summary.model_validate_json(path.read_bytes())
        completed = summary.status == "completed"
        for listener in self._listeners:
            listener.finished(summary, self._registry.read(None) if completed else None)
        if not completed:
            raise RunError(summary.reason)

    def sort(self) -> None:
        """Put ``metrics.jsonl`` in order: a round, then what its model reaches."""
        path = self._folder / "metrics.jsonl"
        if not path.exists():
            return
        lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        lines.sort(key=_place)
        write_whole(path, b"".join(lines))

    def _new_lines(self) -> Iterator[bytes]:
        path = self._folder / "metrics.jsonl"
        content = path.read_bytes()[self._read :] if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        yield from whole.splitlines()


def _place(line: bytes) -> tuple[int, bool]:
    entry = json.loads(line)
    return entry["round"], entry["event"] == "evaluation"
