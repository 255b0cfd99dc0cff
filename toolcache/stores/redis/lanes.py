"""Connections by event loop, each opened in the background when first asked for.

A connection belongs to the loop that opened it: a second loop gets its own, those of a closed loop are dropped. A
forked child drops them all. It cannot close what it inherits: asyncio would take the sockets out of an ``epoll`` set
that it shares with its parent.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from toolcache.errors import CacheClosedError
from toolcache.forks import watch

if TYPE_CHECKING:
    from toolcache.stores.redis.connection import Connection

    Loop = asyncio.AbstractEventLoop
    Opener = Callable[[], Awaitable[Connection]]


class Lane:
    """One connection, opened when it is needed and again when it was lost.

    Args:
        opener: opens it; may take longer than any operation has.
    """

    def __init__(self, opener: "Opener") -> None:
        self._opener = opener
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._closed = False

    async def connection(self) -> "Connection":
        """The connection; opening one goes on if the caller leaves, and all who wait are told the same failure."""
        if self._connection is not None and self._connection.alive:
            return self._connection
        if self._closed:
            raise CacheClosedError
        if self._opening is None:
            # In a context of its own: the connection outlives the request that happened to need it first.
            self._opening = asyncio.get_running_loop().create_task(
                self._open(), name="toolcache-redis-connect", context=contextvars.Context()
            )
            self._opening.add_done_callback(_retrieve)
        return await asyncio.shield(self._opening)

    async def _open(self) -> "Connection":
        try:
            self._connection = await self._opener()
        except asyncio.CancelledError:
            if not self._closed:
                raise
            raise CacheClosedError from None  # those who wait are not cancelled themselves
        else:
            return self._connection
        finally:
            self._opening = None

    def close(self) -> None:
        """Close at once, from the lane's own loop."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.close()

    async def aclose(self) -> None:
        """Let what is under way end, and close."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._connection is not None:
            await self._connection.aclose()


class Lanes:
    """The two connections of one loop: ``small`` for most commands, ``bulk`` for those that would hold them up."""

    def __init__(self, small: "Opener", bulk: "Opener") -> None:
        self.small = Lane(small)
        self.bulk = Lane(bulk)

    def close(self) -> None:
        """Close both at once."""
        self.small.close()
        self.bulk.close()

    async def aclose(self) -> None:
        """Close both when what is under way has ended."""
        await asyncio.gather(self.small.aclose(), self.bulk.aclose())


class LoopLanes:
    """The lanes of each loop that uses a store, from any thread.

    Args:
        make: the lanes of a loop that has none yet.
    """

    def __init__(self, make: Callable[[], Lanes]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._lanes: WeakKeyDictionary[Loop, Lanes] = WeakKeyDictionary()
        self._closed = False
        watch(self)

    def here(self) -> Lanes:
        """Those of the running loop."""
        loop = asyncio.get_running_loop()
        lanes = self._lanes.get(loop)
        return self._add(loop) if lanes is None else lanes

    async def aclose(self) -> None:
        """Close this loop's, and have the other loops close theirs."""
        with self._lock:
            self._closed = True
            lanes, self._lanes = dict(self._lanes), WeakKeyDictionary()
        mine = lanes.pop(asyncio.get_running_loop(), None)
        for loop, others in lanes.items():
            with contextlib.suppress(RuntimeError):  # that loop is closed, and its sockets with it
                loop.call_soon_threadsafe(others.close)
        if mine is not None:
            await mine.aclose()

    def _add(self, loop: "Loop") -> Lanes:
        with self._lock:
            if self._closed:
                raise CacheClosedError
            # Lanes refer to their loop, so the weak key alone would keep both for ever.
            for other in [other for other in self._lanes if other.is_closed()]:
                del self._lanes[other]
            return self._lanes.setdefault(loop, self._make())

    def forked(self) -> None:
        """Leave the parent's connections alone, open as they are."""
        _INHERITED.append(self._lanes)
        self._lock = threading.Lock()
        self._lanes = WeakKeyDictionary()


_INHERITED: Final[list[Any]] = []  # kept alive in a child, lest their finalizers close something


def _retrieve(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # looked at, so that nobody complains if all who waited have left
