"""Domains of a user's own, and those for what agents and models answer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from toolcache import Context, Domain, ToolCache, UnsupportedKeyError
from toolcache.domains import DOMAINS, GENERAL
from toolcache.tags import agent_label, catalog_label, domain_label, tool_label
from toolcache.testing import FakeClock

WEATHER: Domain[str] = Domain(
    "weather", ttl="5m", key=("location", "day"), normalize={"location": str.casefold}, cost_usd=0.002, cost_tokens=30
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_700_000_000)


@pytest.fixture
async def cache(tmp_path: Path, clock: FakeClock) -> AsyncIterator[ToolCache]:
    async with ToolCache(directory=tmp_path, clock=clock) as cache:
        yield cache


async def test_one_declaration_is_a_domain(cache: ToolCache, clock: FakeClock) -> None:
    """A3: get, compute, set, delete by the fields of its key, for its time."""
    weather = cache[WEATHER]
    assert await weather.get(location="Oslo", day=1) is None
    assert await weather.get(location="Oslo", day=1, compute=lambda: "rain") == "rain"
    assert await weather.get(day=1, location="OSLO") == "rain"
    assert await weather.get(location="Oslo", day="1") is None
    clock.advance(301)
    assert await weather.get(location="Oslo", day=1) is None
    await weather.set("snow", location="Oslo", day=1, ttl=60, tags=["forecasts"])
    assert await cache.get(weather.key(location="oslo", day=1)) == "snow"
    assert await weather.delete(location="Oslo", day=1)
    assert not await weather.delete(location="Oslo", day=1)
    await weather.set("snow", location="Oslo", day=1, tags=["forecasts"])
    await cache.invalidate(tags=["forecasts"])
    assert await weather.get(location="Oslo", day=1) is None


async def test_it_is_found_and_counted(cache: ToolCache) -> None:
    """A3, D1: in ``domains`` and statistics, with what hits have saved."""
    assert "weather" not in cache.domains
    weather = cache[WEATHER]
    assert cache.domains["weather"] == WEATHER
    assert list(cache.domains)[: len(DOMAINS)] == list(DOMAINS)
    assert cache.stats().domains["weather"].hits == 0
    for _ in range(3):
        await weather.get(location="Oslo", day=1, compute=lambda: "rain")
    row = cache.stats().domains["weather"]
    assert (row.hits, row.computed, row.tokens_saved) == (2, 1, 60)
    assert row.dollars_saved == pytest.approx(0.004)
    assert cache.stats().tokens_saved == 60


async def test_another_version_finds_nothing_of_the_last(cache: ToolCache) -> None:
    """BUG-83: the version is part of the key."""
    first = Domain("notes", ttl=60, key=("id",), version="1")
    await cache[first].set("old", id=7)
    async with ToolCache(directory=cache.settings.directory) as other:
        second = first._replace(version="2")
        assert await other[second].get(id=7) is None
    assert await cache[first].get(id=7) == "old"


async def test_every_field_counts_and_no_other(cache: ToolCache) -> None:
    """BUG-106: what is missing, and what is too much, is told by name."""
    weather = cache[WEATHER]
    with pytest.raises(TypeError, match=r"location, day: see day$"):
        await weather.get(location="Oslo")
    with pytest.raises(TypeError, match=r"see place$"):
        weather.key(location="Oslo", day=1, place=2)
    with pytest.raises(UnsupportedKeyError):
        weather.key(location="Oslo", day=object())


async def test_a_normaliser_for_all(cache: ToolCache) -> None:
    """A5: a function alone is for every str, and for nothing else."""
    domain: Domain[int] = Domain("words", ttl=60, key=("a", "b", "c"), normalize=str.strip)
    key = cache[domain].key
    assert key(a=" x", b="y ", c=1) == key(a="x", b="y", c=1)
    assert key(a="x", b="y", c=[" z"]) != key(a="x", b="y", c=["z"])


async def test_names_are_used_once(cache: ToolCache) -> None:
    """A3: what is built in has methods of its own, and two declarations of one name are a slip."""
    with pytest.raises(ValueError, match="'search' is built in and has methods of its own, such as get_search"):
        cache[DOMAINS["search"]]
    with pytest.raises(ValueError, match="'general' is built in and has get"):
        cache[GENERAL]
    assert cache[WEATHER].domain == WEATHER
    with pytest.raises(ValueError, match="another domain 'weather' was used"):
        cache[WEATHER._replace(ttl=1)]
    with pytest.raises(TypeError, match="takes a Domain, not str"):
        cache["weather"]  # type: ignore[index]  # the slip
    assert repr(cache[WEATHER]) == "<domain 'weather': location, day>"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"key": ("ttl",)}, "'ttl' cannot be a field of the domain 'd': take a name, and none of compute, tags"),
        ({"key": ("a b",)}, "'a b' cannot be a field"),
        ({"key": ("a",), "normalize": {"b": str}}, "normalize of the domain 'd' names 'b'"),
        ({"version": ""}, "the version of the domain 'd' is a text"),
        ({"version": 2}, "the version of the domain 'd' is a text"),
        ({"cost_tokens": -1}, "cost_tokens of the domain 'd' must be zero or more"),
    ],
)
def test_what_cannot_be_declared(options: dict[str, Any], told: str) -> None:
    """BUG-106: the declaration is refused, naming what is wrong."""
    with pytest.raises(ValueError, match=told):
        Domain("d", ttl=1, **options)


async def test_what_agents_answer(cache: ToolCache) -> None:
    """A7: agent, goal, model, temperature and tools make the key; the order of the tools does not."""
    asked: dict[str, Any] = {"model": "m", "temperature": 0.5, "tools": ["a", "b"]}
    assert await cache.get_response("faq", "why?", **asked, compute=lambda: "because") == "because"
    assert await cache.get_response("faq", "why?", **(asked | {"tools": ("b", "a")})) == "because"
    others: list[dict[str, Any]] = [{"model": "n"}, {"temperature": 0.6}, {"tools": ["a"]}]
    for other in others:
        assert await cache.get_response("faq", "why?", **(asked | other)) is None
    assert await cache.get_response("other", "why?", **asked) is None
    assert await cache.get_response("faq", "how?", **asked) is None
    await cache.set_response("faq", "why?", "not", **asked)
    assert await cache.get_response("faq", "why?", **asked) == "not"
    assert await cache.delete_response("faq", "why?", **asked)
    with pytest.raises(TypeError, match=r"write tools=\[name\]"):
        await cache.get_response("faq", "why?", model="m", tools="web")


async def test_what_models_make_of_messages(cache: ToolCache) -> None:
    """A2, BUG-75: every message and every parameter counts."""
    system = {"role": "system", "content": "be brief"}
    messages = [system, {"role": "user", "content": "hi"}]
    assert await cache.get_completion("m", messages, params={"seed": 1}, compute=lambda: "hello") == "hello"
    assert await cache.get_completion("m", messages, params={"seed": 1}) == "hello"
    assert await cache.get_completion("m", messages[1:], params={"seed": 1}) is None
    assert await cache.get_completion("m", messages, params={"seed": 2}) is None
    assert await cache.get_completion("n", messages, params={"seed": 1}) is None
    await cache.set_completion("m", messages, "hey")
    assert await cache.get_completion("m", messages) == "hey"
    assert await cache.delete_completion("m", messages)


async def test_how_long_each_is_good() -> None:
    """A2: as the table says."""
    known = {name: row.ttl for name, row in DOMAINS.items()}
    assert known == {
        "general": None, "catalog": 86_400, "embedding": 604_800, "search": 3_600, "metadata": 86_400, "idempotency": 3_600,
        "response": 3_600, "model": 86_400, "tool": 300, "session": 86_400, "memory": 900,
    }  # fmt: skip


async def test_every_entry_carries_its_labels(cache: ToolCache) -> None:
    """DECISIONS: of its domain, agent, catalog and tool; keys of the caller's own have none, and nobody sees them."""
    await cache.set("plain", 1)
    await cache[WEATHER].set("rain", location="Oslo", day=1, tags=["t"])
    await cache.set_catalog("source", [], version="v3")
    await cache.get_search_results("query", catalog_version="v3", compute=list)
    await cache.set_metadata("hammer", {})
    await cache.set_embedding("text", "m", [1.0])
    await cache.get_embeddings(["text 2"], "m", compute=lambda texts: [[1.0] for _ in texts])
    await cache.set_response("faq", "why?", "so", model="m")
    held = {one.key.split(":")[0]: one.tags for shard in cache._parts.memory.shards for one in shard.values()}
    wanted: dict[str, tuple[str, ...]] = {
        "plain": (),
        "weather": ("t", domain_label("weather")),
        "catalog": (domain_label("catalog"), catalog_label("v3")),
        "search": (domain_label("search"), catalog_label("v3")),
        "metadata": (domain_label("metadata"), tool_label("hammer")),
        "embedding": (domain_label("embedding"),),
        "response": (domain_label("response"), agent_label("faq")),
    }
    assert held.keys() == wanted.keys()
    assert not {name for name, labels in wanted.items() if held[name][: len(labels)] != labels}
    assert not held["plain"]
    entry = await cache.get_entry(cache[WEATHER].key(location="Oslo", day=1))
    assert entry is not None
    assert entry.tags == ("t",)


def test_labels_of_any_name() -> None:
    """Whatever a name is, its label is a label, and no other's."""
    names = ["a", "a:b", "a:b:c:d:e:f:g:h:i", "x" * 500, "x" * 501, "~", "~a", "ü"]
    labels = [agent_label(name) for name in names]
    assert len(set(labels)) == len(names)
    assert all(label.startswith("@a:") and len(label) <= 128 for label in labels)
    with pytest.raises(ValueError, match="not empty"):
        agent_label("")


async def test_computations_tell_what_they_cost(cache: ToolCache) -> None:
    """API: ``context.cost``: the domain's savings go by their mean, where it has no unit costs of its own."""
    notes: Domain[str] = Domain("notes", ttl=60, key=("id",))

    async def compute(context: Context) -> str:
        context.cost(usd=0.25)
        context.cost(usd=0.25, tokens=300)
        return "note"

    def failing(context: Context) -> str:
        context.cost(usd=0.1)
        raise OSError

    for _ in range(5):
        await cache[notes].get(id=1, compute=compute)
    row = cache.stats().domains["notes"]
    assert (row.hits, row.dollars_spent, row.tokens_spent, row.dollars_saved, row.tokens_saved) == (
        4,
        0.5,
        300,
        2,
        1200,
    )
    with pytest.raises(OSError):  # noqa: PT011 - it has no text
        await cache[notes].get(id=2, compute=failing)
    assert cache.stats().domains["notes"].dollars_spent == 0.6
    with pytest.raises(ValueError, match="usd is an amount of zero or more"):
        await cache[WEATHER].get(location="", day=1, compute=lambda context: context.cost(usd=-1))


async def test_health_lists_domains(cache: ToolCache) -> None:
    """A3, B8: those of the user's own from their first use on."""
    cache[WEATHER].key(location="Oslo", day=1)
    assert "weather" in (await cache.health()).domains
