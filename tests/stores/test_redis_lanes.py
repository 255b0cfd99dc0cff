"""Reads and writes go separate ways to one server: what befalls the one leaves the other alone."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from deployments import RedisCluster
from redis.exceptions import ConnectionError as LostError
from servers import RedisServer

from toolcache import Durability, ToolCache
from toolcache.events import BreakerChanged
from toolcache.protocols import PutResult, Store, SupportsSeparateReads, Write
from toolcache.resilience.breaker import BreakerState
from toolcache.stores.redis.connection import Connection
from toolcache.stores.redis.driver import connect, connection_to
from toolcache.stores.redis.lanes import Lanes
from toolcache.stores.redis.store import RedisStore
from toolcache.stores.redis.url import Address
from toolcache.stores.redis.wire import pack
from toolcache.testing import FakeClock, Recorder
from toolcache.testing.stores import blob_of

PAUSE = 1.5


def write(key: str, body: bytes = b"body", *, version: int = 1) -> Write:
    """A write of a whole blob, as of now."""
    return Write(key, blob_of(key, body, version=version, now=time.time()))


def ours(server: RedisServer) -> list[dict[bytes, bytes]]:
    """The connections of ours that the server sees."""
    lines = server.command("CLIENT", "LIST").splitlines()
    clients = [dict(word.split(b"=", 1) for word in line.split()) for line in lines]
    return [client for client in clients if client[b"name"] == b"toolcache"]


async def until(holds: Any, *, within: float = 10.0) -> None:
    """Wait until it does."""
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


# What a server holds back


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
async def test_reads_pass_writes_that_are_held_back(own_redis: RedisServer, size: int) -> None:
    """F-06: while the server holds writes back, reads are answered; then the writes have been applied."""
    store = RedisStore(own_redis.url, op_timeout=10.0)
    await store.put_many([first := write("k", b"x" * size)])
    own_redis.command("CLIENT", "PAUSE", 500, "WRITE")
    held = asyncio.ensure_future(store.put_many([second := write("k", b"y" * size, version=2)]))
    for _ in range(20):
        assert await store.get_many(["k"]) == [first.blob]
    assert await store.count() == 1
    assert not held.done()
    await held
    assert await store.get_many(["k"]) == [second.blob]
    await store.aclose()


async def test_reads_stay_on_redis_and_writes_go_to_files(own_redis: RedisServer, tmp_path: Path) -> None:
    """F-06: writes that hang open their own breaker, and what follows is on file at once; none of it delays a read."""
    changes = Recorder()
    async with ToolCache(
        redis_url=own_redis.url, directory=tmp_path, op_timeout=0.2, failure_threshold=3, recovery_time="0.2s"
    ) as cache:
        cache.subscribe(changes)
        await cache.set_many({f"old{n}": n for n in range(20)})
        cache._parts.memory.clear()
        assert await cache.get("old0") == 0
        own_redis.command("CLIENT", "PAUSE", int(PAUSE * 1000), "WRITE")
        paused_until = time.monotonic() + PAUSE
        # A tick between them, or they would be one operation.
        sets = []
        for n in range(10):
            sets.append(asyncio.ensure_future(cache.set(f"new{n}", n)))
            await asyncio.sleep(0.001)
        for n in range(1, 20):
            assert await cache.get(f"old{n}") == n
        assert not any(one.done() for one in sets), "the reads have waited for a write"
        assert set(await asyncio.gather(*sets)) == {Durability.FILE}
        guard = _guard(cache)
        assert guard.refuses(mutation=True)
        assert await cache.set("late", 1) is Durability.FILE
        cache._parts.memory.clear()
        hits = cache.stats().layers["redis"].hits
        assert await cache.get("old1") == 1
        assert cache.stats().layers["redis"].hits == hits + 1
        assert time.monotonic() < paused_until, "the machine is too slow for this test to say anything"
        assert await cache.get("new3") == 3
        health = await cache.health()
        assert health.redis is not None
        assert (health.redis.usable, health.redis.breaker, health.redis.write_breaker) == (True, "closed", "open")
        assert (health.status, health.pending) == ("degraded", 11)
        await until(lambda: cache._machine.journal.pending == 0)
        assert [event for event in changes.of(BreakerChanged) if event.name == "redis.conn"] == []
    async with ToolCache(redis_url=own_redis.url, files=False) as other:
        assert await other.get_many([f"new{n}" for n in range(10)]) == {f"new{n}": n for n in range(10)}


def _guard(cache: ToolCache) -> Any:
    assert cache._parts.redis is not None
    return cache._parts.redis.guard


async def test_a_lost_way_of_writes_says_nothing_of_reads(own_redis: RedisServer) -> None:
    """F-06: while reads have their connection, no write that fails counts against them; without it, each does."""
    async with ToolCache(
        redis_url=own_redis.url, files=False, coherence=False, failure_threshold=2, recovery_time="60s"
    ) as cache:
        guard = _guard(cache)
        assert await cache.get("k") is None
        lane = cache._parts.redis.store._lanes.here().lane(bulk=False, reading=False)  # type: ignore[union-attr]  # Redis'
        with mock.patch.object(lane, "_opener", side_effect=LostError("max number of clients reached")):
            for _ in range(3):
                await cache.set("k", 1)
        assert (guard.breaker.state, guard.write_breaker.state) == (BreakerState.CLOSED, BreakerState.OPEN)
        cache._parts.memory.clear()
        assert await cache.get("k") is None
        assert guard.breaker.stats().failures == 0
        guard.write_breaker.reset()
        assert await cache.set("k", 1) is Durability.REDIS
        own_redis.stop()
        for _ in range(3):
            await cache.set("k", 2)
        assert guard.breaker.state is BreakerState.OPEN


# Where the lanes lead


async def test_each_is_opened_when_it_is_needed(own_redis: RedisServer) -> None:
    """No I/O before the first use: reads alone open one connection, writes a second, large values one each."""
    store = RedisStore(own_redis.url, op_timeout=5.0)
    assert isinstance(store, SupportsSeparateReads)
    assert not store.reads_stand()
    uses: list[Callable[[], Awaitable[Any]]] = [
        partial(store.get_many, ["k"]),
        partial(store.put_many, [write("k")]),
        partial(store.put_many, [write("large", b"x" * 100_000)]),
        partial(store.get_many, ["large"]),
    ]
    for expected, use in enumerate(uses, start=1):
        await use()
        assert len(ours(own_redis)) == expected
        assert store.reads_stand()
    await store.aclose()
    await until(lambda: not ours(own_redis))
    assert not store.reads_stand()


async def test_all_lead_to_the_same_server(redis_server: RedisServer, own_redis: RedisServer) -> None:
    """After a failover no lane stays with the server that was: where one finds another, the rest follow it there."""
    servers = [redis_server, own_redis]

    async def dial(_anew: bool) -> Connection:
        raw = connection_to(Address.parse(servers[0].url), None, 5.0)
        connection = await connect(raw, within=5.0, patience=5.0)
        connection.server = str(servers[0].port)
        return connection

    async def where(*, reading: bool) -> int:
        words = [pack(b"CONFIG", b"GET", b"port")]
        ((_, port),) = await lanes.exchange(words, [b""], reading=reading)
        return int(port)

    lanes = Lanes(dial)
    assert [await where(reading=True), await where(reading=False)] == [redis_server.port] * 2
    servers.reverse()
    assert await where(reading=True) == redis_server.port
    (await lanes.lane(bulk=False, reading=False).connection()).close()
    assert await where(reading=False) == own_redis.port
    assert not lanes.stands
    assert await where(reading=True) == own_redis.port
    (await lanes.lane(bulk=False, reading=False).connection()).close()
    await where(reading=False)
    assert lanes.stands, "the same server is no reason to begin anew"
    await lanes.aclose()


async def test_the_clock_is_set_when_the_server_is_met(own_redis: RedisServer) -> None:
    """A further connection to a server does not set the clock again; the first one after all were lost does."""
    clock = FakeClock()
    store = RedisStore(own_redis.url, op_timeout=5.0, clock=clock)
    await store.get_many(["k"])
    clock.advance(3600)
    ahead = clock.time()
    await store.put_many([write("k")])
    assert clock.time() == ahead
    own_redis.restart()
    run_id = store.run_id
    with contextlib.suppress(LostError):  # it may not have been noticed yet
        await store.put_many([write("k")])
    await store.put_many([write("k")])
    assert abs(clock.time() - time.time()) < 60
    assert store.run_id not in {None, run_id}
    await store.aclose()


async def test_a_node_of_a_cluster_that_holds_writes_back() -> None:
    """F-06: each node of a cluster is reached by separate ways, too."""
    with RedisCluster() as cluster:
        async with ToolCache(redis_url=cluster.url, files=False, op_timeout=0.3, failure_threshold=2) as cache:
            guard = _guard(cache)
            await cache.set_many({f"k{n}": n for n in range(30)})
            cache._parts.memory.clear()
            assert await cache.get_many([f"k{n}" for n in range(30)]) == {f"k{n}": n for n in range(30)}
            for node in cluster.nodes:
                node.command("CLIENT", "PAUSE", 1500, "WRITE")
            await asyncio.gather(cache.set("k1", 0), *_later(cache))
            cache._parts.memory.clear()
            assert await cache.get_many([f"k{n}" for n in range(10, 30)]) == {f"k{n}": n for n in range(10, 30)}
            assert (guard.breaker.stats().failures, guard.write_breaker.state) == (0, BreakerState.OPEN)


def _later(cache: ToolCache) -> list[Any]:
    async def later(n: int) -> None:
        await asyncio.sleep(0.01 * n)
        await cache.set(f"k{n}", 0)

    return [later(n) for n in range(2, 5)]


# Reads that overtake writes


class Late:
    """A store whose writes wait before they leave, and whose reads wait before they come back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = store.name
        self.writes, self.reads = asyncio.Event(), asyncio.Event()

    async def put_many(self, writes: Sequence[Write]) -> list[PutResult]:
        """Wait, and write."""
        await self.writes.wait()
        return await self._store.put_many(writes)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read, and wait."""
        blobs = await self._store.get_many(keys)
        await self.reads.wait()
        return blobs

    async def aclose(self) -> None:
        """Close."""
        await self._store.aclose()


@pytest.mark.parametrize("kind", ["set", "delete"])
async def test_nobody_joins_a_read_from_before_an_acknowledgement(redis_server: RedisServer, kind: str) -> None:
    """BUG-08: a read sent while a write is under way may be executed before it; who asks after the write sees it."""
    async with ToolCache(redis_url=redis_server.url, files=False, op_timeout=10) as cache:
        await cache.set("key", "old")
        layer = cache._parts.redis
        assert layer is not None
        layer.store = late = Late(layer.store)
        writing: asyncio.Task[Any] = asyncio.create_task(
            cache.set("key", "new") if kind == "set" else cache.delete("key")
        )
        await asyncio.sleep(0)
        cache._parts.memory.clear()  # as if there were no room in it
        before = asyncio.create_task(cache.get_or_set("key", lambda: "computed"))
        reading = asyncio.create_task(cache.get("key"))
        await asyncio.sleep(0.05)
        late.writes.set()
        await writing
        after = asyncio.create_task(cache.get_or_set("key", lambda: "new"))
        await asyncio.sleep(0.05)
        late.reads.set()
        assert (await before, await reading, await after) == ("old", "old", "new")
        assert await cache.get("key") == "new"
