"""What is counted apart: the agent, the tool and the model of a call; and the kinds of answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from toolcache import Domain, ToolCache, ToolPolicy
from toolcache.metrics.counts import Counts
from toolcache.series import Series


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False) as cache:
        yield cache


def told(cache: ToolCache, label: Any) -> dict[str, tuple[int, int]]:
    return {name: (counts.hits, counts.misses) for name, counts in cache.totals().by(label).items()}


async def test_models(cache: ToolCache) -> None:
    for _ in range(3):
        await cache.get_completion("small", "hi", compute=lambda: "hello")
        await cache.get_embedding("hi", "e5", compute=lambda: [0.5])
        await cache.get_embeddings(["hi", "there"], "e5", compute=lambda texts: [[0.25]] * len(texts))
        await cache.get_response("faq", "hi", model="large", compute=lambda: "hello")
    assert told(cache, "model") == {"small": (2, 1), "e5": (7, 2), "large": (2, 1)}
    assert Series("embedding", model="e5") in cache.totals().series


async def test_what_was_stored_by_hand_is_counted_for_its_model(cache: ToolCache) -> None:
    await cache.set_completion("small", "hi", "hello")
    await cache.set_embedding("hi", "e5", [0.5])
    await cache.set_embeddings(["a", "b"], "e5", [[0.5], [0.25]])
    await cache.set_response("faq", "hi", "hello", model="large")
    sets = {series[1:]: counts.sets for series, counts in cache.totals().series.items() if counts.sets}
    assert sets == {("", "", "small"): 1, ("", "", "e5"): 3, ("faq", "", "large"): 1}


async def test_agents(cache: ToolCache) -> None:
    faq = cache.for_agent("faq")
    for _ in range(3):
        await faq.get_or_set("key", lambda: 1)
        await faq.get("key")
        await faq.get_many(["key", "none"])
        await faq.get_completion("small", "hi", compute=lambda: "hello")
        await cache.memories.recall("sales", "query", lambda: "found")
        await cache.get_response("sales", "goal", model="small", compute=lambda: "done")
    assert told(cache, "agent") == {"faq": (10, 5), "sales": (4, 2)}
    assert Series("model", "faq", "", "small") in cache.totals().series
    assert Series("general", "faq") in cache.totals().series


async def test_tools(cache: ToolCache) -> None:
    cache.tools["find"] = ToolPolicy("exact")
    cache.tools["github", "find"] = ToolPolicy("exact")
    for _ in range(3):
        await cache.call_tool("find", lambda query: query, query="a")
        await cache.call_tool(("github", "find"), lambda query: query, query="a")
        await cache.get_metadata("find", compute=lambda: {"name": "find"})
    assert told(cache, "tool") == {"find": (4, 2), "github/find": (2, 1)}


async def test_domains_add_up(cache: ToolCache) -> None:
    for model in ("a", "b"):
        for _ in range(2):
            await cache.get_completion(model, "hi", compute=lambda: "hello")
    assert cache.totals().by("domain")["model"].hits == 2
    stats = cache.stats().domains["model"]
    assert (stats.hits, stats.misses, stats.entries, stats.computed) == (2, 2, 2, 2)


async def test_no_more_series_than_can_be_read(cache: ToolCache) -> None:
    for number in range(600):
        await cache.get_completion(f"model-{number}", "hi", compute=lambda: 1)
    series = cache.totals().series
    assert len(series) <= 513
    assert sum(counts.misses for counts in series.values()) == 600
    assert series[Series("model")].misses > 80


async def test_a_long_label_is_cut(cache: ToolCache) -> None:
    await cache.get_completion("m" * 1000, "hi", compute=lambda: 1)
    assert max(len(series.model) for series in cache.totals().series) == 128


def of(cache: ToolCache, domain: str = "general") -> Counts:
    return cache.totals().by("domain")[domain]


async def test_kinds_of_answers(cache: ToolCache) -> None:
    await cache.get_or_set("key", lambda: 1)
    await cache.get_or_set("key", lambda: 1)
    await cache.get_or_set("key", lambda: 2, refresh=True)
    await cache.get_or_set("key", lambda: 3, bypass=True)
    with cache.bypass():
        await cache.get("key")
        await cache.get_many(["key", "other"])
        await cache.get_or_set("key", lambda: 4)
    counts = of(cache)
    assert (counts.exact, counts.refreshed, counts.bypassed, counts.stale) == (1, 1, 5, 0)
    assert counts.hits_memory == 1


async def test_batches_tell_their_kinds_too(cache: ToolCache) -> None:
    async def embed(texts: list[Any]) -> list[list[float]]:
        return [[0.5]] * len(texts)

    await cache.get_embeddings(["a", "b"], "e5", compute=embed)
    with cache.refreshing():
        await cache.get_embeddings(["a", "b"], "e5", compute=embed)
    with cache.bypass():
        await cache.get_embeddings(["a", "b", "c"], "e5", compute=embed)
    counts = of(cache, "embedding")
    assert (counts.refreshed, counts.bypassed, counts.computed) == (2, 3, 4)


async def test_stale_answers_are_counted(cache: ToolCache) -> None:
    await cache.get_or_set("key", lambda: 1, ttl="1h", grace="1d")
    await cache.expire("key")

    def fail() -> int:
        raise OSError

    assert await cache.get_or_set("key", fail, ttl="1h", grace="1d") == 1
    assert of(cache).stale == 1


async def test_what_is_spent_past_the_cache_is_counted(cache: ToolCache) -> None:
    paid = Domain("paid", ttl="1h", key=("what",))

    def compute(context: Any) -> int:
        context.cost(usd=0.25, tokens=10)
        return 1

    await cache[paid].get(what="a", compute=compute)
    with cache.bypass():
        await cache[paid].get(what="a", compute=compute)
    counts = of(cache, "paid")
    assert (counts.told, counts.dollars_spent, counts.tokens_spent) == (2, 0.5, 20)


async def test_what_files_answered(tmp_path: Path) -> None:
    async with ToolCache(directory=tmp_path) as cache:
        await cache.set("key", 1)
    async with ToolCache(directory=tmp_path) as cache:
        await cache.get("key")
        await cache.get("key")
        counts = of(cache)
        assert (counts.hits_file, counts.hits_memory) == (1, 1)
        assert cache.totals().layers["file"].hits == 1


async def test_replays_are_hits_of_their_own_kind(cache: ToolCache) -> None:
    for _ in range(3):
        await cache.once("payment:1", lambda: "paid")
    counts = of(cache, "idempotency")
    assert (counts.hits_replayed, counts.hits, counts.misses) == (2, 2, 1)
    assert cache.totals().dispatch.replays == 2


async def test_those_who_waited_for_another_are_told_apart(cache: ToolCache) -> None:
    import asyncio

    gate = asyncio.Event()

    async def compute() -> int:
        await gate.wait()
        return 1

    calls = [asyncio.create_task(cache.get_or_set("key", compute)) for _ in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*calls)
    counts = of(cache)
    assert (counts.hits_waited, counts.misses) == (3, 1)


async def test_what_an_agent_removes_and_does_without_is_counted_for_it(cache: ToolCache) -> None:
    faq, alone = cache.for_agent("faq"), cache.for_agent("alone", embedding_cache=False)
    await faq.set("key", 1)
    await faq.delete("key")
    await faq.delete_many(["key", "other"])
    await alone.get_embeddings(["a", "b"], "e5", compute=lambda texts: [[0.5]] * len(texts))
    await alone.get_embedding("a", "e5", compute=lambda: [0.5])
    counts = cache.totals().by("agent")
    assert (counts["faq"].sets, counts["faq"].deletes) == (1, 3)
    assert (counts["alone"].bypassed, counts["alone"].computed) == (3, 0)
