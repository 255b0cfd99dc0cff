"""How soon does a fresh process have its first answer?"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from benchmarks.harness import Goal, Pass, Task
from benchmarks.main import main
from benchmarks.ours import OursFiles, fill
from benchmarks.peers import CashewsDisk, Diskcache
from benchmarks.place import Place, python
from benchmarks.subject import Kind, Subject

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
)

if __name__ == "__main__":
    main(__doc__, TASKS)
