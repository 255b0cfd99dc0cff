"""The machine: the order of things, for the keys of any domain.

    hit    memory: one comparison of instants, and the value
    miss   the flight for the key → the layers, near to far → compute → answer the waiters → write back
    write  memory, then Redis, then files for what Redis did not take; delete is the write of a tombstone, clear the
           write of one epoch

No store can raise at a caller. Values that can be changed are kept encoded, and each caller gets a copy of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from toolcache.answers import Answers
from toolcache.aside import Lengthy
from toolcache.bus import Bus
from toolcache.changes import Changes
from toolcache.compute import Compute, Context, run
from toolcache.crowd import ComputeMany, run_many
from toolcache.domains import GENERAL, Domain
from toolcache.durations import Duration
from toolcache.entrance import Entrance
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability, Invalidation, Missing
from toolcache.epochs import Epochs
from toolcache.filler import Filler
from toolcache.follower import Follower
from toolcache.freshness import UNSAID, Freshness
from toolcache.hits import Hits
from toolcache.home import Homes
from toolcache.horizon import Horizon
from toolcache.insight.watching import Insight
from toolcache.invalidator import Invalidator
from toolcache.journal import Journal
from toolcache.keys.text import key_text, store_key
from toolcache.ledger import Ledger
from toolcache.lifetimes import Lifetimes
from toolcache.lookups import Lookups
from toolcache.messages import Messages
from toolcache.metrics.recorder import Recorder
from toolcache.metrics.totals import Totals
from toolcache.modes import Mode, Modes
from toolcache.owed import Owed
from toolcache.parts import Parts
from toolcache.pieces import Pieces
from toolcache.places import Places
from toolcache.reader import Reader
from toolcache.risk import Risk
from toolcache.runs import Runs
from toolcache.sets import Sets
from toolcache.sweeper import Sweeper
from toolcache.tags import labels
from toolcache.tallies import LayerTally, Tallies
from toolcache.writer import Writer

if TYPE_CHECKING:
    from toolcache.gatherer import Gatherer
    from toolcache.metrics.history import History
    from toolcache.restorer import Restorer
    from toolcache.scanner import Scanner
    from toolcache.upkeep import Upkeep


class How(TypedDict, total=False):
    """How a value is computed and kept, where nothing else is said of it.

    Attributes:
        ttl: how long it stays good.
        tags: the caller's.
        own: labels of the cache's own, besides the domain's.
        lock: whether other processes wait for it; as the cache is told, unless given.
        mode: what is wanted; the caller's mode unless given.
        freshness: what is done when it nears its end.
    """

    ttl: Duration | Missing | None
    tags: Iterable[str]
    own: tuple[str, ...]
    lock: bool | None
    mode: Mode | None
    freshness: Freshness


class Machine:
    """What a cache does.

    Args:
        parts: what it is made of.

    Attributes:
        off: the names of domains of which nothing is looked up or kept.
    """

    off: frozenset[str] = frozenset()

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tallies = Tallies()
        self.memory_tally = LayerTally()
        self.homes = Homes()
        places = Places()
        self.modes = Modes(parts.memory)
        self._hits = Hits(parts, places, self.tallies, self.memory_tally)
        self.hit = self._hits.one
        self._epochs = Epochs(lambda scope: store_key("e", parts.namespace, key_text(scope)))
        self._entries = Entries(parts, self._epochs)
        self._writer = Writer(parts, self.homes)
        self._horizon = Horizon(parts, self._epochs, self._entries, self._writer, self.homes)
        self._owed = Owed(parts, self._horizon)
        self._reader = Reader(parts, self._epochs, self._entries, self._horizon, self._owed, self._writer, self.homes)
        self._risk = Risk(parts, self._entries)
        self.ledger = Ledger(parts, self._epochs, self._entries, self._horizon)
        self.answers = Answers(parts, self.ledger)
        self.runs = Runs(parts, self.ledger, self.answers, self.homes)
        self.messages = Messages(parts)
        self._follower = Follower(parts, self._horizon, self._reader, self.homes, self.messages)
        self._invalidator = Invalidator(parts, self._horizon, self._writer, self.homes, self._risk)
        self.journal = Journal(parts, self._owed.catch_up, self.ledger.replay, self.homes)
        self.bus = Bus(
            *(parts, self._entries, self._horizon, self._reader, self.homes, self.messages),
            *(self._emptied, self.runs.assert_anew),
        )
        self.totals = Totals(parts, self.tallies, self.memory_tally, self.runs.tally)
        self.recorder = Recorder(parts, self.totals, self.homes, self.journal, self.bus) if parts.metrics else None
        self.insight = None if self.recorder is None else Insight(parts, self.tallies)
        if self.recorder is not None and self.insight is not None:
            self.recorder.sketch = self.insight.sketch
        self.sweeper = Sweeper(parts.memory, self.recorder)
        self.entrance = Entrance(
            parts, places, self.homes, self.sweeper, self._follower, self.bus, self.journal, self.recorder
        )
        self._enter = self.entrance.one
        self.enter = self.entrance.each
        self.lookups = Lookups(
            parts, self.entrance, self.modes, self._hits, self._reader, self._follower, self.tallies, self.memory_tally
        )
        self._changes = Changes(
            parts,
            entries=self._entries,
            writer=self._writer,
            reader=self._reader,
            risk=self._risk,
            homes=self.homes,
            tallies=self.tallies,
            find=self.lookups.find_again,
            tells_of=self.bus.tells_of,
        )
        self._lifetimes = Lifetimes(
            parts,
            entries=self._entries,
            writer=self._writer,
            reader=self._reader,
            risk=self._risk,
            homes=self.homes,
            tallies=self.tallies,
            find=self.lookups.find_again,
            tells_of=self.bus.tells_of,
        )
        self._filler = Filler(
            parts,
            self._epochs,
            self._entries,
            self._writer,
            self.lookups.find,
            self._reader.recall,
            self.homes,
            self.tallies,
            self._changes.written,
            self.lookups.settle,
        )
        self.keep = (
            None
            if parts.redis is not None or parts.files is not None
            else Sets(parts, places, self._entries, self.homes, self.sweeper, self.tallies, self._changes.coming).one
        )

    @cached_property
    def scanner(self) -> "Scanner":
        """Lists a layer; made when it is first asked for."""
        from toolcache.scanner import Scanner

        return Scanner(self.parts, self._epochs, self._entries, self._horizon, self._reader.recall)

    @cached_property
    def history(self) -> "History":
        """Reads what the fleet has counted; made when it is first asked for."""
        from toolcache.metrics.history import History

        return History(self.parts, self.recorder)

    @cached_property
    def upkeep(self) -> "Upkeep":
        """Looks after many entries; made when it is first asked for."""
        from toolcache.cleanup import Cleanup
        from toolcache.upkeep import Upkeep

        cleanup = Cleanup(self.parts, self._epochs, self.scanner, self._reader.recall)
        return Upkeep(
            self.parts, self.entrance, self.scanner, self._changes, self._invalidator, self.homes, self._risk, cleanup
        )

    # -- moving -------------------------------------------------------------------------------------------------

    def gatherer(self) -> "Gatherer":
        """What gathers all entries."""
        from toolcache.gatherer import Gatherer

        return Gatherer(
            self.parts,
            entries=self._entries,
            epochs=self._epochs,
            horizon=self._horizon,
            scanner=self.scanner,
            recall=self._reader.recall,
            tallies=self.tallies,
        )

    def restorer(self, domains: Mapping[str, Domain]) -> "Restorer":
        """What puts entries in, of these domains by name."""
        from toolcache.restorer import Restorer

        return Restorer(
            self.parts,
            entries=self._entries,
            epochs=self._epochs,
            horizon=self._horizon,
            writer=self._writer,
            reader=self._reader,
            changes=self._changes,
            homes=self.homes,
            tallies=self.tallies,
            domains=domains,
        )

    # -- computing ----------------------------------------------------------------------------------------------

    async def compute(self, key: str, compute: Compute, domain: Domain, **how: Unpack[How]) -> Any:
        """The value, computed if it is missing."""
        value = self.hit(key)
        return await self.fill(key, compute, domain, **how) if value is MISSING else value

    async def fill(
        self,
        key: str,
        compute: Compute,
        domain: Domain = GENERAL,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
        lock: bool | None = None,
        mode: Mode | None = None,
        freshness: Freshness = UNSAID,
    ) -> Any:
        """The same of a key that is no hit."""
        place, context = self._enter(key), self._context(ttl, tags, own, domain, freshness)
        mode = mode or self.modes()
        if mode is Mode.BYPASS:
            tally = self.tallies.of(domain)
            tally.bypassed += 1
            return await tally.watch(run(compute, context), context)
        return await self._filler.fill(place, compute, domain, context, lock=lock, anew=mode is Mode.REFRESH)

    async def compute_many(
        self,
        keys: Sequence[str],
        compute: ComputeMany,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Values by key; the missing ones computed by one call, each key by whoever asked for it first."""
        values, absent = await self.lookups.hits_of(keys, domain)
        if absent:
            places: dict[str, str] = {}
            async for some in Pieces(absent):
                places.update(zip(some, self.enter(some), strict=True))
            context, mode = self._context(ttl, tags, own, domain), self.modes()
            if mode is Mode.BYPASS:
                self.tallies.of(domain).bypassed += len(absent)
                return values | dict(await run_many(compute, absent, limit=context.policy.hard_timeout))
            landed = await self._filler.fill_many(
                list(places.values()), compute, domain, context, anew=mode is Mode.REFRESH
            )
            async for some in Pieces(absent):
                values.update((key, landed[places[key]]) for key in some)
        return values

    def _context(
        self,
        ttl: Duration | Missing | None,
        tags: Iterable[str],
        own: tuple[str, ...],
        domain: Domain,
        freshness: Freshness = UNSAID,
    ) -> Context:
        """What a computation is told."""
        lifetime, policy = self._entries.lifetime(ttl, domain), self._entries.policy(domain, freshness)
        return Context(None if lifetime == inf else lifetime, labels(tags), policy, domain.labels + own)

    # -- writing ------------------------------------------------------------------------------------------------

    async def set(
        self,
        key: str,
        value: Any,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> Durability:
        """Store a value; where it is safe."""
        given = labels(tags)  # once: they may be gone through but once
        if self.modes() is Mode.BYPASS:
            return Durability.MEMORY
        try:
            if self.keep is None:
                return await self._changes.set(self._enter(key), value, domain, ttl, given + domain.labels + own)
            if not (given or own):
                return self.keep(key, value, domain, ttl)
        except Lengthy:
            pass
        return (await self._changes.set_many([self._enter(key)], [value], domain, ttl, given + domain.labels + own))[0]

    async def set_many(
        self,
        mapping: Mapping[str, Any],
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> dict[str, Durability]:
        """Store values; where each is safe. If one cannot be stored, none is."""
        places, given = self.enter(mapping), labels(tags) + domain.labels + own
        if self.modes() is Mode.BYPASS:
            return dict.fromkeys(mapping, Durability.MEMORY)
        safe = await self._changes.set_many(places, list(mapping.values()), domain, ttl, given)
        return dict(zip(mapping, safe, strict=True))

    async def add(
        self,
        key: str,
        value: Any,
        domain: Domain,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> bool:
        """Store a value only if none is there; whether it was stored."""
        place, given = self._enter(key), labels(tags) + domain.labels + own
        if self.modes() is Mode.BYPASS:
            return False
        return await self._changes.add(place, value, domain, ttl, given)

    async def expire(self, key: str, domain: Domain) -> bool:
        """Have a value be past its time; whether one was there."""
        return await self._lifetimes.expire(self._enter(key), domain)

    async def touch(self, key: str, domain: Domain, ttl: Duration | Missing | None) -> bool:
        """Have a value last so long from now; whether one was there."""
        return await self._lifetimes.touch(self._enter(key), domain, ttl)

    async def delete_many(self, keys: Iterable[str], domain: Domain) -> dict[str, bool]:
        """Remove keys everywhere; for each, whether a value was there."""
        wanted = list(dict.fromkeys(keys))
        was = await self._changes.delete_many(self.enter(wanted), domain)
        return dict(zip(wanted, was, strict=True))

    async def clear(self) -> Invalidation:
        """Forget the namespace in every layer."""
        self.enter(())
        return await self._invalidator.clear(await self._changes.come())

    async def forget(self, scope: str, labels: Sequence[str]) -> Invalidation:
        """Forget in every layer what carries one of these labels, or one beneath it; ``scope`` says what they stand for."""
        self.enter(())
        return await self._invalidator.invalidate(scope, labels, await self._changes.come())

    def lifetime(self, ttl: Duration | Missing | None, domain: Domain) -> float:
        """Seconds; infinite for None."""
        return self._entries.lifetime(ttl, domain)

    def _emptied(self) -> None:
        """Redis was flushed."""
        self.journal.flushed()
        self.runs.assert_anew()
        if self.recorder is not None:
            self.recorder.emptied()
