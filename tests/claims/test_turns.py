"""One computation for several caches: who computes, who waits, and what when somebody fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Work
from hearing import state, until
from programs import start
from servers import RedisServer

from toolcache import ToolCache, turns
from toolcache.compute import Context
from toolcache.errors import FlightAbortedError
from toolcache.layer import Layer
from toolcache.protocols import SupportsCount, SupportsScan

SHARED = ("redis", "files", "redis+files")
Open = Callable[..., Awaitable[ToolCache]]


@pytest.fixture(params=SHARED)
def layering(request: pytest.FixtureRequest) -> str:
    """What the caches share."""
    return str(request.param)


@pytest.fixture
async def open_cache(layering: str, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens caches that share what they share as processes do, listening if they can."""
    opened: list[ToolCache] = []

    async def open_one(**options: Any) -> ToolCache:
        chosen: dict[str, Any] = {
            "redis_url": redis_server.url if "redis" in layering else None,
            "files": "files" in layering,
            "directory": tmp_path / "files",
            "op_timeout": 5,
            "file_timeout": 10,
            "lock_timeout": 300,
        }
        cache = ToolCache(**chosen | options)
        opened.append(cache)
        await cache.get("warm")
        if "redis" in layering and options.get("coherence", True):
            await until(lambda: state(cache) == "tracking")
        return cache

    yield open_one
    for cache in opened:
        await cache.aclose()


async def settled(cache: ToolCache) -> None:
    """What nobody waits for has ended."""
    await asyncio.gather(*cache._machine.homes.here()._tasks)


def layers(cache: ToolCache) -> list[Layer]:
    """Where the cache claims."""
    return cache._machine._filler._turns.layers


async def standing(cache: ToolCache, key: str = "k") -> list[bool]:
    """Where a claim of the key stands, in the order of the layers."""
    found = []
    for layer in layers(cache):
        assert layer.claims is not None
        swapped = await layer.claims.swap(f"tc1:c:default:{key}", b"?", None, ttl=1.0)
        found.append(bool(swapped.standing.raw))
    return found


async def test_the_other_waits_and_has_the_value(open_cache: Open) -> None:
    """LK-08: a cache whose value another one computes runs nothing and has it soon after; nothing of the claim is left."""
    one, two = await open_cache(), await open_cache()
    work, idle = Work({"a": 1}), Work("not run")
    first = asyncio.create_task(one.get_or_set("k", work))
    await work.begun.wait()
    second = asyncio.create_task(two.get_or_set("k", idle))
    await asyncio.sleep(0.1)  # until they wait; sooner would prove less, never more
    assert not second.done()
    assert all(await standing(one))
    work.over.set()
    assert [*await asyncio.gather(first, second)] == [{"a": 1}] * 2
    assert (work.runs, idle.runs) == (1, 0)
    await settled(one)
    await settled(two)
    assert not any(await standing(one))
    (tally,) = (found for found in two.stats().domains.values() if found.hits)
    assert (tally.hits, tally.misses) == (1, 1)  # the warm-up was one


async def test_if_it_fails_one_of_those_who_wait_is_next(open_cache: Open) -> None:
    """BUG-04: the failure belongs to those who asked there; of the others one computes, and the rest have its value."""
    one, two, three = [await open_cache() for _ in range(3)]
    failing, work = Work(RuntimeError("not today")), Work()
    first = asyncio.create_task(one.get_or_set("k", failing))
    await failing.begun.wait()
    others = [asyncio.create_task(cache.get_or_set("k", work)) for cache in (two, three)]
    await asyncio.sleep(0.1)  # until they wait; sooner would prove less, never more
    failing.over.set()
    work.over.set()
    with pytest.raises(RuntimeError, match="not today"):
        await first
    assert await asyncio.gather(*others) == ["done"] * 2
    assert work.runs == 1


async def test_what_is_detached_while_it_claims_lets_go(open_cache: Open) -> None:
    """DECISIONS Flights: a delete that comes while the claim is on its way; what is computed then keeps nobody waiting."""
    one, two = await open_cache(), await open_cache()
    asked, answered, work = asyncio.Event(), asyncio.Event(), Work()

    def slow(swap: Callable[..., Awaitable[Any]]) -> Any:
        async def slowly(*args: Any, **options: Any) -> Any:
            answer = await swap(*args, **options)
            asked.set()
            await answered.wait()
            return answer

        return slowly

    layer = layers(one)[-1]
    assert layer.claims is not None
    layer.claims.swap = slow(layer.claims.swap)  # type: ignore[method-assign]  # for this one
    caller = asyncio.create_task(one.get_or_set("k", work))
    await asked.wait()
    await one.delete("k")
    answered.set()
    await work.begun.wait()
    async with asyncio.timeout(20):
        assert await two.get_or_set("k", lambda: "anew") == "anew"
    work.over.set()
    assert await caller == "done"


async def test_what_may_not_be_stored_is_computed_by_each(open_cache: Open) -> None:
    """A value that is not to be stored, or cannot be: each in turn computes its own."""
    one, two = await open_cache(), await open_cache()
    values = [*await asyncio.gather(one.get_or_set("k", lambda: object), two.get_or_set("k", lambda: object))]
    assert values == [object, object]
    await settled(one)
    await settled(two)
    assert not any(await standing(one))


async def test_cancelled_it_lets_go(open_cache: Open) -> None:
    """BUG-24, LC: whoever is cancelled, while computing, claiming or waiting, leaves no claim behind."""
    one, two = await open_cache(), await open_cache()
    work = Work()
    computing = asyncio.create_task(one.get_or_set("k", work))
    await work.begun.wait()
    waiting = asyncio.create_task(two.get_or_set("k", work))
    await asyncio.sleep(0.1)  # until they wait; sooner would prove less, never more
    waiting.cancel()
    computing.cancel()
    await asyncio.wait([waiting, computing])
    for ticks in range(20):
        task = asyncio.create_task(one.get_or_set(f"k{ticks}", Work()))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await settled(one)
    await settled(two)
    for key in ("k", *(f"k{ticks}" for ticks in range(20))):
        assert not any(await standing(one, key))


async def test_a_lost_reply_does_not_make_one_wait_for_oneself(open_cache: Open) -> None:
    """LK-03: the claim was taken and the reply lost; the second attempt finds it its own."""
    cache = await open_cache()
    for layer in layers(cache):
        assert layer.claims is not None
        layer.claims.swap = losing(layer.claims.swap, times=1)  # type: ignore[method-assign]  # for this one
    begun = time.monotonic()
    assert await cache.get_or_set("k", lambda: 1) == 1
    assert time.monotonic() - begun < 5.0
    await settled(cache)
    assert not any(await standing(cache))


def losing(swap: Callable[..., Awaitable[Any]], *, times: int) -> Any:
    """Do it, and lose the connection before the reply, that many times."""
    left = times

    async def lost(*args: Any, **options: Any) -> Any:
        nonlocal left
        answer = await swap(*args, **options)
        left -= 1
        if left >= 0:
            raise ConnectionResetError
        return answer

    return lost


async def untold(cache: ToolCache) -> None:
    """Compute "k" there, of whose end no store is told: what it claimed stands, leased for long."""
    work = Work()
    task = asyncio.create_task(cache.get_or_set("k", work))
    await work.begun.wait()
    tries = 0

    async def mute(*_: Any, **__: Any) -> Any:
        nonlocal tries
        tries += 1
        raise OSError(5, "no claims now")

    with pytest.MonkeyPatch.context() as patch:
        for layer in layers(cache):
            patch.setattr(layer.claims, "swap", mute)
        work.over.set()
        await task
        await until(lambda: tries == 2 * len(layers(cache)))  # when it was over, and once more
    assert await cache.delete("k")


async def broken(*_: Any, **__: Any) -> Any:
    """A store that cannot say."""
    raise OSError(5, "no claims today")


async def test_nobody_here_waits_for_an_end_that_was_not_told(
    open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes next in the same process takes over what the stores think is claimed."""
    monkeypatch.setattr(turns, "_PAUSES", (300.0, 300.0))
    cache = await open_cache(lease=300)
    await untold(cache)
    assert any(await standing(cache))
    async with asyncio.timeout(20):
        assert await cache.get_or_set("k", lambda: "again") == "again"


async def test_others_are_told_of_an_end_as_soon_as_they_can_be(open_cache: Open) -> None:
    """The store answers again: what was claimed is given back long before it lapses."""
    one, two = await open_cache(lease=300), await open_cache()
    await untold(one)
    async with asyncio.timeout(20):
        assert await two.get_or_set("k", lambda: "again") == "again"
    await until(lambda: not one._machine._filler._turns.over)
    await settled(two)
    assert not any(await standing(one))


async def test_a_store_that_cannot_say_is_done_without(open_cache: Open) -> None:
    """LK-06, BUG-25: whatever the claims' trouble is, the value is computed, once for all callers here, without an exception."""
    cache = await open_cache()
    for layer in layers(cache):
        assert layer.claims is not None
        layer.claims.swap = broken  # type: ignore[method-assign]  # for this one
    work = Work()
    work.over.set()
    assert await asyncio.gather(*(cache.get_or_set("k", work) for _ in range(20))) == ["done"] * 20
    assert work.runs == 1


async def test_without_redis_each_process_computes_for_itself(own_redis: RedisServer) -> None:
    """LK-06, BUG-27: no claim, no exception, no wait; twenty callers and two later ones share one computation."""
    async with ToolCache(redis_url=own_redis.url, files=False, op_timeout=0.5) as cache:
        await cache.get_or_set("warm", lambda: 1)
        own_redis.stop()
        for key in ("first of the outage", "with the breaker open"):
            work = Work()
            work.over.set()
            begun = time.monotonic()
            assert await asyncio.gather(*(cache.get_or_set(key, work) for _ in range(20))) == ["done"] * 20
            assert [await cache.get_or_set(key, work) for _ in range(2)] == ["done"] * 2
            assert work.runs == 1
            assert time.monotonic() - begun < 1.5


async def test_a_store_that_fails_while_one_waits_is_done_without(open_cache: Open) -> None:
    """LK-06: somebody else has the claim, and then nothing can be learned of it any more."""
    one, two = await open_cache(), await open_cache()
    work, own = Work(), Work("own")
    own.over.set()
    first = asyncio.create_task(one.get_or_set("k", work))
    await work.begun.wait()

    async def broken(*_: Any, **__: Any) -> Any:
        for layer in layers(two):
            layer.claims.swap = broken  # type: ignore[union-attr, method-assign]  # for this one
        raise OSError(5, "no word today")

    for layer in layers(two):
        assert layer.claims is not None
        layer.claims.until_ended = broken  # type: ignore[method-assign]  # for this one
    assert await two.get_or_set("k", own) == "own"
    work.over.set()
    assert await first == "done"


async def test_a_claim_that_hangs_costs_no_more_than_the_budget_of_a_call(open_cache: Open) -> None:
    """SPEC 5: looking, claiming and looking again are one call, with one time for each layer."""
    cache = await open_cache(op_timeout=0.4, file_timeout=0.4)

    async def hanging(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(60)

    for layer in layers(cache):
        assert layer.claims is not None
        layer.claims.swap = hanging  # type: ignore[method-assign]  # for this one
    begun = time.monotonic()
    assert await cache.get_or_set("k", lambda: 1) == 1
    assert time.monotonic() - begun < 0.4 * len(layers(cache)) + 0.6


async def test_it_is_released_when_the_write_fails(open_cache: Open) -> None:
    """BUG-23: the value could be stored nowhere; the next one need not wait."""
    one, two = await open_cache(), await open_cache()

    async def broken(*_: Any) -> Any:
        raise OSError(5, "no writes today")

    for layer in layers(one):
        layer.store.put_many = broken  # type: ignore[method-assign]  # for this one
    assert await one.get_or_set("k", lambda: 1) == 1
    await settled(one)
    assert await asyncio.wait_for(two.get_or_set("k", lambda: 2), 10) == 2


async def test_longer_than_the_lease_it_is_renewed(open_cache: Open) -> None:
    """LK-07, BUG-20: a computation longer than a lease is still the only one."""
    one, two = await open_cache(lease=1), await open_cache(lease=1)
    work, idle = Work(), Work()
    first = asyncio.create_task(one.get_or_set("k", work))
    await work.begun.wait()
    second = asyncio.create_task(two.get_or_set("k", idle))
    for _ in range(5):
        await asyncio.sleep(0.3)  # by the store's own clock, a lease and a half in all
        assert all(await standing(one))
    work.over.set()
    assert [*await asyncio.gather(first, second)] == ["done"] * 2
    assert idle.runs == 0


async def test_who_has_been_overtaken_ends_nothing(open_cache: Open) -> None:
    """LK-04: a holder that stood still for longer than its lease goes on, and leaves the claim of the next one alone."""
    one, two = await open_cache(lease=0.5), await open_cache(lease=600)
    slow, work = Work("overtaken"), Work("of the second")

    async def unkept(context: Context) -> Any:
        context.skip()
        return await slow()

    awake = asyncio.Event()

    async def hanging(*_: Any, **__: Any) -> Any:
        await awake.wait()
        raise ConnectionResetError

    first = asyncio.create_task(one.get_or_set("k", unkept))
    await slow.begun.wait()
    for layer in layers(one):
        assert layer.claims is not None
        layer.claims.swap = hanging  # type: ignore[method-assign]  # it renews no more
    second = asyncio.create_task(two.get_or_set("k", work))
    async with asyncio.timeout(30):
        await work.begun.wait()
    for layer in layers(one):
        assert layer.claims is not None
        del layer.claims.swap
    awake.set()
    slow.over.set()
    assert await first == "overtaken"
    await settled(one)
    assert all(await standing(two))
    work.over.set()
    assert await second == "of the second"
    await settled(two)
    assert await (await open_cache()).get("k") == "of the second"


async def test_a_child_ends_nothing_of_its_parents(open_cache: Open) -> None:
    """LC: what a forked child has of a computation under way does not end the claim when it is thrown away there."""
    cache = await open_cache()
    work = Work()
    caller = asyncio.create_task(cache.get_or_set("k", work))
    await work.begun.wait()
    cache._machine._filler._turns.forked()
    work.over.set()
    await caller
    await settled(cache)
    assert all(await standing(cache))


async def test_a_detached_computation_keeps_nobody_waiting(open_cache: Open) -> None:
    """SF, DECISIONS Flights: after a delete the next one starts anew, here and in another cache; what was begun is not stored."""
    one, two = await open_cache(), await open_cache()
    old, new = Work("old"), Work("new")
    new.over.set()
    first = asyncio.create_task(one.get_or_set("k", old))
    await old.begun.wait()
    await one.delete("k")
    async with asyncio.timeout(20):
        assert await two.get_or_set("k", new) == "new"
        assert await one.get_or_set("k", new) == "new"
    old.over.set()
    assert await first == "old"
    await settled(one)
    assert await one.get("k") == await two.get("k") == "new"


@pytest.mark.parametrize(("listening", "lock"), [(True, True), (True, False), (False, True), (False, False)])
async def test_nothing_begun_before_a_change_elsewhere_is_stored_after_it(
    open_cache: Open, listening: bool, lock: bool
) -> None:
    """BUG-07, BUG-08, DECISIONS Flights: a set, delete, clear or invalidated tag by another cache fences a computation under way."""
    one, two = await open_cache(coherence=listening), await open_cache(coherence=listening)
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "set": lambda: two.set("set", "set after"),
        "delete": lambda: two.delete("delete"),
        "tag": lambda: two.invalidate(tags=["t"]),
        "clear": two.clear,
    }
    for key, change in changes.items():
        expected = "set after" if key == "set" else None
        work = Work("computed before")
        caller = asyncio.create_task(one.get_or_set(key, work, tags=["t:of"], lock=lock))
        await work.begun.wait()
        await change()
        work.over.set()
        assert await caller == "computed before"
        await settled(one)
        for cache in (two, await open_cache(coherence=listening)):
            assert await cache.get(key) == expected
        if listening:
            await settles(one, key, expected)


async def settles(cache: ToolCache, key: str, expected: Any) -> None:
    """The cache comes to see this."""
    async with asyncio.timeout(20):
        while await cache.get(key) != expected:  # noqa: ASYNC110 - it comes by itself
            await asyncio.sleep(0.001)


async def test_claims_are_not_entries(open_cache: Open) -> None:
    """BUG-26, BUG-11: a store lists none with the values, and counts none that has ended."""
    cache = await open_cache(metrics=False)  # which would be counted, after a second
    await cache.set("k", 1)
    counts = [await count(layer) for layer in layers(cache)]
    for number in range(50):
        with pytest.raises(ZeroDivisionError):
            await cache.get_or_set(f"k{number}", lambda: 1 / 0)
    await settled(cache)
    assert [await count(layer) for layer in layers(cache)] == counts
    work = Work()
    computing = asyncio.create_task(cache.get_or_set("other", work))
    await work.begun.wait()
    for layer in layers(cache):
        assert isinstance(layer.store, SupportsScan)
        assert "tc1:c:default:other" not in [key async for key in layer.store.scan("tc1:v:default:")]
    work.over.set()
    await computing


async def count(layer: Layer) -> int:
    """How much a store holds."""
    assert isinstance(layer.store, SupportsCount)
    return await layer.store.count()


_HOLDER = """
import asyncio, sys
from toolcache import ToolCache, turns
async def main(url, directory):
    cache = ToolCache(redis_url=url or None, files=bool(directory), directory=directory or None, lease=1, op_timeout=5)
    async def compute():
        print("begun", flush=True)
        await asyncio.sleep(600)
    await cache.get_or_set("k", compute)
asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_holder_costs_its_lease_at_most(
    open_cache: Open, layering: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """BUG-21, F: kill -9 while it computes; another goes on after its lease, on files at once."""
    cache = await open_cache(lease=600 if layering == "files" else 1)
    url = redis_server.url if "redis" in layering else ""
    directory = tmp_path / "files" if "files" in layering else ""
    with start(_HOLDER, url, directory) as holder:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "begun\n"
        work = Work()
        work.over.set()
        caller = asyncio.create_task(cache.get_or_set("k", work))
        await asyncio.sleep(0.2)  # until it waits; sooner would prove less, never more
        assert not work.begun.is_set()
        killed_at = time.monotonic()
        holder.kill()
        async with asyncio.timeout(30):
            assert await caller == "done"
        took = time.monotonic() - killed_at
        await asyncio.to_thread(holder.wait)
    assert work.runs == 1
    assert took < 10


async def test_closing_lets_go(open_cache: Open) -> None:
    """F-26, SPEC 13: a cache that is closed while it computes cancels that in the end, and leaves no claim behind."""
    one, two = await open_cache(), await open_cache()
    work = Work()
    caller = asyncio.create_task(one.get_or_set("k", work))
    await work.begun.wait()
    await one.aclose(drain=0.05)
    with pytest.raises(FlightAbortedError):
        await caller
    assert not any(await standing(two))


def test_a_loop_that_ends_leaves_no_claim_to_its_lease(tmp_path: Path, redis_server: RedisServer) -> None:
    """BUG-14, LC-02: what it computed when it was ended is computed by the next loop, which need not wait."""
    cache = ToolCache(redis_url=redis_server.url, directory=tmp_path / "files", lease=600, lock_timeout=600)

    async def leave() -> None:
        work = Work()
        task = asyncio.create_task(cache.get_or_set("k", work))
        await work.begun.wait()
        del task

    async def come() -> Any:
        async with cache, asyncio.timeout(30):
            return await cache.get_or_set("k", lambda: "mine")

    asyncio.run(leave())
    assert asyncio.run(come()) == "mine"
