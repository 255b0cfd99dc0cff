"""Answers that no store took at first."""

import asyncio
from typing import Any

import pytest
from rig import Rig

from toolcache.cache import Cache
from toolcache.errors import CacheClosedError
from toolcache.events import DataAtRisk

BELOW = ("memory+file", "memory+redis", "memory+redis+file")


def stores(cache: Cache) -> list[Any]:
    """What lies below memory, to be made to fail."""
    return [layer.store for layer in (cache._parts.files, cache._parts.redis) if layer is not None]


async def ran_in_an_outage(cache: Cache, key: str) -> int:
    """What a request is answered whose run sees all stores go."""

    async def run() -> int:
        for store in stores(cache):
            store.fail_with(OSError)
        return 7

    answer: int = await cache.once(key, run)
    return answer


async def turn(rig: Rig, seconds: float) -> None:
    """Let time pass, by half seconds, and what is due be done."""
    for _ in range(int(2 * seconds)):
        rig.clock.advance(0.5)
        for _ in range(20):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("layering", BELOW)
async def test_they_are_told_once_a_store_is_back_and_nobody_runs_them_until_then(rig: Rig) -> None:
    """G4, G6: an answer that memory alone has is everybody's, as soon as a store takes it."""
    here, there = await rig.open(), await rig.open()
    assert await ran_in_an_outage(here, "pay") == 7
    asking = asyncio.ensure_future(there.once("pay", lambda: pytest.fail("it ran twice")))
    await turn(rig, 3)
    assert not asking.done()
    for store in stores(here):
        store.heal()
    while not asking.done():
        await turn(rig, 0.5)
    assert await asking == 7
    assert len(rig.recorder.of(DataAtRisk)) == 1
    assert (await there.status("pay")).state == "completed"
    assert await here.once("pay", lambda: 8) == 7


@pytest.mark.parametrize("layering", BELOW)
async def test_they_are_not_told_once_they_were_forgotten(rig: Rig) -> None:
    """ID-33: what was forgotten meanwhile does not come back."""
    here, there = await rig.open(), await rig.open()
    assert await ran_in_an_outage(here, "pay") == 7
    await there.forget("pay")
    for store in stores(here):
        store.heal()
    await turn(rig, 8)
    assert (await there.status("pay")).state == "absent"
    assert await there.once("pay", lambda: 8) == 8


@pytest.mark.parametrize("layering", BELOW)
async def test_a_cache_that_is_closed_waits_for_no_store(rig: Rig) -> None:
    """SPEC 13: what could not be told is given up at the end, and told of."""
    here = await rig.open()
    assert await ran_in_an_outage(here, "pay") == 7
    await here.aclose()
    with pytest.raises(CacheClosedError):
        await here.once("pay", lambda: 8)
    assert [event.operation for event in rig.recorder.of(DataAtRisk)] == ["commit"]
