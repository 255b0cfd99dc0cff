"""What a cache holds, key by key: each live entry once, whichever layer has it.

memory    what no layer has been told of; with nothing beneath it, everything
Redis     but for what this host owes it
files     what is owed; without Redis, everything; while Redis is unusable, the mirrored copies too
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from math import inf
from typing import Final, TypeVar

from toolcache.blob import NEVER
from toolcache.domains import GENERAL
from toolcache.entry import MEMORY, Held, remaining
from toolcache.fields import Frozen
from toolcache.keys.globs import Glob, written
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import SupportsOverlay
from toolcache.scanner import Scanned, Scanner, UnlistedError
from toolcache.tags import RESERVED, domain_of

T = TypeVar("T")
U = TypeVar("U")

_REMEMBERED: Final = 1 << 15
"""Keys that are known to have come, at least; twice as many at most. Only a server whose table is growing names one twice."""


class KeyInfo(Frozen):
    """What is known of an entry without its value.

    Instants are seconds since the epoch, spans are seconds. ``key`` finds the entry: it is as its user wrote it, and of
    more than 200 bytes a ``KeyText``, which is its beginning and a digest. ``domain`` is None for keys of the user's own.
    ``size`` is in bytes, as the layer keeps the value. ``hits`` counts how often this process's memory has answered with it.
    ``stale``: past its time, and kept to stand in where computing it anew fails.
    """

    key: str
    domain: str | None
    size: int
    created_at: float
    expires_at: float
    ttl: float
    tags: tuple[str, ...]
    layer: str
    hits: int
    stale: bool


class Scan(AsyncIterator[T]):
    """What is found, one after the other, and whether that is all; for ``async for``.

    Args:
        found: finds it.
        unlisted: the layers that ``found`` could not list, so far.

    Attributes:
        unlisted: names of the layers that could not be listed, so far: what comes is what the others have.
    """

    def __init__(self, found: AsyncGenerator[T, None], unlisted: Sequence[str]) -> None:
        self._found = found
        self.unlisted = unlisted

    @property
    def complete(self) -> bool:
        """Whether every layer that was asked, so far, could be listed; it is known once the last entry has come."""
        return not self.unlisted

    async def __anext__(self) -> T:
        return await anext(self._found)

    async def aclose(self) -> None:
        """Look for no more."""
        await self._found.aclose()

    def shown(self, show: Callable[[T], U]) -> "Scan[U]":
        """The same, each as a function shows it."""

        async def each() -> AsyncGenerator[U, None]:
            async with aclosing(self._found) as found:
                async for one in found:
                    yield show(one)

        return Scan(each(), self.unlisted)


class Catalogue:
    """Lists for one cache.

    Args:
        parts: the cache's parts.
        scanner: lists a layer.
    """

    def __init__(self, parts: Parts, scanner: Scanner) -> None:
        self._parts = parts
        self._memory = parts.memory
        self._scanner = scanner
        overlay = parts.files.store if parts.files and parts.redis else None
        self._overlay = overlay if isinstance(overlay, SupportsOverlay) else None

    def scan(self, glob: Glob) -> Scan[KeyInfo]:
        """Of the entries whose keys match."""
        return self.find(glob).shown(self.info)

    def find(self, glob: Glob) -> Scan[Held | Scanned]:
        """The entries whose keys match, each once."""
        unlisted: list[str] = []
        return Scan(self._find(glob, unlisted), unlisted)

    async def _find(self, glob: Glob, unlisted: list[str]) -> AsyncGenerator[Held | Scanned, None]:
        seen, before = set[str](), set[str]()
        if not self._parts.enabled:
            return
        async for some in self._each(glob.prefix, unlisted):
            for one in some:
                place = one.key if isinstance(one, Held) else one.place
                if place in seen or place in before or not glob.matches(place):
                    continue
                if len(seen) >= _REMEMBERED:
                    seen, before = set(), seen
                seen.add(place)
                yield one

    def info(self, one: Held | Scanned) -> KeyInfo:
        """What is known of an entry that was found."""
        if isinstance(one, Held):
            return self._info(one.key, one.created_ms, one.fresh_until_ms, one.tags, one.layer, one.size, one.hits)
        header, held = one.header, self._memory.find(one.place)
        hits = held.hits if held is not None and held.version == header.version else 0
        return self._info(
            one.place, header.created_ms, header.fresh_until_ms, one.tags, one.layer, header.body_len, hits
        )

    def _info(
        self, place: str, created_ms: int, fresh_until_ms: int, tags: tuple[str, ...], layer: str, size: int, hits: int
    ) -> KeyInfo:
        ttl = remaining(created_ms, fresh_until_ms, self._parts.clock.time())
        return KeyInfo(
            key=written(place),
            domain=domain_of(tags),
            size=size,
            created_at=created_ms / 1000,
            expires_at=inf if fresh_until_ms == NEVER else fresh_until_ms / 1000,
            ttl=max(0.0, ttl),
            tags=tuple(tag for tag in tags if not tag.startswith(RESERVED)),
            layer=layer,
            hits=hits,
            stale=ttl <= 0,
        )

    async def _each(self, prefix: str, unlisted: list[str]) -> AsyncIterator[Sequence[Held | Scanned]]:
        """Some of the entries at a time, from where a read would have them.

        What is nearer comes first: what is written on to the next layer meanwhile is found there, if not here.
        """
        redis, files = self._parts.redis, self._parts.files
        last = redis or files
        async for helds in self._scanner.memory(prefix):
            yield [held for held in helds if last is None or held.layer == MEMORY]
        if files is not None and files is not last:
            async for found in self._listed(files, prefix, unlisted):
                yield [one for one in found if self._is_owed(one)]
        if last is not None:
            async for found in self._listed(last, prefix, unlisted):
                yield [one for one in found if not self.has_ended(one)]
        if not unlisted:
            return
        # What answers while a layer cannot be asked: all of memory, and for Redis copies on file.
        async for helds in self._scanner.memory(prefix):
            yield helds
        if files is not None and files.name not in unlisted:
            async for found in self._listed(files, prefix, unlisted):
                yield [one for one in found if self._is_owed(one) or self._is_mirrored(one)]

    async def _listed(self, layer: Layer, prefix: str, unlisted: list[str]) -> AsyncIterator[list[Scanned]]:
        """What a layer holds, as far as it can be listed."""
        try:
            async for found in self._scanner.layer(layer, prefix):
                yield found
        except UnlistedError:
            unlisted.append(layer.name)

    def _is_owed(self, one: Scanned) -> bool:
        """Whether this host has it for Redis."""
        return self._overlay is not None and self._overlay.pending(one.name) is not None

    def has_ended(self, one: Scanned) -> bool:
        """Whether this host has told Redis, or is to tell it, that it is gone."""
        newest = None if self._overlay is None else self._overlay.newest(one.name)
        return newest is not None and newest.ended and newest.version > one.header.version

    def _is_mirrored(self, one: Scanned) -> bool:
        return (domain_of(one.tags) or GENERAL.name) in self._parts.mirror
