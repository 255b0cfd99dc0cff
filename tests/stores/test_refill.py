"""A Redis that has lost statistics gets them back from the files of the hosts: real servers that are flushed, killed and away."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from logs import make
from servers import RedisServer

from toolcache.clock import SYSTEM
from toolcache.groups import Grouped
from toolcache.layer import Layer
from toolcache.metrics import refill as module
from toolcache.metrics import shelves
from toolcache.metrics.refill import refill
from toolcache.protocols import Store
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.stores.log.store import LogStore
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import ChaosStore
from toolcache.testing.groups import ONE, TWO
from toolcache.testing.stores import blob_of


def layer(store: Store) -> Layer:
    """A store in its place."""
    breaker = CircuitBreaker(name=store.name, clock=SYSTEM)
    return Layer(ChaosStore(store), Guard(breaker=breaker, timeout=5.0, layer=store.name), clock=SYSTEM)


@pytest.fixture
async def redis(own_redis: RedisServer) -> AsyncIterator[Layer]:
    """Redis, of a server of the test's own."""
    layered = layer(RedisStore(own_redis.url, op_timeout=5.0))
    yield layered
    await layered.aclose()


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Layer]:
    """The files of a host."""
    layered = layer(make(tmp_path / "log", SYSTEM))
    yield layered
    await layered.aclose()


def record(name: str = ONE, version: int = 1, *, text: str = "h:1", space: str = "test", size: int = 9) -> Grouped:
    """One, whose body says its version."""
    group = f"tc1:s:{space}:{text}"
    blob = blob_of(f"{group}:{name}", b"%d" % version + bytes(size), version=version, now=time.time())
    return Grouped(group, name, blob)


async def versions(where: Layer, *groups: str) -> list[dict[str, int]]:
    """The versions that stand in groups."""
    store: Any = where.store
    found = await store.read_groups([f"tc1:s:{group}" for group in groups])
    return [{name: int.from_bytes(blob[4:10], "big") for name, blob in group.items()} for group in found]


async def put(where: Layer, *records: Grouped) -> None:
    """Store records."""
    store: Any = where.store
    await store.put_grouped(records)


async def test_what_redis_lacks_or_has_older_it_is_told(redis: Layer, files: Layer) -> None:
    """And nothing else: what is newer there stays, what is the same is not sent, and other namespaces are no affair of it."""
    await put(files, record(version=5), record(TWO, 2), record(text="h:2"), record(text="m:7", version=3))
    await put(files, record(space="test2"), record(space="tes"))
    await put(redis, record(version=4), record(TWO, 3), record(text="m:7", version=3), record("f" * 16, 9))
    assert await refill(redis, files, namespace="test") == 2
    found = await versions(redis, "test:h:1", "test:h:2", "test:m:7", "test2:h:1", "tes:h:1")
    assert found == [{ONE: 5, TWO: 3, "f" * 16: 9}, {ONE: 1}, {ONE: 3}, {}, {}]
    assert await refill(redis, files, namespace="test") == 0


@pytest.mark.parametrize("loss", ["flush", "kill"])
async def test_a_redis_that_has_lost_all_gets_it_back(
    redis: Layer, files: Layer, own_redis: RedisServer, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every group, in portions of so many records and bytes, with a pause behind each, while others write on."""
    monkeypatch.setattr(shelves, "_PORTION", 7)
    monkeypatch.setattr(module, "_RECORDS", 10)
    monkeypatch.setattr(module, "_BYTES", 3_000)
    many = [record(f"{n:016x}", 2, text=f"h:{n // 4:03}", size=400 * (n % 3)) for n in range(200)]
    await put(files, *many)
    await put(redis, *many)
    if loss == "flush":
        own_redis.command("FLUSHALL")
    else:
        await asyncio.to_thread(own_redis.restart)
    puts: list[list[Grouped]] = []
    store: Any = redis.store
    told = store.put_grouped

    async def noted(records: list[Grouped]) -> None:
        puts.append(records)
        await told(records)

    monkeypatch.setattr(store, "put_grouped", noted)
    writing = asyncio.create_task(put(redis, record(f"{7:016x}", 3, text="h:001")))
    counts = await asyncio.gather(*(refill(redis, files, namespace="test") for _ in range(3)), writing)
    assert sum(filter(None, counts)) >= 199
    assert all(len(some) <= 10 for some in puts)
    assert all(len(some) == 1 or sum(len(one.blob) for one in some) <= 3_000 for some in puts)
    found = await versions(redis, *(f"test:h:{n:03}" for n in range(50)))
    assert found == [{f"{n:016x}": 3 if n == 7 else 2 for n in range(at * 4, at * 4 + 4)} for at in range(50)]


async def test_no_more_is_asked_for_at_once_than_comes_in_time(
    redis: Layer, files: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The days of a large fleet are compared one by one: what is asked for in vain costs the cache its Redis."""
    many = [record(text=f"d:{n}", size=700_000) for n in range(7)]
    for one in many:
        await put(files, one)
        await put(redis, one)
    asked: list[int] = []
    store: Any = redis.store
    read_groups = store.read_groups

    async def noted(groups: list[str]) -> Any:
        asked.append(len(groups))
        return await read_groups(groups)

    monkeypatch.setattr(store, "read_groups", noted)
    assert await refill(redis, files, namespace="test") == 0
    assert asked == [4, 1, 1, 1]


async def test_one_that_is_cut_off_says_so_and_is_begun_anew(
    redis: Layer, files: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever store fails, in whichever portion; what was told is told, and the rest follows."""
    monkeypatch.setattr(module, "_RECORDS", 2)
    await put(files, *(record(f"{n:016x}") for n in range(7)))
    chaos: Any
    for where, method in ((files, "groups"), (files, "read_groups"), (redis, "read_groups"), (redis, "put_grouped")):
        chaos = where.store
        chaos.fail_with(ConnectionResetError, on=[method])
        assert await refill(redis, files, namespace="test") is None
        chaos.heal()
    chaos.fail_with(ConnectionResetError, on=["put_grouped"], every=2)
    where.guard._retry = False
    assert await refill(redis, files, namespace="test") is None
    assert len((await versions(redis, "test:h:1"))[0]) == 2
    chaos.heal()
    assert await refill(redis, files, namespace="test") == 5
    assert len((await versions(redis, "test:h:1"))[0]) == 7


async def test_one_that_is_cancelled_harms_nothing(redis: Layer, files: Layer) -> None:
    """A process may end at any time."""
    await put(files, *(record(f"{n:016x}") for n in range(300)))
    task = asyncio.create_task(refill(redis, files, namespace="test"))
    while await versions(redis, "test:h:1") == [{}]:
        assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await refill(redis, files, namespace="test") is not None
    assert len((await versions(redis, "test:h:1"))[0]) == 300


async def test_what_somebody_put_in_the_way_is_left_alone(redis: Layer, files: Layer, own_redis: RedisServer) -> None:
    """A key of another type costs its group alone; a field that is no record is overwritten."""
    await put(files, record(), record(text="h:2"))
    own_redis.command("SET", "tc1:s:test:h:1", "theirs")
    own_redis.command("HSET", "tc1:s:test:h:2", ONE, "theirs")
    assert await refill(redis, files, namespace="test") == 2
    assert await versions(redis, "test:h:1", "test:h:2") == [{}, {ONE: 1}]


@pytest.mark.parametrize("denied", ["-hgetall", "-hset"])
async def test_a_redis_whose_user_may_not_is_told_nothing(
    redis: Layer, files: Layer, own_redis: RedisServer, denied: str
) -> None:
    """That is no fault of it, and nothing to begin anew."""
    many = [record(f"{n:016x}", text=f"h:{n}") for n in range(2)]
    await put(files, *many)
    await put(redis, many[0])
    own_redis.command("ACL", "SETUSER", "default", denied)
    assert await refill(redis, files, namespace="test") == 0
    assert (redis.guard.last_fault, redis.tally.faults) == ("", 0)


class Plain:
    """A store that knows no groups."""

    name = "plain"


async def test_stores_without_groups_have_nothing_to_tell(redis: Layer, files: Layer) -> None:
    """A third party's."""
    guard = Guard(breaker=CircuitBreaker(name="x", clock=SYSTEM), timeout=1.0)
    plain: Any = Plain()
    bare = Layer(plain, guard, clock=SYSTEM)
    await put(files, record())
    assert await refill(bare, files, namespace="test") == 0
    assert await refill(redis, bare, namespace="test") == 0
    assert isinstance(files.store, ChaosStore | LogStore)
