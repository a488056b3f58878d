"""An archive that speaks DICOMweb: QIDO-RS to find, WADO-RS to fetch (PS3.18, sections 10.4 and 10.6)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from dicomweb_client.uri import URI
from dicomweb_client.web import DICOMwebClient

from client_app.data.pacs.answers import Answer, Question, found
from client_app.data.pacs.dropped import DroppedError, asked
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.listing import Ask, Listed
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.multipart import boundary_of, parts
from client_app.data.pacs.pull import pull
from client_app.data.pacs.settings import DicomwebSettings
from client_app.data.pacs.source import StudyRef, Wanted
from client_app.data.pacs.web import attempt, chunks, session
from client_app.data.patience import CONNECT_SECONDS, GREETING_SECONDS
from federation.errors import RunError

_PAGE = 500
_MOST_PAGES = 1000
# As they are stored: an archive that re-encodes would change what is read, and take its time for it.
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_NOBODYS = "2.25.0"  # the nil UUID, so that whoever asks for it learns of no study

_UID, _SERIES, _SOP_INSTANCE, _SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
_ACCESSION, _MODALITIES, _INSTANCES = "00080050", "00080061", "00201208"
_DATE, _DESCRIPTION = "00080020", "00081030"


class DicomwebSource:
    """See ``Source``. QIDO's JSON is held in memory by the page; files go to the disk as they come.

    Raises:
        ConfigError: a certificate or the credentials cannot be read.
    """

    def __init__(self, settings: DicomwebSettings, meter: Meter) -> None:
        self._settings, self._meter = settings, meter
        self._url = settings.url.rstrip("/")
        self._session = session(settings)
        self._patience = partial(meter.patience, settings.retries)
        self._timeout = (min(CONNECT_SECONDS, settings.timeout), settings.timeout)
        self._client = DICOMwebClient(self._url, session=self._session, timeout=self._timeout)
        self._client.set_http_retry_params(retry=False)  # it does not mind Retry-After

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def greet(self) -> str:
        """See ``Source``."""
        asked(partial(attempt, self._greeting), self._meter.patience(0))
        return "QIDO-RS"

    def find(self, wanted: Wanted) -> Iterator[StudyRef]:
        """See ``Source``."""
        yield from found(wanted, self._answers, self._settings.retries, self._meter)

    def fetch(self, ref: StudyRef, to: Path) -> Iterator[Path]:
        """See ``Source``."""
        yield from pull(ref, to, self, self._settings, self._meter)

    def listed(self, study: str) -> list[Listed]:
        """See ``Transport``."""
        ask = partial(self._client.search_for_instances, study_instance_uid=study)
        return [
            Listed(_first(file, _SOP_INSTANCE), _first(file, _SERIES), _first(file, _SOP_CLASS))
            for file in self._pages(ask, _SOP_INSTANCE)
        ]

    def retrieve(self, ask: Ask, inbox: Inbox) -> None:
        """See ``Transport``."""
        if ask.level != "IMAGE":
            self._receive(URI(self._url, ask.study, ask.series or None), len(ask.files), inbox)
            return
        for file in ask.files:
            self._receive(URI(self._url, ask.study, ask.series, file.uid), 1, inbox)

    def _greeting(self) -> None:
        answer = self._session.get(
            f"{self._url}/studies",
            params={"StudyInstanceUID": _NOBODYS, "limit": "1"},
            headers={"Accept": "application/dicom+json"},
            timeout=(CONNECT_SECONDS, min(GREETING_SECONDS, self._settings.timeout)),
        )
        answer.raise_for_status()
        if not isinstance(answer.json() if answer.content else [], list):
            raise RunError("it does not answer as DICOMweb does; /studies must be below ingest.pacs.url")

    def _receive(self, uri: URI, count: int, inbox: Inbox) -> None:
        """Hand a body's first ``count`` parts to the inbox: more are not asked for, and might have no end."""
        response = attempt(
            self._session.get,
            str(uri),
            headers={"Accept": _ACCEPT},
            stream=True,
            timeout=self._timeout,
        )
        with response:
            attempt(response.raise_for_status)
            boundary = boundary_of(response.headers.get("Content-Type", ""))
            body = self._paced(chunks(response))
            files = parts(body, boundary) if boundary else iter([body])
            for _, file in zip(range(count), files, strict=False):
                refusal = inbox.take(file)
                if refusal and refusal.rule == "too-large":
                    raise DroppedError("it sent a file that is too large")

    def _paced(self, body: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in body:
            self._meter.came(len(chunk))
            yield chunk

    def _answers(self, question: Question) -> Iterator[Answer]:
        fields = [_MODALITIES, _DESCRIPTION, _INSTANCES]
        ask = partial(self._client.search_for_studies, search_filters=question.keys, fields=fields)
        for study in self._pages(ask, _UID):
            yield Answer(
                uid=_first(study, _UID),
                accession=_first(study, _ACCESSION),
                modalities=_all(study, _MODALITIES),
                date=_first(study, _DATE),
                description=_first(study, _DESCRIPTION),
                instances=_first(study, _INSTANCES),
            )

    def _pages(
        self, ask: Callable[..., Sequence[Mapping[str, Any]]], key: str
    ) -> Iterator[Mapping[str, Any]]:
        """All of a search; some archives make pages smaller than asked for, few say how many there are."""
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            page = asked(partial(attempt, ask, limit=_PAGE, offset=len(seen)), self._patience())
            new = {_first(one, key): one for one in page if _first(one, key) not in seen}
            if not new:
                return
            seen.update(new)
            yield from new.values()
        raise RunError(f"a search of the archive has more than {_MOST_PAGES} pages; narrow the query")


def _all(of: Mapping[str, Any], tag: str) -> tuple[str, ...]:
    """The values of an attribute (PS3.18 annex F.2), whatever an archive has put there."""
    attribute = of.get(tag) if isinstance(of, Mapping) else None
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    return (
        tuple(str(value).strip() for value in values if value is not None) if isinstance(values, list) else ()
    )


def _first(of: Mapping[str, Any], tag: str) -> str:
    return next(iter(_all(of, tag)), "")
