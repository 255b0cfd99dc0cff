"""Waiting for word of a key, on any loop; the word may come on another."""

import asyncio
import threading

from toolcache.forks import watch


class Wakes:
    """Those who wait, by key. For any number of loops and threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        watch(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def forked(self) -> None:
        """The parent's callers do not wait here."""
        self._lock, self._waiting = threading.Lock(), {}

    async def wait(self, key: str) -> None:
        """Until the next word of the key."""
        word: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
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
        for word in waiting:
            loop = word.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, word)


def _tell(word: "asyncio.Future[None]") -> None:
    if not word.done():
        word.set_result(None)
