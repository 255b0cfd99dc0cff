"""Interleavings and clocks that once led to a wrong answer."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache.cache import Cache
from toolcache.codec.envelope import Envelope
from toolcache.compute import Context
from toolcache.domains import GENERAL, IDEMPOTENCY, METADATA
from toolcache.entry import MISSING, Durability
from toolcache.errors import CacheWriteError, FlightAbortedError, ReentrantFlightError
from toolcache.events import ClockAnomaly, DataAtRisk, ValueNotStored
from toolcache.keys.text import join
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.protocols import PutResult, Write
from toolcache.versions import HybridClock, split

FAR = ("memory+file", "memory+redis", "memory+redis+file")
BOUND = 5.0


@pytest.fixture(params=FAR)
async def far(request: pytest.FixtureRequest, clock: SteadyClock, tmp_path: Path) -> AsyncIterator[Rig]:
    """Caches with something below memory."""
    layering = str(request.param)
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    rig = Rig(layering, clock, tmp_path / "files", server)
    yield rig
    await rig.aclose()


@pytest.fixture
async def both(clock: SteadyClock, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Rig]:
    """Caches over Redis and files, with a server to mistreat."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", own_redis)
    yield rig
    await rig.aclose()


def chaos(cache: Cache, layer: str) -> Any:
    """The store of a layer, to be made to fail."""
    found = getattr(cache._parts, layer)
    assert found is not None
    return found.store


def ahead(rig: Rig, seconds: float) -> HybridClock:
    """The clock of a process that is ahead of the others."""
    return HybridClock(SteadyClock(rig.clock.time() + seconds))


async def test_a_key_has_one_place_in_memory_however_it_is_spelled(far: Rig) -> None:
    """BUG-72, SPEC 11: a domain's key with an escaped part and the text that spells it are one entry, here and there."""
    one, two = await far.open(), await far.open()
    key = join("metadata", "my tool", "1")
    await one._machine.set_many({key: "v"}, METADATA)
    assert await one.get("metadata:my tool:1") == "v"
    assert await two._machine.lookups.get(key, METADATA) == "v"
    assert await one.delete("metadata:my tool:1") is True
    assert await one._machine.lookups.get(key, METADATA) is None
    end = time.monotonic() + BOUND
    far.clock.advance(6)
    while await two._machine.lookups.get(key, METADATA) is not None:
        assert time.monotonic() < end, "still served"
        await asyncio.sleep(0.005)


def test_a_second_loop_is_not_served_what_changed_between(clock: SteadyClock, tmp_path: Path) -> None:
    """BUG-28: files only, one loop after another: what others wrote in between is known before the first answer."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    cache, other = Cache(rig.parts()), Cache(rig.parts())

    async def read() -> Any:
        return await cache.get("key")

    async def write(value: str) -> None:
        await other.set("key", value)

    asyncio.run(write("old"))
    assert asyncio.run(read()) == "old"
    asyncio.run(write("new"))
    assert asyncio.run(read()) == "new"
    asyncio.run(cache.aclose())
    asyncio.run(other.aclose())


async def test_following_survives_whatever_stands_in_the_log(clock: SteadyClock, tmp_path: Path) -> None:
    """BUG-31: a fault while following empties memory and does not end the following."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    one, two = await rig.open(), await rig.open()
    await one.set("key", "old")
    assert await two.get("key") == "old"
    follower = two._machine._follower
    heed, follower._heed = follower._heed, lambda _name, _version: 1 / 0  # type: ignore[method-assign,assignment]  # fails
    await one.set("key", "new")
    end = time.monotonic() + BOUND
    while await two.get("key") != "new":
        assert time.monotonic() < end, "still served"
        await asyncio.sleep(0.005)
    follower._heed = heed  # type: ignore[method-assign]  # works again
    await one.set("key", "newest")
    while await two.get("key") != "newest":
        assert time.monotonic() < end, "nobody follows any more"
        await asyncio.sleep(0.005)
    await rig.aclose()


async def test_an_own_write_is_not_forgotten_for_what_the_disk_still_owes(both: Rig) -> None:
    """I3: Redis took the newer write while the disk could not note it; then Redis fails, and the disk is well again."""
    cache = await both.open()
    redis, files = chaos(cache, "redis"), chaos(cache, "files")
    redis.fail_with(ConnectionResetError)
    assert await cache.set("key", "older", ttl=30) is Durability.FILE
    redis.heal()
    both.clock.advance(60)
    files.fail_with(lambda: OSError(errno.EIO, "i/o error"), on=["open", "settle", "get_many", "put_many"])
    assert await cache.set("key", "newer") is Durability.REDIS
    files.heal()
    redis.fail_with(ConnectionResetError)
    both.clock.advance(60)
    assert await cache.get("key") == "newer"


async def test_a_delete_that_was_seen_stays_in_the_next_outage(both: Rig) -> None:
    """BUG-61, G3: a tombstone read from Redis removes the value from memory, which then cannot stand in with it."""
    one, two = await both.open(), await both.open()
    await one.set("key", "value")
    assert await two.get("key") == "value"
    both.clock.advance(1)
    await one.delete("key")
    both.clock.advance(6)
    assert await two.get("key", MISSING) is MISSING
    chaos(two, "redis").fail_with(ConnectionResetError)
    assert await two.get("key", MISSING) is MISSING


async def test_a_result_forgotten_in_an_outage_stays_forgotten(both: Rig) -> None:
    """G3: Redis still holds the result afterwards; this host has said that it is forgotten."""
    cache = await both.open()
    await cache._requests.put("task", "out", IDEMPOTENCY, fingerprint="f")
    both.clock.advance(1)
    chaos(cache, "redis").fail_with(ConnectionResetError)
    assert await cache._requests.forget("task", IDEMPOTENCY) is True
    chaos(cache, "redis").heal()
    both.clock.advance(120)
    assert await cache._requests.get("task", IDEMPOTENCY) is MISSING


async def test_once_writes_overtake_tombstones_of_a_clock_ahead(far: Rig, tmp_path: Path) -> None:
    """BUG-95, OR-10: what was deleted by a process a little ahead can be added, and a result stored, at once."""
    cache = await far.open()
    other = await far.open(hybrid=ahead(far, 0.2))
    await other.delete("key")
    assert await cache.add("key", 1) is True
    assert await cache.get("key") == 1
    await other._requests.forget("task", IDEMPOTENCY)
    await cache._requests.put("task", "out", IDEMPOTENCY, fingerprint="f")
    assert await cache._requests.get("task", IDEMPOTENCY) == "out"


async def test_a_clock_far_ahead_costs_no_later_write(far: Rig) -> None:
    """OR-11: above a version from an hour ahead a second set, and a delete, are stored as the first one was."""
    cache = await far.open()
    other = await far.open(hybrid=ahead(far, 3600))
    await other.set("key", "theirs")
    for value in ("one", "two"):
        await cache.set("key", value)
        cache._parts.memory.clear()
        assert await cache.get("key") == value
    assert await cache.delete("key") is True
    cache._parts.memory.clear()
    assert await cache.get("key", MISSING) is MISSING


@pytest.mark.parametrize("behind", [600, 3600])
async def test_a_process_whose_clock_is_behind_can_write(far: Rig, behind: float) -> None:
    """OR-10: its set of what another wrote is stored, and read by all; so is its delete."""
    late, other = await far.open(hybrid=ahead(far, -behind)), await far.open()
    expected = Durability.REDIS if far.shared else Durability.FILE
    await other.set("key", "first")
    assert await late.set("key", "second") is expected
    assert await (await far.open()).get("key") == "second"
    assert await late.delete("key") is True
    assert await (await far.open()).get("key", MISSING) is MISSING


async def test_a_version_of_next_year_is_told_of_and_poisons_no_other_key(far: Rig) -> None:
    """OR-11: a live set wins over it; what is written to other keys is dated by the clock as before."""
    year = 365 * 86_400.0
    cache, other = await far.open(), await far.open(hybrid=ahead(far, year))
    await other.set("key", "of next year")
    assert await cache.get("key") == "of next year"
    assert far.recorder.of(ClockAnomaly)[-1].lead_seconds == pytest.approx(year, abs=60)
    await cache.set("key", "of now")
    assert await (await far.open()).get("key") == "of now"
    await cache.set("another", 1)
    held = cache._parts.memory.find("another")
    assert held is not None
    assert split(held.version)[0] / 1000 == pytest.approx(far.clock.time(), abs=1)


@pytest.mark.parametrize("how", ["set", "delete", "clear"])
async def test_what_another_process_does_during_a_computation_wins(far: Rig, how: str) -> None:
    """BUG-08: the waiters get what was computed; nobody who asks the stores ever does."""
    cache, other = await far.open(), await far.open()
    begun, go = asyncio.Event(), asyncio.Event()

    async def compute() -> str:
        begun.set()
        await go.wait()
        return "computed"

    asking = asyncio.ensure_future(cache.get_or_set("key", compute))
    await begun.wait()
    far.clock.advance(1)
    await (other.set("key", "theirs") if how == "set" else other.delete("key") if how == "delete" else other.clear())
    far.clock.advance(1)
    go.set()
    assert await asking == "computed"
    await asyncio.gather(*cache._machine.homes.here()._tasks)
    left = "theirs" if how == "set" else MISSING
    assert await (await far.open()).get("key", MISSING) == left
    far.clock.advance(BOUND)
    assert await other.get("key", MISSING) == left
    await cache._machine._follower.catch_up()
    assert await cache.get("key", MISSING) == left


async def test_a_write_above_a_far_future_is_not_mistaken_for_a_later_one(far: Rig) -> None:
    """I4: a process meets, when that future is nearer, the version that it took to exceed it: its delete is still newer."""
    other, cache = await far.open(hybrid=ahead(far, 90)), await far.open()
    await other.set("key", "from the future")
    await cache.set("key", "value")
    far.clock.advance(40)
    cache._parts.memory.clear()
    await cache.delete("key")
    assert await cache.get("key", MISSING) is MISSING
    cache._parts.memory.clear()
    assert await cache.get("key", MISSING) is MISSING


async def test_a_delete_in_the_midst_of_which_that_future_comes_is_newer_still(far: Rig) -> None:
    """I4: the clock is set right while the deletes are under way: what exceeded the future before them is no later write."""
    other, cache = await far.open(hybrid=ahead(far, 90)), await far.open()
    await other.set_many({"first": "from the future", "key": "from the future"})
    await cache.set("key", "value")
    far.clock.advance(1)
    cache._parts.memory.clear()
    store = chaos(cache, "redis" if far.shared else "files")
    put = store.put_many

    async def put_later(writes: Sequence[Write]) -> list[PutResult]:
        store.put_many = put
        far.clock.step_wall(120)
        results: list[PutResult] = await put(writes)
        return results

    store.put_many = put_later
    await cache.delete_many(["first", "key"])
    cache._parts.memory.clear()
    assert await cache.get_many(["first", "key"]) == {}


async def test_a_read_between_a_set_and_its_ack_brings_nothing_old(far: Rig) -> None:
    """BUG-29: the new value is too large for memory, and the old one does not come back into it."""
    small = MemoryStore(clock=far.clock, policy=S3FIFO(), max_bytes=50_000)
    cache = await far.open(memory=small, envelope=Envelope(compress_above=None))
    await cache.set("key", "old")
    small.clear()
    await asyncio.gather(cache.set("key", "N" * 60_000), cache.get("key"))
    assert await cache.get("key") == "N" * 60_000


async def test_what_redis_took_is_acknowledged_although_the_file_cannot_be_marked(both: Rig) -> None:
    """BUG-46, G1: a full disk does not reach the caller of a set that Redis has taken."""
    cache = await both.open()
    chaos(cache, "redis").fail_with(ConnectionResetError)
    assert await cache.set("key", "owed") is Durability.FILE
    chaos(cache, "redis").heal()
    both.clock.advance(120)
    await cache.get("probe")
    chaos(cache, "files").fail_with(lambda: OSError(errno.ENOSPC, "No space left on device"))
    assert await cache.set("key", "taken") is Durability.REDIS
    assert await cache.get("key") == "taken"


@pytest.mark.timeout(10)
async def test_a_batch_that_asks_for_its_own_keys_is_refused(rig: Rig) -> None:
    """BUG-05: whichever key of the batch is asked for from within."""
    cache = await rig.open()
    for asked in ("a", "b"):

        async def compute(keys: list[str], asked: str = asked) -> dict[str, Any]:
            await cache.get_or_set(asked, lambda: 1)
            return dict.fromkeys(keys, 1)

        with pytest.raises(ReentrantFlightError):
            await cache._machine.compute_many(["a", "b"], compute, GENERAL)


@pytest.mark.timeout(10)
async def test_nobody_waits_for_a_store_that_lies(far: Rig) -> None:
    """BUG-47: a store that answers with too few blobs is a miss, and nobody hangs."""
    cache = await far.open()

    async def too_few(_keys: Any) -> list[bytes | None]:
        await asyncio.sleep(0)
        return []

    layer = cache._parts.redis or cache._parts.files
    assert layer is not None
    layer.store.get_many = too_few  # type: ignore[method-assign]  # a liar
    assert await cache.get("key", MISSING) is MISSING


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), "soon", True])
async def test_a_ttl_or_tags_that_a_computation_sets_wrongly_lose_no_value(rig: Rig, ttl: Any) -> None:
    """BUG-84: whatever the computation asked for, its callers get its value; it is stored nowhere, and told."""
    cache = await rig.open()

    def wrong_ttl(context: Context) -> str:
        context.ttl = ttl
        return "value"

    def wrong_tags(context: Context) -> str:
        context.tags = ("x" * 500,)
        return "value"

    assert await cache.get_or_set("ttl", wrong_ttl) == "value"
    assert await cache.get_or_set("tags", wrong_tags) == "value"
    assert await cache.get_many(["ttl", "tags"]) == {}
    assert len(rig.recorder.of(ValueNotStored)) == 2


async def test_ttl_none_for_a_computed_value(rig: Rig) -> None:
    """ttl=None stores a computed value for ever, and the computation sees None."""
    cache = await rig.open()
    seen = []

    def compute(context: Context) -> int:
        seen.append(context.ttl)
        return 1

    await cache.get_or_set("key", compute, ttl=None)
    assert seen == [None]
    assert await cache.ttl("key") == float("inf")


async def test_the_durability_of_a_second_result_is_that_of_the_first(both: Rig) -> None:
    """SPEC 8: in an outage a result that is kept on file already is as safe as the file, and no safer."""
    cache = await both.open()
    chaos(cache, "redis").fail_with(ConnectionResetError)
    for _ in range(2):
        kept = await cache._requests.put("task", "out", IDEMPOTENCY, fingerprint="f")
        assert kept is Durability.FILE


async def test_strict_holds_for_every_write(both: Rig) -> None:
    """SPEC 5.2: set, add and a result raise when memory alone took them, and each is told of; a result is kept."""
    cache = await both.open(strict=True)
    chaos(cache, "redis").fail_with(ConnectionResetError)
    chaos(cache, "files").fail_with(lambda: OSError(errno.ENOSPC, "No space left on device"), on=["put_many", "swap"])
    with pytest.raises(CacheWriteError, match="set "):
        await cache.set("set", 1)
    with pytest.raises(CacheWriteError, match="add "):
        await cache.add("add", 1)
    with pytest.raises(CacheWriteError, match="set_result "):
        await cache._requests.put("task", "out", IDEMPOTENCY, fingerprint="f")
    assert {event.operation for event in both.recorder.of(DataAtRisk)} == {"set", "add", "commit"}
    assert await cache._requests.get("task", IDEMPOTENCY) == "out"


async def test_add_in_an_outage_respects_what_this_host_can_read(both: Rig) -> None:
    """BUG-95: what exists() has just found, add does not replace."""
    cache = await both.open()
    await cache.set("key", "first")
    chaos(cache, "redis").fail_with(ConnectionResetError)
    assert await cache.exists("key") is True
    assert await cache.add("key", "second") is False
    assert await cache.get("key") == "first"


async def test_add_of_a_value_too_large_for_memory(far: Rig) -> None:
    """Add says whether the value was stored, in whichever layer."""
    small = MemoryStore(clock=far.clock, policy=S3FIFO(), max_bytes=10_000)
    cache = await far.open(memory=small)
    assert await cache.add("key", "x" * 20_000) is True
    assert await cache.exists("key") is True


async def test_what_redis_has_newer_answers_for_what_it_is_owed(both: Rig, tmp_path: Path) -> None:
    """OR-05: a write of this host is still pending when another host writes something newer through Redis."""
    cache = await both.open()
    elsewhere = await both.open(directory=tmp_path / "another host")
    chaos(cache, "redis").fail_with(ConnectionResetError)
    assert await cache.set("key", "owed") is Durability.FILE
    both.clock.advance(1)
    await elsewhere.set("key", "newer")
    chaos(cache, "redis").heal()
    both.clock.advance(120)
    await cache.get("probe")
    assert await (await both.open()).get("key") == "newer"


async def test_a_computation_under_way_may_use_the_cache_while_it_is_drained(rig: Rig) -> None:
    """SPEC 13: aclose lets computations end, and what they ask of the cache is answered; newcomers are refused."""
    cache = Cache(rig.parts())
    started, gate = asyncio.Event(), asyncio.Event()

    async def compute() -> Any:
        started.set()
        await gate.wait()
        return await cache.get_or_set("inner", lambda: "value")

    caller = asyncio.create_task(cache.get_or_set("outer", compute))
    await started.wait()
    closing = asyncio.create_task(cache.aclose())
    await asyncio.sleep(0)
    gate.set()
    assert await caller == "value"
    await closing


async def test_a_cancelled_batch_that_fails_makes_no_noise(rig: Rig) -> None:
    """SF-11: a batch computation that raises while it is cancelled is nobody's unhandled error, and is not left behind."""
    cache = Cache(rig.parts())
    started = asyncio.Event()

    async def compute(_keys: list[str]) -> dict[str, Any]:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("while cancelled") from None
        return {}

    caller = asyncio.create_task(cache._machine.compute_many(["a", "b"], compute, GENERAL))
    await started.wait()
    await cache.aclose(drain=0.01)
    with pytest.raises((FlightAbortedError, ValueError)):
        await caller


async def test_add_after_a_clear(far: Rig) -> None:
    """BUG-95, LR-14: what a clear has ended, although a store still holds it, is no reason not to add."""
    cache, other = await far.open(), await far.open()
    await cache.set("key", "old")
    far.clock.advance(1)
    await other.clear()
    far.clock.advance(6)  # memory trusts itself no longer
    await cache._machine._follower.catch_up()  # as within 20 ms, where files are all there is
    assert await cache.add("key", "new") is True
    assert await (await far.open()).get("key") == "new"
    assert await other.add("key", "newer") is False


async def test_a_result_forgotten_in_an_outage_may_be_replaced(both: Rig) -> None:
    """SPEC 8: Redis still holds the first result; this host has forgotten it, and stores another."""
    cache = await both.open()
    await cache._requests.put("task", "first", IDEMPOTENCY, fingerprint="f")
    both.clock.advance(1)
    chaos(cache, "redis").fail_with(ConnectionResetError)
    await cache._requests.forget("task", IDEMPOTENCY)
    chaos(cache, "redis").heal()
    both.clock.advance(120)
    await cache.get("probe")
    await cache._requests.put("task", "second", IDEMPOTENCY, fingerprint="f")
    assert await cache._requests.get("task", IDEMPOTENCY) == "second"


async def test_a_clear_that_redis_is_owed_holds_in_every_process_of_the_host(both: Rig) -> None:
    """G3, BUG-39: another process of the host, whose Redis works, does not serve what was cleared in the outage."""
    one, two = await both.open(), await both.open()
    await one.set("key", "old")
    both.clock.advance(1)
    chaos(one, "redis").fail_with(ConnectionResetError)
    receipt = await one.clear()
    assert (receipt.redis, receipt.files) == ("queued", "done")
    assert await two.get("key", MISSING) is MISSING


async def test_what_redis_is_owed_and_has_ended_uncovers_nothing_older(both: Rig) -> None:
    """SPEC 5.4: a value written in the outage ends; the older one that Redis still holds does not come back."""
    cache = await both.open()
    await cache.set("key", "old", ttl="1h")
    both.clock.advance(1)
    chaos(cache, "redis").fail_with(ConnectionResetError)
    await cache.set("key", "short", ttl=5)
    chaos(cache, "redis").heal()
    both.clock.advance(120)
    await cache.get("probe")
    assert await cache.get("key", MISSING) is MISSING
    assert await (await both.open()).get("key", MISSING) is MISSING
