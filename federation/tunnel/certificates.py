"""What the tunnel shows and whom it believes, read anew for each connection."""

import ssl
from collections.abc import Callable
from pathlib import Path

from federation.errors import DataError


class Renewed:
    """A TLS context from files that may be replaced at any time.

    While they do not fit each other, as in the middle of a renewal, the last that did are used.

    Args:
        build: makes the context from the files.
        complain: is told what is wrong with them.
    """

    def __init__(self, build: Callable[[], ssl.SSLContext], complain: Callable[[str], None]) -> None:
        self._build = build
        self._complain = complain
        self._last = build()

    def now(self) -> ssl.SSLContext:
        """The context for the next connection."""
        try:
            self._last = self._build()
        except DataError as error:
            self._complain(f"{error}; what was read before is still used")
        return self._last


def towards_coordinator(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Shows the client certificate, and believes only whom ``authority`` has signed, by name.

    Raises:
        DataError: a file is missing or is none, or key and certificate do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # wants a certificate, and its name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(authority)
    except OSError as error:
        raise DataError(
            f"{authority} is no certificate that can be read ({_said(error)}); install it again"
        ) from error
    return _with_own(context, certificate, key)


def towards_supernode(certificate: Path, key: Path) -> ssl.SSLContext:
    """Shows the gateway's own certificate; a SuperNode has none to ask for.

    Raises:
        DataError: as ``towards_coordinator``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # each connection shows that it knows the certificate of now
    return _with_own(context, certificate, key)


def _with_own(context: ssl.SSLContext, certificate: Path, key: Path) -> ssl.SSLContext:
    try:
        # A key with a passphrase would ask for it on a terminal that nobody looks at.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{certificate} and {key} are no certificate and its key ({_said(error)}); install the kit again"
        ) from error
    return context


def _said(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)
