"""A real TCP proxy that ends TLS, checks certificates, or lets connections break in the middle."""

import contextlib
import socket
import ssl
import threading


class Proxy:
    """Stands before a port of loopback, in a ``with`` block.

    Args:
        target: that port.
        context: to end TLS with.
        breaks: how many bytes of each of the next connections go to the client before it is cut off.
        after: what has to have passed by before the bytes are counted; by default nothing.
        holds: instead of being cut off, it stays open, and nothing comes.
    """

    def __init__(self, target, context=None, breaks=(), *, after=b"", holds=False):
        self._target, self._context = target, context
        self._after, self._holds = after, holds
        self.breaks = list(breaks)
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open = set()

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in list(self._open):
            self._close(one)

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client):
        self._open.add(client)
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
                self._open.add(client)
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open.add(server)
            self.connections += 1
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            self._pump(server, client, may_break=True)
            return
        self._close(client)

    def _pump(self, one, other, *, may_break=False):
        left = None
        with contextlib.suppress(OSError, ssl.SSLError, ValueError):
            while data := one.recv(65536):
                if may_break and self.breaks and self._after in data:
                    may_break, left = False, self.breaks.pop(0)
                if left is not None and len(data) >= left:
                    other.sendall(data[:left])
                    if self._holds:
                        return
                    break
                other.sendall(data)
                left = left if left is None else left - len(data)
        self._close(one)
        self._close(other)

    def _close(self, one):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
        self._open.discard(one)
