"""Clients of Redis: bytes in, bytes out, nothing decoded."""

from collections.abc import Iterable
from typing import Any, Final

from benchmarks.place import Place
from benchmarks.subject import Subject

_AT_ONCE: Final = 20_000
_PATIENCE_MS: Final = 5_000  # by default it gives up after 250, which a crowd can take


class Client(Subject):
    """What clients have in common."""

    raw = True
    note = "bytes as they are, nothing encoded or decoded"
    _client: Any

    def _bind(self, client: Any) -> None:
        self._client = client
        self.get, self.set, self.get_many, self.set_many = client.get, client.set, client.mget, client.mset


class RedisPy(Client):
    """redis-py, with the pool that it makes by itself."""

    name = "redis-py"
    needs: tuple[str, ...] = ("redis",)

    async def open(self, place: Place) -> None:
        from redis.asyncio import Redis

        self.database = place.database()
        self._bind(Redis.from_url(self.database))

    async def close(self) -> None:
        await self._client.aclose()


class RedisPyWaiting(RedisPy):
    """The same with a pool whose connections are waited for: the other one fails when all are taken."""

    name = "redis-py, 50 connections to wait for"

    async def open(self, place: Place) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis

        self.database = place.database()
        pool = BlockingConnectionPool.from_url(self.database, max_connections=50, timeout=None)
        self._bind(Redis.from_pool(pool))


class RedisPyPipeline(RedisPy):
    """The same with a pipeline of single commands for many keys."""

    name = "redis-py, a pipeline"

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.get_many = self._get_many

    async def _get_many(self, keys: Iterable[str]) -> Any:
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        return await pipeline.execute()


class Coredis(Client):
    name = "coredis"
    needs = ("coredis",)

    async def open(self, place: Place) -> None:
        import coredis

        self.database = place.database()
        client: Any = coredis.Redis.from_url(self.database)
        await client.__aenter__()
        self._bind(client)

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)


class Glide(Client):
    name = "valkey-glide"
    needs = ("valkey-glide",)
    note = "Rust; bytes as they are, nothing encoded or decoded"

    def __init__(self, *, patience_ms: int | None = _PATIENCE_MS) -> None:
        self._patience_ms = patience_ms

    async def open(self, place: Place) -> None:
        import glide

        self.database = place.database()
        settings = glide.GlideClientConfiguration(
            [glide.NodeAddress("127.0.0.1", place.port)],
            database_id=int(self.database.rpartition("/")[2]),
            request_timeout=self._patience_ms,
            inflight_requests_limit=_AT_ONCE,
        )
        self._bind(await glide.GlideClient.create(settings))

    async def close(self) -> None:
        await self._client.close()
