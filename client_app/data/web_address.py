"""Addresses of the hospital's own servers."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_unread(url: str) -> bool:
    """Whether nobody on the way reads what is sent there: it is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
