"""One computation per key: single flight, cancellation, fences."""

import asyncio
import contextvars
import gc
import logging
import threading
import time
import traceback
from typing import Any

import pytest
from rig import Rig, far, shared

from toolcache.cache import Cache
from toolcache.codec.coder import Coder
from toolcache.compute import Context
from toolcache.encoded import Encoded
from toolcache.entry import MISSING
from toolcache.errors import FlightAbortedError, ReentrantFlightError


class Gate:
    """A computation that waits until it is let through."""

    def __init__(self, value: Any = "value") -> None:
        self.value = value
        self.runs = 0
        self.cancelled = 0
        self.started = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> Any:
        self.runs += 1
        self.started.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


async def settle(cache: Cache) -> None:
    """Let the writes that nobody waits for end."""
    await asyncio.gather(*cache._machine.homes.here()._tasks)


class Thing:
    """Something that others know how to store."""

    def __init__(self, number: int) -> None:
        self.number = number


class ThingCodec:
    """Counts what it reads."""

    name = "thing"

    def __init__(self) -> None:
        self.read = 0

    def accepts(self, value: object, /) -> bool:
        return isinstance(value, Thing)

    def encode(self, value: object, /) -> Encoded:
        assert isinstance(value, Thing)
        return Encoded(bytes([value.number]), self.name)

    def decode(self, body: bytes, dtype: str, /) -> Thing:
        assert not dtype
        self.read += 1
        return Thing(body[0])


@pytest.mark.parametrize("layering", ["memory+file", "memory+redis"])
async def test_what_a_flight_has_read_is_not_read_again_for_who_began_it(rig: Rig) -> None:
    """BUG-79: of those who wait for one look into the layers each has a value of its own, made once for each."""
    codec = ThingCodec()
    writer, reader = [await rig.open(coder=Coder(codecs=[codec])) for _ in range(2)]
    await writer.set("key", Thing(7))
    gate = Gate()
    got = await asyncio.gather(*[reader.get_or_set("key", gate) for _ in range(3)])
    assert [thing.number for thing in got] == [7, 7, 7]
    assert len(set(map(id, got))) == 3
    assert gate.runs == 0
    assert codec.read == 3


async def test_a_thousand_callers_compute_once(cache: Cache) -> None:
    """SF-01: 1,000 concurrent callers of one key run the computation once and all get the value."""
    gate = Gate({"a": 1})
    callers = [asyncio.create_task(cache.get_or_set("key", gate)) for _ in range(1000)]
    await gate.started.wait()
    gate.open.set()
    assert await asyncio.gather(*callers) == [{"a": 1}] * 1000
    assert gate.runs == 1
    await settle(cache)
    assert await cache.get("key") == {"a": 1}


async def test_cancelling_one_caller_leaves_the_others(cache: Cache) -> None:
    """BUG-01, BUG-02: the first caller or a later one is cancelled; the others get the value of the one run."""
    for victim in (0, 1):
        gate = Gate(victim)
        callers = [asyncio.create_task(cache.get_or_set(f"key{victim}", gate)) for _ in range(3)]
        await gate.started.wait()
        callers[victim].cancel()
        await asyncio.wait([callers[victim]])
        assert callers[victim].cancelled()
        gate.open.set()
        rest = [caller for caller in callers if caller is not callers[victim]]
        assert await asyncio.gather(*rest) == [victim, victim]
        assert gate.runs == 1


async def test_when_the_last_caller_has_left_the_computation_is_cancelled(cache: Cache) -> None:
    """SF-05, BUG-03: it is unwound, nothing is stored, the key is free at once, no task is left."""
    gate = Gate()
    callers = [asyncio.create_task(cache.get_or_set("key", gate)) for _ in range(3)]
    await gate.started.wait()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert await cache.get_or_set("key", lambda: "second") == "second"
    assert gate.cancelled == 1
    assert not cache._machine.homes.here().flights.tasks()


async def test_a_failure_reaches_all_who_waited_and_is_not_kept(cache: Cache) -> None:
    """BUG-04, LR-21: the same exception, unchanged; the next call starts exactly one new run."""
    error = LookupError("no such tool", 7)
    gate = Gate(error)
    callers = [asyncio.create_task(cache.get_or_set("key", gate)) for _ in range(50)]
    await gate.started.wait()
    gate.open.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [error] * 50
    assert gate.runs == 1
    again = Gate("fine")
    again.open.set()
    assert await asyncio.gather(*(cache.get_or_set("key", again) for _ in range(50))) == ["fine"] * 50
    assert again.runs == 1


async def test_a_traceback_does_not_grow_with_the_waiters(cache: Cache) -> None:
    """SF-12: after 100 waiters have failed, the exception's traceback is about that of one."""

    async def depth(waiters: int) -> int:
        gate = Gate(LookupError())
        callers = [asyncio.create_task(cache.get_or_set("key", gate)) for _ in range(waiters)]
        await gate.started.wait()
        gate.open.set()
        (error, *_) = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(error, LookupError)
        return len(traceback.extract_tb(error.__traceback__))

    assert await depth(100) < 3 * await depth(1)


async def test_a_computation_that_cancels_itself(cache: Cache) -> None:
    """SF-07: its callers get FlightAbortedError, not a CancelledError that looks like their own."""

    async def compute() -> None:
        raise asyncio.CancelledError

    with pytest.raises(FlightAbortedError):
        await cache.get_or_set("key", compute)


@pytest.mark.timeout(10)
async def test_a_computation_that_asks_for_its_own_key(cache: Cache) -> None:
    """SF-08, BUG-05: refused at once, directly and through another key."""

    async def direct() -> Any:
        return await cache.get_or_set("key", lambda: 1)

    with pytest.raises(ReentrantFlightError):
        await cache.get_or_set("key", direct)

    async def outer() -> Any:
        async def inner() -> Any:
            return await cache.get_or_set("outer", lambda: 1)

        return await cache.get_or_set("inner", inner)

    with pytest.raises(ReentrantFlightError):
        await cache.get_or_set("outer", outer)


@pytest.mark.timeout(10)
async def test_two_computations_that_need_each_other(cache: Cache) -> None:
    """BUG-06: A needs B while B needs A, begun by different callers: reported as a cycle, no deadlock."""
    both = asyncio.Barrier(2)

    async def first() -> Any:
        await both.wait()
        return await cache.get_or_set("b", second)

    async def second() -> Any:
        await both.wait()
        return await cache.get_or_set("a", first)

    outcomes = await asyncio.gather(cache.get_or_set("a", first), cache.get_or_set("b", second), return_exceptions=True)
    assert any(isinstance(outcome, ReentrantFlightError) for outcome in outcomes)


async def test_a_set_or_delete_during_the_computation_wins(rig: Rig, cache: Cache) -> None:
    """BUG-07, BUG-09, LR-19: the waiters get the computed value; it is stored nowhere; later callers start anew."""
    for write in ("set", "delete", "clear"):
        gate = Gate("computed")
        caller = asyncio.create_task(cache.get_or_set("key", gate))
        await gate.started.wait()
        if write == "set":
            await cache.set("key", "set")
        elif write == "delete":
            await cache.delete("key")
        else:
            await cache.clear()
        later = asyncio.create_task(cache.get_or_set("key", lambda: "later"))
        expected = "set" if write == "set" else "later"
        assert await later == expected
        gate.open.set()
        assert await caller == "computed"
        await settle(cache)
        readers = [cache, await rig.open()] if rig.far else [cache]
        for reader in readers:
            assert await reader.get("key") == expected, write
        await cache.delete("key")


@far
async def test_a_write_by_another_process_during_the_computation_wins(rig: Rig, cache: Cache) -> None:
    """BUG-09: what another process set or deleted meanwhile is newer than what was computed."""
    other = await rig.open()
    for action in ("set", "delete"):
        gate = Gate("computed")
        caller = asyncio.create_task(cache.get_or_set(action, gate))
        await gate.started.wait()
        rig.clock.advance(0.01)
        if action == "set":
            await other.set(action, "other")
        else:
            await other.delete(action)
        gate.open.set()
        assert await caller == "computed"
        await settle(cache)
        assert await (await rig.open()).get(action) == ("other" if action == "set" else None)
        assert await cache.get(action) == ("other" if action == "set" else None)


async def test_an_old_flight_never_removes_its_successor(cache: Cache) -> None:
    """BUG-10: a detached flight that ends leaves the next one's place alone."""
    first, second = Gate(1), Gate(2)
    old = asyncio.create_task(cache.get_or_set("key", first))
    await first.started.wait()
    await cache.delete("key")
    new = asyncio.create_task(cache.get_or_set("key", second))
    await second.started.wait()
    first.open.set()
    assert await old == 1
    joiner = asyncio.create_task(cache.get_or_set("key", Gate(3)))
    await asyncio.sleep(0)
    second.open.set()
    assert [await new, await joiner] == [2, 2]


async def test_book_keeping_is_freed(cache: Cache) -> None:
    """BUG-11, LC-12: after 1,000 distinct keys nothing of the flights is left."""
    await asyncio.gather(*(cache.get_or_set(f"key{i}", lambda: 1) for i in range(1000)))
    await settle(cache)
    gc.collect()
    home = cache._machine.homes.here()
    assert len(home.flights) == 0
    assert home.flights._by_key == {}
    assert cache._machine._reader._fills == {}


async def test_no_failure_is_reported_as_never_retrieved(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """SF-11, BUG-12: a computation that fails when nobody waits any more logs nothing."""
    gate = Gate(LookupError())
    caller = asyncio.create_task(cache.get_or_set("key", gate))
    await gate.started.wait()
    gate.open.set()
    caller.cancel()
    await asyncio.wait([caller])
    await asyncio.sleep(0)
    gc.collect()
    with caplog.at_level(logging.ERROR):
        assert not [record for record in caplog.records if "never retrieved" in record.message]


@far
async def test_background_writes_are_finished_by_aclose(rig: Rig) -> None:
    """BUG-13: what was computed is stored although nobody waited for the write."""
    async with Cache(rig.parts()) as cache:
        await cache.get_or_set("key", lambda: "value")
    assert await (await rig.open()).get("key") == "value"


def test_one_cache_in_one_loop_after_another(rig_parts: Any) -> None:
    """BUG-14: a cache made once works in one event loop after another."""
    cache = Cache(rig_parts)

    async def use(n: int) -> Any:
        return await cache.get_or_set(f"key{n}", lambda: n), await cache.get("key0")

    assert [asyncio.run(use(n)) for n in range(3)] == [(0, 0), (1, 0), (2, 0)]
    asyncio.run(cache.aclose())


def test_two_loops_in_two_threads(rig_parts: Any) -> None:
    """SF-13, LC-02: two threads with a loop each use one cache at once."""
    cache = Cache(rig_parts)
    failures: list[BaseException] = []

    async def use(name: str) -> None:
        for n in range(300):
            await cache.set(f"{name}{n}", [name, n])
            assert await cache.get(f"{name}{n}") == [name, n]
            assert await cache.get_or_set(f"both{n}", lambda n=n: n) == n

    def run(name: str) -> None:
        try:
            asyncio.run(use(name))
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    asyncio.run(cache.aclose())


async def test_the_computation_sees_a_copy_of_the_first_callers_context(cache: Cache) -> None:
    """BUG-17: it reads the caller's context variables and cannot change them."""
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
    tenant.set("a")

    async def compute() -> str:
        seen = tenant.get()
        tenant.set("changed")
        return seen

    assert await cache.get_or_set("key", compute) == "a"
    assert tenant.get() == "a"


async def test_many_keys_many_callers(cache: Cache) -> None:
    """SF-09: 100 keys x 50 callers run 100 computations, and no value crosses keys."""
    runs = 0

    async def compute(key: int) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return key

    from functools import partial

    got = await asyncio.gather(*(cache.get_or_set(f"k{k}", partial(compute, k)) for k in range(100) for _ in range(50)))
    assert got == [k for k in range(100) for _ in range(50)]
    assert runs == 100


async def test_waiters_get_copies_of_their_own(cache: Cache) -> None:
    """SF-10: two waiters of one flight; one spoils its result, the other's is whole."""
    gate = Gate({"list": [1]})
    callers = [asyncio.create_task(cache.get_or_set("key", gate)) for _ in range(2)]
    await gate.started.wait()
    gate.open.set()
    first, second = await asyncio.gather(*callers)
    first["list"].append(2)
    assert second == {"list": [1]}
    assert gate.value == {"list": [1]}


@shared
async def test_after_a_restart_ten_hot_keys_are_read_once(rig: Rig) -> None:
    """SF-14: an empty memory, 1,000 callers on 10 keys that Redis holds: ten keys are asked for, once."""
    writer = await rig.open()
    await writer.set_many({f"key{i}": i for i in range(10)})
    reader = await rig.open()
    asked: list[str] = []
    assert reader._parts.redis is not None
    store = reader._parts.redis.store
    plain = store.get_many

    async def counting(keys: Any) -> Any:
        asked.extend(key for key in keys if ":v:" in key)
        return await plain(keys)

    store.get_many = counting  # type: ignore[method-assign]  # counts what leaves
    got = await asyncio.gather(*(reader.get(f"key{i % 10}") for i in range(1000)))
    assert got == [i % 10 for i in range(1000)]
    assert len(asked) == 10


async def test_a_computation_may_set_its_own_ttl_and_tags_or_refuse_to_be_stored(cache: Cache) -> None:
    """A compute that takes an argument gets a Context: ttl, tags and skip are honoured."""

    def compute(context: Context) -> int:
        context.ttl = 5
        context.tags = ("a", "b:c")
        return 1

    def skipping(context: Context) -> int:
        context.skip()
        return 2

    assert await cache.get_or_set("key", compute, ttl="1h", tags=["x"]) == 1
    await settle(cache)
    entry = await cache.get_entry("key")
    assert entry is not None
    assert entry.ttl == pytest.approx(5, abs=0.1)
    assert entry.tags == ("a", "b:c")
    assert await cache.get_or_set("skipped", skipping) == 2
    assert await cache.get("skipped", MISSING) is MISSING


async def test_closing_cancels_what_outlasts_the_drain(rig: Rig) -> None:
    """LC-04: a computation longer than the drain is cancelled; its caller is told, and no task is left."""
    cache = Cache(rig.parts())
    gate = Gate()
    caller = asyncio.create_task(cache.get_or_set("key", gate))
    await gate.started.wait()
    begun = time.monotonic()
    await cache.aclose(drain=0.05)
    assert time.monotonic() - begun < 5
    assert isinstance((await asyncio.gather(caller, return_exceptions=True))[0], FlightAbortedError)
    assert gate.cancelled == 1


async def test_cancelling_a_set_leaves_it_whole(rig: Rig, cache: Cache) -> None:
    """BUG-03, SPEC 12: a cancelled set has run fully, in every layer."""
    await cache.get("warm")  # the first write of all waits for the server's time, and is not there if that is given up
    task = asyncio.create_task(cache.set("key", "value"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await settle(cache)
    assert await cache.get("key") == "value"
    if rig.far:
        assert await (await rig.open()).get("key") == "value"
