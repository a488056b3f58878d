"""What another station sends by C-STORE, held against what was asked for (PS3.4, annex B)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from weakref import WeakKeyDictionary

from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.events import Event, EventHandlerType

from client_app.data.pacs.dropped import DroppedError
from client_app.data.pacs.entity import Connections, entity
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.settings import DimseSettings
from client_app.data.pacs.syntaxes import ECHO, SOP_CLASSES, TRANSFER_SYNTAXES
from client_app.data.pacs.tls import server_context
from client_app.data.uid import is_uid
from federation.errors import RunError, StorageError

_SUCCESS, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND, _NOT_AUTHORISED = 0x0000, 0xA700, 0xC000, 0x0124
# PS3.4 table B.2-1 and PS3.7 annex C.
_STATUS = {
    "not-asked-for": _NOT_AUTHORISED,
    "another-study": _NOT_AUTHORISED,
    "sop-class": 0xA900,
    "duplicate-instance": 0x0111,
    "too-large": _OUT_OF_RESOURCES,
}
_MOST_CALLERS = 10  # associations at once
_OVERHEAD = 1 << 20  # bytes of messages around a file
_PREAMBLE = b"\0" * 128 + b"DICM"


def handlers(
    settings: DimseSettings, meter: Meter, inbox: Callable[[], AbstractContextManager[Inbox | None]]
) -> list[EventHandlerType]:
    """For associations that bring files into what ``inbox()`` is at the time, as fast as they may."""
    sizes: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
    most = (settings.instance_mib << 20) + _OVERHEAD

    def count(event: Event) -> None:
        """A message is in memory until it is whole; one that has no end must not be."""
        before = sizes.get(event.assoc, 0)
        sizes[event.assoc] = before + len(event.data)
        if before <= most < sizes[event.assoc]:
            event.assoc.abort()
            with inbox() as into:
                if into:
                    into.refuse("too-large")
        meter.came(len(event.data))  # nothing is read meanwhile, so that the archive has to wait

    def store(event: Event) -> int:
        sizes[event.assoc] = 0
        with inbox() as into:
            return _stored(event, into)

    return [*Connections(settings).handlers, (evt.EVT_DATA_RECV, count), (evt.EVT_C_STORE, store)]


def _stored(event: Event, inbox: Inbox | None) -> int:
    """Take a file into the inbox, if there is one; the status to answer."""
    request = event.request
    if inbox is None or not isinstance(request, C_STORE) or request.DataSet is None:
        return _NOT_AUTHORISED
    announced = str(request.AffectedSOPInstanceUID or "")
    if not is_uid(announced):
        return _NOT_AUTHORISED
    content = (_PREAMBLE, encode_file_meta(event.file_meta), request.DataSet.getbuffer())
    try:
        refusal = inbox.take(content, announced)
    except (StorageError, DroppedError):
        return _OUT_OF_RESOURCES
    return _STATUS.get(refusal.rule, _CANNOT_UNDERSTAND) if refusal else _SUCCESS


class Receiver:
    """Listens for what the archive moves to us: from its AE title only, with its certificate if there is TLS.

    Raises:
        ConfigError: a certificate cannot be used.
        RunError: the port is taken.
    """

    def __init__(self, settings: DimseSettings, meter: Meter) -> None:
        self._lock = Lock()
        self._inbox: Inbox | None = None
        self._entity = entity(settings)
        self._entity.require_called_aet = True
        self._entity.require_calling_aet = [settings.title]
        self._entity.maximum_associations = _MOST_CALLERS
        context = server_context(settings.tls) if settings.tls else None
        syntaxes = list(TRANSFER_SYNTAXES)
        contexts = [*(build_context(name, syntaxes) for name in SOP_CLASSES), build_context(ECHO)]
        try:
            self._entity.start_server(
                ("", settings.own_port or 0),
                block=False,
                contexts=contexts,
                ssl_context=context,
                evt_handlers=handlers(settings, meter, self._at_present),
            )
        except OSError as error:
            raise RunError(
                f"own_port={settings.own_port} cannot be listened on ({error.strerror})"
            ) from error

    @contextmanager
    def into(self, inbox: Inbox) -> Iterator[None]:
        """What comes meanwhile goes there; before and after, nothing is taken."""
        with self._lock:
            self._inbox = inbox
        try:
            yield
        finally:
            with self._lock:
                self._inbox = None

    def close(self) -> None:
        """Stop to listen."""
        self._entity.shutdown()

    @contextmanager
    def _at_present(self) -> Iterator[Inbox | None]:
        with self._lock:
            yield self._inbox
