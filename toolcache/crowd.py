"""Many keys, one computation: what a batch is missing, each key once, shared with whoever else asks for it.

Every missing key has a flight of its own, so that later callers can join it and a set or delete can detach it. Those that
one call starts travel together: one look into the layers, one computation for what was not found there. However many they
are, the event loop has its turn every few milliseconds; only the computation is in one piece.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from toolcache.flight import Flight
from toolcache.found import Found
from toolcache.pieces import Pieces, abreast
from toolcache.versions import ZERO

ComputeMany: TypeAlias = Callable[[list[str]], Mapping[str, Any]] | Callable[[list[str]], Awaitable[Mapping[str, Any]]]
"""Values for the keys given; every key must be answered."""


async def run_many(compute: ComputeMany, keys: list[str]) -> Mapping[str, Any]:
    """What ``compute``, which is sync or async, makes of keys."""
    values = compute(keys)
    return await values if inspect.isawaitable(values) else values


class _Keep(Protocol):
    def __call__(
        self, key: str, value: Any, *, version: bytes, took: float, flight: Flight[Found]
    ) -> Awaitable[Found]: ...


class _Mint(Protocol):
    def __call__(self, *, above: bytes = ...) -> bytes: ...


class Crowd:
    """How the flights of one batch come to their values.

    Args:
        compute: values for the keys that no layer has.
        find: what the layers have.
        keep: makes an entry of a computed value.
        version: mints one, above that which was found.
        now: monotonic seconds.
        see: told which version a flight found before it computes.
        anew: whether to compute whatever the layers have.
    """

    def __init__(
        self,
        compute: ComputeMany,
        find: Callable[[Sequence[str]], Awaitable[dict[str, Found]]],
        keep: _Keep,
        version: _Mint,
        now: Callable[[], float],
        see: Callable[[str, Flight[Found], bytes], None],
        *,
        anew: bool = False,
    ) -> None:
        self._compute = compute
        self._find = find
        self._keep = keep
        self._version = version
        self._now = now
        self._see = see
        self._anew = anew

    async def travel(self, flights: Mapping[str, Flight[Found]]) -> dict[str, Found]:
        """What has come of all keys: an entry of each."""
        found: dict[str, Found] = {}

        async def look(some: Sequence[str]) -> None:
            found.update(await self._find(some))

        await abreast(look, list(flights))
        landed = {key: item for key, item in found.items() if item.held is not None and not self._anew}
        missing = [key for key in flights if key not in landed]
        if missing:
            version = self._version()
            for key in missing:
                seen = found[key].version
                flights[key].version = version if seen < version else self._version(above=seen)
            async for some in Pieces(missing):
                for key in some:
                    self._see(key, flights[key], found[key].version)
            landed |= await self._make(missing, flights)
        return landed

    async def _make(self, missing: list[str], flights: Mapping[str, Flight[Found]]) -> dict[str, Found]:
        begun = self._now()
        values = await run_many(self._compute, missing)
        took = (self._now() - begun) / len(missing)
        made = {}
        async for some in Pieces(missing):
            for key in some:
                flight = flights[key]
                made[key] = await self._keep(key, values[key], version=flight.version or ZERO, took=took, flight=flight)
        return made
