"""Export, import and copy: all that a cache holds, into a file, out of one, or into another cache.

What is moved are entries: values with their instants, tags and costs. Records of what runs once, claims and invalidations are not:
they are promises of the stores they stand in.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final

from toolcache.archive import ArchiveReader, Head, Record
from toolcache.archive_writer import ArchiveWriter
from toolcache.aside import Pace, aside
from toolcache.blob import HEADER_SIZE, MAC_SIZE, SEALED, CorruptBlobError, read_header
from toolcache.codec.envelope import Blob, Envelope
from toolcache.errors import BackupError
from toolcache.gatherer import Gatherer
from toolcache.keys.text import key_digest, store_key
from toolcache.parts import Parts
from toolcache.protocols import SupportsCount
from toolcache.restorer import Arrival, Restorer
from toolcache.seen import Seen
from toolcache.tags import check
from toolcache.transfer import DAMAGED, TOO_LARGE, Transfer

_PURPOSE: Final = b"toolcache backup links 1"
_RESUMED: Final = 86_400.0
"""Seconds after which what an export has left unfinished is begun anew: its entries are too old to be told as those of now."""

_META: Final = 1 << 16
"""Bytes of tags and the like that a blob may have, and more."""

_AT_ONCE: Final = 100
_BYTES_AT_ONCE: Final = 1 << 20
"""Entries, and bytes of them, that are read and written together."""

OnTransfer = Callable[[Transfer], None]


class Meter:
    """Counts what is moved, tells of it, and keeps to a rate.

    Args:
        parts: of the cache that moves.
        rate: entries a second at most; None for no limit.
        told: called with each step; its faults are counted, not feared.
        total: how many there are.
    """

    def __init__(self, parts: Parts, rate: float | None, told: OnTransfer | None, total: int | None = None) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"rate is entries a second, more than none, not {rate!r}")
        self._parts = parts
        self._rate = rate
        self._told = told
        self._begun = parts.clock.monotonic()
        self._passed = 0
        self.now = Transfer(total=total)

    async def add(self, entries: int, size: int, skipped: dict[str, int], *, passed: int) -> None:
        """Some more were moved, of so many that passed."""
        now, self._passed = self.now, self._passed + passed
        total = None if now.total is None else max(now.total, now.entries + entries)
        self.tell(entries=now.entries + entries, bytes=now.bytes + size, skipped=skipped, total=total)
        if self._rate is not None:
            ahead = self._begun + self._passed / self._rate - self._parts.clock.monotonic()
            if ahead > 0:
                await self._parts.clock.sleep(ahead)

    def tell(self, **changed: object) -> None:
        """It has come so far."""
        took = self._parts.clock.monotonic() - self._begun
        self.now = self.now._replace(**changed, seconds=took)
        if self._told is not None:
            try:
                self._told(self.now)
            except Exception:  # noqa: BLE001 - a listener's fault must not reach what is moved
                self._parts.announce.listener_errors += 1


async def export(
    parts: Parts,
    gatherer: Gatherer,
    path: str | os.PathLike[str],
    *,
    resume: bool,
    rate: float | None,
    on_progress: OnTransfer | None,
) -> Transfer:
    """See ``Cache.export``."""
    meter, seen = Meter(parts, rate, on_progress, await _total(parts)), Seen()
    begun_ms = int(parts.clock.time() * 1000)
    oldest_ms = begun_ms - _RESUMED * 1000 if resume else float("inf")
    head, key = Head(parts.namespace, begun_ms, _origin(parts)), parts.envelope.key_for(_PURPOSE)
    writer = await aside(
        partial(ArchiveWriter, Path(path), head, key, oldest_ms=oldest_ms, most=_largest(parts.envelope))
    )
    try:
        while old := await aside(partial(writer.old, _AT_ONCE, _BYTES_AT_ONCE)):
            _note(seen, parts, old)
            there = meter.now.resumed + len(old)
            meter.tell(entries=there, resumed=there, bytes=meter.now.bytes + _size(old))
        async with aclosing(gatherer.gather(seen)) as gathered:
            async for some in gathered:
                await aside(partial(writer.write, [(one.text, one.blob) for one in some]))
                size = sum(len(one.blob) for one in some)
                await meter.add(len(some), size, dict(+gatherer.skipped), passed=len(some))
        await aside(writer.finish)
    finally:
        await asyncio.shield(aside(writer.close))
    meter.tell(total=meter.now.entries, skipped=dict(+gatherer.skipped))
    return meter.now


async def import_(
    parts: Parts,
    restorer: Restorer,
    path: str | os.PathLike[str],
    *,
    keep_newer: bool,
    rate: float | None,
    on_progress: OnTransfer | None,
) -> Transfer:
    """See ``Cache.import_``."""
    check_enabled(parts)
    meter, key = Meter(parts, rate, on_progress), parts.envelope.key_for(_PURPOSE)
    reader = await aside(partial(ArchiveReader.open, Path(path), key, _largest(parts.envelope)))
    try:
        meter.tell(total=await aside(reader.check))
        await aside(reader.rewind)
        while some := await aside(partial(reader.records_of, _AT_ONCE, _BYTES_AT_ONCE)):
            arrivals = await aside(partial(_unpack, some, reader.head.namespace, parts.envelope, restorer.skipped))
            count = await restorer.restore(arrivals, keep_newer=keep_newer)
            await meter.add(count, _size(some), dict(+restorer.skipped), passed=len(some))
    finally:
        await asyncio.shield(aside(reader.close))
    meter.tell(skipped=dict(+restorer.skipped))
    return meter.now


async def copy(
    parts: Parts,
    gatherer: Gatherer,
    restorer: Restorer,
    *,
    keep_newer: bool,
    rate: float | None,
    on_progress: OnTransfer | None,
) -> Transfer:
    """See ``Cache.copy_to``."""
    meter = Meter(parts, rate, on_progress, await _total(parts))
    async with aclosing(gatherer.gather(Seen())) as gathered:
        async for some in gathered:
            count = await restorer.restore([Arrival(one.text, one.read) for one in some], keep_newer=keep_newer)
            skipped = dict(gatherer.skipped + restorer.skipped)
            await meter.add(count, sum(len(one.blob) for one in some), skipped, passed=len(some))
    total = meter.now.entries + sum(restorer.skipped.values())
    meter.tell(total=total, skipped=dict(gatherer.skipped + restorer.skipped))
    return meter.now


def check_enabled(parts: Parts) -> None:
    """Raises BackupError for a cache that is switched off: it would keep nothing."""
    if not parts.enabled:
        raise BackupError("nothing can be brought into a cache that is switched off: open it with enabled=True")


def _unpack(some: Iterable[Record], namespace: str, envelope: Envelope, skipped: Counter[str]) -> list[Arrival]:
    """What the blobs of records say, as far as they are ones of entries; for a thread."""
    arrivals, pace = [], Pace()
    for record in some:
        pace.breathe()
        try:
            arrivals.append(
                Arrival(record.key, _read(record, key_digest(store_key("v", namespace, record.key)), envelope))
            )
        except CorruptBlobError as fault:
            skipped[TOO_LARGE if fault.reason in {"size", "bomb"} else DAMAGED] += 1
    return arrivals


def _read(record: Record, digest: bytes, envelope: Envelope) -> Blob:
    """What the blob of a record says; raises CorruptBlobError for what no entry is."""
    if record.blob is None:
        raise CorruptBlobError("size")
    read = envelope.unpack(record.blob, digest)
    header = read.header
    if read.encoded is None or header.flags & ~SEALED:
        raise CorruptBlobError("flags")
    if not header.created_ms <= header.gone_ms or header.fresh_until_ms > header.gone_ms:
        raise CorruptBlobError("instants")
    try:
        check(read.tags)
    except ValueError:
        raise CorruptBlobError("tags") from None
    return read


def _note(seen: Seen, parts: Parts, old: Iterable[Record]) -> None:
    """Take note of what was written already; what has changed since then is written again, and counts, as it is later."""
    for record in old:
        header = None if record.blob is None else read_header(record.blob)
        if header is not None:
            seen.add(store_key("v", parts.namespace, record.key), header.version)


def _size(some: Iterable[Record]) -> int:
    return sum(record.size for record in some)


def _largest(envelope: Envelope) -> int:
    """Bytes of the largest blob that may be one of ours."""
    return HEADER_SIZE + _META + envelope.max_entry + MAC_SIZE


def _origin(parts: Parts) -> bytes:
    """What stands for the stores of a cache; for this process, where memory is all there is."""
    where = f"{parts.where_redis}\0{parts.where_files}".encode() if parts.redis or parts.files else parts.hybrid.node
    return blake2b(where, digest_size=8).digest()


async def _total(parts: Parts) -> int | None:
    """How many entries there are, about: what the layers count."""
    known = [len(parts.memory)]
    for layer in (parts.redis, parts.files):
        if layer is not None and isinstance(layer.store, SupportsCount):
            count = await layer.ask(layer.store.count)
            if count is None and layer is parts.redis:
                return None
            known.append(count or 0)
    return max(known)
