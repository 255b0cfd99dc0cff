"""The machine: the order of things, for the keys of any domain.

    hit    memory: one comparison of instants, and the value
    miss   the flight for the key → the layers, near to far → compute → answer the waiters → write back
    write  memory, then Redis, then files for what Redis did not take; delete is the write of a tombstone, clear the
           write of one epoch

No store can raise at a caller. Values that can be changed are kept encoded, and each caller gets a copy of its own.
"""

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from math import inf
from typing import Any

from toolcache.answers import Answers
from toolcache.aside import Lengthy
from toolcache.bus import Bus
from toolcache.changes import Changes
from toolcache.compute import Compute, Context
from toolcache.crowd import ComputeMany
from toolcache.domains import GENERAL, Domain
from toolcache.durations import Duration
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability, Invalidation, Missing
from toolcache.epochs import Epochs
from toolcache.errors import CacheClosedError
from toolcache.filler import Filler
from toolcache.follower import Follower
from toolcache.found import Found, whole
from toolcache.freshness import UNSAID, Freshness
from toolcache.hits import Hits
from toolcache.home import Home, Homes
from toolcache.horizon import Horizon
from toolcache.invalidator import Invalidator
from toolcache.journal import Journal
from toolcache.keys.text import key_text, store_key
from toolcache.ledger import Ledger
from toolcache.owed import Owed
from toolcache.parts import Due, Parts
from toolcache.pieces import Pieces
from toolcache.places import Places
from toolcache.reader import Reader
from toolcache.risk import Risk
from toolcache.runs import Runs
from toolcache.scanner import Scanner
from toolcache.sets import Sets
from toolcache.stats import LayerTally, Tallies, Tally
from toolcache.sweeper import Sweeper
from toolcache.tags import labels
from toolcache.writer import Writer


class Machine:
    """What a cache does.

    Args:
        parts: what it is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tallies = Tallies()
        self.memory_tally = LayerTally()
        self.homes = Homes()
        self.used = False
        self._places = Places()
        self._memory = parts.memory
        self._now = parts.clock.monotonic
        self._hits = Hits(parts, self._places, self.tallies, self.memory_tally)
        self.hit = self._hits.one
        self._epochs = Epochs(lambda scope: store_key("e", parts.namespace, key_text(scope)))
        self._entries = Entries(parts, self._epochs)
        self._writer = Writer(parts, self.homes)
        self._horizon = Horizon(parts, self._epochs, self._entries, self._writer, self.homes)
        self._owed = Owed(parts, self._horizon)
        self._reader = Reader(parts, self._epochs, self._entries, self._horizon, self._owed, self._writer, self.homes)
        self.scanner = Scanner(parts, self._epochs, self._entries, self._horizon, self._reader.recall)
        self._risk = Risk(parts, self._entries)
        self.ledger = Ledger(parts, self._epochs, self._entries, self._horizon)
        self.answers = Answers(parts, self.ledger)
        self.runs = Runs(parts, self.ledger, self.answers, self.homes)
        self.sweeper = Sweeper(parts.memory)
        self._follower = Follower(parts, self._horizon, self._reader, self.homes)
        self._invalidator = Invalidator(parts, self._horizon, self._writer, self.homes, self._risk)
        self.journal = Journal(parts, self._owed.catch_up, self.ledger.replay, self.homes)
        self.bus = Bus(
            parts, self._entries, self._horizon, self._reader, self.homes, self._emptied, self.runs.assert_anew
        )
        self._changes = Changes(
            parts,
            entries=self._entries,
            writer=self._writer,
            reader=self._reader,
            risk=self._risk,
            homes=self.homes,
            tallies=self.tallies,
            find=self._found,
            tells_of=self.bus.tells_of,
        )
        self._filler = Filler(
            parts, self._epochs, self._entries, self._writer, self.find, self.homes, self.tallies, self._changes.written
        )
        self._far = parts.redis is not None or parts.files is not None
        self.keep = (
            None
            if self._far
            else Sets(
                parts, self._places, self._entries, self.homes, self.sweeper, self.tallies, self._changes.coming
            ).one
        )

    # -- reading ------------------------------------------------------------------------------------------------

    async def get(self, key: str, domain: Domain, default: Any = None) -> Any:
        """The value, or ``default``."""
        value = self.hit(key)
        return await self.seek(key, domain, default) if value is MISSING else value

    async def seek(self, key: str, domain: Domain, default: Any = None) -> Any:
        """The same of a key that is no hit."""
        found = await self._find_one(self._enter(key), domain)
        if type(value := found.value) is Lengthy:
            value = await whole(value)
        return default if found.held is None or value is MISSING else value

    def find_one(self, key: str, domain: Domain, *, counted: bool = True) -> Coroutine[Any, Any, Found]:
        """What memory or the layers hold of a key."""
        return self._find_one(self._enter(key), domain, counted=counted)

    async def _find_one(
        self, place: str, domain: Domain, *, counted: bool = True, final: bool = True, due: Due | None = None
    ) -> Found:
        """As ``find``, of one place."""
        begun = self._now()
        if self._follower.behind:
            await self._follower.catch_up()
        tally = self.tallies.of(domain)
        found = self._reader.look(place)
        absent = found.held is None
        if absent and self.parts.enabled:
            known = self._reader.glance(place, domain, tally)
            found = known or (await self._reader.fetch((place,), domain, tally, due))[place]
        if counted and (final or found.held is not None):
            self._count(found, tally)
            self.memory_tally.misses += absent
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
            return {places[0]: await self._find_one(places[0], domain, counted=counted, final=final, due=due)}
        begun = self._now()
        if self._follower.behind:
            await self._follower.catch_up()
        tally = self.tallies.of(domain)
        found = {place: self._reader.look(place) for place in places}
        absent = [place for place in places if found[place].held is None]
        if absent and self.parts.enabled:
            found.update(await self._reader.fetch(absent, domain, tally, due))
        if counted:
            settled = [one for one in found.values() if final or one.held is not None]
            for one in settled:
                self._count(one, tally)
            self.memory_tally.misses += len(absent) - (len(places) - len(settled))
            if due is None and settled:
                tally.latency.add(self._now() - begun, len(settled))
        return found

    def _count(self, found: Found, tally: Tally) -> None:
        held = found.held
        if held is None:
            tally.misses += 1
        elif type(found.value) is Lengthy:  # of memory
            self._hits.late(held)
        else:
            tally.far_hits += 1
            tally.seconds_saved += held.seconds

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
        places = self.enter(keys)
        found = await self.find(places, domain, final=final)
        values = {}
        for key, place in zip(keys, places, strict=True):
            held, _, value, _ = found[place]
            if type(value) is Lengthy:
                value = await whole(value)
            if held is not None and value is not MISSING:
                values[key] = value
        return values

    # -- computing ----------------------------------------------------------------------------------------------

    async def compute(
        self,
        key: str,
        compute: Compute,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        lock: bool | None = None,
        freshness: Freshness = UNSAID,
    ) -> Any:
        """The value, computed if it is missing; ``lock`` as the cache is told, unless given."""
        value = self.hit(key)
        if value is not MISSING:
            return value
        return await self.fill(key, compute, domain, ttl=ttl, tags=tags, lock=lock, freshness=freshness)

    async def fill(
        self,
        key: str,
        compute: Compute,
        domain: Domain = GENERAL,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        lock: bool | None = None,
        freshness: Freshness = UNSAID,
    ) -> Any:
        """The same of a key that is no hit."""
        place, (lifetime, given) = self._enter(key), self._terms(ttl, tags, domain)
        policy = self._entries.policy(domain, freshness)
        return await self._filler.fill(place, compute, domain, ttl=lifetime, tags=given, lock=lock, policy=policy)

    async def compute_many(
        self,
        keys: Sequence[str],
        compute: ComputeMany,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Values by key; the missing ones computed by one call, each key by whoever asked for it first."""
        values, absent = await self.hits_of(keys, domain)
        if absent:
            places: dict[str, str] = {}
            async for some in Pieces(absent):
                places.update(zip(some, self.enter(some), strict=True))
            landed = await self._filler.fill_many(
                list(places.values()),
                compute,
                domain,
                Context(*self._terms(ttl, tags, domain), self._entries.policy(domain)),
            )
            async for some in Pieces(absent):
                values.update((key, landed[places[key]]) for key in some)
        return values

    def _terms(
        self, ttl: Duration | Missing | None, tags: Iterable[str], domain: Domain
    ) -> tuple[float | None, tuple[str, ...]]:
        """A lifetime in seconds, None for ever, and tags, as computations are told."""
        lifetime = self._entries.lifetime(ttl, domain)
        return None if lifetime == inf else lifetime, labels(tags)

    # -- writing ------------------------------------------------------------------------------------------------

    async def set(
        self,
        key: str,
        value: Any,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store a value; where it is safe."""
        given = labels(tags)  # once: they may be gone through but once
        try:
            if self.keep is None:
                return await self._changes.set(self._enter(key), value, domain, ttl, given)
            if not given:
                return self.keep(key, value, domain, ttl)
        except Lengthy:
            pass
        return (await self._changes.set_many([self._enter(key)], [value], domain, ttl, given))[0]

    async def set_many(
        self,
        mapping: Mapping[str, Any],
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
    ) -> dict[str, Durability]:
        """Store values; where each is safe. If one cannot be stored, none is."""
        places = self.enter(mapping)
        safe = await self._changes.set_many(places, list(mapping.values()), domain, ttl, labels(tags))
        return dict(zip(mapping, safe, strict=True))

    async def add(
        self,
        key: str,
        value: Any,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store a value only if none is there; whether it was stored."""
        return await self._changes.add(self._enter(key), value, domain, ttl, labels(tags))

    async def expire(self, key: str, domain: Domain) -> bool:
        """Have a value be past its time; whether one was there."""
        return await self._changes.expire(self._enter(key), domain)

    async def delete_many(self, keys: Iterable[str], domain: Domain) -> dict[str, bool]:
        """Remove keys everywhere; for each, whether a value was there."""
        wanted = list(dict.fromkeys(keys))
        was = await self._changes.delete_many(self.enter(wanted), domain)
        return dict(zip(wanted, was, strict=True))

    async def _found(self, place: str, domain: Domain, due: Due) -> Found:
        return await self._find_one(place, domain, counted=False, due=due)

    async def clear(self) -> Invalidation:
        """Forget the namespace in every layer."""
        self.enter(())
        return await self._invalidator.clear(await self._changes.come())

    async def invalidate(self, tags: Iterable[str]) -> Invalidation:
        """Forget in every layer what carries one of these tags, or one beneath it."""
        given = labels(tags)
        if not given:
            raise ValueError("name at least one tag: invalidate(tags=['news'])")
        self.enter(())
        return await self._invalidator.invalidate("tags", given, await self._changes.come())

    def lifetime(self, ttl: Duration | Missing | None, domain: Domain) -> float:
        """Seconds; infinite for None."""
        return self._entries.lifetime(ttl, domain)

    def _emptied(self) -> None:
        """Redis was flushed."""
        self.journal.flushed()
        self.runs.assert_anew()

    def enter(self, keys: Iterable[str]) -> list[str]:
        """The places of keys. Refuses what no call may bring: a closed cache, a foreign loop, keys that are not text."""
        self._arrive()
        return [self._places.of(key) for key in keys]

    def _enter(self, key: str) -> str:
        """The place of a key; see ``enter``."""
        self._arrive()
        held = self._memory.front.get(key) if type(key) is str else None
        return self._places.of(key) if held is None else held.key

    def _arrive(self) -> None:
        if self.homes.closed and self.homes.refusing:
            raise CacheClosedError
        self.sweeper.arm()
        if not self._far:
            return
        self.used = True  # what must be closed
        if not self.homes.closed:
            home = self.homes.here()
            if not home.staffed:
                self._staff(home)

    def _staff(self, home: Home) -> None:
        """Have the loop's attendants there."""
        if self._follower.needed and home.attend(self._follower.run):
            self._follower.behind = True
        if self.bus.needed:
            home.attend(self.bus.run)
        if self.journal.needed:
            home.attend(self.journal.run)
        home.staffed = True
