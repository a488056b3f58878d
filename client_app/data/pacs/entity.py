"""Us as a DICOM application entity, without a delay in what is sent and with an end to all waiting."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType

from client_app.data.pacs.settings import DimseSettings
from client_app.data.patience import CONNECT_SECONDS

_LONGEST_PDU = 1 << 17


def entity(settings: DimseSettings) -> AE:
    """With the settings' title and patience."""
    made = AE(settings.own_title)
    made.acse_timeout = made.dimse_timeout = made.network_timeout = settings.timeout
    made.connection_timeout = min(CONNECT_SECONDS, settings.timeout)
    made.maximum_pdu_size = _LONGEST_PDU
    return made


class Connections:
    """Handlers that see to the connections of any number of associations.

    A DIMSE message is two small writes, of which TCP holds back the second (Nagle) until the first is
    acknowledged, which the other side delays, by 40 ms each: most of the time that a study takes. Then,
    pynetdicom waits without end for the rest of a message, and leaves open what the other side broke.
    """

    def __init__(self, settings: DimseSettings) -> None:
        self._timeout = settings.timeout
        self._sockets: WeakKeyDictionary[Association, socket.socket] = WeakKeyDictionary()

    @property
    def handlers(self) -> list[EventHandlerType]:
        """To be bound where an association, or a server of such, begins."""
        return [
            (evt.EVT_CONN_OPEN, self._open),
            (evt.EVT_DATA_RECV, self._hasten),
            (evt.EVT_DATA_SENT, self._hasten),
            (evt.EVT_CONN_CLOSE, self._close),
        ]

    def _open(self, event: Event) -> None:
        connection = event.assoc.dul.socket
        if connection and connection.socket:
            self._sockets[event.assoc] = connection.socket
            connection.socket.settimeout(self._timeout)
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._hasten(event)

    def _hasten(self, event: Event) -> None:
        """Acknowledge at once; Linux forgets it with the next write, and elsewhere there is no such thing."""
        if event.assoc in self._sockets and hasattr(socket, "TCP_QUICKACK"):
            with suppress(OSError):  # it may have been closed meanwhile
                self._sockets[event.assoc].setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _close(self, event: Event) -> None:
        if closed := self._sockets.pop(event.assoc, None):
            closed.close()


class _Held(threading.Event):
    """What a thread waits for, whatever others say, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)

    def set(self) -> None:
        pass

    def let_go(self) -> None:
        super().set()


@contextmanager
def undisturbed(association: Association) -> Iterator[None]:
    """Keep an association's own thread from taking answers away from us, who have asked.

    pynetdicom has it wait while we do, but by a flag that can be out of date, and then an answer to C-FIND is
    lost without a word, about once in 200 questions: pydicom/pynetdicom issue 875.
    """
    before, held = association._reactor_checkpoint, _Held()
    association._reactor_checkpoint = held
    while not held.reached.wait(0.01) and association.is_alive():
        pass
    try:
        yield
    finally:
        association._reactor_checkpoint = before
        held.let_go()
