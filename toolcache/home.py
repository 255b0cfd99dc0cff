"""What belongs to one event loop: its flights, and the tasks that a cache owns there.

A cache may be used from several loops, one after another or side by side in threads. Each has a home; that of a loop
that has ended is dropped without awaiting.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from toolcache.entry import Held
from toolcache.errors import UnsupportedEventLoopError
from toolcache.flight import Flights
from toolcache.forks import watch

T = TypeVar("T")


class Home:
    """One loop's flights and tasks."""

    def __init__(self) -> None:
        self.flights: Flights[Held] = Flights()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._attendant: asyncio.Task[None] | None = None

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that outlives its caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def attend(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have ``run`` running until the home is drained."""
        if self._attendant is None or self._attendant.done():
            self._attendant = asyncio.get_running_loop().create_task(run())

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work that goes on even when the caller is cancelled."""
        return await asyncio.shield(self.own(work))

    async def drain(self, patience: float) -> None:
        """Wait for tasks and flights; cancel what is left after ``patience`` seconds."""
        if self._attendant is not None:
            self._attendant.cancel()
            await asyncio.wait([self._attendant])
        running = self._tasks | self.flights.tasks()
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=patience)
        # A flight that landed meanwhile may have left a write behind.
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), patience)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: whoever waits has it, and a write-back has nobody waiting


class Homes:
    """The homes of one cache."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Home] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._closing: asyncio.Task[None] | None = None
        self.closed = False
        watch(self)

    def forked(self) -> None:
        """The parent's loops do not run here."""
        self._lock = threading.Lock()
        self._by_loop = WeakKeyDictionary()

    def here(self) -> Home:
        """The home of the running loop.

        Raises:
            UnsupportedEventLoopError: no asyncio loop is running.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise UnsupportedEventLoopError from None
        home = self._by_loop.get(loop)
        if home is None:
            with self._lock:
                # Tasks refer to their loop, so the weak key alone would keep both for ever.
                for ended in [other for other in self._by_loop if other.is_closed()]:
                    del self._by_loop[ended]
                home = self._by_loop[loop] = Home()
        return home

    def detach(self, key: str) -> None:
        """Detach the key's flight in every loop."""
        for home in self._all():
            home.flights.detach(key)

    def detach_all(self) -> None:
        """Detach every flight in every loop."""
        for home in self._all():
            home.flights.detach_all()

    async def close(self, drain: float, release: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Refuse newcomers, drain this loop's home for at most ``drain`` seconds, release the rest; once, for all."""
        home = self.here()
        if self._closing is None:
            self.closed = True
            self._closing = asyncio.get_running_loop().create_task(self._close(home, drain, release))
        if self._closing.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(self._closing)

    @staticmethod
    async def _close(home: Home, drain: float, release: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await home.drain(drain)
        await release()

    def _all(self) -> list[Home]:
        if len(self._by_loop) <= 1:
            return list(self._by_loop.values())
        with self._lock:
            return list(self._by_loop.values())
