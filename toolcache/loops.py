"""What each event loop has of its own.

A cache may be used from several loops, one after another or side by side in threads. What belongs to a loop refers to
it, so a weak key alone would keep both for ever: the things of loops that have ended are dropped, without awaiting,
when another loop comes.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from toolcache.errors import UnsupportedEventLoopError
from toolcache.forks import watch

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each loop, made when the loop first asks. For any number of threads.

    Args:
        make: makes one.

    Attributes:
        each: every loop's; another tuple when they change.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._things: dict[asyncio.AbstractEventLoop, T] = {}
        self.each: tuple[T, ...] = ()
        self._lock = threading.Lock()
        watch(self)

    def forked(self) -> None:
        """The parent's loops do not run here, and another of its threads may have held the lock."""
        self._lock = threading.Lock()
        self._things, self.each = {}, ()

    def here(self) -> T:
        """The running loop's.

        Raises:
            UnsupportedEventLoopError: no asyncio loop is running.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise UnsupportedEventLoopError from None
        thing = self._things.get(loop)
        return self._add(loop) if thing is None else thing

    def all(self) -> list[T]:
        """Every loop's."""
        return list(self.each)

    def _add(self, loop: asyncio.AbstractEventLoop) -> T:
        with self._lock:
            for ended in [other for other in self._things if other.is_closed()]:
                del self._things[ended]
            thing = self._things.setdefault(loop, self._make())
            self.each = tuple(self._things.values())
            return thing
