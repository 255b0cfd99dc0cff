"""What a cache leaves behind when it is closed, is not closed, or is interrupted: nothing, a warning, what was stored."""

import asyncio
import gc
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from programs import clients, descriptors, run, start, tasks, threads
from servers import RedisServer

from toolcache import MISSING, ToolCache
from toolcache.errors import CacheClosedError, FlightAbortedError


async def busy(cache: ToolCache) -> None:
    """A bit of everything: what succeeds, fails, is cancelled, is left alone."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    await cache.set_many({f"key{n}": [n] for n in range(50)})
    assert await cache.get_many([f"key{n}" for n in range(0, 100, 2)])
    await cache.delete("key1")
    await cache.clear()
    await asyncio.gather(*(cache.get_or_set(f"key{n % 10}", lambda n=n: {"n": n}) for n in range(100)))
    await asyncio.gather(*(cache.get_or_set(f"bad{n}", fail) for n in range(10)), return_exceptions=True)
    leaving = [asyncio.create_task(cache.get(f"gone{n}")) for n in range(10)]
    leaving += [asyncio.create_task(cache.set(f"gone{n}", n)) for n in range(10)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    assert (await cache.health()).status == "ok"


async def test_nothing_is_left_after_closing(
    layering: str, options: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """SPEC 16 I9, LC-12, FS-25: no descriptor, thread, task, connection or temporary file, however often it is done."""
    async with ToolCache(**options) as cache:
        await busy(cache)
    before, running = descriptors(), threads()
    for _ in range(3):
        async with ToolCache(**options) as one, ToolCache(**options, namespace="other") as two:
            await asyncio.gather(busy(one), busy(two))
    assert descriptors() == before
    assert threads() <= running
    assert tasks() == set()
    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("*.tmp"))) == []
    if "redis" in layering:
        server: RedisServer = request.getfixturevalue("own_redis")
        assert await asyncio.to_thread(clients, server) == []


async def test_what_goes_on_in_another_loop_ends_too(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 16 I9, LC-02: the tasks that replay and follow in the loop of another thread see that the cache was closed."""
    monkeypatch.setattr("toolcache.journal._EVERY", 0.01)
    cache = ToolCache(**options)
    there = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:
        turning = asyncio.wrap_future(pool.submit(there.run_forever))

        async def use() -> None:
            await cache.set("key", 1)
            assert await cache.get("key") == 1

        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(use(), there))
            await use()
            await cache.aclose()
            for _ in range(500):
                if not asyncio.all_tasks(there):
                    break
                await asyncio.sleep(0.01)
            assert asyncio.all_tasks(there) == set()
        finally:
            there.call_soon_threadsafe(there.stop)
            await turning
            there.close()


async def test_a_first_call_that_is_cancelled_leaves_nothing_either(options: dict[str, Any]) -> None:
    """SPEC 16 I9, BUG-102: what the first call had begun to open is closed, although the call was cancelled."""
    async with ToolCache(**options) as cache:
        await cache.get("warm")
    before, running = descriptors(), threads()
    for ticks in range(6):
        cache = ToolCache(**options)
        call = asyncio.create_task(cache.get("key"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        await cache.aclose()
        async with ToolCache(**options) as after:
            await after.set("key", 1)
    assert descriptors() == before
    assert threads() <= running
    assert tasks() == set()


async def test_a_thousand_computations_leave_no_task(options: dict[str, Any]) -> None:
    """LC-12, BUG-11: tasks are referred to while they run, and forgotten when they have ended."""
    async with ToolCache(**options) as cache:
        await cache.get("warm")
        standing = tasks()
        values = await asyncio.gather(*(cache.get_or_set(f"key{n}", lambda n=n: n) for n in range(1000)))
        assert values == list(range(1000))
        home = cache._machine.homes.here()
        await asyncio.gather(*home._tasks)
        gc.collect()
        assert len(home.flights) == len(home._tasks) == 0
        for _ in range(500):  # counts may be being written, which is soon over; what is left behind stays
            if not (left := {name for name in tasks() - standing if not name.startswith("toolcache-redis")}):
                break
            await asyncio.sleep(0.01)
        assert left == set()


@pytest.mark.parametrize("keys", [["key"], [f"key{number}" for number in range(100)]])
async def test_a_close_waits_for_reads_under_way(own_redis: RedisServer, keys: list[str]) -> None:
    """LC-04: who has asked for a value has it, though nobody else asks for one and the cache is closed meanwhile."""
    options: dict[str, Any] = {"redis_url": own_redis.url, "files": False, "op_timeout": 10, "coherence": False}
    async with ToolCache(**options) as cache:
        await cache.set_many(dict.fromkeys(keys, 1))
    cache = ToolCache(**options)
    assert await cache.get("other") is None
    assert cache._parts.redis is not None
    store, asked, go_on = cache._parts.redis.store, asyncio.Event(), asyncio.Event()
    get_many = store.get_many

    async def late(keys: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await get_many(keys)

    store.get_many = late  # type: ignore[method-assign]  # as a server does that takes its time
    reading = asyncio.create_task(cache.get_many(keys))
    await asked.wait()
    closing = asyncio.create_task(cache.aclose())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on.set()
    await closing
    assert await reading == dict.fromkeys(keys, 1)


async def test_a_computation_longer_than_the_drain(options: dict[str, Any]) -> None:
    """LC-04: aclose(drain=0.1) cancels a computation of 10 s, tells its callers, and returns at once."""
    cache = ToolCache(**options)
    started = asyncio.Event()

    async def compute() -> None:
        started.set()
        await asyncio.sleep(10)

    callers = [asyncio.create_task(cache.get_or_set("key", compute)) for _ in range(3)]
    await started.wait()
    begun = time.monotonic()
    await cache.aclose(drain=0.1)
    assert time.monotonic() - begun < 8
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in told] == [FlightAbortedError] * 3


async def test_writes_longer_than_the_drain(own_redis: RedisServer) -> None:
    """LC-04, I1: their callers are told that the cache was closed, and not cancelled, which nobody did to them."""
    cache = ToolCache(redis_url=own_redis.url, files=False, op_timeout=2)
    await cache.set("key", 1)
    with own_redis.frozen():
        callers = [asyncio.create_task(call) for call in (cache.set("key", 2), cache.delete("key"), cache.clear())]
        leaving = asyncio.create_task(cache.set("other", 1))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await cache.aclose(drain=0.05)
        told = await asyncio.gather(*callers, leaving, return_exceptions=True)
    assert [type(error) for error in told] == [CacheClosedError] * 3 + [asyncio.CancelledError]


async def test_a_computation_that_will_not_be_cancelled_holds_nobody_up(options: dict[str, Any]) -> None:
    """LC-04, BUG-13: aclose returns although a computation swallows its cancellation; its value is stored nowhere."""
    cache = ToolCache(**options)
    started, cancelled, let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def compute() -> str:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            await let_go.wait()
        return "late"

    caller = asyncio.create_task(cache.get_or_set("key", compute))
    await started.wait()
    await asyncio.wait_for(cache.aclose(drain=0.05), 30)
    assert cancelled.is_set()
    let_go.set()
    await asyncio.wait([caller])
    if options["redis_url"] or options["files"]:
        async with ToolCache(**options) as after:
            assert await after.get("key", MISSING) is MISSING


async def test_closing_is_done_once_for_all_who_ask(options: dict[str, Any]) -> None:
    """SPEC 13: calls at the same time share one closing, which goes on when the one that began it is cancelled."""
    running = threads()
    cache = ToolCache(**options)
    await cache.set("key", 1)
    first = asyncio.create_task(cache.aclose())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, *(cache.aclose() for _ in range(10)), return_exceptions=True)
    assert first.cancelled()
    assert cache.closed
    assert threads() <= running
    for call in (cache.get("other"), cache.set("key", 2), cache.health(), cache.get_or_set("key", lambda: 1)):
        with pytest.raises(CacheClosedError):
            await call


async def test_one_of_two_caches_is_closed(options: dict[str, Any], layering: str) -> None:
    """LC-02: two caches of one process share files and server, and neither needs the other to stay open."""
    async with ToolCache(**options) as stays:
        leaves = ToolCache(**options)
        await leaves.set("key", [1])
        await leaves.aclose()
        assert await stays.get("key", MISSING) == ([1] if layering != "memory" else MISSING)
        await stays.set("key", [2])
        async with ToolCache(**options) as third:
            assert await third.get("key", MISSING) == ([2] if layering != "memory" else MISSING)
        assert (await stays.health()).status == "ok"


def test_a_cache_that_was_not_closed_says_so(layering: str, options: dict[str, Any]) -> None:
    """SPEC 13.1: a ResourceWarning names what to do; memory alone, and what was closed or never used, needs none."""
    code = """
        import asyncio, gc, sys, warnings
        from toolcache import ToolCache
        url, files, directory = sys.argv[1:]
        def new():
            return ToolCache(redis_url=url or None, files=files == "True", directory=directory)
        async def use(close):
            cache = new()
            await cache.set("key", 1)
            if close:
                await cache.aclose()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asyncio.run(use(close=True))
            new()
            gc.collect()
            assert not caught, caught[0]
            asyncio.run(use(close=False))
            gc.collect()
        for warning in caught:
            if "aclose" in str(warning.message):
                print(warning.category.__name__)
    """
    out, err = run(code, options["redis_url"] or "", options["files"], options["directory"])
    assert (out, err) == ("" if layering == "memory" else "ResourceWarning\n", "")


def test_what_was_stored_without_closing_is_there(layering: str, options: dict[str, Any]) -> None:
    """SPEC 13.1, LC-13: a program that never closes loses nothing and prints nothing but the warning, if any."""
    if layering == "memory":
        return
    code = """
        import asyncio, sys, warnings
        from toolcache import ToolCache
        warnings.simplefilter("ignore", ResourceWarning)
        url, files, directory = sys.argv[1:]
        cache = ToolCache(redis_url=url or None, files=files == "True", directory=directory)
        async def main():
            await cache.set_many({f"key{n}": n for n in range(100)})
            await cache.delete("key0")
        asyncio.run(main())
        sys.stdout.write("done")
    """
    assert run(code, options["redis_url"] or "", options["files"], options["directory"]) == ("done", "")

    async def read() -> dict[str, Any]:
        async with ToolCache(**options) as cache:
            return await cache.get_many([f"key{n}" for n in range(100)])

    assert asyncio.run(read()) == {f"key{n}": n for n in range(1, 100)}


def test_control_c_in_a_computation(layering: str, options: dict[str, Any]) -> None:
    """SPEC 12, CB-35: SIGINT ends the program as it ends any; the cache is closed on the way, and what was stored stays."""
    code = """
        import asyncio, signal, sys
        from toolcache import ToolCache
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what they run in the background
        url, files, directory = sys.argv[1:]
        async def compute():
            print("computing", flush=True)
            await asyncio.sleep(60)
        async def main():
            async with ToolCache(redis_url=url or None, files=files == "True", directory=directory) as cache:
                await cache.set("key", "kept")
                await asyncio.gather(*(cache.get_or_set("slow", compute) for _ in range(3)))
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    with start(code, options["redis_url"] or "", options["files"], options["directory"]) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "computing\n"
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=50)
        except BaseException:
            program.kill()
            raise
    assert (program.returncode, out, err) == (0, "interrupted\n", "")
    if layering != "memory":

        async def read() -> Any:
            async with ToolCache(**options) as cache:
                return await cache.get_many(["key", "slow"])

        assert asyncio.run(read()) == {"key": "kept"}


def test_an_interrupt_raised_by_a_computation(options: dict[str, Any]) -> None:
    """SPEC 12, BUG-14: KeyboardInterrupt out of a computation ends that loop; the key is free in the next one."""
    cache = ToolCache(**options)

    def compute() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cache.get_or_set("key", compute))

    async def again() -> Any:
        try:
            return await cache.get_or_set("key", lambda: "computed")
        finally:
            await cache.aclose()

    assert asyncio.run(again()) == "computed"
