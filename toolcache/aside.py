"""Aside from the event loop: work on large values, in a thread and in short steps.

A thread alone would not do. Who computes holds the interpreter, and with it every loop of the process: what is done in
Python, or by one long call of C, comes in steps, between which it is let go of. Compression and checksums do so anyway.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from toolcache.forks import watch

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

LARGE: Final = 65_536
"""Bytes of a value up to which it is made and read on the loop: about a millisecond of the dearest, small dicts."""

_MUCH: Final = 4 * LARGE
"""Bytes of several values, none of them large, up to which the same goes."""

_HANDS: Final = 8
"""Threads, made as they are needed and kept as long as the process: one costs more than most of what they do."""

_STEP: Final = 0.000_5
_PAUSE: Final = 0.000_1


class Lengthy(Exception):  # noqa: N818 - a signal between those who make and read values, never seen outside
    """Work that the event loop has no time for. None of it is done yet; ``aside`` does it.

    Args:
        work: does it, in whatever thread.
    """

    def __init__(self, work: Callable[[], Any] | None = None) -> None:
        super().__init__()
        self.work: Callable[[], Any] = work or _nothing

    async def aside(self) -> Any:
        """What comes of the work; raises what it raises."""
        return await aside(self.work)


def _nothing() -> None:
    """The work of who has to wait for others alone."""


class _Hands:
    """Threads of our own: those of the loop's executor may all be doing what waits for a cache."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        watch(self)

    def pool(self) -> "ThreadPoolExecutor":
        """Them all, from when there is something to do for the first time."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(_HANDS, "aside")
        return self._pool

    def forked(self) -> None:
        """The parent's threads do not run here."""
        self._pool = None


_hands: Final = _Hands()


async def aside(work: Callable[[], T]) -> T:
    """Do work in a thread. Who is cancelled meanwhile leaves it to come to its end, for nobody."""
    return await asyncio.get_running_loop().run_in_executor(_hands.pool(), copy_context().run, work)


class Pace:
    """The steps of one piece of work. On a loop, where there is nobody to let go for, it has none."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = 0.0
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._until = time.perf_counter() + _STEP
        else:
            self._until = inf

    def breathe(self) -> None:
        """Give the others a moment, if it is time."""
        if time.perf_counter() >= self._until:
            time.sleep(_PAUSE)
            self._until = time.perf_counter() + _STEP


def is_much(bodies: Sequence[bytes | None]) -> bool:
    """Whether these are too many bytes for the loop: one that is large, or several that are together."""
    if len(bodies) == 1:
        return bodies[0] is not None and len(bodies[0]) > LARGE
    sizes = [len(body) for body in bodies if body is not None]
    return sum(sizes) > _MUCH or max(sizes, default=0) > LARGE
