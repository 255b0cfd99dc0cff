"""The event loop that a blocking cache lives on: in a thread of its own, from its first use until it is closed."""

import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from toolcache.errors import CacheClosedError
from toolcache.forks import watch

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

T = TypeVar("T")

_LAST_WORD: Final = 2.0
"""Seconds that a cache has, which nobody has closed, when the process ends."""

_open: Final[WeakSet["Portal"]] = WeakSet()
_hooked = False


class Portal:
    """Runs coroutines for threads.

    Args:
        end: what is to be done, last of all, when nobody has closed it before the process ends.
    """

    def __init__(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._manager: AbstractContextManager[BlockingPortal] | None = None
        self.closed = False
        watch(self)

    @property
    def running(self) -> bool:
        """Whether there is a loop."""
        return self._portal is not None

    def forked(self) -> None:
        """The parent's thread does not run here."""
        self._lock = threading.Lock()
        self._portal = self._manager = None

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "Future[T]":
        """Have a coroutine run, with the variables of this thread's context.

        Raises:
            CacheClosedError: the portal was closed.
        """
        portal = self._portal or self._opened()
        try:
            return portal.start_task_soon(work)
        except RuntimeError:
            if self.closed:
                raise CacheClosedError from None
            raise

    def close(self) -> None:
        """End the loop and its thread; what still waits there is cancelled. Once is enough, and more is harmless."""
        with self._lock:
            self.closed = True
            _open.discard(self)
            portal, manager, self._portal, self._manager = self._portal, self._manager, None, None
        if portal is None or manager is None:
            return
        with suppress(RuntimeError):  # it has ended by itself
            portal.call(portal.stop, True)
        manager.__exit__(None, None, None)

    def let_go(self) -> None:
        """The same for whoever must not wait: for the collector of garbage, which may be at work in the loop's own thread."""
        if self.running:
            threading.Thread(target=self.finish, name="toolcache-close", daemon=True).start()

    def finish(self) -> None:
        """Close what the portal is for, and the portal; never for long, and nobody is told what goes wrong."""
        with suppress(Exception):
            self.start(self._end).result(_LAST_WORD)
            self.close()  # where the loop still answers, so that its end can be waited for

    def _opened(self) -> "BlockingPortal":
        from anyio.from_thread import start_blocking_portal

        with self._lock:
            if self.closed:
                raise CacheClosedError
            if self._portal is None:
                self._manager = start_blocking_portal("asyncio", name="toolcache-blocking")
                self._portal = self._manager.__enter__()
                _at_exit(self)
            return self._portal


def _at_exit(portal: Portal) -> None:
    global _hooked  # noqa: PLW0603 - one hook for all of them
    if not _hooked:
        atexit.register(_finish_all)
        _hooked = True
    _open.add(portal)


def _finish_all() -> None:
    for portal in tuple(_open):
        if portal.running:
            portal.finish()
