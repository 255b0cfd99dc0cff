"""Waiting for word of a key, on any loop; the word may come on another."""

import asyncio
import threading
from typing import Final

from toolcache.clock import SYSTEM
from toolcache.forks import watch

_LATELY: Final = 0.1
"""Seconds in which who is about to wait may come too late for the word."""
_REMEMBERED: Final = 1024


class Wakes:
    """Those who wait, by key. For any number of loops and threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._unheard: dict[str, float] = {}
        watch(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def forked(self) -> None:
        """The parent's callers do not wait here."""
        self._lock, self._waiting = threading.Lock(), {}

    async def wait(self, key: str) -> None:
        """Until the next word of the key, which may have come a moment ago."""
        word: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if SYSTEM.monotonic() - self._unheard.pop(key, -_LATELY) < _LATELY:
                return
            self._waiting.setdefault(key, []).append(word)
        try:
            await word
        finally:
            with self._lock:
                others = self._waiting.get(key, [])
                if word in others:
                    others.remove(word)
                    if not others:
                        del self._waiting[key]

    def wake(self, key: str) -> None:
        """There is word of a key."""
        with self._lock:
            waiting = self._waiting.pop(key, ())
            if not waiting:
                if len(self._unheard) >= _REMEMBERED:
                    self._unheard.clear()
                self._unheard[key] = SYSTEM.monotonic()
        for word in waiting:
            loop = word.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, word)


def _tell(word: "asyncio.Future[None]") -> None:
    if not word.done():
        word.set_result(None)
