"""The breaker, case by case, against a clock that the test moves."""

import asyncio
import gc
import itertools
import random
import threading
import traceback
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from toolcache.errors import CacheClosedError, CircuitOpenError, SettingsError
from toolcache.events import Announcer, BreakerChanged
from toolcache.resilience.breaker import BreakerState, CircuitBreaker
from toolcache.resilience.permit import Permit
from toolcache.testing import FakeClock, Recorder

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make(clock: FakeClock, recorder: Recorder) -> Callable[..., CircuitBreaker]:
    def build(**changes: Any) -> CircuitBreaker:
        arguments: dict[str, Any] = {
            "name": "redis",
            "failure_threshold": 3,
            "recovery_time": (10, 60),
            "jitter": 0,
            "probe_timeout": 5,
            "clock": clock,
            "on_change": recorder,
        }
        return CircuitBreaker(**(arguments | changes))

    return build


@pytest.fixture
def breaker(make: Callable[..., CircuitBreaker]) -> CircuitBreaker:
    return make()


def fail(breaker: CircuitBreaker, times: int = 1, *, auth: bool = False) -> None:
    for _ in range(times):
        breaker.acquire().fail(auth=auth)


def succeed(breaker: CircuitBreaker) -> None:
    breaker.acquire().ok()


def refusal(breaker: CircuitBreaker) -> CircuitOpenError:
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    return caught.value


def half_open(breaker: CircuitBreaker, clock: FakeClock) -> Permit:
    fail(breaker, 3)
    clock.advance(10)
    return breaker.acquire()


def next_is_probe(breaker: CircuitBreaker) -> bool:
    permit = breaker.acquire()
    permit.neutral()
    return permit.probe


def moves(recorder: Recorder) -> list[tuple[str, str]]:
    return [(event.before, event.after) for event in recorder.of(BreakerChanged)]


class TestClosed:
    def test_a_new_breaker_is_closed(self, breaker: CircuitBreaker, recorder: Recorder) -> None:
        """CB-01: a new breaker is closed, has counted nothing and told nobody."""
        stats = breaker.stats()
        assert breaker.state is CLOSED
        assert (stats.successes, stats.failures, stats.failures_in_a_row, stats.openings) == (0, 0, 0, 0)
        assert stats.retry_after is None
        assert recorder.events == []

    def test_only_failures_in_a_row_open(self, breaker: CircuitBreaker) -> None:
        """CB-02: a success between failures begins the count anew."""
        fail(breaker, 2)
        succeed(breaker)
        fail(breaker, 2)
        assert breaker.state is CLOSED

    async def test_the_threshold_opens_once(self, breaker: CircuitBreaker, recorder: Recorder) -> None:
        """CB-03: the third failure opens, with one event, and its caller sees its own exception."""

        async def broken() -> None:
            raise ConnectionResetError("mine")

        for _ in range(3):
            with pytest.raises(ConnectionResetError, match="mine"):
                await breaker.call(broken)
        assert breaker.state is OPEN
        opened = BreakerChanged("redis", "closed", "open", "3 failures in a row", detail="connection lost")
        assert recorder.of(BreakerChanged) == [opened]

    def test_a_neutral_outcome_is_not_even_a_success(self, breaker: CircuitBreaker) -> None:
        """BUG-54: what says nothing about the other side neither adds to the failures nor forgives them."""
        fail(breaker, 2)
        breaker.acquire().neutral()
        assert breaker.stats().failures_in_a_row == 2
        fail(breaker)
        assert breaker.state is OPEN

    async def test_a_cancelled_call_says_nothing(self, make: Callable[..., CircuitBreaker]) -> None:
        """CB-11: a cancelled call leaves even a breaker of threshold 1 closed."""
        breaker = make(failure_threshold=1)
        call = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert breaker.state is CLOSED
        assert breaker.stats().failures == 0
        assert breaker.stats().neutral == 1

    async def test_an_interrupt_passes_through(self, make: Callable[..., CircuitBreaker]) -> None:
        """CB-35: KeyboardInterrupt inside a guarded call propagates, is no failure, and leaves no permit behind."""
        breaker = make(failure_threshold=1)

        with pytest.raises(KeyboardInterrupt):
            async with breaker:
                raise KeyboardInterrupt
        assert breaker.state is CLOSED
        assert breaker.stats().neutral == 1

    def test_two_hundred_in_flight_open_it_once(
        self, breaker: CircuitBreaker, recorder: Recorder, clock: FakeClock
    ) -> None:
        """CB-21: 200 calls in flight that all fail are one transition, one event and one opening of 10 s."""
        permits = [breaker.acquire() for _ in range(200)]
        for permit in permits:
            permit.fail()
        assert moves(recorder) == [("closed", "open")]
        stats = breaker.stats()
        assert (stats.failures, stats.late, stats.openings_in_a_row) == (200, 197, 1)
        clock.advance(10)
        assert next_is_probe(breaker)

    def test_a_resolved_permit_is_resolved(self, breaker: CircuitBreaker) -> None:
        """A permit counts once, whatever is said about it afterwards."""
        permit = breaker.acquire()
        permit.ok()
        permit.fail()
        permit.fail(auth=True)
        permit.neutral()
        stats = breaker.stats()
        assert (stats.successes, stats.failures, stats.neutral) == (1, 0, 0)
        assert breaker.state is CLOSED


class TestOpen:
    def test_it_refuses_until_the_wait_is_over(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-04: a millisecond before the end of the wait it still refuses, and says how long it will."""
        fail(breaker, 3)
        clock.advance(9.999)
        retry_after = refusal(breaker).retry_after
        assert retry_after is not None
        assert 0 < retry_after <= 0.001 + 1e-9
        assert breaker.stats().rejected == 1
        clock.advance(0.001)
        assert next_is_probe(breaker)

    async def test_a_refused_function_is_not_called(self, breaker: CircuitBreaker) -> None:
        """CB-04: while the breaker is open, the guarded function is not called."""
        fail(breaker, 3)
        calls = 0

        async def function() -> None:
            nonlocal calls
            calls += 1

        with pytest.raises(CircuitOpenError):
            await breaker.call(function)
        assert calls == 0

    def test_the_wait_grows(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-08: a failed probe doubles the wait: 20 s, not 19.9."""
        half_open(breaker, clock).fail()
        assert breaker.state is OPEN
        clock.advance(19.9)
        assert refusal(breaker).retry_after == pytest.approx(0.1)
        clock.advance(0.1)
        assert next_is_probe(breaker)

    def test_the_wait_ends_growing(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """The wait never passes the longest one, after two thousand openings either."""
        fail(breaker, 3)
        waits = []
        for _ in range(2_000):
            wait = refusal(breaker).retry_after
            assert wait is not None
            waits.append(wait)
            clock.advance(wait + 1e-6)  # what the clock's float may round away
            breaker.acquire().fail()
        assert waits[:4] == pytest.approx([10, 20, 40, 60])
        assert max(waits) == pytest.approx(60)

    def test_one_number_is_a_fixed_wait(self, make: Callable[..., CircuitBreaker], clock: FakeClock) -> None:
        """A single recovery time does not grow."""
        breaker = make(recovery_time="30s")
        half_open_after = []
        fail(breaker, 3)
        for _ in range(3):
            half_open_after.append(refusal(breaker).retry_after)
            clock.advance(30)
            breaker.acquire().fail()
        assert half_open_after == pytest.approx([30, 30, 30])

    def test_the_factor_is_heeded(self, make: Callable[..., CircuitBreaker], clock: FakeClock) -> None:
        """``factor=3`` makes the second wait three times the first."""
        breaker = make(factor=3.0)
        half_open(breaker, clock).fail()
        assert refusal(breaker).retry_after == pytest.approx(30)

    def test_a_straggler_does_not_close_it(self, breaker: CircuitBreaker, recorder: Recorder) -> None:
        """CB-15: a call from before the opening that succeeds after it changes nothing.

        BUG-49: results of calls admitted in an earlier cycle never change the current one.
        """
        slow = breaker.acquire()
        fail(breaker, 3)
        slow.ok()
        assert breaker.state is OPEN
        assert breaker.stats().late == 1
        assert moves(recorder) == [("closed", "open")]

    def test_late_failures_do_not_extend_the_wait(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """BUG-51: failures that arrive while it is open do not push the probe further away."""
        late = [breaker.acquire() for _ in range(5)]
        fail(breaker, 3)
        clock.advance(9)
        for permit in late:
            permit.fail()
        refusal(breaker)
        clock.advance(1)
        assert next_is_probe(breaker)

    def test_reading_changes_nothing(self, breaker: CircuitBreaker, clock: FakeClock, recorder: Recorder) -> None:
        """CB-22: an hour after the wait is over, reading state, statistics and repr still finds it open."""
        fail(breaker, 3)
        recorder.clear()
        clock.advance(3_610)
        assert not breaker.refuses()
        assert "open" in repr(breaker)
        assert breaker.stats().retry_after == 0
        assert breaker.state is OPEN
        assert recorder.events == []

    def test_refusals_leave_nothing_behind(self, breaker: CircuitBreaker) -> None:
        """CB-27: the thousandth refusal is as small as the first: a new exception, no deeper traceback, no context."""
        fail(breaker, 3)
        refusals = [refusal(breaker) for _ in range(1_000)]
        assert len({id(error) for error in refusals}) == 1_000
        depths = {len(traceback.extract_tb(error.__traceback__)) for error in refusals}
        assert len(depths) == 1
        assert all(error.__context__ is None and error.__cause__ is None for error in refusals)

    def test_refusing_takes_no_memory(self, breaker: CircuitBreaker) -> None:
        """CB-27: the breaker does not grow with the number of refusals."""
        fail(breaker, 3)
        refusal(breaker)
        tracemalloc.start()
        try:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(1_000):
                refusal(breaker)
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert after - before < 10_000

    def test_the_wall_clock_does_not_matter(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-29: with the wall clock set back an hour, the probe comes 10 s later all the same.

        BUG-55: steps of the wall clock neither open nor close it.
        """
        fail(breaker, 3)
        clock.step_wall(-3_600)
        refusal(breaker)
        clock.advance(10)
        assert next_is_probe(breaker)
        clock.step_wall(+7_200)
        assert breaker.state is HALF_OPEN

    def test_jitter_spreads_the_waits(self, make: Callable[..., CircuitBreaker]) -> None:
        """CB-28: with a jitter of 0.2, first waits of 10 s lie from 8 to 12 s, 10 s on average, and differ.

        BUG-58: so processes that lost one server do not come back to it in step.
        """
        numbers = random.Random(28)
        breaker = make(jitter=0.2, failure_threshold=1, random=numbers.random, on_change=None)
        waits = []
        for _ in range(10_000):
            fail(breaker)
            wait = breaker.stats().retry_after
            assert wait is not None
            waits.append(wait)
            breaker.reset()
        assert min(waits) >= 8
        assert max(waits) <= 12
        assert sum(waits) / len(waits) == pytest.approx(10, abs=0.1)
        assert len(set(waits)) > 9_000

    def test_word_from_outside_brings_the_probe_forward(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """``allow_probe`` lets the next caller probe at once, which is told, and does nothing in any other state."""
        breaker.allow_probe()
        assert breaker.state is CLOSED
        fail(breaker, 3)
        clock.advance(1)
        breaker.allow_probe()
        assert breaker.state is OPEN
        permit = breaker.acquire()
        assert (permit.probe, breaker.stats().reason) == (True, "it may be back")
        breaker.allow_probe()
        refusal(breaker)
        permit.ok()
        assert breaker.state is CLOSED


class TestDenied:
    def test_denied_access_opens_at_once_for_the_longest_wait(
        self, breaker: CircuitBreaker, recorder: Recorder, clock: FakeClock
    ) -> None:
        """CB-34: one refusal of our credentials is enough, and the wait is the longest."""
        fail(breaker, auth=True)
        assert breaker.state is OPEN
        assert refusal(breaker).retry_after == pytest.approx(60)
        clock.advance(60)
        breaker.acquire().fail(auth=True)
        assert refusal(breaker).retry_after == pytest.approx(60)
        assert [event.reason for event in recorder.of(BreakerChanged)] == [
            "access denied",
            "the wait is over",
            "access denied",
        ]

    def test_the_longest_wait_has_its_jitter(self, make: Callable[..., CircuitBreaker]) -> None:
        """The wait after denied access is drawn from the same spread."""
        breaker = make(jitter=0.2, random=lambda: 0.0)
        fail(breaker, auth=True)
        assert refusal(breaker).retry_after == pytest.approx(48)

    def test_reset_forgets_it(self, breaker: CircuitBreaker) -> None:
        """A changed credential is tried at once after ``reset``."""
        fail(breaker, auth=True)
        breaker.reset()
        assert not next_is_probe(breaker)


class TestHalfOpen:
    def test_a_good_probe_closes(self, breaker: CircuitBreaker, clock: FakeClock, recorder: Recorder) -> None:
        """CB-07: a good probe closes it and clears the counts: two failures more do not open it."""
        half_open(breaker, clock).ok()
        assert breaker.state is CLOSED
        assert breaker.stats().openings_in_a_row == 0
        fail(breaker, 2)
        assert breaker.state is CLOSED
        assert moves(recorder) == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]

    def test_the_next_outage_begins_with_the_first_wait(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-07: the wait of an opening after a recovery is the first one again."""
        half_open(breaker, clock).fail()
        clock.advance(20)
        breaker.acquire().ok()
        fail(breaker, 3)
        assert refusal(breaker).retry_after == pytest.approx(10)

    def test_others_wait_for_the_probe(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """Beside a probe, a caller is refused for as long as the probe may take."""
        permit = half_open(breaker, clock)
        clock.advance(2)
        assert refusal(breaker).retry_after == pytest.approx(3)
        permit.ok()

    async def test_a_thousand_callers_are_one_probe(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """BUG-50: of a thousand concurrent callers, exactly one is the probe."""
        fail(breaker, 3)
        clock.advance(10)
        gate, calls = asyncio.Event(), 0

        async def function() -> None:
            nonlocal calls
            calls += 1
            await gate.wait()

        async def call() -> bool:
            try:
                await breaker.call(function)
            except CircuitOpenError:
                return False
            return True

        tasks = [asyncio.create_task(call()) for _ in range(1_000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        assert sum(await asyncio.gather(*tasks)) == calls == 1

    def test_as_many_probes_as_configured(self, make: Callable[..., CircuitBreaker], clock: FakeClock) -> None:
        """BUG-50: ``probes=2`` admits two at a time, and a place freed is given again."""
        breaker = make(probes=2, success_threshold=5)
        first = half_open(breaker, clock)
        second = breaker.acquire()
        refusal(breaker)
        second.ok()
        third = breaker.acquire()
        assert third.probe
        refusal(breaker)
        first.ok()
        third.ok()

    def test_a_hung_probe_is_a_failed_one(self, breaker: CircuitBreaker, clock: FakeClock, recorder: Recorder) -> None:
        """CB-13: a probe past its deadline counts as failed; its late success is counted and changes nothing."""
        hung = half_open(breaker, clock)
        clock.advance(5)
        assert not breaker.refuses()
        assert refusal(breaker).retry_after == pytest.approx(20)
        assert breaker.state is OPEN
        assert breaker.stats().failures == 4
        recorder.clear()
        hung.ok()
        assert breaker.state is OPEN
        assert breaker.stats().late == 1
        assert recorder.events == []

    def test_a_probe_is_forgotten_with_its_round(self, make: Callable[..., CircuitBreaker], clock: FakeClock) -> None:
        """CB-13: a probe left over from an earlier round neither takes a place in the next nor fails it."""
        breaker = make(probes=2)
        left_over = half_open(breaker, clock)
        breaker.acquire().fail()
        clock.advance(20)
        probe = breaker.acquire()
        assert probe.probe
        assert next_is_probe(breaker)
        left_over.fail()
        probe.ok()
        assert breaker.state is CLOSED

    def test_an_old_permit_frees_no_place(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-17: a permit from before the opening, released beside the probe, admits no second one."""
        old = breaker.acquire()
        probe = half_open(breaker, clock)
        old.neutral()
        refusal(breaker)
        probe.ok()

    async def test_an_ignored_exception_frees_the_place(
        self, make: Callable[..., CircuitBreaker], clock: FakeClock
    ) -> None:
        """CB-18: a probe that ends in an ignored exception is neutral: half open, place free."""
        breaker = make(ignore=KeyError)
        half_open(breaker, clock).neutral()
        for _ in range(3):
            with pytest.raises(KeyError):
                async with breaker:
                    raise KeyError("a question of the caller's")
        assert breaker.state is HALF_OPEN
        assert next_is_probe(breaker)

    async def test_a_cancelled_probe_frees_the_place(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """BUG-48: a cancelled probe neither closes the breaker nor wedges it."""
        fail(breaker, 3)
        clock.advance(10)
        probe = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        assert breaker.refuses()
        probe.cancel()
        await asyncio.wait([probe])
        assert breaker.state is HALF_OPEN
        succeed(breaker)
        assert breaker.state is CLOSED

    def test_several_successes_may_be_asked_for(self, make: Callable[..., CircuitBreaker], clock: FakeClock) -> None:
        """CB-19: with ``success_threshold=2`` the first good probe leaves it half open, the second closes it."""
        breaker = make(success_threshold=2)
        half_open(breaker, clock).ok()
        assert breaker.state is HALF_OPEN
        succeed(breaker)
        assert breaker.state is CLOSED

    def test_successes_before_a_failure_are_forgotten(
        self, make: Callable[..., CircuitBreaker], clock: FakeClock
    ) -> None:
        """CB-20: ok, then fail: open, and the next round needs two again."""
        breaker = make(success_threshold=2)
        half_open(breaker, clock).ok()
        fail(breaker)
        assert breaker.state is OPEN
        clock.advance(20)
        succeed(breaker)
        assert breaker.state is HALF_OPEN

    def test_a_lost_permit_frees_the_place(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-33: a probe's permit that is dropped unresolved warns, is neutral, and its place is free."""
        permit = half_open(breaker, clock)
        with pytest.warns(ResourceWarning, match="dropped"):
            del permit
        assert not breaker.refuses()
        succeed(breaker)
        assert breaker.state is CLOSED
        assert breaker.stats().neutral == 1

    def test_a_permit_lost_under_the_lock_does_no_harm(self, breaker: CircuitBreaker, clock: FakeClock) -> None:
        """CB-33: the collector may drop a permit while the same thread is inside the breaker."""
        permit = half_open(breaker, clock)
        with pytest.warns(ResourceWarning), breaker._lock:
            del permit
        assert next_is_probe(breaker)


class TestByHand:
    def test_forced_open(self, breaker: CircuitBreaker, clock: FakeClock, recorder: Recorder) -> None:
        """A breaker forced open refuses whatever the time, and says once that it was done by hand."""
        breaker.force_open()
        breaker.force_open()
        clock.advance(10_000)
        assert breaker.refuses()
        assert refusal(breaker).retry_after is None
        assert recorder.of(BreakerChanged) == [BreakerChanged("redis", "closed", "forced_open", "forced", manual=True)]

    def test_forced_closed(self, breaker: CircuitBreaker, recorder: Recorder) -> None:
        """CB-24: forced closed, a hundred failures are admitted and counted, and move nothing."""
        breaker.force_closed()
        recorder.clear()
        fail(breaker, 99)
        fail(breaker, auth=True)
        assert breaker.state is BreakerState.FORCED_CLOSED
        assert breaker.stats().failures == 100
        assert recorder.events == []
        assert not breaker.refuses()

    def test_reset_forgets_how_often_it_opened(
        self, breaker: CircuitBreaker, clock: FakeClock, recorder: Recorder
    ) -> None:
        """CB-25: after a reset at the fourth opening, the next one lasts 10 s."""
        half_open(breaker, clock).fail()
        for _ in range(2):
            clock.advance(60)
            fail(breaker)
        assert breaker.stats().openings_in_a_row == 4
        breaker.reset()
        assert breaker.state is CLOSED
        assert recorder.events[-1] == BreakerChanged("redis", "open", "closed", "reset", manual=True)
        fail(breaker, 3)
        assert refusal(breaker).retry_after == pytest.approx(10)

    def test_reset_of_a_closed_breaker_tells_nobody(self, breaker: CircuitBreaker, recorder: Recorder) -> None:
        """Resetting what is closed clears its counts without an event, and makes calls under way late."""
        fail(breaker, 2)
        under_way = breaker.acquire()
        breaker.reset()
        assert recorder.events == []
        under_way.fail()
        fail(breaker, 2)
        assert breaker.state is CLOSED

    def test_closing_is_for_good(self, breaker: CircuitBreaker) -> None:
        """After ``close`` every call is refused as a call of something closed, and nothing opens it again."""
        under_way = breaker.acquire()
        breaker.close()
        breaker.reset()
        breaker.force_closed()
        assert breaker.refuses()
        with pytest.raises(CacheClosedError):
            breaker.acquire()
        under_way.fail()
        assert breaker.state is BreakerState.SHUT


class TestTelling:
    def test_a_raising_listener_harms_nothing(self, make: Callable[..., CircuitBreaker], clock: FakeClock) -> None:
        """A listener's exception reaches no caller, is counted, and does not keep later events from it."""
        told: list[str] = []

        def listener(event: BreakerChanged) -> None:
            told.append(event.after)
            raise RuntimeError("a fault of the listener's")

        breaker = make(on_change=listener)
        half_open(breaker, clock).ok()
        assert told == ["open", "half_open", "closed"]
        assert breaker.stats().listener_errors == 3

    def test_a_listener_may_use_the_breaker(self, make: Callable[..., CircuitBreaker]) -> None:
        """Listeners run outside the lock; what they cause is told after what they were told."""
        told: list[str] = []

        def listener(event: BreakerChanged) -> None:
            if event.after == "open":
                used.force_closed()
                told.append(used.state.value)
            told.append(event.after)

        used = make(on_change=listener)
        fail(used, 3)
        assert told == ["forced_closed", "open", "forced_closed"]

    def test_threads_hear_of_changes_in_order(self, make: Callable[..., CircuitBreaker]) -> None:
        """Under many threads each event begins where the one before it ended, and no count is lost."""
        recorder = Recorder()
        breaker = make(failure_threshold=1, recovery_time=1e-9, on_change=recorder, probe_timeout=1e12)
        breaker._clock = type("Ticking", (), {"monotonic": staticmethod(iter(range(10**9)).__next__)})()
        attempts = 2_000

        def work() -> None:
            for number in range(attempts):
                try:
                    permit = breaker.acquire()
                except CircuitOpenError:
                    continue
                permit.ok() if number % 3 else permit.fail()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = recorder.of(BreakerChanged)
        assert events
        assert all(one.after == other.before for one, other in itertools.pairwise(events))
        stats = breaker.stats()
        assert stats.successes + stats.failures + stats.rejected == 4 * attempts

    def test_the_log_names_no_secret(
        self, make: Callable[..., CircuitBreaker], clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """CB-34: denied access is one line of warning, without the password.

        BUG-56: and refusing thousands of calls adds nothing to it.
        """
        breaker = make(on_change=Announcer(clock))
        with caplog.at_level("DEBUG", logger="toolcache"):

            async def denied() -> None:
                raise AuthenticationError("invalid username-password pair: hunter2")

            with pytest.raises(AuthenticationError):
                asyncio.run(breaker.call(denied))
            for _ in range(1_000):
                refusal(breaker)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "hunter2" not in caplog.text
        assert caplog.records[0].exc_info is None


class AuthenticationError(Exception):
    """Stands for redis-py's, which is told by its module and name."""

    __module__ = "redis.exceptions"


class TestUsing:
    async def test_call_passes_arguments_and_the_answer(self, breaker: CircuitBreaker) -> None:
        """``call`` hands arguments on and the answer back."""

        async def add(left: int, *, right: int) -> int:
            return left + right

        assert await breaker.call(add, 1, right=2) == 3
        assert breaker.stats().successes == 1

    async def test_blocks_may_stand_in_one_another(self, make: Callable[..., CircuitBreaker]) -> None:
        """``async with`` of two breakers, and of one twice, resolves each permit by its own block."""
        outer, inner = make(name="outer"), make(name="inner", failure_threshold=1)
        async with outer, outer:
            with pytest.raises(OSError, match="inner"):
                async with inner:
                    raise OSError("inner")
        assert outer.stats().successes == 2
        assert inner.state is OPEN

    async def test_tasks_do_not_mix_their_permits(self, breaker: CircuitBreaker) -> None:
        """Blocks of concurrent tasks end in any order, each with its own outcome."""
        gates = [asyncio.Event() for _ in range(6)]

        async def work(number: int) -> None:
            async with breaker:
                await gates[number].wait()
                if number % 2:
                    raise OSError(number)

        tasks = [asyncio.create_task(work(number)) for number in range(6)]
        for gate in reversed(gates):
            gate.set()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        stats = breaker.stats()
        assert (stats.successes, stats.failures) == (3, 3)

    async def test_a_fault_of_ours_is_neutral(self, make: Callable[..., CircuitBreaker]) -> None:
        """BUG-54: a value that cannot be packed is no failure of the other side."""
        breaker = make(failure_threshold=1)
        with pytest.raises(UnicodeEncodeError):
            async with breaker:
                "\udc80".encode()
        assert breaker.state is CLOSED

    @pytest.mark.parametrize(
        "wrong",
        [
            {"failure_threshold": 0},
            {"probes": 0},
            {"success_threshold": 0},
            {"factor": 0.5},
            {"jitter": 1.0},
            {"jitter": -0.1},
            {"jitter": float("nan")},
            {"recovery_time": ("60s", "1s")},
            {"recovery_time": 0},
            {"recovery_time": "soon"},
            {"probe_timeout": 0},
        ],
    )
    def test_arguments_out_of_range(self, wrong: dict[str, Any]) -> None:
        """An argument out of range is refused by name when the breaker is made."""
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CircuitBreaker(**wrong)

    def test_the_defaults(self) -> None:
        """By default: five failures, 1 s to 60 s, a fifth of jitter, the system's clock."""
        breaker = CircuitBreaker()
        fail(breaker, 4)
        assert breaker.state is CLOSED
        fail(breaker)
        assert breaker.state is OPEN
        wait = breaker.stats().retry_after
        assert wait is not None
        assert wait <= 1.2
        breaker.reset()
        fail(breaker, auth=True)
        wait = breaker.stats().retry_after
        assert wait is not None
        assert 40 < wait <= 72

    def test_settings_errors_are_ours(self) -> None:
        """What is refused when a breaker is made is a SettingsError."""
        with pytest.raises(SettingsError, match="the longest wait is shorter"):
            CircuitBreaker(recovery_time=(2, 1))


def test_permits_in_use_do_not_warn(breaker: CircuitBreaker) -> None:
    """CB-33: a resolved permit that is dropped warns nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        permit = breaker.acquire()
        permit.ok()
        del permit
        gc.collect()
    assert breaker.stats().neutral == 0
