"""The caches, each as its documentation has it for those who want to be spared errors."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.harness import OURS
from benchmarks.subject import installed

TTL: Final = 3600

Compute: TypeAlias = Callable[[], Awaitable[Any]]


class Subject:
    """One cache.

    Attributes:
        name: what the tables call it.
        needs: the distributions without which it is left out.
        about: how it is set up.
        sets: whether it stores what it did not compute. One that does not is spared the calls about written keys.
        hides: whether the names of its keys in Redis do not tell which they are.
    """

    name: str
    needs: tuple[str, ...]
    about: str
    sets: bool = True
    hides: bool = False

    async def open(self, url: str, folder: Path) -> None:
        """Open it over the server of a URL; the folder is the host's."""
        raise NotImplementedError

    async def get(self, key: str) -> Any:
        """The value of a key, or None."""
        raise NotImplementedError

    async def set(self, key: str, value: Any) -> bool:
        """Store a value; whether the cache says that it did."""
        raise NotImplementedError

    async def delete(self, key: str) -> bool:
        """Remove a key; whether the cache says that it is gone. What only tells whether one was there is no refusal."""
        raise NotImplementedError

    async def get_or_compute(self, key: str, compute: Compute) -> Any:
        """The value of a key, computed and stored if it is missing."""
        raise NotImplementedError

    async def close(self) -> None:
        """Release everything."""
        raise NotImplementedError

    def missing(self) -> list[str]:
        """The distributions that are not installed."""
        return [name for name in self.needs if not installed(name)]


class Ours(Subject):
    name = OURS
    needs = ()
    about = "`ToolCache(redis_url=…, directory=…)`: the defaults"

    async def open(self, url: str, folder: Path) -> None:
        from toolcache import ToolCache

        self._cache = ToolCache(redis_url=url, directory=folder)
        self.get, self.close = self._cache.get, self._cache.aclose  # type: ignore[method-assign]

    async def set(self, key: str, value: Any) -> bool:
        await self._cache.set(key, value, ttl=TTL)
        return True

    async def delete(self, key: str) -> bool:
        await self._cache.delete(key)
        return True

    async def get_or_compute(self, key: str, compute: Compute) -> Any:
        return await self._cache.get_or_set(key, compute, ttl=TTL)


class Cashews(Subject):
    name = "cashews"
    needs = ("cashews", "redis")
    about = (
        "`setup(url)`: the defaults, which suppress errors of the connection; a `set` that returns False was refused"
    )
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed

    async def open(self, url: str, folder: Path) -> None:  # noqa: ARG002 - it keeps no files
        from cashews import Cache

        self._cache = Cache()
        self._cache.setup(url, **self.options)
        await self._cache.init()
        self.get, self.close = self._cache.get, self._cache.close  # type: ignore[method-assign]

    async def set(self, key: str, value: Any) -> bool:
        return bool(await self._cache.set(key, value, expire=TTL))

    async def delete(self, key: str) -> bool:
        await self._cache.delete(key)
        return True

    async def get_or_compute(self, key: str, compute: Compute) -> Any:
        return await self._cache.get_or_set(key, compute, expire=TTL)


class CashewsClientSide(Cashews):
    name = "cashews, client side"
    about = "`setup(url, client_side=True)`: memory before Redis, which the server keeps right"
    options = {"client_side": True}  # noqa: RUF012 - never changed


class Aiocache(Subject):
    name = "aiocache"
    needs = ("aiocache", "redis")
    about = (
        "`RedisCache(…)` with its default timeout of 5 s; computing by `@cached`, which passes errors of the cache over"
    )

    async def open(self, url: str, folder: Path) -> None:  # noqa: ARG002 - it keeps no files
        from aiocache import RedisCache, cached

        where = {"endpoint": "127.0.0.1", "port": int(url.rpartition(":")[2].partition("/")[0])}
        self._cache = RedisCache(**where)

        @cached(ttl=TTL, key_builder=lambda _function, key, _compute: key, cache=RedisCache, **where)  # type: ignore[untyped-decorator]
        async def computed(_key: str, compute: Compute) -> Any:
            return await compute()

        self._computed = computed
        self.get = self._cache.get  # type: ignore[method-assign]

    async def set(self, key: str, value: Any) -> bool:
        return bool(await self._cache.set(key, value, ttl=TTL))

    async def delete(self, key: str) -> bool:
        await self._cache.delete(key)
        return True

    async def get_or_compute(self, key: str, compute: Compute) -> Any:
        return await self._computed(key, compute)

    async def close(self) -> None:
        await asyncio.gather(self._cache.close(), self._computed.cache.close())


class KeyValue(Subject):
    name = "py-key-value"
    needs = ("py-key-value-aio", "redis")
    about = (
        "`FallbackWrapper(TimeoutWrapper(RedisStore(…)), MemoryStore(), write_to_fallback=True)`; it computes nothing, so the "
        "caller gets, computes and puts"
    )

    async def open(self, url: str, folder: Path) -> None:  # noqa: ARG002 - it keeps no files
        from key_value.aio.stores.memory import MemoryStore
        from key_value.aio.stores.redis import RedisStore
        from key_value.aio.wrappers.fallback import FallbackWrapper
        from key_value.aio.wrappers.timeout import TimeoutWrapper

        self._redis = RedisStore(url=url)
        self._store = FallbackWrapper(TimeoutWrapper(self._redis), MemoryStore(), write_to_fallback=True)
        self.get = self._store.get  # type: ignore[method-assign]

    async def set(self, key: str, value: Any) -> bool:
        await self._store.put(key, value, ttl=TTL)
        return True

    async def delete(self, key: str) -> bool:
        await self._store.delete(key)
        return True

    async def get_or_compute(self, key: str, compute: Compute) -> Any:
        value = await self._store.get(key)
        if value is None:
            value = await compute()
            await self._store.put(key, value, ttl=TTL)
        return value

    async def close(self) -> None:
        await self._redis.close()


class Cachekit(Subject):
    name = "cachekit"
    needs = ("cachekit", "redis")
    about = (
        "`@cache.production(ttl=…)` with `REDIS_URL`; it computes and deletes, but has no `set`, so it gets only the calls about "
        "computed keys; a delete that says `FAILED` was refused"
    )
    sets = False
    hides = True

    async def open(self, url: str, folder: Path) -> None:  # noqa: ARG002 - it keeps no files
        os.environ["REDIS_URL"] = url
        from cachekit import InvalidationOutcome, cache

        self._failed = InvalidationOutcome.FAILED
        self._compute: ContextVar[Compute] = ContextVar("compute")

        @cache.production(ttl=TTL)  # type: ignore[untyped-decorator]
        async def computed(key: str) -> Any:  # noqa: ARG001 - the key of the cache
            return await self._compute.get()()

        self._computed = computed

    async def get(self, key: str) -> Any:
        async def nothing() -> Any:
            raise LookupError

        with suppress(LookupError):
            return await self.get_or_compute(key, nothing)

    async def delete(self, key: str) -> bool:
        return await self._computed.ainvalidate_cache(key) is not self._failed

    async def get_or_compute(self, key: str, compute: Compute) -> Any:
        self._compute.set(compute)
        return await self._computed(key)

    async def close(self) -> None:
        """It has nothing that could be closed."""


SUBJECTS: Final = {kind.name: kind for kind in (Ours, Cashews, CashewsClientSide, Aiocache, KeyValue, Cachekit)}
