"""What waits for the writer, and what it makes of it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from toolcache.blob import CLAIM as BLOB_CLAIM
from toolcache.blob import EPOCH as BLOB_EPOCH
from toolcache.blob import KNOWN_FLAGS, Header, read_brief
from toolcache.blob import RECORD as BLOB_RECORD
from toolcache.blob import TOMBSTONE as BLOB_TOMBSTONE
from toolcache.protocols import PutResult, Write
from toolcache.stores.log.frame import CLAIM, EPOCH, GROUPED, HEAD_SIZE, MAX_BLOB, MAX_KEY, PENDING, RESULT, TOMBSTONE
from toolcache.stores.log.index import UNSEEN, Entry, Record, digest
from toolcache.stores.log.log import encode
from toolcache.stores.log.pace import paced

_KINDS: Final = {BLOB_TOMBSTONE: TOMBSTONE, BLOB_EPOCH: EPOCH, BLOB_RECORD: RESULT, BLOB_CLAIM: CLAIM}
_FLAGS: Final = [sum(flag for bit, flag in _KINDS.items() if bits & bit) for bits in range(KNOWN_FLAGS + 1)]


def flags_of(header: Header) -> int:
    """The frame's flags that follow from a blob's."""
    return _FLAGS[header.flags]


class Item:
    """A write made ready. Raises ValueError for what is no blob, or too large."""

    __slots__ = ("flags", "gone", "key", "name", "size", "version", "write")

    def __init__(self, write: Write) -> None:
        brief = read_brief(write.blob)
        if brief is None:
            raise ValueError("a write needs a whole blob, header and all")
        flags, self.version, self.gone = brief
        self.key = key = encode(write.key)
        if len(key) > MAX_KEY or len(write.blob) > MAX_BLOB:
            raise ValueError(f"a record takes at most {MAX_KEY:,} bytes of key and {MAX_BLOB:,} of blob")
        self.name = digest(key)
        self.write = write
        self.flags = _FLAGS[flags] | PENDING if write.pending else _FLAGS[flags]
        self.size = HEAD_SIZE + len(key) + len(write.blob)


class Batch:
    """What one caller waits for: writes, or marks, to be applied in order.

    Attributes:
        once: whether one process at a time decides on it.
        size: bytes, about; exactly once it is ready.
        optional: whether nothing in it was promised; known once it is ready.
        patience: seconds that it waits for its turn, where one process at a time decides.
    """

    def __init__(self, writes: Sequence[Write], *, sync: bool, marks: Sequence[tuple[str, bytes]] = ()) -> None:
        self.writes = writes
        self.items: list[Item] = []
        self.marks = marks
        self.sync = sync
        self.once = self.optional = False
        self.size = 0
        for write in writes:
            self.size += HEAD_SIZE + len(write.key) + len(write.blob)
            self.once |= write.once
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[PutResult]] = self.loop.create_future()
        self.results: list[PutResult] = []
        self.fault: BaseException | None = None
        self.since: float | None = None
        self.patience = 0.0

    def prepare(self) -> None:
        """Make it ready; off the loop. What cannot be written is its fault alone."""
        try:
            self.items = [Item(write) for write in paced(self.writes)]
        except Exception as fault:  # noqa: BLE001 - the caller's, who gave what is no write
            self.fault = fault
        self.size = sum(item.size for item in self.items)
        self.optional = not any(item.flags or item.write.durable for item in self.items)

    def answer(self) -> None:
        """Tell the caller, on its loop."""
        if self.future.done():
            return
        if self.fault is None:
            self.future.set_result(self.results)
        else:
            self.future.set_exception(self.fault)


class Records(Batch):
    """Records of groups: nobody is told of them, and where there is no room they may be refused."""

    def prepare(self) -> None:
        """Make them ready."""
        super().prepare()
        self.optional = True
        for item in self.items:
            item.flags |= GROUPED


class Draft:
    """Records on their way into a segment, and what the index is to say of them: an entry, or a mark's version."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.records: list[Record] = []
        self.size = 0

    def add(
        self, name: bytes, what: Entry | bytes, parts: Sequence[bytes], size: int, seen: bytes | None = UNSEEN
    ) -> None:
        """One record more; an entry's offset is its place in the draft.

        Args:
            name: its key's digest.
            what: the entry, or the version that a mark is of.
            parts: its bytes.
            size: their number.
            seen: what stood in the index when this was decided.
        """
        self.parts += parts
        self.records.append((name, what, seen))
        self.size += size


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
