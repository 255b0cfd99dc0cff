"""Group commit: one thread appends; whatever arrived while it was at work is the next job.

A job follows the other writers, compares each write with the index, appends what is newer in one call, rings the bell
and, if anything in it was promised, waits for the disk once. Only then are the callers answered. A caller that was
cancelled has left alone; its write goes on.
"""

import errno
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from toolcache.errors import CacheClosedError
from toolcache.protocols import PutResult, PutStatus
from toolcache.stores.log.batch import Batch, Draft, Item, Records, finish
from toolcache.stores.log.claims import Claims, Exchange
from toolcache.stores.log.compaction import Compactor
from toolcache.stores.log.frame import BLOB, FIRST, MARK, PENDING, RESULT, lead, pack
from toolcache.stores.log.index import UNSEEN, Entry, digest
from toolcache.stores.log.log import Log, encode
from toolcache.stores.log.ops import File
from toolcache.stores.log.pace import STEP, paced, pool
from toolcache.stores.log.rest import Rest
from toolcache.stores.log.segment import Segment

_LINGER: Final = 0.02
_SEGMENT_AGE: Final = 3600.0
_MAX_WAITING: Final = 64 * 2**20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Writer:
    """Appends batches to this process's segment.

    Args:
        log: the shared state.
        compactor: makes room.
    """

    def __init__(self, log: Log, compactor: Compactor) -> None:
        self.compactor = compactor
        self._pool = pool(1, "toolcache-write")
        self._log = log
        self._claims = Claims(log)
        self._gate = threading.Lock()
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._waiting_bytes = 0
        self._busy = False
        self._active: Segment | None = None
        self._seal_at = 0.0
        self._rest = Rest(log.clock, log.tell, log.directory.root)

    def submit(self, batch: Batch) -> None:
        """Queue a batch.

        Raises:
            TimeoutError: 64 MiB wait already; the disk does not keep up.
            CacheClosedError: the last store has been closed meanwhile.
        """
        with self._gate:
            if self._waiting_bytes and self._waiting_bytes + batch.size > _MAX_WAITING:
                raise TimeoutError(errno.ETIMEDOUT, "the disk does not keep up with the writes")
            self._waiting_bytes += batch.size
            self._queue.put(batch)
            if self._busy:
                return
            self._busy = True
        try:
            self._pool.submit(self._run)
        except RuntimeError:
            self._busy = False
            raise CacheClosedError("this file store is closed: open a new one") from None

    def drain(self) -> None:
        """Wait until nothing is under way. Blocks."""
        with self._gate:
            if self._busy:
                self._queue.put(None)
        self._pool.submit(int).result()

    def close(self) -> None:
        """Wait for what was submitted, and end the thread. Blocks."""
        self.drain()
        self._pool.shutdown()

    # the thread

    def _run(self) -> None:
        while batches := self._take():
            try:
                self._work(batches)
            except Exception as fault:  # noqa: BLE001 - it belongs to the callers, and must not end this thread's work
                finish(batches, fault)
            batches.clear()  # while it waits for more, nobody needs them

    def _take(self) -> list[Batch]:
        """What waits, and if nothing does, what comes in a moment: to have a thread begin costs more than a write."""
        while True:
            batches: list[Batch] = []
            with suppress(Empty):
                batch = self._queue.get(timeout=_LINGER)
                while batch is not None:
                    batches.append(batch)
                    if len(batches) == STEP:
                        break
                    batch = self._queue.get_nowait()
                else:
                    if batches:
                        self._queue.put(None)  # they come first
            with self._gate:
                self._waiting_bytes -= sum(batch.size for batch in batches)
                if batches or self._queue.empty():
                    self._busy = bool(batches)
                    return batches

    def _work(self, batches: list[Batch]) -> None:
        for batch in batches:
            batch.prepare()
        plain = [batch for batch in batches if not batch.once]
        if plain:
            self._job(plain)
        for some in _apart([batch for batch in batches if batch.once]):
            # decided by one process at a time, so that two never both find nothing and both write
            try:
                claims = self._lock_claims()
            except BlockingIOError:
                self._later(some)
            else:
                self._job(some, claims)

    def _lock_claims(self) -> File:
        self._log.ensure_open()
        try:
            return self._log.directory.lock("claims")
        except FileNotFoundError:
            self._renew()
            return self._log.directory.lock("claims")

    def _later(self, batches: list[Batch]) -> None:
        now = self._log.clock.monotonic()
        for batch in batches:
            batch.since = now if batch.since is None else batch.since
        late = [batch for batch in batches if now - (batch.since or now) > batch.patience]
        finish(late, TimeoutError(errno.ETIMEDOUT, "another process holds the lock for write-once writes"))
        with self._gate:
            for batch in batches:
                if batch not in late:
                    self._queue.put(batch)
                    self._waiting_bytes += batch.size
        time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - jitter

    def _job(self, batches: list[Batch], claims: File | None = None) -> None:
        try:
            self._log.ensure_open()
            self._log.follow()
            self._refuse_what_has_no_room(batches)
            self._commit([batch for batch in batches if batch.fault is None], claims)
            self.compactor.consider()
            finish(batches)
        except OSError as fault:
            finish(batches, fault)
        finally:
            if claims is not None:
                claims.release()

    def _refuse_what_has_no_room(self, batches: list[Batch]) -> None:
        size = sum(batch.size for batch in batches)
        if self._log.disk() + size <= self.compactor.budget.max_disk or not any(batch.optional for batch in batches):
            return
        if self._active is not None and self._active.end * 2 >= self.compactor.budget.segment:
            self._seal()
        self._make_room(size)
        room = self.compactor.budget.max_disk - self._log.disk()
        for batch in batches:
            if batch.optional and batch.size > room:
                batch.fault = OSError(errno.ENOSPC, "max_disk is reached by what may not be dropped")
            room -= batch.size

    def _commit(self, batches: Sequence[Batch], claims: File | None) -> None:
        now_ms = int(self._log.clock.time() * 1000)
        staged: dict[bytes, Entry] = {}
        draft = Draft()
        for batch in batches:
            batch.results = [self._decide(item, now_ms, staged, draft) for item in paced(batch.items)]
            for key, version in batch.marks:
                self._mark(key, version, staged, draft)
            if isinstance(batch, Exchange):
                self._claims.exchange(batch, draft)
        if draft.parts:
            self._append(draft, sync=any(batch.sync for batch in batches), claims=claims)
        for batch in batches:
            self._conclude(batch)

    def _conclude(self, batch: Batch) -> None:
        """Tell the stores of this process what was written; sync what was found instead: it is about to be relied on."""
        if isinstance(batch, Exchange) and not batch.swapped.done:
            self._rely_on(batch)
        if isinstance(batch, Records):
            pairs = zip(batch.items, batch.results, strict=True)
            self._log.gather((item.name, item.key) for item, result in pairs if result.status is PutStatus.STORED)
            return
        stored, found = [], []
        for item, result in zip(batch.items, batch.results, strict=True):
            if result.status is PutStatus.STORED:
                stored.append((item.write.key, result.version))
            else:
                found.append(item.name)
        self._log.changed(stored)
        for name in found if batch.sync else ():
            if entry := self._log.index.get(name):  # its writer may not have synced it yet
                self._log.sync_found(entry)

    def _rely_on(self, asked: Exchange) -> None:
        """What stands there, the caller will go by. A result it will answer with: that must not be gone tomorrow."""
        entry = self._log.index.get(asked.name)
        if entry is not None and (asked.sync or (entry.flags & RESULT and self.compactor.budget.syncs)):
            self._log.sync_found(entry)

    def _decide(self, item: Item, now_ms: int, staged: dict[bytes, Entry], draft: Draft) -> PutResult:
        version, flags, keep, blob = item.version, item.flags | FIRST, item.gone, item.write.blob
        was_live, known = False, flags
        seen: bytes | None = UNSEEN
        old = staged.get(item.name)
        if old is None:
            old, seen = self._log.index.stands(item.name)
            if old is not None and old.segment not in self._log.segments:
                old, seen = None, UNSEEN
        if old is not None:
            was_live = old.live(now_ms)
            if version == old.version:
                return PutResult(PutStatus.ALREADY, version, was_live)
            if version < old.version or (item.write.once and was_live and old.version > item.write.dead):
                return PutResult(PutStatus.NEWER, old.version, was_live)
            known = item.flags
            if old.keep > now_ms:
                flags, keep = item.flags, max(keep, old.keep)
        # Entry(…) and PutResult(…), less a call each
        entry = tuple.__new__(Entry, (version, item.gone, keep, 0, draft.size, item.size, known))
        staged[item.name] = entry
        draft.add(item.name, entry, (lead(BLOB, flags, item.key, blob, keep), blob), item.size, seen)
        return tuple.__new__(PutResult, (PutStatus.STORED, version, was_live))

    def _mark(self, key: str, version: bytes, staged: dict[bytes, Entry], draft: Draft) -> None:
        raw = encode(key)
        name = digest(raw)
        old = staged.get(name) or self._log.index.get(name)
        if old is not None and old.flags & PENDING and old.version <= version:
            record = pack(MARK, 0, raw, old.version, old.keep)
            draft.add(name, old.version, [record], len(record))

    def _append(self, draft: Draft, *, sync: bool, claims: File | None) -> None:
        """Write a draft; once more, in a new segment, if that fails: a segment that refused anything is given up."""
        self._rest.check()
        for again in (True, False):
            try:
                segment = self._segment()
                self._log.append(segment, draft.parts, draft.records)
                if claims is not None:
                    claims.release()
                if sync:
                    self._log.sync(segment)
            except OSError as fault:
                self._seal()
                if fault.errno in _REFUSED:
                    self._rest.begin(fault)
                elif again:
                    self._mend(fault, draft.size)
                    continue
                raise
            return

    def _mend(self, fault: OSError, size: int) -> None:
        if fault.errno in _FULL:
            self._make_room(size)
        elif isinstance(fault, FileNotFoundError):
            self._renew()

    def _make_room(self, size: int) -> None:
        with suppress(OSError):  # what could be won was; whether it is enough, the write will tell
            self.compactor.free(size)

    def _renew(self) -> None:
        """The tree was removed under us: begin anew."""
        self._active = None
        self._log.close()
        self._log.ensure_open()

    def _segment(self) -> Segment:
        """The one to append to: sealed when it is large or old, recreated when the tree was removed under us."""
        now = self._log.clock.monotonic()
        active = self._active
        if active is not None and self._log.ops.fstat(active.file.fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the directory was removed", self._log.directory.root)
        if active is not None and (active.end >= self.compactor.budget.segment or now >= self._seal_at):
            self._seal()
        if self._active is None:
            self._active = self._log.create_segment()
            self._seal_at = now + _SEGMENT_AGE
        return self._active

    def _seal(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            self._log.seal(active)


def _apart(batches: list[Batch]) -> Iterator[list[Batch]]:
    """Write-once batches in order, an exchange alone with others of other keys: each has to find what the last one left."""
    some: list[Batch] = []
    names: set[bytes] = set()
    for batch in batches:
        mine = {batch.name} if isinstance(batch, Exchange) else {item.name for item in batch.items}
        if some and not names.isdisjoint(mine) and any(isinstance(one, Exchange) for one in (batch, *some)):
            yield some
            some, names = [], set()
        some.append(batch)
        names |= mine
    if some:
        yield some
