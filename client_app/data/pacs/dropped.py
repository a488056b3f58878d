"""What breaks on the way, and may not the next time."""

from collections.abc import Callable
from typing import TypeVar

from client_app.data.patience import Patience
from federation.errors import RunError

Value = TypeVar("Value")


class DroppedError(Exception):
    """A connection ended, or brought nothing more in time; what is missing is asked for again.

    It never leaves this package, and names nobody.

    Attributes:
        wait: seconds that the archive asks to wait; None where it does not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def asked(ask: Callable[[], Value], patience: Patience) -> Value:
    """What ``ask`` returns, which is called again where the archive drops it.

    Raises:
        RunError: it does so each time.
    """
    while True:
        try:
            return ask()
        except DroppedError as error:
            reason, wait = str(error), error.wait
        if not patience.again(reason, wait):
            times = f", {patience.tries} times" if patience.tries > 1 else ""
            raise RunError(
                f"the archive of ingest.pacs cannot be asked ({reason}{times}); see to it and run again: "
                "it goes on where this was"
            )
