"""A TCP proxy on the loopback that delays, holds, cuts and changes what passes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

Direction = Literal["up", "down"]
Mode = Literal["pass", "hold", "up", "down", "truncate"]

_CHUNK = 65_536
_POLL_SECONDS = 0.005


class FaultProxy:
    """Stands between a client and a server; an async context manager.

    Args:
        port: the server's port on the loopback.

    Attributes:
        port: where clients connect.
        mode: "pass"; "hold" (TCP stays open, nothing moves); "up" or "down" (that direction is held: requests, or
            replies); "truncate" (half of the next reply, then a reset).
        delay: seconds added to each chunk in each direction.
        rewrite: called with each chunk of replies, returns what is passed on instead.
        accepted: connections taken so far.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.mode: Mode = "pass"
        self.delay = 0.0
        self.rewrite: Callable[[bytes], bytes] | None = None
        self.accepted = 0

    @property
    def url(self) -> str:
        """The proxied server's URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset(self) -> None:
        """Cut every connection with a TCP reset."""
        for client in tuple(self._clients):
            plug = client.get_extra_info("socket")
            with contextlib.suppress(OSError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            await self._both_ways(reader, writer, far_reader, far_writer)
        except asyncio.CancelledError:
            pass  # the proxy is closing, and the server that awaits this would report it
        finally:
            self._clients.discard(writer)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, "up")),
            asyncio.ensure_future(self._pump(far_reader, writer, "down")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction) -> None:
        while chunk := await source.read(_CHUNK):
            if self.delay:
                await asyncio.sleep(self.delay)
            while self.mode in {"hold", direction}:  # noqa: ASYNC110 - tests set a plain attribute
                await asyncio.sleep(_POLL_SECONDS)
            if direction == "down" and self.mode == "truncate":
                sink.write(chunk[: max(1, len(chunk) // 2)])
                await sink.drain()
                self.reset()
                return
            if direction == "down" and self.rewrite is not None:
                chunk = self.rewrite(chunk)
            sink.write(chunk)
            await sink.drain()
