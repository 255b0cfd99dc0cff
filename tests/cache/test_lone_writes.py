"""Writes that are alone begin at once, in their caller's task, and are as safe as those that go with others."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hearing import until
from rig import Rig

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability
from toolcache.parts import Parts
from toolcache.protocols import PutResult, Write
from toolcache.testing import ChaosStore, FakeClock


@pytest.fixture(params=["memory+file", "memory+redis", "memory+redis+file"])
def layering(request: pytest.FixtureRequest) -> str:
    """Those that a write waits for."""
    return str(request.param)


def stores(cache: Cache) -> list[ChaosStore]:
    """What can be made slow."""
    layers: list[Any] = [cache._parts.redis, cache._parts.files]
    return [layer.store for layer in layers if layer is not None]


def written(cache: Cache) -> int:
    """How many writes the layers were given."""
    return sum(store.calls["put_many"] for store in stores(cache))


async def begin(cache: Cache, key: str, value: str = "value") -> asyncio.Task[Durability]:
    """Begin a set: a layer is at it until it heals."""
    before = written(cache)
    for store in stores(cache):
        store.hang()
    task = asyncio.create_task(cache.set(key, value))
    await until(lambda: written(cache) > before)
    return task


def heal(cache: Cache) -> None:
    """Have the layers go on."""
    for store in stores(cache):
        store.heal()


async def leave(cache: Cache, key: str) -> None:
    """Begin a set, and leave while a layer is at it."""
    task = await begin(cache, key)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    heal(cache)


async def test_who_leaves_leaves_the_write_behind(rig: Rig, cache: Cache) -> None:
    """SPEC 12: a write under way goes on, whoever left, and a close waits for it."""
    await cache.set("warm", "up")
    await leave(cache, "key")
    await cache.aclose()
    assert await (await rig.open()).get("key") == "value"


async def test_a_later_write_stands_above_what_was_left_behind(rig: Rig, cache: Cache) -> None:
    """DECISIONS Versions: what goes on after its caller has left keeps its version, and gives way."""
    await cache.set("warm", "up")
    await leave(cache, "key")
    await cache.set("key", "later")
    await cache.aclose()
    assert await (await rig.open()).get("key") == "later"


async def test_a_close_waits_for_a_write_under_way(rig: Rig, cache: Cache) -> None:
    """LC-04: the caller of a write that is alone is answered as if nothing had been closed."""
    await cache.set("warm", "up")
    task = await begin(cache, "key")
    closing = asyncio.create_task(cache.aclose())
    await until(lambda: cache._machine.homes.closed)
    assert not task.done()
    heal(cache)
    await closing
    assert await task is (Durability.REDIS if rig.shared else Durability.FILE)
    assert await (await rig.open()).get("key") == "value"


def test_a_loop_that_ends_in_the_midst_is_left_in_peace(rig_parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """LC-02: where a loop ends and all in it is cancelled, nothing new is begun that could not end, however long that takes."""
    cache = Cache(rig_parts)

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)  # longer than a write waits to see whether the loop goes on

    async def use() -> None:
        await cache.set("warm", "up")
        running = [asyncio.create_task(linger()), await begin(cache, "key")]
        assert not any(task.done() for task in running)

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(use())
        heal(cache)
        asyncio.run(cache.aclose())
    assert not caplog.records


async def test_others_of_the_tick_go_together(cache: Cache) -> None:
    """DECISIONS 0021: of writes that begin at once the first may go ahead; all others are one, and so is the next crowd."""
    await cache.set("warm", "up")
    first = stores(cache)[0]
    before = first.calls["put_many"]
    await asyncio.gather(*(cache.set(f"a{n}", n) for n in range(12)))
    assert first.calls["put_many"] - before == 2
    await asyncio.gather(*(cache.set(f"b{n}", n) for n in range(12)))
    assert first.calls["put_many"] - before == 3


@pytest.mark.parametrize("layering", ["memory+file"], indirect=False)
async def test_very_many_at_once_leave_the_loop_to_others_in_between(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fact: where files are all there is, a hundred sets of one tick are spread over several; none is lost."""
    ticks, packed = 0, Counter[int]()
    pack = cache._parts.envelope.pack

    def counted(*args: Any, **options: Any) -> bytes:
        packed[ticks] += 1
        return pack(*args, **options)

    monkeypatch.setattr(cache._parts.envelope, "pack", counted)
    working = asyncio.gather(*(cache.set(f"key {number}", number) for number in range(100)))
    while not working.done():
        await asyncio.sleep(0)
        ticks += 1
    assert set(await working) == {Durability.FILE}
    assert sum(packed.values()) >= 100
    assert max(packed.values()) <= 20
    assert await cache.get("key 99") == 99


async def test_what_is_called_later_wins_over_those_in_line(clock: FakeClock, tmp_path: Path) -> None:
    """DECISIONS Versions: a set that waits for its turn has been called, and what is called after it counts."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    cache = await rig.open()
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: cache.delete("key99"),
        cache.clear,
        lambda: cache.invalidate(tags=["tag"]),
        lambda: cache.set("key99", "later"),
    ]
    for later in calls:
        tasks = [asyncio.create_task(cache.set(f"key{number}", number, tags=["tag"])) for number in range(100)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        await later()
        await asyncio.gather(*tasks)
        for one in (cache, await rig.open()):
            assert await one.get("key99", "later") == "later"
    await rig.aclose()


@pytest.mark.parametrize("layering", ["memory+redis", "memory+redis+file"])
async def test_what_was_done_and_deleted_does_not_come_back(
    rig: Rig, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G3: a write whose caller left after Redis had done it is not done once more above another's delete."""
    other = await rig.open()
    await cache.set("warm", "up")
    redis, done = stores(cache)[0], asyncio.Event()
    put_many = redis.put_many

    async def silent(writes: Sequence[Write], /) -> list[PutResult]:
        await put_many(writes)
        done.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(redis, "put_many", silent)
    task = asyncio.create_task(cache.set("key", "value"))
    await done.wait()
    monkeypatch.undo()
    assert await other.get("key") == "value"
    assert await other.delete("key") is True
    task.cancel()
    await asyncio.wait([task])
    await cache.aclose()
    assert await (await rig.open()).get("key", MISSING) is MISSING


@pytest.mark.parametrize("layering", ["memory+redis+file"])
async def test_what_was_left_behind_does_not_overtake_a_later_write(rig: Rig, cache: Cache) -> None:
    """DECISIONS Versions: not where the later one was done first, and is known to this host alone."""
    await cache.set("warm", "up")
    redis = stores(cache)[0]
    redis.delay(0.2)
    task = asyncio.create_task(cache.set("key", "first"))
    await asyncio.sleep(0.01)
    redis.heal()
    redis.fail_with(ConnectionResetError, on=["put_many"])
    assert await cache.set("key", "later") is Durability.FILE
    task.cancel()
    await asyncio.wait([task])
    await asyncio.gather(*cache._machine.homes.here()._tasks)
    assert await cache.get("key") == "later"
    assert await (await rig.open()).get("key") == "later"
