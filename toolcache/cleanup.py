"""Gives back at once what would be given back by and by: the room of what has ended, and epochs that nothing lies beneath."""

import asyncio
from collections.abc import Collection
from functools import partial
from itertools import islice
from typing import Final

from toolcache.epochs import Epochs
from toolcache.fields import Frozen
from toolcache.keys.text import store_key
from toolcache.layer import Layer
from toolcache.listing import SupportsCompaction
from toolcache.parts import Parts
from toolcache.recall import Recall
from toolcache.scanner import Scanner, UnlistedError
from toolcache.versions import ZERO

_SLICE: Final = 200
"""Entries that are looked at before others have their turn."""

_MOST: Final = 10_000
"""Tags of results, at most, that are borne in mind."""

_VERSION: Final = slice(4, 20)
"""Where it stands in a blob."""


class Cleaned(Frozen):
    """What a ``cleanup`` has given back.

    ``memory``: entries, ended or invalidated. ``files``: bytes; None where there are none, or they cannot be had. ``epochs``:
    records of invalidations, in Redis, that nothing lies beneath any more; those on file go with the bytes around them.
    """

    memory: int
    files: int | None
    epochs: int


class Cleanup:
    """Cleans up after one cache.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared.
        scanner: lists a layer.
        recall: what memory holds is worth.
    """

    def __init__(self, parts: Parts, epochs: Epochs, scanner: Scanner, recall: Recall) -> None:
        self._parts = parts
        self._memory = parts.memory
        self._epochs = epochs
        self._scanner = scanner
        self._recall = recall
        self._scopes = store_key("e", parts.namespace, "")

    async def run(self) -> Cleaned:
        """All of it; nothing that is good for anything is lost."""
        freed = await self._sweep()
        files, redis = self._parts.files, self._parts.redis
        try:
            needless = await self._needless()
        except UnlistedError:  # what was not seen may lie beneath any epoch
            needless = _Needless(self._scopes)
        forgotten = 0 if redis is None else await self._forget(redis, needless)
        won = None
        if files is not None and isinstance(files.store, SupportsCompaction) and not files.guard.refuses(mutation=True):
            won = await self._compact(files.store, needless)
        return Cleaned(freed, won, forgotten)

    async def _sweep(self) -> int:
        """Free what has ended, or lies beneath an epoch, in memory."""
        freed = 0
        while self._memory.is_due and (some := self._memory.sweep(_SLICE)):
            freed += some
            await asyncio.sleep(0)
        keys = self._memory.keys()
        while pieces := list(islice(keys, _SLICE)):
            for key in pieces:
                held = self._memory.find(key)
                freed += held is not None and not self._recall.current(key, held)
            await asyncio.sleep(0)
        return freed

    async def _needless(self) -> "_Needless":
        """The epochs that are older than all that is held, or may yet be told by who was cut off.

        Results of what runs once may be older than their record; what they are tagged with stays.
        """
        oldest, kept = self._parts.hybrid.next(), {self._epochs.namespace}
        for layer in (self._parts.redis, self._parts.files):
            if layer is None:
                continue
            async for some in self._scanner.layer(layer, covered=True):
                oldest = min(oldest, *(one.header.version for one in some))
            async for tags in self._scanner.tags_of_records(layer):
                kept.update(self._epochs.names(tags))
                if len(kept) > _MOST:
                    raise UnlistedError(layer.name)
        late = int((self._parts.clock.time() - self._parts.tombstone_ttl) * 1000)
        return _Needless(self._scopes, kept, min(oldest, max(late, 0).to_bytes(6, "big") + bytes(10)))

    async def _forget(self, redis: Layer, needless: "_Needless") -> int:
        """Remove epochs from Redis, each only if it is still what it was."""
        forgotten, cursor = 0, None
        while redis.claims is not None and (page := await redis.page(self._scopes, cursor)) is not None:
            names = [name for name, head in page.found if needless(name, head[_VERSION])]
            raws = await redis.read(names) if names else []
            for name, raw in zip(names, raws or [], strict=False):
                if raw is None or not needless(name, raw[_VERSION]):
                    continue
                said = await redis.ask(partial(redis.claims.swap, name, raw, None, ttl=0.0), mutation=True)
                forgotten += said is not None and said.done
            cursor = page.cursor
            if cursor is None:
                break
        return forgotten

    async def _compact(self, store: SupportsCompaction, needless: "_Needless") -> int | None:
        try:
            return await store.compact(needless)
        except OSError:
            return None


class _Needless:
    """Says which epochs may go: of tags, below a version, and of no tag that is to be ``kept``."""

    def __init__(self, scopes: str, kept: Collection[str] = (), below: bytes = ZERO) -> None:
        self._scopes = scopes
        self._kept = kept
        self._below = below

    def __call__(self, name: str, version: bytes) -> bool:
        return ZERO < version < self._below and name.startswith(self._scopes) and name not in self._kept
