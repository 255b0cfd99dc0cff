"""Completed results: written once, answered from this host's file for as long as they live.

A result is committed to Redis first, then to the host's write-once file, whose content is the answer; so no host ever
changes an answer it has given. A result found in Redis reaches callers only through that file.
"""

from typing import Any

from toolcache.blob import RECORD, TOMBSTONE
from toolcache.entries import Entries
from toolcache.entry import MISSING, Durability
from toolcache.keys.text import key_text, store_key
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import Encoded
from toolcache.writer import Draft, Writer


class Records:
    """The results of one cache's namespace."""

    def __init__(self, parts: Parts, entries: Entries, writer: Writer) -> None:
        self._parts = parts
        self._entries = entries
        self._writer = writer
        self._kept: dict[str, tuple[Encoded, int]] = {}
        """Without any layer below memory: results of this process, by name."""

    async def get(self, key: str) -> Any:
        """The stored output, or MISSING."""
        name = self._name(key)
        files, redis = self._parts.files, self._parts.redis
        if files is None and redis is None:
            return self._remembered(name)
        found = await self._ask(files, name) if files else None
        if found is None and redis is not None:
            found = await self._ask(redis, name)
            if found is not None and files is not None:
                await self._writer.keep_on_file(found)
                found = await self._ask(files, name) or found
        return MISSING if found is None or found.encoded is None else self._parts.coder.decode(found.encoded)

    async def commit(self, key: str, output: Any, ttl: float, tags: tuple[str, ...]) -> Durability:
        """Keep an output, unless one is kept already."""
        encoded = self._parts.coder.encode(output)
        version = self._entries.version()
        draft = self._entries.draft(self._name(key), version, ttl, encoded, tags, flags=RECORD, once=True)
        if self._parts.files is None and self._parts.redis is None:
            if self._remembered(draft.name) is MISSING:
                self._sweep()
                self._kept[draft.name] = (encoded, draft.gone_ms)
            return Durability.MEMORY
        outcome = (await self._writer.write([draft]))[0]
        if outcome.superseded and outcome.durability is Durability.MEMORY:
            return Durability.REDIS if self._parts.redis is not None else Durability.FILE
        return outcome.durability

    async def forget(self, key: str) -> tuple[bool, bool]:
        """Forget an output: whether one was there, and whether forgetting is safe."""
        version, ttl = self._entries.version(), self._parts.tombstone_ttl
        draft = self._entries.draft(self._name(key), version, ttl, None, (), flags=TOMBSTONE)
        known = self._remembered(draft.name) is not MISSING
        self._kept.pop(draft.name, None)
        outcome = (await self._writer.write([draft]))[0]
        return known or outcome.was_live, self._writer.safe(outcome)

    def clear(self) -> None:
        """The namespace was cleared."""
        self._kept.clear()

    async def _ask(self, layer: Layer, name: str) -> Draft | None:
        blobs = await layer.read([self._entries.epoch_name, name])
        if blobs is None or blobs[1] is None:
            return None
        self._entries.learn_epoch(blobs[0], layer)
        draft = self._entries.read(name, blobs[1], layer)
        return None if draft is None or draft.encoded is None else draft

    def _name(self, key: str) -> str:
        return store_key("i", self._parts.namespace, key_text(key))

    def _remembered(self, name: str) -> Any:
        encoded, gone_ms = self._kept.get(name, (None, 0))
        if encoded is None or self._parts.clock.time() * 1000 >= gone_ms:
            return MISSING
        return self._parts.coder.decode(encoded)

    def _sweep(self) -> None:
        now_ms = self._parts.clock.time() * 1000
        for name in [name for name, (_, gone_ms) in self._kept.items() if gone_ms <= now_ms]:
            del self._kept[name]
