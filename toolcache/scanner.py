"""Lists what the layers hold: live values that no epoch covers, some at a time, without their bodies.

A layer is asked page by page, each within a deadline of its own, and the event loop has its turn between them. What is
there throughout is found; what comes or goes meanwhile, perhaps.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from toolcache.blob import EPOCH, CorruptBlobError, Header
from toolcache.entries import Entries
from toolcache.entry import Held
from toolcache.epochs import Epochs
from toolcache.horizon import Horizon
from toolcache.keys.text import key_digest, place_of, store_key
from toolcache.layer import Layer
from toolcache.listing import Glimpse
from toolcache.parts import Parts
from toolcache.recall import Recall

_PIECE: Final = 200
"""Entries that are looked at before others have their turn: a millisecond."""


class UnlistedError(Exception):
    """A layer cannot be listed, or no longer be asked; what came until then is not all."""


class Scanned(NamedTuple):
    """A value that a layer holds.

    Attributes:
        name: its store key; ``Layer.read`` has the blob.
        place: the form under which memory knows its key.
        header: of its blob.
        tags: of its blob, the cache's own among them.
        layer: the layer's name.
    """

    name: str
    place: str
    header: Header
    tags: tuple[str, ...]
    layer: str


class Scanner:
    """Lists for one cache.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared, as far as this process knows.
        entries: names of keys, and what is not to be believed of files.
        horizon: asks layers for epochs.
        recall: what memory holds is worth.
    """

    def __init__(self, parts: Parts, epochs: Epochs, entries: Entries, horizon: Horizon, recall: Recall) -> None:
        self._parts = parts
        self._memory = parts.memory
        self._epochs = epochs
        self._entries = entries
        self._horizon = horizon
        self._recall = recall
        self._values, self._records = (store_key(kind, parts.namespace, "") for kind in ("v", "i"))

    async def memory(self, prefix: str = "") -> AsyncIterator[list[Held]]:
        """What this process's memory holds, whether or not it may answer without asking a layer; ``prefix`` of its places."""
        keys = self._memory.keys()
        now = self._parts.clock.monotonic
        while some := list(islice(keys, _PIECE)):
            found = []
            for key in some:
                held = self._memory.find(key) if key.startswith(prefix) else None
                if held is not None and self._recall.current(key, held) and now() < held.gone_until:
                    found.append(held)
            if found:
                yield found
            await asyncio.sleep(0)

    async def layer(self, layer: Layer, prefix: str = "", *, covered: bool = False) -> AsyncIterator[list[Scanned]]:
        """What a layer holds; ``prefix`` of its key texts, ``covered``: what epochs cover too. A key may come twice.

        Raises:
            UnlistedError: it cannot be asked for all of it.
        """
        cursor = None
        while True:
            page = await layer.page(self._values + prefix, cursor)
            if page is None:
                raise UnlistedError(layer.name)
            for at in range(0, len(page.found), _PIECE):
                seen = self._alive(page.found[at : at + _PIECE], layer)
                found = seen if covered or not seen else await self._uncovered(seen, layer)
                if found:
                    yield found
                await asyncio.sleep(0)
            cursor = page.cursor
            if cursor is None:
                return

    async def tags_of_records(self, layer: Layer) -> AsyncIterator[tuple[str, ...]]:
        """The tags of the records of what runs once, of each that has any.

        Raises:
            UnlistedError: it cannot be asked for all of them.
        """
        cursor = None
        while True:
            page = await layer.page(self._records, cursor)
            if page is None:
                raise UnlistedError(layer.name)
            for glimpse in page.found:
                if (one := self._read(glimpse, layer)) and one.tags:
                    yield one.tags
            cursor = page.cursor
            if cursor is None:
                return

    def _alive(self, glimpses: Sequence[Glimpse], layer: Layer) -> list[Scanned]:
        """The values whose life has not ended."""
        now_ms = int(self._parts.clock.time() * 1000)
        return [one for glimpse in glimpses if (one := self._read(glimpse, layer)) and one.header.alive(now_ms)]

    async def _uncovered(self, seen: Sequence[Scanned], layer: Layer) -> list[Scanned]:
        """Those that a read would find, but for what only the body tells."""
        above = {self._epochs.namespace}.union(*(self._epochs.names(tags) for tags in {one.tags for one in seen}))
        self._horizon.know_of(above)
        if not await self._horizon.ask(layer, above, until=layer.budget()):
            raise UnlistedError(layer.name)
        covers, floor = self._epochs.covers, self._entries.floor if layer is self._parts.files else b""
        return [one for one in seen if one.header.version >= floor and not covers(one.header.version, one.tags)]

    def _read(self, glimpse: Glimpse, layer: Layer) -> Scanned | None:
        name, head = glimpse
        try:
            header, tags = self._parts.envelope.glimpse(head, key_digest(name))
        except (CorruptBlobError, UnicodeEncodeError):
            return None
        if header.flags & EPOCH:
            return None
        return Scanned(name, place_of(name.removeprefix(self._values)), header, tags, layer.name)
