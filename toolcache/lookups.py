"""Lookups: what memory and the layers hold, for whoever asks."""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from toolcache.aside import Lengthy
from toolcache.domains import Domain
from toolcache.entrance import Entrance
from toolcache.entry import MISSING, Held
from toolcache.follower import Follower
from toolcache.found import Found, whole
from toolcache.hits import Hits
from toolcache.memory.watcher import LAST_BITS
from toolcache.modes import Modes
from toolcache.parts import Due, Parts
from toolcache.pieces import Pieces
from toolcache.reader import Reader
from toolcache.tallies import LayerTally, Tallies, Tally


class Lookups:
    """The lookups of one cache.

    Args:
        parts: the cache's parts.
        entrance: the way in.
        modes: who does not want to know.
        hits: what memory answers by itself.
        reader: what the layers answer.
        follower: to be heard first.
        tallies: the counts.
        memory_tally: those of memory.
    """

    def __init__(
        self,
        parts: Parts,
        entrance: Entrance,
        modes: Modes,
        hits: Hits,
        reader: Reader,
        follower: Follower,
        tallies: Tallies,
        memory_tally: LayerTally,
    ) -> None:
        self._enabled = parts.enabled
        self._memory = parts.memory
        self._now = parts.clock.monotonic
        self._entrance = entrance
        self._modes = modes
        self._hits = hits
        self._reader = reader
        self._follower = follower
        self._tallies = tallies
        self._memory_tally = memory_tally

    async def get(self, key: str, domain: Domain, default: Any = None) -> Any:
        """The value, or ``default``."""
        value = self._hits.one(key)
        return await self.seek(key, domain, default) if value is MISSING else value

    async def seek(self, key: str, domain: Domain, default: Any = None) -> Any:
        """The same of a key that is no hit."""
        place = self._entrance.one(key)
        if self._modes():
            self._tallies.of(domain).bypassed += 1
            return default
        found = await self._find_place(place, domain)
        if type(value := found.value) is Lengthy:
            value = await whole(value)
        return default if found.held is None or value is MISSING else value

    def find_one(self, key: str, domain: Domain, *, counted: bool = True) -> Coroutine[Any, Any, Found]:
        """What memory or the layers hold of a key."""
        return self._find_place(self._entrance.one(key), domain, counted=counted)

    async def _find_place(
        self, place: str, domain: Domain, *, counted: bool = True, final: bool = True, due: Due | None = None
    ) -> Found:
        """As ``find``, of one place."""
        begun = self._now()
        if self._follower.behind:
            await self._follower.catch_up()
        tally = self._tallies.of(domain)
        found = self._reader.look(place)
        absent = found.held is None
        if absent and self._enabled:
            known = self._reader.glance(place, domain, tally)
            found = known or (await self._reader.fetch((place,), domain, tally, due))[place]
        if counted and (final or found.held is not None):
            self._count(place, found, tally, far=absent)
            self._memory_tally.misses += absent
            if due is None:
                tally.latency.add(self._now() - begun)
        return found

    async def find(
        self, places: Sequence[str], domain: Domain, *, counted: bool = True, final: bool = True, due: Due | None = None
    ) -> dict[str, Found]:
        """What memory or the layers hold of several places; not ``final``: what is missing is counted another time.

        ``due`` comes from a call that does more, and times itself.
        """
        if len(places) == 1:
            return {places[0]: await self._find_place(places[0], domain, counted=counted, final=final, due=due)}
        begun = self._now()
        if self._follower.behind:
            await self._follower.catch_up()
        tally = self._tallies.of(domain)
        found = {place: self._reader.look(place) for place in places}
        absent = [place for place in places if found[place].held is None]
        if absent and self._enabled:
            found.update(await self._reader.fetch(absent, domain, tally, due))
        if counted:
            settled = [place for place, one in found.items() if final or one.held is not None]
            far = set(absent)
            for place in settled:
                self._count(place, found[place], tally, far=place in far)
            self._memory_tally.misses += len(absent) - (len(places) - len(settled))
            if due is None and settled:
                tally.latency.add(self._now() - begun, len(settled))
        return found

    def settle(self, place: str, domain: Domain, waited: Held | None) -> None:
        """Count what was not final: a miss, or a value that others were computing."""
        tally = self._tallies.of(domain)
        self._memory_tally.misses += 1
        self._watch(place, waited, tally)
        if waited is None:
            tally.misses += 1
        else:
            tally.joined(waited.seconds)

    async def find_again(self, place: str, domain: Domain, due: Due) -> Found:
        """The same for a call that goes by what is there, and does more."""
        return await self._find_place(place, domain, counted=False, due=due)

    def _count(self, place: str, found: Found, tally: Tally, *, far: bool) -> None:
        held = found.held
        if held is not None and type(found.value) is Lengthy:  # of memory
            self._hits.late(held)
            return
        self._watch(place, held, tally)
        if held is None:
            tally.misses += 1
        else:
            tally.found(held.layer if far else "", held.seconds)

    def _watch(self, place: str, held: Held | None, tally: Tally) -> None:
        memory = self._memory
        if hash(place) & LAST_BITS < memory.sampled:
            memory.watcher.sought(place, held, tally)

    async def get_many(self, keys: Iterable[str], domain: Domain) -> dict[str, Any]:
        """The hits, in the order of the keys; what memory lacks is one round trip."""
        asked = keys if isinstance(keys, list) else list(keys)
        values, absent = self._hits.many(asked, domain)
        if not absent:
            return values
        values |= await self.fetch_many(list(dict.fromkeys(absent)), domain)
        return {key: values[key] for key in asked if key in values}

    async def hits_of(self, keys: Sequence[str], domain: Domain) -> tuple[dict[str, Any], list[str]]:
        """What memory answers by itself, some keys at a time, and the keys that it does not answer."""
        values: dict[str, Any] = {}
        absent: list[str] = []
        async for some in Pieces(keys):
            found, lacking = self._hits.many(some, domain)
            values |= found
            absent += lacking
        return values, absent

    async def fetch_many(self, keys: Sequence[str], domain: Domain, *, final: bool = True) -> dict[str, Any]:
        """What memory or the layers hold of keys that are no hits, each of them once. ``final``: see ``find``."""
        places = self._entrance.each(keys)
        if self._modes():
            self._tallies.of(domain).bypassed += len(places)
            return {}
        found = await self.find(places, domain, final=final)
        values = {}
        for key, place in zip(keys, places, strict=True):
            held, _, value, _ = found[place]
            if type(value) is Lengthy:
                value = await whole(value)
            if held is not None and value is not MISSING:
                values[key] = value
        return values
