"""Listing: what every layer holds, each live key once, whatever is under way."""

import asyncio
from typing import Any

import pytest
from rig import Rig, far, shared

from toolcache.cache import Cache
from toolcache.codec.envelope import Envelope
from toolcache.layer import Layer
from toolcache.scanner import UnlistedError
from toolcache.testing import FakeClock


def layers(cache: Cache) -> list[Layer]:
    """Those below memory."""
    return [layer for layer in (cache._parts.redis, cache._parts.files) if layer is not None]


async def listed(cache: Cache, layer: Layer, prefix: str = "") -> dict[str, int]:
    """The keys that a layer holds, and how large the bodies are."""
    scanner = cache._machine.scanner
    return {str(one.place): one.header.body_len async for some in scanner.layer(layer, prefix) for one in some}


async def test_a_layer_lists_what_is_live_without_bodies(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """Neither tombstones, nor what has ended, nor what an epoch covers; tags however long they are."""
    tags = ["t" * 127 + str(n) for n in range(10)]
    await cache.set("tagged", "x" * 1_000, tags=tags)
    await cache.set("covered", 1, tags=["gone"])
    await cache.set("deleted", 1)
    await cache.set("ended", 1, ttl="1s")
    await cache.set("a b", 1)
    await cache.delete("deleted")
    await cache.invalidate(tags=["gone"])
    clock.advance(2)
    await cache.set("other:1", 1)
    reader = await rig.open()
    for layer in layers(cache) if not rig.shared else layers(cache)[:1]:
        assert (await listed(reader, layer)).keys() == {"tagged", "a%20b", "other:1"}
        assert await listed(reader, layer, "other") == {"other:1": 1}
        found = [one async for some in reader._machine.scanner.layer(layer, "tag") for one in some]
        assert found[0].tags == tuple(tags)
    held = [str(one.key) async for some in cache._machine.scanner.memory() for one in some]
    assert sorted(held) == ["a%20b", "other:1", "tagged"]


async def test_a_layer_that_cannot_be_asked_says_so(rig: Rig, cache: Cache) -> None:
    """What came until then is not all of it."""
    for layer in layers(cache):
        await cache.set("key", 1)
        layer.store.fail_with(ConnectionResetError)  # type: ignore[attr-defined]  # of the rig's
        with pytest.raises(UnlistedError):
            await listed(cache, layer)


async def keys(cache: Cache, pattern: str = "*") -> list[str]:
    """What a scan tells, in order."""
    return sorted([str(info.key) async for info in cache.scan(pattern)])


async def test_a_scan_tells_each_live_key_once(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-38, BUG-88: as it was written, from whichever layer, by a process that has none of it in memory, too."""
    written = ["plain", "a b", "100%", "naïve:ключ", "user:1", "user:10", "line\nend", "\ud800"]
    for number, key in enumerate(written):
        await cache.set(key, number)
    await cache.set("covered", 1, tags=["gone"])
    await cache.set("deleted", 1)
    await cache.set("ended", 1, ttl="1s")
    await cache.delete("deleted")
    await cache.invalidate(tags=["gone"])
    clock.advance(2)
    for reader in [cache, await rig.open()] if rig.far else [cache]:
        assert await keys(reader) == sorted(written)
        assert await keys(reader, "user:*") == ["user:1", "user:10"]
        assert await keys(reader, "user:?") == ["user:1"]
        assert await keys(reader, "*a*") == ["a b", "naïve:ключ", "plain"]
        assert await keys(reader, "na[i-ï]ve:*") == ["naïve:ключ"]
        for key in await keys(reader):
            assert await reader.exists(key)


async def test_a_scan_tells_what_get_entry_tells(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """Instants, tags without the cache's own, where it is, how often it was hit, and whether it is past its time."""
    await cache.set("key", "value", ttl="1h", tags=["news"])
    await cache.get("key")
    clock.advance(60)
    entry = await cache.get_entry("key")
    (info,) = [info async for info in cache.scan()]
    assert entry is not None
    assert (info.key, info.domain, info.tags, info.stale) == ("key", None, ("news",), False)
    assert (info.created_at, info.expires_at, info.layer) == (entry.created_at, entry.expires_at, entry.layer)
    assert info.ttl == pytest.approx(entry.ttl, abs=0.002)
    assert info.hits >= 1
    assert 0 < info.size <= 100
    await cache.set("for ever", 1, ttl=None)
    await cache.expire("key")
    told = {info.key: info async for info in cache.scan()}
    assert told["for ever"].ttl == told["for ever"].expires_at == float("inf")
    assert told["key"].stale
    assert told["key"].ttl == 0


async def test_keys_that_were_cut_are_found_by_their_beginning(rig: Rig, cache: Cache) -> None:
    """A key of more than 200 bytes is told by its beginning; that finds the entry."""
    long = ["search:" + "x" * 300, "search:" + "ж" * 50, "other:" + "y" * 300]
    for key in long:
        await cache.set(key, key)
    for reader in [cache, await rig.open()] if rig.far else [cache]:
        infos = [info async for info in reader.scan("search:*")]
        assert sorted([await reader.get(info.key) for info in infos]) == sorted(long[:2])
        assert await keys(reader, "search:x") == []
        assert len(await keys(reader, "*z")) == 3  # it may be anything that cannot be read


async def test_namespaces_are_names(rig: Rig, clock: FakeClock) -> None:
    """BUG-39, BUG-40: a scan and a removal stay within the namespace, whatever letters of others look like patterns."""
    first, other = await rig.open(namespace="shop"), await rig.open(namespace="shop-2")
    await first.set("key", 1)
    await other.set("key", 2)
    assert await keys(first, "k*") == ["key"]
    assert (await first.invalidate(pattern="*")).removed == 1
    assert (await first.get("key"), await other.get("key")) == (None, 2)


@shared
async def test_what_is_set_in_an_outage_is_told_once(rig: Rig, cache: Cache) -> None:
    """From memory or files what Redis has not got, from Redis the rest; while it is down, what can be told."""
    await cache.set("before", 1)
    cache._parts.redis.store.fail_with(ConnectionResetError)  # type: ignore[union-attr]  # of the rig's
    await cache.set("meanwhile", 1)
    assert "meanwhile" in await keys(cache)
    cache._parts.redis.store.heal()  # type: ignore[union-attr]  # of the rig's
    rig.clock.advance(60)
    assert await keys(cache) == ["before", "meanwhile"]


@pytest.mark.parametrize(
    ("layering", "away"), [("memory+redis", "redis"), ("memory+redis+file", "redis"), ("memory+redis+file", "file")]
)
async def test_a_scan_says_whether_it_told_all(rig: Rig, cache: Cache, away: str) -> None:
    """Of a layer that cannot be listed it says so; the other one is listed all the same."""
    other = await rig.open()
    await other.set("before", 1)
    whole = cache.scan()
    assert [info.key async for info in whole] == ["before"]
    assert (whole.complete, whole.unlisted) == (True, [])
    (layer,) = [one for one in layers(cache) if one.name == away]
    layer.store.fail_with(ConnectionResetError)  # type: ignore[attr-defined]  # of the rig's
    partial = cache.scan()
    assert partial.complete  # nobody was asked yet
    assert [info.key async for info in partial] == ([] if away == "redis" else ["before"])
    assert (partial.complete, partial.unlisted) == (False, [away])


async def test_a_scan_of_many_keys_lets_others_have_their_turn(cache: Cache) -> None:
    """BUG-99: it comes piece by piece, and the loop turns in between."""
    await cache.set_many({f"many:{number:04}": number for number in range(1_500)})
    turns, told = 0, 0
    done = False

    async def turn() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(turn())
    async for _ in cache.scan("many:*"):
        told += 1
    done = True
    await other
    assert told == 1_500
    assert turns >= 7


@pytest.mark.parametrize("pattern", ["", "[a", "[z-a]", "x" * 2_000, None])
async def test_what_is_no_pattern_is_refused(cache: Cache, pattern: Any) -> None:
    """Before anything is looked at."""
    with pytest.raises(ValueError, match="pattern"):
        cache.scan(pattern)


@far
async def test_what_is_not_sealed_as_configured_is_not_told(rig: Rig, cache: Cache) -> None:
    """A cache with a secret lists what was sealed, one without what was not: no more than ``get`` finds."""
    sealed = await rig.open(envelope=Envelope(secret="a secret of some length"))
    await cache.set("plain", 1)
    await sealed.set("sealed", 1)
    for one, known in ((cache, "plain"), (sealed, "sealed")):
        reader = await rig.open(envelope=one._parts.envelope)
        assert await keys(reader) == [known]
