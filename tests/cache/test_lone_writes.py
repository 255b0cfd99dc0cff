"""Writes that are alone begin at once, in their caller's task, and are as safe as those that go with others."""

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from rig import Rig

from toolcache.cache import Cache
from toolcache.entry import Durability
from toolcache.parts import Parts
from toolcache.testing import ChaosStore


@pytest.fixture(params=["memory+file", "memory+redis", "memory+redis+file"])
def layering(request: pytest.FixtureRequest) -> str:
    """Those that a write waits for."""
    return str(request.param)


def stores(cache: Cache) -> list[ChaosStore]:
    """What can be made slow."""
    layers: list[Any] = [cache._parts.redis, cache._parts.files]
    return [layer.store for layer in layers if layer is not None]


async def leave(cache: Cache, key: str) -> None:
    """Begin a set, and leave while a layer is at it."""
    for store in stores(cache):
        store.delay(0.03)
    task = asyncio.create_task(cache.set(key, "value"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_who_leaves_leaves_the_write_behind(rig: Rig, cache: Cache) -> None:
    """SPEC 12: a write under way goes on, whoever left, and a close waits for it."""
    await cache.set("warm", "up")
    before = sum(store.calls["put_many"] for store in stores(cache))
    await leave(cache, "key")
    assert sum(store.calls["put_many"] for store in stores(cache)) > before  # it had begun
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
    for store in stores(cache):
        store.delay(0.03)
    task = asyncio.create_task(cache.set("key", "value"))
    await asyncio.sleep(0.01)
    await cache.aclose()
    assert await task is (Durability.REDIS if rig.shared else Durability.FILE)
    assert await (await rig.open()).get("key") == "value"


def test_a_loop_that_ends_in_the_midst_is_left_in_peace(rig_parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """LC-02: where a loop ends and all in it is cancelled, nothing new is begun that could not end."""
    cache = Cache(rig_parts)

    async def use() -> None:
        await cache.set("warm", "up")
        for store in stores(cache):
            store.delay(0.03)
        running = [asyncio.create_task(cache.set("key", "value"))]
        await asyncio.sleep(0.01)
        assert not running[0].done()

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(use())
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
