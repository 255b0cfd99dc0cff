"""One file of the log: records one after another, written by one process, never changed."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from toolcache.stores.log.frame import HEAD_SIZE, Frame, read_frame
from toolcache.stores.log.ops import VECTOR, File, FileOps

_CHUNK: Final = 1 << 20
_NAME: Final = re.compile(r"(\d{10,18})-([0-9a-f]{16})\.log")


def name_of(number: int, writer: bytes) -> str:
    """The file name of a writer's segment."""
    return f"{number:010d}-{writer.hex()}.log"


def order_of(name: str) -> tuple[int, str] | None:
    """The place of a segment among all, by its name; None if it is not the name of one."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


class Record(NamedTuple):
    """A record met on a walk: ``key`` is None where its bytes are not as written."""

    offset: int
    frame: Frame
    length: int
    key: bytes | None
    blob: memoryview


class BrokenSegmentError(Exception):
    """A frame cannot be trusted, so what follows it in its segment cannot be found."""


class Segment:
    """A segment as this process knows it.

    Attributes:
        handle: its number in this process's index.
        order: its place among all segments.
        file: open for reading; also for writing while it is this process's own.
        end: where the next record begins, as far as it was written here or followed.
        size: bytes in the file when last looked at.
        warm: from here on, its bytes were written or followed lately and so are in the page cache.
        own: this process writes, or wrote, it.
        open: it may still grow.
        broken: a frame in it cannot be trusted; what stands before it can.
        synced: up to where it is on the disk; ``anchored``: its name is, too.
    """

    __slots__ = (
        "anchored",
        "broken",
        "end",
        "file",
        "handle",
        "name",
        "open",
        "order",
        "own",
        "size",
        "synced",
        "warm",
    )

    def __init__(self, handle: int, name: str, file: File, *, own: bool = False) -> None:
        order = order_of(name)
        assert order is not None  # noqa: S101 - names come from name_of, or were matched
        self.handle = handle
        self.name = name
        self.order = order
        self.file = file
        self.own = own
        self.open = True
        self.end = self.size = self.warm = self.synced = 0
        self.broken = self.anchored = False

    def append(self, ops: FileOps, parts: Sequence[bytes]) -> int:
        """Write all parts; the offset at which they begin. After an OSError the segment must not be written again."""
        start = self.end
        for at in range(0, len(parts), VECTOR):
            rest: list[bytes | memoryview] = list(parts[at : at + VECTOR])
            while rest:
                taken = ops.write(self.file.fd, rest)
                self.size += taken
                rest = _behind(rest, taken)
        self.end = self.size
        return start

    def sealed(self, ops: FileOps) -> bool:
        """Whether it will never grow: its writer has let go of it, or is dead."""
        if self.open and not self.own:
            try:
                ops.flock(self.file.fd, shared=True)
            except BlockingIOError:
                return False
            ops.unlock(self.file.fd)
            self.open = False
        return not self.open


def _behind(parts: list[bytes | memoryview], taken: int) -> list[bytes | memoryview]:
    """What is left of parts of which so many bytes were taken."""
    if taken == sum(map(len, parts)):
        return []
    for at, part in enumerate(parts):
        if taken < len(part):
            return [memoryview(part)[taken:], *parts[at + 1 :]]
        taken -= len(part)
    return []


def walk(
    read: Callable[[int, int], bytes],
    start: int,
    size: int,
    take: Callable[[bytes, int, int], int] | None = None,
) -> Iterator[Record]:
    """The whole records between two offsets.

    A record that is not complete ends the walk: it is being written, or its writer was stopped. So do zeros, which a
    power cut leaves behind.

    Args:
        read: (bytes wanted, offset) → bytes.
        start: where a record begins.
        size: where the file ends.
        take: (bytes, where in them a record begins, where in the file they begin) → where in them the first record
            begins that is to be yielded: those before it, if any, it has taken by itself.

    Raises:
        BrokenSegmentError: a frame cannot be trusted; the records before it have been yielded.
    """
    want = _CHUNK
    while start + HEAD_SIZE <= size:
        asked = min(want, size - start)
        raw = read(asked, start)
        chunk = memoryview(raw)
        at, want = 0, _CHUNK
        while at + HEAD_SIZE <= len(chunk):
            if take is not None:
                at = take(raw, at, start)
                if at + HEAD_SIZE > len(chunk):
                    break
            frame = read_frame(chunk, at)
            if frame is None:
                if _zeros(read, start + at, size):
                    return
                raise BrokenSegmentError
            split = at + HEAD_SIZE + frame.key_len
            length = HEAD_SIZE + frame.key_len + frame.blob_len
            if at + length > len(chunk):
                want = max(_CHUNK, length)
                break
            whole = crc32(chunk[at + HEAD_SIZE : at + length]) == frame.check
            key = raw[at + HEAD_SIZE : split] if whole else None
            yield tuple.__new__(Record, (start + at, frame, length, key, chunk[split : at + length]))
            at += length
        start += at
        if at == 0 and (want <= asked or start + want > size):
            return


def _zeros(read: Callable[[int, int], bytes], start: int, size: int) -> bool:
    while start < size:
        chunk = read(min(_CHUNK, size - start), start)
        if chunk.count(0) != len(chunk):
            return False
        start += len(chunk) or size
    return True
