"""Many keys, one computation: what a batch is missing, each key once, shared with whoever else asks for it.

Every missing key gets a flight of its own, so that later callers can join it and a set or delete can detach it. The
flights that one call starts travel together: one look into the layers, one computation for what was not found there.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from toolcache.entry import Held
from toolcache.flight import Flight
from toolcache.reader import Found

ComputeMany: TypeAlias = Callable[[list[str]], Mapping[str, Any]] | Callable[[list[str]], Awaitable[Mapping[str, Any]]]
"""Values for the keys given; every key must be answered."""


class _Keep(Protocol):
    def __call__(self, key: str, value: Any, *, version: bytes, took: float, flight: Flight[Held]) -> Held: ...


class Crowd:
    """The flights of one batch.

    Args:
        compute: values for the keys that no layer has.
        find: what the layers have.
        keep: makes an entry of a computed value and stores it.
        version: mints one.
        now: monotonic seconds.
        own: runs the journey in a task of the cache's own.
        see: told which version a flight found before it computes.
    """

    def __init__(
        self,
        compute: ComputeMany,
        find: Callable[[Sequence[str]], Awaitable[dict[str, Found]]],
        keep: _Keep,
        version: Callable[[], bytes],
        now: Callable[[], float],
        own: Callable[[Coroutine[Any, Any, dict[str, Held]]], asyncio.Task[dict[str, Held]]],
        see: Callable[[str, Flight[Held], bytes], None],
    ) -> None:
        self._compute = compute
        self._find = find
        self._keep = keep
        self._version = version
        self._now = now
        self._own = own
        self._see = see
        self._flights: dict[str, Flight[Held]] = {}
        self._task: asyncio.Task[dict[str, Held]] | None = None
        self._leader: Flight[Held]
        self._aboard = 0

    def __contains__(self, key: str) -> bool:
        """Whether the key's flight is one of these; if not, another call had started it before."""
        return key in self._flights

    async def board(self, key: str, flight: Flight[Held]) -> Held:
        """Travel with the others that were started in this tick."""
        self._flights[key] = flight
        if self._task is None:
            self._leader = flight
            self._task = self._own(self._travel())
        else:
            # The computation runs as part of the first one's; asking for any other's key from within would wait for ever.
            flight.waits_for.add(self._leader)
        self._aboard += 1
        try:
            return (await asyncio.shield(self._task))[key]
        finally:
            self._aboard -= 1
            if not self._aboard and not self._task.done():
                self._task.cancel()

    async def _travel(self) -> dict[str, Held]:
        await asyncio.sleep(0)  # until all that start in this tick are aboard
        keys = list(self._flights)
        found = await self._find(keys)
        landed = {key: item.held for key, item in found.items() if item.held is not None}
        missing = [key for key in keys if key not in landed]
        if missing:
            for key in missing:
                self._see(key, self._flights[key], found[key].version)
            version = self._version()
            begun = self._now()
            values = self._compute(missing)
            if inspect.isawaitable(values):
                values = await values
            took = (self._now() - begun) / len(missing)
            for key in missing:
                landed[key] = self._keep(key, values[key], version=version, took=took, flight=self._flights[key])
        return landed
