"""What was written of a span is never replaced by less, whatever happens to clocks, callers, threads and names."""

import asyncio
import threading
from typing import Any

import pytest
from rig import Rig, SteadyClock, far

from toolcache.blob import read_header
from toolcache.cache import Cache
from toolcache.domains import TOOL, Domain
from toolcache.events import StoreFault
from toolcache.metrics.counts import Counts
from toolcache.metrics.record import Record, decode, encode
from toolcache.metrics.recorder import Bucket, Recorder
from toolcache.metrics.snapshot import Process, Snapshot
from toolcache.series import Series
from toolcache.spread import BUCKETS, Spread


def recorder(cache: Cache) -> Recorder:
    found = cache._machine.recorder
    assert found is not None
    return found


async def hit(cache: Cache, times: int) -> None:
    """So many hits of a key, after a miss if nobody has read it before."""
    for _ in range(times):
        await cache.get_or_set("key", lambda: 1)


@pytest.fixture
def clock() -> SteadyClock:
    """One second before midnight of universal time."""
    return SteadyClock(1_800_057_599.0)


@far
@pytest.mark.parametrize("back", [2.0, 7_200.0, 90_000.0])
async def test_a_clock_that_is_set_back_takes_nothing_away(rig: Rig, clock: SteadyClock, back: float) -> None:
    cache = await rig.open()
    await hit(cache, 9)
    await recorder(cache).finish()
    clock.advance(2.0)
    await hit(cache, 3)
    await recorder(cache).finish()
    clock.step_wall(-back)
    for _ in range(2):
        await hit(cache, 5)
        await recorder(cache).finish()
        clock.advance(1.0)
    clock.step_wall(back)
    await hit(cache, 1)
    await recorder(cache).finish()
    looker = await rig.open(metrics=False)
    for metrics in (await looker.metrics("30d"), await cache.metrics("30d")):
        assert (metrics.hits, metrics.misses) == (22, 1)


@far
async def test_a_caller_who_leaves_takes_no_counts_along(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await rig.open()
    await hit(cache, 9)
    written = asyncio.Event()

    async def put(*_: Any) -> None:
        written.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as stuck:
        stuck.setattr("toolcache.metrics.recorder.put", put)
        asking = asyncio.create_task(cache.metrics("1h"))
        await written.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await recorder(cache).flush()
    assert (await (await rig.open(metrics=False)).metrics("1h")).hits == 8


@pytest.mark.parametrize("layering", ["memory"])
async def test_of_two_records_the_one_written_with_less_is_the_older(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await rig.open()
    await hit(cache, 9)
    mine = recorder(cache)
    await mine.look()
    bucket = next(iter(mine._buckets.values()))
    whole, later = mine._record, list[Any]()

    def write() -> None:
        later.append(mine._grouped(bucket))

    other = threading.Thread(target=write)

    def record(of: Bucket, counts: Snapshot) -> Record:
        """Another thread counts, and writes, when this one has just made its record."""
        made = whole(of, counts)
        if other.ident is None:
            bucket.counts = counts._replace(series={Series("general"): Counts(hits_memory=100)})
            other.start()
            other.join(0.1)
        return made

    monkeypatch.setattr(mine, "_record", record)
    less = read_header((await asyncio.to_thread(mine._grouped, bucket)).blob)
    await asyncio.to_thread(other.join)
    more = read_header(later[0].blob)
    assert less is not None
    assert more is not None
    assert less.version < more.version


@far
async def test_a_name_that_is_no_text_is_counted_all_the_same(rig: Rig) -> None:
    cache = await rig.open()
    await hit(cache, 9)
    odd = TOOL.counted_as(tool="\ud800" + "x" * 1_000)
    cache._machine.tallies.of(odd).misses += 1
    await recorder(cache).finish()
    metrics = await (await rig.open(metrics=False)).metrics("1h")
    assert (metrics.hits, metrics.misses) == (8, 2)
    assert [len(name) for name in metrics.by("tool")] == [128]


@far
async def test_as_many_series_as_there_may_be_are_written(rig: Rig) -> None:
    cache = await rig.open()
    for number in range(600):
        tally = cache._machine.tallies.of(TOOL.counted_as(tool=f"{number:0128}", agent="x" * 128, model="y" * 128))
        tally.misses += 1
        for bucket in range(BUCKETS):
            tally.latency._counts[bucket] = tally.sampled._counts[bucket] = 12_345.0
    await recorder(cache).finish()
    metrics = await (await rig.open(metrics=False)).metrics("30d")
    assert metrics.misses == 600


@far
async def test_a_day_of_too_many_domains_keeps_no_other_span_from_being_written(
    rig: Rig, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no record holds is told of, once for each time that it grows; the minute that follows has few of them."""
    monkeypatch.setattr("toolcache.metrics.recorder.MAX_RECORD", 4_096)
    cache = await rig.open()
    for number in range(300):
        cache._machine.tallies.of(Domain(f"domain-{number}", ttl=60.0, key=("id",))).misses += 1
    await recorder(cache).look()
    await recorder(cache).flush()
    clock.advance(60)
    await hit(cache, 9)
    await recorder(cache).look()
    for _ in range(3):
        await recorder(cache).flush()
    looker = await rig.open(metrics=False)
    assert [(point.hits, point.misses) for point in await looker.metrics("2m")] == [(0, 0), (8, 1)]
    told = [event for event in rig.recorder.events if isinstance(event, StoreFault) and event.layer == "statistics"]
    assert 3 <= len(told) <= 3 * len(recorder(cache)._shelves) * 3


async def test_who_closes_writes_its_own_alone(fleet: Rig) -> None:
    dead = await fleet.open()
    await hit(dead, 9)
    await dead.aclose()
    assert fleet.server is not None
    fleet.server.command("FLUSHALL")
    brief = await fleet.open()
    await hit(brief, 3)
    store: Any = recorder(brief)._shelves["redis"][1]
    await brief.aclose()
    assert (store.calls["put_grouped"], store.calls["read_groups"]) == (1, 0)
    looker = await fleet.open(metrics=False)
    assert (await looker.metrics("1h")).hits == 8 + 2


@pytest.mark.parametrize("number", [1e300, -1e300, float("inf"), float("nan"), 2**63])
def test_numbers_that_nobody_counts_to_are_no_record(number: float) -> None:
    forged = Snapshot(0, 60, series={Series("tool"): Counts(hits_memory=number, sampled=Spread({1: 1}, 1.0))})  # type: ignore[arg-type]  # forged
    assert decode(encode(Record(Process("0" * 16), forged)), "0" * 16, 0, 60) is None
