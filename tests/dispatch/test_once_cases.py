"""Requests that run once: the cases, on every layering, in this process and in those that share its stores."""

import asyncio
from typing import Any

import pytest
from jobs import Job, Open, at_rest, heard, running, waits

from toolcache import (
    AgentTask,
    AlreadyInProgressError,
    SerializationError,
    StoredAgentError,
    TaskMismatchError,
    ToolCache,
    WaitTimeoutError,
    dispatch_agents,
)
from toolcache.events import DuplicateExecution, TaskMismatch
from toolcache.testing import FakeClock

SHARED = ("memory+file", "memory+redis", "memory+redis+file")


def task(text: Any = "hello", **options: Any) -> AgentTask:
    return AgentTask("classifier", "classify {text}", {"text": text}, **options)


async def test_it_runs_once(cache: ToolCache, other: ToolCache) -> None:
    """ID-01: the same again has the same result, flagged replayed, here and in another process."""
    job = Job({"label": "greeting"})

    async def run(_prompt: str, _task: AgentTask, context: Any) -> Any:
        return await job(context)

    (first,) = await dispatch_agents([task()], run, cache=cache)
    (second,) = await dispatch_agents([task()], run, cache=cache)
    (third,) = await dispatch_agents([task()], run, cache=other)
    assert (first.output, first.replayed) == ({"label": "greeting"}, False)
    assert [(one.output, one.replayed) for one in (second, third)] == [({"label": "greeting"}, True)] * 2
    assert {(one.task_id, one.status, one.attempts, one.finished_at) for one in (first, second, third)} == {
        (first.task_id, "completed", 1, first.finished_at)
    }
    assert job.runs == 1


async def test_the_retention_counts_from_the_end(cache: ToolCache, other: ToolCache, clock: FakeClock) -> None:
    """ID-03: a run that takes longer than its answer is kept is not begun anew, and its answer is kept that long."""
    job, idle = Job(held=True), Job()
    async with running(cache.once("k", job, retention=2), job) as first:
        clock.advance(3)
        second = asyncio.create_task(other.once("k", idle, retention=2))
        await waits(second)
        job.gate.set()
        assert await asyncio.gather(first, second) == ["done"] * 2
    clock.advance(1)
    assert await other.once("k", idle) == "done"
    assert (job.runs, idle.runs) == (1, 0)
    clock.advance(1.5)
    assert await cache.once("k", idle) == await other.once("k", idle) == "done"
    assert idle.runs == 1


@pytest.mark.parametrize("layering", ["memory+redis", "memory+redis+file"], indirect=True)
async def test_another_host_has_it_from_redis(cache: ToolCache, open_cache: Open, tmp_path: Any) -> None:
    """ID-10: a host that shares nothing but Redis runs nothing."""
    elsewhere = await open_cache(directory=tmp_path / "elsewhere")
    assert await cache.once("k", Job()) == "done"
    idle = Job()
    assert await elsewhere.once("k", idle) == "done"
    assert idle.runs == 0
    assert (await elsewhere.status("k")).state == "completed"


async def test_a_failure_is_not_kept(cache: ToolCache, other: ToolCache) -> None:
    """ID-14: the first call has the exception itself; the next one runs, at once, here or elsewhere."""
    failure = RuntimeError("not today")
    failing = Job(failure)
    for one in (cache, other, cache):
        with pytest.raises(RuntimeError) as told:
            await one.once("k", failing)
        assert told.value is failure
    assert failing.runs == 3
    assert await other.once("k", Job()) == "done"
    assert await cache.once("k", failing) == "done"


async def test_a_failure_is_kept_on_demand(cache: ToolCache, other: ToolCache, clock: FakeClock) -> None:
    """ID-15: the text of it, for error_ttl; never as the class that was raised."""
    failing = Job(KeyError("no such label"))
    with pytest.raises(KeyError):
        await cache.once("k", failing, on_error="store", error_ttl=60)
    clock.advance(59)
    for one in (cache, other):
        with pytest.raises(StoredAgentError) as told:
            await one.once("k", failing, on_error="store", error_ttl=60)
        assert (told.value.type, told.value.message) == ("KeyError", "'no such label'")
        status = await one.status("k")
        assert (status.state, status.error) == ("failed", "KeyError: 'no such label'")
    assert failing.runs == 1
    clock.advance(2)
    with pytest.raises(KeyError):
        await other.once("k", failing, on_error="store", error_ttl=60)
    assert failing.runs == 2


async def test_the_order_of_arguments_is_none(cache: ToolCache, other: ToolCache) -> None:
    """ID-19: the same arguments in another order are the same record."""
    ran: list[Any] = []
    one = AgentTask("adder", "{a} {b}", {"a": 1, "b": {"x": 1, "y": 2}})
    two = AgentTask("adder", "{a} {b}", {"b": {"y": 2, "x": 1}, "a": 1})
    await dispatch_agents([one], ran.append, cache=cache)
    (again,) = await dispatch_agents([two], ran.append, cache=other)
    assert again.replayed
    assert len(ran) == 1


async def test_arguments_of_other_types_are_others(cache: ToolCache, other: ToolCache) -> None:
    """ID-20: 1, 1.0, True, "1" and b"1" are five records, each with its own output."""
    values = [1, 1.0, True, "1", b"1"]
    ran: list[Any] = []

    def run(one: AgentTask) -> str:
        ran.append(one.args["text"])
        return repr(one.args["text"])

    for where in (cache, other):
        results = await dispatch_agents([task(value) for value in values], run, cache=where)
        assert [result.output for result in results] == [repr(value) for value in values]
    assert len(ran) == len({result.task_id for result in results}) == 5


async def test_what_is_asked_for_someone_else_is_another(open_cache: Open, cache: ToolCache, places: Any) -> None:
    """ID-21: another template, version, model, tenant or namespace is another record."""
    elsewhere = await open_cache(namespace="other")
    ran: list[Any] = []
    tasks = [
        task(),
        AgentTask("classifier", "sort {text}", {"text": "hello"}),
        AgentTask("sorter", "classify {text}", {"text": "hello"}),
        task(agent_version="2"),
        task(model="small"),
        task(tenant="acme"),
    ]
    for _ in range(2):
        await dispatch_agents(tasks, ran.append, cache=cache)
        await dispatch_agents(tasks[:1], ran.append, cache=elsewhere)
    assert len(ran) == 7


async def test_who_leaves_takes_nothing_along(cache: ToolCache, other: ToolCache) -> None:
    """ID-22: the caller is cancelled, the run goes on, and whoever asks again has its output."""
    job = Job(held=True)
    async with running(cache.once("k", job), job) as call:
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        retry = asyncio.create_task(other.once("k", job))
        await waits(retry)
        job.gate.set()
        assert await retry == "done"
    await at_rest(cache)
    assert job.runs == 1


async def test_an_output_that_cannot_be_kept(cache: ToolCache, other: ToolCache) -> None:
    """ID-25: its caller has it with the error; it is not run again, and who asks again is told why there is none."""
    thing = object()
    job = Job({"deep": [thing]})
    with pytest.raises(SerializationError) as told:
        await cache.once("k", job)
    assert told.value.result["deep"][0] is thing
    for one in (cache, other):
        with pytest.raises(StoredAgentError, match="SerializationError"):
            await one.once("k", job)
    assert job.runs == 1
    assert await other.forget("k") in (True, False)
    assert await cache.once("k", Job()) == "done"


async def test_of_a_batch_only_what_failed_runs_again(cache: ToolCache, other: ToolCache) -> None:
    """ID-26: the third of ten fails, and touches no other; repeated, it alone runs."""
    ran: list[int] = []

    def run(one: AgentTask) -> int:
        ran.append(one.args["text"])
        if len(ran) <= 10 and one.args["text"] == 2:
            raise ValueError("not this one")
        return 10 * int(one.args["text"])

    tasks = [task(number) for number in range(10)]
    first = await dispatch_agents(tasks, run, cache=cache)
    assert [result.status for result in first] == ["completed"] * 2 + ["failed"] + ["completed"] * 7
    assert first[2].error is not None
    assert (first[2].error.type, first[2].error.message) == ("ValueError", "not this one")
    second = await dispatch_agents(tasks, run, cache=other)
    assert [result.output for result in second] == [10 * number for number in range(10)]
    assert [result.replayed for result in second] == [True] * 2 + [False] + [True] * 7
    assert sorted(ran[:10]) == list(range(10))
    assert ran[10:] == [2]


async def test_who_will_not_wait_is_told_at_once(cache: ToolCache, other: ToolCache) -> None:
    """ID-27: while it runs, in this process and in others; afterwards there is the answer."""
    job = Job(held=True)
    async with running(cache.once("k", job, wait="raise"), job) as call:
        for one in (cache, other):
            async with asyncio.timeout(10):
                with pytest.raises(AlreadyInProgressError):
                    await one.once("k", job, wait="raise")
        job.gate.set()
        assert await call == "done"
    assert await other.once("k", job, wait="raise") == "done"
    assert job.runs == 1


async def test_who_waits_so_long_is_told_then(cache: ToolCache, other: ToolCache, clock: FakeClock) -> None:
    """ID-28: the run is not affected, and has an answer for who asks later."""
    job = Job(held=True)
    async with running(cache.once("k", job), job) as call:
        for one in (cache, other):
            waiting = asyncio.create_task(one.once("k", job, wait_timeout=0.02))
            await waits(waiting)
            clock.advance(0.02)
            with pytest.raises(WaitTimeoutError):
                await waiting
        assert not call.done()
        job.gate.set()
        assert await call == "done"
    assert await other.once("k", job, wait_timeout=0.01) == "done"
    assert job.runs == 1


async def test_what_is_forgotten_runs_again(cache: ToolCache, other: ToolCache) -> None:
    """ID-32: by the key, and by the task; whoever forgets it."""
    job = Job()
    assert await cache.once("k", job) == "done"
    assert await other.forget("k") is True
    assert await cache.forget("k") is False
    assert (await cache.status("k")).state == "absent"
    assert await cache.once("k", job) == await other.once("k", job) == "done"
    assert job.runs == 2
    ran: list[AgentTask] = []
    await dispatch_agents([task()], ran.append, cache=cache)
    assert (await other.status(task())).state == "completed"
    assert await other.forget(task()) is True
    await dispatch_agents([task()], ran.append, cache=cache)
    assert len(ran) == 2


async def test_what_is_forgotten_while_it_runs_is_not_kept(cache: ToolCache, other: ToolCache) -> None:
    """ID-33: its callers have its output, and nobody else; the next call runs."""
    job, again = Job("first", held=True), Job("second")
    async with running(cache.once("k", job), job) as call:
        joined = asyncio.create_task(cache.once("k", job))
        await asyncio.sleep(0)
        assert await other.forget("k") is False
        job.gate.set()
        assert await asyncio.gather(call, joined) == ["first"] * 2
    assert (await other.status("k")).state == "absent"
    assert await other.once("k", again) == await cache.once("k", again) == "second"
    assert (job.runs, again.runs) == (1, 1)


async def test_the_next_one_need_not_wait_for_what_was_forgotten(cache: ToolCache, open_cache: Open) -> None:
    """ID-33: another process runs it at once, beside the run that was forgotten, whose output changes nothing any more."""
    if not cache._machine.ledger.layers:
        return
    other = await open_cache()
    job, again = Job("first", held=True), Job("second")
    async with running(cache.once("k", job), job) as call:
        assert await other.forget("k") is False
        async with asyncio.timeout(20):
            assert await other.once("k", again) == "second"
        job.gate.set()
        assert await call == "first"
    assert await cache.once("k", again) == await other.once("k", again) == "second"
    assert again.runs == 1


@pytest.mark.parametrize("hours", [2, -2])
@pytest.mark.parametrize("layering", ["memory", "memory+file"], indirect=True)
async def test_a_wall_clock_that_jumps_ends_no_lease(
    cache: ToolCache, other: ToolCache, clock: FakeClock, hours: int
) -> None:
    """ID-34: leases go by a clock that nobody sets; by how much the other one is off makes no second run."""
    job, idle = Job(held=True), Job()
    async with running(cache.once("k", job), job) as first:
        clock.step_wall(hours * 3600)
        second = asyncio.create_task(other.once("k", idle))
        await waits(second, 0.2)
        job.gate.set()
        assert await asyncio.gather(first, second) == ["done"] * 2
    assert (job.runs, idle.runs) == (1, 0)


async def test_an_agent_that_changes_its_arguments(cache: ToolCache, other: ToolCache) -> None:
    """ID-36: the record is that of the arguments as they were passed in; what it does to them reaches no caller's."""
    ran: list[Any] = []
    given: dict[str, Any] = {"items": [1]}

    def run(one: AgentTask) -> int:
        one.args["items"].append(2)
        one.args["more"] = True
        ran.append(one)
        return len(one.args["items"])

    def asked() -> AgentTask:
        return AgentTask("counter", "count {items}", {"items": [1]})

    (first,) = await dispatch_agents([AgentTask("counter", "count {items}", given)], run, cache=cache)
    (second,) = await dispatch_agents([asked()], run, cache=other)
    assert (first.output, second.output, second.replayed) == (2, 2, True)
    assert (await cache.status(asked())).state == "completed"
    assert given == {"items": [1]}
    assert len(ran) == 1


@pytest.mark.parametrize("key", ["k" * 10_000, "../../etc/passwd", "nul\0", "a\r\nSET k v\r\n", "lone \ud800", " ", "%"])
async def test_any_text_is_a_key(cache: ToolCache, other: ToolCache, key: str, tmp_path: Any) -> None:
    """ID-38: neither a path nor a command comes of it."""
    job = Job()
    asked = AgentTask("classifier", "classify", idempotency_key=key)
    assert await cache.once(key, job) == await other.once(key, job) == "done"
    results = [(await dispatch_agents([asked], lambda _task: 1, cache=one))[0] for one in (cache, other)]
    assert [result.replayed for result in results] == [False, True]
    assert job.runs == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"files"}


async def test_another_request_under_the_key_is_refused(cache: ToolCache, other: ToolCache) -> None:
    """BUG-115: while it runs and when it is answered; nothing runs, and the record is as it was."""
    job, idle = Job(held=True), Job()
    recorder = heard(other)
    async with running(cache.once("k", job, fingerprint={"to": "ada"}), job):
        with pytest.raises(TaskMismatchError):
            await other.once("k", idle, fingerprint={"to": "bob"})
        job.gate.set()
    for one in (cache, other):
        with pytest.raises(TaskMismatchError):
            await one.once("k", idle, fingerprint={"to": "bob"})
        with pytest.raises(TaskMismatchError):
            await one.once("k", idle)
        assert await one.once("k", idle, fingerprint={"to": "ada"}) == "done"
    assert idle.runs == 0
    assert recorder.of(TaskMismatch)
    assert not recorder.of(DuplicateExecution)


@pytest.mark.parametrize(
    "output", [None, False, 0, 0.0, -0.0, "", b"", [], {}, (), set(), frozenset(), (1, (2, [3])), {"a": (1,)}, [None]]
)
async def test_an_output_comes_back_as_it_was(cache: ToolCache, other: ToolCache, output: Any) -> None:
    """ID-01: falsy or not, with its types; and everybody has an own copy."""
    job = Job(output)
    outputs = [await one.once("k", job) for one in (cache, cache, other, other)]
    assert [repr(one) for one in outputs] == [repr(output)] * 4
    assert job.runs == 1
    joined = await asyncio.gather(*(cache.once("j", job) for _ in range(3)))
    assert [repr(one) for one in joined] == [repr(output)] * 3
    assert job.runs == 2


async def test_everybody_has_an_own_copy(cache: ToolCache, other: ToolCache) -> None:
    """What one caller does to its output, no other sees: not of those who waited, nor of those who come later."""
    mine = {"items": [1]}
    job = Job(mine)
    outputs = await asyncio.gather(*(cache.once("k", job) for _ in range(3)))
    outputs += [await cache.once("k", job), await other.once("k", job)]
    for output in outputs:
        assert output == {"items": [1]}
        output["items"].append(2)
    assert mine == {"items": [1]}
    results = await dispatch_agents([task(), task()], lambda _task: {"items": [1]}, cache=cache)
    results[0].output["items"].append(2)
    assert results[1].output == {"items": [1]}
