"""Many keys, one computation: what a batch is missing, each key once, shared with whoever else asks for it.

Every missing key has a flight of its own, so that later callers can join it and a set or delete can detach it. Those that
one call starts travel together: one look into the layers, one computation for what was not found there. However many they
are, the event loop has its turn every few milliseconds; only the computation is in one piece.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from toolcache.compute import within
from toolcache.flight import Flight
from toolcache.found import Found
from toolcache.pieces import Pieces, abreast
from toolcache.versions import ZERO

ComputeMany: TypeAlias = Callable[[list[str]], Mapping[str, Any]] | Callable[[list[str]], Awaitable[Mapping[str, Any]]]
"""Values for the keys given; every key must be answered."""


async def run_many(compute: ComputeMany, keys: list[str], *, limit: float | None = None) -> Mapping[str, Any]:
    """What ``compute``, which is sync or async, makes of keys, within a limit in seconds; raises as ``compute.run`` does."""
    values = compute(keys)
    return await within(limit, values) if inspect.isawaitable(values) else values


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
        rests: takes note of what may stand in for a key; whether it does, as its source has failed of late.
        give_up: told of each key for which an old value stands in, and why.
        limit: how long the computation may take, in seconds.
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
        rests: Callable[[str, Found, Flight[Found]], bool],
        give_up: Callable[[str, Found, Exception], None],
        *,
        limit: float | None = None,
        anew: bool = False,
    ) -> None:
        self._compute = compute
        self._find = find
        self._keep = keep
        self._version = version
        self._now = now
        self._see = see
        self._rests = rests
        self._give_up = give_up
        self._limit = limit
        self._anew = anew

    async def travel(self, flights: Mapping[str, Flight[Found]]) -> dict[str, Found]:
        """What has come of all keys: an entry of each."""
        found: dict[str, Found] = {}

        async def look(some: Sequence[str]) -> None:
            found.update(await self._find(some))

        await abreast(look, list(flights))
        landed = {key: item for key, item in found.items() if item.held is not None and not self._anew}
        for key, item in found.items():
            if item.stale is not None and self._rests(key, item, flights[key]) and (old := flights[key].stand_in):
                landed[key] = old
        missing = [key for key in flights if key not in landed]
        if missing:
            version = self._version()
            for key in missing:
                seen = found[key].version
                flights[key].version = version if seen < version else self._version(above=seen)
            async for some in Pieces(missing):
                for key in some:
                    self._see(key, flights[key], found[key].version)
            try:
                landed |= await self._make(missing, flights)
            except Exception as error:  # noqa: BLE001 - whatever it is, who has an older value takes that
                landed |= self._stand_ins(missing, flights, error)
        return landed

    def _stand_ins(
        self, missing: Sequence[str], flights: Mapping[str, Flight[Found]], error: Exception
    ) -> dict[str, Found]:
        """Old values for all that could not be computed; where one lacks, the computation has failed for all."""
        old = {key: stand_in for key in missing if (stand_in := flights[key].stand_in) and not flights[key].detached}
        if self._anew or len(old) < len(missing):
            raise error
        for key in missing:
            self._give_up(key, old[key], error)
        return old

    async def _make(self, missing: list[str], flights: Mapping[str, Flight[Found]]) -> dict[str, Found]:
        begun = self._now()
        values = await run_many(self._compute, missing, limit=self._limit)
        took = (self._now() - begun) / len(missing)
        made = {}
        async for some in Pieces(missing):
            for key in some:
                flight = flights[key]
                made[key] = await self._keep(key, values[key], version=flight.version or ZERO, took=took, flight=flight)
        return made
