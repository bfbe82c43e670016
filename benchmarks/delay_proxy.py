"""A TCP proxy on loopback that makes a server as far away as a round trip says.

Every byte arrives half a round trip after it was sent, in both directions, and the first ones of
a connection a whole round trip later still, which is what opening it would have taken. How much is
under way is not limited, so that only the distance is added and no bandwidth taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

READ = 1 << 20
"""Bytes that are read at once."""


class DelayProxy:
    """Serves a server of this machine on a port of its own, to be used as a context manager.

    Parameters
    ----------
    port
        Where the server listens, on 127.0.0.1.
    round_trip
        Seconds.

    Attributes
    ----------
    port
        Where the proxy listens, once it was entered.
    """

    def __init__(self, port: int, round_trip: float) -> None:
        self._upstream = port
        self._round_trip = round_trip
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=READ)

    async def _end(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        opened = self._loop.time() + self._round_trip
        try:
            server, asks = await asyncio.open_connection("127.0.0.1", self._upstream, limit=READ)
            try:
                await asyncio.gather(
                    self._carry(client, asks, opened), self._carry(server, answers, opened)
                )
            finally:
                asks.close()
        except (OSError, asyncio.CancelledError):
            pass  # one of them is gone, and the other is told by the end of its connection
        finally:
            answers.close()
            self._open.discard(task)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, opened: float
    ) -> None:
        """Read at once, write when it is due; the end of what is sent is under way as long."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            data = b"."
            while data:
                try:
                    data = await source.read(READ)
                except OSError:  # reset: told as an end
                    data = b""
                due = max(self._loop.time(), opened) + self._round_trip / 2
                under_way.put_nowait((due, data))

        async def write() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    break
                target.write(data)
                await target.drain()
            with contextlib.suppress(OSError):
                target.write_eof()

        reading = asyncio.ensure_future(read())
        try:
            await write()
        finally:
            reading.cancel()
