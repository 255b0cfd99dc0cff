"""How soon does a fresh process have its first answer, however much lies on file, and who waits meanwhile?"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.harness import Goal, Pass, Task
from benchmarks.main import main
from benchmarks.ours import OursFiles, fill
from benchmarks.peers import CashewsDisk, Diskcache
from benchmarks.place import Place, python
from benchmarks.subject import Kind, Subject, answer

_IMPORT: Final = """
import asyncio, time
begun = time.perf_counter()
{line}
print(time.perf_counter() - begun)
"""

_FIRST: Final = """
import sys, time
begun = time.perf_counter()
import asyncio
{lines}
assert asyncio.run(first()) == b"answer"
print(time.perf_counter() - begun)
"""

_OURS: Final = """
from toolcache import ToolCache
async def first():
    async with ToolCache(directory=sys.argv[1]) as cache:
        return await cache.get("question")
"""

# It loads SQLAlchemy merely because that is installed, and here another of those measured brought it along.
_ALONE: Final = "import sys; sys.modules['sqlalchemy'] = None; "

_CASHEWS: Final = f"""
{_ALONE}from cashews import Cache
async def first():
    cache = Cache()
    cache.setup("disk://?directory=" + sys.argv[1])
    await cache.init()
    try:
        return await cache.get("question")
    finally:
        await cache.close()
"""

_DISKCACHE: Final = """
import diskcache
async def first():
    with await asyncio.to_thread(diskcache.Cache, sys.argv[1]) as cache:
        return await asyncio.to_thread(cache.get, "question")
"""

_FLOOR: Final = """
async def first():
    return b"answer"
"""

_HUNDRED_THOUSAND: Final = 100_000
_MILLION: Final = 1_000_000
_PIECE: Final = 1_000
_ROOM: Final = "4GB"
_TIMES: Final = 3

# The first call waits no longer than its deadline, and is a miss where there is more to read; the log is open when one is
# answered. Beside that the loop looks at the clock, as often as it may.
_OPENING: Final = """
import asyncio, os, sys, time
from toolcache import ToolCache

def resident():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def opened():
    async with ToolCache(directory=sys.argv[1], max_disk=sys.argv[3], max_entries=1) as cache:
        async def answer():
            while await cache.get(sys.argv[2]) is None:
                pass
        before, begun = resident(), time.perf_counter()
        answered, longest, last = asyncio.ensure_future(answer()), 0.0, begun
        while not answered.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.perf_counter() - last - 0.001), time.perf_counter()
        await answered
        print(time.perf_counter() - begun, longest, resident() - before)

asyncio.run(opened())
"""


class Program(Subject):
    """A program that prints how long it took from its first line of interest on.

    Args:
        name: what the tables call it.
        source: the program.
        filler: who stores, beforehand, what it is to find.
        needs: distributions.
        kind: a floor, ours or a peer.
    """

    def __init__(
        self,
        name: str,
        source: str,
        *,
        filler: type[Subject] | None = None,
        needs: Sequence[str] = (),
        kind: Kind = "peer",
    ) -> None:
        self.name, self.kind, self.needs = name, kind, tuple(needs)
        self.source, self._filler = source, filler
        self.arguments: list[str] = []

    async def open(self, place: Place) -> None:
        if self._filler is None:
            return
        filler = self._filler()
        await filler.open(place)
        await fill(filler, {"question": b"answer"})
        await filler.close()
        self.arguments = [str(filler.folder)]


class Opened(NamedTuple):
    """What opening took: seconds until the first answer, the longest for which the loop stood still, and bytes an entry."""

    seconds: float
    wait: float
    size: float


class Log(Subject):
    """A directory with so many entries of 100 bytes, which other processes open.

    Args:
        size: how many.
    """

    name, kind = "toolcache", "ours"

    def __init__(self, size: int) -> None:
        self._size = size

    async def open(self, place: Place) -> None:
        self._size = self._size // 20 if place.quick else self._size
        self.folder = await filled(place, self._size)

    def opened(self) -> list[Opened]:
        """What it took, a few times."""
        return opened(self.folder, self._size)


_FILLED: Final[dict[tuple[Place, int], Path]] = {}


async def filled(place: Place, size: int) -> Path:
    """A directory with so many entries, written once in a run."""
    if (place, size) not in _FILLED:
        ours = OursFiles(max_disk=_ROOM)
        await ours.open(place)
        for first in range(0, size, _PIECE):
            await answer(ours.set_many({f"question:{number}": b"x" * 100 for number in range(first, first + _PIECE)}))
        await ours.close()
        _FILLED[place, size] = ours.folder
    return _FILLED[place, size]


@cache
def opened(folder: Path, size: int) -> list[Opened]:
    """What fresh processes tell of opening it."""
    told = [python(_OPENING, str(folder), f"question:{size - 1}", _ROOM).split() for _ in range(_TIMES)]
    return [Opened(float(seconds), float(wait), int(grown) / size) for seconds, wait, grown in told]


async def opening(subject: Subject, what: str) -> list[float]:
    assert isinstance(subject, Log)
    return [getattr(one, what) for one in subject.opened()]


async def run(subject: Subject) -> Pass:
    assert isinstance(subject, Program)

    async def once() -> float:
        return float(python(subject.source, *subject.arguments))

    await once()  # compiled files are there from now on
    return once


def importing(name: str, line: str, **options: Any) -> partial[Program]:
    return partial(Program, name, _IMPORT.format(line=line), **options)


def answering(name: str, lines: str, **options: Any) -> partial[Program]:
    return partial(Program, name, _FIRST.format(lines=lines), **options)


TASKS: Final = (
    Task(
        "import",
        "An import, in a process that has asyncio already",
        "ms",
        (
            importing("toolcache", "from toolcache import ToolCache", kind="ours"),
            importing("redis-py", "import redis.asyncio", needs=("redis",)),
            importing("cashews", f"{_ALONE}import cashews", needs=("cashews",)),
            importing("aiocache", "import aiocache", needs=("aiocache",)),
            importing("diskcache", "import diskcache", needs=("diskcache",)),
        ),
        run,
        [Goal(25e-3)],
        slow=True,
    ),
    Task(
        "first",
        "The first answer of a fresh process, out of files that another one wrote: import, open, get, close",
        "ms",
        (
            answering("floor: asyncio alone", _FLOOR, kind="floor"),
            answering("toolcache", _OURS, kind="ours", filler=OursFiles),
            answering("cashews", _CASHEWS, filler=CashewsDisk, needs=("cashews", "diskcache")),
            answering("diskcache in a thread", _DISKCACHE, filler=Diskcache, needs=("diskcache",)),
        ),
        run,
        [Goal(0.5, "cashews")],
        slow=True,
    ),
    Task(
        "open",
        f"Until a fresh process answers out of files with {_HUNDRED_THOUSAND:,} entries",
        "ms",
        (partial(Log, _HUNDRED_THOUSAND),),
        partial(opening, what="seconds"),
        [Goal(0.5)],
    ),
    Task(
        "open1m",
        f"Until a fresh process answers out of files with {_MILLION:,} entries",
        "s",
        (partial(Log, _MILLION),),
        partial(opening, what="seconds"),
        [Goal(5.0)],
    ),
    Task(
        "wait",
        f"The longest for which its loop stands still meanwhile, with {_MILLION:,} entries",
        "ms",
        (partial(Log, _MILLION),),
        partial(opening, what="wait"),
        [Goal(5e-3)],
    ),
    Task(
        "weight",
        f"Memory that an entry on file takes, out of {_MILLION:,}",
        "bytes",
        (partial(Log, _MILLION),),
        partial(opening, what="size"),
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS)
