"""How much memory does an entry take, and does the event loop stand still when a million of them end?"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.embeddings import TextMemory
from benchmarks.harness import Goal, Task, WrongAnswerError, check_equal
from benchmarks.hits import DictFloor
from benchmarks.main import main
from benchmarks.ours import Ours, OursMemory
from benchmarks.peers import (
    AiocacheMemory,
    Cachebox,
    Cachetools,
    CashewsMemory,
    DogpileMemory,
    KeyValueMemory,
    LitellmMemory,
    Theine,
)
from benchmarks.place import Place, python
from benchmarks.subject import FRESH, Kind, Subject, answer
from benchmarks.values import DIMENSIONS, small, vectors

_DICTS: Final = 100_000
_VECTORS: Final = 10_000
_MILLION: Final = 1_000_000
_KINDS: Final = 20  # vectors that differ; the others are copies
_LEISURE: Final = 1.3  # how much longer than it seems to take, filling may take
_BEFORE: Final = 0.5  # seconds before the end of all entries from which they are watched
_AFTER: Final = 4.0
_PIECE: Final = 1_000

# What one process holds nobody else's garbage weighs down.
_CHILD: Final = """
from benchmarks.footprint import child
child()
"""

# -- Bytes for each entry ---------------------------------------------------------------------------------------------


class PackedFloor(DictFloor):
    """A dict of bytes, four for each float."""

    name = "floor: a dict, floats packed"

    async def open(self, place: Place) -> None:
        from array import array

        await super().open(place)
        put = self.set

        async def packed(key: str, value: Iterable[float]) -> None:
            await put(key, array("f", value).tobytes())

        self.set = packed


class Held(Subject):
    """A cache in a process of its own, which is weighed.

    Args:
        maker: the name of what makes it, in ``MAKERS``.
        what: ``"dicts"`` or ``"vectors"``.
        size: how many of them.
    """

    def __init__(self, maker: str, what: str, size: int) -> None:
        subject = MAKERS[maker]()
        self.name, self.kind, self.needs = subject.name, subject.kind, subject.needs
        self._told = (maker, what)
        self._size = size

    async def open(self, place: Place) -> None:
        self._size = self._size // 20 if place.quick else self._size

    def weigh(self) -> float:
        """Bytes by which the process grows for each entry."""
        return float(python(_CHILD, *self._told, str(self._size)))


MAKERS: Final[dict[str, Callable[[], Subject]]] = {
    "dict": DictFloor,
    "packed": PackedFloor,
    "ours": partial(OursMemory, max_memory="4GB"),
    "texts": partial(TextMemory, max_memory="4GB", note="get_embedding(text, model)"),
    "cashews": partial(CashewsMemory, entries=2 * _DICTS),
    "aiocache": AiocacheMemory,
    "theine": partial(Theine, entries=2 * _DICTS),
    "cachebox": partial(Cachebox, entries=2 * _DICTS),
    "cachetools": partial(Cachetools, entries=2 * _DICTS),
    "dogpile": DogpileMemory,
    "key_value": partial(KeyValueMemory, entries=2 * _DICTS),
    "litellm": partial(LitellmMemory, entries=2 * _DICTS),
}


async def weigh(subject: Subject) -> list[float]:
    assert isinstance(subject, Held)
    return [subject.weigh()]


def child() -> None:
    """Be the process that is weighed: print the bytes for each entry."""
    maker, what, size = sys.argv[1:]
    sys.stdout.write(str(asyncio.run(_grow(MAKERS[maker](), what, int(size)))))
    sys.stdout.flush()
    os._exit(0)  # some keep threads


async def _grow(subject: Subject, what: str, size: int) -> float:
    value: Callable[[int], Any] = small
    if what == "vectors":
        kinds = list(vectors(_KINDS).values())
        value = lambda number: [each * 1.0 for each in kinds[number % _KINDS]]  # noqa: E731 - floats of its own
    await subject.open(Place())
    await answer(subject.set("the first one brings its machinery", value(0)))
    before = _resident()
    for number in range(size):
        if hasattr(subject, "set_for"):
            await answer(subject.set_for(f"tool:{number}", value(number), FRESH))
        else:
            await answer(subject.set(f"tool:{number}", value(number)))
    grown = (_resident() - before) / size
    last = subject.value(await answer(subject.get(f"tool:{size - 1}")))
    if subject.kind != "floor":
        check_equal([last], [value(size - 1)], "hits")
    return grown


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- The end of a million ---------------------------------------------------------------------------------------------


class Idle(Subject):
    """An event loop with nothing to do but to be watched."""

    name = "floor: an idle loop"
    kind: Kind = "floor"

    async def watch(self) -> float:
        """The longest time for which the loop turned to nobody else."""
        return await _longest_stall(time.perf_counter() + 1.0)


class Swept(Idle):
    """A cache with very many entries that all end at the same time."""

    def __init__(self, maker: Callable[[], Subject]) -> None:
        self._subject = maker()
        self.name, self.kind, self.needs = self._subject.name, self._subject.kind, self._subject.needs

    async def open(self, place: Place) -> None:
        self._size, self._after = (_MILLION // 50, 1.5) if place.quick else (_MILLION, _AFTER)
        await self._subject.open(place)

    async def watch(self) -> float:
        """The same from before their end until long after; then the cache is closed, and its memory free."""
        end = await self._fill()
        await asyncio.sleep(end - _BEFORE - time.perf_counter())
        longest = await _longest_stall(end + self._after)
        if isinstance(self._subject, Ours) and (left := (await self._subject.cache.health()).memory_entries) > _PIECE:
            raise WrongAnswerError(f"{left - _PIECE:,} entries are held still {self._after:.1f} s after their end")
        await self._subject.close()
        return longest

    async def _fill(self) -> float:
        """Have all entries end at one instant, which is told."""
        begun = time.perf_counter()
        for number in range(_PIECE):
            await self._subject.set_for(f"first:{number}", number, FRESH)
        took = (time.perf_counter() - begun) / _PIECE * self._size
        end = time.perf_counter() + took * _LEISURE + _BEFORE
        for number in range(self._size):
            await self._subject.set_for(f"tool:{number}", number, max(0.1, end - time.perf_counter()))
        return max(end, time.perf_counter() + _BEFORE)


async def _longest_stall(until: float) -> float:
    longest, then = 0.0, time.perf_counter()
    while then < until:
        await asyncio.sleep(0)
        longest, then = max(longest, (now := time.perf_counter()) - then), now
    return longest


async def sweep(subject: Subject) -> list[float]:
    assert isinstance(subject, Idle)
    return [await subject.watch()]


def _held(what: str, size: int, *makers: str) -> tuple[Callable[[], Subject], ...]:
    return tuple(partial(Held, maker, what, size) for maker in makers)


TASKS: Final = (
    Task(
        "dicts",
        f"Memory for each of {_DICTS:,} small dicts, key and lifetime included",
        "bytes",
        _held(
            "dicts",
            _DICTS,
            *("dict", "ours", "cashews", "aiocache", "theine", "cachebox", "cachetools", "dogpile"),
            *("key_value", "litellm"),
        ),
        weigh,
        [Goal(1.2, "floor: a dict")],
    ),
    Task(
        "vectors",
        f"Memory for each of {_VECTORS:,} vectors of {DIMENSIONS:,} floats",
        "bytes",
        _held("vectors", _VECTORS, "packed", "dict", "texts", "cashews", "key_value", "litellm"),
        weigh,
        [Goal(1.1, "floor: a dict, floats packed")],
    ),
    Task(
        "sweep",
        f"The longest stall of the event loop while {_MILLION:,} entries end",
        "ms",
        (
            Idle,
            partial(Swept, partial(OursMemory, max_memory="4GB")),
            partial(Swept, partial(CashewsMemory, entries=2 * _MILLION)),
            partial(Swept, AiocacheMemory),
            partial(Swept, partial(Theine, entries=2 * _MILLION)),
        ),
        sweep,
        [Goal(5e-3)],
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS)
