"""The machine: the order of things, for the keys of any domain.

    hit    memory: one comparison of instants, and the value
    miss   the flight for the key → the layers, near to far → compute → answer the waiters → write back
    write  memory, then Redis, then files for what Redis did not take; delete is the write of a tombstone, clear the
           write of one epoch

No store can raise at a caller. Values that can be changed are kept encoded, and each caller gets a copy of its own.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from toolcache.blob import EPOCH, NEVER, TOMBSTONE
from toolcache.compute import Compute, Context, run
from toolcache.crowd import ComputeMany, Crowd
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability, Held, Invalidation, Missing
from toolcache.epochs import NAMESPACE, Epochs
from toolcache.errors import CacheClosedError, CacheWriteError, SerializationError, UnsupportedKeyError
from toolcache.events import DataAtRisk, ValueNotStored
from toolcache.flight import Flight
from toolcache.follower import Follower
from toolcache.home import Homes
from toolcache.keys.text import KeyText, key_digest
from toolcache.parts import Parts
from toolcache.reader import NOTHING, Found, Reader
from toolcache.records import Records
from toolcache.stats import LayerTally, Tally
from toolcache.versions import ZERO
from toolcache.writer import Draft, Outcome, Writer

_SAMPLE: Final = 1023


class Machine:
    """What a cache does.

    Args:
        parts: what it is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tallies: dict[str, Tally] = {}
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
        tally = self.tally(domain)
        found = {}
        for key in keys:
            held = self._reader.look(key)
            found[key] = NOTHING if held is None else Found(held, held.version, own_copy(held))
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
        context = Context(self._entries.lifetime(ttl, domain), tuple(tags))
        led = False

        async def start(flight: Flight[Held]) -> Held:
            nonlocal led
            led = True
            return await self._fill(key, compute, domain, context, flight)

        held = await self.homes.here().flights.join(key, start)
        if not led:
            self.tally(domain).far_hits += 1
        return own_copy(held)

    async def _fill(self, key: str, compute: Compute, domain: Domain, context: Context, flight: Flight[Held]) -> Held:
        found = (await self.find((key,), domain))[key]
        if found.held is not None:
            return found.held
        # Taken before the computation: whatever is written meanwhile is newer, and wins.
        version = self._entries.version(above=found.version)
        begun = self._now()
        value = await run(compute, context)
        return self._keep(key, value, domain, context, version, self._now() - begun, flight)

    def _keep(
        self,
        key: str,
        value: Any,
        domain: Domain,
        context: Context,
        version: bytes,
        took: float,
        flight: Flight[Held],
    ) -> Held:
        """Make an entry of a computed value; store it, unless something newer was written meanwhile."""
        tally = self.tally(domain)
        tally.computed += 1
        tally.compute_seconds += took
        try:
            encoded = self._entries.encode(value, domain, context.tags)
            lifetime = self._entries.lifetime(context.ttl, domain)
        except SerializationError as error:
            tally.not_stored += 1
            hint = key_digest(self._entries.name(key))[:4].hex()
            self.parts.announce(ValueNotStored(domain.name, type(error).__name__, hint))
            # It goes to those who wait and is held nowhere.
            return Held(value, None, settled_until=0.0, size=0, version=ZERO, created_ms=0, gone_ms=0, tally=tally)
        draft = self._entries.draft(
            self._entries.name(key), version, lifetime, encoded, context.tags, took=took, live=False
        )
        held = self._entries.hold(draft, value, domain, tally, took=took)
        if not (context.skipped or flight.detached) and self.parts.enabled:
            self._memory.put(key, held)
            if self._far:
                self.homes.here().own(self._write_back(key, held, draft, domain))
        return held

    async def _write_back(self, key: str, held: Held, draft: Draft, domain: Domain) -> None:
        outcome = (await self._writer.write([draft], mirror=domain.name in self.parts.mirror))[0]
        if outcome.superseded and self._memory.find(key) is held:
            self._reader.forget([key])

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
        if not absent:
            return values
        self.enter(absent)
        context = Context(self._entries.lifetime(ttl, domain), tuple(tags))
        crowd = Crowd(
            compute,
            partial(self.find, domain=domain),
            partial(self._keep, domain=domain, context=context),
            self._entries.version,
            self._now,
        )
        flights = self.homes.here().flights
        landed = await asyncio.gather(*(flights.join(key, partial(crowd.board, key)) for key in absent))
        values.update((key, own_copy(held)) for key, held in zip(absent, landed, strict=True))
        return values

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
        tally = self.tally(domain)
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
        if not self.parts.enabled or self._reader.look(key) is not None:
            return False
        draft = self._entries.draft(
            self._entries.name(key), self._entries.version(key), lifetime, encoded, labels, once=True
        )
        held = self._entries.hold(draft, value, domain, self.tally(domain))
        if self._far:
            outcome = (await self.homes.here().see_through(self._writer.write([draft])))[0]
            if outcome.superseded:
                return False
        self.homes.detach(key)
        self._reader.interrupt(key)
        self.tally(domain).sets += 1
        return self._memory.put(key, held)

    async def delete_many(self, keys: Iterable[str], domain: Domain) -> dict[str, bool]:
        """Remove keys everywhere; for each, whether a value was there."""
        wanted = list(dict.fromkeys(keys))
        self.enter(wanted)
        self.tally(domain).deletes += len(wanted)
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
        tally = self.tally(domain)
        tally.misses += output is MISSING
        tally.far_hits += output is not MISSING
        return output

    async def commit_result(
        self, key: str, output: Any, domain: Domain, *, ttl: Duration | Missing | None = MISSING
    ) -> Durability:
        """Store an output, unless one is stored already."""
        self.enter((key,))
        lifetime = self._entries.lifetime(ttl, domain)
        if not self.parts.enabled:
            return Durability.MEMORY
        self.tally(domain).sets += 1
        return await self.homes.here().see_through(self._records.commit(key, output, lifetime))

    async def forget_result(self, key: str, domain: Domain) -> bool:
        """Forget an output; whether one was there."""
        self.enter((key,))
        self.tally(domain).deletes += 1
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
        if self._follower.needed and self.parts.enabled:
            home.attend(self._follower.run)
        self.used = self._far  # what must be closed
        for key in keys:
            if type(key) is not str and type(key) is not KeyText:
                raise UnsupportedKeyError(
                    f"a key is text, not {type(key).__name__}: make_key(...) makes one of any values"
                )

    def tally(self, domain: Domain) -> Tally:
        """The counts of a domain."""
        tally = self.tallies.get(domain.name)
        if tally is None:
            tally = self.tallies[domain.name] = Tally(domain.cost_usd)
        return tally

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
            own_copy(held)
            self.memory_tally.latency.add(self._now() - begun)


def own_copy(held: Held) -> Any:
    """A caller's own copy, or the live value where nobody can spoil it."""
    return held.value if held.thaw is None else held.thaw(held.value)
