"""aiocache: memory or Redis."""

from collections.abc import Mapping
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import FRESH, Subject


class Aiocache(Subject):
    """What its caches have in common."""

    name = "aiocache"
    needs: tuple[str, ...] = ("aiocache",)

    def _bind(self, cache: Any) -> None:
        self._cache = cache
        self.get, self.set, self.get_many = cache.get, cache.set, cache.multi_get
        self.set_many = self._set_many

    async def _set_many(self, mapping: Mapping[str, Any]) -> None:
        await self._cache.multi_set(list(mapping.items()))


class AiocacheMemory(Aiocache):
    note = "returns the cached object itself; no bound on its size"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        from aiocache import SimpleMemoryCache, cached

        self._bind(SimpleMemoryCache(**self._options()))
        self.set_for = self._set_for
        self.decorate = cached(ttl=FRESH, cache=SimpleMemoryCache, **self._options())

    def _options(self) -> dict[str, Any]:
        return {}

    async def _set_for(self, key: str, value: Any, seconds: float) -> None:
        await self._cache.set(key, value, ttl=seconds)

    async def close(self) -> None:
        await self._cache.clear()  # one dict for all caches of the process
        await self._cache.close()


class AiocacheUnhurried(AiocacheMemory):
    """Without the deadline that it sets for every call, a look into a dict included."""

    name = "aiocache, timeout=None"

    def _options(self) -> dict[str, Any]:
        return {"timeout": None, "namespace": "unhurried"}


class AiocacheRedis(Aiocache):
    needs = ("aiocache", "redis")
    note = "JSON"
    text = True

    async def open(self, place: Place) -> None:
        from aiocache import RedisCache

        self.database = place.database()
        number = int(self.database.rpartition("/")[2])
        self._bind(RedisCache(endpoint="127.0.0.1", port=place.port, db=number))

    async def close(self) -> None:
        await self._cache.close()
