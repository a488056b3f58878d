"""Ask for a study's files until all are there, whatever breaks on the way."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from client_app.data.pacs.dropped import DroppedError, asked
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.listing import Ask, Listed, asks, checked
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.settings import Settings
from client_app.data.pacs.source import StudyRef
from client_app.data.patience import Patience
from client_app.data.refusal import Refused
from federation.errors import RunError


class Transport(Protocol):
    """One way to speak with an archive."""

    def listed(self, study: str) -> list[Listed]:
        """The files that a study consists of.

        Raises:
            DroppedError: the archive did not answer to the end.
            RunError: it will not answer.
        """

    def retrieve(self, ask: Ask, inbox: Inbox) -> None:
        """Have files sent to the inbox.

        Raises:
            DroppedError: the connection ended before its time.
            RunError: the archive will not send them.
            StorageError: the disk did not take one.
        """


def pull(ref: StudyRef, to: Path, transport: Transport, settings: Settings, meter: Meter) -> list[Path]:
    """The paths of all of a study's images; see ``Source.fetch``."""
    meter.study()
    listed = checked(
        asked(lambda: transport.listed(ref.uid), meter.patience(settings.retries)), ref.instances
    )
    images = [file for file in listed if file.is_image]
    meter.left_out(len(listed) - len(images))
    with Inbox.opened(to, ref.uid, images, settings, meter) as inbox:
        reason = _fill(ref, listed, inbox, transport, partial(meter.patience, settings.retries))
        if inbox.in_conflict:
            raise Refused(
                "duplicate-instance",
                "the archive has two different files of one SOP Instance UID in a study; see to the archive, "
                "then remove what has been fetched of it",
            )
        if (missing := len(inbox.missing)) and inbox.refused:
            rule, _ = inbox.refused.most_common(1)[0]
            raise Refused(rule, f"{missing} of a study's {len(images)} files were not taken: {rule}")
        if missing:
            raise RunError(
                f"{missing} of a study's {len(images)} files have not come after retries={settings.retries} "
                f"({reason}); see to the archive and run again, what has come is kept"
            )
        return inbox.paths


def _fill(
    ref: StudyRef, listed: list[Listed], inbox: Inbox, transport: Transport, patience_: Callable[[], Patience]
) -> str:
    """Ask until all are there, or nothing new has come for too long; then, what was wrong last."""
    reason, patience = "it left them out", patience_()
    while (missing := inbox.missing) and not inbox.hopeless:
        wait = None
        for ask in asks(ref.uid, listed, missing):
            before = len(inbox.missing)
            try:
                transport.retrieve(ask, inbox)
            except DroppedError as error:
                reason, wait = str(error), error.wait
                if wait is not None or len(inbox.missing) == before:
                    break  # busy, or nobody there; to wait for each other series in turn would take hours
            finally:
                if inbox.broken:
                    raise inbox.broken
        some_came = len(inbox.missing) < len(missing)
        if some_came:
            patience = patience_()
        if (wait is not None or not some_came) and (inbox.hopeless or not patience.again(reason, wait)):
            break
    return reason
