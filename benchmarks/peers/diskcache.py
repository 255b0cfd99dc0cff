"""diskcache: files, over SQLite."""

import asyncio
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import Subject


class Diskcache(Subject):
    """diskcache from asyncio as its documentation shows it: each call in a thread."""

    name = "diskcache in a thread"
    needs = ("diskcache",)

    async def open(self, place: Place) -> None:
        import diskcache

        self.folder = place.folder()
        self._cache = diskcache.Cache(str(self.folder))
        self.get, self.set = self._get, self._set

    async def _get(self, key: str) -> Any:
        return await asyncio.to_thread(self._cache.get, key)

    async def _set(self, key: str, value: Any) -> Any:
        return await asyncio.to_thread(self._cache.set, key, value)

    async def close(self) -> None:
        self._cache.close()


class DiskcacheBlocking(Diskcache):
    """diskcache called from the event loop, which stands still meanwhile."""

    name = "diskcache on the loop"
    note = "blocks the event loop"

    async def _get(self, key: str) -> Any:
        return self._cache.get(key)

    async def _set(self, key: str, value: Any) -> Any:
        return self._cache.set(key, value)
