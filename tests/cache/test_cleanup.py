"""What is given back at once when it is asked for; and what is not."""

from typing import Any

from rig import Rig, shared

from toolcache.cache import Cache
from toolcache.domains import IDEMPOTENCY
from toolcache.entry import MISSING
from toolcache.testing import FakeClock

DAY = 86_400.0


def epoch_keys(rig: Rig) -> int:
    """Records of invalidations that Redis has."""
    if rig.server is None:
        return 0
    keys: Any = rig.server.command("KEYS", "tc1:e:test:*")
    return len(keys)


async def test_memory_is_freed_of_what_has_ended_or_was_invalidated(cache: Cache, clock: FakeClock) -> None:
    """BUG-99: at once, without a read of each; what is live stays."""
    await cache.set_many({f"ended:{number}": number for number in range(300)}, ttl=5)
    await cache.set("covered", 1, tags=["t"])
    await cache.set("live", 1, tags=["u"])
    clock.advance(6)
    await cache.invalidate(tags=["t"])
    done = await cache.cleanup()
    assert done.memory == 301
    assert (cache.stats().entries, await cache.get("live")) == (1, 1)
    assert (await cache.cleanup()).memory == 0


async def test_files_are_compacted(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """Bytes of what has ended are given back; where there are no files, none are told of."""
    if "file" not in rig.layering or rig.shared:
        assert (await cache.cleanup()).files in ({None} if "file" not in rig.layering else {0})
        return
    files: Any = cache._parts.files
    store = files.store._store
    store._budget.max_disk = 2**20  # so that segments are small
    await store.open()
    store._shared.compactor.consider = lambda: None  # it is to wait to be asked
    for number in range(60):
        await cache.set(f"k:{number}", f"{number:05}" * 1_000, ttl=5)
    await cache.set("live", 1)
    clock.advance(6)
    assert ((await cache.cleanup()).files or 0) > 100_000
    assert [info.key async for info in (await rig.open()).scan()] == ["live"]


async def test_epochs_go_when_nothing_lies_beneath_them(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-37: of tags, once all that is held is younger; nothing that was invalidated comes back by that."""
    await cache.set("for ever", ["old"], ttl=None, tags=["t"])
    await cache.set("result of t", 1, tags=["t"])
    await cache.invalidate(tags=["t"])
    await cache.clear()
    for number in range(20):
        await cache.invalidate(tags=[f"user:{number}"])
    clock.advance(60)
    await cache.set("young", 1)
    assert (await cache.cleanup()).epochs == 0
    clock.advance(3 * DAY)
    assert (await cache.cleanup()).epochs == 0  # the oldest value, for ever covered, still lies beneath them
    await cache.delete("for ever")
    clock.advance(3 * DAY)
    await cache.set("young", 1, tags=["user:1"])
    done = await cache.cleanup()
    assert done.epochs == (21 if rig.shared else 0)
    if rig.shared:
        assert epoch_keys(rig) == 1  # the namespace's own
    for reader in [cache, await rig.open()] if rig.far else [cache]:
        assert await reader.get("for ever", MISSING) is MISSING
        assert await reader.get("young") == 1
        await reader.invalidate(tags=["user:1"])
        assert await reader.get("young", MISSING) is MISSING
        await reader.set("young", 1, tags=["user:1"])


async def test_epochs_of_results_stay(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """A result may be older than its record, so what it is tagged with is kept: it does not come back."""
    await cache._requests.put("task", "paid", IDEMPOTENCY, fingerprint="f" * 64, tags=["t"], ttl=30 * DAY)
    await cache.invalidate(tags=["t"])
    clock.advance(3 * DAY)
    await cache.cleanup()
    for reader in [cache, await rig.open()] if rig.far else [cache]:
        assert await reader._requests.get("task", IDEMPOTENCY) is MISSING


@shared
async def test_what_cannot_be_listed_keeps_its_epochs(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """In an outage nothing is concluded, and nothing raised."""
    await cache.invalidate(tags=["t"])
    clock.advance(3 * DAY)
    redis: Any = cache._parts.redis
    redis.store.fail_with(ConnectionResetError, on=["page"])
    assert (await cache.cleanup()).epochs == 0
    assert epoch_keys(rig) == 1
