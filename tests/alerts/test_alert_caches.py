"""Alerts of whole caches, over what they really count: from the first call to the last telling."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alerting import FEW, counted
from rig import SteadyClock
from servers import RedisServer

from toolcache import BlockingToolCache, CacheClosedError, ToolCache
from toolcache.alerts import METRICS, Alert
from toolcache.testing import FakeClock


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """The alerts that fired and resolved."""
    return []


@pytest.fixture
def tell(told: list[tuple[str, str]]) -> Callable[[Alert], Any]:
    """An action."""

    async def action(alert: Alert) -> None:
        told.append((alert.name, alert.status))

    return action


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(60):
        await asyncio.sleep(0)


async def test_what_a_cache_counts_is_judged(told: list[tuple[str, str]], tell: Callable[[Alert], Any]) -> None:
    """D3: misses fire an alert on the hit rate, and hits resolve it; of one domain alone, if it says so."""
    async with ToolCache(files=False) as cache:
        cache.alerts.create("all", metric="hit_rate", condition="< 50%", actions=[tell])
        cache.alerts.create("search", metric="misses", condition="> 3", domain="search", actions=[tell])
        cache.alerts.create("catalog", metric="misses", condition="> 3", domain="catalog", actions=[tell])
        for number in range(20):
            await cache.get_search_results(f"query {number}")
        await (await cache.alerts.evaluate()).delivered()
        assert sorted(told) == [("all", "firing"), ("search", "firing")]
        await cache.set("key", 1)
        for _ in range(40):
            await cache.get("key")
        await (await cache.alerts.evaluate()).delivered()
        assert told[2:] == [("all", "resolved")]


async def test_each_metric_can_be_read_of_a_cache() -> None:
    """D3: there is none that a cache does not count."""
    async with ToolCache(files=False) as cache:
        await cache.get_or_set("key", lambda: 1)
        for metric in METRICS:
            cache.alerts.create(metric, metric=metric, condition=">= 0", minimum=0)
        states = (await cache.alerts.evaluate()).states
        assert {name for name, state in states.items() if state.status == "firing"} == set(METRICS)
        values = {name: state.value for name, state in states.items()}
        assert values["misses"] == values["computed"] == values["calls"] == values["processes"] == 1.0


async def test_it_judges_by_itself_from_the_first_use_on(
    clock: FakeClock, told: list[tuple[str, str]], tell: Callable[[Alert], Any]
) -> None:
    """D3: alerts may be declared before there is a loop; a task of the cache judges them once it is in use."""
    cache = ToolCache(files=False, clock=clock)
    await asyncio.to_thread(cache.alerts.create, "misses", metric="misses", condition="> 3", actions=[tell])
    async with cache:
        for number in range(5):
            await cache.get(f"key {number}")
        await settle()
        clock.advance(16)
        await settle()
        assert told == [("misses", "firing")]
        clock.advance(600)
        await settle()
        assert told[1:] == [("misses", "resolved")]
    with pytest.raises(CacheClosedError):
        await cache.alerts.evaluate()
    with pytest.raises(CacheClosedError):
        cache.alerts.create("other", metric="misses", condition="> 3")


async def test_a_minute_that_has_just_begun_hides_nothing() -> None:
    """D3: what is counted by the minute is looked back on for the whole window at least, and for no more than a minute longer."""
    clock = FakeClock(1_800_000_058.0)
    async with ToolCache(files=False, clock=clock) as cache:
        cache.alerts.create("misses", metric="misses", condition="> 3", window="1m")
        for number in range(5):
            await cache.get(f"key {number}")
        values = []
        for passing in (0, 4, 55, 63):
            clock.advance(passing)
            values.append((await cache.alerts.evaluate()).states["misses"].value)
        assert values == [5.0, 5.0, 5.0, 0.0]


async def test_one_loop_of_a_process_judges(clock: FakeClock) -> None:
    """D3: a cache that is used from several loops is judged from one of them; when that has ended, from the next."""
    cache = ToolCache(files=False, clock=clock)

    async def use() -> bool:
        await cache.get("key")
        return cache.alerts._run in cache._machine.homes.here()._attendants

    await asyncio.to_thread(cache.alerts.create, "misses", metric="misses", condition="> 3")
    assert await asyncio.to_thread(asyncio.run, use())  # its loop is closed then
    async with cache:
        assert await use()
        assert not await asyncio.to_thread(asyncio.run, use())


async def test_a_cache_that_is_in_use_already(clock: FakeClock, tmp_path: Path) -> None:
    """D3: also then the first alert has a task begin, with what else attends to the cache's stores."""
    async with ToolCache(directory=tmp_path, clock=clock) as cache:
        await cache.set("key", 1)
        await cache.get("absent")
        attendants = cache._machine.homes.here()._attendants
        assert cache.alerts._run not in attendants
        cache.alerts.create("misses", metric="misses", condition="> 3")
        assert cache.alerts._run in attendants


async def test_the_last_alert_ends_the_task(clock: FakeClock) -> None:
    """D3: and the next one begins it again."""
    async with ToolCache(files=False, clock=clock) as cache:
        judged = 0
        read = cache.alerts._rounds.one

        async def one(rules: Any) -> Any:
            nonlocal judged
            judged += 1
            return await read(rules)

        cache.alerts._rounds.one = one  # type: ignore[method-assign]
        for expected in (1, 2):
            cache.alerts.create("misses", metric="misses", condition="> 3")
            await cache.get("key")
            await settle()
            clock.advance(16)
            await settle()
            assert judged == expected
            cache.alerts.remove("misses")
            clock.advance(16)
            await settle()
            assert judged == expected


async def test_a_view_has_the_alerts_of_the_cache(told: list[tuple[str, str]], tell: Callable[[Alert], Any]) -> None:
    """D3: whoever declares them; and one may be about an agent alone."""
    async with ToolCache(files=False) as cache:
        view = cache.for_agent("faq")
        assert view.alerts is cache.alerts
        view.alerts.create("faq", metric="misses", condition="> 3", agent="faq", actions=[tell])
        for number in range(5):
            await view.get_search_results(f"query {number}")
            await cache.get_search_results(f"query {number}")
        evaluation = await cache.alerts.evaluate()
        await evaluation.delivered()
        assert told == [("faq", "firing")]
        assert evaluation.states["faq"].value == 5.0
        assert repr(evaluation) == "<Evaluation on memory, leading: 'faq' firing>"


async def test_domains_are_those_of_the_cache() -> None:
    """D3: a name that is mistyped is refused with the one that was meant."""
    async with ToolCache(files=False) as cache:
        with pytest.raises(ValueError, match=r"domain: 'serach' is none of .*did you mean 'search'\?"):
            cache.alerts.create("x", metric="misses", condition="> 3", domain="serach")
        assert cache.alerts.create("x", metric="misses", condition="> 3", domain="general").domain == "general"


def test_a_blocking_cache_has_alerts() -> None:
    """D3: with the same methods, which wait; plain functions are its actions."""
    told: list[str] = []
    with BlockingToolCache(files=False) as cache:
        cache.alerts.create("misses", metric="misses", condition="> 3", actions=[lambda alert: told.append(alert.text)])
        cache.alerts.every = "1m"
        for number in range(5):
            cache.get(f"key {number}")
        assert cache.alerts.evaluate().where == "memory"
        assert told == ["misses: misses is 5 (> 3 over the last 5 min)"]
        assert (cache.alerts.sent, cache.alerts.failed, cache.alerts.every) == (1, 0, 60.0)
        assert [notice.status for notice in cache.alerts.history()] == ["firing"]
        assert cache.alerts.state()["misses"].status == "firing"
        assert cache.alerts.remove("misses")
        assert "log" in cache.alerts.actions


@pytest.mark.parametrize("files", [True, False], ids=["redis+files", "redis"])
async def test_an_outage_of_redis(
    own_redis: RedisServer, tmp_path: Path, files: bool, told: list[tuple[str, str]], tell: Callable[[Alert], Any]
) -> None:
    """D3: Redis dies, and that is told while it is away; it comes back, and that it is over is told, once."""
    clock = SteadyClock(time.time())
    options: dict[str, Any] = {
        "redis_url": own_redis.url,
        "clock": clock,
        "files": files,
        "directory": tmp_path,
        "op_timeout": 20,
    }
    async with ToolCache(**options) as cache:
        cache.alerts.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s", actions=[tell])
        cache.alerts.create("few hits", metric="hit_rate", condition="< 50%", minimum=1, actions=[tell])
        await cache.set("key", 1)
        await cache.get("key")
        assert (await cache.alerts.evaluate()).where == "redis"
        assert told == []
        await asyncio.to_thread(own_redis.stop)
        for number in range(12):
            await cache.get(f"absent {number}")
        await cache.alerts.evaluate()
        clock.advance(40)
        evaluation = await cache.alerts.evaluate()
        await evaluation.delivered()
        assert evaluation.where == ("file" if files else "memory")
        assert told == [("redis is down", "firing")]
        assert "what others have counted is missing" in evaluation.states["few hits"].unjudged
        await asyncio.to_thread(own_redis.start)
        for _ in range(20):
            clock.advance(30)
            await settle()
            await cache.get("absent")
            evaluation = await cache.alerts.evaluate()
            await evaluation.delivered()
            await asyncio.sleep(0.01)
        assert evaluation.where == "redis"
        assert told.count(("redis is down", "firing")) == 1
        assert told.count(("redis is down", "resolved")) == 1
        assert (await cache.alerts.state())["redis is down"].status == "ok"


def test_hand_made_counts_are_what_caches_give() -> None:
    """D3: what the other tests are built on has the form of what is read."""
    assert FEW.hit_rate == 0.1
    assert FEW.complete
    assert not counted(complete=False).complete
