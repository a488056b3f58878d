"""TLS for DIMSE (PS3.15, annex B.12): both sides show a certificate of the hospital's authority."""

import ssl
from socket import socket
from typing import Any

from client_app.data.pacs.settings import Tls
from federation.errors import ConfigError

_HANDSHAKE_SECONDS = 10.0


def client_context(tls: Tls) -> ssl.SSLContext:
    """For connections that we open: the archive's name must be in its certificate.

    Raises:
        ConfigError: a file of it cannot be used.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls)


def server_context(tls: Tls) -> ssl.SSLContext:
    """For those that the archive opens to us: it must show a certificate.

    Raises:
        ConfigError: a file of it cannot be used.
    """
    context = _loaded(_Impatient(ssl.PROTOCOL_TLS_SERVER), tls)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Impatient(ssl.SSLContext):
    """pynetdicom shakes hands before it takes the next caller; one that says nothing must not stop others."""

    def wrap_socket(self, sock: socket, *options: Any, **named: Any) -> ssl.SSLSocket:
        sock.settimeout(_HANDSHAKE_SECONDS)
        wrapped = super().wrap_socket(sock, *options, **named)
        wrapped.settimeout(None)
        return wrapped


def _loaded(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if tls.authority:
            context.load_verify_locations(tls.authority)
        else:
            context.load_default_certs()
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in (tls.authority, tls.certificate, tls.key) if file)
        raise ConfigError(f"of {files}, one is no PEM file, or a key does not fit ({error})") from error
    return context
