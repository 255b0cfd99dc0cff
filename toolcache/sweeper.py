"""Frees what has ended without waiting for a read: a slice a second, and the next one at once while there is more."""

import asyncio
import weakref
from collections.abc import Iterator
from contextvars import Context
from math import inf
from typing import Final, Protocol

from toolcache.errors import UnsupportedEventLoopError
from toolcache.memory.store import MemoryStore

_EVERY: Final = 1.0
_SLICE: Final = 250
"""Entries: a millisecond or two."""


class _Onlooker(Protocol):
    @property
    def needed(self) -> bool: ...
    def looking(self) -> Iterator[None]: ...


class Sweeper:
    """Sweeps one memory store from whichever loop uses it. A timer, not a task: it keeps neither loop nor store alive.

    Args:
        memory: what is swept.
        onlooker: who looks once a second what was counted, if there is one that has no task of its own for it.
    """

    def __init__(self, memory: MemoryStore, onlooker: _Onlooker | None = None) -> None:
        self._memory = weakref.ref(memory)
        self._onlooker = None if onlooker is None or onlooker.needed else weakref.ref(onlooker)
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking: Iterator[None] | None = None

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
        onlooker = None if self._onlooker is None else self._onlooker()
        if memory is None or self._loop is None or (memory.next_expiry == inf and onlooker is None):
            return
        memory.sweep(_SLICE)
        more = memory.is_due or (onlooker is not None and self._look(onlooker))
        self._timer = self._loop.call_later(0 if more else _EVERY, self._sweep, context=Context())

    def _look(self, onlooker: _Onlooker) -> bool:
        """One step of a look; whether there is another one."""
        if self._looking is None:
            self._looking = onlooker.looking()
        for _ in self._looking:
            return True
        self._looking = None
        return False
