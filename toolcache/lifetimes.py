"""Gives a value that is there another lifetime, or has it be past its time.

It is written once more, in every layer, under a version right above its own. Whatever was written, deleted or invalidated
since it was is above both: so a value that was overtaken, or invalidated, never comes back by being touched or expired.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Final

from toolcache.aside import Lengthy, aside
from toolcache.blob import NEVER, Header
from toolcache.codec.envelope import Blob
from toolcache.domains import Domain
from toolcache.drafts import Outcome
from toolcache.durations import Duration
from toolcache.encoded import Encoded, Marked
from toolcache.entries import Entries
from toolcache.entry import MEMORY, MISSING, Aging, Held, Missing
from toolcache.found import Found, whole
from toolcache.home import Homes
from toolcache.parts import Due, Parts
from toolcache.reader import Reader
from toolcache.risk import Risk
from toolcache.tallies import Tallies
from toolcache.versions import just_above
from toolcache.writer import Writer

_TRIES: Final = 8


class Lifetimes:
    """Changes lifetimes, for one cache. Keys are places.

    Args:
        parts: the cache's parts.
        entries: makes entries.
        writer: has the layers keep them.
        reader: whose memory is told.
        risk: says what no layer has taken.
        homes: whose flights must not overtake the end of a value.
        tallies: count.
        find: what memory or the layers hold of a place.
        tells_of: whether Redis is going to tell this process, too, of a write that it took.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        entries: Entries,
        writer: Writer,
        reader: Reader,
        risk: Risk,
        homes: Homes,
        tallies: Tallies,
        find: Callable[[str, Domain, Due], Awaitable[Found]],
        tells_of: Callable[[Outcome], bool],
    ) -> None:
        self._parts = parts
        self._memory = parts.memory
        self._entries = entries
        self._writer = writer
        self._reader = reader
        self._risk = risk
        self._homes = homes
        self._tallies = tallies
        self._find = find
        self._tells_of = tells_of
        self._far = parts.redis is not None or parts.files is not None

    async def touch(self, place: str, domain: Domain, ttl: Duration | Missing | None) -> bool:
        """Have the value that is there last so long from now; whether one was there."""
        life, span_ms = self._entries.life(ttl, domain), self._entries.span_ms

        def ends(held: Held, now_ms: int) -> tuple[int, int]:
            fresh_ms, gone_ms = (NEVER if span == inf else now_ms + span_ms(span) for span in (life.fresh, life.gone))
            grace_ms = held.gone_ms - held.fresh_until_ms  # of who made it; NEVER is above all instants
            return fresh_ms, min(max(gone_ms, fresh_ms + grace_ms), NEVER)

        return await self._again("touch", place, domain, ends)

    async def expire(self, place: str, domain: Domain) -> bool:
        """Have the value that is there be past its time, until the end it has; whether one was there."""
        return await self._again("expire", place, domain, lambda held, now_ms: (now_ms, held.gone_ms))

    async def _again(
        self, operation: str, place: str, domain: Domain, ends: Callable[[Held, int], tuple[int, int]]
    ) -> bool:
        """Store the value that is there with other ``ends``, of when it is fresh and when it is there; whether one was."""
        for _ in range(_TRIES):
            due, era = self._parts.due(), self._memory.era
            found = await self._find(place, domain, due)
            held, value = found.held, await whole(found.value)
            if held is None or value is MISSING:
                return False
            encoded = await self._encoded(value, domain, held)
            blob, thaw = self._blob(held, encoded, ends), self._parts.coder.copier(encoded)
            new = self._entries.hold(blob, value, thaw, domain, self._tallies.of(domain), MEMORY, era)
            new.seconds = held.seconds
            if await self._keep(operation, place, held, new, blob, domain, due):
                return True
            self._reader.forget([place])  # a layer, or memory meanwhile, has something newer
        return False

    async def _encoded(self, value: object, domain: Domain, held: Held) -> Encoded:
        try:
            encoded = self._entries.encode(value, domain, held.tags)
        except Lengthy:
            (encoded,) = await aside(partial(self._entries.encode_all, (value,), domain, held.tags))
        return Marked(encoded, held.etag) if isinstance(held, Aging) and held.etag else encoded

    def _blob(self, held: Held, encoded: Encoded, ends: Callable[[Held, int], tuple[int, int]]) -> Blob:
        """The same value, as old as it is, with other ends."""
        now_ms = int(self._parts.clock.time() * 1000)
        fresh_ms, gone_ms = ends(held, now_ms)
        version, created_ms = just_above(held.version), min(held.created_ms, now_ms)
        header = Header(0, version, created_ms, fresh_ms, gone_ms, int(held.seconds * 1000), b"", 0, 0)
        return Blob(header, held.tags, encoded)

    async def _keep(
        self, operation: str, place: str, held: Held, new: Held, blob: Blob, domain: Domain, due: Due
    ) -> bool:
        """Have memory, where it holds the value still, and the layers take it; False if something newer is there."""
        there = self._memory.find(place)
        kept = there is not None and there.version == held.version
        self._reader.interrupt(place)
        if operation == "expire":
            self._homes.detach(place)  # what computes may have begun before
        if kept:
            self._memory.put(place, new)
        if not self._far or not self._parts.enabled:
            return kept
        draft = self._entries.copy_of(self._entries.name(place), blob)
        (outcome,) = await self._writer.write([draft], mirror=domain.name in self._parts.mirror, due=due)
        if outcome.superseded:
            return False
        self._risk.report(operation, [draft], [outcome], raising=self._parts.strict)
        new.layer = outcome.layer
        if operation == "expire":
            self._homes.detach(place)
        self._reader.overtake(place, draft.version, told=self._tells_of(outcome))
        return True
