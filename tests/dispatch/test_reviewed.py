"""What callers of one loop share, and what not: the run of one course, and no other's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from toolcache import AgentTask, CacheClosedError, TaskMismatchError, ToolCache, dispatch_agents
from toolcache.record import Attempt, Put, Seen
from toolcache.versions import ZERO


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False) as opened:
        yield opened


class Gated:
    """A run that waits for the test, and says which run it was."""

    def __init__(self) -> None:
        self.ran = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.ran += 1
        which = self.ran
        self.begun.set()
        await self.gate.wait()
        return which


def others() -> set[str]:
    """The tasks that run beside the test's own."""
    return {str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def forget(cache: ToolCache) -> None:
    await cache.forget("k")


async def clear(cache: ToolCache) -> None:
    await cache.clear()


@pytest.mark.parametrize("lose", [forget, clear])
async def test_who_asks_after_it_was_forgotten_waits_for_no_run_of_before(
    cache: ToolCache, lose: Callable[[ToolCache], Awaitable[None]]
) -> None:
    """ID-33: what runs while its request is forgotten, its callers get, and nobody else."""
    run = Gated()
    before = asyncio.create_task(cache.once("k", run))
    await run.begun.wait()
    run.begun.clear()
    await lose(cache)
    after = asyncio.create_task(cache.once("k", run))
    await run.begun.wait()
    run.gate.set()
    assert (await before, await after, await cache.once("k", run)) == (1, 2, 2)


async def test_nobody_joins_a_run_that_is_over_and_asked_for_something_else(cache: ToolCache) -> None:
    """ID-17: in the moment in which a run ends, its answer is none to another fingerprint."""
    over = False

    async def asks_all_the_time() -> list[asyncio.Task[str]]:
        asked = []
        while not over:
            asked.append(asyncio.create_task(cache.once("k", lambda: "another's", fingerprint=2)))
            await asyncio.sleep(0)
        return asked

    async def run() -> str:
        await asyncio.sleep(0.001)
        return "one's"

    one = asyncio.create_task(cache.once("k", run, fingerprint=1))
    await asyncio.sleep(0)
    asking = asyncio.create_task(asks_all_the_time())
    assert await one == "one's"
    over = True
    told = await asyncio.gather(*await asking, return_exceptions=True)
    assert {type(one) for one in told} == {TaskMismatchError}
    assert not cache._machine.runs._courses.here()


async def test_who_follows_one_that_was_abandoned_begins_a_course_of_his_own(tmp_path: Path) -> None:
    """ID-17: while an abandoned run lets go of its claim, the next one is no part of it, nor what comes after that."""
    async with ToolCache(directory=tmp_path) as cache:
        left, run = Gated(), Gated()
        leaving = asyncio.create_task(cache.once("k", left, fingerprint=1, on_abandon="cancel"))
        await left.begun.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        following = asyncio.create_task(cache.once("k", run, fingerprint=1))
        await run.begun.wait()
        with pytest.raises(TaskMismatchError):
            await cache.once("k", run, fingerprint=2)
        run.gate.set()
        assert await following == 1


async def test_it_is_run_by_the_work_of_who_came_first(cache: ToolCache) -> None:
    """C7: of two who come in the same moment, the first one's work is run, on his terms."""
    first = cache.once("k", lambda: "first", wait_timeout=60)
    told = list(await asyncio.gather(first, cache.once("k", lambda: "second")))
    assert told == ["first", "first"]


async def test_who_leaves_leaves_no_task_behind(cache: ToolCache) -> None:
    """C7: a caller who would have waited for so long, and is cancelled, leaves nothing that waits on."""
    before, run = others(), Gated()
    caller = asyncio.create_task(cache.once("k", run, wait_timeout=60, on_abandon="cancel"))
    await run.begun.wait()
    caller.cancel()
    await asyncio.wait([caller])
    for _ in range(50):
        await asyncio.sleep(0)
    assert others() == before


async def test_nobody_is_waited_for_while_it_is_being_claimed(tmp_path: Path) -> None:
    """ID-28: patience with another's run is none with the stores: who claims for long, and meets nobody, runs."""
    async with ToolCache(directory=tmp_path) as cache:
        assert await cache.once("k", lambda: 1, wait_timeout=1e-6) == 1


async def test_a_cache_that_is_closed_says_so_once_for_all_tasks() -> None:
    """C7: a batch for a closed cache raises the error that is documented, and no group of them."""
    cache = ToolCache(files=False)
    await cache.aclose()
    tasks = [AgentTask("agent", "do {number}", {"number": number}) for number in range(3)]
    with pytest.raises(CacheClosedError):
        await dispatch_agents(tasks, lambda task: task.agent, cache=cache)


async def test_a_list_of_exceptions_is_told_to_be_a_tuple(cache: ToolCache) -> None:
    """E1: what on_error cannot be, is said."""
    wrong: Any = [ValueError]
    with pytest.raises(ValueError, match="tuple of exception types"):
        await cache.once("k", lambda: 1, on_error=wrong)


@pytest.mark.parametrize("retention", [1.0, 60.0, 3600.0])
def test_a_claim_stands_until_it_has_lapsed_wherever_it_is_leased_for_longest(retention: float) -> None:
    """G5: no store lets go of a claim before its lease is over, however short the retention is."""
    attempt = Attempt(b"o" * 16, ZERO, "", now=lambda: 0.0, rise=lambda version: version, retention=retention)
    put = attempt.claim(Seen(), lease=30.0)
    assert isinstance(put, Put)
    assert put.lease is not None
    assert put.ttl > 3 * put.lease
