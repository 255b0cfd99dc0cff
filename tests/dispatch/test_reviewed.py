"""What callers of one loop share, and what not: the run of one course, and no other's."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolcache import (
    AgentTask,
    CacheClosedError,
    SerializationError,
    StoredAgentError,
    StoresUnavailableError,
    TaskMismatchError,
    ToolCache,
    dispatch_agents,
)
from toolcache.blob import CorruptBlobError
from toolcache.encoded import Encoded
from toolcache.events import LeaseLost
from toolcache.record import Attempt, Failure, Put, Record, Seen, State, Verdict
from toolcache.record_body import body_of, record_of
from toolcache.swaps import UNKNOWN
from toolcache.testing import FakeClock
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
    """SPEC 8.1: in the moment in which a run ends, its answer is none to another fingerprint."""
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


async def test_what_was_answered_leaves_nothing_in_memory_after_a_clear_either(tmp_path: Path) -> None:
    """C7: where files keep the answers, memory keeps no word of requests; not even that all before them was cleared."""
    async with ToolCache(directory=tmp_path) as cache:
        await cache.clear()
        for number in range(5):
            await cache.once(f"k{number}", lambda: 1)
        assert len(cache._machine.ledger.memory.store) == 0  # type: ignore[arg-type]  # memory's


@pytest.mark.parametrize(("limit", "status", "name"), [(None, "failed", "ValueError"), (0.2, "timeout", None)])
async def test_who_waited_for_a_run_elsewhere_is_told_how_it_failed(
    tmp_path: Path, limit: float | None, status: str, name: str | None
) -> None:
    """ID-14: a failure elsewhere is told with its own type and text, and one that took too long as such."""
    run = Gated()

    async def fail(_task: AgentTask) -> None:
        await run()
        raise ValueError("no such label")

    tasks = [AgentTask("agent", "do it")]
    async with ToolCache(directory=tmp_path) as here, ToolCache(directory=tmp_path) as there:
        first = asyncio.create_task(dispatch_agents(tasks, fail, cache=here, timeout=limit))
        await run.begun.wait()
        second = asyncio.create_task(dispatch_agents(tasks, fail, cache=there))
        while not there.stats().dispatch.joins:  # noqa: ASYNC110 - it is short
            await asyncio.sleep(0.001)
        if limit is None:
            run.gate.set()
        ((one,), (other,)) = await asyncio.gather(first, second)
    assert (other.status, other.error, other.attempts, other.exception) == (status, one.error, 1, None)
    assert name in (None, one.error and one.error.type)
    assert run.ran == 1
    with pytest.raises(TimeoutError if status == "timeout" else StoredAgentError):
        other.unwrap()


async def _scribble(cache: ToolCache, key: str, **changed: Any) -> None:
    """Put an answer into the files that says something else than any of ours."""
    ledger = cache._machine.ledger
    assert ledger.files is not None
    name = ledger.name(cache._machine.enter((f"once:{key}",))[0])
    stands = (await ledger.files.store.swap(name, b"?", None, ttl=1.0)).standing
    record = ledger._read(name, stands.blob)
    blob = ledger.pack(name, replace(record, **changed), 60.0)
    ledger._known.clear()
    assert (await ledger.files.store.swap(name, stands.raw, blob, ttl=60.0)).done


@pytest.mark.parametrize(
    "changed",
    [
        {"expires_at": math.nan},
        {"finished_at": math.inf},
        {"started_at": -1.0},
        {"attempts": 2**62},
        {"tokens": -1},
        {"cost_usd": math.nan},
        {"output": None},
        {"state": State.REFUSED},
    ],
)
async def test_what_none_of_ours_says_is_believed_of_no_record(tmp_path: Path, changed: dict[str, Any]) -> None:
    """G7: a record with impossible numbers, or an answer without one, is damaged: nothing is concluded from it, until it is forgotten."""
    async with ToolCache(directory=tmp_path) as cache:
        await cache.once("k", lambda: 1)
        await _scribble(cache, "k", **changed)
        with pytest.raises(StoresUnavailableError):
            await cache.once("k", lambda: 2)
        await cache.forget("k")
        assert await cache.once("k", lambda: 3) == 3


async def test_an_output_that_nobody_can_read_here_is_an_error_and_no_output(tmp_path: Path) -> None:
    """ID-25: whoever lacks the codec of an output is told so, and runs nothing again."""
    async with ToolCache(directory=tmp_path) as cache:
        await cache.once("k", lambda: 1)
        strange = Encoded(b"", "of-others")
        await _scribble(cache, "k", output=strange)
        with pytest.raises(SerializationError, match="codec"):
            await cache.once("k", lambda: 2)


async def test_nobody_here_waits_for_the_lease_of_one_that_has_ended_untold() -> None:
    """ID-23: an owner that has let go is no longer waited for in its process, although a store could not be told."""
    first = Attempt(b"1" * 16, b"\x01" * 16, "", now=lambda: 0.0, rise=lambda version: version)
    claimed = first.claim(Seen(), lease=30.0)
    assert isinstance(claimed, Put)
    second = replace(first, owner=b"2" * 16, fence=b"\x02" * 16, dead=set(), ended={first.owner}, awaited=set())
    taken = second.claim(Seen(claimed.record, 30.0), lease=30.0)
    assert isinstance(taken, Put)
    assert (taken.then, second.attempts) == (Verdict.OURS, 1)


async def test_a_run_that_keeps_the_loop_from_renewing_its_claim_is_told_of(tmp_path: Path) -> None:
    """SPEC 8.4: a sync run that takes longer than its lease may run twice, and those on call are to know why."""
    told: list[object] = []

    def compute() -> str:
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        return "done"

    async with ToolCache(directory=tmp_path) as opened:
        opened.subscribe(told.append)
        assert await opened.once("brief", lambda: "done") == "done"
        assert not [event for event in told if isinstance(event, LeaseLost)]
        assert await opened.once("long", compute, lease=0.02) == "done"
    (event,) = [event for event in told if isinstance(event, LeaseLost)]
    assert "in a thread" in str(event)


async def test_memory_does_not_keep_what_was_forgotten_for_a_day(tmp_path: Path) -> None:
    """What the stores remember, memory needs for its own runs alone."""
    clock = FakeClock()
    async with ToolCache(directory=tmp_path, clock=clock) as opened:
        await opened.once("k", lambda: 1)
        await opened.forget("k")
        ledger = opened._machine.ledger
        name = ledger.name(opened._machine.enter(["once:k"])[0])
        for seconds, word in ((0, State.FORGOTTEN), (700, None)):
            clock.advance(seconds)
            seen = await ledger.settle(ledger.memory, name, lambda _seen: Verdict.LOST, UNKNOWN)
            assert seen is not None
            assert (seen.record.state if seen.record else None) is word


def test_all_who_failed_while_a_store_was_away_are_known_to_be_over() -> None:
    """Of two failures that Redis was not told, the claim of the first may still stand there: nobody waits for it."""
    first, second, third = (
        Attempt(owner=bytes([n]) * 16, fence=bytes([n]) * 16, fingerprint="", now=lambda: 1000.0, rise=lambda v: v)
        for n in (1, 2, 3)
    )

    def claims(attempt: Attempt, seen: Seen) -> Seen:
        put = attempt.claim(seen, lease=30.0)
        assert isinstance(put, Put)
        return Seen(put.record, 30.0)

    def fails(attempt: Attempt, seen: Seen) -> Seen:
        failure = attempt.failed(Failure("raised", "ValueError", "no"), kept=False)
        put = attempt.fail(seen, failure=failure, lease=30.0)
        assert isinstance(put, Put)
        return Seen(put.record)

    redis = claims(first, Seen())
    files = claims(second, fails(first, claims(first, Seen())))
    files = claims(third, fails(second, files))
    put = third.claim(redis, lease=30.0)
    assert isinstance(put, Put)
    assert put.then is Verdict.OURS
    assert third.attempts == 1


def test_no_record_is_believed_above_which_nothing_could_be_written() -> None:
    """A fence at the end of all versions, from outside, would have a request be forgotten for ever."""
    body = body_of(Record(state=State.FORGOTTEN, owner=bytes(16), fence=bytes(16)))
    assert record_of(body, ()).fence == bytes(16)
    with pytest.raises(CorruptBlobError):
        record_of([*body[:3], b"\xff" * 16, *body[4:]], ())
