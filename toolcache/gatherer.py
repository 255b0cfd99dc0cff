"""Gathers what a cache holds: of every key, over all layers, the value that a read would answer with, as a blob.

What memory alone holds comes first, since it may be on its way to the layers, and then these, page after page. Nothing is brought
into memory for it, and no more is held at a time than some entries.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from toolcache.aside import Pace, aside
from toolcache.blob import CorruptBlobError, Header
from toolcache.codec.envelope import Blob
from toolcache.domains import DOMAINS
from toolcache.entries import Entries
from toolcache.entry import MEMORY, MISSING, Held, remaining
from toolcache.epochs import Epochs
from toolcache.errors import BackupError, SerializationError
from toolcache.found import found_in, whole
from toolcache.horizon import Horizon
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.patience import TRIES, pause
from toolcache.protocols import SupportsOverlay
from toolcache.recall import Recall
from toolcache.scanner import Scanned, Scanner, UnlistedError
from toolcache.seen import Seen
from toolcache.tallies import Tallies
from toolcache.transfer import DAMAGED

T = TypeVar("T")

_AT_ONCE: Final = 1 << 20
"""Bytes of bodies that are read together; an entry that is larger is read alone."""


class Packed(NamedTuple):
    """An entry on its way: its key text, its blob, and what that says."""

    text: str
    blob: bytes
    read: Blob


class Gatherer:
    """Gathers for one cache.

    Args:
        parts: the cache's parts.
        entries: names of keys.
        epochs: what has been cleared.
        horizon: reads the layers.
        scanner: lists them.
        recall: what memory holds is worth.
        tallies: of which domains entries are.

    Attributes:
        skipped: what was met and not gathered, by reason.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        entries: Entries,
        epochs: Epochs,
        horizon: Horizon,
        scanner: Scanner,
        recall: Recall,
        tallies: Tallies,
    ) -> None:
        self._parts = parts
        self._entries = entries
        self._epochs = epochs
        self._horizon = horizon
        self._scanner = scanner
        self._recall = recall
        self._tallies = tallies
        self._far = [layer for layer in (parts.redis, parts.files) if layer is not None]
        overlay = parts.files.store if parts.files and parts.redis else None
        self._overlay = overlay if isinstance(overlay, SupportsOverlay) else None
        self._prefix = len(entries.name(""))
        self.skipped: Counter[str] = Counter()

    async def gather(self, seen: Seen) -> AsyncGenerator[list[Packed], None]:
        """All there is but what was seen, some at a time. Of a key that comes twice, the later is the newer.

        Raises:
            BackupError: a layer cannot be asked.
        """
        if self._overlay is not None and self._parts.files is not None:
            await self._parts.files.ask(self._overlay.open)
        nearest = self._far[0] if self._far else None
        async for some in self._persisting(nearest, partial(self._of_memory, nearest, seen)):
            yield some
        for layer in self._far:
            async for some in self._persisting(layer, partial(self._of_layer, layer, seen)):
                yield some

    async def _persisting(
        self, layer: Layer | None, gather: Callable[[], AsyncGenerator[list[Packed], None]]
    ) -> AsyncGenerator[list[Packed], None]:
        """Begin again, a few times, where a layer did not answer; what was seen does not come twice."""
        for tries in range(TRIES):
            try:
                async for some in gather():
                    yield some
            except UnlistedError:
                if tries + 1 == TRIES or layer is None:
                    name = layer.name if layer else MEMORY
                    raise BackupError(
                        f"{name} cannot be listed, or does not answer ({self._why(layer)}): call again when it does"
                    ) from None
                await pause(self._parts.clock, tries)
            else:
                return

    @staticmethod
    def _why(layer: Layer | None) -> str:
        return (layer.guard.last_fault if layer else "") or "no fault is known"

    async def _of_layer(self, layer: Layer, seen: Seen) -> AsyncGenerator[list[Packed], None]:
        async for some in self._scanner.layer(layer):
            wanted = [one for one in some if self._counts(one) and not seen.has(one.name, one.header.version)]
            for portion in _portions(wanted, lambda one: one.header.body_len):
                packed = await self._read(layer, portion, seen)
                found = [one for one in packed if seen.add(self._entries.name(one.text), one.read.header.version)]
                if found:
                    yield found

    def _counts(self, one: Scanned) -> bool:
        """Whether a read would answer with it: what Redis is owed is on file, and what it is not owed there is not read."""
        if self._overlay is None:
            return True
        owed = self._overlay.pending(one.name)
        if self._parts.files is not None and one.layer == self._parts.files.name:
            return owed == one.header.version
        return owed is None or owed <= one.header.version

    async def _read(self, layer: Layer, portion: Sequence[Scanned], seen: Seen) -> list[Packed]:
        raws = await layer.read([one.name for one in portion], until=layer.budget())
        if raws is None:
            raise UnlistedError(layer.name)
        found: list[Packed] = []
        unpacked = await aside(partial(self._unpack_all, [one.name for one in portion], raws))
        for one, raw, blob in zip(portion, raws, unpacked, strict=True):
            if isinstance(blob, CorruptBlobError):
                self.skipped[DAMAGED] += seen.add(one.name, one.header.version)  # once, however often it is met
                continue
            held = self._memory_of(one.place, blob)
            if held is not None:
                found += await self._pack([held])
            elif raw is not None and blob is not None and self._lives(blob.header, blob.tags):
                found.append(Packed(one.name[self._prefix :], raw, blob))
        return found

    def _unpack_all(self, names: Sequence[str], raws: Sequence[bytes | None]) -> list[Blob | CorruptBlobError | None]:
        """For a thread."""
        unpack, found, pace = self._parts.envelope.unpack, list[Blob | CorruptBlobError | None](), Pace()
        for name, raw in zip(names, raws, strict=True):
            pace.breathe()
            try:
                found.append(None if raw is None else unpack(raw, key_digest(name)))
            except CorruptBlobError as fault:
                found.append(fault)
        return found

    def _lives(self, header: Header, tags: tuple[str, ...]) -> bool:
        now_ms = int(self._parts.clock.time() * 1000)
        return header.alive(now_ms) and not self._epochs.covers(header.version, tags)

    def _memory_of(self, place: str, blob: Blob | None) -> Held | None:
        """What memory holds of a key, if that is newer."""
        held = self._parts.memory.find(place)
        if held is None or held.layer != MEMORY or (blob is not None and held.version <= blob.header.version):
            return None
        return held if self._recall.current(place, held) and self._left(held) > 0 else None

    def _left(self, held: Held) -> float:
        return remaining(held.created_ms, held.gone_ms, self._parts.clock.time())

    async def _of_memory(self, layer: Layer | None, seen: Seen) -> AsyncGenerator[list[Packed], None]:
        """What no other layer has: all of it, where there is none."""
        async for some in self._scanner.memory():
            wanted = [
                held
                for held in some
                if (layer is None or held.layer == MEMORY)
                and not seen.has(self._entries.name(held.key), held.version)
                and self._left(held) > 0
            ]
            if wanted and layer is not None:
                wanted = await self._newest(layer, wanted)
            for portion in _portions(wanted, lambda held: held.size):
                found = await self._pack(portion)
                for one in found:
                    seen.add(self._entries.name(one.text), one.read.header.version)
                if found:
                    yield found

    async def _newest(self, layer: Layer, helds: Sequence[Held]) -> list[Held]:
        """Those of which a layer has nothing as new."""
        names = [self._entries.name(held.key) for held in helds]
        blobs = await self._horizon.read(layer, names, until=layer.budget())
        if blobs is None:
            raise UnlistedError(layer.name)
        return [
            held for held, blob in zip(helds, blobs, strict=True) if blob is None or blob.header.version < held.version
        ]

    async def _pack(self, helds: Sequence[Held]) -> list[Packed]:
        """The blobs of entries of memory."""
        if not helds:
            return []
        values = [await whole(found_in(held).value) for held in helds]
        vectors = {
            tally
            for tally in self._tallies.all()
            if (row := DOMAINS.get(tally.series.domain)) is not None and row.vector
        }
        chosen = [(held, value) for held, value in zip(helds, values, strict=True) if value is not MISSING]
        return await aside(lambda: list(self._pack_each(chosen, vectors)))

    def _pack_each(self, chosen: Iterable[tuple[Held, Any]], vectors: set[Any]) -> Iterator[Packed]:
        """For a thread."""
        envelope, coder, pace = self._parts.envelope, self._parts.coder, Pace()
        for held, value in chosen:
            pace.breathe()
            name = self._entries.name(held.key)
            digest = key_digest(name)
            try:
                raw = envelope.pack(
                    coder.encode(value, vector=held.tally in vectors),
                    digest=digest,
                    version=held.version,
                    created_ms=held.created_ms,
                    fresh_until_ms=held.fresh_until_ms,
                    gone_ms=held.gone_ms,
                    cost_ms=int(held.seconds * 1000),
                    tags=held.tags,
                )
                yield Packed(name[self._prefix :], raw, envelope.unpack(raw, digest))
            except (
                SerializationError,
                CorruptBlobError,
            ):  # it came out of memory, and cannot be: a codec of somebody else's
                self.skipped[DAMAGED] += 1


def _portions(found: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """As many at a time as are not too large together."""
    some: list[T] = []
    size = 0
    for one in found:
        if some and size + size_of(one) > _AT_ONCE:
            yield some
            some, size = [], 0
        some.append(one)
        size += size_of(one)
    if some:
        yield some
