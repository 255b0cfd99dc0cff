"""Getting space back: sealed segments are rewritten without what is dead, then removed.

One process at a time does it. Live records go, with their versions, into a fresh segment numbered above all others, so
that of two copies the new one counts; it is on the disk before the old one goes, and so is whatever has beaten a
record that goes. What expired, or is given up for the budget, leaves a bare header while something older of its key may
still stand elsewhere: otherwise that would come back.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from toolcache.blob import HEADER_SIZE
from toolcache.fields import Fields
from toolcache.stores.log.frame import BARE, BLOB, CLEAN, EPOCH, FIRST, GROUPED, HEAD_SIZE, LASTING, MARK, PENDING, pack
from toolcache.stores.log.index import Entry, digest
from toolcache.stores.log.index import Record as Appended
from toolcache.stores.log.log import Log
from toolcache.stores.log.ops import File
from toolcache.stores.log.pace import STEP, pool
from toolcache.stores.log.segment import BrokenSegmentError, Record, Segment, walk

Needless: TypeAlias = Callable[[str, bytes], bool]

_SEGMENT_BYTES: Final = 16 * 2**20
_FLUSH: Final = 256 * 1024
_PAUSE: Final = 0.0005
_SMALL_ONES: Final = 8
_EVERY: Final = 600.0
_LOOKS: Final = 25
_GLANCE: Final = 0.02
"""How often, and seconds between, somebody who needs room looks whether another process is done with making it."""

_BARE_SIZE: Final = HEAD_SIZE + 64 + HEADER_SIZE


class Budget(Fields):
    """What the stores of a directory ask for: bytes that the segments may take, and whether anything waits for the disk."""

    max_disk: int = sys.maxsize
    syncs: bool = False

    def tighten(self, other: "Budget") -> None:
        """Let the stricter of both hold."""
        self.max_disk = min(self.max_disk, other.max_disk)
        self.syncs |= other.syncs

    @property
    def segment(self) -> int:
        """Bytes at which a segment is sealed: a small budget needs small steps."""
        return max(1, min(_SEGMENT_BYTES, self.max_disk // 8))


class Compactor:
    """Rewrites the segments of a log.

    Args:
        log: the shared state.
        budget: what it may take.

    Attributes:
        evictions: values given up before their end.
    """

    def __init__(self, log: Log, budget: Budget) -> None:
        self.budget = budget
        self.closing = False
        self.evictions = 0
        self.pool = pool(1, "toolcache-compact")
        self._log = log
        self._turn = threading.Lock()
        self._scheduled = False
        self._disk_then = 0
        self._next = 0.0

    def consider(self) -> None:
        """Run in the background if enough has been written since the last run, or long ago."""
        disk = self._log.disk()
        full = disk * 8 > self.budget.max_disk * 7
        step = self.budget.max_disk // 32 if full else max(self.budget.segment, self._disk_then // 4)
        now = self._log.clock.monotonic()
        if self._scheduled or self.closing or (disk - self._disk_then < step and now < self._next):
            return
        self._scheduled = True
        self._next = now + _EVERY
        self.pool.submit(self._run)

    def _run(self) -> None:
        try:
            self.free()
        except OSError:
            # what was removed is gone, the rest stands; the next run tries again
            pass
        finally:
            self._scheduled = False

    def free(self, size: int | None = None, *, needless: Needless | None = None) -> int:
        """Remove what is dead; for ``size`` bytes to come, or over the budget, also the oldest clean copies.

        Epochs that are ``needless``, by key and version, go with what is rewritten. Returns the bytes won. Blocks; for a thread.
        """
        with self._turn:
            held = self._take(patient=size is not None)
            if held is None:
                return 0
            try:
                before = self._log.disk()
                below = (
                    self.budget.max_disk if size is None else min(self.budget.max_disk * 3 // 4, before * 7 // 8) - size
                )
                if size is None and before * 8 > self.budget.max_disk * 7:
                    below = self.budget.max_disk * 3 // 4
                Pass(self._log, self, int(self._log.clock.time() * 1000), needless).run(below)
                self._disk_then = self._log.disk()
                return before - self._disk_then
            finally:
                held.release()

    def _take(self, *, patient: bool) -> File | None:
        """The lock of those who compact; who needs room waits for a while until another process is done."""
        for left in reversed(range(_LOOKS if patient else 1)):
            with suppress(BlockingIOError):
                return self._log.directory.lock("compact")
            if left:
                time.sleep(_GLANCE)
        return None


class Pass:
    """One run over the segments."""

    def __init__(self, log: Log, owner: Compactor, now_ms: int, needless: Needless | None = None) -> None:
        self._needless = needless
        self._log = log
        self._owner = owner
        self._now_ms = now_ms
        self._live: Counter[int] = Counter()
        self._firm: Counter[int] = Counter()
        self._grouped: Counter[int] = Counter()
        self._spared = PENDING | LASTING
        self._target: Segment | None = None
        self._rewritten: list[Segment] = []
        self._parts: list[bytes] = []
        self._moved: list[Appended] = []
        self._dead: list[tuple[bytes, Entry]] = []
        self._given_up = 0
        self._size = 0

    def run(self, below: int) -> None:
        """Rewrite what is worth it; give up clean copies until the segments take less than ``below`` bytes."""
        sealed = [s for s in self._in_order() if s.sealed(self._log.ops)]
        # only what is read after it was sealed is read to its end: its writer may have added to it until then
        self._log.follow(deaf=True)
        sealed = [s for s in sealed if not s.broken and s.handle in self._log.segments]
        self._survey()
        chosen = self._choose(sealed)
        expected = self._log.disk() - sum(s.size - self._live[s.handle] for s in chosen)
        try:
            for segment in chosen:
                self._rewrite(segment, evict=False)
            self._settle()
            # the newest stays: what was just written is what will be asked for
            old = [segment for segment in sealed[:-1] if segment not in chosen]
            self._spare_groups(old, expected - below)
            for segment in old:
                if expected <= below or self._owner.closing:
                    break
                if self._live[segment.handle] > self._firm[segment.handle]:
                    self._rewrite(segment, evict=True)
                    self._settle()
                    expected -= segment.size - self._firm[segment.handle]
        finally:
            if self._target is not None:
                self._log.seal(self._target)

    def _in_order(self) -> list[Segment]:
        with self._log.lock:
            return sorted(self._log.segments.values(), key=lambda segment: segment.order)

    def _survey(self) -> None:
        """How many bytes of each segment are live, and how many may not be given up."""
        seen = 0
        for shard in self._log.index.shards():
            dead = []
            for name, entry in shard:
                if entry.segment not in self._log.segments:
                    dead.append((name, entry))
                    continue
                if not entry.wanted(self._now_ms):
                    continue
                size = entry.length if entry.whole(self._now_ms) else min(entry.length, _BARE_SIZE)
                self._live[entry.segment] += size
                firm = self._kept(entry, size)
                self._firm[entry.segment] += firm
                if entry.flags & GROUPED:
                    self._grouped[entry.segment] += size - firm
            self._discard(dead)
            seen += len(shard)
            if seen >= STEP:
                seen = 0
                time.sleep(_PAUSE)

    @staticmethod
    def _kept(entry: Entry, size: int) -> int:
        if entry.flags & (PENDING | LASTING):
            return size
        return 0 if entry.flags & FIRST else min(size, _BARE_SIZE)

    def _spare_groups(self, old: Sequence[Segment], excess: int) -> None:
        """Keep the records of groups, unless all values of the old segments are not enough to be rid of so many bytes."""
        if excess <= sum(s.size - self._firm[s.handle] - self._grouped[s.handle] for s in old):
            self._spared |= GROUPED
            self._firm += self._grouped

    def _choose(self, sealed: list[Segment]) -> list[Segment]:
        """Those that are half dead, and the small ones when there are many; the wholly dead first, they need no room."""
        small = [s for s in sealed if s.size * 8 < self._owner.budget.segment]
        chosen = [s for s in sealed if self._live[s.handle] * 2 <= s.size or (len(small) >= _SMALL_ONES and s in small)]
        return sorted(chosen, key=lambda segment: self._live[segment.handle] > 0)

    def _rewrite(self, source: Segment, *, evict: bool) -> None:
        if self._owner.closing:
            return
        try:
            read = self._log.ops.pread
            records = walk(lambda count, at: read(source.file.fd, count, at), 0, source.size)
            for number, record in enumerate(records, 1):
                self._keep(source, record, evict=evict)
                if self._size >= _FLUSH or number % STEP == 0:
                    self._flush()
        except BrokenSegmentError:
            source.broken = True
            return
        self._flush()
        self._rewritten.append(source)
        if self._target is not None and self._target.end >= self._owner.budget.segment:
            self._settle()

    def _keep(self, source: Segment, record: Record, *, evict: bool) -> None:
        frame, key = record.frame, record.key
        if key is None:
            return
        name = digest(key)
        entry, seen = self._log.index.stands(name)
        if frame.kind == MARK:
            if entry is not None and entry.flags & CLEAN and entry.version == record.blob:
                self._add(pack(MARK, 0, key, bytes(record.blob), entry.keep))
        elif frame.kind != BLOB:
            if frame.keep_until > self._now_ms:
                self._add(pack(frame.kind, frame.flags, key, bytes(record.blob), frame.keep_until))
        elif entry is not None and (entry.segment, entry.offset) == (source.handle, record.offset):
            self._keep_newest(name, entry, seen, key, record.blob, evict=evict)

    def _keep_newest(
        self, name: bytes, entry: Entry, seen: bytes | None, key: bytes, blob: memoryview, *, evict: bool
    ) -> None:
        if self._is_needless(key, entry):
            self._dead.append((name, entry))
            return
        given_up = evict and not entry.flags & self._spared
        self._given_up += given_up and entry.live(self._now_ms) and not entry.flags & GROUPED
        if entry.whole(self._now_ms) and not given_up:
            body, flags = bytes(blob), entry.flags
        elif entry.wanted(self._now_ms) and not (given_up and entry.flags & FIRST):
            body, flags = bytes(blob[:HEADER_SIZE]), entry.flags | BARE
        else:
            # not forgotten before its record has gone, or a restart would bring it back over what comes now
            self._dead.append((name, entry))
            return
        record = pack(BLOB, flags, key, body, entry.keep)
        self._moved.append((name, entry._replace(offset=self._size, length=len(record), flags=flags), seen))
        self._add(record)

    def _is_needless(self, key: bytes, entry: Entry) -> bool:
        if self._needless is None or not entry.flags & EPOCH or entry.flags & PENDING:
            return False
        return self._needless(key.decode("utf-8", "surrogatepass"), entry.version)

    def _add(self, record: bytes) -> None:
        self._parts.append(record)
        self._size += len(record)

    def _discard(self, dead: Sequence[tuple[bytes, Entry]]) -> None:
        for at in range(0, len(dead), STEP):
            with self._log.lock:
                for name, entry in dead[at : at + STEP]:
                    self._log.index.discard(name, entry)
            time.sleep(_PAUSE)

    def _flush(self) -> None:
        """Append what was kept to the target, and let the index point there; and let others have the interpreter."""
        if self._parts:
            if self._target is None:
                self._target = self._log.create_segment()
            parts, moved = self._parts, self._moved
            self._parts, self._moved, self._size = [], [], 0
            self._log.append(self._target, parts, moved)
        time.sleep(_PAUSE)

    def _settle(self) -> None:
        """Remove what was rewritten, once its copies and whatever else has beaten it are on the disk."""
        target, self._target = self._target, None
        if target is not None:
            self._log.seal(target)
        rewritten, self._rewritten = self._rewritten, []
        if not rewritten:
            return
        if self._owner.budget.syncs:
            self._sync_all_but(rewritten)
        for segment in rewritten:
            self._log.directory.remove(segment.name)
        if self._owner.budget.syncs:
            self._log.directory.anchor()
        with self._log.lock:
            for segment in rewritten:
                self._log.drop(segment)
            self._log.ring()
        dead, self._dead = self._dead, []
        self._discard(dead)
        self._owner.evictions += self._given_up
        self._given_up = 0

    def _sync_all_but(self, rewritten: list[Segment]) -> None:
        for segment in self._in_order():
            if segment.synced >= segment.end or segment in rewritten:
                continue
            self._log.sync_beside(segment)
        self._log.directory.anchor()
