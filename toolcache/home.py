"""What belongs to one event loop: its flights, and the tasks that a cache owns there."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar

from toolcache.errors import CacheClosedError
from toolcache.flight import Flights, aboard
from toolcache.found import Found
from toolcache.loops import PerLoop

T = TypeVar("T")

_LAST_WORD: Final = 0.5
"""Seconds that what is cancelled has, however short the patience is, to let go of what it holds for others."""


class Home:
    """One loop's flights and tasks.

    Attributes:
        given_up: whether what was left at the end is not waited for any more.
        staffed: for whoever calls attendants: set once all are there, and unset when one has gone.
    """

    def __init__(self) -> None:
        self.flights: Flights[Found] = Flights()
        self.runs: Flights[Any] = Flights()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._endings: set[asyncio.Task[Any]] = set()
        self._guests = 0
        self._no_guests: asyncio.Future[None] | None = None
        self.given_up = False
        self.staffed = False
        self._attendants: dict[Callable[[], Coroutine[Any, Any, None]], asyncio.Task[None]] = {}

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that outlives its caller."""
        return self._keep(asyncio.get_running_loop().create_task(work))

    def own_later(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """The same, begun when this tick ends: not made by the loop, whose factory may have it begin at once."""
        return self._keep(asyncio.Task(work, loop=asyncio.get_running_loop()))

    def owns(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether it is a task of ours, which nobody cancels who only leaves."""
        return task in self._tasks

    def tasks(self) -> set[asyncio.Task[Any]]:
        """What runs and outlives its callers."""
        return self._tasks | self.flights.tasks() | self.runs.tasks()

    def enter(self) -> None:
        """A caller begins, in a task of its own, what is to be waited for at the end; it says when it can ``leave``."""
        self._guests += 1

    def leave(self) -> None:
        """A caller is done with that."""
        self._guests -= 1
        if not self._guests and self._no_guests is not None and not self._no_guests.done():
            self._no_guests.set_result(None)

    def _keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def see_out(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run the end of something that cannot be done again: of all that is cancelled at last, the last."""
        task = self.own(work)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task

    def attend(self, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Have ``run`` running until the home is drained; whether it had to be started."""
        attendant = self._attendants.get(run)
        absent = attendant is None or attendant.done()
        if absent:
            # In a context of its own: it would keep alive what the first caller's refers to.
            task = asyncio.get_running_loop().create_task(run(), context=Context())
            task.add_done_callback(self._unstaff)
            self._attendants[run] = task
        return absent

    def dismiss(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have it run no more."""
        attendant = self._attendants.pop(run, None)
        if attendant is not None:
            attendant.cancel()

    def _unstaff(self, _: object) -> None:
        self.staffed = False

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work that goes on even when the caller is cancelled.

        Raises:
            CacheClosedError: the cache was closed, and did not wait for the end of the work.
        """
        task = self.own(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if self.given_up and task.cancelled() and me is not None and not me.cancelling():
                # A bare one would look like the caller's own.
                raise CacheClosedError(
                    "the cache was closed before this write was done: it may or may not be kept"
                ) from None
            raise

    async def drain(self, patience: float) -> None:
        """Wait for tasks and flights; cancel what is left after ``patience`` seconds."""
        await self._dismiss()
        running: set[asyncio.Future[Any]] = {*self.tasks()}
        if self._guests:
            self._no_guests = asyncio.get_running_loop().create_future()
            running.add(self._no_guests)
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            self.given_up = bool(late)
            for task in late - self._endings:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=max(patience, _LAST_WORD))
            for task in tuple(self._endings):
                task.cancel()
        # A flight that landed meanwhile may have left a write behind.
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), patience)
        await self._dismiss()  # those that the last of the work has called

    async def _dismiss(self) -> None:
        attendants, self._attendants = self._attendants, {}
        for attendant in attendants.values():
            attendant.cancel()
        if attendants:
            await asyncio.wait(attendants.values())

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: whoever waits has it, and a write-back has nobody waiting


def ending() -> bool:
    """Whether all that runs in this loop is being cancelled: it ends, and is to begin nothing new."""
    return all(task.cancelling() for task in asyncio.all_tasks())


class Homes:
    """The homes of one cache."""

    def __init__(self) -> None:
        self._homes = PerLoop(Home)
        self._closing: asyncio.Task[None] | None = None
        self._drained = False
        self.here = self._homes.here
        self.closed = False

    @property
    def refusing(self) -> bool:
        """Whether calls are refused: all of them once closed, but for those that a computation under way makes, or a task."""
        return self.closed and (self._drained or not (aboard() or self.here().owns(asyncio.current_task())))

    def unstaff(self) -> None:
        """Have the attendants of every loop called again: there are others now."""
        for home in self._homes.each:
            home.staffed = False

    def detach(self, key: str) -> None:
        """Detach the key's flight in every loop."""
        for home in self._homes.each:
            home.flights.detach(key)

    def flying(self, key: str) -> bool:
        """Whether the key has a flight in any loop."""
        return any(home.flights.find(key) for home in self._homes.each)

    def flying_under(self, name: str) -> bool:
        """Whether any flight in any loop is under an epoch of that name."""
        return any(home.flights.any_under(name) for home in self._homes.each)

    def keys_flying(self) -> set[str]:
        """Those of the flights of all loops."""
        return set().union(*(home.flights.keys() for home in self._homes.each))

    def hear(self, key: str, version: bytes) -> None:
        """This version stands in the layers: detach the key's flights that have not seen it."""
        for home in self._homes.each:
            home.flights.hear(key, version)

    def outdate(self, epoch: bytes, name: str | None) -> None:
        """Have nobody join flights that an epoch has overtaken, in any loop: those under that name, or all."""
        for home in self._homes.each:
            home.flights.outdate(epoch, name)

    def detach_all(self) -> None:
        """Detach every flight in every loop."""
        for home in self._homes.each:
            home.flights.detach_all()

    async def settle(self, patience: float) -> None:
        """Wait for what runs in this loop's home, for at most ``patience`` seconds; nothing of it is ended."""
        if running := self.here().tasks():
            await asyncio.wait(running, timeout=patience)

    async def close(self, drain: float, release: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Refuse newcomers, drain this loop's home for at most ``drain`` seconds, release the rest; once, for all."""
        home = self.here()
        if self._closing is None:
            self.closed = True
            self._closing = asyncio.get_running_loop().create_task(self._close(home, drain, release))
        if self._closing.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(self._closing)

    async def _close(self, home: Home, drain: float, release: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await home.drain(drain)
        self._drained = True
        await release()
