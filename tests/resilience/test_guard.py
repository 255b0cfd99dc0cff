"""Breaker, deadline and retry around an operation."""

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import exceptions as redis_errors

from toolcache.errors import CacheClosedError, CircuitOpenError
from toolcache.events import BreakerChanged, StoreFault
from toolcache.protocols import StoreRestingError
from toolcache.resilience.breaker import BreakerState, CircuitBreaker
from toolcache.resilience.faults import FaultKind
from toolcache.resilience.guard import Guard, Unusable
from toolcache.testing import FakeClock, Recorder

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

LOST = redis_errors.ConnectionError("Connection closed by server.")
DENIED = redis_errors.AuthenticationError("invalid username-password pair")
REFUSED = redis_errors.ResponseError("MISCONF cannot save")
WRONGTYPE = redis_errors.ResponseError("WRONGTYPE Operation against a key")
DOWN = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


class Script:
    """An operation that does one thing after another: returns, raises, or awaits."""

    def __init__(self, *steps: Any) -> None:
        self.steps = deque(steps)
        self.calls = 0

    async def __call__(self) -> Any:
        self.calls += 1
        step = self.steps.popleft() if self.steps else "done"
        if isinstance(step, BaseException):
            raise step
        return await step() if callable(step) else step


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def build(clock: FakeClock, recorder: Recorder) -> Callable[..., Guard]:
    def guard(*, writes: bool = True, threshold: int = 1, **changes: Any) -> Guard:
        def breaker(name: str) -> CircuitBreaker:
            return CircuitBreaker(
                name=name, failure_threshold=threshold, recovery_time=(10, 60), jitter=0, probe_timeout=5, clock=clock
            )

        arguments: dict[str, Any] = {"timeout": 5.0, "clock": clock, "announce": recorder, "layer": "redis"}
        return Guard(
            breaker=breaker("redis"),
            write_breaker=breaker("redis writes") if writes else None,
            **(arguments | changes),
        )

    return guard


@pytest.fixture
def guard(build: Callable[..., Guard]) -> Guard:
    return build()


def read(guard: Guard, operation: Callable[[], Awaitable[Any]], **options: Any) -> Awaitable[Any]:
    return guard.run(operation, mutation=False, name="get", **options)


def write(guard: Guard, operation: Callable[[], Awaitable[Any]], **options: Any) -> Awaitable[Any]:
    return guard.run(operation, mutation=True, name="put", **options)


def states(guard: Guard) -> tuple[str, str]:
    assert guard.write_breaker is not None
    return guard.breaker.state.value, guard.write_breaker.state.value


async def unusable(call: Awaitable[Any]) -> Unusable:
    with pytest.raises(Unusable) as caught:
        await call
    return caught.value


class TestOutcomes:
    async def test_an_answer_is_passed_on(self, guard: Guard, recorder: Recorder) -> None:
        """The operation's answer comes back, counts as a success, and tells nobody."""
        assert await read(guard, Script([b"blob"])) == [b"blob"]
        assert guard.breaker.stats().successes == 1
        assert recorder.events == []

    @pytest.mark.parametrize(
        ("fault", "kind", "after_read", "after_write"),
        [
            (DOWN, FaultKind.CONN, ("open", "closed"), ("open", "closed")),
            (DENIED, FaultKind.AUTH, ("open", "closed"), ("open", "closed")),
            (REFUSED, FaultKind.WRITE_REFUSED, ("closed", "closed"), ("closed", "open")),
            (WRONGTYPE, FaultKind.SEMANTIC, ("closed", "closed"), ("closed", "closed")),
            (redis_errors.DataError("a dict"), FaultKind.LOCAL, ("closed", "closed"), ("closed", "closed")),
            (redis_errors.MaxConnectionsError("Too many"), FaultKind.LOCAL, ("closed", "closed"), ("closed", "closed")),
        ],
        ids=lambda value: value.value if isinstance(value, FaultKind) else None,
    )
    async def test_which_breaker_hears_of_what(
        self,
        build: Callable[..., Guard],
        recorder: Recorder,
        fault: Exception,
        kind: FaultKind,
        after_read: tuple[str, str],
        after_write: tuple[str, str],
    ) -> None:
        """BUG-54, BUG-53: only what concerns the connection opens the first breaker, only refused writes the second.

        BUG-46: and although the caller sees no error of the store's, the breakers do, and so does a listener.
        """
        for ask, expected in ((read, after_read), (write, after_write)):
            guard = build()
            error = await unusable(ask(guard, Script(fault)))
            assert (error.kind, error.__cause__) == (kind, fault)
            assert states(guard) == expected
        assert [event.kind for event in recorder.of(StoreFault)] == [kind.value] * 2

    @pytest.mark.parametrize("fault", [DOWN, LOST, TimeoutError(), redis_errors.BusyLoadingError("LOADING")])
    async def test_lost_writes_of_a_store_whose_reads_stand(
        self, build: Callable[..., Guard], recorder: Recorder, fault: Exception
    ) -> None:
        """F-06: a write that is lost says nothing of reads that go another way; where that is closed, it does."""
        for stand, after_write in ((True, ("closed", "open")), (False, ("open", "closed"))):
            guard = build(reads_stand=lambda: stand)  # noqa: B023 - called within the round
            await unusable(write(guard, Script(fault, fault)))
            assert states(guard) == after_write
            guard.reset()
            await unusable(read(guard, Script(fault, fault)))
            assert states(guard) == ("open", "closed")
        assert [event.kind for event in recorder.of(StoreFault)] == ["write_lost", "conn", "conn", "conn"]

    async def test_a_hung_write_whose_reads_stand(self, build: Callable[..., Guard]) -> None:
        """F-06: so is a write that ends by the guard's own deadline; one that the loop was too slow for is no fault."""
        guard = build(timeout=0.02, reads_stand=lambda: True)
        assert (await unusable(write(guard, Script(asyncio.Event().wait)))).kind is FaultKind.WRITE_LOST
        assert states(guard) == ("closed", "open")
        assert await read(guard, Script("blob")) == "blob"

    async def test_a_lost_write_as_the_probe(self, build: Callable[..., Guard], clock: FakeClock) -> None:
        """F-06: a write that is lost as the probe of both breakers leaves the first one's place to a read."""
        guard = build(reads_stand=lambda: True)
        await unusable(read(guard, Script(DOWN)))
        clock.advance(10)
        await unusable(write(guard, Script(DOWN)))
        assert states(guard) == ("half_open", "open")
        assert await read(guard, Script("blob")) == "blob"
        assert states(guard) == ("closed", "open")

    async def test_denied_writes_are_denied_reads(self, build: Callable[..., Guard]) -> None:
        """EC-08: access that is denied to a write is denied to reads, whichever way they go."""
        guard = build(reads_stand=lambda: True)
        await unusable(write(guard, Script(DENIED)))
        assert states(guard) == ("open", "closed")

    async def test_a_store_at_rest_is_no_news(self, guard: Guard) -> None:
        """FS-08: what a store refuses by itself, without asking again, neither opens a breaker nor forgives."""
        resting = StoreRestingError(errno.EACCES, "Permission denied")
        for ask in (read, write):
            assert (await unusable(ask(guard, Script(resting)))).kind is FaultKind.LOCAL
        assert states(guard) == ("closed", "closed")
        assert guard.breaker.stats().neutral == 2
        assert guard.last_fault == "permission denied"

    async def test_the_opening_carries_the_last_cause(self, clock: FakeClock, recorder: Recorder) -> None:
        """CB-03: the breaker's event has the last failure in words, and none of an earlier one."""
        breaker = CircuitBreaker(name="redis", failure_threshold=2, jitter=0, clock=clock, on_change=recorder)
        guard = Guard(breaker=breaker, timeout=5.0, clock=clock)
        for fault in (TimeoutError(), DOWN):
            await unusable(read(guard, Script(fault)))
        (opened,) = recorder.of(BreakerChanged)
        assert (opened.reason, opened.detail) == ("2 failures in a row", "connection refused")

    async def test_refused_writes_leave_reads_alone(self, guard: Guard) -> None:
        """BUG-57: with the write breaker open, mutations are refused and reads go on."""
        await unusable(write(guard, Script(REFUSED)))
        assert guard.refuses(mutation=True)
        assert not guard.refuses()
        with pytest.raises(CircuitOpenError):
            await write(guard, Script())
        assert await read(guard, Script("blob")) == "blob"

    async def test_only_a_write_that_was_taken_forgives(self, build: Callable[..., Guard]) -> None:
        """BUG-54: a write that failed for another reason neither adds to the refused ones nor forgives them."""
        guard = build(threshold=2)
        for fault in (REFUSED, WRONGTYPE, redis_errors.DataError("a dict")):
            await unusable(write(guard, Script(fault)))
        await write(guard, Script("stored"))
        await unusable(write(guard, Script(REFUSED)))
        assert states(guard) == ("closed", "closed")
        await unusable(write(guard, Script(WRONGTYPE)))
        await unusable(write(guard, Script(REFUSED)))
        assert states(guard) == ("closed", "open")

    async def test_a_refused_write_holds_no_place(self, build: Callable[..., Guard], clock: FakeClock) -> None:
        """CB-17: where the second breaker refuses, the first one's permit goes back, a probe's place with it."""
        guard = build()
        await unusable(read(guard, Script(DOWN)))
        assert guard.write_breaker is not None
        guard.write_breaker.force_open()
        clock.advance(10)
        with pytest.raises(CircuitOpenError):
            await write(guard, Script())
        assert guard.breaker.state is HALF_OPEN
        assert await read(guard, Script("blob")) == "blob"
        assert guard.breaker.state is CLOSED

    async def test_a_real_operation_is_the_probe(self, guard: Guard, clock: FakeClock) -> None:
        """EC-06: what closes the write breaker is a write; reads that succeed meanwhile do not."""
        await unusable(write(guard, Script(REFUSED)))
        clock.advance(10)
        assert guard.probing(mutation=True)
        assert not guard.probing()
        await read(guard, Script("blob"))
        assert states(guard) == ("closed", "open")
        await write(guard, Script("stored"))
        assert states(guard) == ("closed", "closed")
        assert not guard.probing(mutation=True)

    async def test_a_probe_that_objects_closes(self, guard: Guard, clock: FakeClock) -> None:
        """BUG-48: a probe that ends in an error which is no matter of health does not wedge the breaker."""
        await unusable(read(guard, Script(DOWN)))
        clock.advance(10)
        await unusable(read(guard, Script(redis_errors.DataError("a dict"))))
        assert guard.breaker.state is HALF_OPEN
        await unusable(read(guard, Script(WRONGTYPE)))
        assert guard.breaker.state is CLOSED

    async def test_an_open_breaker_spares_the_store(self, guard: Guard, recorder: Recorder) -> None:
        """EC-08: denied access is one attempt for each time it is open; a thousand callers cost no other.

        BUG-56: and a refusal is no event.
        """
        await unusable(read(guard, Script(DENIED)))
        operation = Script()
        for _ in range(1_000):
            with pytest.raises(CircuitOpenError):
                await read(guard, operation)
        assert operation.calls == 0
        assert len(recorder.events) == 1

    async def test_without_a_second_breaker(self, build: Callable[..., Guard]) -> None:
        """A store without a write breaker: refused writes open nothing."""
        guard = build(writes=False)
        error = await unusable(write(guard, Script(REFUSED)))
        assert error.kind is FaultKind.WRITE_REFUSED
        assert guard.breaker.state is CLOSED
        assert not guard.refuses(mutation=True)

    async def test_what_is_told(self, guard: Guard, recorder: Recorder) -> None:
        """EC-15: an event names layer, operation, kind and type; the text of the exception stays where it is."""
        await unusable(write(guard, Script(redis_errors.ResponseError("MISCONF hunter2"))))
        assert recorder.events == [StoreFault("redis", "put", "write_refused", "ResponseError MISCONF")]
        assert guard.last_fault == "ResponseError MISCONF"

    async def test_the_error_says_nothing_more(self, guard: Guard) -> None:
        """EC-15: the internal exception's own text is its kind."""
        error = await unusable(read(guard, Script(ValueError("hunter2"))))
        assert str(error) == "conn"


class TestDeadline:
    async def test_it_covers_everything(self, build: Callable[..., Guard]) -> None:
        """BUG-47: a store that hangs costs the deadline, and is a fault of the connection."""
        guard = build(timeout=0.02)
        error = await unusable(read(guard, Script(asyncio.Event().wait)))
        assert error.kind is FaultKind.CONN
        assert isinstance(error.__cause__, TimeoutError)
        assert guard.breaker.state is OPEN

    async def test_hung_for_everyone_costs_nobody(self, build: Callable[..., Guard], clock: FakeClock) -> None:
        """BUG-47: after the first few calls of a hung store, the rest are refused without waiting."""
        guard = build(timeout=0.02, threshold=3)
        for _ in range(3):
            await unusable(read(guard, Script(asyncio.Event().wait)))
        operation = Script(asyncio.Event().wait)
        for _ in range(100):
            with pytest.raises(CircuitOpenError):
                await read(guard, operation)
        assert operation.calls == 0
        clock.advance(10)
        await unusable(read(guard, operation))
        assert operation.calls == 1

    async def test_a_caller_may_have_less(self, guard: Guard) -> None:
        """``timeout=`` replaces the guard's own deadline for one operation."""
        error = await unusable(read(guard, Script(asyncio.Event().wait), timeout=0.02))
        assert error.kind is FaultKind.CONN

    @pytest.mark.parametrize("spent", [0.0, -1.0])
    async def test_a_spent_budget_is_no_fault(self, guard: Guard, spent: float) -> None:
        """A caller with no time left does not reach the store, and nothing is held against it."""
        operation = Script()
        error = await unusable(read(guard, operation, timeout=spent))
        assert error.kind is FaultKind.LOCAL
        assert operation.calls == 0
        assert guard.breaker.stats().failures == 0

    async def test_a_stalled_loop_is_no_fault(self, build: Callable[..., Guard], clock: FakeClock) -> None:
        """BUG-52: a deadline that fires two seconds late says that the loop stood still: the breaker stays closed."""
        guard = build(timeout=0.02)

        async def stall() -> None:
            clock.advance(2)
            await asyncio.Event().wait()

        errors = await asyncio.gather(*(unusable(read(guard, Script(stall))) for _ in range(10)))
        assert {error.kind for error in errors} == {FaultKind.LOCAL}
        assert guard.breaker.state is CLOSED

    @pytest.mark.parametrize(("opening", "kind"), [(True, FaultKind.LOCAL), (False, FaultKind.CONN)])
    async def test_a_store_that_is_being_opened_has_no_fault(
        self, build: Callable[..., Guard], opening: bool, kind: FaultKind
    ) -> None:
        """Fact: who waits in vain while this process is reading its way into a store holds nothing against it."""
        guard = build(timeout=0.02, opening=lambda: opening)
        error = await unusable(read(guard, Script(asyncio.Event().wait)))
        assert error.kind is kind
        assert (guard.breaker.state is CLOSED) is opening

    async def test_what_fails_while_a_store_is_being_opened_is_a_fault(self, build: Callable[..., Guard]) -> None:
        """Fact: only waiting is excused."""
        guard = build(opening=lambda: True)
        assert (await unusable(read(guard, Script(DOWN)))).kind is FaultKind.CONN

    async def test_a_little_late_is_on_time(self, build: Callable[..., Guard], clock: FakeClock) -> None:
        """BUG-52: a deadline that fires less than 100 ms late is the store's."""
        guard = build(timeout=0.02)

        async def slow() -> None:
            clock.advance(0.11)
            await asyncio.Event().wait()

        assert (await unusable(read(guard, Script(slow)))).kind is FaultKind.CONN

    async def test_an_inner_timeout_counts_however_late(self, guard: Guard, clock: FakeClock) -> None:
        """BUG-52: what is judged by lateness is our own deadline, not a timeout that the store reports."""

        async def times_out() -> None:
            clock.advance(20)
            raise TimeoutError

        assert (await unusable(read(guard, Script(times_out)))).kind is FaultKind.CONN


class TestCancelling:
    async def test_a_caller_that_leaves(self, guard: Guard, recorder: Recorder) -> None:
        """CB-11: the caller's cancellation passes through untouched; the permit is neutral and nobody is told."""
        call = asyncio.ensure_future(write(guard, Script(asyncio.Event().wait)))
        await asyncio.sleep(0)
        call.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await call
        assert states(guard) == ("closed", "closed")
        assert guard.breaker.stats().neutral == 1
        assert recorder.events == []

    async def test_a_caller_that_leaves_a_probe(self, guard: Guard, clock: FakeClock) -> None:
        """BUG-48: a cancelled probe leaves the breaker half open with its place free."""
        await unusable(read(guard, Script(DOWN)))
        clock.advance(10)
        call = asyncio.ensure_future(read(guard, Script(asyncio.Event().wait)))
        await asyncio.sleep(0)
        assert guard.refuses()
        call.cancel()
        await asyncio.wait([call])
        assert guard.breaker.state is HALF_OPEN
        assert not guard.refuses()

    async def test_an_outer_timeout_is_a_cancellation(self, guard: Guard) -> None:
        """A deadline of the caller's own is no fault of the store."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await read(guard, Script(asyncio.Event().wait))
        assert guard.breaker.stats().neutral == 1

    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_passes_through(self, build: Callable[..., Guard], interrupt: type[BaseException]) -> None:
        """CB-35: an interrupt leaves as it came, and is held against nobody."""
        guard = build()
        call = read(guard, Script(interrupt())).__await__()
        loop = asyncio.new_event_loop()
        try:
            with pytest.raises(interrupt):
                loop.run_until_complete(_awaiting(call))
        finally:
            loop.close()
        assert guard.breaker.stats().neutral == 1


async def _awaiting(call: Any) -> None:
    class Awaiting:
        def __await__(self) -> Any:
            return call

    await Awaiting()


class TestRetry:
    async def test_a_lost_connection_is_tried_once_more(self, guard: Guard, recorder: Recorder) -> None:
        """BUG-66: what a lost connection failed goes once more, and its success is the only thing counted or told."""
        operation = Script(LOST, "blob")
        assert await read(guard, operation) == "blob"
        assert operation.calls == 2
        stats = guard.breaker.stats()
        assert (stats.successes, stats.failures) == (1, 0)
        assert recorder.events == []

    async def test_once_is_enough(self, guard: Guard) -> None:
        """A connection lost twice is one failure."""
        operation = Script(LOST, LOST, "blob")
        await unusable(read(guard, operation))
        assert operation.calls == 2
        assert guard.breaker.stats().failures == 1

    async def test_a_probe_may_meet_a_dead_connection(self, guard: Guard, clock: FakeClock) -> None:
        """The probe after a restart may find the old connection dead; the retry makes it a good probe."""
        await unusable(read(guard, Script(DOWN)))
        clock.advance(10)
        assert await read(guard, Script(LOST, "blob")) == "blob"
        assert guard.breaker.state is CLOSED

    @pytest.mark.parametrize("fault", [DOWN, DENIED, REFUSED, WRONGTYPE, TimeoutError()], ids=repr)
    async def test_nothing_else_is_tried_again(self, guard: Guard, fault: Exception) -> None:
        """An answer, a refusal and a timeout are not asked for twice."""
        operation = Script(fault, "blob")
        await unusable(read(guard, operation))
        assert operation.calls == 1

    async def test_it_can_be_switched_off(self, build: Callable[..., Guard]) -> None:
        """``retry=False`` leaves it at one attempt."""
        operation = Script(LOST, "blob")
        await unusable(read(build(retry=False), operation))
        assert operation.calls == 1

    async def test_an_open_breaker_grants_no_second_attempt(self, guard: Guard) -> None:
        """A call that loses its connection after others have opened the breaker is not made again."""
        gate = asyncio.Event()

        async def lose() -> None:
            await gate.wait()
            raise LOST

        operation = Script(lose, "blob")
        call = asyncio.ensure_future(unusable(read(guard, operation)))
        await asyncio.sleep(0)
        await unusable(read(guard, Script(DOWN)))
        gate.set()
        await call
        assert operation.calls == 1
        assert guard.breaker.stats().late == 1

    async def test_a_past_deadline_grants_none_either(self, build: Callable[..., Guard]) -> None:
        """An operation that answers our cancellation with a lost connection is not repeated without a deadline."""

        async def lose() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise LOST from None

        operation = Script(lose, asyncio.Event().wait)
        await unusable(read(build(timeout=0.02), operation))
        assert operation.calls == 1

    async def test_both_attempts_share_the_deadline(self, build: Callable[..., Guard]) -> None:
        """The second attempt has what the first left of the deadline."""
        operation = Script(LOST, asyncio.Event().wait)
        error = await unusable(read(build(timeout=0.02), operation))
        assert operation.calls == 2
        assert isinstance(error.__cause__, TimeoutError)


class TestManaging:
    async def test_resetting(self, guard: Guard) -> None:
        """A changed credential is tried at once."""
        await unusable(read(guard, Script(DENIED)))
        guard.reset()
        assert await read(guard, Script("blob")) == "blob"

    async def test_word_from_outside(self, guard: Guard) -> None:
        """``allow_probe`` lets the next operations of both kinds through."""
        await unusable(write(guard, Script(REFUSED)))
        await unusable(read(guard, Script(DOWN)))
        guard.allow_probe()
        assert not guard.refuses(mutation=True)
        assert await write(guard, Script("stored")) == "stored"
        assert states(guard) == ("closed", "closed")

    async def test_closing(self, guard: Guard) -> None:
        """A closed guard runs nothing."""
        guard.close()
        assert guard.refuses()
        operation = Script()
        with pytest.raises(CacheClosedError):
            await write(guard, operation)
        assert operation.calls == 0
