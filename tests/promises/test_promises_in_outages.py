"""What was acknowledged while a store was away, or has been cleared, stays so."""

from pathlib import Path

import pytest
from rig import Rig

from toolcache.cache import Cache
from toolcache.domains import IDEMPOTENCY
from toolcache.entry import MISSING, Durability
from toolcache.requests import Requests
from toolcache.testing import ChaosStore

both = pytest.mark.parametrize("layering", ["memory+redis+file"])
far = pytest.mark.parametrize("layering", ["memory+file", "memory+redis", "memory+redis+file"])


class Outage:
    """Redis is away inside the block; afterwards breakers and memory have had the time to notice."""

    def __init__(self, rig: Rig, *caches: Cache) -> None:
        self._rig = rig
        self._stores = [cache._parts.redis.store for cache in caches if cache._parts.redis is not None]

    def __enter__(self) -> None:
        for store in self._stores:
            assert isinstance(store, ChaosStore)
            store.fail_with(ConnectionRefusedError)

    def __exit__(self, *_: object) -> None:
        for store in self._stores:
            assert isinstance(store, ChaosStore)
            store.heal()
        self._rig.clock.advance(10)


@far
async def test_what_was_cleared_can_be_added(rig: Rig, cache: Cache) -> None:
    """BUG-95, LR-14: after a clear, a key that get misses is one that add stores."""
    await cache.set("key", "old")
    await cache.clear()
    rig.clock.advance(0.1)
    assert await cache.get("key", MISSING) is MISSING
    assert await cache.add("key", "new") is True
    assert await cache.get("key") == "new"


@far
async def test_a_result_can_be_stored_after_a_clear(rig: Rig, cache: Cache) -> None:
    """LR-14, I5: a result acknowledged after a clear is there."""
    machine = cache._machine
    await Requests(machine).put("task", "old", IDEMPOTENCY, fingerprint="f")
    await cache.clear()
    rig.clock.advance(0.1)
    assert await Requests(machine).get("task", IDEMPOTENCY) is MISSING
    assert await Requests(machine).put("task", "new", IDEMPOTENCY, fingerprint="f") > Durability.MEMORY
    assert await Requests(machine).get("task", IDEMPOTENCY) == "new"


@both
async def test_what_was_deleted_in_an_outage_can_be_added(rig: Rig, cache: Cache) -> None:
    """BUG-59, BUG-95: the delete is owed to Redis, which still holds the value; get misses and add stores."""
    await cache.set("key", "old", ttl=None)
    with Outage(rig, cache):
        assert await cache.delete("key") is True
    assert await cache.get("key", MISSING) is MISSING
    assert await cache.add("key", "new") is True
    assert await cache.get("key") == "new"


@both
async def test_a_clear_in_an_outage_holds_for_every_process_of_the_host(rig: Rig, cache: Cache) -> None:
    """BUG-39, G3: "queued" promises that nothing old is served by this host; a process that starts later is one too."""
    other = await rig.open()
    await cache.set("key", "old", ttl=None)
    with Outage(rig, cache, other):
        assert (await cache.clear()).redis == "queued"
    assert await cache.get("key", MISSING) is MISSING
    assert await other.get("key", MISSING) is MISSING
    assert await (await rig.open()).get("key", MISSING) is MISSING


@both
async def test_what_was_overwritten_in_an_outage_does_not_come_back(rig: Rig, cache: Cache) -> None:
    """BUG-61, I4: the newer value, owed to Redis, has ended; the older one that Redis holds is still overwritten."""
    await cache.set("key", "old", ttl=None)
    with Outage(rig, cache):
        assert await cache.set("key", "newer", ttl=30) is Durability.FILE
    assert await cache.get("key") == "newer"
    rig.clock.advance(31)
    assert await cache.get("key", MISSING) is MISSING
    assert await (await rig.open()).get("key", MISSING) is MISSING


@both
async def test_what_is_owed_is_cleared_by_another_host(rig: Rig, cache: Cache, tmp_path: Path) -> None:
    """BUG-08, BUG-39: another host clears through Redis; the first read that could know of it misses."""
    with Outage(rig, cache):
        assert await cache.set("key", "owed", ttl=None) is Durability.FILE
    elsewhere = await rig.open(directory=tmp_path / "elsewhere")
    await elsewhere.clear()
    assert await (await rig.open()).get("key", MISSING) is MISSING
    rig.clock.advance(6)
    assert await cache.get("key", MISSING) is MISSING


@both
async def test_last_writes_of_an_outage_win_in_every_process(rig: Rig, cache: Cache) -> None:
    """BUG-59, BUG-61: of what was set, set again, deleted, and deleted and set in an outage, the last counts after it."""
    other = await rig.open()
    await cache.set_many(dict.fromkeys(["twice", "deleted", "revived", "untouched"], "old"), ttl=None)
    with Outage(rig, cache, other):
        await cache.set("twice", "first", ttl=None)
        await other.set("twice", "second", ttl=None)
        await cache.delete("deleted")
        await other.delete("revived")
        rig.clock.advance(0.01)
        await cache.set("revived", "again", ttl=None)
    expected = {"twice": "second", "revived": "again", "untouched": "old"}
    for reader in (cache, other, await rig.open()):
        assert await reader.get_many(["twice", "deleted", "revived", "untouched"]) == expected
