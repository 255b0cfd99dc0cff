"""Cache.once within one process: one run, and its answer to everybody."""

import asyncio
import copy
import threading
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import pytest
from agents import Agent, ticks
from hearing import aboard, until
from rig import Rig, SteadyClock

from toolcache import (
    AlreadyInProgressError,
    ReentrantFlightError,
    RunContext,
    SerializationError,
    StoredAgentError,
    TaskMismatchError,
    UnsupportedKeyError,
    WaitTimeoutError,
)
from toolcache.cache import Cache
from toolcache.errors import CacheClosedError
from toolcache.events import DuplicateExecution, LeaseLost, TakenOver, TaskMismatch

OUTPUTS: Final[list[Any]] = [
    *(None, False, 0, 0.0, "", b"", [], {}, (), set(), frozenset()),
    *((1, (2, [3])), {"a": (1, 2), "b": {3, 4}}, [(), []], {(1, "x"): None}, -0.0, 1, True, "ä"),
    *(Decimal("1.50"), datetime(2026, 1, 2, tzinfo=UTC), 2**70, b"\x00\xff"),
]


async def elsewhere(rig: Rig, cache: Cache) -> Cache:
    """Another process, where one would know of it; else the same."""
    return await rig.open() if rig.far else cache


class TestOneRun:
    """However often it is asked for."""

    async def test_what_was_answered_is_replayed(self, rig: Rig, cache: Cache) -> None:
        """ID-01: asked again, here and in another process, it has not run again, and the answer is the same."""
        agent = Agent({"paid": 1999})
        other = await elsewhere(rig, cache)
        assert await cache.once("pay", agent.run) == {"paid": 1999}
        assert await cache.once("pay", agent.run) == {"paid": 1999}
        assert await other.once("pay", agent.run) == {"paid": 1999}
        assert agent.runs == 1
        assert cache.stats().dispatch.executions == 1
        assert cache.stats().dispatch.replays == (1 if rig.far else 2)

    async def test_it_is_kept_from_when_it_ended(self, clock: SteadyClock, cache: Cache) -> None:
        """ID-03: a run that takes longer than the retention is kept for all of that afterwards, and no longer."""
        agent = Agent(held=True)
        first = asyncio.create_task(cache.once("pay", agent.run, retention=2))
        await agent.begun.wait()
        clock.advance(3)
        agent.let_go()
        assert await first == "done"
        clock.advance(1)
        assert await cache.once("pay", agent.run, retention=2) == "done"
        assert agent.runs == 1
        clock.advance(1.1)
        assert await cache.once("pay", agent.run, retention=2) == "done"
        assert agent.runs == 2

    async def test_callers_of_a_loop_share_it(self, cache: Cache) -> None:
        """ID-01: fifty at a time are one run, and 49 who join it."""
        agent = Agent(held=True)
        callers = [asyncio.create_task(cache.once("pay", agent.run)) for _ in range(50)]
        await agent.begun.wait()
        await aboard(cache, 50)
        agent.let_go()
        assert await asyncio.gather(*callers) == ["done"] * 50
        assert agent.runs == 1
        assert cache.stats().dispatch.joins == 49

    async def test_callers_of_two_loops_share_it(self, cache: Cache) -> None:
        """ID-01: a caller on the loop of another thread waits for the run of this one, and has its answer."""
        agent, asked = Agent([1], held=True), threading.Event()
        elsewhere: list[Any] = []

        async def ask() -> None:
            def never() -> None:
                raise AssertionError

            asking = asyncio.create_task(cache.once("pay", never))
            await ticks()
            asked.set()
            elsewhere.append(await asking)

        first = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        thread = threading.Thread(target=asyncio.run, args=(ask(),))
        thread.start()
        await asyncio.to_thread(asked.wait)
        agent.let_go()
        assert await first == [1]
        await asyncio.to_thread(thread.join)
        assert elsewhere == [[1]]
        assert agent.runs == 1

    async def test_another_process_waits_for_it(self, rig: Rig, cache: Cache) -> None:
        """ID-01: where there is a store to share, callers of two processes are one run."""
        agent = Agent(held=True)
        other = await elsewhere(rig, cache)
        first = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        second = asyncio.create_task(other.once("pay", agent.run))
        await until(lambda: other.stats().dispatch.joins)
        agent.let_go()
        assert await first == await second == "done"
        assert agent.runs == 1

    async def test_sync_and_without_an_argument(self, cache: Cache) -> None:
        """A run may be a plain function, and need not want to know what it is."""
        assert await cache.once("a", lambda: 1) == 1
        assert await cache.once("b", lambda context: context.attempt) == 1

        async def work() -> str:
            return RunContext.current().idempotency_key

        assert len(await cache.once("c", work)) == 32

    async def test_outputs_come_back_as_they_were(self, host: Rig, local: Cache) -> None:
        """EC-08: of the runner, a replay, memory and files: equal, of the same types throughout, -0.0 included."""
        for cache in (local, await host.open(), await host.open()):
            for number, output in enumerate(OUTPUTS):
                for _ in range(2):
                    answer = await cache.once(f"out {number}", partial(copy.deepcopy, output))
                    assert (answer, repr(answer), type(answer)) == (output, repr(output), type(output))
        assert local.stats().dispatch.executions == len(OUTPUTS)

    async def test_falsy_outputs_over_every_layering(self, rig: Rig, cache: Cache) -> None:
        """EC-08: what is false is an answer like any other: it is not run for again."""
        outputs: list[Any] = [None, 0, False, "", [], {}, (), b""]
        other = await elsewhere(rig, cache)
        agents = [Agent(output) for output in outputs]
        for asked in (cache, cache, other):
            answers = [await asked.once(f"out {at}", agent.run) for at, agent in enumerate(agents)]
            assert list(map(repr, answers)) == list(map(repr, outputs))
        assert [agent.runs for agent in agents] == [1] * len(outputs)

    async def test_everybody_has_an_own_copy(self, cache: Cache) -> None:
        """EC-08: neither another caller, nor the run itself, nor who asks later sees what one does to the answer."""
        made = {"lines": [1]}
        agent = Agent(made, held=True)
        callers = [asyncio.create_task(cache.once("pay", agent.run)) for _ in range(3)]
        await agent.begun.wait()
        agent.let_go()
        answers = await asyncio.gather(*callers)
        answers.append(await cache.once("pay", agent.run))
        for answer in answers:
            assert answer == {"lines": [1]}
            answer["lines"].append(2)
        assert await cache.once("pay", agent.run) == made == {"lines": [1]}

    async def test_any_text_is_a_key(self, rig: Rig, cache: Cache) -> None:
        """ID-38: whatever is in the key, it is one request of its own, and nothing else in any store."""
        keys = [
            "x" * 10_000,
            "../../etc/passwd",
            "a\0b",
            "a\r\nDEL b\r\n",
            "a\ud800b",
            "",
            "?[a]{b}*",
            "tc1:i:test:once:",
        ]
        other = await elsewhere(rig, cache)
        await cache.once("plain", lambda: "plain")
        for number, key in enumerate(keys):
            agent = Agent(number)
            assert await cache.once(key, agent.run) == await other.once(key, agent.run) == number
            assert (agent.runs, (await cache.status(key)).state) == (1, "completed")
        for key in keys:
            assert await other.forget(key)
            assert (await other.status(key)).state == "absent"
        assert await cache.once("plain", lambda: "again") == "plain"

    async def test_no_other_key_than_text(self, local: Cache) -> None:
        """KY-08: what is no text is refused, and nothing runs."""
        agent, untyped = Agent(), local.once
        for key in (1, None, b"k", ("k",)):
            with pytest.raises(UnsupportedKeyError, match="is text"):
                await untyped(key, agent.run)  # type: ignore[arg-type]  # that is what is tested
        assert agent.runs == 0

    async def test_values_and_requests_keep_apart(self, cache: Cache) -> None:
        """ID-21: a value of the same key is another thing, and deleting it leaves the answer."""
        await cache.set("pay", "value")
        assert await cache.once("pay", lambda: "output") == "output"
        assert await cache.get("pay") == "value"
        await cache.delete("pay")
        assert await cache.once("pay", lambda: "again") == "output"

    async def test_namespaces_keep_apart(self, rig: Rig) -> None:
        """ID-21: the same key in another namespace is another request."""
        one, two = await rig.open(), await rig.open(namespace="other")
        assert [await one.once("pay", lambda: "a"), await two.once("pay", lambda: "b")] == ["a", "b"]

    async def test_a_call_within_its_own_run_is_refused(self, cache: Cache) -> None:
        """SF-12: it would wait for itself, directly or through another request; the error comes at once."""

        async def direct() -> Any:
            return await cache.once("a", direct)

        async def there() -> Any:
            return await cache.once("back", back)

        async def back() -> Any:
            return await cache.once("there", there)

        for key, work in (("a", direct), ("there", there)):
            with pytest.raises(ReentrantFlightError):
                await cache.once(key, work)
        assert await cache.once("outer", lambda: cache.once("inner", lambda: 1)) == 1


class TestFailures:
    """A failure is its run's; who waited has it, who asks afterwards runs."""

    async def test_a_failure_is_the_callers(self, cache: Cache) -> None:
        """ID-14: the caller gets the exception itself; the next call runs anew."""
        error = ValueError("no such account")
        agent = Agent(error)
        with pytest.raises(ValueError, match="no such account") as caught:
            await cache.once("pay", agent.run)
        assert caught.value is error
        agent.output = "paid"
        assert await cache.once("pay", agent.run) == "paid"
        assert agent.runs == 2

    async def test_who_waited_has_the_failure_and_runs_nothing(self, rig: Rig, cache: Cache) -> None:
        """ID-14: of fifty callers all have the same exception; those of another process its words. It ran once."""
        agent, error = Agent(ValueError("no"), held=True), StoredAgentError
        other = await elsewhere(rig, cache)
        here = [asyncio.create_task(cache.once("pay", agent.run)) for _ in range(50)]
        await agent.begun.wait()
        await aboard(cache, 50)
        there = [asyncio.create_task(other.once("pay", agent.run)) for _ in range(5)] if rig.far else []
        await until(lambda: not there or other.stats().dispatch.joins == 5)
        agent.let_go()
        outcomes = await asyncio.gather(*here, *there, return_exceptions=True)
        assert {id(outcome) for outcome in outcomes[:50]} == {id(agent.output)}
        for outcome in outcomes[50:]:
            assert isinstance(outcome, error)
            assert (outcome.type, outcome.message) == ("ValueError", "no")
        assert agent.runs == 1

    async def test_what_cannot_be_kept_is_not_done_again(self, rig: Rig, cache: Cache) -> None:
        """ID-25: the caller has the output in the error; who asks again is told, and nothing runs a second time."""
        output = object()
        agent = Agent(output)
        with pytest.raises(SerializationError) as caught:
            await cache.once("pay", agent.run)
        assert caught.value.result is output
        for asked in (cache, await elsewhere(rig, cache)):
            with pytest.raises(StoredAgentError, match="SerializationError") as told:
                await asked.once("pay", agent.run)
            assert told.value.type.endswith("SerializationError")
        assert agent.runs == 1
        assert await cache.forget("pay") is False
        agent.output = "fine"
        assert await cache.once("pay", agent.run) == "fine"

    async def test_what_is_too_large_is_not_done_again(self, cache: Cache) -> None:
        """ID-25: the same for what is larger than an entry may be."""
        agent = Agent(b"x" * 2**24)
        with pytest.raises(SerializationError) as caught:
            await cache.once("pay", agent.run)
        assert caught.value.result is agent.output
        with pytest.raises(StoredAgentError):
            await cache.once("pay", agent.run)
        assert agent.runs == 1

    async def test_a_run_that_cancels_itself_has_failed(self, cache: Cache) -> None:
        """LC-15: that is told as an error, not as the cancellation of who asked; the next call runs."""

        async def give_up() -> None:
            raise asyncio.CancelledError

        with pytest.raises(Exception, match="cancelled itself"):
            await cache.once("pay", give_up)
        assert await cache.once("pay", lambda: 1) == 1


class TestLeaving:
    """A caller's cancellation is its own."""

    async def test_the_run_goes_on_without_callers(self, rig: Rig, cache: Cache) -> None:
        """ID-22: the only caller leaves; the run comes to its end, and the next call gets that."""
        agent = Agent(held=True)
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        retry = asyncio.create_task((await elsewhere(rig, cache)).once("pay", agent.run))
        await ticks()
        agent.let_go()
        assert await retry == "done"
        assert (agent.runs, agent.ended) == (1, 1)

    async def test_one_leaves_the_others_stay(self, cache: Cache) -> None:
        """ID-22: who had it started may go, and the others have its answer."""
        agent = Agent(held=True)
        callers = [asyncio.create_task(cache.once("pay", agent.run)) for _ in range(3)]
        await agent.begun.wait()
        callers[0].cancel()
        await ticks()
        agent.let_go()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert outcomes[1:] == ["done", "done"]
        assert agent.runs == 1

    async def test_who_will_not_wait_is_told_at_once(self, rig: Rig, cache: Cache) -> None:
        """ID-27: with wait="raise" it is refused while it runs, here or in another process; the run has no harm."""
        agent = Agent(held=True)
        first = asyncio.create_task(cache.once("pay", agent.run, wait="raise"))
        await agent.begun.wait()
        for asked in (cache, await elsewhere(rig, cache)):
            with pytest.raises(AlreadyInProgressError) as caught:
                await asked.once("pay", agent.run, wait="raise")
            assert len(caught.value.key) == 8
        agent.let_go()
        assert await first == "done"
        assert await cache.once("pay", agent.run, wait="raise") == "done"
        assert agent.runs == 1

    async def test_who_waits_no_longer_leaves_the_run_alone(self, rig: Rig, cache: Cache, clock: SteadyClock) -> None:
        """ID-28: after wait_timeout another's caller leaves; the run goes on, and later there is an answer."""
        agent = Agent(held=True)
        first = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        for asked in (cache, await elsewhere(rig, cache)):
            waiting = asyncio.create_task(asked.once("pay", agent.run, wait_timeout="20ms"))
            done, _ = await asyncio.wait([waiting], timeout=0.05)
            assert not done
            clock.advance(0.02)
            with pytest.raises(WaitTimeoutError):
                await waiting
        agent.let_go()
        assert await first == await cache.once("pay", agent.run, wait_timeout="20ms") == "done"
        assert agent.runs == 1


class TestForgetting:
    """What was forgotten is another request."""

    async def test_what_was_forgotten_runs_again(self, rig: Rig, cache: Cache) -> None:
        """ID-32: after forget() the next call runs, in whatever process; forget says whether there was an output."""
        agent, other = Agent(), await elsewhere(rig, cache)
        assert await cache.forget("pay") is False
        await cache.once("pay", agent.run)
        assert await other.forget("pay") is True
        assert await cache.forget("pay") is False
        assert (await cache.status("pay")).state == "absent"
        assert await cache.once("pay", agent.run) == await other.once("pay", agent.run) == "done"
        assert agent.runs == 2

    async def test_forgotten_while_it_runs(self, rig: Rig, cache: Cache) -> None:
        """ID-33: its callers have its output, nobody else has; the next call runs."""
        agent = Agent("first", held=True)
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        assert await (await elsewhere(rig, cache)).forget("pay") is False
        agent.let_go()
        assert await caller == "first"
        assert (await cache.status("pay")).state == "absent"
        agent.output = "second"
        assert await cache.once("pay", agent.run) == "second"
        assert agent.runs == 2

    @pytest.mark.parametrize("how", ["forget", "clear"])
    async def test_the_next_call_does_not_join_what_was_forgotten(self, cache: Cache, how: str) -> None:
        """ID-33: who asks after it was forgotten has another run, although the old one goes on, and that one's answer stays."""
        old, new = Agent("old", held=True), Agent("new")
        caller = asyncio.create_task(cache.once("pay", old.run))
        await old.begun.wait()
        await (cache.forget("pay") if how == "forget" else cache.clear())
        assert await cache.once("pay", new.run) == "new"
        old.let_go()
        assert await caller == "old"
        assert await cache.once("pay", new.run) == "new"
        assert (old.runs, new.runs) == (1, 1)

    async def test_cleared_while_it_runs(self, rig: Rig, cache: Cache) -> None:
        """OR-13: clear() forgets what is running, too: its callers have it, and it is not kept."""
        agent, other = Agent("first", held=True), await elsewhere(rig, cache)
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        await other.clear()
        agent.let_go()
        assert await caller == "first"
        agent.output = "second"
        assert await other.once("pay", agent.run) == "second"
        assert await cache.once("pay", agent.run) == "second"
        assert agent.runs == 2

    async def test_tags_of_others_do_not_touch_it(self, cache: Cache) -> None:
        """OR-13: a request carries no tags, so that invalidating some while it runs leaves its answer."""
        agent = Agent(held=True)
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        await cache.invalidate(tags=["pay", "once"])
        agent.let_go()
        assert await caller == await cache.once("pay", agent.run) == "done"
        assert agent.runs == 1

    @pytest.mark.parametrize("output", ["old", ValueError("old")], ids=["completed", "failed"])
    @pytest.mark.parametrize("beating", [False, True], ids=["unnoticed", "noticed"])
    async def test_what_another_process_forgot_makes_room(
        self, rig: Rig, cache: Cache, output: Any, *, beating: bool
    ) -> None:
        """ID-33: its claim ends with it, whether a heartbeat noticed or not: the next run is a first one, at once."""
        old, new, other = Agent(output, held=True), Agent("new"), await elsewhere(rig, cache)
        caller = asyncio.create_task(cache.once("pay", old.run))
        await old.begun.wait()
        await other.forget("pay")
        if beating:
            for _ in range(2):
                cache._machine.runs.assert_anew()
                await until(
                    lambda: all(task.done() for task in next(iter(cache._machine.runs._holds))._beating.values())
                )
        old.let_go()
        with suppress(ValueError):
            await caller
        assert await cache.once("pay", new.run, wait="raise") == "new"
        assert new.contexts[0].attempt == 1
        assert not rig.recorder.of(TakenOver)

    async def test_a_failure_that_was_forgotten(self, cache: Cache) -> None:
        """ID-33: a run that was forgotten fails for its own callers alone, even where failures are kept."""
        old, new = Agent(ValueError("old"), held=True), Agent("new")
        caller = asyncio.create_task(cache.once("pay", old.run, on_error="store"))
        await old.begun.wait()
        await cache.forget("pay")
        assert await cache.once("pay", new.run) == "new"
        old.let_go()
        with pytest.raises(ValueError, match="old"):
            await caller
        assert await cache.once("pay", new.run) == "new"


class TestFingerprints:
    """A key is of one request."""

    async def test_another_request_under_the_key_is_refused(self, rig: Rig, cache: Cache) -> None:
        """BUG-115: while it runs and once it was answered, here and elsewhere; it is told, and the answer stays."""
        agent, wrong, other = Agent(held=True), Agent("wrong"), await elsewhere(rig, cache)
        first = asyncio.create_task(cache.once("pay", agent.run, fingerprint={"cents": 5}))
        await agent.begun.wait()
        for asked in (cache, other):
            with pytest.raises(TaskMismatchError):
                await asked.once("pay", wrong.run, fingerprint={"cents": 6})
        agent.let_go()
        await first
        for asked in (cache, other):
            for fingerprint in ({"cents": 6}, None, {"cents": 5.0}):
                with pytest.raises(TaskMismatchError):
                    await asked.once("pay", wrong.run, fingerprint=fingerprint)
        assert await cache.once("pay", agent.run, fingerprint={"cents": 5}) == "done"
        assert (agent.runs, wrong.runs) == (1, 0)
        assert len(rig.recorder.of(TaskMismatch)) == 8
        assert cache.stats().dispatch.mismatches + other.stats().dispatch.mismatches == (8 if rig.far else 16)

    async def test_order_does_not_matter(self, cache: Cache) -> None:
        """ID-19: the same names with the same values are the same request."""
        await cache.once("pay", lambda: 1, fingerprint={"a": 1, "b": 2})
        assert await cache.once("pay", lambda: 2, fingerprint={"b": 2, "a": 1}) == 1

    async def test_types_matter(self, local: Cache) -> None:
        """ID-20: 1, 1.0, True, "1" and b"1" are five requests, of which a key has one."""
        given: list[Any] = [1, 1.0, True, "1", b"1"]
        for at, fingerprint in enumerate(given):
            await local.once(f"pay {at}", lambda: 1, fingerprint=fingerprint)
            for other in given[:at] + given[at + 1 :]:
                with pytest.raises(TaskMismatchError):
                    await local.once(f"pay {at}", lambda: 2, fingerprint=other)

    async def test_after_forget_it_may_be_another(self, cache: Cache) -> None:
        """BUG-115: the key of what was forgotten is free."""
        await cache.once("pay", lambda: 1, fingerprint=1)
        await cache.forget("pay")
        assert await cache.once("pay", lambda: 2, fingerprint=2) == 2


class TestTelling:
    """What a run is told, and what others are told of it."""

    async def test_the_key_for_those_outside(self, cache: Cache) -> None:
        """ID-14: the same text after a failure, another one once it was forgotten, and for another request."""
        agent = Agent(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await cache.once("pay", agent.run)
        agent.output = 1
        await cache.once("pay", agent.run)
        await cache.forget("pay")
        await cache.once("pay", agent.run)
        await cache.once("other", agent.run)
        keys = [context.idempotency_key for context in agent.contexts]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 3
        assert all(len(key) == 32 for key in keys)
        assert [context.attempt for context in agent.contexts] == [1, 1, 1, 1]

    async def test_the_same_key_in_every_process(self, host: Rig, clock: SteadyClock) -> None:
        """ID-24: who takes over is told which attempt it is, and the key of the one before."""
        one, two = await host.open(), await host.open()
        first, second = Agent(held=True), Agent()
        stalled = asyncio.create_task(one.once("pay", first.run))
        await first.begun.wait()
        clock.advance(31)
        assert await two.once("pay", second.run) == "done"
        first.let_go()
        await stalled
        assert [context.attempt for context in first.contexts + second.contexts] == [1, 2]
        assert first.contexts[0].idempotency_key == second.contexts[0].idempotency_key
        assert (await one.status("pay")).attempts == 2

    async def test_what_was_taken_over(self, host: Rig, clock: SteadyClock) -> None:
        """ID-12: the first output is the answer of both runs; the events and counters tell of all three things."""
        one, two = await host.open(), await host.open()
        first, second = Agent("first", held=True), Agent("second")
        stalled = asyncio.create_task(one.once("pay", first.run))
        await first.begun.wait()
        clock.advance(31)
        assert await two.once("pay", second.run) == "second"
        (hold,) = one._machine.runs._holds
        one._machine.runs.assert_anew()
        await until(lambda: host.recorder.of(LeaseLost))
        assert hold.lost
        first.let_go()
        assert await stalled == "second"
        assert await one.once("pay", first.run) == "second"
        (taken,), (lost,) = host.recorder.of(TakenOver), host.recorder.of(LeaseLost)
        (twice,) = host.recorder.of(DuplicateExecution)
        assert taken.attempt == 2
        assert (lost.layer, lost.reason) == ("file", "another has taken it over")
        assert twice.layer == "file"
        assert taken.key == lost.key == twice.key
        assert (one.stats().dispatch.leases_lost, one.stats().dispatch.duplicates) == (1, 1)
        assert (two.stats().dispatch.takeovers, two.stats().dispatch.executions) == (1, 1)

    async def test_a_late_failure_destroys_nothing(self, host: Rig, clock: SteadyClock) -> None:
        """ID-12: who has lost its claim fails for its own callers; the answer of the other stays."""
        one, two = await host.open(), await host.open()
        first, second = Agent(ValueError("late"), held=True), Agent("second")
        stalled = asyncio.create_task(one.once("pay", first.run))
        await first.begun.wait()
        clock.advance(31)
        assert await two.once("pay", second.run) == "second"
        first.let_go()
        with pytest.raises(ValueError, match="late"):
            await stalled
        assert await one.once("pay", first.run) == await two.once("pay", first.run) == "second"

    async def test_the_clock_on_the_wall(self, rig: Rig, cache: Cache, clock: SteadyClock) -> None:
        """ID-34: set by two hours while it runs, forth or back, it ends no lease: who asks waits, and it runs once."""
        other = await elsewhere(rig, cache)
        for at, jump in enumerate((7200, -7200)):
            agent = Agent(held=True)
            first = asyncio.create_task(cache.once(f"pay {at}", agent.run))
            await agent.begun.wait()
            clock.step_wall(jump)
            with pytest.raises(AlreadyInProgressError):
                await other.once(f"pay {at}", agent.run, wait="raise")
            second = asyncio.create_task(other.once(f"pay {at}", agent.run))
            await ticks()
            agent.let_go()
            assert await first == await second == "done"
            assert await cache.once(f"pay {at}", agent.run) == "done"
            assert agent.runs == 1

    async def test_what_it_cost(self, rig: Rig, cache: Cache, clock: SteadyClock) -> None:
        """ID-01: reports add up, are kept with the answer, and are what each replay saves."""

        async def work(context: RunContext) -> str:
            context.cost(usd=0.25, tokens=100)
            clock.advance(8)
            context.cost(usd=0.5)
            context.cost(tokens=20)
            return "done"

        async def fail(context: RunContext) -> None:
            context.cost(usd=1, tokens=1)
            raise ValueError("no")

        other = await elsewhere(rig, cache)
        await cache.once("pay", work)
        with pytest.raises(ValueError, match="no"):
            await cache.once("fail", fail)
        for _ in range(2):
            await other.once("pay", work)
        spent, saved = cache.stats().dispatch, other.stats().dispatch
        assert (spent.cost_usd, spent.tokens) == (1.75, 121)
        assert (saved.cost_usd_saved, saved.tokens_saved) == (1.5, 240)
        assert saved.seconds_saved == pytest.approx(16)
        status = await other.status("pay")
        assert (status.cost_usd, status.tokens) == (0.75, 120)

    @pytest.mark.parametrize("amount", [{"usd": -1}, {"tokens": -1}, {"usd": float("nan")}, {"usd": float("inf")}])
    async def test_what_nothing_can_cost(self, local: Cache, amount: dict[str, Any]) -> None:
        """ID-01: an amount that is none is refused, in the run that reports it."""
        with pytest.raises(ValueError, match="zero or more"):
            await local.once("pay", lambda context: context.cost(**amount))

    async def test_how_far_it_is(self, rig: Rig, cache: Cache, clock: SteadyClock) -> None:
        """ID-32: absent, running, completed, failed, absent again; with the instants of each, from every process."""
        other, agent = await elsewhere(rig, cache), Agent(held=True)
        status = await other.status("pay")
        assert (status.state, status.attempts, status.started_at, status.expires_at) == ("absent", 0, None, None)
        begun = clock.time()
        first = asyncio.create_task(cache.once("pay", agent.run, retention=60))
        await agent.begun.wait()
        status = await other.status("pay")
        assert (status.state, status.attempts, status.lapsed, status.finished_at) == ("running", 1, False, None)
        assert status.started_at == pytest.approx(begun)
        clock.advance(5)
        agent.let_go()
        await first
        status = await other.status("pay")
        assert (status.state, status.attempts, status.error) == ("completed", 1, None)
        assert status.finished_at == pytest.approx(begun + 5)
        assert status.expires_at == pytest.approx(begun + 65)
        clock.advance(61)
        assert (await other.status("pay")).state == "absent"
        agent.output = ValueError("no")
        with pytest.raises(ValueError, match="no"):
            await cache.once("pay", agent.run, on_error="store")
        status = await other.status("pay")
        assert (status.state, status.error) == ("failed", "ValueError: no")

    async def test_a_claim_that_has_lapsed(self, host: Rig, clock: SteadyClock) -> None:
        """ID-24: a run of which nothing was heard for a whole lease is told as lapsed."""
        one, two = await host.open(), await host.open()
        agent = Agent(held=True)
        first = asyncio.create_task(one.once("pay", agent.run, lease=5))
        await agent.begun.wait()
        clock.advance(4)
        assert not (await two.status("pay")).lapsed
        clock.advance(2)
        status = await two.status("pay")
        assert (status.state, status.lapsed) == ("running", True)
        agent.let_go()
        assert await first == "done"


class TestClosing:
    """A cache that is closed lets go."""

    async def test_it_lets_go_of_what_runs(self, rig: Rig, cache: Cache) -> None:
        """ID-23: closed without patience, the run is ended and its claim given back: another process begins at once."""
        agent, again = Agent(held=True), Agent("again")
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        await cache.aclose(drain=0)
        with pytest.raises(CacheClosedError, match="before this run came to its end"):
            await caller
        assert agent.ended == 1
        if rig.far:
            other = await rig.open()
            assert await other.once("pay", again.run, wait="raise") == "again"
            assert again.contexts[0].attempt == 1
        with pytest.raises(CacheClosedError):
            await cache.once("pay", again.run)

    async def test_it_waits_for_what_runs(self, rig: Rig, cache: Cache) -> None:
        """ID-23: with patience the run comes to its end, and its answer is kept."""
        agent = Agent(held=True)
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        closing = asyncio.create_task(cache.aclose(drain=30))
        await ticks()
        agent.let_go()
        await closing
        assert await caller == "done"
        if rig.far:
            assert await (await rig.open()).once("pay", agent.run) == "done"
            assert agent.runs == 1

    async def test_a_commit_under_way_is_not_lost(self, host: Rig) -> None:
        """ID-23: what has been done when the cache is closed without patience is kept, and its caller has it."""
        cache, agent = await host.open(), Agent(held=True)
        caller = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        files: Any = cache._parts.files
        files.store.hang()
        swaps = files.store.calls["swap"]
        agent.let_go()
        await until(lambda: files.store.calls["swap"] > swaps)
        closing = asyncio.create_task(cache.aclose(drain=0))
        await ticks()
        files.store.heal()
        await closing
        assert await caller == "done"
        assert await (await host.open()).once("pay", agent.run) == "done"
        assert agent.runs == 1
