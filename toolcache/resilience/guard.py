"""A guard: breaker → deadline → one retry, around each operation of a store.

Two breakers stand before a store that can fail in writing alone: ``breaker`` for everything, ``write_breaker`` for
mutations. A server that is full, or read-only, or holds writes back opens the second, and goes on answering reads. A
write that is lost or goes unanswered is held against writes alone while reads are known to have a way of their own that
stands; or else against the store. There is no ping: a ping fails where reads work and succeeds where writes fail, so the
probe is always an operation of the kind that failed.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from toolcache.causes import describe
from toolcache.clock import SYSTEM
from toolcache.errors import ToolCacheError
from toolcache.events import StoreFault
from toolcache.protocols import Clock
from toolcache.resilience.breaker import BreakerState, CircuitBreaker
from toolcache.resilience.deadline import Deadline
from toolcache.resilience.faults import FaultKind, classify, connection_lost
from toolcache.resilience.permit import DENIED, Permit

T = TypeVar("T")

_STALLED: Final = 0.1
"""Seconds. A deadline that fires later than this says that the loop stood still, not the store."""

_FEELING: Final = {BreakerState.OPEN, BreakerState.HALF_OPEN}


class Unusable(Exception):  # noqa: N818 - a state of affairs between guard and layer; no caller of a cache meets it
    """The operation failed. ``kind`` says what that means, ``__cause__`` is the store's own exception.

    A write that failed may have been applied all the same, or may be later.
    """

    def __init__(self, kind: FaultKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class _Permits(NamedTuple):
    all: Permit
    write: Permit | None


class Guard:
    """Makes the operations of one store bounded in time, and spares a store that is down.

    Args:
        breaker: for every operation.
        write_breaker: for mutations as well; None where a store cannot refuse writes alone.
        timeout: seconds for an operation with its retry, unless ``run`` is told otherwise.
        retry: whether what a lost connection failed goes once more, at once and within the same deadline. Every
            operation of a store may be repeated: writes carry versions.
        reads_stand: whether reads have a way of their own, and it is open.
        opening: whether the store is being made ready in this process, and that is getting on: who has waited for it in
            vain has met no fault.
        clock: measures how late a deadline fires.
        announce: told of each failed operation.
        layer: the store's name in events.
    """

    def __init__(
        self,
        *,
        breaker: CircuitBreaker,
        write_breaker: CircuitBreaker | None = None,
        timeout: float,
        retry: bool = True,
        reads_stand: Callable[[], bool] = lambda: False,
        opening: Callable[[], bool] = lambda: False,
        clock: Clock = SYSTEM,
        announce: Callable[[StoreFault], None] | None = None,
        layer: str = "",
    ) -> None:
        self.breaker = breaker
        self.write_breaker = write_breaker
        self.last_fault = ""
        self.timeout = timeout
        self._retry = retry
        self._reads_stand = reads_stand
        self._opening = opening
        self._clock = clock
        self._announce = announce
        self._layer = layer

    def refuses(self, *, mutation: bool = False) -> bool:
        """Whether an operation would be refused now. Changes nothing."""
        writes = self.write_breaker if mutation else None
        return self.breaker.refuses() or (writes is not None and writes.refuses())

    def probing(self, *, mutation: bool = False) -> bool:
        """Whether the next operation admitted would be a probe, so that a batch sends little ahead. Changes nothing."""
        writes = self.write_breaker if mutation else None
        return self.breaker.state in _FEELING or (writes is not None and writes.state in _FEELING)

    @property
    def troubled(self) -> bool:
        """Whether reads are refused, or watched: the breaker is anything but closed."""
        return self.breaker.state is not BreakerState.CLOSED

    @property
    def denied(self) -> bool:
        """Whether the store is not asked because it denied access."""
        known = [breaker.stats() for breaker in self._breakers()]
        return any(stats.state is BreakerState.OPEN and stats.reason == DENIED for stats in known)

    def allow_probe(self) -> None:
        """Word from outside that the store may be back."""
        for breaker in self._breakers():
            breaker.allow_probe()

    def reset(self) -> None:
        """Hold nothing against the store any more: its address or its credentials have changed."""
        for breaker in self._breakers():
            breaker.reset()

    def close(self) -> None:
        """No more operations."""
        for breaker in self._breakers():
            breaker.close()

    async def run(
        self,
        operation: Callable[[], Awaitable[T]],
        *,
        mutation: bool,
        name: str,
        timeout: float | None = None,  # noqa: ASYNC109 - what a caller has left of its own budget
    ) -> T:
        """The operation's answer, within its deadline.

        Args:
            operation: may be called twice.
            mutation: whether it writes.
            name: what events call it; no key, no value.
            timeout: seconds, where a caller has less left than the guard allows.

        Raises:
            CircuitOpenError: a breaker refused; the store was not asked.
            Unusable: the operation failed.
            CacheClosedError: after ``close()``.
        """
        budget = self.timeout if timeout is None else timeout
        if budget <= 0:  # the caller's budget is spent: no fault of the store
            raise Unusable(FaultKind.LOCAL)
        permits = self._admit(mutation=mutation)
        due = self._clock.monotonic() + budget
        deadline = Deadline(budget)
        try:
            with deadline:
                try:
                    answer = await operation()
                except Exception as exc:
                    if not self._again(exc, permits, deadline):
                        raise
                    answer = await operation()
        except BaseException as exc:
            kind = classify(exc, mutation=mutation)
            if kind is FaultKind.CONN and deadline.expired and self._is_ours(due):
                kind = FaultKind.LOCAL
            if kind is FaultKind.CONN and permits.write is not None and self._reads_stand():
                kind = FaultKind.WRITE_LOST
            if kind is not FaultKind.CANCEL:
                self.last_fault = describe(exc)
            _judge(permits, kind, self.last_fault)
            if kind is FaultKind.CANCEL:
                raise
            self._report(name, kind)
            raise Unusable(kind) from exc
        permits.all.ok()
        if permits.write is not None:
            permits.write.ok()
        return answer

    def _is_ours(self, due: float) -> bool:
        """Whether it is this process that has kept an operation from being done in time."""
        return self._clock.monotonic() - due > _STALLED or self._opening()

    def _again(self, exc: Exception, permits: _Permits, deadline: Deadline) -> bool:
        """Whether what failed goes once more. Both attempts are one call to the breaker: only how it ended counts.

        A breaker that opened meanwhile, by what befell others, grants no second one; and a deadline that is past would
        not end it.
        """
        return self._retry and connection_lost(exc) and self._current(permits) and not deadline.expired

    def _admit(self, *, mutation: bool) -> _Permits:
        permit = self.breaker.acquire()
        if not mutation or self.write_breaker is None:
            return _Permits(permit, None)
        try:
            return _Permits(permit, self.write_breaker.acquire())
        except ToolCacheError:
            permit.neutral()
            raise

    def _current(self, permits: _Permits) -> bool:
        if not self.breaker.current(permits.all):
            return False
        return permits.write is None or self.write_breaker is None or self.write_breaker.current(permits.write)

    def _breakers(self) -> tuple[CircuitBreaker, ...]:
        return (self.breaker,) if self.write_breaker is None else (self.breaker, self.write_breaker)

    def _report(self, name: str, kind: FaultKind) -> None:
        if self._announce is not None:
            self._announce(StoreFault(self._layer, name, kind.value, self.last_fault))


def _judge(permits: _Permits, kind: FaultKind, detail: str) -> None:
    permits.all.judge(kind, detail)
    if permits.write is None:
        return
    if kind is FaultKind.WRITE_REFUSED or kind is FaultKind.WRITE_LOST:
        permits.write.fail(detail=detail)
    else:
        permits.write.neutral()
