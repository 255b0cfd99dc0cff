"""One cache in many event loops: one after another, side by side, and of another kind."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import anyio
import pytest
import trio
from programs import descriptors, threads

from toolcache import AgentTask, ToolCache
from toolcache.errors import UnsupportedEventLoopError


def test_thirty_runs_over_one_cache(options: dict[str, Any]) -> None:
    """BUG-14, LC-02: a cache made for a whole module lives through 30 times asyncio.run; nothing piles up."""
    running = threads()
    cache = ToolCache(**options)
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []
    held: list[int] = []

    async def use(number: int) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await cache.set(f"key{number}", [number])
        assert await cache.get(f"key{number // 2}") == [number // 2]
        got = await asyncio.gather(*(cache.get_or_set(f"made{number}", lambda: number) for _ in range(5)))
        assert got == [number] * 5
        assert await cache.get("absent") is None

    for number in range(30):
        asyncio.run(use(number))
        held.append(len(descriptors()))
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 2, "ended loops are kept"
    assert held[-1] <= held[3]
    asyncio.run(cache.aclose())
    assert threads() <= running


def test_two_threads_with_a_loop_each(options: dict[str, Any]) -> None:
    """LC-02: 1,000 operations from each of two threads at the same time; every value is right, no error."""
    cache = ToolCache(**options)
    both = threading.Barrier(2, timeout=30)
    failures: list[BaseException] = []

    async def use(name: str) -> None:
        for number in range(250):
            key = f"{name}{number % 50}"
            await cache.set(key, [name, number])
            assert await cache.get(key) == [name, number]
            assert await cache.get_or_set(f"both{number}", lambda number=number: {"n": number}) == {"n": number}
            if number % 10 == 9:
                assert await cache.delete(key) is True
            else:
                assert await cache.exists(key)

    def work(name: str) -> None:
        try:
            both.wait()
            asyncio.run(use(name))
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    running = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert failures == []
    asyncio.run(cache.aclose())


def test_the_loop_of_another_thread_ends_while_this_one_goes_on(options: dict[str, Any]) -> None:
    """LC-02, BUG-14: computations of a loop that was stopped in their midst hold no key in another loop."""
    cache = ToolCache(**options)
    computing = threading.Event()

    async def never() -> None:
        computing.set()
        await asyncio.sleep(600)

    async def leave() -> None:
        task = asyncio.create_task(cache.get_or_set("key", never))
        while not computing.is_set():  # noqa: ASYNC110 - set by a task of this loop
            await asyncio.sleep(0)
        del task

    async def stay() -> Any:
        thread = threading.Thread(target=asyncio.run, args=(leave(),))
        thread.start()
        await asyncio.to_thread(thread.join)
        try:
            await cache.set("other", 1)
            await cache.delete("key")
            return await cache.get_or_set("key", lambda: "mine"), await cache.get("other")
        finally:
            await cache.aclose()

    assert asyncio.run(stay()) == ("mine", 1)


@pytest.mark.parametrize("first", ["trio", "asyncio"])
def test_trio_is_told(options: dict[str, Any], first: str) -> None:
    """LC-08: under trio every call raises UnsupportedEventLoopError, which says so; the cache is whole under asyncio."""
    cache = ToolCache(**options)
    if first == "asyncio":
        asyncio.run(cache.set("before", 1))
    task = AgentTask("agent", "template", {}, model="small")
    calls: list[Any] = [
        lambda: cache.get("key"),
        lambda: cache.get_entry("key"),
        lambda: cache.exists("key"),
        lambda: cache.ttl("key"),
        lambda: cache.get_many(["key"]),
        lambda: cache.get_or_set("key", lambda: 1),
        lambda: cache.set("key", 1),
        lambda: cache.set_many({"key": 1}),
        lambda: cache.add("key", 1),
        lambda: cache.delete("key"),
        lambda: cache.delete_many(["key"]),
        cache.clear,
        cache.health,
        lambda: cache.get_catalog("source", compute=list),
        lambda: cache.get_embeddings(["text"], "model", compute=lambda texts: [[1.0] for _ in texts]),
        lambda: cache.get_result(task),
        lambda: cache.set_result(task, 1),
        cache.__aenter__,
        cache.aclose,
    ]

    async def main() -> None:
        for call in calls:
            with pytest.raises(UnsupportedEventLoopError, match=r"asyncio.*trio is not supported"):
                await call()

    trio.run(main)
    with pytest.raises(UnsupportedEventLoopError):
        anyio.run(cache.get, "key", backend="trio")

    async def afterwards() -> Any:
        async with cache:
            assert await cache.exists("before") is (first == "asyncio")
            return await cache.get_or_set("key", lambda: "computed")

    assert asyncio.run(afterwards()) == "computed"


def test_anyio_over_asyncio_is_asyncio(options: dict[str, Any]) -> None:
    """LC-07, LC-08: task groups and cancel scopes of anyio are at home on its asyncio backend."""

    async def main() -> None:
        async with ToolCache(**options) as cache, anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(cache.set, f"key{number}", number)
        async with ToolCache(**options) as cache:
            got = await cache.get_many([f"key{number}" for number in range(20)])
            assert got in ({}, {f"key{number}": number for number in range(20)})
            assert bool(got) is (options["files"] or options["redis_url"] is not None)

    anyio.run(main, backend="asyncio")
