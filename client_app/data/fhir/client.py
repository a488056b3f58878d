"""Search a FHIR R4 server page by page (R4, 3.1.1 and 3.2.1.3), within bounds whatever it answers.

Messages name the kind of resource and the HTTP status, never an address with its query, in which patients'
numbers stand.
"""

import logging
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from client_app.data.fhir.bundle import Json, bundle, matches, next_link
from client_app.data.fhir.settings import FhirSettings
from client_app.data.fhir.token import Tokens
from client_app.data.patience import Patience, Waits, in_silence, retry_after
from federation.errors import ConfigError, DataError, RunError, WardroundError

_RETRIES = 5
_LONGEST_WAIT_SECONDS = 60.0
_PAGE_SECONDS = 300.0
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_MAY_PASS = (429, 500, 502, 503, 504)

# They log every address, and ``next`` links name patients.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class _Trouble:
    """Why there is no answer: what to tell of it, HTTP status, and seconds that the server asks to wait."""

    told: str
    status: int | None = None
    wait: float | None = None


class FhirClient:
    """One hospital's server; a context manager, for use by one thread."""

    def __init__(
        self,
        settings: FhirSettings,
        waits: Waits = in_silence,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open no connection yet.

        Args:
            settings: where the server is and who asks.
            waits: called before each wait for a server that has trouble.
            sleep: waits that many seconds.

        Raises:
            ConfigError: the secret or the authorities cannot be read.
        """
        self._settings = settings
        self._base = httpx.URL(settings.url.rstrip("/") + "/")
        self._tokens = Tokens(settings)
        self._patience = partial(Patience, "the record", _RETRIES, waits, sleep)
        # No redirects, and no proxy of the environment: the token goes where the settings say.
        self._http = httpx.Client(verify=_authorities(settings), timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def search(self, kind: str, parameters: Mapping[str, str]) -> Iterator[Json]:
        """Every resource of a ``kind`` that the server finds; one page is held at a time.

        It asks by POST, so that what is searched for is in no server's log of addresses.

        Raises:
            ConfigError: the server does not accept who asks, or is not as the settings say.
            DataError: an answer is no bundle, pages go round in a circle or on to another server, or there
                are more than the settings allow.
            RunError: the server has trouble, and several tries did not help.
        """
        form = {**parameters, "_count": str(self._settings.page)}
        url = self._base.join(f"{kind}/_search")
        page = self._answer(kind, "POST", url, form)
        links: set[str] = set()
        seen: set[int] = set()
        for _ in range(self._settings.most_pages):
            before, entries = len(seen), 0
            for resource in matches(kind, page):
                entries += 1
                seen.add(hash(resource["id"]))
                if len(seen) > self._settings.most_resources:
                    raise DataError(
                        f"FHIR {kind}: more than {self._settings.most_resources} resources; narrow the "
                        "cohort, or raise ingest.fhir.most_resources"
                    )
                yield resource
            following = next_link(kind, page)
            if following is None:
                return
            url = self._on_this_server(kind, url, following)
            if str(url) in links or (entries and len(seen) == before):
                raise DataError(f"FHIR {kind}: pages go round in a circle; ask the server's vendor")
            links.add(str(url))
            page = self._answer(kind, "GET", url, None)
        raise DataError(
            f"FHIR {kind}: more than {self._settings.most_pages} pages; narrow the cohort, or raise "
            "ingest.fhir.most_pages"
        )

    def _on_this_server(self, kind: str, current: httpx.URL, link: str) -> httpx.URL:
        """The address of the next page; credentials are sent to nobody but the server of the settings."""
        try:
            url = current.join(link)
        except (httpx.InvalidURL, ValueError):
            raise DataError(f"FHIR {kind}: the link to the next page is no address") from None
        if (url.scheme, url.host, url.port, url.userinfo) != (
            self._base.scheme,
            self._base.host,
            self._base.port,
            b"",
        ):
            raise DataError(
                f"FHIR {kind}: the next page is said to be on another server than {self._base.host}, which "
                "is not followed; have the server write its outside address, or see to ingest.fhir.url"
            )
        return url

    def _answer(self, kind: str, method: str, url: httpx.URL, form: Mapping[str, str] | None) -> Json:
        """The bundle at ``url``; a renewed token and several tries where that can help."""
        renewed, patience = False, self._patience()
        while True:
            trouble = self._try(kind, method, url, form)
            if not isinstance(trouble, _Trouble):
                return bundle(kind, trouble)
            if trouble.status == HTTPStatus.UNAUTHORIZED and not renewed:
                renewed = True
                self._tokens.forget()
                continue
            if trouble.status is not None and trouble.status not in _MAY_PASS:
                raise _refusal(kind, trouble.status)
            if trouble.wait is not None and trouble.wait > _LONGEST_WAIT_SECONDS:
                raise RunError(
                    f"FHIR {kind}: {trouble.told}, it asks to wait {trouble.wait:.0f} s; run again then"
                )
            if not patience.again(trouble.told, trouble.wait):
                raise RunError(
                    f"FHIR {kind} at {self._settings.url}: {trouble.told}, {patience.tries} times; see to "
                    "the server and run again"
                )

    def _try(
        self, kind: str, method: str, url: httpx.URL, form: Mapping[str, str] | None
    ) -> "bytes | _Trouble":
        headers = {
            "Accept": "application/fhir+json",
            "Accept-Encoding": "gzip",
            "Prefer": "handling=strict",
        }
        try:
            headers |= self._tokens.headers(self._http)
            with self._http.stream(method, url, data=form, headers=headers) as answer:
                return self._body(kind, answer) if answer.is_success else _trouble(answer)
        except httpx.HTTPStatusError as error:  # of the token server
            return _trouble(error.response)
        except httpx.ConnectError as error:
            return _Trouble(f"no connection ({error})")
        except httpx.RequestError as error:  # its text may hold some of an answer
            return _Trouble(type(error).__name__)

    def _body(self, kind: str, answer: httpx.Response) -> bytes:
        """The unpacked content, which may be no larger and no slower than is sensible."""
        packed = answer.headers.get("content-encoding", "identity").lower()
        if packed not in ("gzip", "identity"):  # of two at once no limit of one is kept
            raise DataError(f"FHIR {kind}: an answer is packed by something else than gzip; ask its vendor")
        most, started = self._settings.most_page_mib * 2**20, time.monotonic()
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if packed == "gzip" else None
        body, came = bytearray(), 0
        # As it comes: gzip may go on without end and unpack to nothing, which iter_bytes does not show.
        for chunk in answer.iter_raw():
            came += len(chunk)
            try:
                body += unpack.decompress(chunk, most + 1 - len(body)) if unpack else chunk
            except zlib.error:
                raise httpx.DecodingError("an answer cannot be unpacked") from None
            if max(came, len(body)) > most:
                raise DataError(
                    f"FHIR {kind}: a page of more than {self._settings.most_page_mib} MiB; lower "
                    "ingest.fhir.page"
                )
            if time.monotonic() - started > _PAGE_SECONDS:
                raise RunError(
                    f"FHIR {kind}: a page takes more than {_PAGE_SECONDS:.0f} s; lower ingest.fhir.page"
                )
        return bytes(body)


def _authorities(settings: FhirSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"ingest.fhir.ca_file={settings.ca_file} cannot be used ({error.strerror or error}); it holds "
            "the authorities' certificates as PEM"
        ) from error


def _refusal(kind: str, status: int) -> WardroundError:
    if status in (401, 403):
        return ConfigError(
            f"FHIR {kind}: the server refuses who asks (HTTP {status}); have it allow the client of "
            "ingest.fhir.client_id to search for this kind of resource"
        )
    if 300 <= status < 400:
        return ConfigError(f"FHIR {kind}: the server is elsewhere (HTTP {status}); see to ingest.fhir.url")
    return ConfigError(
        f"FHIR {kind}: the server does not take the search (HTTP {status}); is ingest.fhir.url the base of "
        "an R4 server that searches by POST?"
    )


def _trouble(answer: httpx.Response) -> _Trouble:
    wait = retry_after(answer.headers.get("retry-after", ""))
    return _Trouble(f"HTTP {answer.status_code}", answer.status_code, wait)
