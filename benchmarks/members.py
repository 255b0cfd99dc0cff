"""What it costs to forget, by the number of those that are forgotten."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from benchmarks.harness import Goal, Pass, WrongAnswerError
from benchmarks.place import Place
from benchmarks.subject import FRESH, Subject
from toolcache import ToolCache

_AT_ONCE: Final = 1_000
_SMALL: Final = 1_000
_TAG: Final = "products"
_SIZES: Final = (10, 1_000, 100_000, 1_000_000)
_EVERYWHERE: Final = "memory, Redis and files"
_WHERE: Final = ("memory", _EVERYWHERE)

FLAT: Final = [
    Goal(1.5, f"{what}, {where}, 10", f"{what}, {where}, {size:,}")
    for where in _WHERE
    for what in ("a tag", "all")
    for size in _SIZES[1:]
]


class Members(Subject):
    """A cache with so many members, all with one tag, by which they are forgotten."""

    kind = "ours"

    def __init__(self, size: int, where: str) -> None:
        self.size, self.where = size, where
        self.name = f"a tag, {where}, {size:,}"
        self.long = size > _SMALL

    async def open(self, place: Place) -> None:
        layers: dict[str, Any] = {"files": False}
        if self.where == _EVERYWHERE:
            layers = {"redis_url": place.database(), "directory": place.folder(), "mirror": ["general"]}
        self.cache = ToolCache(max_memory="4GB", op_timeout=10, file_timeout=10, **layers)
        numbers = range(self.size)
        for start in range(0, self.size, _AT_ONCE):
            mapping = {f"tool:{number}": number for number in numbers[start : start + _AT_ONCE]}
            await self.cache.set_many(mapping, FRESH, tags=[_TAG])
        if len(await self.cache.get_many(mapping)) != len(mapping):
            raise WrongAnswerError("members are missing")

    async def forget(self) -> None:
        """Forget them all, again and again: that they are dead already makes no difference."""
        await self.cache.invalidate(tags=[_TAG])

    async def close(self) -> None:
        await self.cache.aclose()


class Everything(Members):
    """The same members, forgotten with all else: there are no others."""

    def __init__(self, members: Members) -> None:
        super().__init__(members.size, members.where)
        self.name = f"all, {self.where}, {self.size:,}"
        self._members = members

    async def open(self, place: Place) -> None:  # noqa: ARG002 - they are filled in already
        self.cache = self._members.cache

    async def forget(self) -> None:
        await self.cache.clear()

    async def close(self) -> None:
        """Who filled them in closes."""


async def forgetting(subject: Subject) -> Pass:
    assert isinstance(subject, Members)

    async def once() -> float:
        begun = time.perf_counter()
        await subject.forget()
        return time.perf_counter() - begun

    return once


def rows() -> Iterator[Callable[[], Subject]]:
    """Makers of the subjects, in pairs that share their members."""
    for where in _WHERE:
        for size in _SIZES:
            some = Members(size, where)
            yield partial(_same, some)
            yield partial(Everything, some)


def _same(subject: Subject) -> Subject:
    return subject
