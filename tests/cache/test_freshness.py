"""Values that near their end, or are past it: who gets what, on every layering."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hearing import until
from rig import Rig, far, shared

from toolcache.cache import Cache
from toolcache.compute import Context
from toolcache.domains import Domain
from toolcache.embeddings import embed
from toolcache.errors import ComputeTimeoutError
from toolcache.events import StaleServed, ValueNotStored
from toolcache.freshness import DEFAULT, UNSAID, Freshness, Policy
from toolcache.testing import FakeClock


class Source:
    """Gives 1, then 2, and so on; fails while it is told to, and takes as long as it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> list[int]:
        self.runs += 1
        mine = self.runs
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [mine]


@pytest.fixture
def source() -> Source:
    return Source()


async def settle(cache: Cache) -> None:
    """Wait for what the cache does in the background."""
    home = cache._machine.homes.here()
    await until(lambda: not home._tasks and not len(home.flights))
    await cache._machine._follower.catch_up()  # who hears of a write late takes what is computed since for overtaken


async def test_an_old_value_stands_in_where_computing_fails(rig: Rig, clock: FakeClock, source: Source) -> None:
    """BUG-65: within its grace; and for a while nobody tries again, though everybody asks."""
    cache = await rig.open()

    async def ask() -> Any:
        return await cache.get_or_set("key", source, ttl=10, grace=100, grace_retry=5)

    assert await ask() == [1]
    await settle(cache)
    clock.advance(11)
    source.fault = OSError("down")
    assert [await ask() for _ in range(5)] == [[1]] * 5
    assert source.runs == 2
    assert [event.reason for event in rig.recorder.of(StaleServed)] == ["OSError"]
    clock.advance(6)
    assert await ask() == [1]
    assert source.runs == 3
    await settle(cache)
    clock.advance(6)
    source.fault = None
    assert [await ask() for _ in range(3)] == [[4]] * 3


async def test_grace_has_an_end(cache: Cache, clock: FakeClock, source: Source) -> None:
    """After it, and without any, a caller gets the computation's own exception."""
    await cache.get_or_set("one", source, ttl=10, grace=100)
    await cache.get_or_set("two", source, ttl=10)
    source.fault = OSError("down")
    await settle(cache)
    clock.advance(11)
    with pytest.raises(OSError, match="down"):
        await cache.get_or_set("two", source, ttl=10, grace=100)
    with pytest.raises(OSError, match="down"):
        await cache.get_or_set("one", source, ttl=10)
    assert await cache.get_or_set("one", source, ttl=10, grace=100) == [1]
    await settle(cache)
    clock.advance(100)
    with pytest.raises(OSError, match="down"):
        await cache.get_or_set("one", source, ttl=10, grace=100)


async def test_only_who_computes_is_told_of_old_values(cache: Cache, clock: FakeClock, source: Source) -> None:
    """To all others a value past its time is a miss; ``get_entry`` shows it, and says what it is."""
    await cache.get_or_set("key", source, ttl=10, grace=100)
    fresh = await cache.get_entry("key")
    assert fresh is not None
    assert (fresh.stale, fresh.value) == (False, [1])
    assert await cache.ttl("key") == pytest.approx(10, abs=0.1)
    clock.advance(11)
    assert await cache.get("key") is None
    assert await cache.get_many(["key"]) == {}
    assert not await cache.exists("key")
    assert await cache.ttl("key") is None
    old = await cache.get_entry("key")
    assert old is not None
    assert (old.stale, old.value, old.ttl) == (True, [1], 0.0)
    clock.advance(100)
    assert await cache.get_entry("key") is None


@far
async def test_old_values_are_there_after_a_restart(rig: Rig, clock: FakeClock, source: Source) -> None:
    """What another process made stands in as well, as long as its grace goes."""
    first = await rig.open()
    await first.get_or_set("key", source, ttl=10, grace=100)
    await settle(first)
    clock.advance(11)
    source.fault = OSError("down")
    second = await rig.open()
    assert await second.get("key") is None
    assert await second.get_or_set("key", source, ttl=10, grace=100) == [1]


@pytest.mark.parametrize("how", ["delete", "clear", "tags", "set"])
async def test_what_was_forgotten_does_not_stand_in(cache: Cache, clock: FakeClock, source: Source, how: str) -> None:
    """Not even where that came while the computation ran that fails."""
    change: dict[str, Callable[[], Any]] = {
        "delete": lambda: cache.delete("key"),
        "clear": cache.clear,
        "tags": lambda: cache.invalidate(tags=["news"]),
        "set": lambda: cache.set("key", "new", ttl=1000),
    }
    await cache.get_or_set("key", source, ttl=10, grace=100, tags=["news"])
    await settle(cache)
    clock.advance(11)
    source.fault, source.gate = OSError("down"), asyncio.Event()
    asking = asyncio.create_task(cache.get_or_set("key", source, ttl=10, grace=100, tags=["news"]))
    await until(lambda: source.runs == 2)
    await change[how]()
    source.gate.set()
    with pytest.raises(OSError, match="down"):
        await asking
    if how == "set":
        assert await cache.get("key") == "new"
    else:
        with pytest.raises(OSError, match="down"):
            await cache.get_or_set("key", source, ttl=10, grace=100, tags=["news"])


async def test_who_waits_no_longer_takes_the_old_value(cache: Cache, clock: FakeClock, source: Source) -> None:
    """BUG-63: after ``soft_timeout``; the computation goes on, though nobody waits, and what it makes is kept."""
    await cache.get_or_set("key", source, ttl=10, grace=100)
    await settle(cache)
    clock.advance(11)
    source.gate = asyncio.Event()
    assert await cache.get_or_set("key", source, ttl=10, grace=100, soft_timeout=0.01) == [1]
    source.gate.set()
    await settle(cache)
    assert await cache.get("key") == [2]
    assert source.runs == 2


async def test_without_an_old_value_a_caller_waits_on(cache: Cache, source: Source) -> None:
    """BUG-64: ``soft_timeout`` is for those who have something to fall back on; ``hard_timeout`` ends it for all."""
    source.gate = asyncio.Event()
    asking = asyncio.create_task(cache.get_or_set("key", source, soft_timeout=0.001))
    await asyncio.sleep(0.02)
    assert not asking.done()
    source.gate.set()
    assert await asking == [1]
    source.gate = asyncio.Event()
    with pytest.raises(ComputeTimeoutError, match=r"0\.01 s"):
        await cache.get_or_set("other", source, hard_timeout=0.01, soft_timeout=0.001)
    assert await cache.get("other") is None


async def test_a_computation_that_was_given_up_has_failed(rig: Rig, clock: FakeClock, source: Source) -> None:
    """After ``hard_timeout`` the old value stands in, if there is one; its own TimeoutError is its own."""
    cache = await rig.open()
    await cache.get_or_set("key", source, ttl=10, grace=100)
    await settle(cache)
    clock.advance(11)
    source.gate = asyncio.Event()
    assert await cache.get_or_set("key", source, ttl=10, grace=100, hard_timeout=0.01) == [1]
    assert [event.reason for event in rig.recorder.of(StaleServed)] == ["ComputeTimeoutError"]
    source.gate, source.fault = None, TimeoutError("mine")
    with pytest.raises(TimeoutError, match="mine") as caught:
        await cache.get_or_set("other", source, hard_timeout=10)
    assert not isinstance(caught.value, ComputeTimeoutError)


async def test_ripe_values_are_computed_anew_in_the_background(cache: Cache, clock: FakeClock, source: Source) -> None:
    """BUG-63: once for all who ask, who have the old value at once; and until then memory answers as before."""

    async def ask() -> Any:
        return await cache.get_or_set("key", source, ttl=100, refresh_ahead=0.5)

    await ask()
    await settle(cache)
    clock.advance(49)
    assert await ask() == [1]
    await settle(cache)
    assert source.runs == 1
    clock.advance(30)  # three quarters, and a little: ripe whatever chance says
    source.gate = asyncio.Event()
    assert [await ask() for _ in range(5)] == [[1]] * 5
    assert await cache.get("key") == [1]
    source.gate.set()
    await settle(cache)
    assert source.runs == 2
    assert await ask() == [2]


async def test_a_refresh_that_fails_takes_nothing_away(cache: Cache, clock: FakeClock, source: Source) -> None:
    """The value stays until its time is over."""
    await cache.get_or_set("key", source, ttl=100, refresh_ahead=0.5)
    await settle(cache)
    clock.advance(80)
    source.fault = OSError("down")
    assert await cache.get_or_set("key", source, ttl=100, refresh_ahead=0.5) == [1]
    await settle(cache)
    assert await cache.get("key") == [1]
    clock.advance(21)
    with pytest.raises(OSError, match="down"):
        await cache.get_or_set("key", source, ttl=100, refresh_ahead=0.5)


async def test_a_computed_none_may_have_a_time_of_its_own(cache: Cache, clock: FakeClock) -> None:
    """That nothing was found is soon no longer so."""
    await cache.get_or_set("key", lambda: None, ttl=100, negative_ttl=2)
    await cache.get_or_set("other", lambda: 0, ttl=100, negative_ttl=2)
    await settle(cache)
    clock.advance(3)
    assert await cache.get("key", "gone") == "gone"
    assert await cache.get("other", "gone") == 0


async def test_what_was_computed_at_once_need_not_end_at_once(cache: Cache) -> None:
    """``jitter`` shortens, and by no more than its share."""
    spans = []
    for number in range(30):
        await cache.get_or_set(f"key{number}", lambda: 1, ttl=100, jitter=0.5)
        spans.append(await cache.ttl(f"key{number}"))
    assert all(span is not None and 49 < span <= 100 for span in spans)
    assert len({round(span or 0) for span in spans}) > 5


async def test_a_computation_may_say_that_nothing_has_changed(cache: Cache, clock: FakeClock, source: Source) -> None:
    """It sees the old value, as a copy of its own, and may have it kept as if it were new."""
    seen = []

    async def look(context: Context) -> Any:
        seen.append(context.stale_value)
        if seen[-1] is not None:
            seen[-1].append("spoilt")
            return context.not_modified()
        with pytest.raises(LookupError, match="no older value"):
            context.not_modified()
        return await source()

    assert await cache.get_or_set("key", look, ttl=10, grace=100) == [1]
    await settle(cache)
    clock.advance(11)
    assert await cache.get_or_set("key", look, ttl=10, grace=100) == [1]
    assert await cache.ttl("key") == pytest.approx(10, abs=0.1)
    assert seen == [None, [1, "spoilt"]]


async def test_a_value_may_be_said_to_be_past_its_time(rig: Rig, clock: FakeClock, source: Source) -> None:
    """``expire``: a miss to all processes, which may stand in until the end it had."""
    cache = await rig.open()
    assert not await cache.expire("key")
    await cache.get_or_set("key", source, ttl=10, tags=["news"])
    await settle(cache)
    assert await cache.expire("key")
    assert await cache.get("key") is None
    assert not await cache.expire("key")
    old = await cache.get_entry("key")
    assert old is not None
    assert (old.stale, old.tags) == (True, ("news",))
    source.fault = OSError("down")
    asked = await rig.open() if rig.far else cache
    assert await asked.get_or_set("key", source, ttl=10, grace=100) == [1]
    await cache.invalidate(tags=["news"])
    assert await cache.get_entry("key") is None
    await cache.set("other", 1, ttl=10)
    await cache.expire("other")
    clock.advance(11)
    assert await cache.get_entry("other") is None


AGES = {"absent": None, "fresh": 1, "ripe": 9, "stale": 11, "gone": 200}
OLD, NEW = [0], [1]


def outcome(age: str, source: str, *, grace: bool, soft: bool, hard: bool) -> Any:
    """What a caller gets: a value, the error, or None where it would wait for ever."""
    if age in {"fresh", "ripe"}:
        return OLD
    stands_in = age == "stale" and grace
    if source == "hangs":
        if stands_in and (soft or hard):
            return OLD
        return ComputeTimeoutError if hard else None
    if source == "fails":
        return OLD if stands_in else OSError
    return NEW


@shared
async def test_an_old_value_that_is_found_late_stands_in_then(rig: Rig, source: Source) -> None:
    """FAULTS: a layer that takes longer to answer than callers would wait does not have them wait for the computation."""
    cache = await rig.open()
    await cache.get_or_set("key", lambda: OLD, ttl=10, grace=100)
    await settle(cache)
    cache._parts.memory.clear()
    rig.clock.advance(20)
    chaos: Any = cache._parts.redis and cache._parts.redis.store
    chaos.delay(0.1)
    source.gate = asyncio.Event()
    asked = cache.get_or_set("key", source, ttl=10, grace=100, soft_timeout=0.005)
    assert await asyncio.wait_for(asked, 30) == OLD
    source.gate.set()
    await settle(cache)


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("kind", ["works", "fails", "hangs"])
async def test_every_age_meets_every_source_with_every_option(
    cache: Cache, clock: FakeClock, source: Source, age: str, kind: str
) -> None:
    """FAULTS: whatever the age of a value, and whatever its source does, a caller gets what the rules say, and soon."""
    for number, (grace, soft, hard) in enumerate(itertools.product((False, True), repeat=3)):
        expected = outcome(age, kind, grace=grace, soft=soft, hard=hard)
        if expected is None:
            continue
        key, source.runs = f"key{number}", 0
        options: Any = {"refresh_ahead": 0.5, "grace": 100 if grace else None}
        soon, sooner = (0.01, 0.005) if kind == "hangs" else (60, 30)  # what works does so however busy the machine is
        options |= {"soft_timeout": sooner} if soft else {}
        options |= {"hard_timeout": soon} if hard else {}
        if (passed := AGES[age]) is not None:
            await cache.get_or_set(key, lambda: OLD, ttl=10, grace=100, refresh_ahead=0.5)
            await settle(cache)
            clock.advance(passed)
        source.fault = OSError("down") if kind == "fails" else None
        source.gate = asyncio.Event() if kind == "hangs" else None
        if isinstance(expected, list):
            assert await cache.get_or_set(key, source, ttl=10, **options) == expected, (grace, soft, hard)
        else:
            with pytest.raises(expected):
                await cache.get_or_set(key, source, ttl=10, **options)
        if source.gate is not None:
            source.gate.set()
        await settle(cache)
        assert source.runs == (age != "fresh"), (grace, soft, hard)
        if kind == "works" and age != "fresh":
            assert await cache.get(key) == NEW


def test_who_says_something_is_heard_in_order() -> None:
    """The call, then the domain, then the cache, each where those before say nothing."""
    call, domain, cache = (
        Freshness(grace=1.0),
        Freshness(grace=2.0, jitter=0.2),
        Freshness(jitter=0.3, soft_timeout=3.0),
    )
    assert Policy.of(call, domain, cache) == Policy(grace=1.0, jitter=0.2, soft_timeout=3.0)
    assert Policy.of(Freshness(grace=None), domain, UNSAID).grace is None
    assert Policy.of(UNSAID, UNSAID, UNSAID) == DEFAULT
    assert Domain("weather", ttl=None, freshness=domain).freshness is domain


@pytest.mark.parametrize("way", ["stale", "ripe", "expired", "refreshed"])
async def test_a_source_is_asked_whether_it_has_changed(rig: Rig, clock: FakeClock, way: str) -> None:
    """FusionCache's conditional refresh: the source's name for the state is kept with the value, in every layer."""
    one, two = await rig.open(), await rig.open()
    asked: list[tuple[str | None, Any]] = []
    state = "v1"

    async def compute(context: Context) -> Any:
        asked.append((context.etag, context.stale_value))
        if context.etag == state:
            return context.not_modified()
        context.etag = state
        return [state]

    async def ask(cache: Cache) -> Any:
        with cache.refreshing() if way == "refreshed" else contextlib.nullcontext():
            value = await cache.get_or_set("key", compute, ttl=10, grace=100, refresh_ahead=0.5)
        await settle(cache)
        return value

    assert await ask(one) == ["v1"]
    other = two if rig.far else one
    for after in ("v1", "v2"):
        state = after
        if way == "stale":
            clock.advance(11)
        elif way == "ripe":
            clock.advance(9.9)
        elif way == "expired":
            await other.expire("key")
        value = await ask(other)
        if way == "ripe":
            value = await other.get("key")
        assert value == [after]
    assert asked == [(None, None), ("v1", ["v1"]), ("v1", ["v1"])]
    assert await other.ttl("key") == 10


async def test_a_large_value_may_be_right_still(rig: Rig, clock: FakeClock) -> None:
    """Its copies take their time; a computation gets them all the same, each its own."""
    cache = await rig.open()
    large = [f"{number:>100}" for number in range(1_000)]
    copies: list[Any] = []

    def compute(context: Context) -> Any:
        if context.etag is None:
            context.etag = "v1"
            return large
        copies.extend([context.stale_value, context.stale_value])
        return context.not_modified()

    for _ in range(2):
        assert await cache.get_or_set("key", compute, ttl=10, grace=100) == large
        await settle(cache)
        assert await cache.ttl("key") == pytest.approx(10, abs=0.1)
        clock.advance(11)
    assert copies == [large, large]
    assert copies[0] is not copies[1]


async def test_an_etag_that_cannot_be_is_an_event(rig: Rig) -> None:
    """The value goes to the caller, and is not kept."""
    cache = await rig.open()

    def compute(context: Context) -> str:
        context.etag = "x" * 257
        return "value"

    assert await cache.get_or_set("key", compute) == "value"
    assert await cache.get("key") is None
    assert [event.reason for event in rig.recorder.of(ValueNotStored)] == ["ValueError"]


async def test_old_values_stand_in_for_a_batch(rig: Rig, clock: FakeClock) -> None:
    """BUG-65: where each of them has one; where one lacks, nobody gets half a batch; and for a while nobody tries again."""
    cache = await rig.open()
    domain = Domain("vectors", ttl=10, vector=True, freshness=Freshness(grace=100.0, grace_retry=5.0))
    runs = 0
    down = False

    async def compute(texts: list[Any]) -> list[list[float]]:
        nonlocal runs
        runs += 1
        if down:
            raise OSError("down")
        return [[float(runs)] for _ in texts]

    async def ask(*texts: str) -> Any:
        found = await embed(cache._machine, domain, {f"k:{text}": text for text in texts}, compute, None)
        await settle(cache)
        return list(found.values())

    assert await ask("a", "b") == [[1.0], [1.0]]
    down = True
    clock.advance(11)
    with pytest.raises(OSError, match="down"):
        await ask("a", "b", "c")
    assert await ask("a", "b") == [[1.0], [1.0]]
    assert runs == 3
    assert await ask("b", "a") == [[1.0], [1.0]]
    assert runs == 3
    assert {event.reason for event in rig.recorder.of(StaleServed)} == {"OSError"}
    down = False
    clock.advance(6)
    assert await ask("a", "b", "c") == [[4.0], [4.0], [4.0]]
    with cache.refreshing():
        down = True
        with pytest.raises(OSError, match="down"):
            await ask("a", "b")


@pytest.mark.parametrize("mode", ["plain", "bypass"])
async def test_a_batch_that_takes_too_long_has_failed(rig: Rig, mode: str) -> None:
    """``hard_timeout`` is meant for batches, too."""
    cache = await rig.open()
    domain = Domain("vectors", ttl=10, vector=True, freshness=Freshness(hard_timeout=0.01))

    async def compute(_: list[Any]) -> list[list[float]]:
        await asyncio.Event().wait()
        return []

    async with asyncio.timeout(5):
        with cache.bypass() if mode == "bypass" else contextlib.nullcontext(), pytest.raises(ComputeTimeoutError):
            await embed(cache._machine, domain, {"k:a": "a"}, compute, None)
