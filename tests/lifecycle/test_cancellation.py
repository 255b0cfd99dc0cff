"""Whoever leaves, leaves alone: cancelled and timed-out calls, and listeners that cancel."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest
from proxy import FaultProxy
from servers import RedisServer

from toolcache import MISSING, Durability, ToolCache
from toolcache.events import BreakerChanged
from toolcache.layer import Layer
from toolcache.testing import ChaosStore, FakeClock

SOON = 30


def chaos(layer: Layer | None) -> ChaosStore:
    """Have a layer's store do as told."""
    assert layer is not None
    layer.store = ChaosStore(layer.store)
    return layer.store


@pytest.fixture
async def cache(options: dict[str, Any]) -> AsyncIterator[ToolCache]:
    """A cache of the layering."""
    async with ToolCache(**options) as cache:
        yield cache


@pytest.mark.parametrize("name", ["get", "set", "delete", "get_or_set", "get_many", "add", "clear"])
async def test_a_scope_that_gives_up(cache: ToolCache, options: dict[str, Any], name: str) -> None:
    """LC-07: move_on_after around a call to a store that hangs: no lock, flight or breaker is stuck, the next call works."""
    calls: dict[str, Any] = {
        "get": lambda: cache.get("absent"),
        "set": lambda: cache.set("key", "new"),
        "delete": lambda: cache.delete("key"),
        "get_or_set": lambda: cache.get_or_set("absent", lambda: "computed"),
        "get_many": lambda: cache.get_many(["absent", "key"]),
        "add": lambda: cache.add("absent", "added"),
        "clear": cache.clear,
    }
    await cache.set("key", "old")
    layers = [layer for layer in (cache._parts.redis, cache._parts.files) if layer is not None]
    stores = [chaos(layer) for layer in layers]
    for store in stores:
        store.hang()
    with anyio.move_on_after(0.02) as scope:
        await calls[name]()
    assert scope.cancelled_caught is bool(stores)
    for store in stores:
        store.heal()
    async with asyncio.timeout(SOON):
        assert await cache.set("key", "newer") is (Durability[layers[0].name.upper()] if layers else Durability.MEMORY)
        assert await cache.get("key") == "newer"
        assert await cache.get_or_set("another", lambda: "computed") == "computed"
        assert await cache.delete("key") is True
        assert await cache.get("key", MISSING) is MISSING
    assert [layer.guard.breaker.state.value for layer in layers] == ["closed"] * len(layers)


async def test_a_set_that_was_given_up_is_whole_or_not_there(cache: ToolCache, options: dict[str, Any]) -> None:
    """LC-07, SPEC 12.2: a set cancelled at any step is in every layer or in none, once what it began has ended."""
    await cache.get("warm")  # the first write of all waits for the server's time, and is not there if that is given up
    for ticks in range(12):
        key = f"key{ticks}"
        call = asyncio.create_task(cache.set(key, ticks))
        for _ in range(ticks):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        await asyncio.gather(*cache._machine.homes.here()._tasks)
        here = await cache.get(key, MISSING)
        assert here == (ticks or MISSING)
        if options["redis_url"] or options["files"]:
            async with ToolCache(**options) as other:
                assert await other.get(key, MISSING) == here


async def test_a_reply_meant_for_one_who_left(own_redis: RedisServer) -> None:
    """LC-06, BUG-67: get(a) is cancelled while its reply is on the way; get(b) has b's value, over the same connection."""
    async with FaultProxy(own_redis.port) as proxy, ToolCache(redis_url=own_redis.url, files=False) as writer:
        await writer.set_many({"a": "of a", "b": "of b"})
        alone: dict[str, Any] = {"files": False, "coherence": False, "metrics": False}  # nothing is written meanwhile
        async with ToolCache(redis_url=proxy.url, op_timeout=10, **alone) as cache:
            await cache.get("warm")
            for _ in range(5):
                proxy.mode = "down"
                leaving = asyncio.create_task(cache.get("a"))
                await asyncio.sleep(0.02)
                leaving.cancel()
                staying = asyncio.create_task(cache.get("b"))
                await asyncio.sleep(0.02)
                proxy.mode = "pass"
                assert await staying == "of b"
                assert leaving.cancelled()
                cache._parts.memory.clear()
            assert proxy.accepted == 1


async def test_a_storm_of_cancellations(cache: ToolCache, options: dict[str, Any]) -> None:
    """G8, LC-06, BUG-02: 400 calls, half of them cancelled at random: the others get their own key's value."""
    dice = random.Random(7)
    keys = [f"key{n}" for n in range(20)]
    await cache.set_many({key: {"of": key} for key in keys[:10]})

    async def put(key: str) -> Any:
        await cache.set(key, {"of": key})
        return {"of": key}

    async def many(key: str) -> Any:
        return (await cache.get_many([key, key + "?"])).get(key, {"of": key})

    kinds: list[Callable[[str], Coroutine[Any, Any, Any]]] = [
        lambda key: cache.get(key, {"of": key}),
        lambda key: cache.get_or_set(key, lambda: {"of": key}),
        put,
        many,
    ]
    for _ in range(4):
        calls = {asyncio.create_task(dice.choice(kinds)(key)): key for key in dice.choices(keys, k=100)}
        leaving = dice.sample(list(calls), 50)
        for number, task in enumerate(leaving):
            task.cancel()
            if number % 10 == 0:
                await asyncio.sleep(0)
        done = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SOON)
        for (task, key), got in zip(calls.items(), done, strict=True):
            left = task in leaving and isinstance(got, asyncio.CancelledError)
            assert left or got == {"of": key}
    home = cache._machine.homes.here()
    await asyncio.gather(*home._tasks)
    assert len(home.flights) == 0
    for key in keys:
        assert await cache.get(key, {"of": key}) == {"of": key}


@pytest.mark.parametrize("call", ["get", "set"])
@pytest.mark.parametrize("layering", ["memory+file", "memory+redis"])
async def test_a_listener_that_cancels_the_task_it_runs_in(options: dict[str, Any], call: str) -> None:
    """LC-15: the breaker's transition completes, nobody hangs, and whoever else was waiting gets an answer."""
    clock = FakeClock(time.time())
    async with ToolCache(**options | {"failure_threshold": 1, "recovery_time": 1}, clock=clock) as cache:
        layer = cache._parts.redis or cache._parts.files
        assert layer is not None
        store = chaos(layer)
        breaker = layer.guard.write_breaker if call == "set" else layer.guard.breaker
        assert breaker is not None
        seen: list[tuple[str, str]] = []

        def listener(event: object) -> None:
            if isinstance(event, BreakerChanged):
                seen.append((event.before, event.after))
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        async def ask(key: str) -> Any:
            return await (cache.get(key, MISSING) if call == "get" else cache.set(key, 1))

        stop = cache.subscribe(listener)
        for fault in (ConnectionRefusedError, None):
            if fault:
                store.fail_with(fault)
            else:
                store.heal()
                clock.advance(60)
            first = asyncio.create_task(ask("first"))
            others = [asyncio.create_task(ask(f"other{n}")) for n in range(3)]
            done, hanging = await asyncio.wait([first, *others], timeout=SOON)
            assert not hanging
            for task in done:
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task in {MISSING, Durability.MEMORY, Durability.FILE, Durability.REDIS}
        assert seen[:2] == [("closed", "open"), ("open", "half_open")]
        stop()
        clock.advance(60)
        assert await ask("afterwards") in {MISSING, Durability.FILE, Durability.REDIS}
        assert layer.guard.breaker.state.value == "closed"
