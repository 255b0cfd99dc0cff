"""What does the log of the files cost by itself, and what when it is long?"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from benchmarks.files import FileFloor, ReadFloor, gets, sets, sets_at_once
from benchmarks.harness import Goal, Task, WrongAnswerError
from benchmarks.main import main
from benchmarks.peers import Diskcache
from benchmarks.place import Place, python
from benchmarks.subject import Kind, Subject
from toolcache.blob import HEADER_SIZE, NEVER, Header, pack_header
from toolcache.clock import SYSTEM
from toolcache.protocols import Write
from toolcache.stores.log.store import LogStore
from toolcache.versions import process_clock

_MANY: Final = 100_000
_MILLION: Final = 1_000_000
_PORTION: Final = 1_000
_OPENINGS: Final = 3
_TURN: Final = 0.001
_NO_META: Final = b"\x80"
_DIGEST: Final = bytes(16)
_CRC: Final = 4
_BODY: Final = bytes(100)
_ALONE: Final = "toolcache, the log alone"

# What one process holds nobody else's garbage weighs down.
_CHILD: Final = "from benchmarks.log import child; child()"


class LogAlone(Subject):
    """The log without the cache: blobs in, blobs out."""

    name = _ALONE
    kind: Kind = "ours"
    raw = True

    async def open(self, place: Place) -> None:
        self.folder = place.folder()
        self._store = log(self.folder)
        self.get, self.set = self._get, self._set

    async def _get(self, key: str) -> bytes:
        (blob,) = self._store.peek((key,)) or await self._store.get_many((key,))
        assert blob is not None
        return blob[HEADER_SIZE + len(_NO_META) : -_CRC]

    async def _set(self, key: str, value: bytes) -> None:
        await self._store.put_many((written(key, value),))

    async def close(self) -> None:
        await self._store.aclose()


class Long(Subject):
    """A directory with very many entries.

    Args:
        size: how many.
        stale: whether most of them have been overwritten.
    """

    name = _ALONE
    kind: Kind = "ours"

    def __init__(self, size: int, *, stale: bool = False) -> None:
        self.long = size > _MANY
        self._size, self._stale = size, stale

    async def open(self, place: Place) -> None:
        self.folder = place.folder()
        self._size = self._size // 20 if place.quick else self._size
        await self._write(range(self._size))
        if self._stale:
            await self._write(number for number in range(self._size) if number % 4)

    async def _write(self, numbers: Iterable[int]) -> None:
        store, left = log(self.folder), iter(numbers)
        while portion := list(islice(left, _PORTION)):
            await store.put_many([written(f"tool:{number}", _BODY) for number in portion])
        await store.aclose()

    async def opened(self) -> tuple[float, float]:
        """Seconds until all entries are known, and the longest stall of the loop meanwhile."""
        store, begun = log(self.folder), time.perf_counter()
        longest = await _watched(store.open())
        took = time.perf_counter() - begun
        if await store.count() != self._size:
            raise WrongAnswerError("entries are missing")
        await store.aclose()
        return took, longest

    async def compacted(self) -> float:
        """The longest stall of the loop while what was overwritten is removed."""
        store = log(self.folder)
        await store.open()
        longest = await _watched(store.compact())
        await store.aclose()
        return longest

    def weight(self) -> float:
        """Bytes by which a process that opens it grows for each entry."""
        return float(python(_CHILD, str(self.folder))) / self._size


class Idle(Long):
    """An event loop with nothing to do but to be watched."""

    name = "floor: an idle loop"
    kind: Kind = "floor"

    def __init__(self) -> None:
        super().__init__(0)

    async def opened(self) -> tuple[float, float]:
        longest = await _watched(asyncio.sleep(1.0))
        return 1.0, longest

    async def compacted(self) -> float:
        return (await self.opened())[1]


def log(folder: Path) -> LogStore:
    """A log that nobody has opened yet."""
    return LogStore(folder, clock=SYSTEM, hybrid=process_clock(), max_disk=2**33)


def written(key: str, body: bytes) -> Write:
    """A value as the cache would hand it over, made with no more than that takes."""
    now_ms, rest = int(SYSTEM.time() * 1000), _NO_META + body
    header = Header(0, process_clock().next(), now_ms, NEVER, NEVER, 0, _DIGEST, len(_NO_META), len(body))
    return Write(key, b"".join((pack_header(header), rest, crc32(rest).to_bytes(_CRC, "big"))))


async def _watched(working: Awaitable[Any]) -> float:
    """How much later than it wanted the loop got a turn that it wanted each millisecond, at worst."""
    under_way = asyncio.ensure_future(working)
    longest = 0.0
    while not under_way.done():
        then = time.perf_counter()
        await asyncio.sleep(_TURN)
        longest = max(longest, time.perf_counter() - then - _TURN)
    await under_way
    return longest


def child() -> None:
    """Be the process that is weighed: print by how many bytes it grows."""
    sys.stdout.write(str(asyncio.run(_grow(Path(sys.argv[1])))))


async def _grow(folder: Path) -> int:
    store = log(folder)
    before = _resident()
    await store.open()
    grown = _resident() - before
    await store.aclose()
    return grown


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _long(subject: Subject) -> Long:
    assert isinstance(subject, Long)
    return subject


async def openings(subject: Subject) -> list[float]:
    return [(await _long(subject).opened())[0] for _ in range(_OPENINGS)]


async def stalls(subject: Subject) -> list[float]:
    return [(await _long(subject).opened())[1] for _ in range(_OPENINGS)]


async def compactions(subject: Subject) -> list[float]:
    return [await _long(subject).compacted()]


async def weights(subject: Subject) -> list[float]:
    return [_long(subject).weight()]


TASKS: Final = (
    Task(
        "peek",
        "A get of 1 KB that is in the page cache",
        "µs",
        (ReadFloor, LogAlone, Diskcache),
        gets,
        [Goal(0.08, "diskcache in a thread", who=_ALONE)],
    ),
    Task(
        "append",
        "Sets of 1 KB, one after another",
        "µs",
        (FileFloor, LogAlone, Diskcache),
        sets,
        [Goal(0.5, "diskcache in a thread", who=_ALONE)],
    ),
    Task(
        "append100",
        "100 sets of 1 KB at once, for each",
        "µs",
        (FileFloor, LogAlone, Diskcache),
        sets_at_once,
        [Goal(1 / 7, "diskcache in a thread", who=_ALONE)],
    ),
    Task("open", f"Opening {_MANY:,} entries", "s", (partial(Long, _MANY),), openings, [Goal(0.5, who=_ALONE)]),
    Task(
        "open-million",
        f"Opening {_MILLION:,} entries",
        "s",
        (partial(Long, _MILLION),),
        openings,
        [Goal(5.0, who=_ALONE)],
    ),
    Task(
        "open-stall",
        f"The longest stall of the event loop while {_MANY:,} entries are opened",
        "ms",
        (Idle, partial(Long, _MANY)),
        stalls,
        [Goal(5e-3, who=_ALONE)],
    ),
    Task(
        "compact-stall",
        f"The longest stall of the event loop while {_MANY:,} entries of which most were overwritten are compacted",
        "ms",
        (Idle, partial(Long, _MANY, stale=True)),
        compactions,
        [Goal(5e-3, who=_ALONE)],
    ),
    Task("entry", f"Memory for each of {_MANY:,} entries", "bytes", (partial(Long, _MANY),), weights),
)

if __name__ == "__main__":
    main(__doc__, TASKS)
