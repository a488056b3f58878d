"""Ask for a study's files until all are there, whatever breaks on the way."""

import time
from pathlib import Path
from typing import Protocol

from client_app.data.pacs.dropped import DroppedError
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.listing import Ask, Listed, asks, checked
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.settings import Settings
from client_app.data.pacs.source import StudyRef
from client_app.data.refusal import Refused
from federation.errors import RunError

_LONGEST_PAUSE = 30.0  # seconds


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
    listed = _all_listed(ref, transport, settings.retries)
    images = [file for file in listed if file.is_image]
    meter.left_out(len(listed) - len(images))
    with Inbox.opened(to, ref.uid, images, settings, meter) as inbox:
        reason = _fill(ref, listed, inbox, transport, settings.retries)
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


def _all_listed(ref: StudyRef, transport: Transport, retries: int) -> list[Listed]:
    for attempt in range(retries + 1):
        _pause(attempt)
        try:
            return checked(transport.listed(ref.uid), ref.instances)
        except DroppedError as error:
            reason = str(error)
    raise RunError(f"the archive does not list a study's files ({reason}); see to it and run again")


def _fill(ref: StudyRef, listed: list[Listed], inbox: Inbox, transport: Transport, retries: int) -> str:
    """Ask until all are there, or nothing new came ``retries`` times in a row; then, what was wrong last."""
    reason, idle = "it left them out", 0
    while (missing := inbox.missing) and idle <= retries and not inbox.hopeless:
        _pause(idle)
        for ask in asks(ref.uid, listed, missing):
            before = len(inbox.missing)
            try:
                transport.retrieve(ask, inbox)
            except DroppedError as error:
                reason = str(error)
                if len(inbox.missing) == before:
                    break  # nobody there; to wait for each of the other series in turn would take hours
            finally:
                if inbox.broken:
                    raise inbox.broken
        idle = idle + 1 if len(inbox.missing) == len(missing) else 0
    return reason


def _pause(attempt: int) -> None:
    """Before the first attempt none, then twice as long each time."""
    if attempt:
        time.sleep(min(2.0 ** (attempt - 2), _LONGEST_PAUSE))
