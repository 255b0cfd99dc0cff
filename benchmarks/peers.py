"""The other caches, each with the defaults that its documentation gives."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import FRESH, Subject


class Cashews(Subject):
    """cashews, over whatever its URL says."""

    needs: tuple[str, ...] = ("cashews",)

    async def open(self, place: Place) -> None:
        from cashews import Cache

        self._cache = Cache()
        self._cache.setup(self._url(place))
        await self._cache.init()
        self.get, self.set, self.set_many = self._cache.get, self._cache.set, self._cache.set_many
        self.get_many = self._get_many
        self.decorate = self._cache(ttl=FRESH)

    def _url(self, place: Place) -> str:  # noqa: ARG002 - for those that have a place
        return "mem://"

    async def _get_many(self, keys: Iterable[str]) -> Any:
        return await self._cache.get_many(*keys)

    async def close(self) -> None:
        await self._cache.close()


class CashewsMemory(Cashews):
    name = "cashews"
    note = "returns the cached object itself"


class CashewsRedis(Cashews):
    name = "cashews"
    needs = ("cashews", "redis")
    note = "pickle"

    def _url(self, place: Place) -> str:
        self.database = place.database()
        return self.database


class CashewsDisk(Cashews):
    name = "cashews"
    needs = ("cashews", "diskcache")

    def _url(self, place: Place) -> str:
        self.folder = place.folder()
        return f"disk://?directory={self.folder}"


class Aiocache(Subject):
    """What the caches of aiocache have in common."""

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

        self._bind(SimpleMemoryCache())
        self.decorate = cached(ttl=FRESH, cache=SimpleMemoryCache)

    async def close(self) -> None:
        await self._cache.clear()  # one dict for all caches of the process
        await self._cache.close()


class AiocacheRedis(Aiocache):
    needs = ("aiocache", "redis")
    note = "JSON"

    async def open(self, place: Place) -> None:
        from aiocache import RedisCache

        self.database = place.database()
        number = int(self.database.rpartition("/")[2])
        self._bind(RedisCache(endpoint="127.0.0.1", port=place.port, db=number))

    async def close(self) -> None:
        await self._cache.close()


class RedisPy(Subject):
    """redis-py itself: bytes in, bytes out, nothing decoded."""

    name = "redis-py"
    needs: tuple[str, ...] = ("redis",)
    note = "bytes as they are, nothing encoded or decoded"

    async def open(self, place: Place) -> None:
        from redis.asyncio import Redis

        self.database = place.database()
        self._client = Redis.from_url(self.database)
        self.get, self.set, self.get_many, self.set_many = (
            self._client.get, self._client.set, self._client.mget, self._client.mset,
        )  # fmt: skip

    async def close(self) -> None:
        await self._client.aclose()


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
