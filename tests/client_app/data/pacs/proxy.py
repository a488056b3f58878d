"""A real TCP proxy that ends TLS, checks certificates, or lets connections break in the middle."""

import asyncio
import contextlib
import threading


class Proxy:
    """Stands before a port of loopback, in a ``with`` block; in one thread, as a TLS connection needs it.

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
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        serving = asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _relay(self, client_reader, client_writer):
        with contextlib.suppress(OSError, asyncio.CancelledError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                back = asyncio.create_task(self._pump(reader, client_writer, may_break=True))
                forth = asyncio.create_task(self._pump(client_reader, writer))
                await asyncio.wait({back, forth}, return_when=asyncio.FIRST_COMPLETED)
                back.cancel()
                forth.cancel()
                await asyncio.gather(back, forth, return_exceptions=True)
            finally:
                writer.transport.abort()
        with contextlib.suppress(OSError):
            client_writer.close()

    async def _pump(self, reader, writer, *, may_break=False):
        left = None
        while data := await reader.read(65536):
            if may_break and self.breaks and self._after in data:
                may_break, left = False, self.breaks.pop(0)
            writer.write(data if left is None else data[:left])
            await writer.drain()
            if left is not None and len(data) >= left:
                if self._holds:
                    await asyncio.Event().wait()
                return
            left = left if left is None else left - len(data)
