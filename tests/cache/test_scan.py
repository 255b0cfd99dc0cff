"""Listing: what every layer holds, each live key once, whatever is under way."""

import pytest
from rig import Rig

from toolcache.cache import Cache
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
