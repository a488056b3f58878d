"""What a researcher's programs need of Flower's insides to follow a run, as ``flwr ls`` and ``log`` do it.

They go through the researcher's tunnel, which is plain HTTP on this machine (flwr 1.41).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Literal, Self

import httpx
from flwr.common.constant import Status, SubStatus
from flwr.proto.control_pb2 import ListRunsRequest, StreamLogsRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from federation.errors import ConfigError
from server_app.control_errors import control_errors

# A run that trains says nothing for minutes; a way that has died without a word says nothing either.
_SECONDS_QUIET = 30.0

_RAISED = "ServerApp failed with exception: "
State = Literal["waiting", "running", "completed", "failed", "stopped"]
_ENDED: dict[str, State] = {
    SubStatus.COMPLETED: "completed",
    SubStatus.FAILED: "failed",
    SubStatus.STOPPED: "stopped",
}


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands, as Flower sees it.

    Attributes:
        details: why it ended, where Flower was told.
    """

    state: State
    details: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing will come any more."""
        return self.state in {"completed", "failed", "stopped"}


class Control:
    """A SuperLink's control API.

    Args:
        where: ``host:port`` of the researcher's tunnel.
        quiet: seconds without a word after which a log is asked for anew.
    """

    def __init__(self, where: str, quiet: float = _SECONDS_QUIET) -> None:
        self._where = where
        self._client = ControlHttpClient(f"http://{where}", interceptors=[_Quiet(quiet)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def status(self, run: int) -> RunStatus:
        """Where ``run`` stands.

        Raises:
            ConfigError: there is no such run.
            RunError: nobody answers, or not as expected.
        """
        with self._told(run):
            told = self._client.ListRuns(ListRunsRequest(run_id=run)).run_dict[run].status
        if told.status == Status.FINISHED:
            return RunStatus(_ENDED.get(told.sub_status, "failed"), told.details.removeprefix(_RAISED))
        return RunStatus("running" if told.status == Status.RUNNING else "waiting")

    def log(self, run: int, after: float) -> Iterator[tuple[str, float]]:
        """Pieces of a run's log, each with the time to name to go on after it.

        It ends with the run, and also where nothing comes for a while.

        Raises:
            ConfigError: as ``status``.
            RunError: as ``status``.
        """
        request = StreamLogsRequest(run_id=run, after_timestamp=after)
        with self._told(run), closing(self._client.StreamLogs(request)) as pieces:
            try:
                for piece in pieces:
                    yield piece.log_output, piece.latest_timestamp
            except httpx.ReadTimeout:
                return

    def _told(self, run: int) -> AbstractContextManager[None]:
        unknown = f"run {run} is none that {self._where} knows; flwr ls shows those that there are"
        return control_errors(
            self._where,
            silent=(f"nobody answers at {self._where}", "see to the tunnel"),
            refuses=(f"the coordinator behind {self._where} refuses", "ask who runs it"),
            known={ApiErrorCode.RUN_ID_NOT_FOUND: ConfigError(unknown)},
        )


class _Quiet:
    """Flower waits for the next piece of a log for ever."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        timeout = context.request.extensions["timeout"]
        if timeout["read"] is None:
            timeout["read"] = self._seconds
        return call_next(context)
