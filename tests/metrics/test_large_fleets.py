"""Many series, many processes, many days: none of it takes the loop from others, more room than it has to, or Redis from the cache."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from rig import Rig, SteadyClock, far

from toolcache.cache import Cache
from toolcache.domains import TOOL
from toolcache.encoded import Encoded
from toolcache.groups import Grouped
from toolcache.keys.text import key_digest
from toolcache.metrics import record, totals
from toolcache.metrics.counts import Counts
from toolcache.metrics.record import Record, decode, encode
from toolcache.metrics.recorder import Recorder
from toolcache.metrics.shelves import put
from toolcache.metrics.snapshot import Process, Snapshot
from toolcache.metrics.spans import MINUTE
from toolcache.series import Series


def recorder(cache: Cache) -> Recorder:
    found = cache._machine.recorder
    assert found is not None
    return found


async def count(cache: Cache, calls: int, tools: int) -> None:
    """So many misses of so many tools."""
    for tool in range(tools):
        cache._machine.tallies.of(TOOL.counted_as(tool=f"tool-{tool}")).misses += calls
    await recorder(cache).look()


@pytest.mark.parametrize("layering", ["memory"])
async def test_what_is_over_takes_a_tenth_of_the_room(rig: Rig, clock: SteadyClock) -> None:
    cache = await rig.open()
    for _ in range(4):
        await count(cache, 1, 300)
        clock.advance(60)
    await count(cache, 1, 300)
    buckets = [bucket for (span, _), bucket in recorder(cache)._buckets.items() if span is MINUTE]
    assert [bucket.counts is None for bucket in buckets] == [True] * 4 + [False]
    assert all(bucket.packed is None for bucket in buckets)
    assert max(len(bucket.record.blob) for bucket in buckets[:4]) < 300 * 60, "its counts take a kilobyte and more each"
    metrics = await cache.metrics("5m")
    assert [point.misses for point in metrics] == [300] * 5
    assert len(metrics.series) == 300


@pytest.mark.parametrize("layering", ["memory"])
async def test_a_clock_that_is_set_back_counts_on_where_it_was(rig: Rig, clock: SteadyClock) -> None:
    cache = await rig.open()
    await count(cache, 1, 3)
    clock.advance(60)
    await count(cache, 10, 3)
    clock.step_wall(-60)
    await count(cache, 100, 3)
    clock.step_wall(60)
    await count(cache, 1_000, 3)
    assert [point.misses for point in await cache.metrics("2m")] == [303, 3_030]


@far
async def test_what_nobody_takes_is_kept_small_and_written_when_somebody_does(
    rig: Rig, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await rig.open()

    async def refused(*_: Any) -> bool:
        return False

    with monkeypatch.context() as refusing:
        refusing.setattr("toolcache.metrics.recorder.put", refused)
        for _ in range(5):
            await count(cache, 1, 3)
            await recorder(cache).flush()
            clock.advance(60)
        await recorder(cache).look()
        assert all(bucket.counts is None for (span, _), bucket in recorder(cache)._buckets.items() if span is MINUTE)
    await recorder(cache).flush()
    looker = await rig.open(metrics=False)
    assert [point.misses for point in await looker.metrics("6m")] == [3] * 5 + [0]


def count_unseen(cache: Cache, tools: int) -> None:
    """A miss of each tool, at which nobody has looked yet."""
    for tool in range(tools):
        cache._machine.tallies.of(TOOL.counted_as(tool=f"tool-{tool}")).misses += 1


class Turns:
    """How often something is done in one turn of the event loop, at most."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._living = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            self._now = 0
            await asyncio.sleep(0)

    def noting(self, function: Any) -> Any:
        """The same function, noted."""

        def noted(*args: Any) -> Any:
            self._now += 1
            self.most = max(self.most, self._now)
            return function(*args)

        return noted

    def end(self) -> int:
        """What it came to."""
        self._living.cancel()
        return self.most


@pytest.mark.parametrize("where", ["totals._counts", "record._numbers"])
async def test_counting_many_series_lets_others_go_on(rig: Rig, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Whoever hits the cache meanwhile waits for a few of them, be they looked at, or packed."""
    cache = await rig.open()
    name = where.partition(".")[2]
    module = totals if where.startswith("totals") else record
    turns = Turns()
    monkeypatch.setattr(module, name, turns.noting(getattr(module, name)))
    for _ in range(2):  # the second time in the next minute: what is over is packed for good
        count_unseen(cache, 100)
        await recorder(cache).look()
        await recorder(cache).flush()
        rig.clock.advance(60)
    await recorder(cache).look()
    assert turns.end() <= 16 + len(("memory", "redis", "file", "dispatch"))
    assert (await cache.metrics("5m")).misses == 200


@pytest.mark.parametrize("layering", ["memory"])
async def test_who_has_no_task_for_it_looks_in_steps_too(rig: Rig) -> None:
    cache = await rig.open()
    await cache.set("key", 1)
    count_unseen(cache, 100)
    sweeper, steps = cache._machine.sweeper, 0
    while sweeper._looking is not None or not steps:
        assert sweeper._timer is not None
        sweeper._timer.cancel()
        sweeper._sweep()
        steps += 1
    assert steps > 5
    own = recorder(cache).own(MINUTE, MINUTE.begun(rig.clock.time()))
    assert own is not None
    assert own.counts.misses == 100


async def test_a_look_that_is_cut_off_or_overtaken_counts_each_call_once(rig: Rig) -> None:
    cache = await rig.open()
    mine = recorder(cache)
    for cut in range(5):
        count_unseen(cache, 100)
        looks = [mine.looking() for _ in range(3)]
        for steps, look in enumerate(looks):
            for _ in zip(range(steps + cut), look, strict=False):
                count_unseen(cache, 1)
        for _ in looks[-1]:
            pass
    await mine.look()
    counted = cache.totals().misses
    assert counted > 500
    assert (await cache.metrics("1h")).misses == counted


@pytest.mark.parametrize("layering", ["memory+file"])
async def test_series_that_have_not_changed_are_not_packed_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await rig.open()
    await count(cache, 1, 100)
    await recorder(cache).flush()
    turns = Turns()
    monkeypatch.setattr(record, "_numbers", turns.noting(record._numbers))
    await count(cache, 1, 1)
    await recorder(cache).flush()
    assert turns.end() <= 3 * (1 + len(("memory", "file", "dispatch")))
    assert (await (await rig.open(metrics=False)).metrics("1h")).misses == 101


@pytest.mark.parametrize("layering", ["memory+file"])
async def test_reading_a_large_fleet_lets_others_go_on(
    rig: Rig, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, owners, now, most = await rig.open(metrics=False), 240, 0, 0
    at = MINUTE.begun(clock.time())
    group = MINUTE.group("test", at)
    counts = Snapshot(at, at + 60, series={Series("tool", tool=f"tool-{tool}"): Counts(misses=2) for tool in range(3)})
    records = []
    for number in range(owners):
        owner = f"{number:016x}"
        blob = cache._parts.envelope.pack(
            Encoded(encode(Record(Process(owner), counts)), "m"),
            digest=key_digest(f"{group}:{owner}"),
            version=cache._parts.hybrid.next(),
            created_ms=0,
            fresh_until_ms=(at + MINUTE.kept) * 1000,
            gone_ms=(at + MINUTE.kept) * 1000,
        )
        records.append(Grouped(group, owner, blob))
    files: Any = cache._parts.files
    assert await put(files, files.store, records)

    async def live() -> None:
        nonlocal now
        while True:
            now = 0
            await asyncio.sleep(0)

    def counted(*record: Any) -> Record | None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        return decode(*record)

    monkeypatch.setattr("toolcache.metrics.history.decode", counted)
    other = asyncio.create_task(live())
    metrics = await cache.metrics("1h")
    other.cancel()
    assert metrics.misses == owners * 6
    assert len(metrics.processes) == owners
    assert most == 8


@pytest.mark.parametrize("layering", ["memory+file"])
@pytest.mark.parametrize(("size", "asked"), [(0, [4, 8, 16, 32]), (1 << 19, [4, 2, 2]), (1 << 21, [4, 1, 1])])
async def test_no_more_is_asked_for_at_once_than_comes_in_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, size: int, asked: list[int]
) -> None:
    cache, asks = await rig.open(metrics=False), list[list[str]]()

    async def read(_layer: object, _store: object, groups: Sequence[str]) -> list[dict[str, bytes]]:
        asks.append(list(groups))
        return [{"0" * 16: b"x" * size} if size else {} for _ in groups]

    monkeypatch.setattr("toolcache.metrics.history.read", read)
    metrics = await cache.metrics("1h")
    assert list(map(len, asks))[: len(asked)] == asked
    assert sorted(group for groups in asks for group in groups) == sorted(
        MINUTE.group("test", int(point.since)) for point in metrics
    )
    assert max(asks[0]) == max(group for groups in asks for group in groups), "the newest come first"
