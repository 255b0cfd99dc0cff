"""One computation per key, whoever asks.

The work runs in a task of the cache's own; callers wait. A caller who is cancelled leaves alone; when the last one has
left, the task is cancelled and the key is free at once. A set, delete or clear *detaches* a flight: its waiters still
get its value, later callers start anew, and nothing of it is stored.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextvars import ContextVar, copy_context
from typing import Any, Generic, TypeVar

from toolcache.errors import FlightAbortedError, ReentrantFlightError
from toolcache.pieces import Pieces
from toolcache.versions import ZERO

T = TypeVar("T")

_boarding: ContextVar["Flight[Any] | None"] = ContextVar("toolcache_flight", default=None)


def aboard() -> bool:
    """Whether the caller is part of a computation under way."""
    return _boarding.get() is not None


class Flight(Generic[T]):
    """One computation in the air.

    Attributes:
        alone: whether it goes on although nobody waits.
        anew: whether none may join it but those who want what is computed from now on.
        refreshes: whether it computes anew what is still good.
        stand_in: what those take who do not wait for long.
        detached: its result may no longer be stored.
        on_detach: called when that comes about, on whatever loop.
        written: the task that stores its result, if there is one.
        seen: the version that stood in the layers when the computation began; None before.
        heard: the highest that another process is known to have written since the flight did.
        under: the names of the epochs that end it.
        version: of the value that it computes; None before it does.
        party: those of the flights that one task flies for which anybody waits; None where it flies by itself.
    """

    __slots__ = (
        *("alone", "anew", "detached", "heard", "on_detach", "party", "refreshes", "seen", "stand_in", "task", "under"),
        *("version", "waiters", "waits_for", "written", "_waiting"),
    )

    def __init__(self, under: Collection[str] = ()) -> None:
        self.under = under
        self.detached = False
        self.alone = self.anew = False
        self.refreshes = False
        self.stand_in: T | None = None
        self.on_detach: Callable[[], None] | None = None
        self.written: asyncio.Task[None] | None = None
        self.heard = ZERO
        self.seen: bytes | None = None
        self.version: bytes | None = None
        self.waiters = 0
        self.waits_for: set[Flight[Any]] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self.party: set[Flight[T]] | None = None
        self.task: asyncio.Task[Any]

    def board(self, within: "Flight[Any] | None") -> None:
        """One more waits for it, who may be part of another.

        Raises:
            ReentrantFlightError: of this one, or of one that waits for it.
        """
        if within is not None:
            if self.reaches(within):
                raise ReentrantFlightError
            within.waits_for.add(self)
        self.waiters += 1

    async def end(self, key: str) -> T:
        """What comes of it.

        Raises:
            FlightAbortedError: the computation cancelled itself, or the cache was closed.
            Exception: whatever the computation raised, the same for all who waited.
        """
        try:
            if not self.task.done():
                # One future for each who waits, who so can stop without stopping it: a third of what shielding costs.
                waiting: asyncio.Future[None] = self.task.get_loop().create_future()
                self._waiting.append(waiting)
                await waiting
            landed = self.task.result()
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if self.task.cancelled() and me is not None and not me.cancelling():
                raise FlightAbortedError from None
            raise
        mine: T = landed if self.party is None else landed[key]
        return mine

    def detach(self) -> None:
        """Let it end for its waiters alone."""
        self.detached = True
        if self.on_detach is not None:
            self.on_detach()

    def landed(self) -> None:
        """Tell who waits."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def reaches(self, other: "Flight[Any]") -> bool:
        """Whether this flight waits, directly or through others, for ``other``."""
        seen: set[Flight[Any]] = set()
        ahead: list[Flight[Any]] = [self]
        while ahead:
            flight = ahead.pop()
            if flight is other:
                return True
            if flight not in seen:
                seen.add(flight)
                ahead.extend(flight.waits_for)
        return False


class Flights(Generic[T]):
    """The flights of one event loop, by key."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight[T]] = {}
        self._alone: dict[str, set[Flight[T]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(
        self,
        key: str,
        start: Callable[[Flight[T]], Coroutine[Any, Any, T]],
        *,
        under: Collection[str] = (),
        goes_on: Callable[[], bool] | None = None,
        patience: float | None = None,
        anew: bool = False,
    ) -> T:
        """Wait for the key's flight, starting it with ``start`` if there is none, ``under`` epochs of these names.

        ``anew``: one that was not begun for such callers is detached, and not joined.
        When the last one who waits has left, it is cancelled, unless it ``goes_on``.

        Raises:
            ReentrantFlightError: the caller is itself part of that flight.
            FlightAbortedError: the computation cancelled itself, or the cache was closed.
            Exception: whatever the computation raised, the same for all who waited.
        """
        if (flight := self._open(key, anew=anew)) is None:
            flight = self._launch(key, start, under)
            flight.anew = anew
        return await self.ride(key, flight, goes_on=goes_on, patience=patience)

    async def ride(
        self,
        key: str,
        flight: Flight[T],
        *,
        goes_on: Callable[[], bool] | None = None,
        patience: float | None = None,
    ) -> T:
        """Wait for a flight of the key, as ``join`` does.

        After ``patience`` seconds what stands in for it is taken, if there is anything; the flight goes on then.
        """
        within = _boarding.get()
        flight.board(within)
        try:
            while patience is not None:
                try:
                    async with asyncio.timeout(patience) as limit:
                        return await flight.end(key)
                except TimeoutError:
                    if not limit.expired():
                        raise
                if (instead := flight.stand_in) is not None and not flight.detached:
                    flight.alone = True
                    return instead
                patience = max(2 * patience, 0.01)  # a slow layer may have something to stand in only later
            return await flight.end(key)
        finally:
            self._leave(key, flight, within, goes_on)

    async def join_many(
        self,
        keys: Sequence[str],
        start: Callable[[dict[str, Flight[T]]], Coroutine[Any, Any, Mapping[str, T]]],
        *,
        under: Collection[str] = (),
        anew: bool = False,
    ) -> tuple[dict[str, T], Collection[str]]:
        """Wait for the flights of several keys; those that have none begin together, as one task.

        Args:
            keys: each of them once.
            start: makes what those come to that begin, which it is given.
            under: names of the epochs that end them.
            anew: see ``join``.

        Returns:
            What became of each key, and the keys of those that this call began.

        Raises:
            ReentrantFlightError, FlightAbortedError, Exception: as ``join`` does.
        """
        within = _boarding.get()
        own: dict[str, Flight[T]] = {}
        others: dict[str, Flight[T]] = {}
        complete = asyncio.Event()

        async def travel(_leader: Flight[T]) -> Mapping[str, T]:
            await complete.wait()
            return await start(own)

        try:
            async for some in Pieces(keys):
                for key in some:
                    flight, mine = self._open(key, anew=anew), others
                    if flight is None:
                        flight, mine = self._begin(key, own, travel, under), own
                        flight.anew = anew
                    flight.board(within)
                    mine[key] = flight
            complete.set()
            landed: dict[str, T] = {}
            for key, flight in own.items():
                await flight.end(key)
                landed.update(flight.task.result())  # of all of them: they are one task
                break
            for key, flight in others.items():
                landed[key] = await flight.end(key)
            return landed, own.keys()
        finally:
            complete.set()  # for those who have joined one of them meanwhile
            for key, flight in others.items():
                self._leave(key, flight, within)
            for key, flight in own.items():
                if within is None and flight.task.done():  # there is nothing to leave, however many they are
                    break
                self._leave(key, flight, within)

    def detach(self, key: str) -> None:
        """Let the key's flight end for its waiters alone."""
        if not self._tasks:
            return
        flight = self._by_key.pop(key, None)
        if flight is not None:
            flight.detach()
        for other in tuple(self._alone.pop(key, ())):
            other.detach()

    def keys(self) -> set[str]:
        """Those of the flights that may yet store what they bring."""
        return {*self._by_key, *self._alone}

    def find(self, key: str) -> Flight[T] | None:
        """The key's flight."""
        return self._by_key.get(key)

    def any_under(self, name: str) -> bool:
        """Whether an epoch of that name would end any of them."""
        return any(name in flight.under for flight in tuple(self._by_key.values()))

    def _open(self, key: str, *, anew: bool) -> Flight[T] | None:
        """The key's flight, if such a caller may join it; else it is detached."""
        flight = self._by_key.get(key)
        if flight is None or flight.anew or not anew:
            return flight
        self.detach(key)
        return None

    def hear(self, key: str, version: bytes) -> None:
        """This version stands in the layers now: detach the key's flight, unless it has seen that."""
        if (flight := self._by_key.get(key)) is None:
            return
        flight.heard = max(flight.heard, version)
        if flight.seen is not None:
            self.see(key, flight, flight.seen)

    def see(self, key: str, flight: Flight[T], version: bytes) -> None:
        """The flight has seen this version in the layers and computes: detach it if a newer one was heard of."""
        flight.seen = version
        if flight.heard > version:
            flight.detach()
            self._forget(key, flight)

    def outdate(self, epoch: bytes, name: str | None) -> None:
        """Detach what computes beneath an epoch, of flights under that name, or of all; nobody joins what may have read beneath it."""
        for key, flight in tuple(self._by_key.items()):
            if (name is None or name in flight.under) and (flight.version or ZERO) <= epoch:
                self._forget(key, flight)
                if flight.version is None:  # what it will compute is above the epoch, and beneath what is written next
                    flight.stand_in = None
                    self._alone.setdefault(key, set()).add(flight)
                else:
                    flight.detach()

    def detach_all(self) -> None:
        """Detach every flight."""
        for key in (*self._by_key, *self._alone):
            self.detach(key)

    def tasks(self) -> set[asyncio.Task[T]]:
        """The tasks still in the air, detached ones included."""
        return set(self._tasks)

    def _launch(
        self, key: str, start: Callable[[Flight[T]], Coroutine[Any, Any, T]], under: Collection[str]
    ) -> Flight[T]:
        """A flight with a task of its own."""
        flight: Flight[T] = Flight(under)
        context = copy_context()
        context.run(_boarding.set, flight)
        flight.task = asyncio.get_running_loop().create_task(self._fly(start, flight), context=context)
        self._by_key[key] = flight
        self._tasks.add(flight.task)

        def land(task: asyncio.Task[T]) -> None:
            context.run(_boarding.set, None)  # else flight, task and context would wait for the garbage collector
            self._land(key, flight, task)

        flight.task.add_done_callback(land)
        return flight

    def _begin(
        self,
        key: str,
        own: dict[str, Flight[T]],
        travel: Callable[[Flight[T]], Coroutine[Any, Any, Any]],
        under: Collection[str],
    ) -> Flight[T]:
        """One more flight for the task that flies ``own``, which the first of them has."""
        for leader in own.values():
            flight: Flight[T] = Flight(under)
            flight.task, flight.party = leader.task, leader.party
            # The computation is a part of the first one's; asking for the key of any other from within would wait for ever.
            flight.waits_for.add(leader)
            self._by_key[key] = flight
            break
        else:
            flight = self._launch(key, travel, under)
            flight.party = set()
            flight.task.add_done_callback(lambda _task: self._land_all(own))
        if flight.party is not None:
            flight.party.add(flight)
        return flight

    @staticmethod
    async def _fly(start: Callable[[Flight[T]], Coroutine[Any, Any, T]], flight: Flight[T]) -> T:
        try:
            return await start(flight)
        except asyncio.CancelledError:
            # Nobody cancelled this task: the computation raised it, and a bare one would look like the callers' own.
            if not flight.task.cancelling():
                raise FlightAbortedError from None
            raise

    def _land(self, key: str, flight: Flight[T], task: asyncio.Task[T]) -> None:
        self._land_all({key: flight})
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that a failure nobody waited for is not reported as lost

    def _land_all(self, flights: Mapping[str, Flight[T]]) -> None:
        for key, flight in flights.items():
            flight.landed()
            self._forget(key, flight)
            if alone := self._alone.get(key):
                alone.discard(flight)
                if not alone:
                    del self._alone[key]

    def _leave(
        self, key: str, flight: Flight[T], within: Flight[Any] | None, goes_on: Callable[[], bool] | None = None
    ) -> None:
        """One who waited does so no longer; the last one ends the flight."""
        if within is not None:
            within.waits_for.discard(flight)
        flight.waiters -= 1
        if flight.waiters or flight.alone or flight.task.done() or (goes_on is not None and goes_on()):
            return
        self._forget(key, flight)
        if flight.party is not None:
            flight.party.discard(flight)
        if not flight.party:
            flight.task.cancel()

    def _forget(self, key: str, flight: Flight[T]) -> None:
        if self._by_key.get(key) is flight:
            del self._by_key[key]
