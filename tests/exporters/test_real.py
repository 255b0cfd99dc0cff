"""Exporters of caches that work: what they tell is what the cache has counted, and no counter falls."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hearing import until
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from readings import fleet, process

from toolcache import ToolCache
from toolcache.exporters.families import steps, told
from toolcache.exporters.local import process_of, read
from toolcache.exporters.prometheus import CacheCollector, render
from toolcache.metrics.snapshot import Metrics
from toolcache.spread import Spread
from toolcache.web.ever import Ever
from toolcache.web.house import House
from toolcache.web.statistics import prometheus


@pytest.fixture(params=["memory", "file", "redis", "redis+file"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ToolCache]:
    url = request.getfixturevalue("redis_server").url if "redis" in request.param else None
    files = tmp_path if "file" in request.param else None
    async with ToolCache(namespace="shop", redis_url=url, files=files is not None, directory=files) as cache:
        yield cache


@pytest.fixture(params=["file", "redis"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ToolCache, ToolCache]]:
    """Two caches that share what is beneath their memories, as those of two processes do."""
    if request.param == "redis":
        options: dict[str, Any] = {"redis_url": request.getfixturevalue("redis_server").url, "files": False}
    else:
        options = {"directory": tmp_path}
    async with ToolCache(namespace="shop", **options) as one, ToolCache(namespace="shop", **options) as other:
        yield one, other


def samples(cache: ToolCache) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = render(cache.totals(), namespace="shop", processes=[process_of(cache)])
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def value(cache: ToolCache, name: str, **labels: str) -> float:
    return sum(number for (one, at), number in samples(cache).items() if one == name and labels.items() <= set(at))


def rising(cache: ToolCache) -> dict[tuple[object, ...], float]:
    """All that may not fall: counters, and the steps of histograms."""
    found: dict[tuple[object, ...], float] = {}
    for family, rows in told(read(cache)):
        for values, number in rows:
            if isinstance(number, Spread):
                shape = steps(number, family.bounds)
                found |= {(family.name, *values, bound): count for bound, count in shape.buckets}
                found[family.name, *values] = shape.sum
            elif family.kind == "counter":
                found[family.name, *values] = number
    return found


async def use(cache: ToolCache, round_: int) -> None:
    """A little of everything, some of it at once."""

    async def compute(context: Any) -> str:
        context.cost(usd=0.01, tokens=30)
        await asyncio.sleep(0)
        return "value"

    async def run() -> str:
        return "done"

    await cache.set(f"set:{round_}", "value")
    await cache.get(f"set:{round_}")
    await cache.get("missing")
    await asyncio.gather(*(cache.get_or_set(f"computed:{round_ // 2}", compute) for _ in range(3)))
    await cache.for_agent("planner").get_or_set(f"of an agent:{round_}", compute)
    await cache.get_metadata("search", version="1", compute=lambda: {"name": "search"})
    await cache.once(f"mail:{round_ // 2}", run)
    await cache.delete(f"set:{round_ - 1}")
    with cache.bypass():
        await cache.get_or_set("past it", compute)
    with cache.refreshing():
        await cache.get_or_set("computed:0", compute)


async def test_the_numbers_are_those_of_the_statistics(cache: ToolCache) -> None:
    """D8: of the whole, of each domain and of each layer, text and statistics say the same."""
    for round_ in range(3):
        await use(cache, round_)
    stats = cache.stats()
    assert value(cache, "toolcache_lookups_total", result="hit") == stats.hits > 0
    assert value(cache, "toolcache_lookups_total", result="miss") == stats.misses > 0
    for name, row in stats.domains.items():
        assert value(cache, "toolcache_lookups_total", result="hit", domain=name) == row.hits
        assert value(cache, "toolcache_sets_total", domain=name) == row.sets
        assert value(cache, "toolcache_deletes_total", domain=name) == row.deletes
        assert value(cache, "toolcache_computed_total", domain=name) == row.computed
        assert value(cache, "toolcache_saved_seconds_total", domain=name) == pytest.approx(row.seconds_saved)
        assert value(cache, "toolcache_spent_usd_total", domain=name) == pytest.approx(row.dollars_spent)
        calls = value(cache, "toolcache_call_seconds_count", domain=name)
        assert calls <= row.latency.count
    for name, layer in stats.layers.items():
        assert value(cache, "toolcache_layer_lookups_total", layer=name, result="hit") == layer.hits
        assert value(cache, "toolcache_layer_operations_total", layer=name, kind="writes") == layer.writes
        if name != "memory":
            assert value(cache, "toolcache_layer_seconds_count", layer=name) == layer.latency.count
            assert value(cache, "toolcache_layer_up", layer=name) == 1
    for name in ("executions", "replays", "joins"):
        assert value(cache, "toolcache_dispatch_total", kind=name) == getattr(stats.dispatch, name)
    assert value(cache, "toolcache_memory_entries") == stats.entries
    assert value(cache, "toolcache_memory_bytes") == stats.bytes


async def test_no_counter_falls_while_the_cache_lives(cache: ToolCache) -> None:
    """D8: looked at in the midst of whatever it does, a counter, a bucket or a sum is never less than before."""
    before = rising(cache)
    for round_ in range(3):
        working = asyncio.create_task(use(cache, round_))
        while not working.done():
            await asyncio.sleep(0)
            now = rising(cache)
            assert not {at for at, number in before.items() if now[at] < number}
            before = now
        await working


async def test_a_scrape_may_come_from_another_thread(cache: ToolCache) -> None:
    """D8: the registry is read by a server's thread while the cache is at work on its loop."""
    registry = CollectorRegistry()
    registry.register(CacheCollector(cache))
    done, errors, scraped = threading.Event(), list[Exception](), 0

    def scrape() -> None:
        nonlocal scraped
        try:
            while not done.is_set():
                assert b"toolcache_lookups_total" in generate_latest(registry)
                scraped += 1
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        for round_ in range(5):
            await use(cache, round_)
        await until(lambda: scraped or errors)
    finally:
        done.set()
        await asyncio.to_thread(thread.join)
    assert not errors
    assert scraped


async def test_who_waits_for_another_process_is_no_miss_meanwhile(two: tuple[ToolCache, ToolCache]) -> None:
    """D8: a value that another process computes is counted when it has come, as a hit: misses do not rise to fall again."""
    first, second = two
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        begun.set()
        await go.wait()
        return "value"

    computing = asyncio.create_task(first.get_or_set("key", slow))
    await begun.wait()
    waiting = asyncio.create_task(second.get_or_set("key", slow))
    layer = second._parts.redis or second._parts.files
    assert layer is not None
    await until(lambda: layer.tally.misses)  # it has looked, and found nothing
    for _ in range(5):
        await asyncio.sleep(0.001)
        assert second.totals().misses == 0
    go.set()
    assert [await computing, await waiting] == ["value", "value"]
    assert (first.totals().misses, first.totals().hits) == (1, 0)
    (counts,) = second.totals().series.values()
    assert (counts.misses, counts.hits, counts.hits_waited) == (0, 1, 1)
    assert second.totals().layers["memory"].misses == 1


async def test_a_fleet_is_what_its_processes_count(two: tuple[ToolCache, ToolCache]) -> None:
    """D8: of caches that share stores, the text has the sum of what each of them counts, and so says each of them."""
    for number, cache in enumerate(two):
        for round_ in range(2):
            await use(cache, 10 * number + round_)
    for cache in two:
        await cache.metrics()  # by which each has written down what it has counted
    several = [cache.stats() for cache in two]
    text = render(await two[0].metrics("400d"), namespace="shop")
    found = {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }

    def total(name: str, **labels: str) -> float:
        return sum(number for (one, at), number in found.items() if one == name and labels.items() <= set(at))

    assert total("toolcache_lookups_total", result="hit") == sum(one.hits for one in several)
    assert total("toolcache_lookups_total", result="miss") == sum(one.misses for one in several)
    for domain in several[0].domains:
        assert total("toolcache_computed_total", domain=domain) == sum(one.domains[domain].computed for one in several)
    for layer in several[0].layers:
        hits = sum(one.layers[layer].hits for one in several)
        assert total("toolcache_layer_lookups_total", layer=layer, result="hit") == hits
    assert total("toolcache_processes") == 2
    assert total("toolcache_memory_entries") > 0  # as each was when it last wrote
    assert total("toolcache_complete") == 1


async def test_the_server_tells_a_fleet_that_does_not_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    """D8: of a fleet whose counts have gone for a while, ``/metrics`` tells no counter, and with what prices it is told of."""
    whole = fleet(process())
    answers = [whole, whole._replace(series={}), whole]

    async def told_next(_ever: Ever) -> Metrics:
        return answers.pop(0)

    monkeypatch.setattr("toolcache.web.house.Ever.metrics", told_next)
    monkeypatch.setattr("toolcache.web.statistics.AGE", 0.0)
    async with ToolCache(namespace="shop", files=False, metrics=False, prices={"m-1": 5}) as cache:
        house, asked = House(cache), SimpleNamespace(accept=None)
        texts = [(await prometheus(house, asked)).body.decode() for _ in range(3)]  # type: ignore[arg-type]  # all it looks at
    assert ["_total{" in text for text in texts] == [True, False, True]
    assert texts[0] == texts[2]
    assert "toolcache_memory_entries{" in texts[1]
    assert render(whole, namespace="shop", processes=[process_of(cache)], prices={"m-1": 5}) == texts[0]
