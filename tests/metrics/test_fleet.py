"""What several caches have counted, by whoever asks: each call once, whatever happens to Redis and to them."""

import asyncio
from functools import partial
from typing import Any

import pytest
from hearing import until
from msgpack import packb, unpackb
from rig import Rig, SteadyClock, far

from toolcache.blob import HEADER_SIZE
from toolcache.cache import Cache
from toolcache.codec.envelope import Envelope
from toolcache.encoded import Encoded
from toolcache.groups import Grouped
from toolcache.keys.text import key_digest, store_key
from toolcache.metrics.record import encode
from toolcache.metrics.recorder import Recorder
from toolcache.metrics.refill import refill
from toolcache.metrics.shelves import put
from toolcache.metrics.snapshot import Metrics
from toolcache.metrics.spans import DAY, HOUR, MINUTE, Reach


def recorder(cache: Cache) -> Recorder:
    found = cache._machine.recorder
    assert found is not None
    return found


async def write(*caches: Cache) -> None:
    """What a second does."""
    for cache in caches:
        await recorder(cache).look()
        await recorder(cache).flush()
        await recorder(cache).refill()
        await recorder(cache).flush()


async def work(cache: Cache, calls: int) -> None:
    for number in range(calls):
        await cache.get_or_set(f"key:{number % 3}", lambda: 1)


def counted(metrics: Metrics) -> tuple[int, int]:
    return metrics.hits, metrics.misses


async def test_its_own_are_there_at_once(rig: Rig) -> None:
    cache = await rig.open()
    await work(cache, 10)
    metrics = await cache.metrics("1h")
    assert counted(metrics) == (7, 3)
    assert metrics.total.computed == 3
    assert metrics.complete
    assert [process.owner for process in metrics.processes] == [recorder(cache).owner]
    assert metrics.layers["memory"].hits == 7
    assert counted(await cache.metrics("1d")) == counted(await cache.metrics("30d")) == (7, 3)


async def test_each_minute_has_its_own(rig: Rig, clock: SteadyClock) -> None:
    cache = await rig.open()
    for _ in range(3):
        await work(cache, 5)
        await write(cache)
        clock.advance(60)
    metrics = await cache.metrics("5m")
    assert [(point.hits, point.misses) for point in metrics] == [(0, 0), (2, 3), (5, 0), (5, 0), (0, 0)]
    assert [point.timestamp for point in metrics] == [metrics.until // 60 * 60 - 60 * back for back in range(4, -1, -1)]
    assert counted(metrics) == (12, 3)
    assert len(metrics) == 5
    assert metrics.step == 60


async def test_hours_and_days_agree_with_minutes(rig: Rig, clock: SteadyClock) -> None:
    cache = await rig.open()
    for _ in range(4):
        await work(cache, 6)
        await write(cache)
        clock.advance(1200)
    hours, days = await cache.metrics("1d"), await cache.metrics("30d")
    minutes = await cache.metrics("2h")
    assert counted(minutes) == counted(hours) == counted(days)
    assert sum(point.hits > 0 for point in hours) == 2


@far
async def test_a_fleet_is_the_sum_of_its_caches(rig: Rig) -> None:
    caches = [await rig.open() for _ in range(3)]
    for number, cache in enumerate(caches):
        await work(cache, 10 * (number + 1))
    await write(*caches)
    looker = await rig.open(metrics=False)
    metrics = await looker.metrics("1h")
    totals = [cache.totals() for cache in caches]
    assert metrics.hits == sum(total.hits for total in totals)
    assert metrics.misses == sum(total.misses for total in totals)
    assert len(metrics.processes) == 3
    assert counted(await looker.metrics("30d")) == counted(metrics)


@far
async def test_those_who_only_look_are_not_counted(rig: Rig) -> None:
    looker = await rig.open(metrics=False)
    await work(looker, 10)
    metrics = await looker.metrics("1h")
    assert counted(metrics) == (0, 0)
    assert metrics.processes == ()
    assert looker._machine.recorder is None


@far
async def test_what_was_counted_outlives_who_counted(rig: Rig, clock: SteadyClock) -> None:
    cache = await rig.open()
    await work(cache, 9)
    await cache.aclose()
    clock.advance(3600)
    later = await rig.open()
    await work(later, 9)
    assert counted(await later.metrics("2h")) == (6 + later.totals().hits, 3 + later.totals().misses)


@far
async def test_written_twice_is_counted_once(rig: Rig) -> None:
    cache = await rig.open()
    await work(cache, 9)
    await write(cache)
    for bucket in recorder(cache)._buckets.values():
        bucket.owed.update(recorder(cache)._shelves)
    await write(cache)
    looker = await rig.open(metrics=False)
    assert counted(await looker.metrics("1h")) == (6, 3)


@far
async def test_it_is_written_once_a_second_while_something_is_counted(rig: Rig, clock: SteadyClock) -> None:
    cache, looker = await rig.open(), await rig.open(metrics=False)
    flush, done = recorder(cache).flush, 0

    async def flush_and_tell() -> None:
        nonlocal done
        await flush()
        done += 1

    recorder(cache).flush = flush_and_tell  # type: ignore[method-assign]
    await work(cache, 9)
    assert counted(await looker.metrics("1h")) == (0, 0)
    store: Any = next(iter(recorder(cache)._shelves.values()))[1]
    calls = {}
    for second in range(11):
        clock.advance(1.0)
        await until(partial(lambda second: done > second, second))
        calls[second] = store.calls["put_grouped"]
        if not second:
            assert counted(await looker.metrics("1h")) == (6, 3)
    # At first there are ends of writes that were under way, of which files take their time.
    assert calls[6] == calls[10], "nothing was counted, and it was written"


async def test_what_is_over_is_kept_no_longer_than_it_is_told(rig: Rig, clock: SteadyClock) -> None:
    cache = await rig.open()
    await work(cache, 9)
    await write(cache)
    clock.advance(MINUTE.kept + 60)
    await work(cache, 9)
    assert counted(await cache.metrics("6h"))[0] == cache.totals().hits - 6
    clock.advance(HOUR.kept)
    assert counted(await cache.metrics("8d")) == (0, 0)
    clock.advance(30 * 86_400)
    assert (await cache.metrics("400d")).hits == cache.totals().hits
    clock.advance(DAY.kept)
    assert counted(await cache.metrics("400d")) == (0, 0)
    await write(cache)
    assert all(begun + span.seconds > clock.time() for span, begun in recorder(cache)._buckets)


async def test_records_are_no_entries(rig: Rig) -> None:
    cache = await rig.open()
    await cache.set("key", 1)
    await write(cache)
    assert [info.key async for info in cache.scan()] == ["key"]
    files = (await cache.health()).files
    assert files is None or files.entries == (0 if rig.shared else 1)
    await cache.clear()
    assert (await cache.metrics("1h")).total.sets == 1


async def test_damage_is_left_out(fleet: Rig) -> None:
    cache = await fleet.open()
    await work(cache, 9)
    await write(cache)
    assert fleet.server is not None
    group = MINUTE.group("test", MINUTE.begun(fleet.clock.time()))
    (blob,) = fleet.server.command("HVALS", group)
    fleet.server.command("HSET", group, "0" * 16, blob)  # of another owner
    fleet.server.command("HSET", group, "1" * 16, b"\xff" * 100)
    fleet.server.command("HSET", group, "2" * 16, blob[:HEADER_SIZE])
    looker = await fleet.open(metrics=False)
    assert counted(await looker.metrics("1h")) == (6, 3)


@far
@pytest.mark.parametrize(
    ("changes", "complete"), [({"v": 2}, False), ({"v": 0}, True), ({"v": "2"}, True), ({"s": 1}, True)]
)
async def test_a_record_of_a_newer_library_is_known_to_be_missing(
    rig: Rig, changes: dict[str, Any], complete: bool
) -> None:
    """It cannot be added up; who asks is told so. What is no record at all is left out silently."""
    cache, looker = await rig.open(), await rig.open(metrics=False)
    await work(cache, 9)
    await recorder(cache).look()
    at = MINUTE.begun(rig.clock.time())
    own = recorder(cache).own(MINUTE, at)
    assert own is not None
    group, owner = MINUTE.group("test", at), "f" * 16
    blob = looker._parts.envelope.pack(
        Encoded(packb(unpackb(encode(own)) | changes), "m"),
        digest=key_digest(f"{group}:{owner}"),
        version=looker._parts.hybrid.next(),
        created_ms=0,
        fresh_until_ms=(at + MINUTE.kept) * 1000,
        gone_ms=(at + MINUTE.kept) * 1000,
    )
    layer: Any = looker._parts.redis or looker._parts.files
    assert await put(layer, layer.store, [Grouped(group, owner, blob)])
    for one in (cache, looker):
        metrics = await one.metrics("1h")
        assert metrics.complete is complete
        assert counted(metrics) == (6, 3)
        assert (await one.savings("1h")).complete is complete
    _, told = await looker._machine.history.records(Reach(MINUTE, 1), rig.clock.time())
    assert told is complete


async def test_a_group_that_is_too_large_is_known_to_be_missing(fleet: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is neither read nor told again; who has no files of the others cannot know what they counted."""
    cache = await fleet.open()
    await work(cache, 9)
    await write(cache)
    monkeypatch.setattr("toolcache.stores.redis.groups._MOST", 100)
    looker = await fleet.open(metrics=False, files=None)
    metrics = await looker.metrics("1h")
    assert (metrics.complete, metrics.hits) == (False, 0)
    files, redis = cache._parts.files, cache._parts.redis
    assert files is not None
    assert redis is not None
    assert await refill(redis, files, namespace="test") == 0


async def test_an_outage_is_counted_and_told_when_it_is_over(fleet: Rig, clock: SteadyClock) -> None:
    cache = await fleet.open()
    await work(cache, 9)
    await write(cache)
    assert fleet.server is not None
    fleet.server.stop()
    for _ in range(6):
        await cache.set("other", 1)
    assert cache._parts.redis is not None
    await recorder(cache).look()
    clock.advance(0.5)
    await write(cache)
    layer = (await cache.metrics("1h")).layers["redis"]
    assert layer.opened >= 1
    assert layer.faults >= 5
    assert layer.down_seconds == pytest.approx(0.5)
    told = await cache.metrics("1h")
    assert not told.complete
    assert told.total.sets == 6
    assert told.processes[0].breakers["redis"] == "open"

    fleet.server.start()
    clock.advance(2.0)
    for _ in range(20):
        await cache.set("other", 2)
        clock.advance(0.5)
        if cache._parts.redis.guard.breaker.state.value == "closed":
            break
    await write(cache)
    fleet_wide = await (await fleet.open(metrics=False, files=None)).metrics("1h")
    assert fleet_wide.complete
    assert fleet_wide.total.sets == cache.totals().total.sets
    assert counted(fleet_wide) == (cache.totals().hits, cache.totals().misses)


async def test_an_emptied_redis_is_told_again_what_the_dead_have_counted(fleet: Rig, clock: SteadyClock) -> None:
    dead, cache = await fleet.open(), await fleet.open()
    await work(dead, 9)
    await work(cache, 9)
    before = dead.totals().hits + cache.totals().hits
    await write(dead, cache)
    await dead.aclose()
    assert fleet.server is not None
    fleet.server.command("FLUSHALL")
    recorder(cache).emptied()
    await write(cache)
    looker = await fleet.open(metrics=False, files=None)
    assert (await looker.metrics("1h")).hits == before
    assert (await looker.metrics("30d")).hits == before


@pytest.mark.parametrize("cut", ["cancelled", "raised", "flushed"])
async def test_a_redis_is_told_again_until_it_has_been_told_all(
    fleet: Rig, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a refill before its time, be it that Redis is flushed once more, it is begun anew."""
    dead, cache = await fleet.open(), await fleet.open()
    await work(dead, 9)
    await write(dead, cache)
    await dead.aclose()
    assert fleet.server is not None
    fleet.server.command("FLUSHALL")
    recorder(cache).emptied()
    begun = asyncio.Event()

    async def refill(*_: Any, **__: Any) -> int:
        begun.set()
        if cut == "raised":
            raise MemoryError
        if cut == "flushed":
            recorder(cache).emptied()
            return 1
        await asyncio.Event().wait()
        return 0

    with monkeypatch.context() as patched:
        patched.setattr("toolcache.metrics.refill.refill", refill)
        telling = asyncio.create_task(write(cache))
        await begun.wait()
        if cut == "cancelled":
            telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
    await write(cache)
    looker = await fleet.open(metrics=False, files=None)
    assert (await looker.metrics("1h")).hits == 6


async def test_who_asks_waits_for_no_refill(fleet: Rig, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what is counted meanwhile: it is written once a second as ever."""
    cache, looker = await fleet.open(), await fleet.open(metrics=False)
    begun = asyncio.Event()

    async def refill(*_: Any, **__: Any) -> int:
        begun.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr("toolcache.metrics.refill.refill", refill)
    await work(cache, 9)
    clock.advance(1.0)
    await begun.wait()
    await work(cache, 9)
    assert counted(await cache.metrics("1h")) == (15, 3)
    assert counted(await looker.metrics("1h")) == (15, 3)


async def test_a_child_counts_for_itself(fleet: Rig) -> None:
    cache = await fleet.open()
    await work(cache, 9)
    await recorder(cache).look()
    owner = recorder(cache).owner
    recorder(cache).forked()
    await work(cache, 4)
    await recorder(cache).look()
    assert recorder(cache).owner != owner
    own = recorder(cache).own(DAY, DAY.begun(fleet.clock.time()))
    assert own is not None
    assert own.counts.hits == 4


async def test_another_namespace_is_not_counted(fleet: Rig) -> None:
    await work(await fleet.open(namespace="other"), 9)
    cache = await fleet.open()
    assert counted(await cache.metrics("1h")) == (0, 0)
    assert store_key("s", "test", "") in MINUTE.group("test", 0)


async def test_periods_that_are_not_kept_are_refused(rig: Rig) -> None:
    cache = await rig.open()
    with pytest.raises(ValueError, match="400 days"):
        await cache.metrics("500d")
    with pytest.raises(ValueError, match="step"):
        await cache.metrics("1h", step="2h")


async def test_steps_are_as_asked(rig: Rig) -> None:
    cache = await rig.open()
    assert ((await cache.metrics("6h", step="1h")).step, len(await cache.metrics("6h", step="1h"))) == (3600, 6)


async def test_entries_may_be_smaller_than_records(rig: Rig) -> None:
    """What is counted is no entry: the largest entry's size does not bound it."""
    cache = await rig.open(envelope=Envelope(max_entry=10))
    await cache.set("key", 1)
    await write(cache)
    looker = await rig.open(metrics=False)
    assert (await cache.metrics("1h")).total.sets == 1
    assert (await looker.metrics("1h")).total.sets == (1 if rig.far else 0)
    assert recorder(cache)._buckets == {} or not any(bucket.owed for bucket in recorder(cache)._buckets.values())


async def test_a_record_that_cannot_be_made_harms_nobody(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await rig.open()
    await cache.set("key", 1)

    def fail(record: Any) -> bytes:
        raise OverflowError

    monkeypatch.setattr("toolcache.metrics.record.encode", fail)
    await write(cache)
    await cache.aclose()
    told = [str(event) for event in rig.recorder.events if "statistics" in str(event)]
    assert bool(told) is rig.far


async def test_all_stores_have_one_version_of_it(fleet: Rig) -> None:
    """What Redis has been told is no older than what the files have: nothing is to be filled again."""
    cache = await fleet.open()
    await work(cache, 9)
    await write(cache)
    group = DAY.group("test", DAY.begun(fleet.clock.time()))
    blobs = [await store.read_groups([group]) for _, store in recorder(cache)._shelves.values()]
    assert blobs[0] == blobs[1] != [{}]


@far
async def test_what_was_being_written_when_one_leaves_is_written_again(rig: Rig) -> None:
    cache = await rig.open()
    await work(cache, 9)
    await recorder(cache).look()
    stores: list[Any] = [store for _, store in recorder(cache)._shelves.values()]
    for store in stores:
        store.hang()
    writing = asyncio.create_task(recorder(cache).flush())
    await asyncio.sleep(0.05)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    for store in stores:
        store.heal()
    await recorder(cache).flush()
    looker = await rig.open(metrics=False)
    assert counted(await looker.metrics("1h")) == (6, 3)


async def test_no_probe_is_spent_on_counts(fleet: Rig, clock: SteadyClock) -> None:
    """A breaker that feels its way back, on either of its ways, is left to callers and to the replay."""
    cache = await fleet.open()
    redis = cache._parts.redis
    assert redis is not None
    store: Any = redis.store
    store.fail_with(ConnectionResetError, on=["put_many", "put_grouped"])
    for number in range(12):
        await cache.set("key", number)
    assert redis.guard.write_breaker is not None
    states = {redis.guard.breaker.state.value, redis.guard.write_breaker.state.value}
    assert states != {"closed"}
    store.heal()
    clock.advance(120)
    calls = store.calls["put_grouped"]
    await write(cache)
    assert store.calls["put_grouped"] == calls
