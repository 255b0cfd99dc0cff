"""What is told of alerts, and of what to do."""

from collections.abc import AsyncIterator

import pytest
from rest import READ, asking
from servers import RedisServer

from toolcache import ToolCache
from toolcache.testing import FakeClock

CACHE = "/api/v1/cache"


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def cache(clock: FakeClock) -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop", clock=clock) as made:
        yield made


async def test_alerts_are_told_with_what_they_say(cache: ToolCache, clock: FakeClock) -> None:
    """D9, D3: each alert with how it stands and what it was declared as, and what has fired; not where it is told."""
    told: list[object] = []
    cache.alerts.actions["ops"] = told.append
    cache.alerts.create("few hits", metric="hit_rate", condition="<", threshold=0.5, window="5m", actions=["ops"])
    for number in range(20):
        await cache.get(f"absent:{number}")
    async with asking(cache, token=READ, clock=clock) as client:
        (before,) = (await client.get("/api/v1/cache/alerts")).json()["alerts"]
        assert (before["name"], before["status"], before["value"]) == ("few hits", "ok", None)
        assert (before["rule"]["metric"], before["rule"]["threshold"], before["rule"]["window"]) == (
            "hit_rate",
            0.5,
            300,
        )
        assert "actions" not in before["rule"]
        await cache.alerts.evaluate()
        clock.advance(2)
        said = (await client.get("/api/v1/cache/alerts")).json()
        assert [(one["status"], one["value"]) for one in said["alerts"]] == [("firing", 0.0)]
        assert [(one["name"], one["status"]) for one in said["history"]] == [("few hits", "firing")]


async def test_what_takes_room_and_what_is_asked_for(cache: ToolCache, clock: FakeClock) -> None:
    """D9, D7: top entries, this memory and what is old are those of the cache, each with the address where it is."""
    await cache.set("old/1", "x" * 100)
    clock.advance(8 * 86_400 - 1)
    await cache.set("large", "x" * 5_000, ttl=None)
    await cache.set("little", 1)
    await cache.set_embedding("text", "llama3:8b", [0.5] * 8)
    for key in ("large", "large", "large", "little"):
        await cache.get(key)
    async with asking(cache, token=READ, clock=clock) as client:
        top = (await client.get(f"{CACHE}/top", params={"by": "hits", "limit": 1})).json()["entries"]
        assert [(one["key"], one["hits"]) for one in top] == [("large", 3)]
        assert (await client.get(top[0]["href"])).json()["key"] == "large"
        memory = (await client.get(f"{CACHE}/memory", params={"largest": 2})).json()
        own = await cache.memory_usage(2)
        assert (memory["used"], memory["entries"], memory["available"]) == (own.used, own.entries, own.available)
        assert memory["domains"]["embedding"]["entries"] == 1
        assert memory["largest_entries"][0]["key"] == "large"
        assert (len(memory["largest_entries"]), memory["entries"]) == (2, 4)
        assert "xxx" not in (await client.get(f"{CACHE}/memory")).text


async def test_what_is_old(cache: ToolCache, clock: FakeClock) -> None:
    """D9, D7: entries older than ``max_age``, the oldest first, of a domain or an agent alone if that is asked for."""
    await cache.set("first", 1, ttl=None)
    clock.advance(86_400)
    await cache.set_search_results("shoes", ["shoe"], ttl="30d")
    await cache.for_agent("faq").set("own", 1, ttl="30d")
    clock.advance(86_400 + 1)
    await cache.set("young", 1)
    async with asking(cache, token=READ, clock=clock) as client:

        async def old(**query: str) -> list[str | None]:
            return [one["domain"] for one in (await client.get(f"{CACHE}/stale", params=query)).json()["entries"]]

        assert len(await old(max_age="1d")) == 3
        assert (await client.get(f"{CACHE}/stale?max_age=1d")).json()["entries"][0]["key"] == "first"
        assert await old(max_age="2d") == [None]
        assert await old(max_age="1d", domain="search") == ["search"]
        assert len(await old(max_age="1d", agent="faq")) == 1
        assert len(await old(max_age="1d", limit="2")) == 2
        assert await old() == []
        assert (await client.get(f"{CACHE}/stale?domain=serch")).status_code == 404
        assert (await client.get(f"{CACHE}/stale?max_age=0d")).status_code == 422


async def test_advice(cache: ToolCache, clock: FakeClock) -> None:
    """D9, D5, D6: what is recommended and diagnosed is what the cache says, as far as it knows."""
    for number in range(80):
        await cache.get(f"absent:{number}")
    async with asking(cache, token=READ, clock=clock) as client:
        analysis = (await client.get(f"{CACHE}/analyze")).json()
        own = await cache.analyze()
        assert (analysis["recommended_size"], analysis["recommended_ttl"]) == (
            own.recommended_size,
            own.recommended_ttl,
        )
        assert analysis["size"]["reason"] == own.size.reason
        diagnosis = (await client.get(f"{CACHE}/diagnose")).json()
        same = await cache.diagnose()
        assert (diagnosis["issue"], diagnosis["reason"], diagnosis["lookups"]) == (same.issue, same.reason, 80)
        assert (await client.get(f"{CACHE}/diagnose?domain=search")).json()["domain"] == "search"
        assert (await client.get(f"{CACHE}/diagnose?domain=serch")).status_code == 404


async def test_a_layer_that_holds_more_than_this_memory(redis_server: RedisServer) -> None:
    """D9, D7: what is old is looked for in Redis, too, unless only this memory is asked about."""
    clock = FakeClock()
    async with (
        ToolCache(redis_url=redis_server.url, files=False, clock=clock) as one,
        ToolCache(redis_url=redis_server.url, files=False, clock=clock, metrics=False) as server,
        asking(server, token=READ, clock=clock) as client,
    ):
        await one.set("key", 1, ttl=None)
        clock.advance(120)
        assert len((await client.get(f"{CACHE}/stale?max_age=1m")).json()["entries"]) == 1
        assert (await client.get(f"{CACHE}/stale?max_age=1m&layers=false")).json()["entries"] == []
