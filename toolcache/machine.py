"""The machine: the order of things, for the keys of any domain.

    hit    memory: one comparison of instants, and the value
    miss   the flight for the key → the layers, near to far → compute → answer the waiters → write back
    write  memory, then Redis, then files for what Redis did not take; delete is the write of a tombstone, clear the
           write of one epoch

No store can raise at a caller. Values that can be changed are kept encoded, and each caller gets a copy of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from toolcache.blob import EPOCH, NEVER, TOMBSTONE
from toolcache.compute import Compute, Context
from toolcache.crowd import ComputeMany
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability, Invalidation, Missing
from toolcache.epochs import NAMESPACE, Epochs
from toolcache.errors import CacheClosedError, CacheWriteError, UnsupportedKeyError
from toolcache.events import DataAtRisk
from toolcache.filler import Filler
from toolcache.follower import Follower
from toolcache.home import Homes
from toolcache.keys.text import KeyText, key_digest
from toolcache.parts import Parts
from toolcache.reader import NOTHING, Found, Reader
from toolcache.records import Records
from toolcache.stats import LayerTally, Tallies
from toolcache.sweeper import Sweeper
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
        self._memory = parts.memory
        self._shards = parts.memory.shards
        self._mask = parts.memory.mask
        self._touch = parts.memory.touch
        self._now = parts.clock.monotonic
        self._epochs = Epochs()
        self._entries = Entries(parts, self._epochs)
        self._reader = Reader(parts, self._epochs, self._entries)
        self._writer = Writer(parts)
        self._records = Records(parts, self._entries, self._writer)
        self.sweeper = Sweeper(parts.memory)
        self._filler = Filler(parts, self._epochs, self._entries, self._writer, self.find, self.homes, self.tallies)
        self._follower = Follower(parts, self._epochs, self._entries, self._reader, self.homes)
        self._far = parts.redis is not None or parts.files is not None

    # -- reading ------------------------------------------------------------------------------------------------

    def hit(self, key: str) -> Any:
        """The value if memory may answer, else MISSING. Everything a hit does is here."""
        held = self._shards[hash(key) & self._mask].get(key)
        if held is None or self._now() >= held.settled_until or held.era != self._memory.era:
            return MISSING
        held.hits += 1
        tally = held.tally
        tally.hits += 1
        tally.seconds_saved += held.seconds
        if self._touch is not None:
            self._touch(key, held)
        if not tally.hits & _SAMPLE:
            self._sample(key)
        return held.value if held.thaw is None else held.thaw(held.value)

    async def get(self, key: str, domain: Domain, default: Any = None) -> Any:
        """The value, or ``default``."""
        value = self.hit(key)
        if value is not MISSING:
            return value
        found = (await self.find((key,), domain))[key]
        return default if found.held is None else found.value

    async def find(self, keys: Sequence[str], domain: Domain, *, counted: bool = True) -> dict[str, Found]:
        """What memory or the layers hold of each key."""
        self.enter(keys)
        tally = self.tallies.of(domain)
        found = {}
        for key in keys:
            held = self._reader.look(key)
            found[key] = NOTHING if held is None else Found(held, held.version, held.own())
        absent = [key for key in keys if found[key].held is None]
        if absent and self.parts.enabled:
            found.update(await self._reader.fetch(absent, domain, tally))
        if counted:
            hits = [item.held.seconds for item in found.values() if item.held is not None]
            tally.far_hits += len(hits)
            tally.seconds_saved += sum(hits)
            tally.misses += len(keys) - len(hits)
            self.memory_tally.misses += len(absent)
        return found

    async def get_many(self, keys: Iterable[str], domain: Domain) -> dict[str, Any]:
        """The hits, in the order of the keys; what memory lacks is one round trip."""
        wanted = list(dict.fromkeys(keys))
        values = {key: self.hit(key) for key in wanted}
        absent = [key for key in wanted if values[key] is MISSING]
        found = await self.find(absent, domain) if absent else {}
        values.update((key, item.value) for key, item in found.items() if item.held is not None)
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
    ) -> Any:
        """The value, computed if it is missing."""
        value = self.hit(key)
        if value is not MISSING:
            return value
        self.enter((key,))
        return (await self._filler.fill(key, compute, domain, self._context(ttl, tags, domain))).own()

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
            self.enter(absent)
            landed = await self._filler.fill_many(absent, compute, domain, self._context(ttl, tags, domain))
            values.update((key, held.own()) for key, held in zip(absent, landed, strict=True))
        return values

    def _context(self, ttl: Duration | Missing | None, tags: Iterable[str], domain: Domain) -> Context:
        labels = tuple(tags)
        self.parts.envelope.check(None, labels)
        lifetime = self._entries.lifetime(ttl, domain)
        return Context(None if lifetime == float("inf") else lifetime, labels)

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
        self.enter(mapping)
        lifetime, labels = self._entries.lifetime(ttl, domain), tuple(tags)
        encoded = {key: self._entries.encode(value, domain, labels) for key, value in mapping.items()}
        tally = self.tallies.of(domain)
        drafts, helds = [], []
        if not self.parts.enabled:
            return dict.fromkeys(mapping, Durability.MEMORY)
        for key, value in mapping.items():
            draft = self._entries.draft(
                self._entries.name(key), self._entries.version(key), lifetime, encoded[key], labels
            )
            held = self._entries.hold(draft, value, domain, tally)
            self.homes.detach(key)
            self._reader.interrupt(key)
            self._memory.put(key, held)
            drafts.append(draft)
            helds.append(held)
        tally.sets += len(mapping)
        if not self._far:
            return dict.fromkeys(mapping, Durability.MEMORY)
        outcomes = await self.homes.here().see_through(
            self._writer.write(drafts, mirror=domain.name in self.parts.mirror)
        )
        for held, draft in zip(helds, drafts, strict=True):
            held.version = draft.version
        self._report_risk("set", drafts, outcomes, raising=self.parts.strict)
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
        self.enter((key,))
        labels = tuple(tags)
        lifetime = self._entries.lifetime(ttl, domain)
        encoded = self._entries.encode(value, domain, labels)
        if not self.parts.enabled or (not self._far and self._reader.alive(key)):
            return False
        draft = self._entries.draft(
            self._entries.name(key), self._entries.version(key), lifetime, encoded, labels, once=True
        )
        held = self._entries.hold(draft, value, domain, self.tallies.of(domain))
        if self._far:
            outcome = (await self.homes.here().see_through(self._writer.write([draft])))[0]
            if outcome.superseded or (outcome.durability is Durability.MEMORY and self._reader.alive(key)):
                return False
        self.homes.detach(key)
        self._reader.interrupt(key)
        self.tallies.of(domain).sets += 1
        return self._memory.put(key, held)

    async def delete_many(self, keys: Iterable[str], domain: Domain) -> dict[str, bool]:
        """Remove keys everywhere; for each, whether a value was there."""
        wanted = list(dict.fromkeys(keys))
        self.enter(wanted)
        self.tallies.of(domain).deletes += len(wanted)
        was = {key: self._reader.alive(key) for key in wanted}
        drafts = [
            self._entries.draft(
                self._entries.name(key), self._entries.version(key), self.parts.tombstone_ttl, None, (), flags=TOMBSTONE
            )
            for key in wanted
        ]
        for key in wanted:
            self.homes.detach(key)
        self._reader.forget(wanted)
        if not self._far:
            return was
        outcomes = await self.homes.here().see_through(self._writer.write(drafts))
        # Once more: a read that was under way may have brought the old value back in the meantime.
        self._reader.forget(wanted)
        self._report_risk("delete", drafts, outcomes, raising=True)
        return {key: was[key] or outcome.was_live for key, outcome in zip(wanted, outcomes, strict=True)}

    async def clear(self) -> Invalidation:
        """Forget the namespace in every layer."""
        self.enter(())
        version = self.parts.hybrid.epoch()
        self._forget_before(version)
        self._memory.clear()
        self._records.clear()
        if not self._far:
            return Invalidation("namespace", "done", None, None)
        now_ms = int(self.parts.clock.time() * 1000)
        draft = Draft(name=self._entries.epoch_name, version=version, created_ms=now_ms, gone_ms=NEVER, flags=EPOCH)
        outcome = (await self.homes.here().see_through(self._writer.write([draft])))[0]
        self._forget_before(draft.version)
        self._report_risk("clear", [draft], [outcome], raising=True)
        return self._writer.receipt("namespace", outcome)

    def _forget_before(self, version: bytes) -> None:
        self._epochs.advance(NAMESPACE, version)
        self._memory.era += 1
        self._reader.interrupt_all()
        self.homes.detach_all()

    # -- results, written once ----------------------------------------------------------------------------------

    async def get_result(self, key: str, domain: Domain) -> Any:
        """A stored output, or MISSING."""
        self.enter((key,))
        output = await self._records.get(key) if self.parts.enabled else MISSING
        tally = self.tallies.of(domain)
        tally.misses += output is MISSING
        tally.far_hits += output is not MISSING
        return output

    async def commit_result(
        self,
        key: str,
        output: Any,
        domain: Domain,
        *,
        fingerprint: str,
        ttl: Duration | Missing | None = MISSING,
    ) -> Durability:
        """Store an output, unless one is stored already; ``fingerprint`` tells later of which task."""
        self.enter((key,))
        lifetime = self._entries.lifetime(ttl, domain)
        if not self.parts.enabled:
            return Durability.MEMORY
        self.tallies.of(domain).sets += 1
        return await self.homes.here().see_through(self._records.commit(key, output, lifetime, (f"@f:{fingerprint}",)))

    async def forget_result(self, key: str, domain: Domain) -> bool:
        """Forget an output; whether one was there."""
        self.enter((key,))
        self.tallies.of(domain).deletes += 1
        known, safe = await self.homes.here().see_through(self._records.forget(key))
        if not safe:
            raise CacheWriteError("delete", "no layer took it")
        return known

    # -- small change -------------------------------------------------------------------------------------------

    def enter(self, keys: Iterable[str]) -> None:
        """Refuse what no call may bring: a closed cache, a foreign event loop, keys that are not text."""
        if self.homes.closed:
            raise CacheClosedError
        home = self.homes.here()
        self.sweeper.arm()
        if self._follower.needed and self.parts.enabled:
            home.attend(self._follower.run)
        self.used = self._far  # what must be closed
        for key in keys:
            if type(key) is not str and type(key) is not KeyText:
                raise UnsupportedKeyError(
                    f"a key is text, not {type(key).__name__}: make_key(...) makes one of any values"
                )

    def _report_risk(
        self, operation: str, drafts: Sequence[Draft], outcomes: Sequence[Outcome], *, raising: bool
    ) -> None:
        unsafe = [draft for draft, outcome in zip(drafts, outcomes, strict=True) if not self._writer.safe(outcome)]
        for draft in unsafe:
            self.parts.announce(DataAtRisk(operation, key_digest(draft.name)[:4].hex()))
        if unsafe and raising:
            raise CacheWriteError(operation, f"{len(unsafe)} of {len(drafts)} keys")

    def _sample(self, key: str) -> None:
        begun = self._now()
        held = self._memory.find(key)
        if held is not None:
            held.own()
            self.memory_tally.latency.add(self._now() - begun)
