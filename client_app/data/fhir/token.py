"""OAuth2 client credentials (RFC 6749, section 4.4): a token, fetched when it is needed, and renewed."""

import json
import time

import httpx

from client_app.data.fhir.settings import FhirSettings
from federation.errors import ConfigError
from federation.key_files import read_password

# A token that is about to run out may do so on its way.
_MARGIN_SECONDS = 10.0
_LIFETIME_SECONDS = 300.0  # of a token that does not say
_LONGEST_ANSWER = 1 << 18  # bytes
_LONGEST_SECONDS = 60.0


class Tokens:
    """The token of one client; the secret and the token are in no message and no repr."""

    def __init__(self, settings: FhirSettings) -> None:
        """Read the client's secret.

        Raises:
            DataError: it cannot be read, is empty, or others may read it.
        """
        self._settings = settings
        self._secret = "" if settings.secret_file is None else read_password(settings.secret_file)
        self._token: str | None = None
        self._ends = 0.0

    def forget(self) -> None:
        """The server did not accept the token; the next request gets another one."""
        self._token = None

    def headers(self, http: httpx.Client) -> dict[str, str]:
        """What a request carries; empty where the server wants no token.

        Raises:
            ConfigError: the token server does not accept the client, or does not answer as RFC 6749 says.
            httpx.RequestError: it could not be reached.
            httpx.HTTPStatusError: it has trouble of its own.
        """
        if self._settings.token_url is None:
            return {}
        if self._token is None or time.monotonic() >= self._ends:
            self._token, seconds = self._fetch(http, self._settings.token_url)
            self._ends = time.monotonic() + seconds - _MARGIN_SECONDS
        return {"Authorization": f"Bearer {self._token}"}

    def _fetch(self, http: httpx.Client, url: str) -> tuple[str, float]:
        credentials = httpx.BasicAuth(self._settings.client_id or "", self._secret)
        form, plain = {"grant_type": "client_credentials"}, {"Accept-Encoding": "identity"}
        with http.stream("POST", url, data=form, auth=credentials, headers=plain) as answer:
            if answer.status_code in (400, 401, 403):
                raise ConfigError(
                    f"the token server refuses the client (HTTP {answer.status_code}); see to "
                    "ingest.fhir.client_id and to what secret_file holds"
                )
            answer.raise_for_status()
            body = _beginning(answer)
        try:
            told = json.loads(body)
            token, seconds = told["access_token"], float(told.get("expires_in", _LIFETIME_SECONDS))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            token, seconds = None, 0.0
        # It goes into a header as it is.
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(f"{url} gives no token; see to ingest.fhir.token_url")
        return token, seconds


def _beginning(answer: httpx.Response) -> bytes:
    """All of an answer, or more of it than a token is long."""
    body, started = bytearray(), time.monotonic()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > _LONGEST_ANSWER:
            break
        if time.monotonic() - started > _LONGEST_SECONDS:
            raise httpx.ReadTimeout("a token does not come")
    return bytes(body)
