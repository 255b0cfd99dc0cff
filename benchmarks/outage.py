"""What an outage leaves behind: writes that Redis is owed, the memory that knows of them, and the time it takes to pay."""

import asyncio
import time
from typing import Final

from benchmarks.place import Place, free_port, python
from benchmarks.subject import Kind, Subject
from benchmarks.values import small
from toolcache import ToolCache

_AT_ONCE: Final = 1_000
_PACE: Final = 2_000
_PATIENCE: Final = 120.0
_GLANCE: Final = 0.02

# A first cache, over an empty directory, has everything imported and every thread started once.
_OPENED: Final = """
import asyncio, gc, sys, tracemalloc
from toolcache import ToolCache
empty, directory, url, writes = sys.argv[1:]
async def open(directory, entries=0):
    async with ToolCache(redis_url=url or None, directory=directory, file_timeout=60) as cache:
        await cache.get("nothing")
        assert cache.stats().layers["file"].entries == entries
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
async def main():
    await open(empty)
    tracemalloc.start()
    before = await open(empty)
    print(await open(directory, int(writes)) - before)
asyncio.run(main())
"""


class Owing(Subject):
    """A host with many writes on file that Redis has not taken; not ``owed``, with as many that no Redis was to take."""

    def __init__(self, *, owed: bool = True, name: str = "toolcache", kind: Kind = "ours") -> None:
        self.name, self.kind, self._owed = name, kind, owed

    async def open(self, place: Place) -> None:
        self.place = place
        self.writes = 500 if place.quick else 50_000
        self.port = free_port()
        self.folder = place.folder()

    def cache(self) -> ToolCache:
        """A cache of that host; Redis is down until somebody starts it."""
        url = {"redis_url": self.url} if self._owed else {}
        return ToolCache(directory=self.folder, **url)  # type: ignore[arg-type]  # one option or none

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self._owed else ""

    async def fill(self, cache: ToolCache) -> None:
        """Write."""
        numbers = range(self.writes)
        for start in range(0, self.writes, _AT_ONCE):
            await cache.set_many({f"tool:{number}": small(number) for number in numbers[start : start + _AT_ONCE]})


async def memory(subject: Subject) -> list[float]:
    """Bytes that a process which has just opened the files keeps for each write."""
    assert isinstance(subject, Owing)
    async with subject.cache() as cache:
        await subject.fill(cache)
        subject.note = f"{cache.stats().pending:,} pending"
    empty, written = str(subject.place.folder()), str(subject.folder)
    return [int(python(_OPENED, empty, written, subject.url, str(subject.writes))) / subject.writes]


async def replay(subject: Subject) -> list[float]:
    """Seconds from the server's start until it is owed nothing."""
    assert isinstance(subject, Owing)
    async with subject.cache() as cache:
        await subject.fill(cache)
        pending = cache.stats().pending
        if pending != subject.writes:
            raise RuntimeError(f"{pending:,} of {subject.writes:,} writes are pending")
        assert await asyncio.to_thread(subject.place.serve, subject.port)
        begun = time.perf_counter()
        while cache.stats().pending:
            if time.perf_counter() - begun > _PATIENCE:
                raise RuntimeError(f"{cache.stats().pending:,} writes are pending still")
            await asyncio.sleep(_GLANCE)
        took = time.perf_counter() - begun
        subject.note = f"{cache.stats().replayed:,} writes replayed"
    return [took]


class Pace(Subject):
    """The replay as it paces itself, so that Redis has time for others."""

    name = f"floor: {_PACE:,} a second"
    kind = "floor"

    async def open(self, place: Place) -> None:
        self.writes = 500 if place.quick else 50_000


async def paced(subject: Subject) -> list[float]:
    """What ``replay`` takes, or would at the very least."""
    return [subject.writes / _PACE] if isinstance(subject, Pace) else await replay(subject)
