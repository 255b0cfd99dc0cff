"""Another lifetime for a value that is there; and that none is given by merely asking for it."""

import asyncio
from math import inf
from typing import Any

import pytest
from rig import Rig, far

from toolcache.cache import Cache
from toolcache.entry import MISSING
from toolcache.errors import CacheWriteError
from toolcache.testing import FakeClock


async def readers(rig: Rig, cache: Cache) -> list[Cache]:
    """The cache itself, and a process with an empty memory, where there are layers below it."""
    return [cache, await rig.open()] if rig.far else [cache]


async def test_a_value_lasts_as_long_from_now(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-92: longer or shorter, in every layer, the old end forgotten; value, age and tags stay."""
    await cache.set("longer", ["value"], ttl=10, tags=["t"])
    await cache.set("shorter", ["value"], ttl="1h")
    await cache.set("for ever", 1, ttl=10)
    clock.advance(5)
    assert [await cache.touch(key, ttl) for key, ttl in (("longer", 60), ("shorter", 20), ("for ever", None))] == [
        True
    ] * 3
    for reader in await readers(rig, cache):
        entry = await reader.get_entry("longer")
        assert entry is not None
        assert (entry.value, entry.tags, round(entry.age)) == (["value"], ("t",), 5)
        assert await reader.ttl("longer") == pytest.approx(60, abs=0.01)
        assert await reader.ttl("shorter") == pytest.approx(20, abs=0.01)
        assert await reader.ttl("for ever") == inf
    clock.advance(30)
    for reader in await readers(rig, cache):
        assert list(await reader.get_many(["longer", "shorter", "for ever"])) == ["longer", "for ever"]
    clock.advance(31)
    for reader in await readers(rig, cache):
        assert list(await reader.get_many(["longer", "shorter", "for ever"])) == ["for ever"]


async def test_what_may_stand_in_may_do_so_still(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """The grace that a value was made with is had after its new end."""
    await cache.get_or_set("key", lambda: 1, ttl=10, grace=100)
    assert await cache.touch("key", 20)

    def fail() -> None:
        raise OSError("down")

    clock.advance(25)
    for reader in await readers(rig, cache):
        assert await reader.get("key") is None
        assert await reader.get_or_set("key", fail, grace=100) == 1
    clock.advance(100)
    for reader in await readers(rig, cache):
        with pytest.raises(OSError, match="down"):
            await reader.get_or_set("key", fail, grace=100)


async def test_what_is_not_there_is_not_touched(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-38: what was never set, has ended, or was deleted or invalidated; as ``get``, ``exists`` and ``ttl`` say."""
    await cache.set("ended", 1, ttl=1)
    await cache.set("deleted", 1)
    await cache.set("covered", 1, tags=["t"])
    clock.advance(2)
    await cache.delete("deleted")
    await cache.invalidate(tags=["t"])
    for reader in await readers(rig, cache):
        for key in ("never", "ended", "deleted", "covered"):
            assert await reader.get(key, MISSING) is MISSING
            assert not await reader.exists(key)
            assert await reader.ttl(key) is None
            assert not await reader.touch(key, "1h")
            assert await reader.get(key, MISSING) is MISSING


async def test_a_default_lifetime_is_that_of_set(cache: Cache) -> None:
    """Without a ttl it lasts as long as if it had been set now; an impossible one is refused, and nothing changed."""
    await cache.set("key", 1, ttl=5)
    with pytest.raises(ValueError, match="ttl"):
        await cache.touch("key", -1)
    assert await cache.ttl("key") == pytest.approx(5, abs=0.01)
    assert await cache.touch("key")
    assert await cache.ttl("key") == pytest.approx(3_600, abs=0.01)


@far
async def test_what_another_process_has_written_meanwhile_stays(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-35: a value that memory still has, and which was replaced or deleted elsewhere, does not come back by a touch."""
    other = await rig.open()
    for key in ("replaced", "deleted", "covered"):
        await cache.set(key, "old", tags=["t"] if key == "covered" else [])
    clock.advance(0.1)
    await other.set("replaced", "new", ttl="2h")
    await other.delete("deleted")
    await other.invalidate(tags=["t"])
    for key in ("replaced", "deleted", "covered"):
        await cache.touch(key, "1h")
    for reader in [other, await rig.open()]:
        assert await reader.get_many(["replaced", "deleted", "covered"]) == {"replaced": "new"}


async def test_touches_and_writes_of_one_key_in_any_order(rig: Rig, cache: Cache) -> None:
    """The last value set stays, whatever is touched in between, and by whom."""
    other = await rig.open() if rig.far else cache
    for round_ in range(20):
        await cache.set("key", 0)
        await asyncio.gather(
            other.touch("key", 50), cache.set("key", round_), other.touch("key", 60), cache.touch("key", 70)
        )
        for reader in await readers(rig, cache):
            assert await reader.get("key") == round_


async def test_a_touch_that_no_layer_takes_is_memorys(rig: Rig, clock: FakeClock) -> None:
    """It raises with ``strict``; what was there stays as it was."""
    if rig.layering != "memory+redis":
        return
    cache = await rig.open(strict=True)
    await cache.set("key", 1)
    redis: Any = cache._parts.redis
    redis.store.fail_with(ConnectionResetError, on=["put_many"])
    with pytest.raises(CacheWriteError, match="touch"):
        await cache.touch("key", "2h")


async def test_to_ask_for_a_value_does_not_lengthen_its_life(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-100: hits, scans, ``exists``, ``ttl`` and a computation that finds it leave its end where it is."""
    await cache.set("key", 1, ttl=10)
    for _ in range(3):
        clock.advance(3)
        for reader in await readers(rig, cache):
            assert await reader.get("key") == 1
            assert await reader.get_or_set("key", lambda: 2, ttl="1h") == 1
            assert await reader.exists("key")
            assert [info.key async for info in reader.scan()] == ["key"]
    clock.advance(1.1)
    for reader in await readers(rig, cache):
        assert await reader.get("key") is None
        assert await reader.ttl("key") is None
