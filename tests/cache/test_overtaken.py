"""What an old value must not do once something newer was said of it: come back, or stand in."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hearing import until
from rig import Rig, far

from toolcache.cache import Cache
from toolcache.compute import Context
from toolcache.entry import MISSING
from toolcache.testing import FakeClock


def waits_with_an_old_value(cache: Cache) -> bool:
    """Whether the key is being computed, or waited for in line, and an old value could stand in meanwhile."""
    flight = cache._machine.homes.here().flights.find("key")
    return flight is not None and flight.stand_in is not None


async def settle(cache: Cache) -> None:
    """Wait for what the cache does in the background."""
    home = cache._machine.homes.here()
    await until(lambda: not home._tasks and not len(home.flights))


def fail() -> None:
    raise OSError("down")


def before_the_next_write(cache: Cache, do: Callable[[], Awaitable[Any]]) -> None:
    """Have something done between what a cache reads now and what it writes then."""
    write = cache._machine._writer.write

    async def late(*args: Any, **kwargs: Any) -> Any:
        cache._machine._writer.write = write  # type: ignore[method-assign]
        await do()
        return await write(*args, **kwargs)

    cache._machine._writer.write = late  # type: ignore[method-assign]


@pytest.mark.parametrize("what", ["set", "delete", "invalidate", "clear"])
@far
async def test_expire_gives_way_to_what_others_write_meanwhile(rig: Rig, clock: FakeClock, what: str) -> None:
    """``expire`` says something of the value that it found: what another process has put in its place is not lost."""
    cache, other = await rig.open(), await rig.open()
    await cache.set("key", "old", tags=["t"])
    clock.advance(1)

    async def meanwhile() -> None:
        if what == "set":
            await other.set("key", "new")
        elif what == "delete":
            await other.delete("key")
        elif what == "invalidate":
            await other.invalidate(tags=["t"])
        else:
            await other.clear()

    before_the_next_write(cache, meanwhile)
    await cache.expire("key")
    entry = await (await rig.open()).get_entry("key")
    assert (entry and (entry.value, entry.stale)) == (("new", True) if what == "set" else None)


@far
async def test_a_pattern_leaves_what_is_written_meanwhile(rig: Rig, clock: FakeClock) -> None:
    """What is written after the beginning stays, under a key that was found before, too."""
    cache, other = await rig.open(), await rig.open()
    await cache.set_many({"k:1": "old", "k:2": "old"})
    clock.advance(1)

    async def again() -> None:
        clock.advance(0.1)  # beyond what clocks may differ
        await other.set("k:1", "new")

    before_the_next_write(cache, again)
    receipt = await cache.invalidate(pattern="k:*")
    assert receipt.removed == 1
    for reader in (other, await rig.open()):
        assert await reader.get_many(["k:1", "k:2"]) == {"k:1": "new"}


async def test_a_failure_is_of_the_value_that_stood_in(rig: Rig, clock: FakeClock) -> None:
    """``grace_retry`` holds no longer than what it was said of."""
    cache = await rig.open()
    await cache.get_or_set("key", lambda: 1, ttl=10, grace=100)
    await settle(cache)
    clock.advance(11)
    assert await cache.get_or_set("key", fail, ttl=10, grace=100, grace_retry=50) == 1
    await cache.get_or_set("key", lambda: 2, ttl=10, grace=100, refresh=True)
    await settle(cache)
    clock.advance(11)
    assert await cache.get_or_set("key", lambda: 3, ttl=10, grace=100, grace_retry=50) == 3


async def test_no_more_failures_are_borne_in_mind_than_there_is_room_for(
    cache: Cache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sources fail, and however long none is to be asked again: the oldest may be asked sooner."""
    monkeypatch.setattr("toolcache.filler._REMEMBERED", 2)
    for key in "abc":
        await cache.get_or_set(key, lambda: 1, ttl=10, grace=100)
    await settle(cache)
    clock.advance(11)
    for key in "abc":
        assert await cache.get_or_set(key, fail, ttl=10, grace=100, grace_retry=50) == 1
    assert [await cache.get_or_set(key, lambda: 2, ttl=10, grace=100) for key in "bca"] == [1, 1, 2]


async def test_touch_keeps_the_etag(rig: Rig) -> None:
    """What the source called that state of the value is said to the next computation, however long the value lasts."""
    cache = await rig.open()
    asked: list[str | None] = []

    def compute(context: Context) -> Any:
        asked.append(context.etag)
        context.etag = "v1"
        return 1

    await cache.get_or_set("key", compute, ttl=10)
    await settle(cache)
    assert await cache.touch("key", 20)
    await cache.get_or_set("key", compute, refresh=True)
    assert asked == [None, "v1"]


@pytest.mark.parametrize("what", ["delete", "invalidate"])
@far
async def test_what_was_forgotten_while_others_computed_does_not_stand_in(
    rig: Rig, clock: FakeClock, what: str
) -> None:
    """Who waits for another process looks once more, also at what might stand in."""
    one, two = await rig.open(lock=True), await rig.open(lock=True)
    await one.get_or_set("key", lambda: 1, ttl=10, grace=100, tags=["t"])
    await settle(one)
    await one._machine._follower.catch_up()
    clock.advance(11)
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow(context: Context) -> Any:
        begun.set()
        await gate.wait()
        context.skip()
        return 2

    first = asyncio.create_task(one.get_or_set("key", slow, ttl=10, grace=100))
    await begun.wait()
    runs: list[int] = []

    def source() -> Any:
        runs.append(1)
        raise OSError("down")

    second = asyncio.create_task(two.get_or_set("key", source, ttl=10, grace=100))
    await until(lambda: waits_with_an_old_value(two))
    assert not runs
    if what == "delete":
        await one.delete("key")
    else:
        await one.invalidate(tags=["t"])
    gate.set()
    with pytest.raises(OSError, match="down"):
        await second
    await first


@far
async def test_who_loses_patience_in_line_takes_nothing_that_was_invalidated(rig: Rig, clock: FakeClock) -> None:
    """The invalidation came while another process was computing."""
    one, two = await rig.open(lock=True), await rig.open(lock=True)
    await one.get_or_set("key", lambda: 1, ttl=10, grace=100, tags=["t"])
    await settle(one)
    clock.advance(11)
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        begun.set()
        await gate.wait()
        return 2

    first = asyncio.create_task(one.get_or_set("key", slow, ttl=10, grace=100))
    await begun.wait()
    second = asyncio.create_task(two.get_or_set("key", lambda: 3, ttl=10, grace=100, soft_timeout=0.5, tags=["t"]))
    await until(lambda: waits_with_an_old_value(two))
    await two.invalidate(tags=["t"])
    await asyncio.sleep(0.6)  # patience is of the event loop's clock; sooner would prove less, never more
    gate.set()
    assert await second != 1
    await first


@far
async def test_what_is_refreshed_for_long_answers_no_longer_than_memory_may(rig: Rig, clock: FakeClock) -> None:
    """A computation in the background takes minutes; another process deletes the value, and nobody is told."""
    one, two = await rig.open(), await rig.open()
    gate = asyncio.Event()

    async def slow() -> Any:
        await gate.wait()
        return 2

    await one.get_or_set("key", lambda: 1, ttl=1000, refresh_ahead=0.5)
    await settle(one)
    clock.advance(800)
    assert await one.get_or_set("key", slow, ttl=1000, refresh_ahead=0.5) == 1
    await until(lambda: waits_with_an_old_value(one))
    clock.advance(100)
    await two.delete("key")
    await one._machine._follower.catch_up()
    clock.advance(6)
    assert await one.get("key", MISSING) is MISSING
    task = asyncio.create_task(one.get_or_set("key", lambda: 3, ttl=1000, refresh_ahead=0.5))
    gate.set()
    assert await task != 1


@far
async def test_what_was_read_is_ripe_when_its_reader_says(rig: Rig, clock: FakeClock) -> None:
    """``refresh_ahead`` of a call counts for values that other processes made, or this one before its restart."""
    one = await rig.open()
    await one.get_or_set("key", lambda: 1, ttl=100, refresh_ahead=0.5)
    await settle(one)
    two = await rig.open(trust=None)
    assert await two.get_or_set("key", lambda: 2, ttl=100, refresh_ahead=0.5) == 1
    clock.advance(90)
    assert await two.get_or_set("key", lambda: 3, ttl=100, refresh_ahead=0.5) == 1
    await settle(two)
    assert await two.get("key") == 3


async def test_who_joins_a_refresh_that_fails(rig: Rig, clock: FakeClock) -> None:
    """Who has asked for the new value is told of the failure; to others an old one is given, as it would be otherwise."""
    cache = await rig.open()
    await cache.get_or_set("key", lambda: 1, ttl=10, grace=100)
    await settle(cache)
    clock.advance(11)
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        begun.set()
        await gate.wait()
        raise OSError("down")

    first = asyncio.create_task(cache.get_or_set("key", slow, ttl=10, grace=100, refresh=True))
    await begun.wait()
    second = asyncio.create_task(cache.get_or_set("key", fail, ttl=10, grace=100))
    await asyncio.sleep(0.01)
    gate.set()
    with pytest.raises(OSError, match="down"):
        await first
    assert await second == 1


async def test_what_another_thread_deletes_just_then_is_not_put_back(rig: Rig) -> None:
    """Between the last look whether a computation may be kept, and memory's taking it."""
    cache = await rig.open()
    memory = cache._parts.memory
    put = memory.put

    def late(key: str, held: Any) -> bool:
        cache._machine._changes._delete_near({key: None})
        return put(key, held)

    memory.put = late  # type: ignore[method-assign,assignment]
    assert await cache.get_or_set("key", lambda: 1) == 1
    memory.put = put  # type: ignore[method-assign]
    assert memory.find("key") is None
