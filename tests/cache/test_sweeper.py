"""What has ended leaves memory by itself."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from rig import Rig

from toolcache import ToolCache, sweeper
from toolcache.testing import FakeClock


async def test_ended_entries_leave_memory_without_reads(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-99: nobody reads, nobody writes, and entries whose end has come are freed, slice by slice."""
    monkeypatch.setattr(sweeper, "_EVERY", 0.001)
    cache = await rig.open()
    await cache.set_many({f"key{n}": n for n in range(1200)}, ttl=10)
    await cache.set("stays", 1, ttl=None)
    rig.clock.advance(11)
    end = time.monotonic() + 10
    while cache.stats().entries > 1:
        assert time.monotonic() < end, "not freed"
        await asyncio.sleep(0.001)
    assert cache.stats().expirations == 1200
    assert await cache.get("stays") == 1


async def test_what_ends_later_keeps_the_sweeper_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-99: thousands that come up for a closer look at once are looked at slice by slice, without a pause in between."""
    monkeypatch.setattr(sweeper, "_EVERY", 0.001)
    async with ToolCache(files=False, clock=(clock := FakeClock())) as cache:
        await cache.set_many({f"key{n}": n for n in range(3000)}, ttl=3630)
        memory = cache._parts.memory
        clock.advance(memory.next_expiry - clock.monotonic() + 0.1)
        assert memory.is_due
        await asyncio.sleep(0.01)
        monkeypatch.setattr(sweeper, "_EVERY", 60.0)
        end = time.monotonic() + 10
        while memory.is_due:
            assert time.monotonic() < end, "it waits"
            await asyncio.sleep(0.001)
        assert cache.stats().entries == 3000


async def test_a_closed_cache_sweeps_no_more(rig: Rig) -> None:
    """LC-12: the timer is cancelled by aclose."""
    cache = await rig.open()
    await cache.set("key", 1)
    assert cache._machine.sweeper._timer is not None
    await cache.aclose()
    assert cache._machine.sweeper._timer is None


async def test_a_sweep_in_the_midst_of_another_ones_look_begins_its_own() -> None:
    """Two threads' loops may come to sweep at once; neither goes on with what the other is at, nor is there a timer for each."""

    class Onlooker:
        needed, looks = False, 0

        def looking(self) -> Iterator[None]:
            self.looks += 1
            if self.looks == 1:
                yield
                sweep()
            yield

    def sweep() -> None:
        timer = both._timer
        if timer is not None:
            timer.cancel()
        both._sweep()
        timers.append(both._timer)

    onlooker, timers = Onlooker(), list[asyncio.TimerHandle | None]()
    async with ToolCache(files=False, metrics=False) as cache:
        both = sweeper.Sweeper(cache._parts.memory, onlooker)
        both.arm()
        for _ in range(3):
            sweep()
        both.stop()
    assert onlooker.looks == 2
    assert timers[1] is timers[2]
