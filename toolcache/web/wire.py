"""HTTP/1.1 as uvicorn reads it, with limits: how many connections, how long a client may take to say what it wants."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""For the first line and the fields of a request, from its first byte, or from the beginning of the connection."""
TAKE_SECONDS: Final = 10.0
TAKE_BYTES: Final = 10_000
"""What a client has to take of an answer that waits for it, in so many seconds: who takes nothing holds a connection for ever."""
_CONNECTIONS: Final = 256
_ENDING: Final = 3
"""Seconds that requests under way have when the server ends."""


def config(application: Any) -> uvicorn.Config:
    """How an application is served."""
    return uvicorn.Config(
        application,
        http=Wire,
        ws="none",
        loop="none",
        lifespan="on",
        access_log=False,  # which would write paths, and so keys
        log_config=None,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_ENDING,
    )


class Server(uvicorn.Server):
    """A server that says when it ends.

    Args:
        settings: see ``config``.
        on_ending: called before requests under way are waited for.
    """

    def __init__(self, settings: uvicorn.Config, on_ending: Callable[[], None]) -> None:
        super().__init__(settings)
        self._on_ending = on_ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._on_ending()
        await super().shutdown(sockets)


class Wire(H11Protocol):
    """A connection."""

    _ends: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that one hears of whatever waits, also of the end of an answer
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read; what has come is a request, or a part of one."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait_no_more()
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something waits to be taken."""
        super().pause_writing()
        self._have_taken(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All was taken."""
        self._taken()
        super().resume_writing()

    def _have_taken(self, most: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left > most:
            self.transport.abort()
        else:
            self._taking = self.loop.call_later(TAKE_SECONDS, self._have_taken, left - TAKE_BYTES)

    def _taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _wait(self) -> None:
        if self._ends is None:
            self._ends = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
