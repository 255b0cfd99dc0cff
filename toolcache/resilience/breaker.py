"""A circuit breaker: after a few failures in a row it refuses at once, and later lets single calls feel the way back.

    CLOSED ── failures in a row reach the threshold, or one AUTH fault ──▶ OPEN
    OPEN ── the wait is over: the next caller is the probe ──▶ HALF_OPEN
    HALF_OPEN ── probes succeed ──▶ CLOSED;  ── a probe fails, or outlives its deadline ──▶ OPEN, for longer

Every change of state begins a new generation. A call that was admitted in an earlier one comes home late: it is counted
and decides nothing, so two hundred calls that fail together open the breaker once, and a straggler's success does not
close it. Whatever says nothing about the store (a cancelled call, a fault of our own) is neutral: not a failure, not
a success, and a probe that ends so hands its place to the next caller.

States, generations and bounded probes follow Polly v8 and resilience4j; the neutral outcome and the probe's deadline
answer the ways in which those were seen to wedge or to close by mistake.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from enum import StrEnum
from threading import Lock
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from toolcache.causes import describe
from toolcache.clock import SYSTEM, chance
from toolcache.durations import Duration, seconds
from toolcache.errors import CacheClosedError, CircuitOpenError, SettingsError
from toolcache.events import BreakerChanged
from toolcache.fields import Frozen
from toolcache.forks import watch
from toolcache.protocols import Clock
from toolcache.resilience.faults import classify
from toolcache.resilience.permit import DENIED, Outcome, Permit

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N", int, float)


class BreakerState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    SHUT = "shut"
    """``close()`` was called: for good."""


class BreakerStats(Frozen):
    """A breaker's counts since it was made, and where it stands.

    ``failures_in_a_row`` is what the threshold is compared with; ``openings_in_a_row`` what the wait grows with.
    ``late`` results are in their tally as well. ``retry_after`` is in seconds, None unless it is open.
    """

    state: BreakerState
    reason: str
    successes: int
    failures: int
    neutral: int
    late: int
    rejected: int
    openings: int
    failures_in_a_row: int
    openings_in_a_row: int
    retry_after: float | None
    listener_errors: int


class CircuitBreaker:
    """Guards calls to something that may be down.

    Args:
        name: what events call it.
        failure_threshold: failures in a row that open it.
        recovery_time: first and longest wait before a probe; one span for a wait that does not grow.
        factor: by which the wait grows from one opening to the next, until the breaker closes.
        jitter: the wait is drawn from ``1 - jitter`` to ``1 + jitter`` times its length, so that processes that lost
            the same server do not return to it together.
        probes: calls admitted at a time while half open.
        success_threshold: probes that must succeed, without a failure between, to close it.
        probe_timeout: a probe that has not reported by then counts as failed.
        ignore: exceptions that say nothing, for ``call`` and ``async with``.
        clock: only its monotonic time is read.
        random: numbers from 0 to 1, for the jitter.
        on_change: told of each change of state, in order, after it and outside every lock. What it raises is counted.

    Raises:
        SettingsError: for an argument out of range.

    Examples:
        >>> breaker = CircuitBreaker(name="search", failure_threshold=3, recovery_time=("1s", "30s"))
        >>> async def ask() -> str:
        ...     async with breaker:  # raises CircuitOpenError while it refuses
        ...         return await search()
    """

    def __init__(
        self,
        *,
        name: str = "",
        failure_threshold: int = 5,
        recovery_time: Duration | tuple[Duration, Duration] = ("1s", "60s"),
        factor: float = 2.0,
        jitter: float = 0.2,
        probes: int = 1,
        success_threshold: int = 1,
        probe_timeout: Duration = 0.5,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
        clock: Clock = SYSTEM,
        random: Callable[[], float] = chance,
        on_change: Callable[[BreakerChanged], None] | None = None,
    ) -> None:
        self.name = name
        self._threshold = _at_least(1, failure_threshold, "failure_threshold")
        self._first, self._longest = _waits(recovery_time)
        self._factor = _at_least(1.0, factor, "factor")
        if not 0.0 <= jitter < 1.0:
            raise SettingsError(f"jitter={jitter!r} must be from 0 up to, but not including, 1")
        self._jitter = jitter
        self._places = _at_least(1, probes, "probes")
        self._successes_needed = _at_least(1, success_threshold, "success_threshold")
        self._probe_timeout = seconds(probe_timeout, name="probe_timeout")
        self._ignore = ignore
        self._clock = clock
        self._random = random
        self._on_change = on_change

        # All state below changes only under the lock, and between two awaits.
        self._lock = Lock()
        watch(self)
        self._state = BreakerState.CLOSED
        self._reason = self._detail = ""
        self._generation = 0
        self._in_a_row = 0
        self._openings_in_a_row = 0
        self._wait = self._first
        self._open_until = 0.0
        self._invited = False
        self._probe_successes = 0
        self._probing: dict[int, float] = {}
        self._last_slot = 0
        self._abandoned: deque[tuple[int, int]] = deque()

        self._tally = dict.fromkeys(Outcome, 0)
        self._answered = self._late = self._rejected = self._openings = self._listener_errors = 0
        self._news: deque[BreakerChanged] = deque()
        self._telling = Lock()

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self._state}, {self._in_a_row} of {self._threshold} failures in a row>"

    @property
    def state(self) -> BreakerState:
        """Where it stands. Reading it changes nothing: an OPEN breaker whose wait is over is OPEN until somebody calls."""
        return self._state

    def forked(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._lock = Lock()

    def acquire(self) -> Permit:
        """Leave to make one call; resolve the permit when it is over.

        Raises:
            CircuitOpenError: a new one each time; ``retry_after`` says when to ask again.
            CacheClosedError: after ``close()``.
        """
        try:
            with self._lock:
                if self._abandoned:
                    self._collect()
                return self._permit(0) if self._state is BreakerState.CLOSED else self._admit(self._clock.monotonic())
        finally:
            if self._news:
                self._tell()

    def refuses(self) -> bool:
        """Whether ``acquire`` would refuse now. Changes nothing."""
        state = self._state
        if state is BreakerState.CLOSED or state is BreakerState.FORCED_CLOSED:
            return False
        with self._lock:
            self._collect()
            now = self._clock.monotonic()
            if self._state is BreakerState.OPEN:
                return now < self._open_until
            if self._state is BreakerState.HALF_OPEN:
                return len(self._probing) >= self._places and now < min(self._probing.values())
            return self._state in {BreakerState.FORCED_OPEN, BreakerState.SHUT}

    def current(self, permit: Permit) -> bool:
        """Whether nothing has changed since the permit was given, so that its call may be made once more under it."""
        return permit.generation == self._generation

    def allow_probe(self) -> None:
        """Word from outside that the other side may be back: while OPEN, the next caller is the probe."""
        with self._lock:
            if self._state is BreakerState.OPEN:
                self._invited |= (now := self._clock.monotonic()) < self._open_until
                self._open_until = min(now, self._open_until)

    def force_open(self) -> None:
        """Refuse every call until ``reset``, whatever the time."""
        self._force(BreakerState.FORCED_OPEN, "forced")

    def force_closed(self) -> None:
        """Admit every call until ``reset``, whatever their outcomes."""
        self._force(BreakerState.FORCED_CLOSED, "forced")

    def reset(self) -> None:
        """Begin anew: CLOSED, nothing held against the other side."""
        self._force(BreakerState.CLOSED, "reset")

    def close(self) -> None:
        """No more calls: ``acquire`` raises ``CacheClosedError`` from now on."""
        with self._lock:
            self._enter(BreakerState.SHUT, "closed", tell=False)

    def stats(self) -> BreakerStats:
        """A snapshot."""
        with self._lock:
            self._collect()
            waiting = self._state is BreakerState.OPEN
            return BreakerStats(
                state=self._state,
                reason=self._reason,
                successes=self._answered + self._tally[Outcome.OK],
                failures=self._tally[Outcome.FAIL] + self._tally[Outcome.AUTH],
                neutral=self._tally[Outcome.NEUTRAL],
                late=self._late,
                rejected=self._rejected,
                openings=self._openings,
                failures_in_a_row=self._in_a_row,
                openings_in_a_row=self._openings_in_a_row,
                retry_after=max(0.0, self._open_until - self._clock.monotonic()) if waiting else None,
                listener_errors=self._listener_errors,
            )

    async def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await ``function(*args, **kwargs)`` under the breaker.

        What it raises is judged as ``toolcache.resilience.faults`` does, and reaches the caller as it is.
        """
        async with self:
            return await function(*args, **kwargs)

    async def __aenter__(self) -> Self:
        _entered.set((*_entered.get(), self.acquire()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        *outer, permit = _entered.get()
        _entered.set(tuple(outer))
        if exc is not None and isinstance(exc, self._ignore):
            permit.neutral()
        elif exc is None:
            permit.ok()
        else:
            permit.judge(classify(exc), describe(exc))

    # What follows runs under the lock, except _resolve, _force and _tell.

    def _admit(self, now: float) -> Permit:
        if self._state is BreakerState.FORCED_CLOSED:
            return self._permit(0)
        if self._state is BreakerState.SHUT:
            raise CacheClosedError("this circuit breaker was closed: make a new one")
        if self._state is BreakerState.FORCED_OPEN:
            raise self._refusal(None)
        if self._probing and min(self._probing.values()) <= now:
            self._tally[Outcome.FAIL] += 1
            self._detail = ""
            self._open("a probe outlived its deadline", now)
        if self._state is BreakerState.OPEN:
            if now < self._open_until:
                raise self._refusal(self._open_until - now)
            self._enter(BreakerState.HALF_OPEN, "it may be back" if self._invited else "the wait is over")
        if len(self._probing) >= self._places:
            raise self._refusal(min(self._probing.values()) - now)
        self._last_slot += 1
        self._probing[self._last_slot] = now + self._probe_timeout
        return self._permit(self._last_slot)

    def _permit(self, slot: int) -> Permit:
        return Permit(self._resolve, self._abandoned.append, self._generation, slot)

    def _refusal(self, retry_after: float | None) -> CircuitOpenError:
        self._rejected += 1
        return CircuitOpenError(retry_after)

    def _resolve(self, permit: Permit, outcome: Outcome) -> None:
        with self._lock:
            if permit.settled:
                return
            permit.settled = True
            if outcome is Outcome.OK and self._state is BreakerState.CLOSED and permit.generation == self._generation:
                self._answered, self._in_a_row = self._answered + 1, 0
                return
            self._detail = permit.detail
            self._record(permit.generation, permit.slot, outcome)
        self._tell()

    def _record(self, generation: int, slot: int, outcome: Outcome) -> None:
        self._tally[outcome] += 1
        if generation != self._generation:
            self._late += 1
        elif self._state is BreakerState.CLOSED:
            self._record_call(outcome)
        elif self._state is BreakerState.HALF_OPEN:
            del self._probing[slot]
            self._record_probe(outcome)

    def _record_call(self, outcome: Outcome) -> None:
        if outcome is Outcome.AUTH:
            self._open(DENIED, self._clock.monotonic(), longest=True)
        elif outcome is Outcome.FAIL:
            self._in_a_row += 1
            if self._in_a_row >= self._threshold:
                self._open(f"{self._in_a_row} failures in a row", self._clock.monotonic())

    def _record_probe(self, outcome: Outcome) -> None:
        if outcome is Outcome.OK:
            self._probe_successes += 1
            if self._probe_successes >= self._successes_needed:
                self._enter(BreakerState.CLOSED, "probes succeeded")
        elif outcome is not Outcome.NEUTRAL:
            denied = outcome is Outcome.AUTH
            self._open(DENIED if denied else "a probe failed", self._clock.monotonic(), longest=denied)

    def _open(self, reason: str, now: float, *, longest: bool = False) -> None:
        wait = self._longest if longest else self._wait
        spread = 1.0 - self._jitter + 2.0 * self._jitter * self._random()
        self._openings += 1
        self._openings_in_a_row += 1
        self._open_until = now + wait * spread
        self._invited = False
        # Grown step by step: factor ** n would overflow after a day of outage.
        self._wait = min(self._longest, self._wait * self._factor)
        self._enter(BreakerState.OPEN, reason)

    def _enter(self, state: BreakerState, reason: str, *, manual: bool = False, tell: bool = True) -> None:
        before, self._state, self._reason = self._state, state, reason
        self._generation += 1
        self._in_a_row = 0
        self._probe_successes = 0
        self._probing.clear()
        if state is BreakerState.CLOSED:
            self._openings_in_a_row, self._wait = 0, self._first
        if tell and before is not state and self._on_change is not None:
            detail = self._detail if state is BreakerState.OPEN else ""
            self._news.append(BreakerChanged(self.name, before.value, state.value, reason, manual, detail))

    def _force(self, state: BreakerState, reason: str) -> None:
        with self._lock:
            again = self._state is state and state is not BreakerState.CLOSED
            if self._state is not BreakerState.SHUT and not again:
                self._enter(state, reason, manual=True)
        self._tell()

    def _collect(self) -> None:
        while self._abandoned:
            self._record(*self._abandoned.popleft(), Outcome.NEUTRAL)

    def _tell(self) -> None:
        # One thread tells at a time, in order; whoever finds another telling leaves the news to it. The outer loop
        # looks again after letting go, for news that came between the last look and that.
        while self._news and self._on_change is not None:
            if not self._telling.acquire(blocking=False):
                return
            try:
                while self._news:
                    self._on_change(self._news.popleft())
            except Exception:  # noqa: BLE001 - a listener's fault must not reach a guarded call
                self._listener_errors += 1
            finally:
                self._telling.release()


# Permits of the `async with` blocks that the current task is in, innermost last.
_entered: Final[ContextVar[tuple[Permit, ...]]] = ContextVar("toolcache_entered_breakers", default=())


def _at_least(least: N, value: N, name: str) -> N:
    if not value >= least:
        raise SettingsError(f"{name}={value!r} must be at least {least}")
    return value


def _waits(recovery_time: Duration | tuple[Duration, Duration]) -> tuple[float, float]:
    pair = recovery_time if isinstance(recovery_time, tuple) else (recovery_time, recovery_time)
    first, longest = (seconds(wait, name="recovery_time") for wait in pair)
    if longest < first:
        raise SettingsError(f"recovery_time={recovery_time!r}: the longest wait is shorter than the first")
    return first, longest
