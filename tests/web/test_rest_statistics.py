"""What the fleet has counted, as it is told."""

import asyncio
import gc
from functools import partial
from weakref import WeakSet

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rest import asking
from servers import RedisServer

from toolcache import ToolCache
from toolcache.metrics.snapshot import Process
from toolcache.testing import FakeClock
from toolcache.web.house import House
from toolcache.web.statistics import sizes


async def test_a_cache_tells_what_it_has_done() -> None:
    """D9, D2: what the application says is what the cache itself counts: as a whole, over time, and for Prometheus."""
    clock = FakeClock()
    async with ToolCache(files=False, namespace="shop", clock=clock) as cache, asking(cache, clock=clock) as client:
        await cache.get_search_results("shoes", compute=lambda: ["shoe"])
        for _ in range(3):
            await cache.get_search_results("shoes")
        await cache.get("absent")
        stats = (await client.get("/api/v1/cache/stats", params={"period": "1h"})).json()
        mine = cache.totals()
        assert stats["hits"] == mine.hits == 3
        assert stats["misses"] == mine.misses == 2
        assert stats["hit_rate"] == pytest.approx(0.6)
        assert stats["domains"]["search"]["hits"] == 3
        assert stats["domains"]["search"]["latency"]["count"] >= 1
        assert stats["layers"]["memory"]["hits"] == 3
        assert stats["fleet"]["processes"] == 1
        assert (stats["namespace"], stats["complete"], stats["period"]) == ("shop", True, "1h")
        assert stats["server"]["health"]["status"] == "ok"
        assert stats["server"]["memory"]["entries"] == 1

        series = (await client.get("/api/v1/cache/metrics", params={"period": "1h", "by": "domain"})).json()
        assert (len(series["points"]), series["step"]) == (60, 60)
        assert sum(point["hits"] for point in series["points"]) == 3
        assert series["points"][-1]["domains"]["search"]["misses"] == 1
        assert "domains" not in (await client.get("/api/v1/cache/metrics")).json()["points"][-1]

        scraped = await client.get("/metrics")
        assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(scraped.text)}
        hits = [one for one in families["toolcache_lookups"].samples if one.labels["result"] != "miss"]
        assert sum(sample.value for sample in hits) == 3
        modern = {"Accept": "application/openmetrics-text;version=1.0.0"}
        assert (await client.get("/metrics", headers=modern)).text.endswith("# EOF\n")


async def test_domains_are_told_with_what_is_said_of_them() -> None:
    """D9: each domain with its ttl, its key and what a value costs."""
    async with (
        ToolCache(files=False, ttls={"search": "5m"}, costs={"embedding": 0.25}) as cache,
        asking(cache) as client,
    ):
        rows = (await client.get("/api/v1/cache/domains")).json()["domains"]
        assert rows["search"]["ttl"] == 300
        assert rows["embedding"]["cost_usd"] == 0.25
        assert rows.keys() == cache.domains.keys()


async def test_periods_that_cannot_be() -> None:
    """D9: a period that is none, or longer than counts are kept, is refused with what it may be."""
    async with ToolCache(files=False) as cache, asking(cache) as client:
        for period in ("0m", "1x", "401d", "1h ", "1h\n", "-1h", "1.5h", "h", "\uff19h"):
            refused = await client.get("/api/v1/cache/stats", params={"period": period})
            assert refused.status_code == 422, period
            assert refused.json()["at"] == "query.period"
        for period in ("1m", "90m", "999h", "400d"):
            assert (await client.get("/api/v1/cache/stats", params={"period": period})).status_code == 200, period


async def test_a_server_tells_of_the_fleet_and_not_of_itself(redis_server: RedisServer) -> None:
    """D9, D2: what two processes have done is told by a third that counts nothing, equal to what they say themselves."""
    clock = FakeClock()
    at = {"redis_url": redis_server.url, "namespace": "shop", "files": False}
    async with (
        ToolCache(clock=clock, **at) as one,  # type: ignore[arg-type]  # a dict of several kinds
        ToolCache(clock=clock, **at) as other,  # type: ignore[arg-type]  # the same
        ToolCache(clock=clock, metrics=False, **at) as server,  # type: ignore[arg-type]  # the same
        asking(server, clock=clock) as client,
    ):
        await one.get_search_results("shoes", compute=lambda: ["shoe"])
        for _ in range(3):
            await one.get_search_results("shoes")
        await other.get("absent")
        await one.metrics("1h")
        await other.metrics("1h")
        stats = (await client.get("/api/v1/cache/stats", params={"period": "1h"})).json()
        mine, others = one.totals(), other.totals()
        assert stats["hits"] == mine.hits + others.hits == 3
        assert stats["misses"] == mine.misses + others.misses == 2
        assert stats["hit_rate"] == pytest.approx(0.6)
        assert stats["domains"]["search"]["hits"] == 3
        assert stats["domains"]["search"]["latency"]["count"] >= 1
        assert stats["fleet"]["processes"] == 2
        assert (stats["namespace"], stats["complete"], stats["period"]) == ("shop", True, "1h")
        assert stats["server"]["health"]["status"] == "ok"

        series = (await client.get("/api/v1/cache/metrics", params={"period": "1h", "by": "domain"})).json()
        assert (len(series["points"]), series["step"]) == (60, 60)
        assert sum(point["hits"] for point in series["points"]) == 3
        assert series["points"][-1]["domains"]["search"]["misses"] == 1
        assert "domains" not in (await client.get("/api/v1/cache/metrics")).json()["points"][-1]

        scraped = await client.get("/metrics")
        assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(scraped.text)}
        hits = [one for one in families["toolcache_lookups"].samples if one.labels["result"] != "miss"]
        assert sum(sample.value for sample in hits) == 3
        modern = {"Accept": "application/openmetrics-text;version=1.0.0"}
        assert (await client.get("/metrics", headers=modern)).text.endswith("# EOF\n")


async def test_a_layer_that_cannot_be_asked_is_told() -> None:
    """D9: without its Redis the server tells what it knows, and that this may not be all."""
    async with ToolCache(files=False, redis_url="redis://127.0.0.1:1") as cache, asking(cache) as client:
        stats = (await client.get("/api/v1/cache/stats")).json()
        assert stats["complete"] is False
        assert stats["server"]["health"]["status"] == "degraded"


async def test_what_was_saved() -> None:
    """D9, D4: savings over HTTP are those of the cache, by label, and line by line where that is asked for."""
    async with ToolCache(files=False, costs={"search": 0.25}) as cache, asking(cache) as client:
        for _ in range(3):
            await cache.get_search_results("shoes", compute=lambda: ["shoe"])
        said = (await client.get("/api/v1/cache/savings", params={"period": "30d"})).json()
        own = await cache.savings("30d")
        assert (said["cached_responses"], said["cost_saved"]) == (own.cached_responses, own.cost_saved) == (2, 0.5)
        assert said["domains"]["search"]["computations_avoided"] == 2
        assert "ledger" not in said
        explained = (await client.get("/api/v1/cache/savings?explain=true")).json()
        assert [(line["series"]["domain"], line["source"]) for line in explained["ledger"]] == [("search", "declared")]
        assert (await client.get("/api/v1/cache/savings?explain=yes")).status_code == 422


def test_what_a_host_owes_is_counted_once() -> None:
    """D9: each process of a host tells what the host owes to Redis; entries and bytes are each process's own."""
    processes = (
        Process("a", host="one", pending=3, entries=1, bytes=10, max_bytes=100),
        Process("b", host="one", pending=2, entries=2, bytes=20, max_bytes=100),
        Process("c", host="other", pending=4, entries=4, bytes=40, max_bytes=100),
    )
    assert sizes(processes) == {"processes": 3, "hosts": 2, "entries": 7, "bytes": 70, "max_bytes": 300, "pending": 7}


async def test_answers_for_others_are_few(clock: FakeClock) -> None:
    """D9: what is kept for others who ask is bounded, whatever they ask for, and is as old as it may be, not older."""
    async with ToolCache(files=False) as cache:
        house = House(cache, clock=clock)
        asked: list[int] = []

        async def ask(number: int) -> int:
            asked.append(number)
            return number

        for number in range(100):
            assert await house.shared(f"period {number}", 1.0, partial(ask, number)) == number
        assert len(house._shared) < 20
        assert await house.shared("period 99", 1.0, partial(ask, 0)) == 99
        clock.advance(1)
        assert await house.shared("period 99", 1.0, partial(ask, 0)) == 0
        assert asked == [*range(100), 0]


async def test_an_answer_that_is_too_old_takes_no_room(clock: FakeClock) -> None:
    """D9: what a large fleet has counted is not held for longer than it may be told."""
    async with ToolCache(files=False) as cache:
        house = House(cache, clock=clock)
        answers = WeakSet[House]()

        async def ask() -> House:  # anything that can be looked after
            one = House(cache, clock=clock)
            answers.add(one)
            return one

        for number in range(5):
            await house.shared(f"period {number}", 1.0, ask)
        assert len(answers) == 5
        clock.advance(1)
        await house.shared("health", 1.0, ask)
        gc.collect()
        assert len(answers) == 1


async def test_what_is_being_asked_for_is_asked_for_once(clock: FakeClock) -> None:
    """D9: many who ask for other things meanwhile do not have a slow answer worked out once more."""
    async with ToolCache(files=False) as cache:
        house = House(cache, clock=clock)
        gate, asked = asyncio.Event(), 0

        async def slow() -> int:
            nonlocal asked
            asked += 1
            await gate.wait()
            return asked

        async def quick() -> None: ...

        first = asyncio.create_task(house.shared("slow", 1.0, slow))
        await asyncio.sleep(0)
        for number in range(100):
            await house.shared(f"period {number}", 1.0, quick)
        second = asyncio.create_task(house.shared("slow", 1.0, slow))
        await asyncio.sleep(0)
        gate.set()
        assert (await first, await second) == (1, 1)
