"""Frees what has ended without waiting for a read: a slice a second, and the next one at once while there is more."""

import asyncio
import weakref
from contextvars import Context
from math import inf
from typing import Final

from toolcache.errors import UnsupportedEventLoopError
from toolcache.memory.store import MemoryStore

_EVERY: Final = 1.0
_SLICE: Final = 250
"""Entries: a millisecond or two."""


class Sweeper:
    """Sweeps one memory store from whichever loop uses it. A timer, not a task: it keeps neither loop nor store alive."""

    def __init__(self, memory: MemoryStore) -> None:
        self._memory = weakref.ref(memory)
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def arm(self) -> None:
        """See to it that a sweep is due; asked before anything is put into memory.

        Raises:
            UnsupportedEventLoopError: no asyncio loop is running.
        """
        if self._timer is not None and self._loop is not None and not self._loop.is_closed():
            return
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise UnsupportedEventLoopError from None
        self._timer = self._loop.call_later(_EVERY, self._sweep, context=Context())

    def stop(self) -> None:
        """No more sweeps."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        memory = self._memory()
        if memory is not None and self._loop is not None and memory.next_expiry < inf:
            memory.sweep(_SLICE)
            self._timer = self._loop.call_later(0 if memory.is_due else _EVERY, self._sweep, context=Context())
