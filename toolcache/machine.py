"""The machine: the order of things, for the keys of any domain.

    hit    memory: one comparison of instants, and the value
    miss   the flight for the key → the layers, near to far → compute → answer the waiters → write back
    write  memory, then Redis, then files for what Redis did not take; delete is the write of a tombstone, clear the
           write of one epoch

No store can raise at a caller. Values that can be changed are kept encoded, and each caller gets a copy of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from toolcache.answers import Answers
from toolcache.blob import TOMBSTONE, CorruptBlobError
from toolcache.bus import Bus
from toolcache.compute import Compute, Context
from toolcache.crowd import ComputeMany
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability, Held, Invalidation, Missing
from toolcache.epochs import Epochs
from toolcache.errors import CacheClosedError
from toolcache.filler import Filler
from toolcache.follower import Follower
from toolcache.home import Homes
from toolcache.horizon import Horizon
from toolcache.invalidator import Invalidator
from toolcache.journal import Journal
from toolcache.keys.text import key_text, store_key
from toolcache.ledger import Ledger
from toolcache.parts import Due, Parts
from toolcache.places import Places
from toolcache.reader import Found, Reader
from toolcache.risk import Risk
from toolcache.runs import Runs
from toolcache.stats import LayerTally, Tallies, Tally
from toolcache.sweeper import Sweeper
from toolcache.tags import labels
from toolcache.writer import Draft, Outcome, Writer

_SAMPLE: Final = 1023


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
        self._shards = parts.memory.shards
        self._mask = parts.memory.mask
        self._touch = parts.memory.touch
        self._now = parts.clock.monotonic
        self._epochs = Epochs(lambda scope: store_key("e", parts.namespace, key_text(scope)))
        self._entries = Entries(parts, self._epochs)
        self._writer = Writer(parts, self.homes)
        self._horizon = Horizon(parts, self._epochs, self._entries, self._writer, self.homes)
        self._reader = Reader(parts, self._epochs, self._entries, self._horizon, self._writer, self.homes)
        self._risk = Risk(parts, self._entries, self._writer)
        self.ledger = Ledger(parts, self._epochs, self._entries, self._horizon)
        self.answers = Answers(parts, self.ledger)
        self.runs = Runs(parts, self.ledger, self.answers, self.homes)
        self.sweeper = Sweeper(parts.memory)
        self._filler = Filler(
            parts, self._epochs, self._entries, self._writer, self.find, self.homes, self.tallies, self._written
        )
        self._follower = Follower(parts, self._horizon, self._reader, self.homes)
        self._invalidator = Invalidator(parts, self._horizon, self._writer, self.homes, self._risk)
        self.journal = Journal(parts, self._reader.catch_up, self.ledger.replay, self.homes)
        self.bus = Bus(
            parts, self._entries, self._horizon, self._reader, self.homes, self._emptied, self.runs.assert_anew
        )
        self._far = parts.redis is not None or parts.files is not None

    # -- reading ------------------------------------------------------------------------------------------------

    def hit(self, key: str) -> Any:
        """The value if memory may answer, else MISSING. Everything a hit does is here."""
        held = self._shards[hash(key) & self._mask].get(key)
        if held is None:
            place = self._places.get(key)
            if place is None:
                return MISSING
            key = place
            held = self._shards[hash(key) & self._mask].get(key)
        if held is None or self._now() >= held.settled_until or held.era != self._memory.era:
            return MISSING
        held.hits += 1
        tally = held.tally
        before = tally.hits
        tally.hits = before + 1
        tally.seconds_saved += held.seconds
        if self._touch is not None:
            self._touch(key, held)
        try:
            if not before & _SAMPLE:
                self._sample(key)
            return held.value if held.thaw is None else held.thaw(held.value)
        except CorruptBlobError:  # a codec of others that does not read what it wrote
            return MISSING

    async def get(self, key: str, domain: Domain, default: Any = None) -> Any:
        """The value, or ``default``."""
        value = self.hit(key)
        if value is not MISSING:
            return value
        found = await self.find_one(key, domain)
        return default if found.held is None else found.value

    async def find_one(self, key: str, domain: Domain, *, counted: bool = True) -> Found:
        """What memory or the layers hold of a key."""
        (place,) = self.enter((key,))
        return (await self.find((place,), domain, counted=counted))[place]

    async def find(
        self, places: Sequence[str], domain: Domain, *, counted: bool = True, final: bool = True, due: Due | None = None
    ) -> dict[str, Found]:
        """What memory or the layers hold of several places; not ``final``: what is missing is counted another time.

        ``due`` comes from a call that does more, and times itself.
        """
        begun = self._now()
        if self._follower.behind:
            await self._follower.catch_up()
        tally = self.tallies.of(domain)
        found = {place: self._reader.look(place) for place in places}
        absent = [place for place in places if found[place].held is None]
        if absent and self.parts.enabled:
            found.update(await self._reader.fetch(absent, domain, tally, due))
        if counted:
            hits = [item.held.seconds for item in found.values() if item.held is not None]
            later = 0 if final else len(places) - len(hits)
            tally.far_hits += len(hits)
            tally.seconds_saved += sum(hits)
            tally.misses += len(places) - len(hits) - later
            self.memory_tally.misses += len(absent) - later
            if due is None and len(places) > later:
                tally.latency.add(self._now() - begun, len(places) - later)
        return found

    async def get_many(self, keys: Iterable[str], domain: Domain, *, final: bool = True) -> dict[str, Any]:
        """The hits, in the order of the keys; what memory lacks is one round trip. ``final``: see ``find``."""
        wanted = list(dict.fromkeys(keys))
        values = {key: self.hit(key) for key in wanted}
        absent = [key for key in wanted if values[key] is MISSING]
        if absent:
            places = self.enter(absent)
            found = await self.find(places, domain, final=final)
            for key, place in zip(absent, places, strict=True):
                if found[place].held is not None:
                    values[key] = found[place].value
        return {key: value for key, value in values.items() if value is not MISSING}

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
    ) -> Any:
        """The value, computed if it is missing; ``lock`` as the cache is told, unless given."""
        value = self.hit(key)
        if value is not MISSING:
            return value
        (place,) = self.enter((key,))
        context = self._context(ttl, tags, domain)
        return (await self._filler.fill(place, compute, domain, context, lock=lock)).own()

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
        values = {key: self.hit(key) for key in keys}
        absent = [key for key, value in values.items() if value is MISSING]
        if absent:
            places = self.enter(absent)
            landed = await self._filler.fill_many(places, compute, domain, self._context(ttl, tags, domain))
            values.update((key, held.own()) for key, held in zip(absent, landed, strict=True))
        return values

    def _context(self, ttl: Duration | Missing | None, tags: Iterable[str], domain: Domain) -> Context:
        lifetime = self._entries.lifetime(ttl, domain)
        return Context(None if lifetime == float("inf") else lifetime, labels(tags))

    # -- writing ------------------------------------------------------------------------------------------------

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
        lifetime, given = self._entries.lifetime(ttl, domain), labels(tags)
        encoded = [self._entries.encode(value, domain, given) for value in mapping.values()]
        if not self.parts.enabled:
            return dict.fromkeys(mapping, Durability.MEMORY)
        tally, due = self.tallies.of(domain), await self._meet()
        drafts, helds = [], []
        for place, value, body in zip(places, mapping.values(), encoded, strict=True):
            version = self._entries.version(place, tags=given)
            draft = self._entries.draft(self._entries.name(place), version, lifetime, body, given)
            held = self._entries.hold(draft, value, domain, tally)
            self._put(place, held)
            drafts.append(draft)
            helds.append(held)
        tally.sets += len(mapping)
        if not self._far:
            return dict.fromkeys(mapping, Durability.MEMORY)
        mirror = domain.name in self.parts.mirror
        outcomes = await self.homes.here().see_through(self._write(places, drafts, due, helds, mirror=mirror))
        self._risk.report("set", drafts, outcomes, raising=self.parts.strict)
        return {key: outcome.durability for key, outcome in zip(mapping, outcomes, strict=True)}

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
        (place,) = self.enter((key,))
        lifetime, given = self._entries.lifetime(ttl, domain), labels(tags)
        encoded = self._entries.encode(value, domain, given)
        if not self.parts.enabled:
            return False
        due, found = self.parts.due(), (await self.find((place,), domain, counted=False))[place]
        if found.held is not None:
            return False
        name, version = self._entries.name(place), self._entries.version(place, above=found.version, tags=given)
        draft = self._entries.draft(name, version, lifetime, encoded, given, once=True, dead=found.version)
        outcome = Outcome()
        if self._far:
            outcome = (await self.homes.here().see_through(self._writer.write([draft], due=due)))[0]
            if outcome.superseded:
                return False
            self._risk.report("add", [draft], [outcome], raising=self.parts.strict)
        tally, layer = self.tallies.of(domain), outcome.durability.name.lower()
        tally.sets += 1
        if self.bus.tells_of(outcome):
            self.homes.detach(place)
            self._reader.forget([place])
            return True
        return self._put(place, self._entries.hold(draft, value, domain, tally, layer=layer)) or self._far

    async def _meet(self) -> Due:
        """The budget of a call that writes; before the first one Redis is asked for the time."""
        due = self.parts.due()
        if not self._reader.met:
            await self._reader.meet(due.redis)
        return due

    def _put(self, place: str, held: Held) -> bool:
        """A live write into memory: computations and reads under way must not overtake it."""
        self.homes.detach(place)
        self._reader.interrupt(place)
        return self._memory.put(place, held)

    async def _write(
        self, places: list[str], drafts: list[Draft], due: Due, helds: Sequence[Held] = (), *, mirror: bool = False
    ) -> list[Outcome]:
        """What was read before it meanwhile goes, and who asks now joins none of that; also where the caller has left."""
        outcomes = await self._writer.write(drafts, mirror=mirror, due=due)
        for held, draft, outcome in zip(helds, drafts, outcomes, strict=False):  # none of a delete
            held.version, held.layer = draft.version, outcome.durability.name.lower()
        for place, draft, outcome in zip(places, drafts, outcomes, strict=True):
            self.homes.detach(place)
            self._written(place, draft, outcome)
        return outcomes

    def _written(self, place: str, draft: Draft, outcome: Outcome) -> None:
        """The layers have a version of the key."""
        self._reader.overtake(place, draft.version, told=self.bus.tells_of(outcome))

    async def delete_many(self, keys: Iterable[str], domain: Domain) -> dict[str, bool]:
        """Remove keys everywhere; for each, whether a value was there."""
        wanted = list(dict.fromkeys(keys))
        places = self.enter(wanted)
        self.tallies.of(domain).deletes += len(wanted)
        due = await self._meet()
        was = [self._reader.alive(place) for place in places]
        drafts = [self._tombstone(place) for place in places]
        for place in places:
            self.homes.detach(place)
        self._reader.forget(places)
        if not self._far:
            return dict(zip(wanted, was, strict=True))
        outcomes = await self.homes.here().see_through(self._write(places, drafts, due))
        self._risk.report("delete", drafts, outcomes, raising=True)
        return {key: here or there.was_live for key, here, there in zip(wanted, was, outcomes, strict=True)}

    def _tombstone(self, place: str) -> Draft:
        name, version = self._entries.name(place), self._entries.version(place)
        return self._entries.draft(name, version, self.parts.tombstone_ttl, None, (), flags=TOMBSTONE)

    async def clear(self) -> Invalidation:
        """Forget the namespace in every layer."""
        self.enter(())
        return await self._invalidator.clear(await self._meet())

    async def invalidate(self, tags: Iterable[str]) -> Invalidation:
        """Forget in every layer what carries one of these tags, or one beneath it."""
        given = labels(tags)
        if not given:
            raise ValueError("name at least one tag: invalidate(tags=['news'])")
        self.enter(())
        return await self._invalidator.invalidate("tags", given, await self._meet())

    def lifetime(self, ttl: Duration | Missing | None, domain: Domain) -> float:
        """Seconds; infinite for None."""
        return self._entries.lifetime(ttl, domain)

    def _emptied(self) -> None:
        """Redis was flushed."""
        self.journal.flushed()
        self.runs.assert_anew()

    def enter(self, keys: Iterable[str]) -> list[str]:
        """The places of keys. Refuses what no call may bring: a closed cache, a foreign loop, keys that are not text."""
        if self.homes.refusing:
            raise CacheClosedError
        home = self.homes.here()
        self.sweeper.arm()
        if not self.homes.closed:
            if self._follower.needed and home.attend(self._follower.run):
                self._follower.behind = True
            if self.bus.needed:
                home.attend(self.bus.run)
            if self.journal.needed:
                home.attend(self.journal.run)
        self.used = self._far  # what must be closed
        return [self._places.of(key) for key in keys]

    def _sample(self, key: str) -> None:
        """Time what a hit does: to do it again now and then costs less than to read the clock at each."""
        begun = self._now()
        held = self._memory.find(key)
        if held is not None and isinstance(held.tally, Tally):
            held.own()
            took = self._now() - begun
            self.memory_tally.latency.add(took)
            held.tally.sampled.add(took)
