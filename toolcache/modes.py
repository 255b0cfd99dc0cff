"""Modes: what a caller wants of a cache for a while, and of that cache alone: nothing at all, or only what is new.

A mode holds for a context, and for the tasks begun in it, which may outlive the block that it was asked for in. While
any context has one, memory answers nobody without a thought; so hits need no test of their own.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Final

from toolcache.memory.store import MemoryStore


class Mode(Enum):
    """What a caller wants."""

    BYPASS = "bypass"
    """Nothing is looked up and no value is stored."""
    REFRESH = "refresh"
    """Nothing is looked up; what is computed is stored."""


class _Stay:
    """A mode of one cache, as it stands in contexts: it is over when the last of these is gone."""

    __slots__ = ("__weakref__", "mode", "modes", "outer")

    def __init__(self, modes: "Modes", mode: Mode, outer: "_Stay | None") -> None:
        self.modes = modes
        self.mode = mode
        self.outer = outer


_stay: Final[ContextVar[_Stay | None]] = ContextVar("toolcache_mode", default=None)


class Modes:
    """The modes of one cache.

    Args:
        memory: has to be asked through us while anybody has one.
    """

    def __init__(self, memory: MemoryStore) -> None:
        self._memory = memory
        self._onlookers = memory.onlookers

    def __call__(self) -> Mode | None:
        """The caller's mode."""
        if not self._onlookers:
            return None
        stay = _stay.get()
        while stay is not None and stay.modes is not self:
            stay = stay.outer
        return None if stay is None else stay.mode

    @contextmanager
    def stay(self, mode: Mode) -> Iterator[None]:
        """Have a mode in this context; of those in one another, the innermost."""
        stay = _Stay(self, mode, _stay.get())
        name = id(stay)
        self._memory.look_on(name)
        weakref.finalize(stay, self._memory.look_away, name).atexit = False
        token = _stay.set(stay)
        try:
            yield
        finally:
            _stay.reset(token)
