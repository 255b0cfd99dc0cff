"""Invalidation by whatever entries have in common: what each kind covers, what it fences, what its receipt says."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from rig import Rig, shared

from toolcache.cache import Cache
from toolcache.catalogue import KeyInfo
from toolcache.domains import SEARCH, TOOL, Domain
from toolcache.entry import MISSING
from toolcache.errors import CacheWriteError
from toolcache.keys.globs import escape
from toolcache.tags import agent_label, catalog_label, tool_label

OWN = {
    "domain": ("search", "tool"),
    "agent": ("faq", "faq:bot"),
    "catalog_version": ("v2", "v20"),
    "tool": ("web_search", "web_search_2"),
}
"""Of each kind that has an epoch, a name and one that is like it."""


def named(scope: str, name: str) -> Any:
    """What is said to ``invalidate``."""
    return {scope: name}


async def readers(rig: Rig, cache: Cache) -> list[Cache]:
    """The cache itself, and a process with an empty memory, where there are layers below it."""
    return [cache, await rig.open()] if rig.far else [cache]


async def stored(cache: Cache, key: str, scope: str, name: str, value: Any = 1) -> None:
    """An entry that belongs to a domain, an agent, a version or a tool."""
    labels = {"agent": agent_label, "catalog_version": catalog_label, "tool": tool_label}
    domain = {"search": SEARCH, "tool": TOOL}[name] if scope == "domain" else SEARCH
    own = () if scope == "domain" else (labels[scope](name),)
    await cache._machine.set(key, value, domain, own=own)


@pytest.mark.parametrize("scope", OWN)
async def test_what_belongs_to_a_name_is_forgotten_by_it(rig: Rig, cache: Cache, scope: Any) -> None:
    """C12, BUG-40, BUG-42: names are names, not the beginnings of others; the receipt says what was done where."""
    name, other = OWN[scope]
    await stored(cache, "covered", scope, name)
    await stored(cache, "spared", scope, other)
    receipt = await cache.invalidate(**named(scope, name))
    assert (receipt.scope, receipt.memory, receipt.removed) == (scope, "done", None)
    assert (receipt.redis, receipt.files) == (
        "done" if rig.shared else None,
        "done" if "file" in rig.layering else None,
    )
    for reader in await readers(rig, cache):
        assert await reader.get_many(["covered", "spared"]) == {"spared": 1}


@pytest.mark.parametrize("scope", OWN)
async def test_names_are_no_patterns(cache: Cache, scope: Any) -> None:
    """BUG-40: a star is a star; of domains there are none with one."""
    await stored(cache, "spared", scope, OWN[scope][0])
    if scope == "domain":
        with pytest.raises(ValueError, match="none of"):
            await cache.invalidate(domain="*")
    else:
        await cache.invalidate(**named(scope, "*"))
    await cache.invalidate(tags=["*"])
    assert await cache.get("spared") == 1


async def test_a_domain_of_ones_own_is_named_by_itself(cache: Cache) -> None:
    """By the ``Domain``, or its name where the cache knows that."""
    weather = Domain("weather", ttl="5m", key=("location",))
    await cache._machine.set("oslo", "rain", weather)
    await cache.invalidate(domain=weather)
    assert await cache.get("oslo") is None


async def test_a_pattern_removes_what_matches_everywhere(rig: Rig, cache: Cache) -> None:
    """C12, BUG-42: in every layer, whoever asks; the receipt counts the entries."""
    for key in ("weather_oslo", "weather_são paulo", "weather", "my_weather_oslo", "weather_x"):
        await cache.set(key, key)
    await cache.delete("weather_x")
    other = await rig.open() if rig.far else cache
    receipt = await other.invalidate(pattern="weather_*")
    assert (receipt.scope, receipt.memory, receipt.removed, receipt.cut) == ("pattern", "done", 2, 0)
    assert (receipt.redis, receipt.files) == (
        "done" if rig.shared else None,
        "done" if "file" in rig.layering else None,
    )
    for reader in await readers(rig, other):
        assert sorted([info.key async for info in reader.scan()]) == ["my_weather_oslo", "weather"]
        assert await reader.get("weather_oslo") is None
    assert (await other.invalidate(pattern="weather_*")).removed == 0


async def test_escaped_text_means_itself(cache: Cache) -> None:
    """BUG-40: what a user typed is no pattern once it was escaped."""
    for key in ("a*[b]?", "abcbx"):
        await cache.set(key, 1)
    assert (await cache.invalidate(pattern=escape("a*[b]?"))).removed == 1
    assert await cache.get("abcbx") == 1


async def test_keys_that_cannot_be_read_whole_are_counted(cache: Cache) -> None:
    """Of more than 200 bytes only the beginning can be compared: what may match goes, and the receipt tells how many."""
    await cache.set("search:" + "x" * 300, 1)
    await cache.set("search:short", 1)
    await cache.set("other:" + "x" * 300, 1)
    receipt = await cache.invalidate(pattern="search:*t")
    assert (receipt.removed, receipt.cut) == (2, 1)
    assert [info.domain async for info in cache.scan()] == [None]


async def test_a_predicate_judges_what_is_known_without_the_value(rig: Rig, cache: Cache) -> None:
    """By size, age, tags or hits; of all keys, or of those of a pattern."""
    await cache.set("large:1", "x" * 1_000, tags=["a"])
    await cache.set("large:2", "x" * 1_000)
    await cache.set("small:1", "x", tags=["a"])
    seen: list[KeyInfo] = []

    def large(info: KeyInfo) -> bool:
        seen.append(info)
        return info.size > 500

    receipt = await cache.invalidate(where=large, pattern="*:1")
    assert (receipt.scope, receipt.removed) == ("where", 1)
    assert {info.key for info in seen} == {"large:1", "small:1"}
    assert (await cache.invalidate(where=lambda info: "a" in info.tags)).removed == 1
    for reader in await readers(rig, cache):
        assert [info.key async for info in reader.scan()] == ["large:2"]


async def test_a_predicate_that_fails_or_says_nothing_removes_nothing_more(cache: Cache) -> None:
    """What it raises is raised; one that has to be awaited would say yes to all."""
    await cache.set("key", 1)

    async def later(_info: KeyInfo) -> bool:
        return True

    with pytest.raises(ZeroDivisionError):
        await cache.invalidate(where=lambda _info: bool(1 / 0))
    with pytest.raises(TypeError, match="plain function"):
        await cache.invalidate(where=later)  # type: ignore[arg-type]  # as a caller may
    with pytest.raises(TypeError, match="plain function"):
        await cache.invalidate(where=partial(later))  # type: ignore[arg-type]  # as well
    assert await cache.get("key") == 1


async def test_it_ends_while_others_go_on_writing(rig: Rig, cache: Cache) -> None:
    """BUG-41: what is written after the beginning is left alone, however much it is."""
    await cache.set_many({f"k:{number}": number for number in range(600)})
    writer = await rig.open() if rig.far else cache
    done = False
    written: list[str] = []

    async def write() -> None:
        while not done:
            key = f"k:new:{len(written)}"
            rig.clock.advance(0.1)
            await writer.set(key, key)
            written.append(key)
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    while not written:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0)
    begun = len(written)
    receipt = await cache.invalidate(pattern="k:*")
    done = True
    await writing
    assert receipt.removed is not None
    assert 600 <= receipt.removed <= 600 + begun + 1
    assert len(written) > begun
    reader = await rig.open() if rig.far else cache
    left = {info.key async for info in reader.scan("k:*")}
    assert left >= set(written[begun + 1 :])
    assert not left & {f"k:{number}" for number in range(600)}


async def test_what_is_being_computed_under_a_key_that_matches_is_not_stored(
    rig: Rig, cache: Cache, counted: Callable[..., Any]
) -> None:
    """SPEC 6, DECISIONS: local flights are detached, and the receipt says how many; their callers have the value."""
    gate, running = asyncio.Event(), asyncio.Semaphore(0)

    async def slow() -> str:
        running.release()
        await gate.wait()
        return "old"

    asked = [asyncio.create_task(cache.get_or_set(key, slow)) for key in ("page:1", "page:2", "other")]
    for _ in asked:
        await running.acquire()
    receipt = await cache.invalidate(pattern="page:*")
    assert (receipt.removed, receipt.detached) == (0, 2)
    fresh = counted("new")
    assert await cache.get_or_set("page:1", fresh) == "new"
    gate.set()
    assert await asyncio.gather(*asked) == ["old"] * 3
    await asyncio.gather(*cache._machine.homes.here()._tasks)
    for reader in await readers(rig, cache):
        assert await reader.get_many(["page:1", "page:2", "other"]) == {"page:1": "new", "other": "old"}


@shared
async def test_in_an_outage_what_could_not_be_listed_is_told(rig: Rig, cache: Cache) -> None:
    """BUG-42: what is found elsewhere goes, and stays gone; what Redis holds besides nobody knows, and the caller is told."""
    await cache.set("k:1", 1)
    redis: Any = cache._parts.redis
    redis.store.fail_with(ConnectionResetError)
    with pytest.raises(CacheWriteError, match="invalidate"):
        await cache.invalidate(pattern="k:*")
    assert await cache.get("k:1") is None
    redis.store.heal()
    rig.clock.advance(60)
    assert (await cache.invalidate(pattern="k:*")).redis == "done"
    for reader in await readers(rig, cache):
        assert await reader.get("k:1") is None


@shared
async def test_what_redis_does_not_take_is_queued(rig: Rig, cache: Cache) -> None:
    """BUG-42: it answers, and takes no writes; where there are files, it will be told."""
    await cache.set("k:1", 1)
    redis: Any = cache._parts.redis
    redis.store.fail_with(ConnectionResetError, on=["put_many"])
    if "file" not in rig.layering:
        with pytest.raises(CacheWriteError, match="could not be deleted"):
            await cache.invalidate(pattern="k:*")
        return
    receipt = await cache.invalidate(pattern="k:*")
    assert (receipt.redis, receipt.files, receipt.removed) == ("queued", "done", 1)
    assert await cache.get("k:1") is None


async def test_nobody_waits_for_what_will_not_be_stored(rig: Rig, cache: Cache) -> None:
    """DECISIONS, flights: a computation that was detached before it began makes nobody else wait for its value."""
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "old"

    first = asyncio.create_task(cache.get_or_set("page:1", slow))
    await asyncio.sleep(0)
    await cache.invalidate(pattern="page:*")
    other = await rig.open() if rig.far else cache
    assert await asyncio.wait_for(other.get_or_set("page:1", lambda: "new"), 5) == "new"
    gate.set()
    assert await first in {"old", "new"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "none was given"),
        ({"tags": ["a"], "domain": "search"}, "once for each"),
        ({"pattern": "a*", "tags": ["a"]}, "once for each"),
        ({"tag": ["a"]}, "did you mean 'tags'"),
        ({"agents": "faq"}, "did you mean 'agent'"),
        ({"domain": "serch"}, "did you mean 'search'"),
        ({"domain": "general"}, "belong to no domain"),
        ({"domain": "idempotency"}, "one by one"),
        ({"domain": 7}, "none of"),
        ({"agent": ""}, "agent"),
        ({"tool": 7}, "tool"),
        ({"catalog_version": None}, "catalog_version"),
        ({"where": "size > 5"}, "function"),
    ],
)
async def test_what_cannot_be_meant_is_refused(cache: Cache, said: Any, told: str) -> None:
    """BUG-42: nothing is guessed, nothing is forgotten, and the text says what may be written instead."""
    await cache.set("key", 1, tags=["a"])
    with pytest.raises((TypeError, ValueError), match=told):
        await cache.invalidate(**said)
    assert await cache.get("key", MISSING) == 1
