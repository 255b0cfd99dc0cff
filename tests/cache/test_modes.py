"""Bypass and refresh: of a context, of a call, on every layering."""

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Callable
from typing import Any

import pytest
from hearing import until
from rig import Rig

from toolcache.cache import Cache
from toolcache.domains import EMBEDDING
from toolcache.embeddings import embed
from toolcache.entry import MISSING


class Count:
    """Gives [1], then [2], and so on; waits at the gate while there is one, and fails while it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.gate: asyncio.Event | None = None
        self.fault: Exception | None = None

    async def __call__(self) -> list[int]:
        self.runs += 1
        mine = self.runs
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [mine]


@pytest.fixture
def count() -> Count:
    return Count()


async def answers_again(cache: Cache) -> bool:
    """Whether memory answers without a thought once more, when the loop has let go of tasks that are done."""
    await asyncio.sleep(0)
    gc.collect()
    return not cache._parts.memory.onlookers


async def settle(cache: Cache) -> None:
    home = cache._machine.homes.here()
    await until(lambda: not home._tasks and not len(home.flights))


async def test_in_a_bypass_all_is_computed_and_nothing_stored(cache: Cache, count: Count) -> None:
    """C4: reads miss, computations are not kept, sets do nothing; outside all is as it was."""
    await cache.set("kept", "old")
    assert await cache.get("kept") == "old"
    with cache.bypass():
        assert await cache.get("kept", MISSING) is MISSING
        assert await cache.get_many(["kept"]) == {}
        assert await cache.get_or_set("kept", count) == [1]
        assert await cache.get_or_set("kept", count) == [2]
        await cache.set("kept", "new")
        await cache.set_many({"kept": "new", "other": "new"})
        assert not await cache.add("third", "new")
    assert await cache.get_many(["kept", "other", "third"]) == {"kept": "old"}
    assert count.runs == 2
    assert await answers_again(cache)


async def test_a_bypass_does_not_hide_what_is_there(cache: Cache) -> None:
    """C4: who looks at entries, or removes them, means those that are there."""
    await cache.set("a", 1, ttl=60)
    with cache.bypass():
        assert await cache.exists("a")
        entry = await cache.get_entry("a")
        assert entry is not None
        assert entry.value == 1
        assert await cache.ttl("a") == 60
        assert await cache.delete("a")
    assert not await cache.exists("a")


async def test_in_a_refresh_all_is_computed_anew_and_stored(rig: Rig, count: Count) -> None:
    """C4: whatever memory or a layer has; what is computed is there for all."""
    cache, other = await rig.open(), await rig.open()
    await cache.set("kept", "old")
    with cache.refreshing():
        assert await cache.get("kept") is None
        assert await cache.get_or_set("kept", count) == [1]
        assert await cache.get_or_set("kept", count) == [2]
    await settle(cache)
    assert await cache.get("kept") == [2]
    if rig.far:
        await other._machine._follower.catch_up()
        assert await other.get("kept") == [2]
    assert await answers_again(cache)


async def test_a_refresh_that_fails_leaves_what_is_there(cache: Cache, count: Count) -> None:
    """C4: the caller gets the error, although an old value could stand in for others."""
    await cache.get_or_set("kept", count, ttl=60, grace=60)
    await settle(cache)
    count.fault = OSError("down")
    with cache.refreshing(), pytest.raises(OSError, match="down"):
        await cache.get_or_set("kept", count, ttl=60, grace=60)
    assert await cache.get("kept") == [1]


async def test_a_refresh_joins_no_computation_that_was_begun_before_it(cache: Cache, count: Count) -> None:
    """C4: and that one stores nothing any more; two refreshes at once are one computation, which others may join."""
    count.gate = asyncio.Event()
    before = asyncio.ensure_future(cache.get_or_set("key", count))
    await until(lambda: count.runs == 1)

    async def refresh() -> Any:
        with cache.refreshing():
            return await cache.get_or_set("key", count)

    anew = [asyncio.ensure_future(refresh()) for _ in range(2)]
    await until(lambda: count.runs == 2)
    after = asyncio.ensure_future(cache.get_or_set("key", count))
    await asyncio.sleep(0)
    count.gate.set()
    assert await asyncio.gather(before, *anew, after) == [[1], [2], [2], [2]]
    await settle(cache)
    assert await cache.get("key") == [2]
    assert count.runs == 2


async def test_a_bypass_joins_no_computation(cache: Cache, count: Count) -> None:
    """DECISIONS: each computes for itself, and whoever computes outside is not disturbed."""
    count.gate = asyncio.Event()
    outside = asyncio.ensure_future(cache.get_or_set("key", count))
    await until(lambda: count.runs == 1)
    with cache.bypass():
        inside = asyncio.ensure_future(cache.get_or_set("key", count))
    await until(lambda: count.runs == 2)
    count.gate.set()
    assert [await outside, await inside] == [[1], [2]]
    assert await cache.get("key") == [1]


async def test_others_are_answered_meanwhile(cache: Cache, count: Count) -> None:
    """C4: a mode is one context's: a task begun outside hits."""
    await cache.set("key", "kept")
    go = asyncio.Event()

    async def outside() -> Any:
        await go.wait()
        return await cache.get("key")

    other = asyncio.ensure_future(outside())
    with cache.bypass():
        assert await cache.get("key") is None
        go.set()
        assert await other == "kept"
    assert cache.stats().hits == 1


async def test_a_mode_goes_with_the_tasks_begun_in_it(cache: Cache, count: Count) -> None:
    """C4: through tasks, also such as outlive the block; and it is over when they are."""
    await cache.set("key", "kept")
    go = asyncio.Event()

    async def later() -> Any:
        await go.wait()
        return await cache.get("key")

    with cache.bypass():
        task = asyncio.ensure_future(later())
    assert await cache.get("key") == "kept"
    go.set()
    assert await task is None
    del task
    assert await answers_again(cache)


async def test_what_the_cache_does_for_itself_is_in_no_mode(rig: Rig) -> None:
    """C4: a cache first used in a bypass has attendants and timers that know nothing of it."""
    cache = await rig.open()
    with cache.bypass():
        await cache.get("key")
        await cache.delete("key")
    await asyncio.sleep(0)
    assert await answers_again(cache)


async def test_of_blocks_in_one_another_the_innermost_counts(cache: Cache, count: Count) -> None:
    """C4: and each ends where it ends, by an exception too."""
    with cache.bypass():
        with contextlib.suppress(LookupError), cache.refreshing():
            assert await cache.get_or_set("key", count) == [1]
            raise LookupError
        assert await cache.get_or_set("key", count) == [2]
    assert await cache.get("key") == [1]


async def test_a_mode_is_of_one_cache(rig: Rig, count: Count) -> None:
    """C4: another one knows nothing of it."""
    cache, other = await rig.open(), await rig.open(namespace="other")
    await other.set("key", "kept")
    with cache.bypass():
        assert await other.get("key") == "kept"
        with other.refreshing():
            assert await cache.get_or_set("key", count) == [1]
            assert await other.get_or_set("key", count) == [2]
    assert await cache.get("key") is None


@pytest.mark.parametrize(("option", "kept"), [("bypass", "old"), ("refresh", [1])])
async def test_a_single_call(cache: Cache, count: Count, option: str, kept: Any) -> None:
    """C4: per call; what the computation itself asks for is answered as ever."""
    await cache.set("key", "old")
    await cache.set("inner", "hit")

    async def compute() -> Any:
        assert await cache.get("inner") == "hit"
        return await count()

    modes: dict[str, Any] = {option: True}
    assert await cache.get_or_set("key", compute, **modes) == [1]
    await settle(cache)
    assert await cache.get("key") == kept


@pytest.mark.parametrize("mode", ["bypass", "refreshing"])
async def test_a_batch(cache: Cache, mode: str) -> None:
    """C4: every text is computed, in one call; a refresh keeps what came of it."""
    asked: list[list[str]] = []

    async def vectors(texts: list[str]) -> list[list[float]]:
        asked.append(texts)
        return [[float(len(asked))] for _ in texts]

    texts = {"k:a": "a", "k:b": "b"}
    await embed(cache._machine, EMBEDDING, texts, vectors, None)
    await settle(cache)
    with getattr(cache, mode)():
        assert await embed(cache._machine, EMBEDDING, texts, vectors, None) == {"k:a": [2.0], "k:b": [2.0]}
        assert await embed(cache._machine, EMBEDDING, texts, vectors, 1) == {"k:a": [3.0], "k:b": [4.0]}
    await settle(cache)
    kept = {"k:a": [3.0], "k:b": [4.0]} if mode == "refreshing" else {"k:a": [1.0], "k:b": [1.0]}
    assert await embed(cache._machine, EMBEDDING, texts, vectors, None) == kept
    assert asked == [["a", "b"], ["a", "b"], ["a"], ["b"]]


async def test_requests_that_run_once_do_so_in_any_mode(cache: Cache, count: Count) -> None:
    """C7: idempotency is a promise, not a saving."""
    with cache.bypass():
        assert await cache.once("pay", count) == [1]
        assert await cache.once("pay", count) == [1]
    with cache.refreshing():
        assert await cache.once("pay", count) == [1]


async def test_hits_ask_no_context(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """ARCHITECTURE: while nobody has a mode, nobody is asked for one."""
    await cache.set("key", 1)
    calls: list[Callable[..., Any]] = []
    monkeypatch.setattr("toolcache.modes._stay", type("Var", (), {"get": lambda *_: calls.append(print)}))
    assert await cache.get("key") == 1
    assert await cache.get_or_set("key", lambda: 2) == 1
    assert calls == []


def test_an_era_that_turns_meanwhile_is_not_lost(rig_parts: Any) -> None:
    """While somebody looks on, memory settles nothing, whatever era it is; afterwards the newest."""
    memory = rig_parts.memory
    memory.look_on(1)
    memory.turn()
    assert memory.settled_era == -1
    memory.look_on(2)
    memory.look_away(1)
    assert memory.settled_era == -1
    memory.look_away(2)
    assert memory.settled_era == memory.era == 1


async def test_a_context_that_is_kept_keeps_the_mode(cache: Cache) -> None:
    """C4: copied contexts are tasks' as well."""
    await cache.set("key", 1)
    with cache.bypass():
        context = contextvars.copy_context()
    assert await asyncio.create_task(cache.get("key"), context=context) is None
    del context
    assert await cache.get("key") == 1
    assert await answers_again(cache)
