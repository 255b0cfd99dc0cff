"""All that a fleet has counted, for who asks again and again: days that are over are read once in a while, not each time."""

import asyncio
from typing import Final

from toolcache.metrics.recorder import plus
from toolcache.metrics.snapshot import Metrics, Snapshot
from toolcache.metrics.spans import DAY
from toolcache.pieces import Pieces
from toolcache.protocols import Clock
from toolcache.tool_cache import ToolCache

ANEW: Final = 3_600.0
"""Seconds after which the days that are over are read anew: a host that was away may have had something to tell of them."""
_SOON: Final = 60.0
_DAYS: Final = DAY.kept // DAY.seconds
_OPEN: Final = 2
"""Days that are read each time, at least: today, and yesterday, of which the last second may come late."""
_PIECE: Final = 8


class Ever:
    """The sums of a fleet over all days that are kept.

    Args:
        cache: whose.
        clock: tells when the days that are over are to be read anew.
    """

    def __init__(self, cache: ToolCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._past: Snapshot | None = None
        self._open = _OPEN
        self._due = 0.0
        self._reading: asyncio.Task[Metrics] | None = None

    async def metrics(self) -> Metrics:
        """The same sums as of ``cache.metrics("400d")``, without its points; not complete until the days that are over are known."""
        if self._reading is None and (self._past is None or self._clock.monotonic() >= self._due):
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._ended)
        if self._past is None and self._reading is not None:
            whole = await asyncio.shield(self._reading)  # who is too impatient for it leaves it to who comes next
            if not whole.complete:
                return whole._replace(points=())
        past = self._past
        assert past is not None  # noqa: S101 - it was read
        recent = await self._recent(self._open)
        while recent.since > past.until:  # a midnight ago these were enough
            self._open += 1
            recent = await self._recent(self._open)
        if recent.since < past.until:  # the clock was set back by days
            self._past = None
            return recent._replace(complete=False)
        both = plus(past, recent)
        return recent._replace(**{**vars(both), "until": recent.until}, points=())

    async def _recent(self, days: int) -> Metrics:
        return await self._cache.metrics(days * DAY.seconds, step=DAY.seconds)

    async def _read(self) -> Metrics:
        """Know the days that are over; all that was found."""
        found = await self._recent(_DAYS)
        self._due = self._clock.monotonic() + (ANEW if found.complete else _SOON)
        if found.complete:
            first, last = found.points[0], found.points[-_OPEN]
            past = Snapshot(first.since, last.since)
            async for few in Pieces(found.points[:-_OPEN], _PIECE):
                for point in few:
                    past = plus(past, point)
            self._past, self._open = past, _OPEN
        return found

    async def aclose(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def _ended(self, reading: "asyncio.Task[Metrics]") -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # which whoever waited for it was told
