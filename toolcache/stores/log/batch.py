"""What waits for the writer, and what it makes of it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from toolcache.blob import CLAIM as BLOB_CLAIM
from toolcache.blob import EPOCH as BLOB_EPOCH
from toolcache.blob import RECORD as BLOB_RECORD
from toolcache.blob import TOMBSTONE as BLOB_TOMBSTONE
from toolcache.blob import Header, read_header
from toolcache.protocols import PutResult, Write
from toolcache.stores.log.frame import CLAIM, EPOCH, HEAD_SIZE, MAX_BLOB, MAX_KEY, PENDING, RESULT, TOMBSTONE
from toolcache.stores.log.index import Entry, digest
from toolcache.stores.log.log import encode

_KINDS: Final = {BLOB_TOMBSTONE: TOMBSTONE, BLOB_EPOCH: EPOCH, BLOB_RECORD: RESULT, BLOB_CLAIM: CLAIM}


def flags_of(header: Header) -> int:
    """The frame's flags that follow from a blob's."""
    return sum(flag for bit, flag in _KINDS.items() if header.flags & bit)


class Item:
    """A write made ready, off the writer's thread. Raises ValueError for what is no blob, or too large."""

    __slots__ = ("blob", "dead", "flags", "header", "key", "name", "once", "promised")

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
        self.dead = write.dead
        self.flags = flags_of(header) | (PENDING if write.pending else 0)
        self.promised = write.durable or bool(self.flags)


class Batch:
    """What one caller waits for: writes, or marks, to be applied in order."""

    def __init__(self, items: Sequence[Item], *, sync: bool, marks: Sequence[tuple[str, bytes]] = ()) -> None:
        self.items = items
        self.marks = marks
        self.sync = sync
        self.once = any(item.once for item in items)
        self.size = sum(HEAD_SIZE + len(item.key) + len(item.blob) for item in items)
        self.optional = not any(item.promised for item in items)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[PutResult]] = self.loop.create_future()
        self.results: list[PutResult] = []
        self.fault: BaseException | None = None
        self.since: float | None = None
        self.patience = 0.0
        """Seconds that it waits for its turn, where one process at a time decides."""

    def answer(self) -> None:
        """Tell the caller, on its loop."""
        if self.future.done():
            return
        if self.fault is None:
            self.future.set_result(self.results)
        else:
            self.future.set_exception(self.fault)


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


def finish(batches: Iterable[Batch], fault: BaseException | None = None) -> None:
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
