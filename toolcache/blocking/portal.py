"""The event loop that a blocking cache lives on: in a thread of its own, from its first use until it is closed."""

import atexit
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from toolcache.errors import CacheClosedError
from toolcache.forks import watch
from toolcache.tool_cache import ToolCache

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

T = TypeVar("T")

_PATIENCE: Final = 1.0
"""Seconds that a cache has, which nobody has closed, for what it still does when the process ends."""

_open: Final[WeakSet["Portal"]] = WeakSet()
_hooked = False


class Portal:
    """Runs coroutines for threads.

    Args:
        cache: whose methods they are.
        own: whether the cache is closed when nobody refers to the portal any more.
    """

    def __init__(self, cache: ToolCache, *, own: bool) -> None:
        self._cache = cache
        self._own = own
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None
        self.closed = False
        watch(self)

    @property
    def running(self) -> bool:
        """Whether there is a loop."""
        return self._portal is not None

    @property
    def closing(self) -> bool:
        """Whether this is closed, or its cache."""
        return self.closed or self._cache.closed

    def forked(self) -> None:
        """The parent's thread does not run here."""
        self._lock = threading.Lock()
        self._portal = self._thread = None

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "Future[T]":
        """Have a coroutine run, with the variables of this thread's context.

        Raises:
            CacheClosedError: the portal was closed, or the process has ended but for its last objects.
        """
        if sys.is_finalizing():  # the loop's thread stands still, for ever
            raise CacheClosedError
        portal, thread = self._portal, self._thread
        if portal is None or thread is None or not thread.is_alive():
            portal = self._opened()
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
            portal, thread, self._portal, self._thread = self._portal, self._thread, None, None
        if portal is None or thread is None:
            return
        with suppress(RuntimeError):  # it has ended by itself
            portal.call(portal.stop, True)
        thread.join()

    def let_go(self) -> None:
        """End all for whoever must not wait: for the collector of garbage, which may be at work in the loop's own thread."""
        if self.running:
            threading.Thread(target=self._finish, name="toolcache-close", daemon=True).start()

    def settle(self) -> None:
        """Wait for what is being written, for a moment: the process ends, though other threads of it may go on."""
        with suppress(Exception):  # there is nobody to tell
            self.start(partial(self._cache._machine.homes.settle, _PATIENCE)).result(2 * _PATIENCE)  # noqa: SLF001 - nobody else asks

    def _finish(self) -> None:
        with suppress(Exception):
            if self._own:
                self.start(self._cache.aclose).result(2 * _PATIENCE)
        self.close()

    def _opened(self) -> "BlockingPortal":
        with self._lock:
            if self.closed:
                raise CacheClosedError
            if self._portal is None or self._thread is None or not self._thread.is_alive():
                ready: Future[BlockingPortal] = Future()
                # A daemon, which keeps no program from ending. anyio's own starter waits for the thread when it is
                # collected: for ever where that is another process's, or the interpreter ends.
                self._thread = threading.Thread(
                    target=_live, args=(ready, self._cache), name="toolcache-blocking", daemon=True
                )
                self._thread.start()
                self._portal = ready.result()
                _at_exit(self)
            return self._portal


def _live(ready: "Future[BlockingPortal]", _cache: ToolCache) -> None:
    """A loop from beginning to end; the cache lives as long, which at the end of a program is longer than all else."""
    import anyio
    from anyio.from_thread import BlockingPortal

    async def serve() -> None:
        async with BlockingPortal() as portal:
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    try:
        anyio.run(serve)
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


def _at_exit(portal: Portal) -> None:
    global _hooked  # noqa: PLW0603 - one hook for all of them
    if not _hooked:
        # When the main thread ends, and before the threads of executors do, which write files: atexit comes too late.
        try:
            import concurrent.futures.thread  # noqa: F401 - the last to register is the first to be called

            getattr(threading, "_register_atexit", atexit.register)(_settle_all)
        except RuntimeError:  # the main thread has ended already, and others go on
            atexit.register(_settle_all)
        _hooked = True
    _open.add(portal)


def _settle_all() -> None:
    for portal in tuple(_open):
        if portal.running:
            portal.settle()
