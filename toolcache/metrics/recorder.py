"""Writes down what a cache counts: once a second, what has come, into the record of this minute, this hour and this day.

A record has one owner, who alone writes it, each time with all that was counted in its span so far. So a record that is
written twice, late, or to two stores changes nothing, and what a fleet has counted is the sum of its records. They go to
Redis, where all processes read them, and to the files of this host, from which a Redis that has lost them is filled again.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from toolcache import forks
from toolcache.bus import Bus
from toolcache.encoded import Encoded
from toolcache.errors import SerializationError
from toolcache.events import StoreFault
from toolcache.groups import MAX_RECORD, Grouped, SupportsGroups
from toolcache.home import Homes
from toolcache.journal import Journal
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.metrics.counts import DispatchCounts
from toolcache.metrics.shelves import put
from toolcache.metrics.snapshot import Process, Snapshot
from toolcache.metrics.spans import DAY, SPANS, Span
from toolcache.metrics.totals import Totals, since, state_of
from toolcache.parts import Parts
from toolcache.protocols import SupportsIdentity
from toolcache.tallies import Tally

if TYPE_CHECKING:
    from toolcache.metrics.record import Record, Rows

_T = TypeVar("_T")

EVERY: Final = 1.0
_SKETCH_EVERY: Final = 60.0
_PORTION: Final = 64
_SERIES: Final = 16
"""Series that are counted, or packed, without a pause: a millisecond, where each of them has changed."""
_ROOM: Final = 1_024
"""Bytes that a record's blob takes besides its body, at most."""
_WELL: Final = frozenset(("closed", "forced_closed"))
_REST: Final = 60.0
"""Seconds that a layer is left alone which refuses such records."""


class Bucket:
    """What the owner counted in one span.

    Attributes:
        owner: whose name its record bears.
        counts: what was counted; None once it is over and has to be kept still: the record has it, in a tenth of the room.
        owed: the names of the layers that have not taken it as it is.
        sketch: what was sampled in the span.
        rows: its series, packed.
        record: the one that was made last; ``packed`` of which counts.
    """

    record: Grouped

    def __init__(self, span: Span, at: int, owner: str) -> None:
        self.span = span
        self.sketch: Mapping[str, Any] | None = None
        self.at = at
        self.owner = owner
        self.counts: Snapshot | None = Snapshot(at, at + span.seconds)
        self.owed: set[str] = set()
        self.packed: Snapshot | None = None
        self.rows: Rows | None = None


class Recorder:
    """Writes down what one cache counts.

    Args:
        parts: the cache's parts.
        totals: what it has counted.
        homes: whether it is closed.
        journal: what of its writes is pending.
        bus: how it hears of others' writes.

    Attributes:
        owner: sixteen letters that stand for this cache object.
        sketch: what was sampled of the lookups, if anybody samples them.
    """

    def __init__(self, parts: Parts, totals: Totals, homes: Homes, journal: Journal, bus: Bus) -> None:
        self._parts = parts
        self._envelope = parts.envelope.for_records(MAX_RECORD)
        self._totals = totals
        self._homes = homes
        self._journal = journal
        self._bus = bus
        self._lock = threading.Lock()
        self._packing = threading.Lock()
        self._buckets: dict[tuple[Span, int], Bucket] = {}
        self._newest: dict[Span, int] = {}
        self._looked_at = 0.0
        self._seen = Snapshot(totals.began_at, totals.began_at)
        self._shelves: dict[str, tuple[Layer, SupportsGroups]] = {}
        for layer in (parts.redis, parts.files):
            if layer is not None and isinstance(layer.store, SupportsGroups):
                self._shelves[layer.name] = layer, layer.store
        self._rests: dict[str, float] = {}
        self._known_run: str | None = None
        self._lost = True
        self._sketched: tuple[float, Mapping[str, Any] | None] = (-inf, None)
        self.sketch: Callable[[], Mapping[str, Any] | None] | None = None
        self.owner = self._again = os.urandom(8).hex()
        forks.watch(self)

    @property
    def needed(self) -> bool:
        """Whether anything is written anywhere."""
        return bool(self._shelves)

    def forked(self) -> None:
        """A child counts for itself."""
        self._lock, self._packing = threading.Lock(), threading.Lock()
        self.owner = self._again = os.urandom(8).hex()
        self._buckets.clear()
        self._seen = self._totals()

    def emptied(self) -> None:
        """Redis was flushed: it is to be told again."""
        self._lost = True

    # -- looking ------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Count what has come since the last look. No I/O."""
        await _leisurely(self.looking())

    def looking(self) -> Iterator[None]:
        """The same in steps of a few series each, between which the event loop has its turn."""
        self._totals.look()
        self._count()
        for few in _pieces(self._totals.tallies()):
            self._count(few)
            yield
        at = self._parts.clock.time()
        for bucket in tuple(self._buckets.values()):
            if bucket.at + bucket.span.seconds <= at:
                yield from self._preparing(bucket)
                with self._lock:
                    self._let_go(bucket, at)

    def _count(self, tallies: Sequence[Tally] = ()) -> None:
        """Count what has come in some series, or in what is not counted by series: all of it, whatever becomes of the others."""
        with self._lock:
            seen = self._seen
            now = self._totals.of(tallies)._replace(dispatch=seen.dispatch) if tallies else self._totals.besides()
            came = since(now, seen)
            self._seen = now._replace(series={**seen.series, **now.series}, layers={**seen.layers, **now.layers})
            at = self._parts.clock.time()
            if at < self._looked_at:
                self._again = os.urandom(8).hex()
            self._looked_at = at
            if came is not None:
                for span in SPANS:
                    bucket = self._bucket(span, span.begun(at))
                    bucket.counts = plus(self._counted(bucket), came)
                    bucket.owed.update(self._shelves)

    def _bucket(self, span: Span, begun: int) -> Bucket:
        """What counts a span. Where the clock was set back to one that was let go, under another name: it is not to replace that."""
        bucket = self._buckets.get((span, begun))
        if bucket is None:
            newest = self._newest.get(span, -1)
            bucket = Bucket(span, begun, self.owner if begun > newest else self._again)
            self._buckets[span, begun] = bucket
            self._newest[span] = max(begun, newest)
        return bucket

    def _let_go(self, bucket: Bucket, at: float) -> None:
        """Drop what is over, where others keep it or nobody is to keep it any more; else keep its record alone."""
        if (self._shelves and not bucket.owed) or bucket.at + bucket.span.kept <= at:
            self._buckets.pop((bucket.span, bucket.at), None)
        elif bucket.counts is not None:
            with suppress(SerializationError):  # more domains than a record holds
                self._grouped(bucket)
                bucket.counts = bucket.packed = bucket.rows = None

    def _counted(self, bucket: Bucket) -> Snapshot:
        """What was counted in a bucket, also in one that is over."""
        counts = bucket.counts
        if counts is None:
            from toolcache.metrics.record import decode

            group, owner, blob = bucket.record
            encoded = self._envelope.unpack(blob, key_digest(f"{group}:{owner}")).encoded
            record = decode(bytes(encoded.body) if encoded else b"", owner, bucket.at, bucket.at + bucket.span.seconds)
            counts = record.counts if record else Snapshot(bucket.at, bucket.at + bucket.span.seconds)
        return counts

    def own(self, span: Span, at: int) -> "Record | None":
        """What this cache has counted in a span, as far as it has it at hand."""
        bucket = self._buckets.get((span, at))
        return None if bucket is None else self._record(bucket, self._counted(bucket))

    # -- writing ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look and write once a second, until cancelled; or closed, from another loop."""
        while not self._homes.closed:
            await self._parts.clock.sleep(EVERY)
            await self.look()
            await self.flush()
            if self._lost and "redis" in self._shelves:
                self._homes.here().attend(self.refill)  # beside this: it may take minutes

    async def finish(self) -> None:
        """The last look, when nothing is counted any more. What a Redis has lost of others is for those who go on to tell."""
        await self.look()
        self._sketched = (-inf, None)
        today = self._buckets.get((DAY, DAY.begun(self._parts.clock.time())))
        if today is not None and self.sketch is not None:  # with what was sampled until now
            today.owed.update(self._shelves)
            today.packed = None
        await self.flush()

    async def flush(self) -> None:
        """Write what is owed, to whoever takes it; what nobody takes stays owed. Never raises: it is only counts."""
        try:
            await self._write()
        except Exception as fault:  # noqa: BLE001 - told, and tried again in a second
            self._tell(fault)

    def _tell(self, fault: Exception) -> None:
        self._parts.announce(StoreFault("statistics", "put", "local", type(fault).__name__))

    async def _write(self) -> None:
        now = self._parts.clock.monotonic()
        for name, (layer, store) in self._shelves.items():
            if now < self._rests.get(name, now):
                continue
            if state_of(layer) not in _WELL:  # what tries it first is not to be a count
                self._lost |= name == "redis"  # processes of this host that have died meanwhile tell it no more
                continue
            while owed := [bucket for bucket in tuple(self._buckets.values()) if name in bucket.owed][:_PORTION]:
                taken = await self._put(owed, name, layer, store)
                if not taken:
                    if taken is False:
                        self._rests[name] = now + _REST
                    break
            if name == "redis" and isinstance(store, SupportsIdentity) and store.run_id != self._known_run:
                self._known_run, self._lost = store.run_id, True

    async def _put(self, owed: Sequence[Bucket], name: str, layer: Layer, store: SupportsGroups) -> bool | None:
        """Write some; what is not taken stays owed, also where this is cancelled."""
        taken: bool | None = None
        for bucket in owed:  # before it is written: what is counted meanwhile is owed again
            bucket.owed.discard(name)
        try:
            records = []
            for bucket in owed:
                await _leisurely(self._preparing(bucket))
                try:
                    records.append(self._grouped(bucket))
                except (
                    SerializationError
                ) as fault:  # more domains than a record holds: owed again when there are still more
                    self._tell(fault)
            taken = not records or await put(layer, store, records)
        finally:
            if not taken:
                for bucket in owed:
                    bucket.owed.add(name)
                    self._buckets.setdefault((bucket.span, bucket.at), bucket)
        return taken

    async def refill(self) -> None:
        """A Redis that may have lost what it was told is told again: by this cache, and by this host's files. Never raises."""
        redis, files = self._parts.redis, self._parts.files
        if redis is None or not self._lost or state_of(redis) not in _WELL:
            return
        told: int | None = None
        self._lost = False  # it may be lost once more meanwhile
        try:
            for bucket in tuple(self._buckets.values()):
                bucket.owed.add(redis.name)
            if files is not None and "file" in self._shelves:
                from toolcache.metrics.refill import refill

                told = await refill(redis, files, namespace=self._parts.namespace)
            else:
                told = 0
        except Exception as fault:  # noqa: BLE001 - as when it is written
            self._tell(fault)
        finally:
            self._lost |= told is None

    def _preparing(self, bucket: Bucket) -> Iterator[None]:
        """Pack what has changed in a bucket in steps of a few series each: little is left to do when its record is made."""
        counts = bucket.counts
        if counts is not None and counts is not bucket.packed:
            from toolcache.metrics.record import Rows

            rows = bucket.rows = bucket.rows or Rows()
            for few in _pieces(tuple(counts.series)):
                rows.of(counts, few)
                yield

    def _grouped(self, bucket: Bucket) -> Grouped:
        """The record of a bucket, of one version in all stores. Of two the newer one has all that the other has."""
        with self._packing:
            counts = bucket.counts
            if counts is not None and counts is not bucket.packed:
                bucket.record, bucket.packed = self._pack(bucket, counts), counts
            return bucket.record

    def _pack(self, bucket: Bucket, counts: Snapshot) -> Grouped:
        from toolcache.metrics.record import encode  # a second after the cache was made

        group = bucket.span.group(self._parts.namespace, bucket.at)
        gone_ms = (bucket.at + bucket.span.kept) * 1000
        blob = self._envelope.pack(
            Encoded(encode(self._record(bucket, counts), MAX_RECORD - _ROOM, bucket.rows), "m"),
            digest=key_digest(f"{group}:{bucket.owner}"),
            version=self._parts.hybrid.next(),
            created_ms=int(self._parts.clock.time() * 1000),
            fresh_until_ms=gone_ms,
            gone_ms=gone_ms,
        )
        return Grouped(group, bucket.owner, blob)

    def _record(self, bucket: Bucket, counts: Snapshot) -> "Record":
        from toolcache.metrics.record import Record

        today = DAY.begun(self._parts.clock.time())
        if bucket.span is DAY and bucket.at == today and bucket.owner == self.owner:
            bucket.sketch = self._sketch()
        return Record(self._process(bucket.owner), counts, bucket.sketch)

    def _sketch(self) -> Mapping[str, Any] | None:
        now = self._parts.clock.monotonic()
        if self.sketch is not None and now - self._sketched[0] >= _SKETCH_EVERY:
            self._sketched = now, self.sketch()
        return self._sketched[1]

    def _process(self, owner: str) -> Process:
        memory = self._parts.memory
        return Process(
            owner=owner,
            host=socket.gethostname()[:128],
            pid=os.getpid(),
            began_at=self._totals.began_at,
            seen_at=self._parts.clock.time(),
            entries=len(memory),
            bytes=memory.bytes,
            max_bytes=memory.max_bytes,
            pending=self._journal.pending,
            coherence=self._bus.state,
            breakers={layer.name: state_of(layer) for layer in (self._parts.redis, self._parts.files) if layer},
        )


def _pieces(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _SERIES] for start in range(0, len(items), _SERIES))


async def _leisurely(steps: Iterator[None]) -> None:
    for _ in steps:
        await asyncio.sleep(0)


def plus(one: Snapshot, *others: Snapshot) -> Snapshot:
    """What was counted in any of them; the instants are the first's."""
    return one._replace(
        series=_merged(one.series, [other.series for other in others]),
        unit_usd=dict(chain(one.unit_usd.items(), *(other.unit_usd.items() for other in others))),
        unit_tokens=dict(chain(one.unit_tokens.items(), *(other.unit_tokens.items() for other in others))),
        layers=_merged(one.layers, [other.layers for other in others]),
        dispatch=DispatchCounts.sum([one.dispatch, *(other.dispatch for other in others)]),
    )


def _merged(one: Mapping[Any, Any], others: Iterable[Mapping[Any, Any]]) -> dict[Any, Any]:
    columns: dict[Any, list[Any]] = {}
    for name, counts in chain.from_iterable(other.items() for other in others):
        columns.setdefault(name, [one[name]] if name in one else []).append(counts)
    return {**one, **{name: column[0].sum(column) for name, column in columns.items()}}
