"""The log of one root as one process knows it: segments, index, bell. Shared by all stores, loops and threads of it."""

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Final

from toolcache.events import BlobRejected, ClockAnomaly, Event
from toolcache.protocols import Clock
from toolcache.stores.log.bell import Bell
from toolcache.stores.log.directory import Directory
from toolcache.stores.log.frame import BLOB, MARK
from toolcache.stores.log.index import Entry, Index, digest
from toolcache.stores.log.index import Record as Appended
from toolcache.stores.log.ops import File, FileOps
from toolcache.stores.log.pace import STEP, paced, pause
from toolcache.stores.log.post import Post
from toolcache.stores.log.rest import Rest
from toolcache.stores.log.segment import BrokenSegmentError, Record, Segment, walk
from toolcache.versions import ZERO, HybridClock, split

_RELIST: Final = 8
_LATELY: Final = 1.0
_VERSION_SIZE: Final = 16
_TAKEN: Final = 2 * STEP
"""Records taken in at once: less work than others."""


class Log:
    """The shared state. ``Reader`` reads from it, ``Writer`` appends to it, ``Compactor`` rewrites it.

    ``lock`` guards the segments and every change of the index; the index is read without it.

    Args:
        root: the real path of the directory.
        clock: for lifetimes and rests.
        hybrid: shown the newest version met, so that live writes come after it.
        ops: the system calls.
    """

    def __init__(self, root: str, clock: Clock, hybrid: HybridClock, ops: FileOps) -> None:
        self.ops = ops
        self.clock = clock
        self.hybrid = hybrid
        self.directory = Directory(ops, root)
        self.posts: list[Post] = []
        self.rejected = 0
        self.ready = False
        self._opened = False
        self.nowait = True
        self.lock = threading.RLock()
        self._rest = Rest(clock, self.tell, root)
        # by handle; handles are never given twice, so that an entry from before a new start points nowhere
        self._orders: list[tuple[int, str] | None] = []
        self._clear()

    def _clear(self) -> None:
        # in the names of segments; two logs must never give the same one, and after a fork, or while one is being
        # closed and the next opened, they may share a node
        self._writer = os.urandom(8)
        self.segments: dict[int, Segment] = {}
        self._stirred = -inf
        self.bell: Bell | None = None
        self._slot: File | None = None
        self._number = -1
        self._orders[:] = [None] * len(self._orders)
        self._names: dict[str, Segment] = {}
        self._shunned: set[str] = set()
        self._disk = 0
        self.index = Index(self._orders.__getitem__)

    # opening and closing

    def ensure_open(self) -> None:
        """Open the directory and build the index, unless that was done. Blocks; for a thread.

        Raises:
            OSError: the directory cannot be used, or could not less than 30 s ago.
        """
        if self.ready:
            return
        with self.lock:
            if self.ready:
                return
            self._rest.check()
            try:
                self.directory.prepare()
                self.bell = Bell(self.ops, self.directory.tails)
                self.nowait = self.bell.nowait
                self._follow()
            except OSError as fault:
                self.close()
                self._rest.begin(fault)
                raise
            self.ready = self._opened = True

    @property
    def opening(self) -> bool:
        """Whether it is being opened, and something has come of that lately."""
        return not self.ready and self.clock.monotonic() - self._stirred < _LATELY

    @property
    def refused(self) -> bool:
        """Whether the directory was refused, and never opened."""
        return self._rest.begun and not self._opened

    def check(self) -> None:
        """Raise at once where opening failed lately."""
        if not self.ready:
            self._rest.check()

    def close(self) -> None:
        """Let go of every descriptor and lock; the log can be opened anew."""
        with self.lock:
            self.ready = False
            for segment in self.segments.values():
                segment.file.close()
            for held in (self.bell, self._slot):
                if held is not None:
                    held.close()
            self._clear()

    def forked(self) -> None:
        """In a child, where the parent's descriptors have been closed."""
        self.lock = threading.RLock()
        self.close()

    def disk(self) -> int:
        """Bytes in the segments."""
        return self._disk

    # following the others

    def rang(self) -> bool:
        """Whether another process has written since this one last followed."""
        return self.bell is not None and self.bell.rang()

    def follow(self, *, deaf: bool = False) -> None:
        """Take in what other processes wrote; ``deaf``: whether or not the bell rang. Blocks; for a thread."""
        with self.lock:
            if deaf or self.rang():
                self._follow()

    def _follow(self) -> None:
        assert self.bell is not None  # noqa: S101 - opened
        newest = ZERO
        for _ in range(_RELIST):
            counters = self.bell.listen()
            try:
                names = self.directory.list()
                for name in self._names.keys() - set(names):
                    self._orders[self._names[name].handle] = None
                for name in names:
                    if segment := self._names.get(name) or self._meet(name):
                        newest = max(newest, self._absorb(segment))
            except FileNotFoundError:
                # removed between the listing and the opening: what was in it stands in a newer one
                continue
            break
        else:
            raise OSError(errno.EBUSY, "segments come and go too fast", self.directory.root)
        self.index.release()
        if removed := self._names.keys() - set(names):
            for name in removed:
                self.drop(self._names[name])
            self.index.write_off()
        self.bell.heard(counters)
        if not self.hybrid.observe(newest):
            self.tell(ClockAnomaly("file", split(newest)[0] / 1000 - self.clock.time()))

    def _meet(self, name: str) -> Segment | None:
        if name in self._shunned:
            return None
        try:
            segment = self.add(name, self.directory.open(name))
        except OSError as fault:
            if fault.errno != errno.ELOOP:
                raise
            # a symbolic link is no segment of ours
            self._shunned.add(name)
            self.reject("link", b"")
            return None
        if self.ready:
            return segment
        segment.warm = self.ops.fstat(segment.file.fd).st_size
        return segment

    def add(self, name: str, file: File, *, own: bool = False) -> Segment:
        """Take a segment into the table."""
        segment = Segment(len(self._orders), name, file, own=own)
        self._orders.append(segment.order)
        self._names[name] = self.segments[segment.handle] = segment
        return segment

    def drop(self, segment: Segment) -> None:
        """A segment was removed; who still reads it keeps its descriptor."""
        self._orders[segment.handle] = None
        if self.segments.pop(segment.handle, None) is not None:
            del self._names[segment.name]
            self._disk -= segment.size

    def _absorb(self, segment: Segment) -> bytes:
        """Read on in a segment; the highest version met."""
        newest = ZERO
        if segment.own:
            return newest
        size = self.ops.fstat(segment.file.fd).st_size
        if size == segment.size or segment.broken:
            return newest

        def take(chunk: bytes, at: int, base: int) -> int:
            nonlocal newest
            met: list[tuple[str, bytes]] | None = [] if self.ready else None
            left = 0
            while not left:
                self._stirred = self.clock.monotonic()
                at, left, version = self.index.take_in(chunk, at, (segment.handle, base), _TAKEN, met)
                newest = max(newest, version)
                segment.end = base + at
                if not left:
                    pause()
            if met:
                self.changed(met)
            return at

        try:
            records = walk(lambda count, at: self.ops.pread(segment.file.fd, count, at), segment.end, size, take)
            for record in paced(records):
                self._heed(record)
                segment.end = record.offset + record.length
        except BrokenSegmentError:
            segment.broken = True
            self.reject("frame", b"")
        self._disk += size - segment.size
        segment.size = size
        return newest

    def _heed(self, record: Record) -> None:
        """A record that the index did not take in."""
        if record.key is None:
            self.reject("checksum", b"")
        elif record.frame.kind == MARK and record.frame.blob_len == _VERSION_SIZE:
            self.index.mark(digest(record.key), bytes(record.blob))
        elif record.frame.kind == BLOB:
            self.reject("header", digest(record.key))

    def reject(self, reason: str, name: bytes) -> None:
        """Count a record that cannot be used."""
        self.rejected += 1
        self.tell(BlobRejected("file", reason, name.hex()[:8]))

    def tell(self, event: Event) -> None:
        """Leave an event for each store, which announces it on its caller's loop."""
        for post in tuple(self.posts):
            post.events.append(event)

    def changed(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Leave word for each store that keys were written, with these versions."""
        for post in tuple(self.posts):
            post.add(keys)

    def gather(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Records of groups were appended, with these digests and keys."""
        with self.lock:
            for name, key in records:
                self.index.groups.add(name, key)

    # writing

    def create_segment(self) -> Segment:
        """A segment for this process to append to."""
        with self.lock:
            name, file = self.directory.create(self._writer)
            segment = self.add(name, file, own=True)
            self.ring()
            return segment

    def ring(self) -> None:
        """Tell the others that something has changed, as the writer in the slot that this process holds."""
        with self.lock:
            self.slot()
            assert self.bell is not None  # noqa: S101 - opened
            self.bell.ring()

    def slot(self) -> int:
        """The slot of this process, taken if it has none yet: it is alive for as long as it holds it."""
        with self.lock:
            assert self.bell is not None  # noqa: S101 - opened
            if self._slot is None:
                self._number, self._slot = self.directory.take_slot(self.hybrid.node)
                self.bell.take(self._number)
            return self._number

    def lives(self, slot: int, node: bytes) -> bool:
        """Whether the writer that took this slot as this node holds it."""
        with self.lock:
            if self._slot is not None and slot == self._number:
                return node == self.hybrid.node
        return self.directory.holder(slot) == node

    def append(self, segment: Segment, parts: Sequence[bytes], records: Iterable[Appended]) -> None:
        """Append to a segment of this process, let the index know, offsets beginning with the parts, and tell the others."""
        before = segment.size
        try:
            start = segment.append(self.ops, parts)
        finally:
            with self.lock:
                self._disk += segment.size - before
        with self.lock:
            for name, what, seen in records:
                if isinstance(what, Entry):
                    self.index.renew(name, what, seen, segment.handle, start)
                else:
                    self.index.mark(name, what)
            self.ring()

    def seal(self, segment: Segment) -> None:
        """Nothing more is written to it; others may rewrite it."""
        segment.open = False
        with suppress(OSError):
            self.ops.unlock(segment.file.fd)

    def sync(self, segment: Segment) -> None:
        """Wait until a segment of this process, and its name, are on the disk."""
        end = segment.end
        self.ops.fdatasync(segment.file.fd)
        if not segment.anchored:
            self.directory.anchor()
            segment.anchored = True
        segment.synced = max(segment.synced, end)

    def sync_found(self, entry: Entry) -> None:
        """Wait until a record, whoever wrote it, is on the disk."""
        segment = self.segments.get(entry.segment)
        if segment is not None and not _is_safe(segment, entry):
            self.sync_beside(segment)
            self.directory.anchor()
            segment.anchored = True

    def sync_beside(self, segment: Segment) -> None:
        """Wait for a segment by a descriptor of its own: a fault is told once per descriptor, and its writer must hear."""
        end, file = segment.end, self.directory.open(segment.name)
        try:
            self.ops.fdatasync(file.fd)
        finally:
            file.close()
        segment.synced = max(segment.synced, end)

    def safe(self, entry: Entry) -> bool:
        """Whether a record, whoever wrote it, is known to be on the disk."""
        segment = self.segments.get(entry.segment)
        return segment is not None and _is_safe(segment, entry)


def _is_safe(segment: Segment, entry: Entry) -> bool:
    return segment.anchored and entry.offset + entry.length <= segment.synced


def encode(key: str) -> bytes:
    """A key's text as it stands in a record."""
    return key.encode("utf-8", "surrogatepass")
