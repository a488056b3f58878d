"""A TCP connection to the one address, directly or through an HTTP proxy's CONNECT."""

import asyncio
import os
import re
import socket
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from federation.errors import ConfigError, RunError
from federation.tunnel.address import Address

_HEAD = 16 * 1024  # the most bytes that a proxy's answer may have
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
# A dead peer is noticed after two minutes; an idle one may stay.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; who and by which password stays out of whatever prints this.

    Attributes:
        host: its name or address.
        port: where it listens.
        login: ``user:password`` in base64, or None.
    """

    host: str
    port: int
    login: str | None = field(default=None, repr=False)


def proxy_of(url: str, password: str | None = None) -> Proxy:
    """The proxy at ``http://[user[:password]@]host:port``; ``password`` stands for the one in the URL.

    Raises:
        ConfigError: it is no such URL; the message does not repeat it, for the password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme != "http" or parts.path not in {"", "/"} or parts.query:
        raise ConfigError("--proxy is not http://[user[:password]@]host:port; special letters as %40")
    if parts.username is None:
        if password is not None:
            raise ConfigError(f"the proxy {host}:{port} has a password and no user; write http://user@...")
        return Proxy(host, port)
    words = unquote(parts.username), password if password is not None else unquote(parts.password or "")
    return Proxy(host, port, b64encode(":".join(words).encode()).decode())


async def dial(to: Address, proxy: Proxy | None) -> socket.socket:
    """A socket, not blocking, whose other side is ``to``.

    Raises:
        RunError: nobody is there, or the proxy does not want to.
    """
    if proxy is None:
        return await _connected(to.host, to.port)
    connected = await _connected(proxy.host, proxy.port)
    try:
        await _ask(connected, to, proxy)
    except BaseException:
        connected.close()
        raise
    return connected


async def _connected(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RunError(f"{host} is not known here ({error.strerror}); see to the name service") from error
    refused: OSError = OSError("no address")
    for family, kind, protocol, _, address in found:
        connected = socket.socket(family, kind, protocol)
        try:
            connected.setblocking(False)
            await loop.sock_connect(connected, address)
        except OSError as error:
            connected.close()
            refused = error
        except BaseException:
            connected.close()
            raise
        else:
            tune(connected)
            return connected
    raise RunError(f"{host}:{port} cannot be reached ({_said(refused)})") from refused


def tune(connected: socket.socket) -> None:
    """Send small pieces at once, and notice a peer that is no more."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # each system has its own
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _ask(connected: socket.socket, target: Address, proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    where = f"the proxy {proxy.host}:{proxy.port}"
    login = f"Proxy-Authorization: Basic {proxy.login}\r\n" if proxy.login else ""
    try:
        await loop.sock_sendall(
            connected, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            came = await loop.sock_recv(connected, _HEAD)
            answer += came
            if not came or len(answer) > _HEAD:
                raise RunError(f"{where} gave no whole answer; see its log")
    except OSError as error:
        raise RunError(f"{where} ended the connection ({_said(error)}); see its log") from error
    status = _STATUS.match(answer)
    if status is None:
        raise RunError(f"{where} does not speak HTTP; see --proxy")
    if status[1] == b"407":
        raise RunError(f"{where} wants a user and a password, or others (407); see --proxy")
    if not status[1].startswith(b"2"):
        raise RunError(f"{where} does not lead to {target} ({status[1].decode()}); have it allowed there")
    # TLS lets the client speak first, so nothing can follow yet.
    if not answer.endswith(b"\r\n\r\n") or answer.count(b"\r\n\r\n") != 1:
        raise RunError(f"{where} says more than it was asked; see --proxy")


def _said(error: OSError) -> str:
    """The system's own words; asyncio puts an address in their place."""
    return os.strerror(error.errno) if error.errno else str(error)
