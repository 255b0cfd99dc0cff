"""What ``/metrics`` is read from: the same sums as of all days, of which those that are over are not read each time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from toolcache import ToolCache
from toolcache.metrics.counts import Counts
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.metrics.spans import DAY
from toolcache.series import Series
from toolcache.testing import FakeClock
from toolcache.web.ever import ANEW, Ever

SEARCH = Series("search")


class Fleet:
    """One that has counted so many misses on each day, and tells what it was asked for."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.misses: dict[int, int] = {}
        self.asked: list[int] = []
        self.complete = True
        self.before: Any = None

    def count(self, misses: int, days_ago: int = 0) -> None:
        day = DAY.begun(self.clock.time()) - days_ago * DAY.seconds
        self.misses[day] = self.misses.get(day, 0) + misses

    async def metrics(self, period: float, *, step: float) -> Metrics:
        self.asked.append(int(period // step))
        if self.before is not None:
            await self.before(self.asked[-1])
        now = self.clock.time()
        days = [DAY.begun(now) - ago * DAY.seconds for ago in reversed(range(self.asked[-1]))]
        points = tuple(
            Snapshot(day, day + step, series={SEARCH: Counts(misses=self.misses[day])} if day in self.misses else {})
            for day in days
        )
        series = {SEARCH: Counts.sum(one for point in points for one in point.series.values())}
        processes = (Process("00", seen_at=now),)
        complete = self.complete
        return Metrics(days[0], now, series=series, step=step, points=points, processes=processes, complete=complete)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fleet(clock: FakeClock) -> Fleet:
    return Fleet(clock)


@pytest.fixture
async def ever(fleet: Fleet, clock: FakeClock) -> AsyncIterator[Ever]:
    cache: Any = fleet
    made = Ever(cache, clock)
    yield made
    await made.aclose()


async def test_days_that_are_over_are_read_once(fleet: Fleet, ever: Ever) -> None:
    """D7: who scrapes a fleet four times a minute has it read 400 days once an hour; the sums are those of all days."""
    for days_ago in (0, 1, 2, 399, 400):
        fleet.count(10**days_ago if days_ago < 3 else 1000 * days_ago, days_ago)
    first = await ever.metrics()
    assert first.misses == 1 + 10 + 100 + 399_000
    assert (first.since, first.complete, first.processes[0].owner) == (min(fleet.misses) + DAY.seconds, True, "00")
    fleet.count(5)
    fleet.count(5, 1)
    assert (await ever.metrics()).misses == first.misses + 10
    assert fleet.asked == [400, 2, 2]


async def test_a_day_goes_over_without_a_gap(fleet: Fleet, ever: Ever, clock: FakeClock) -> None:
    """D7: what was counted up to midnight is counted once, before and after it, and also while the days are read anew."""
    for _ in range(4):
        fleet.count(7)
        assert (await ever.metrics()).misses == sum(fleet.misses.values())
        clock.advance(DAY.seconds / 2)
        fleet.count(2)
        assert (await ever.metrics()).misses == sum(fleet.misses.values())
        clock.advance(DAY.seconds / 2)


async def test_what_a_host_tells_late_is_counted_within_the_hour(fleet: Fleet, ever: Ever, clock: FakeClock) -> None:
    """D7: counts of days that are over may come late; nobody waits while they are read."""
    fleet.count(1)
    await ever.metrics()
    fleet.count(100, 30)
    clock.advance(ANEW - 1)
    assert (await ever.metrics()).misses == 1
    clock.advance(2)
    gate = asyncio.Event()

    async def slow(days: int) -> None:
        if days == 400:
            await gate.wait()

    fleet.before = slow
    assert (await ever.metrics()).misses == 1
    gate.set()
    reading = ever._reading
    assert reading is not None
    await reading
    assert (await ever.metrics()).misses == 101
    assert fleet.asked.count(400) == 2


async def test_without_all_stores_no_sum_is_told_as_whole(fleet: Fleet, ever: Ever, clock: FakeClock) -> None:
    """D7: while a store is away the sums are not complete; what is known of days that are over stays known."""
    fleet.count(1)
    fleet.count(10, 30)
    fleet.complete = False
    assert not (await ever.metrics()).complete
    assert fleet.asked == [400]
    fleet.complete = True
    assert ((await ever.metrics()).misses, (await ever.metrics()).complete) == (11, True)
    fleet.complete = False
    clock.advance(ANEW)
    await asyncio.sleep(0)
    assert ((await ever.metrics()).misses, (await ever.metrics()).complete) == (11, False)
    await asyncio.sleep(0)
    fleet.complete = True
    assert ((await ever.metrics()).misses, (await ever.metrics()).complete) == (11, True)


async def test_who_is_too_impatient_leaves_it_to_who_comes_next(fleet: Fleet, ever: Ever) -> None:
    """D7: reading the days of a very large fleet goes on when a scrape is given up, and what fails is tried again."""
    fleet.count(3)
    gate = asyncio.Event()

    async def slow(days: int) -> None:
        if days == 400:
            await gate.wait()

    fleet.before = slow
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ever.metrics(), 0.01)
    gate.set()
    assert (await ever.metrics()).misses == 3
    assert fleet.asked == [400, 2]


async def test_what_cannot_be_read_is_told_and_tried_again(fleet: Fleet, ever: Ever) -> None:
    """D7: an error of reading is that of the scrape."""

    async def fails(_days: int) -> None:
        raise ConnectionResetError

    fleet.before = fails
    with pytest.raises(ConnectionResetError):
        await ever.metrics()
    fleet.before = None
    fleet.count(3)
    assert (await ever.metrics()).misses == 3


async def test_a_clock_that_is_set_back_by_days(fleet: Fleet, ever: Ever, clock: FakeClock) -> None:
    """D7: sums that would count a day twice are not told."""
    fleet.count(3)
    await ever.metrics()
    clock.step_wall(-3 * DAY.seconds)
    assert not (await ever.metrics()).complete
    assert (await ever.metrics()).complete


async def test_it_says_of_a_cache_what_the_cache_says() -> None:
    """D7: the sums of a real cache, by series, layer and dispatch, are those of all its days."""
    async with ToolCache(files=False, namespace="shop") as cache:
        await cache.set("key", 1)
        await cache.get("key")
        await cache.get("none")
        told, whole = await Ever(cache, FakeClock()).metrics(), await cache.metrics("400d")
        for name in ("since", "series", "layers", "dispatch", "unit_usd", "unit_tokens", "complete"):
            assert getattr(told, name) == getattr(whole, name), name
        assert (told.hits, told.misses, len(told.points)) == (1, 1, 0)
