"""Who is told how a run goes: by default the coordinator's report, in a simulation whoever runs it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from federation.messages import Parameters
from federation.study import Study
from server_app.membership import Membership
from server_app.record import RoundLine, Summary


class Listener:
    """Told about a run as it goes; what it does changes nothing of the run. By default it does nothing."""

    def preparing(self, study: Study) -> None:
        """The hospitals have come; now the initial model is made, which may take a while."""

    def started(self, study: Study, folder: Path, membership: Membership, initial: Parameters) -> None:
        """Round 1 will start from ``initial``, float32 ``[all]``."""

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:
        """A round has given the model ``parameters``, float32 ``[all]``."""

    def finished(self, summary: Summary, parameters: Parameters | None) -> None:
        """The run is over and on disk; ``parameters`` are the released model, None where there is none."""


_listeners: ContextVar[Sequence[Listener] | None] = ContextVar("listeners", default=None)


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Have ``listeners`` told about the runs inside the ``with`` block, instead of the default ones."""
    token = _listeners.set(listeners)
    try:
        yield
    finally:
        _listeners.reset(token)


def current_listeners(otherwise: Sequence[Listener]) -> Sequence[Listener]:
    """Those of the surrounding ``listening``, or else ``otherwise``."""
    told = _listeners.get()
    return otherwise if told is None else told
