"""Us as a DICOM application entity, with an end to all waiting and without a delay in what is sent."""

import socket
from contextlib import suppress

from pynetdicom import AE, evt
from pynetdicom.events import Event, EventHandlerType

from client_app.data.pacs.settings import DimseSettings

_LONGEST_PDU = 1 << 17


def entity(settings: DimseSettings) -> AE:
    """With the settings' title and patience."""
    made = AE(settings.own_title)
    made.acse_timeout = made.dimse_timeout = made.network_timeout = settings.timeout
    made.connection_timeout = settings.timeout
    made.maximum_pdu_size = _LONGEST_PDU
    return made


def without_delay() -> list[EventHandlerType]:
    """Handlers for any association.

    A DIMSE message is two small writes, of which TCP holds back the second (Nagle) until the first is
    acknowledged, which the other side delays, by 40 ms each: most of the time that a study takes.
    """
    return [
        (evt.EVT_CONN_OPEN, _send_at_once),
        (evt.EVT_DATA_RECV, _acknowledge_at_once),
        (evt.EVT_DATA_SENT, _acknowledge_at_once),
    ]


def _send_at_once(event: Event) -> None:
    _set(event, "TCP_NODELAY")
    _acknowledge_at_once(event)


def _acknowledge_at_once(event: Event) -> None:
    """Linux forgets it with what is received or sent, so each time anew; elsewhere there is no such thing."""
    _set(event, "TCP_QUICKACK")


def _set(event: Event, option: str) -> None:
    connection = event.assoc.dul.socket
    if connection and connection.socket and hasattr(socket, option):
        with suppress(OSError):  # it may have been closed meanwhile
            connection.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), 1)
