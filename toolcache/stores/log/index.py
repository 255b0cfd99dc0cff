"""Where the newest record of each key stands: key digest → place, in memory.

An entry is packed into 47 bytes, and the entries into 1,024 dicts: one dict of a million stalls every thread for tens
of milliseconds when it grows. Reads take no lock; writers hold the log's.
"""

import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from toolcache.blob import BRIEF, FORMAT, HEADER_SIZE, KNOWN_FLAGS
from toolcache.blob import MAGIC as BLOB_MAGIC
from toolcache.stores.log.frame import (
    BARE,
    BLOB,
    CHECKED,
    CLAIM,
    CLEAN,
    FIRST,
    GROUPED,
    HEAD,
    HEAD_SIZE,
    LASTING,
    MAGIC,
    PENDING,
    TOMBSTONE,
)
from toolcache.stores.log.groups import Groups
from toolcache.versions import ZERO

_PACKED: Final = struct.Struct(">16sQQIIIH")
SHARDS: Final = 1024
_ENDED: Final = CLAIM | BARE
_SPECIAL: Final = PENDING | CLAIM | GROUPED
UNSEEN: Final = b"unseen"
"""What stands nowhere."""


class Entry(NamedTuple):
    """The newest record of a key: ``gone`` and ``keep`` are ms since the epoch, ``segment`` a handle, flags the frame's."""

    version: bytes
    gone: int
    keep: int
    segment: int
    offset: int
    length: int
    flags: int

    def live(self, now_ms: int) -> bool:
        """Whether a value is there and its life has not ended."""
        return now_ms < self.gone and not self.flags & (TOMBSTONE | BARE)

    def whole(self, now_ms: int) -> bool:
        """Whether its body is still wanted: unexpired, or owed to Redis for ever."""
        if self.flags & BARE:
            return False
        return now_ms < self.gone or bool(self.flags & PENDING and self.flags & LASTING)

    def wanted(self, now_ms: int) -> bool:
        """Whether the record must stay, if only bare: what Redis is owed hides what it holds instead, however old."""
        return now_ms < self.keep or bool(self.flags & PENDING) or self.whole(now_ms)


Record: TypeAlias = tuple[bytes, Entry | bytes, bytes | None]
"""Of a record that was appended: its key's digest, its entry or the version that it marks, and what it is newer than."""

Place: TypeAlias = tuple[int, int]
"""The handle of a segment, and an offset in it."""


def digest(key: bytes) -> bytes:
    """The 16 bytes under which a key is found."""
    return blake2b(key, digest_size=16).digest()


class Index:
    """Entries by key digest.

    Args:
        order: the place of a segment, by handle, in the order of all, None once it was removed. Of two copies of one
            version the later counts; a record of a removed segment gives way to any.
    """

    def __init__(self, order: Callable[[int], tuple[int, str] | None]) -> None:
        self._order = order
        self._shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
        self._marks: dict[bytes, bytes] = {}
        self._held: dict[bytes, Entry] = {}
        self._owed: dict[bytes, bytes] = {}
        self.groups = Groups()

    def __len__(self) -> int:
        return sum(map(len, self._shards)) - len(self.groups)

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key digest."""
        packed = self._shards[key[0] | (key[1] & 3) << 8].get(key)
        # Entry._make, less a call
        return None if packed is None else tuple.__new__(Entry, _PACKED.unpack(packed))

    def stands(self, key: bytes) -> tuple[Entry | None, bytes | None]:
        """The entry of a key digest, and what ``renew`` is to be told of it."""
        packed = self._shards[key[0] | (key[1] & 3) << 8].get(key)
        return None if packed is None else tuple.__new__(Entry, _PACKED.unpack(packed)), packed

    def renew(self, key: bytes, new: Entry, seen: bytes | None, segment: int, start: int) -> None:
        """``admit`` a record that was appended and is to follow what was seen; with little ado, if that still stands.

        Args:
            key: the key digest.
            new: its entry, but for the place.
            seen: what ``stands`` told, or UNSEEN.
            segment: the handle.
            start: where the bytes begin in which the entry's offset is its place.
        """
        shard = self._shards[key[0] | (key[1] & 3) << 8]
        version, gone, keep, _, offset, length, flags = new
        if shard.get(key) is not seen or self._marks or self._owed or flags & _SPECIAL:
            self.admit(key, new._replace(segment=segment, offset=start + offset))
        else:
            shard[key] = _PACKED.pack(version, gone, keep, segment, start + offset, length, flags)

    def take_in(
        self, chunk: bytes, at: int, place: Place, most: int, told: list[tuple[str, bytes]] | None
    ) -> tuple[int, int, bytes]:
        """``admit``, with ``hold``, the records of blobs that stand in these bytes; by the million when a log is opened.

        Ends before anything else: another kind, what is not whole, what is not as it was written.

        Args:
            chunk: bytes of a segment.
            at: where in them a record begins.
            place: the segment's handle, and where in it the bytes begin.
            most: records.
            told: takes their keys and versions.

        Returns:
            Where in the bytes it ended, how many more it would have taken, the highest version met.
        """
        segment, base = place
        view, end, newest = memoryview(chunk), len(chunk), ZERO
        shards, marks, head, brief, pack = self._shards, self._marks, HEAD.unpack_from, BRIEF.unpack_from, _PACKED.pack
        while most and at + HEAD_SIZE <= end:
            magic, kind, _, flags, key_len, blob_len, keep, check, own_check = head(chunk, at)
            body = at + HEAD_SIZE
            split = body + key_len
            stop = split + blob_len
            if magic != MAGIC or kind != BLOB or stop > end or blob_len < HEADER_SIZE:
                break
            if crc32(chunk[at : at + CHECKED]) != own_check or crc32(view[body:stop]) != check:
                break
            # the CRC in the blob's header is of bytes that have just been found as they were written
            magic, form, bits, version, gone, _ = brief(chunk, split)
            if magic != BLOB_MAGIC or form != FORMAT or bits & ~KNOWN_FLAGS:
                break
            key = chunk[body:split]
            name = blake2b(key, digest_size=16).digest()
            shard = shards[name[0] | (name[1] & 3) << 8]
            keep = max(keep, gone)
            if name in shard or marks or flags & _SPECIAL:
                self.admit(name, Entry(version, gone, keep, segment, base + at, stop - at, flags), hold=True)
                if flags & GROUPED:
                    self.groups.add(name, key)
            else:
                shard[name] = pack(version, gone, keep, segment, base + at, stop - at, flags)
            newest = max(newest, version)
            if told is not None and not flags & GROUPED:
                told.append((key.decode("utf-8", "surrogatepass"), version))
            at, most = stop, most - 1
        return at, most, newest

    def admit(self, key: bytes, new: Entry, *, hold: bool = False) -> None:
        """Take in a record: the highest version counts, whichever was met first; the other only lengthens its stay.

        With ``hold``, while following: a record that is beaten only by one of a removed segment waits for ``release``.
        That one's copy may be met yet, and a reader must not see the older in between.
        """
        shard = self._shards[key[0] | (key[1] & 3) << 8]
        packed = shard.get(key)
        if packed is None:
            if not self._marks and not new.flags & _SPECIAL:  # as nearly all, when a million are met
                shard[key] = _PACKED.pack(*new)
                return
        else:
            old = Entry._make(_PACKED.unpack(packed))
            if hold and new.version < old.version and self._order(old.segment) is None:
                held = self._held.get(key)
                self._held[key] = self._newer(held, new) if held else new
                return
            new = self._newer(old, new)
        if self._marks and (mark := self._marks.get(key)) is not None and mark <= new.version:
            del self._marks[key]
            if mark == new.version:
                new = _settled(new)
        if new.flags & _ENDED == _ENDED:
            # Nothing needs to know of a claim that has ended: an older record of it, met later, has lapsed by itself.
            shard.pop(key, None)
            return
        self._keep(key, new)

    def release(self) -> None:
        """All there is has been met: what was held back counts, where nothing newer stands any more."""
        held, self._held = self._held, {}
        for key, entry in held.items():
            self.admit(key, entry)

    def write_off(self) -> None:
        """What is owed of removed segments, and has been met nowhere else, was paid, and its mark removed with it."""
        for key in self.owed():
            entry = self.get(key)
            if entry is not None and self._order(entry.segment) is None:
                self._keep(key, _settled(entry))

    def mark(self, key: bytes, version: bytes) -> None:
        """The record of that version is clean. The mark may be met before the record."""
        entry = self.get(key)
        if entry is not None and entry.version == version:
            self._keep(key, _settled(entry))
        elif entry is None or entry.version < version:
            self._marks[key] = version

    def discard(self, key: bytes, entry: Entry) -> None:
        """Forget a key, unless its entry has changed."""
        if self.get(key) == entry:
            del self._shard(key)[key]
            self._owed.pop(key, None)
            if entry.flags & GROUPED:
                self.groups.discard(key)

    def owed(self) -> dict[bytes, bytes]:
        """The keys whose newest record Redis has not taken, with its version: a copy."""
        return self._owed.copy()  # one step for other threads

    @property
    def owing(self) -> int:
        """How many these are."""
        return len(self._owed)

    def shards(self) -> Iterator[list[tuple[bytes, Entry]]]:
        """All entries, a thousandth at a time; each portion is a copy."""
        return map(self.shard, range(SHARDS))

    def shard(self, at: int) -> list[tuple[bytes, Entry]]:
        """The entries of one of the ``SHARDS``: a copy."""
        # list() of a dict's items is one step for other threads
        return [(key, Entry._make(_PACKED.unpack(packed))) for key, packed in list(self._shards[at].items())]

    def _newer(self, old: Entry, new: Entry) -> Entry:
        keep = max(old.keep, new.keep)
        there, here = self._order(old.segment), self._order(new.segment)
        if new.version == old.version:
            later = old if there is not None and (here is None or there > here) else new
            later = later._replace(keep=keep, flags=later.flags & (old.flags & new.flags | ~FIRST))
            return _settled(later) if (old.flags | new.flags) & CLEAN else later
        winner = new if new.version > old.version or there is None else old
        return winner._replace(keep=keep, flags=winner.flags & ~FIRST)

    def _keep(self, key: bytes, entry: Entry) -> None:
        self._shard(key)[key] = _PACKED.pack(*entry)
        if entry.flags & PENDING:
            self._owed[key] = entry.version
        else:
            self._owed.pop(key, None)

    def _shard(self, key: bytes) -> dict[bytes, bytes]:
        return self._shards[key[0] | (key[1] & 3) << 8]


def _settled(entry: Entry) -> Entry:
    return entry._replace(flags=entry.flags & ~PENDING | CLEAN)
