"""What does it cost to be seen: to be counted over time, and to have some keys followed?"""

import os
import subprocess
import sys
import time
from functools import partial
from typing import Any, Final

from benchmarks.harness import Goal, Pass, Task, check_equal, one_by_one
from benchmarks.hits import hit
from benchmarks.main import main
from benchmarks.ours import OursMemory, OursRedis
from benchmarks.place import Place
from benchmarks.redis_ops import gets
from benchmarks.subject import Subject
from benchmarks.values import small
from toolcache import ToolCache

_UNSEEN: Final = "toolcache, metrics=False"
_KEYS: Final = 500
_FEW: Final = 100
_SETTLED: Final = 20_000
"""Reads that take about three seconds, one after another."""
_MODEL: Final = "text-embedding-3-small"


class UnseenRedis(OursRedis):
    """The same, of which nothing is written down."""

    def __init__(self) -> None:
        super().__init__(metrics=False)
        self.name = _UNSEEN


async def domain_hit(subject: Subject) -> Pass:
    """Hits of a domain, which are counted for a model."""
    cache: Any = subject.cache  # type: ignore[attr-defined]  # both are ours
    texts = [f"text {number}" for number in range(_KEYS)]
    await cache.set_embeddings(texts, _MODEL, [[number / 7, 0.5] for number in range(_KEYS)])
    found = [await cache.get_embedding(text, _MODEL) for text in texts]
    check_equal([len(vector) for vector in found], [2] * _KEYS, "vectors")
    return one_by_one(cache.get_embedding, [(text, _MODEL) for text in texts])


async def read(subject: Subject) -> Pass:
    """Reads out of Redis, of a process that has read for some seconds."""
    once = await gets(subject, size=_FEW)
    cache: Any = subject.cache  # type: ignore[attr-defined]  # both are ours
    keys = [f"tool:{number}" for number in range(_FEW)]
    for _ in range(_SETTLED // _FEW):
        await cache.get_many(keys)
    return once


async def computed(subject: Subject) -> Pass:
    """Values that are computed, each once."""
    cache: Any = subject.cache  # type: ignore[attr-defined]  # both are ours
    rounds = iter(range(10**9))

    async def once() -> float:
        begun = next(rounds)
        keys = [(f"{begun}:{number}", _nothing) for number in range(_KEYS)]
        return await one_by_one(cache.get_or_set, keys)()

    return once


class Shell(Subject):
    """The command line, from the start of its process to the end.

    Args:
        arguments: what it is told.
        redis: whether what it looks at is on Redis, too.
        floor: whether it is Python alone, which does nothing.
    """

    plain = True

    def __init__(self, *arguments: str, redis: bool = False, floor: bool = False) -> None:
        self._redis = redis
        self.name = "floor: python -c pass" if floor else "toolcache"
        self.kind = "floor" if floor else "ours"
        self._line = [sys.executable, *(("-c", "pass") if floor else ("-m", "toolcache", *arguments))]

    async def open(self, place: Place) -> None:
        self._home = place.folder()
        self._environment = {
            **os.environ,
            "HOME": str(self._home),
            "TOOLCACHE_DIRECTORY": str(self._home / "files"),
            # As where it is installed: compiled once.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self._home / "compiled"),
        }
        url = place.database() if self._redis else None
        if url is not None:
            self._environment["TOOLCACHE_REDIS_URL"] = url
        async with ToolCache(redis_url=url, directory=self._home / "files") as cache:
            for number in range(_KEYS):
                await cache.get_or_set(f"key:{number % 50}", _nothing)

    def call(self) -> float:
        """Seconds that it took."""
        begun = time.perf_counter()
        subprocess.run(self._line, cwd=self._home, env=self._environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun


async def shell(subject: Subject) -> Pass:
    assert isinstance(subject, Shell)

    async def once() -> float:
        return subject.call()

    await once()  # compiled files are there from now on
    return once


def _nothing() -> int:
    return 1


SEEN: Final = (OursMemory, partial(OursMemory, name=_UNSEEN, metrics=False))

TASKS: Final = (
    Task(
        "scalar",
        "A hit of a number in memory, seen and unseen",
        "ns",
        SEEN,
        partial(hit, values=[number / 7 for number in range(_KEYS)]),
        [Goal(1.05, _UNSEEN)],
    ),
    Task(
        "one",
        "A hit of the same small dict again and again, seen and unseen",
        "ns",
        SEEN,
        partial(hit, values=[small(0)]),
        [Goal(1.05, _UNSEEN)],
    ),
    Task(
        "many",
        "A hit of a number among 20,000, seen and unseen",
        "ns",
        SEEN,
        partial(hit, values=[number / 7 for number in range(20_000)]),
        [Goal(1.05, _UNSEEN)],
    ),
    Task("domain", "A hit of an embedding, seen and unseen", "µs", SEEN, domain_hit, [Goal(1.05, _UNSEEN)]),
    Task("compute", "A value that is missing, in memory alone, seen and unseen", "µs", SEEN, computed),
    Task(
        "read",
        "A read out of Redis, seen and unseen",
        "µs",
        (OursRedis, UnseenRedis),
        read,
        [Goal(1.03, _UNSEEN)],
    ),
    Task(
        "start",
        "The same in the first second of a process, in which it finds how many keys it can follow",
        "µs",
        (OursRedis, UnseenRedis),
        partial(gets, size=_FEW),
    ),
    Task(
        "help",
        "toolcache --help, the whole process",
        "ms",
        (partial(Shell, floor=True), partial(Shell, "--help")),
        shell,
        [Goal(0.150)],
        slow=True,
    ),
    Task(
        "stats",
        "toolcache stats over files, the whole process",
        "ms",
        (partial(Shell, floor=True), partial(Shell, "stats")),
        shell,
        [Goal(0.400)],
        slow=True,
    ),
    Task(
        "fleet",
        "toolcache stats over Redis and files, the whole process",
        "ms",
        (partial(Shell, floor=True), partial(Shell, "stats", redis=True)),
        shell,
        [Goal(0.400)],
        slow=True,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
