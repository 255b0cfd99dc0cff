"""LiteLLM's caches, which its proxy keeps answers in."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import ENTRIES, FRESH, Subject


class Litellm(Subject):
    """What its caches have in common."""

    name = "LiteLLM"
    needs: tuple[str, ...] = ("litellm",)

    async def open(self, place: Place) -> None:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import asks the network otherwise
        self._cache = self._made(place)
        self.get, self.set = self._cache.async_get_cache, self._set
        self.get_many, self.set_many = self._get_many, self._set_many

    def _made(self, place: Place) -> Any:
        raise NotImplementedError

    async def _set(self, key: str, value: Any) -> None:
        await self._cache.async_set_cache(key, value, ttl=FRESH)

    async def _set_many(self, mapping: Mapping[str, Any]) -> None:
        await self._cache.async_set_cache_pipeline(list(mapping.items()), ttl=FRESH)

    async def _get_many(self, keys: Iterable[str]) -> Any:
        return await self._cache.async_batch_get_cache(list(keys))


class LitellmMemory(Litellm):
    note = "returns the cached object itself; text that is JSON comes back as what it says"

    def __init__(self, *, entries: int = ENTRIES) -> None:
        self._entries = entries

    def _made(self, place: Place) -> Any:  # noqa: ARG002 - memory needs no place
        from litellm.caching import InMemoryCache

        return InMemoryCache(max_size_in_memory=self._entries)


class LitellmRedis(Litellm):
    needs = ("litellm", "redis")
    note = "JSON"

    def _made(self, place: Place) -> Any:
        from litellm.caching import RedisCache

        self.database = place.database()
        return RedisCache(host="127.0.0.1", port=place.port, db=int(self.database.rpartition("/")[2]))

    async def _set(self, key: str, value: Any) -> None:
        await self._cache.async_set_cache(key, value, ttl=int(FRESH))


class LitellmDual(LitellmRedis):
    name = "LiteLLM, memory over Redis"

    def _made(self, place: Place) -> Any:
        from litellm.caching import DualCache, InMemoryCache

        return DualCache(InMemoryCache(max_size_in_memory=ENTRIES), super()._made(place))
