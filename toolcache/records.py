"""Completed results: written once, answered from this host's file for as long as they live.

A result is committed to Redis first, then to the host's write-once file, whose content is the answer; so no host ever
changes an answer it has given. A result found in Redis reaches callers only through that file. Where no layer below
memory takes a result, memory keeps it.
"""

from typing import Any

from toolcache.blob import RECORD, TOMBSTONE, CorruptBlobError
from toolcache.domains import Domain
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability
from toolcache.horizon import Horizon
from toolcache.keys.text import place_of, store_key
from toolcache.layer import Layer
from toolcache.parts import Due, Parts
from toolcache.reader import Reader
from toolcache.stats import Tally
from toolcache.versions import ZERO
from toolcache.writer import Draft, Outcome, Writer


class Records:
    """The results of one cache's namespace."""

    def __init__(self, parts: Parts, entries: Entries, horizon: Horizon, reader: Reader, writer: Writer) -> None:
        self._parts = parts
        self._entries = entries
        self._horizon = horizon
        self._reader = reader
        self._writer = writer

    async def get(self, key: str) -> Any:
        """The stored output, or MISSING."""
        found = await self._find(self._name(key), self._parts.due())
        if found is not None and found.encoded is not None:
            try:
                return self._parts.coder.decode(found.encoded)
            except CorruptBlobError:
                return MISSING
        held = self._parts.memory.find(_at(key))
        if held is None or not self._reader.alive(_at(key)) or (found is not None and held.version < found.version):
            return MISSING
        return held.own()

    async def commit(
        self, key: str, output: Any, domain: Domain, tally: Tally, *, ttl: float, tags: tuple[str, ...]
    ) -> tuple[Draft, Outcome]:
        """Keep an output, unless one is kept already: what was to be kept, and what became of it."""
        encoded = self._entries.encode(output, domain, tags)
        name, due = self._name(key), self._parts.due()
        found = await self._find(name, due)
        # What this host has forgotten, Redis may still hold.
        dead = found.version if found is not None and found.encoded is None else ZERO
        version = self._entries.version(_at(key), above=dead, tags=tags)
        draft = self._entries.draft(name, version, ttl, encoded, tags, flags=RECORD, once=True, dead=dead)
        outcome = (await self._writer.write([draft], due=due))[0]
        if outcome.durability is Durability.MEMORY and not self._reader.alive(_at(key)):
            self._parts.memory.put(_at(key), self._entries.hold(draft, output, domain, tally))
        return draft, outcome

    async def forget(self, key: str) -> tuple[bool, Draft, Outcome]:
        """Forget an output: whether one was there, the tombstone, and what became of it."""
        due = self._parts.due()
        if not self._reader.met:
            await self._reader.meet(due.redis)
        known = self._reader.alive(_at(key))
        version, ttl = self._entries.version(_at(key)), self._parts.tombstone_ttl
        draft = self._entries.draft(self._name(key), version, ttl, None, (), flags=TOMBSTONE)
        self._parts.memory.remove(_at(key))
        outcome = (await self._writer.write([draft], due=due))[0]
        return known or outcome.was_live, draft, outcome

    async def _find(self, name: str, due: Due) -> Draft | None:
        """The newest of what the file and Redis say, the file's word first; a tombstone has no ``encoded``."""
        files, redis = self._parts.files, self._parts.redis
        begun = self._parts.clock.monotonic()
        found = await self._ask(files, name, due.files) if files else None
        due = due.without(self._parts.clock.monotonic() - begun)
        if redis is None or (found is not None and found.encoded is not None):
            return found
        shared = await self._ask(redis, name, due.redis)
        # What this host has forgotten, and Redis has not heard of yet, stays forgotten; also while the disk fails.
        known = self._reader.owed(name) if found is None else found.version
        if shared is None or known >= shared.version:
            return found
        if files is not None and shared.encoded is not None:
            await self._writer.keep_on_file([shared], until=due.files)
            return await self._ask(files, name, due.files) or shared
        return shared

    async def _ask(self, layer: Layer, name: str, until: float) -> Draft | None:
        drafts = await self._horizon.read(layer, [name], until=until)
        return None if drafts is None else drafts[0]

    def _name(self, key: str) -> str:
        return store_key("i", self._parts.namespace, key)


def _at(key: str) -> str:
    """Where memory keeps a result: no key text begins so, and none that a caller spells is equal to it."""
    return place_of(f"~i:{key}")
