"""The file store: blobs in one append-only log per directory, shared by the processes of a host."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, TypeVar

from toolcache.blob import read_header
from toolcache.groups import Grouped, header_of
from toolcache.listing import Page
from toolcache.protocols import Changed, Debt, Newest, PutResult, Usage, Write
from toolcache.stores.log.attached import Attached
from toolcache.stores.log.batch import Batch, Records
from toolcache.stores.log.claims import Claims, Exchange
from toolcache.stores.log.directory import LockedNote
from toolcache.stores.log.groups import key_of
from toolcache.stores.log.index import SHARDS, Entry, digest
from toolcache.stores.log.log import encode
from toolcache.swaps import Standing, Swapped
from toolcache.versions import ZERO, split

T = TypeVar("T")

_ENTRIES_A_PAGE: Final = 250
_LISTEN: Final = 0.02
_LOOKS: Final = 5


class LogStore(Attached):
    """Blobs in an append-only log on disk. Safe with several stores, loops, threads and processes on one directory.

    A write is answered when it was handed to the kernel (it survives a kill of the process) and, where it was promised,
    when it is on the disk (it survives a power cut).

    Args:
        root: the directory; made at first use, for the owner alone. Not on a network file system.
        clock: for lifetimes.
        hybrid: shown the newest version found, so that later writes come after it.
        max_disk: bytes. Above it what expired goes, then the oldest values that Redis is not owed.
        fsync: wait for the disk with writes that are ``durable`` ("promised"), with each ("always"), or with none.
        patience: seconds that a write-once write and a swap wait while another process, which may have been stopped at
            that, decides one.
        announce: told of events, on the loop of a caller.
        ops: the system calls, for tests.

    Raises:
        OSError: from each operation: the directory cannot be used. After a refusal it is left alone for 30 s.

    Examples:
        >>> store = LogStore("cache", clock=SYSTEM, hybrid=process_clock())
        >>> await store.put_many([Write("tc1:v:main:a", blob)])
    """

    name = "file"

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, tombstones included, in the order of the keys; None for what is absent, expired or damaged.

        A result that is read will be answered with: it is on the disk first, whoever wrote it.
        """
        blobs = self.peek(keys)
        if blobs is None:
            shared = await self._followed()
            blobs = await self._job(
                shared, partial(shared.reader.read_many, keys, self._now_ms(), relied=self._budget.syncs)
            )
        return blobs

    def peek(self, keys: Sequence[str], /) -> list[bytes | None] | None:
        """What ``get_many`` would answer, where all of it is in the page cache; None where it takes the disk, or a thread."""
        shared = self._shared
        if shared is None or self._closed or not shared.log.ready or shared.log.rang():
            return None
        return shared.reader.peek(keys, int(self._clock.time() * 1000), relied=self._budget.syncs)

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes in order; all that arrive together are appended together.

        Raises:
            ValueError: a blob has no valid header.
            OSError: the disk took nothing, or may not have.
        """
        always, promised = self._fsync == "always", self._fsync == "promised"
        sync = always or (promised and any(write.durable for write in writes))
        return await self._written(Batch(writes, sync=sync and bool(writes)))

    def pending(self, key: str, /) -> bytes | None:
        """The version of the key's newest record, as far as is known, if it is one that Redis has not taken."""
        shared = self._shared
        if shared is None or not shared.log.index.owing:  # as always, but in an outage
            return None
        version = shared.reader.owed(key)
        if version is None or version <= shared.disowned.get(key, ZERO):
            return None
        return version

    def newest(self, key: str, /) -> Newest | None:
        """Of what is known of the key, owed or not, the newest."""
        return None if self._shared is None else self._shared.reader.newest(key)

    def disown(self, marks: Sequence[tuple[str, bytes]], /) -> None:
        """Owe Redis nothing of these keys up to these versions, from now on; ``settle`` has the disk know, when it can."""
        if self._shared is not None:
            for key, version in marks:
                if self._shared.reader.owed(key) is not None:
                    self._shared.disowned[key] = max(version, self._shared.disowned.get(key, ZERO))

    @property
    def ready(self) -> bool:
        """Whether the index is built, and no other process has written since it was last brought up to date."""
        return self._shared is not None and self._shared.log.ready and not self._shared.log.rang()

    @property
    def opening(self) -> bool:
        """Whether the index is being built, and that is getting on."""
        return self._shared is not None and self._shared.log.opening

    @property
    def refused(self) -> bool:
        """Whether the directory has refused this process from the start."""
        return self._shared is not None and self._shared.log.refused

    def in_step(self) -> bool:
        """Whether nobody, in this process or another, has written since ``changes`` were last taken."""
        shared = self._shared
        return shared is None or not shared.log.ready or not (self._post.changed or shared.log.rang())

    async def changes(self) -> Changed:
        """Follow the others; the keys written since the last call, with their versions."""
        await self._followed()
        return self._post.take()

    async def settle(self, marks: Sequence[tuple[str, bytes]], /) -> None:
        """Mark the pending records of keys clean whose versions are not above those given. Not waited for on disk."""
        shared = await self._followed()
        if owed := [mark for mark in marks if shared.reader.owed(mark[0])]:
            await self._written(Batch((), sync=False, marks=owed))
        for key, version in marks:
            if shared.disowned.get(key, ZERO) <= version:
                shared.disowned.pop(key, None)

    @property
    def owing(self) -> int:
        """How many keys have a record that Redis has not taken, as far as is known."""
        return 0 if self._shared is None else self._shared.log.index.owing

    def oldest(self) -> float | None:
        """When the oldest of them was written, in seconds since the epoch."""
        owed = {} if self._shared is None else self._shared.log.index.owed()
        return split(min(owed.values()))[0] / 1000 if owed else None

    async def owed(self, *, lasting: bool = False) -> list[list[bytes]]:
        """Portions of handles of what Redis is owed, in the order of telling; ``lasting``: of all that lasts."""
        shared = await self._followed()
        return await self._job(shared, partial(shared.reader.order_of_debts, lasting=lasting, now_ms=self._now_ms()))

    async def debts(self, handles: Sequence[bytes], /) -> list[Debt]:
        """What stands behind handles; those that have gone meanwhile are left out."""
        shared = await self._followed()
        return await self._job(shared, shared.reader.debts, handles, self._now_ms())

    async def take_turn(self) -> LockedNote | None:
        """The right to replay, which one process of the host has at a time; None while another has it."""
        shared = await self._followed()
        return await self._job(shared, shared.log.directory.take_turn)

    async def note(self, turn: LockedNote, text: str, /) -> None:
        """Leave word to those who take the turn later."""
        await self._job(await self._followed(), turn.note, text)

    @property
    def hears(self) -> bool:
        """Whether what others do is heard: it is."""
        return True

    async def swap(
        self,
        key: str,
        expected: bytes,
        new: bytes | None,
        /,
        *,
        ttl: float,
        lease: float | None = None,
        durable: bool = False,
        pending: bool = False,
    ) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands; see ``SupportsClaim``.

        Raises:
            ValueError: ``new`` is no blob.
            OSError: the disk took nothing, or may not have, or others did not let go of the lock of claims.
        """
        sync = self._fsync == "always" or ((durable or pending) and self._fsync == "promised")
        asked = Exchange(key, expected, new, ttl=ttl, lease=lease, sync=sync, pending=pending)
        await self._written(asked)
        return asked.swapped

    async def until_ended(self, key: str, standing: Standing, /) -> None:
        """Wait until something else stands there, or the holder is dead."""
        shared = await self._followed()
        name, header = digest(encode(key)), read_header(standing.blob)
        for look in count(1):
            entry = shared.log.index.get(name)
            if entry is None or header is None or entry.version != header.version:
                return
            if not look % _LOOKS and (await self._job(shared, Claims(shared.log).standing, standing.raw)).left <= 0:
                return
            await asyncio.sleep(_LISTEN)
            if shared.log.rang():
                await self._job(shared, shared.log.follow)

    async def count(self) -> int:
        """Keys that have a record; tombstones, and values that expired lately, included."""
        shared = await self._followed()
        return len(shared.log.index)

    def usage(self) -> Usage | None:
        """What the directory holds, whoever wrote it, entries as ``count``; the evictions are those of this process."""
        shared = self._shared
        if shared is None or not shared.log.ready:
            return None
        return Usage(len(shared.log.index), shared.log.disk(), shared.compactor.evictions)

    async def scan(self, prefix: str, /) -> AsyncIterator[str]:
        """The keys of live values that start with ``prefix``."""
        cursor: int | None = 0
        while cursor is not None:
            found, cursor = await self.page(prefix, cursor)
            for key, _ in found:
                yield key

    async def page(self, prefix: str, cursor: int | None = None, /) -> Page:
        """Some of the live values whose keys start with ``prefix``; see ``SupportsPages``."""
        shared, at = await self._followed(), cursor or 0
        entries: list[tuple[bytes, Entry]] = []
        while at < SHARDS and len(entries) < _ENTRIES_A_PAGE:
            entries += shared.log.index.shard(at)
            at += 1
        read = shared.reader.glimpses
        found = await self._job(shared, read, encode(prefix), entries, self._now_ms()) if entries else []
        return Page(found, at if at < SHARDS else None)

    async def put_grouped(self, records: Sequence[Grouped], /) -> None:
        """Store records in their groups; see ``SupportsGroups``. Only ``fsync="always"`` waits for the disk with them."""
        now_ms = self._now_ms()
        writes = [Write(key_of(record), record.blob) for record in records if header_of(record).gone_ms > now_ms]
        if writes:
            await self._written(Records(writes, sync=self._fsync == "always"))

    async def read_groups(self, groups: Sequence[str], /) -> list[dict[str, bytes]]:
        """Of each group the blobs by name; see ``SupportsGroups``."""
        shared = await self._followed()
        return await self._job(shared, shared.reader.grouped, groups, self._now_ms())

    async def groups(self, prefix: str, /) -> list[str]:
        """The groups that begin with ``prefix`` and have a record whose life has not ended."""
        shared = await self._followed()
        return await self._job(shared, shared.reader.groups, prefix, self._now_ms())

    async def compact(self, needless: Callable[[str, bytes], bool] | None = None, /) -> int:
        """Remove what is dead now, rather than in a while; see ``SupportsCompaction``."""
        shared = await self._followed()
        free = partial(shared.compactor.free, needless=needless)
        return await self._job(shared, free, pool=shared.compactor.pool)
