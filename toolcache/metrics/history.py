"""Reads what a fleet has counted: the records of all owners, from Redis and the files of this host, each counted once."""

from collections.abc import AsyncIterator
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

from toolcache.blob import CorruptBlobError
from toolcache.durations import Duration
from toolcache.fields import Fields
from toolcache.groups import MAX_RECORD, SupportsGroups
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.metrics.record import Record, decode, is_newer
from toolcache.metrics.recorder import Recorder, plus
from toolcache.metrics.shelves import FIRST, next_number, read
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.metrics.spans import Reach, reach_of
from toolcache.parts import Parts
from toolcache.pieces import Pieces

_PIECE: Final = 8
"""Records that are read without a pause: a few milliseconds, where each tells of many series."""

_Newest: TypeAlias = dict[int, dict[str, tuple[bytes, bytes]]]
"""By the beginning of a span and the owner: version and body."""


class _Found(Fields):
    """What the layers have; ``complete`` while nothing is known to be missing."""

    newest: _Newest
    complete: bool = True


class History:
    """What the caches of one namespace have counted.

    Args:
        parts: the cache's parts.
        recorder: what this cache has counted; None where it does not write it down.
    """

    def __init__(self, parts: Parts, recorder: Recorder | None) -> None:
        self._parts = parts
        self._envelope = parts.envelope.for_records(MAX_RECORD)
        self._recorder = recorder

    async def metrics(self, period: Duration, step: Duration | None = None) -> Metrics:
        """What was counted in a period; see ``Cache.metrics``."""
        reach = reach_of(period, step)
        if self._recorder is not None:
            await self._recorder.look()
            await self._recorder.flush()
        now = self._parts.clock.time()
        found = await self._found(reach, now)
        points = {at: Snapshot(at, at + reach.span.seconds) for at in found.newest}
        processes: dict[str, Process] = {}
        async for at, records in self._each(reach, found):
            points[at] = plus(points[at], *(record.counts for record in records))
            for process, *_ in records:
                seen = processes.get(process.owner)
                if seen is None or process.seen_at >= seen.seen_at:
                    processes[process.owner] = process
        whole = Snapshot(min(points), now)
        async for few in Pieces(list(points.values()), _PIECE):
            whole = plus(whole, *few)
        return Metrics(
            **vars(whole),
            step=reach.span.seconds,
            points=tuple(points.values()),
            processes=tuple(sorted(processes.values(), key=lambda one: -one.seen_at)),
            complete=found.complete,
        )

    async def records(self, reach: Reach, now: float) -> tuple[dict[int, list[Record]], bool]:
        """The records of each span, by its beginning, each owner's once; and whether these are all that there are."""
        found = await self._found(reach, now)
        records: dict[int, list[Record]] = {at: [] for at in found.newest}
        async for at, some in self._each(reach, found):
            records[at] += some
        return records, found.complete

    async def _found(self, reach: Reach, now: float) -> _Found:
        """Of each span by its beginning and each owner the newest record that a layer has."""
        found = _Found({at: {} for at in reach.beginnings(now)})
        groups = {reach.span.group(self._parts.namespace, at): at for at in found.newest}
        for layer in (self._parts.redis, self._parts.files):
            if layer is not None and isinstance(layer.store, SupportsGroups):
                found.complete &= await self._gather(layer, layer.store, groups, found.newest)
        return found

    async def _each(self, reach: Reach, found: _Found) -> AsyncIterator[tuple[int, list[Record]]]:
        """The records, a few of a span at a time: of a large fleet all at once would take much room, and the loop's time."""
        async for some in Pieces(list(found.newest), _PIECE):
            for at in some:
                own = None if self._recorder is None else self._recorder.own(reach.span, at)
                if own is not None:  # as it is now: a store may have an older one
                    found.newest[at].pop(own.process.owner, None)
                    yield at, [own]
        bodies = [(at, owner, body) for at, owners in found.newest.items() for owner, (_, body) in owners.items()]
        async for few in Pieces(bodies, _PIECE):
            for at, of_span in groupby(few, itemgetter(0)):
                records: list[Record] = []
                for _, owner, body in of_span:
                    record = decode(body, owner, at, at + reach.span.seconds)
                    if record is not None:
                        records.append(record)
                    elif is_newer(body):
                        found.complete = False
                if records:
                    yield at, records

    async def _gather(
        self,
        layer: Layer,
        store: SupportsGroups,
        groups: dict[str, int],
        newest: _Newest,
    ) -> bool:
        """Add what a layer has, where it is newer than what is there; whether that is all it has."""
        left, number, whole = list(groups), FIRST, True
        while left:  # the newest first
            left, some = left[:-number], left[-number:]
            found = await read(layer, store, some)
            if not found:
                return False
            whole &= None not in found
            blobs = [
                (group, *it) for group, records in zip(some, found, strict=True) if records for it in records.items()
            ]
            async for few in Pieces(blobs, _PIECE):
                for group, owner, blob in few:
                    owners = newest[groups[group]]
                    opened = self._open(f"{group}:{owner}", blob)
                    if opened is not None and (owner not in owners or opened[0] > owners[owner][0]):
                        owners[owner] = opened
            number = next_number(len(some), sum(len(blob) for *_, blob in blobs))
        return whole

    def _open(self, name: str, blob: bytes) -> tuple[bytes, bytes] | None:
        """The version and the body of a record; None for what is none."""
        try:
            header, _, encoded = self._envelope.unpack(blob, key_digest(name))
        except CorruptBlobError:
            return None
        return None if encoded is None else (header.version, bytes(encoded.body))
