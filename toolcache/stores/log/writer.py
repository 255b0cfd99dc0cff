"""Group commit: one thread appends; whatever arrived while it was at work is the next job.

A job follows the other writers, compares each write with the index, appends what is newer in one call, rings the bell
and, if anything in it was promised, waits for the disk once. Only then are the callers answered. A caller that was
cancelled has left alone; its write goes on.
"""

import asyncio
import errno
import random
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from toolcache.blob import EPOCH as BLOB_EPOCH
from toolcache.blob import RECORD as BLOB_RECORD
from toolcache.blob import TOMBSTONE as BLOB_TOMBSTONE
from toolcache.blob import Header, read_header
from toolcache.protocols import PutResult, PutStatus, Write
from toolcache.stores.log.compaction import Compactor
from toolcache.stores.log.frame import BLOB, EPOCH, FIRST, MARK, MAX_BLOB, MAX_KEY, PENDING, RESULT, TOMBSTONE, pack
from toolcache.stores.log.index import Entry, digest
from toolcache.stores.log.log import Log, Rest, encode
from toolcache.stores.log.ops import File
from toolcache.stores.log.segment import Segment

_SEGMENT_AGE: Final = 3600.0
_MAX_WAITING: Final = 64 * 2**20
_CLAIM_WAIT: Final = 2.0
_KINDS: Final = {BLOB_TOMBSTONE: TOMBSTONE, BLOB_EPOCH: EPOCH, BLOB_RECORD: RESULT}
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Item:
    """A write made ready, off the writer's thread. Raises ValueError for what is no blob, or too large."""

    __slots__ = ("blob", "flags", "header", "key", "name", "once", "promised")

    def __init__(self, write: Write) -> None:
        header = read_header(write.blob)
        if header is None:
            raise ValueError("a write needs a whole blob, header and all")
        self.key = encode(write.key)
        if len(self.key) > MAX_KEY or len(write.blob) > MAX_BLOB:
            raise ValueError(f"a record takes at most {MAX_KEY:,} bytes of key and {MAX_BLOB:,} of blob")
        self.name = digest(self.key)
        self.blob = write.blob
        self.header: Header = header
        self.once = write.once
        self.flags = PENDING if write.pending else 0
        for bit, flag in _KINDS.items():
            if header.flags & bit:
                self.flags |= flag
        self.promised = write.durable or bool(self.flags)


class Batch:
    """What one caller waits for: writes, or marks, to be applied in order."""

    def __init__(self, items: Sequence[Item], *, sync: bool, marks: Sequence[tuple[str, bytes]] = ()) -> None:
        self.items = items
        self.marks = marks
        self.sync = sync
        self.once = any(item.once for item in items)
        self.size = sum(len(item.blob) for item in items)
        self.optional = not any(item.promised for item in items)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[PutResult]] = self.loop.create_future()
        self.results: list[PutResult] = []
        self.fault: BaseException | None = None
        self.since: float | None = None

    def answer(self) -> None:
        """Tell the caller, on its loop."""
        if self.future.done():
            return
        if self.fault is None:
            self.future.set_result(self.results)
        else:
            self.future.set_exception(self.fault)


class Writer:
    """Appends batches to this process's segment.

    Args:
        log: the shared state.
        compactor: makes room.
    """

    def __init__(self, log: Log, compactor: Compactor) -> None:
        self.compactor = compactor
        self.pool = ThreadPoolExecutor(1, "toolcache-write")
        self._log = log
        self._gate = threading.Lock()
        self._waiting: list[Batch] = []
        self._waiting_bytes = 0
        self._busy = False
        self._active: Segment | None = None
        self._seal_at = 0.0
        self._rest = Rest(log.clock, log.tell, log.directory.root)

    def submit(self, batch: Batch) -> None:
        """Queue a batch.

        Raises:
            TimeoutError: 64 MiB wait already; the disk does not keep up.
        """
        with self._gate:
            if self._waiting and self._waiting_bytes + batch.size > _MAX_WAITING:
                raise TimeoutError(errno.ETIMEDOUT, "the disk does not keep up with the writes")
            self._waiting.append(batch)
            self._waiting_bytes += batch.size
            if self._busy:
                return
            self._busy = True
        self.pool.submit(self._run)

    def close(self) -> None:
        """Nothing is written any more."""
        self._active = None

    # the thread

    def _run(self) -> None:
        while True:
            with self._gate:
                batches, self._waiting, self._waiting_bytes = self._waiting, [], 0
                if not batches:
                    self._busy = False
                    return
            plain = [batch for batch in batches if not batch.once]
            once = [batch for batch in batches if batch.once]
            if plain:
                self._job(plain)
            if once:
                self._decide_once(once)

    def _decide_once(self, batches: list[Batch]) -> None:
        """Under the lock of all processes, so that two never both find nothing and both write."""
        try:
            self._log.ensure_open()
            claims = self._log.directory.lock("claims")
        except BlockingIOError:
            self._later(batches)
        except OSError as fault:
            _finish(batches, fault)
        else:
            self._job(batches, claims)

    def _later(self, batches: list[Batch]) -> None:
        now = self._log.clock.monotonic()
        for batch in batches:
            batch.since = now if batch.since is None else batch.since
        late = [batch for batch in batches if now - (batch.since or now) > _CLAIM_WAIT]
        _finish(late, TimeoutError(errno.ETIMEDOUT, "another process holds the lock for write-once writes"))
        with self._gate:
            self._waiting[:0] = [batch for batch in batches if batch not in late]
        time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - jitter

    def _job(self, batches: list[Batch], claims: File | None = None) -> None:
        try:
            self._log.ensure_open()
            self._log.follow()
            self._refuse_what_has_no_room(batches)
            self._commit([batch for batch in batches if batch.fault is None], claims)
        except Exception as fault:  # noqa: BLE001 - whatever it is belongs to the callers, not to this thread
            _finish([batch for batch in batches if batch.fault is None], fault)
        else:
            _finish(batches)
        finally:
            if claims is not None:
                claims.close()
        self.compactor.consider()

    def _refuse_what_has_no_room(self, batches: list[Batch]) -> None:
        size = sum(batch.size for batch in batches)
        if self._log.disk() + size <= self.compactor.max_disk or not any(batch.optional for batch in batches):
            return
        if self._active is not None and self._active.end * 2 >= self.compactor.segment_bytes:
            self._seal()
        self.compactor.free(size)
        room = self.compactor.max_disk - self._log.disk()
        for batch in batches:
            if batch.optional and batch.size > room:
                batch.fault = OSError(errno.ENOSPC, "max_disk is reached by what may not be dropped")
            room -= batch.size

    def _commit(self, batches: Sequence[Batch], claims: File | None) -> None:
        staged: dict[bytes, Entry] = {}
        draft = Draft()
        for batch in batches:
            batch.results = [self._decide(item, staged, draft) for item in batch.items]
            for key, version in batch.marks:
                self._mark(key, version, staged, draft)
        if draft.parts:
            self._append(draft, sync=any(batch.sync for batch in batches), claims=claims)
        for batch in batches:
            for item, result in zip(batch.items, batch.results, strict=True):
                if result.status is PutStatus.STORED:
                    self._log.changed(item.key, result.version)

    def _decide(self, item: Item, staged: dict[bytes, Entry], draft: "Draft") -> PutResult:
        now_ms = int(self._log.clock.time() * 1000)
        header = item.header
        old = staged.get(item.name) or self._log.index.get(item.name)
        if old is not None and item.name not in staged and old.segment not in self._log.segments:
            old = None
        was_live = old is not None and old.live(now_ms)
        if old is not None:
            if header.version == old.version:
                return PutResult(PutStatus.ALREADY, old.version, was_live)
            if header.version < old.version or (item.once and was_live):
                return PutResult(PutStatus.NEWER, old.version, was_live)
        flags = item.flags
        keep = header.gone_ms
        if old is None or old.keep <= now_ms:
            flags |= FIRST
        else:
            keep = max(keep, old.keep)
        record = pack(BLOB, flags, item.key, item.blob, keep)
        entry = Entry(header.version, header.gone_ms, keep, 0, draft.size, len(record), flags)
        staged[item.name] = entry
        draft.add(record, item.name, entry)
        return PutResult(PutStatus.STORED, header.version, was_live)

    def _mark(self, key: str, version: bytes, staged: dict[bytes, Entry], draft: "Draft") -> None:
        raw = encode(key)
        name = digest(raw)
        old = staged.get(name) or self._log.index.get(name)
        if old is not None and old.flags & PENDING and old.version <= version:
            draft.add(pack(MARK, 0, raw, old.version, old.keep), name, old.version)

    def _append(self, draft: "Draft", *, sync: bool, claims: File | None) -> None:
        """Write a draft; once more, in a new segment, if that fails: a segment that refused anything is given up."""
        data = b"".join(draft.parts)
        self._rest.check()
        for again in (True, False):
            try:
                segment = self._segment()
                start = segment.append(self._log.ops, data)
                self._log.publish(segment, start, draft.records)
                if claims is not None:
                    claims.close()
                if sync:
                    self._log.sync(segment)
            except OSError as fault:
                self._seal()
                if fault.errno in _REFUSED:
                    self._rest.begin(fault)
                elif again:
                    self._mend(fault, len(data))
                    continue
                raise
            return

    def _mend(self, fault: OSError, size: int) -> None:
        if fault.errno in _FULL:
            self.compactor.free(size)
        elif isinstance(fault, FileNotFoundError):
            self._log.close()
            self._log.ensure_open()

    def _segment(self) -> Segment:
        """The one to append to: sealed when it is large or old, recreated when the tree was removed under us."""
        now = self._log.clock.monotonic()
        active = self._active
        if active is not None and self._log.ops.fstat(active.file.fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the directory was removed", self._log.directory.root)
        if active is not None and (active.end >= self.compactor.segment_bytes or now >= self._seal_at):
            self._seal()
        if self._active is None:
            self._active = self._log.create_segment()
            self._seal_at = now + _SEGMENT_AGE
        return self._active

    def _seal(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            self._log.seal(active)


class Draft:
    """Records on their way into a segment, and what the index is to say of them: an entry, or a mark's version."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.records: list[tuple[bytes, Entry | bytes]] = []
        self.size = 0

    def add(self, record: bytes, name: bytes, what: Entry | bytes) -> None:
        """One record more; an entry's offset is its place in the draft."""
        self.parts.append(record)
        self.records.append((name, what))
        self.size += len(record)


def _finish(batches: Iterable[Batch], fault: BaseException | None = None) -> None:
    """Answer callers, with one call per loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Batch]] = {}
    for batch in batches:
        # one exception raised in many tasks would grow one traceback out of all of them
        batch.fault = batch.fault or (OSError(*fault.args) if isinstance(fault, OSError) else fault)
        loops.setdefault(batch.loop, []).append(batch)
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_answer, answered)
        except RuntimeError:
            # the loop was closed, and nobody waits
            continue


def _answer(batches: list[Batch]) -> None:
    for batch in batches:
        batch.answer()
