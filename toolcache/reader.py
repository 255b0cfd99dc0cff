"""How a value is found: memory, what Redis is owed, Redis, files; in that order, and never raising.

    configured       a read asks
    memory           memory
    files            memory, then the log
    Redis + files    memory; what this host still owes Redis; Redis. While Redis cannot be asked: the log for domains
                     that are mirrored, and what memory remembers
    Redis            memory, then Redis

With Redis usable, a Redis miss is a miss.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from toolcache.blob import CorruptBlobError
from toolcache.domains import Domain
from toolcache.entries import Entries, remaining
from toolcache.entry import Held
from toolcache.epochs import Epochs
from toolcache.events import BlobRejected
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import SupportsOverlay
from toolcache.stats import Tally
from toolcache.versions import ZERO

_OUTAGE_TRUST = 1.0


class Found(NamedTuple):
    """What a read found: the entry and its value, or None and whose version stood there (a tombstone's, say)."""

    held: Held | None
    version: bytes = ZERO
    value: Any = None


NOTHING = Found(None)


class Reader:
    """Reads for one cache.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared, as far as this process knows.
    """

    def __init__(self, parts: Parts, epochs: Epochs, entries: Entries) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._memory = parts.memory
        self._epochs = epochs
        self._entries = entries
        self._fills: dict[str, object] = {}
        self._openings: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
        overlay = parts.files.store if parts.files and parts.redis else None
        self._overlay = overlay if isinstance(overlay, SupportsOverlay) else None

    def look(self, key: str) -> Held | None:
        """The entry in memory, if it may answer without a further thought."""
        held = self._memory.find(key)
        if held is None or not self._current(key, held) or self._clock.monotonic() >= held.settled_until:
            return None
        return held

    def alive(self, key: str) -> bool:
        """Whether memory holds a value of the key, settled or not."""
        held = self._memory.find(key)
        return (
            held is not None
            and self._current(key, held)
            and remaining(held.created_ms, held.gone_ms, self._clock.time()) > 0
        )

    def interrupt(self, key: str) -> None:
        """The key was written: reads under way must not bring what they found into memory."""
        self._fills.pop(key, None)

    def interrupt_all(self) -> None:
        """The namespace was cleared."""
        self._fills.clear()

    async def fetch(self, keys: Sequence[str], domain: Domain, tally: Tally) -> dict[str, Found]:
        """Ask the layers for keys that memory could not answer; what is found goes into memory."""
        names = {key: self._entries.name(key) for key in keys}
        token = object()
        self._fills.update(dict.fromkeys(keys, token))
        try:
            found = await self._ask_layers(names, domain, tally)
            for key, (held, _, _) in found.items():
                if held is not None and self._fills.get(key) is token:
                    self._memory.put(key, held)
        finally:
            for key in keys:
                if self._fills.get(key) is token:
                    del self._fills[key]
        return found

    async def _ask_layers(self, names: dict[str, str], domain: Domain, tally: Tally) -> dict[str, Found]:
        redis, files = self._parts.redis, self._parts.files
        if redis is None:
            return await self._ask(files, names, domain, tally) if files else dict.fromkeys(names, NOTHING)
        owed = await self._owed(names)
        found = await self._ask(files, owed, domain, tally) if files and owed else {}
        rest = {key: name for key, name in names.items() if key not in found} if found else names
        if not rest:
            return found
        answer = await self._ask_redis(redis, rest, domain, tally)
        if answer is None:
            mirrored = files is not None and domain.name in self._parts.mirror
            answer = await self._ask(files, rest, domain, tally) if mirrored and files else {}
            answer = {key: self._remembered(key, answer.get(key, NOTHING)) for key in rest}
        return found | answer

    async def _owed(self, names: dict[str, str]) -> dict[str, str]:
        files = self._parts.files
        if self._overlay is None or files is None or files.guard.refuses():
            return {}
        if not self._overlay.ready:
            await self._open(files, self._overlay)
        return {key: name for key, name in names.items() if self._overlay.pending(name)}

    async def _open(self, files: Layer, overlay: SupportsOverlay) -> None:
        # One task for all who wait, so that they go on together, and what they ask of Redis leaves as one batch.
        loop = asyncio.get_running_loop()
        if loop not in self._openings:
            self._openings[loop] = task = loop.create_task(files.ask(overlay.open))
            task.add_done_callback(lambda _task: self._openings.pop(loop, None))
        await asyncio.shield(self._openings[loop])

    async def _ask_redis(
        self, redis: Layer, names: dict[str, str], domain: Domain, tally: Tally
    ) -> dict[str, Found] | None:
        blobs = await redis.read([self._entries.epoch_name, *names.values()])
        if blobs is None:
            return None
        self._entries.learn_epoch(blobs[0], redis)
        return {
            key: self._newest(key, self._take(name, blob, redis, domain, tally))
            for (key, name), blob in zip(names.items(), blobs[1:], strict=True)
        }

    async def _ask(self, layer: Layer, names: dict[str, str], domain: Domain, tally: Tally) -> dict[str, Found]:
        blobs = await layer.read([self._entries.epoch_name, *names.values()])
        if blobs is None:
            return {key: self._remembered(key, NOTHING) for key in names}
        self._entries.learn_epoch(blobs[0], layer)
        return {
            key: self._take(name, blob, layer, domain, tally)
            for (key, name), blob in zip(names.items(), blobs[1:], strict=True)
        }

    def _take(self, name: str, blob: bytes | None, layer: Layer, domain: Domain, tally: Tally) -> Found:
        draft = None if blob is None else self._entries.read(name, blob, layer)
        if draft is None or draft.encoded is None:
            layer.tally.misses += 1
            return NOTHING if draft is None else Found(None, draft.version)
        try:
            value = self._parts.coder.decode(draft.encoded)
        except CorruptBlobError as fault:
            layer.tally.rejected += 1
            layer.tally.misses += 1
            self._parts.announce(BlobRejected(layer.name, fault.reason, key_digest(name)[:4].hex()))
            return NOTHING
        layer.tally.hits += 1
        held = self._entries.hold(draft, value, domain, tally, layer=layer.name)
        return Found(held, draft.version, value)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop keys from memory, for reads under way too."""
        for key in keys:
            self.interrupt(key)
            self._memory.remove(key)

    def _newest(self, key: str, found: Found) -> Found:
        """Redis answered: its word settles what memory holds, unless a write of this process came meanwhile."""
        if key not in self._fills:
            return self._remembered(key, found)
        held = self._memory.find(key)
        if held is None or not self._current(key, held):
            return found
        if found.held is None and found.version <= held.version:
            # Nothing there any more, evicted or flushed: with Redis usable, a Redis miss is a miss.
            self._memory.remove(key)
        elif found.version < held.version:
            return self._remembered(key, found)
        return found

    def _remembered(self, key: str, found: Found) -> Found:
        """What memory holds past its trust, while nobody better can be asked."""
        held = self._memory.find(key)
        if held is None or held.version < found.version or not self._current(key, held):
            return found
        left = remaining(held.created_ms, held.gone_ms, self._clock.time())
        if left <= 0:
            return found
        held.settled_until = self._clock.monotonic() + min(left, _OUTAGE_TRUST)
        return Found(held, held.version, held.own())

    def _current(self, key: str, held: Held) -> bool:
        """Whether the entry has outlived every epoch; one of an older era is looked at once."""
        if held.era != self._memory.era:
            if self._epochs.covers(held.version):
                self._memory.remove(key)
                return False
            held.era = self._memory.era
        return True
