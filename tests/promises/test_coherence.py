"""What a write means to those who did not make it."""

import errno
from functools import partial

from rig import Rig, far

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability
from toolcache.layer import Layer
from toolcache.testing import ChaosStore


def chaos(layer: Layer | None) -> ChaosStore:
    """The store of a layer, to be made to fail and to be counted."""
    assert layer is not None
    assert isinstance(layer.store, ChaosStore)
    return layer.store


async def test_an_own_write_does_not_cost_an_own_entry(rig: Rig, cache: Cache) -> None:
    """LR-16: after a set, a batch and a computation, their values are hit from memory; no store is read for them."""
    await cache.get("warm")
    stores = [chaos(layer) for layer in (cache._parts.redis, cache._parts.files) if layer is not None]
    before = [store.calls["get_many"] for store in stores]
    await cache.set("set", [1])
    await cache.set_many({"one": [1], "two": [2]})
    await cache._machine._follower.catch_up()
    for _ in range(3):
        assert await cache.get_many(["set", "one", "two"]) == {"set": [1], "one": [1], "two": [2]}
        assert await cache.get("set") == [1]
    assert [store.calls["get_many"] for store in stores] == before
    await cache.get_or_set("computed", lambda: [3])
    await cache._machine._follower.catch_up()
    assert await cache.get("computed") == [3]
    # A computation looks, and once more when it has its turn.
    assert all(store.calls["get_many"] - was <= 2 for store, was in zip(stores, before, strict=True))


@far
async def test_a_write_that_no_store_took_is_told_to_nobody(rig: Rig, cache: Cache) -> None:
    """LR-17: it is this process's alone; the others keep what they have, in memory too."""
    other = await rig.open()
    await cache.set("key", "old", ttl=None)
    assert await other.get("key") == "old"
    for layer in (cache._parts.redis, cache._parts.files):
        if layer is not None:
            chaos(layer).fail_with(partial(OSError, errno.ENOSPC, "full"), on=["put_many"])
    assert await cache.set("key", "mine", ttl=None) is Durability.MEMORY
    await other._machine._follower.catch_up()
    held = other._parts.memory.find("key")
    assert held is not None
    assert await other.get("key") == "old"
    assert await cache.get("key") == "mine"
    rig.clock.advance(10)
    assert await other.get("key", MISSING) == "old"
    assert await (await rig.open()).get("key", MISSING) == "old"
