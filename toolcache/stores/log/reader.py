"""Finding the blob of a key: on the loop where the page cache has it, in a thread where it takes the disk."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from toolcache.blob import HEADER_SIZE, RECORD, read_header
from toolcache.groups import MAX_RECORD
from toolcache.listing import HEAD, Glimpse
from toolcache.protocols import Debt, Newest
from toolcache.stores.log.frame import (
    CLAIM,
    EPOCH,
    GROUPED,
    HEAD_SIZE,
    LASTING,
    PENDING,
    RESULT,
    TOMBSTONE,
    blob_in,
    read_frame,
)
from toolcache.stores.log.index import Entry, digest
from toolcache.stores.log.log import Log, encode

_LARGE: Final = 64 * 1024
_GLANCE_KEYS: Final = 500
_GLANCE_BYTES: Final = 512 * 1024
"""How much is read on the loop at once: about a millisecond's worth."""
_FLAGS: Final = 3  # where they stand in a blob
_GUESS: Final = 512 + HEAD
_ATTEMPTS: Final = 8
_PORTION: Final = 100
_PORTION_BYTES: Final = 2**20


class Reader:
    """Reads what the index knows.

    Args:
        log: the shared state.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def peek(self, keys: Sequence[str], now_ms: int, *, relied: bool) -> list[bytes | None] | None:
        """What ``read_many`` would say, where the page cache has all of it; or None. Never waits; for the loop."""
        if len(keys) > _GLANCE_KEYS:
            return None
        log, room = self._log, _GLANCE_BYTES
        blobs: list[bytes | None] = []
        for key in keys:
            raw = encode(key)
            entry = log.index.get(digest(raw))
            if entry is None or not entry.whole(now_ms):
                blobs.append(None)
                continue
            room -= entry.length
            if entry.length > _LARGE or room < 0 or (relied and entry.flags & RESULT and not log.safe(entry)):
                return None
            blob = self._glance(entry, raw)
            if blob is None:
                return None
            blobs.append(blob)
        return blobs

    def _glance(self, entry: Entry, key: bytes) -> bytes | None:
        """The blob of a record, if the page cache has it whole."""
        segment = self._log.segments.get(entry.segment)
        if segment is None:
            return None
        record: bytes | bytearray
        try:
            if self._log.nowait:
                record = bytearray(entry.length)
                if self._log.ops.peek(segment.file.fd, record, entry.offset) != entry.length:
                    return None
            elif entry.offset >= segment.warm:
                record = self._log.ops.pread(segment.file.fd, entry.length, entry.offset)
            else:
                return None
        except OSError:
            return None
        return blob_in(record, key)

    def read_many(self, keys: Sequence[str], now_ms: int, *, relied: bool) -> list[bytes | None]:
        """The blobs of keys. Blocks; for a thread.

        Args:
            keys: store keys.
            now_ms: what has ended by then is not read.
            relied: whether results are to be on the disk first, whoever wrote them: they will be answered with.
        """
        raws = [encode(key) for key in keys]
        blobs = [self.read(raw, now_ms) for raw in raws]
        if relied:
            for raw, blob in zip(raws, blobs, strict=True):
                if blob is not None and blob[_FLAGS] & RECORD and (entry := self._log.index.get(digest(raw))):
                    self._log.sync_found(entry)
        return blobs

    def read(self, key: bytes, now_ms: int) -> bytes | None:
        """The blob of a key; what cannot be read is counted, and forgotten. Blocks; for a thread."""
        name = digest(key)
        for _ in range(_ATTEMPTS):
            entry = self._log.index.get(name)
            if entry is None or not entry.whole(now_ms):
                return None
            segment = self._log.segments.get(entry.segment)
            if segment is not None:
                record = self._log.ops.pread(segment.file.fd, entry.length, entry.offset)
                blob = blob_in(record, key)
                if blob is not None:
                    return blob
            if self._forget(name, entry, damaged=segment is not None):
                return None
        return None

    def _forget(self, name: bytes, entry: Entry, *, damaged: bool) -> bool:
        """Forget a record that cannot be read; False where a newer one has taken its place."""
        with self._log.lock:
            if self._log.index.get(name) != entry:
                return False
            if damaged:
                self._log.reject("damaged", name)
            self._log.index.discard(name, entry)
            return True

    def owed(self, key: str) -> bytes | None:
        """The version of the newest record of a key, if Redis is owed it."""
        entry = self._log.index.get(digest(encode(key)))
        return entry.version if entry is not None and entry.flags & PENDING else None

    def newest(self, key: str) -> Newest | None:
        """The newest record of a key."""
        entry = self._log.index.get(_name(key))
        return None if entry is None else Newest(entry.version, bool(entry.flags & (TOMBSTONE | EPOCH)))

    def order_of_debts(self, *, lasting: bool, now_ms: int) -> list[list[bytes]]:
        """Key digests of what is owed, or of what lasts: tombstones and epochs, results, values; older ones first.

        In portions of a hundred, or about a MiB: what is read at once, and written to Redis within one deadline.
        """
        index = self._log.index
        if lasting:
            found = [
                pair
                for shard in index.shards()
                for pair in shard
                if pair[1].flags & LASTING & ~CLAIM and pair[1].whole(now_ms)
            ]
        else:
            found = [(name, entry) for name in index.owed() if (entry := index.get(name)) is not None]
        found.sort(key=lambda pair: (_rank(pair[1].flags), pair[1].version))
        portions: list[list[bytes]] = []
        room = 0
        for name, entry in found:
            if room < entry.length or len(portions[-1]) == _PORTION:
                portions.append([])
                room = _PORTION_BYTES
            portions[-1].append(name)
            room -= entry.length
        return portions

    def debts(self, names: Iterable[bytes], now_ms: int) -> list[Debt]:
        """What stands in the records of these key digests. Blocks; for a thread."""
        found = []
        for name in names:
            entry = self._log.index.get(name)
            segment = None if entry is None else self._log.segments.get(entry.segment)
            if entry is None or segment is None:
                continue
            record = self._log.ops.pread(segment.file.fd, entry.length, entry.offset)
            frame = read_frame(memoryview(record)) if len(record) >= HEAD_SIZE else None
            key = b"" if frame is None else record[HEAD_SIZE : HEAD_SIZE + frame.key_len]
            if digest(key) != name or (blob := blob_in(record, key)) is None:
                self._forget(name, entry, damaged=True)
                continue
            flags = entry.flags
            found.append(
                Debt(
                    key.decode("utf-8", "surrogatepass"),
                    entry.version,
                    blob if entry.whole(now_ms) else None,
                    lasting=bool(flags & LASTING),
                )
            )
        return found

    def groups(self, prefix: str, now_ms: int) -> list[str]:
        """The groups beneath a prefix that have a live record."""
        index = self._log.index
        members = ((group, index.groups.of(group).values()) for group in index.groups.names(prefix))
        return [
            group
            for group, some in members
            if any((entry := index.get(name)) is not None and entry.live(now_ms) for name, _ in some)
        ]

    def grouped(self, groups: Iterable[str], now_ms: int) -> list[dict[str, bytes]]:
        """The records of groups by name. Blocks; for a thread."""
        found: list[dict[str, bytes]] = []
        for group in groups:
            found.append({})
            for name, (_, key) in self._log.index.groups.of(group).items():
                if (blob := self.read(key, now_ms)) is not None and len(blob) <= MAX_RECORD:
                    found[-1][name] = blob
        return found

    def glimpses(self, prefix: bytes, portion: Iterable[tuple[bytes, Entry]], now_ms: int) -> list[Glimpse]:
        """Of those live entries of a portion of the index whose keys start with a prefix. Blocks; for a thread."""
        found = []
        for name, entry in portion:
            segment = self._log.segments.get(entry.segment)
            if segment is None or entry.flags & GROUPED or not entry.live(now_ms):
                continue
            start = self._log.ops.pread(segment.file.fd, min(entry.length, _GUESS), entry.offset)
            frame = read_frame(memoryview(start)) if len(start) >= HEAD_SIZE else None
            if frame is None:
                continue
            body = HEAD_SIZE + frame.key_len
            if len(start) < body or not start.startswith(prefix, HEAD_SIZE):
                if len(start) == _GUESS < body:
                    start = self._log.ops.pread(segment.file.fd, min(entry.length, body + HEAD), entry.offset)
                if not start.startswith(prefix, HEAD_SIZE):
                    continue
            header = read_header(start[body:])
            if header is not None and len(start) < (whole := min(body + HEADER_SIZE + header.meta_len, entry.length)):
                start = self._log.ops.pread(segment.file.fd, whole, entry.offset)
            key = start[HEAD_SIZE:body]
            if digest(key) == name:
                found.append(Glimpse(key.decode("utf-8", "surrogatepass"), start[body:]))
        return found


@lru_cache(256)  # of epochs, mostly, which are asked for with each read
def _name(key: str) -> bytes:
    return digest(encode(key))


def _rank(flags: int) -> int:
    return 0 if flags & (TOMBSTONE | EPOCH) else 1 if flags & LASTING else 2
