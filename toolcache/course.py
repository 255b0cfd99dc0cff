"""The course of a request that callers of one loop wait for, each as long as it wants to."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from toolcache.errors import (
    AlreadyInProgressError,
    DispatchError,
    StoredAgentError,
    TakeoverLimitError,
    WaitTimeoutError,
)
from toolcache.record import TAKEOVERS, Attempt, Record
from toolcache.terms import Terms
from toolcache.work import Work


class Settled(NamedTuple):
    """What a request has come to.

    ``record`` is None where nobody ran it for this call. ``replayed``: by an earlier run, or that of another process. ``error``:
    instead of an output. ``ran``: here as well, although another answer was kept.
    """

    record: Record | None
    replayed: bool
    error: Exception | None = None
    ran: bool = False

    def forgotten_before(self, version: bytes) -> bool:
        """Whether that was of no use any more to who asked at a version: the request had been forgotten by then."""
        return self.record is not None and self.record.fence <= self.record.floor < version


def error_of(record: Record, key: str) -> DispatchError:
    """What a failure is told as to those who did not run it: never as a class of others."""
    if record.failure is None or record.failure.kind == TAKEOVERS:
        return TakeoverLimitError(key=key, attempts=record.attempts)
    return StoredAgentError(record.failure.type, record.failure.message, key=key)


class Asked(NamedTuple):
    """What is asked for: the store key of the request, what runs it and on what terms, and for how long its answer is kept."""

    name: str
    work: Work
    terms: Terms
    fingerprint: str
    retention: float


class Course:
    """How far a request has come that the callers of one loop wait for. While it lasts, they join its flight, and no other.

    Args:
        asked: by the first caller, whose work and terms count.

    Attributes:
        callers: those who wait.
        attempt: who runs it, once it is being run.
        busy: another's run is waited for.
        runs: it is being run here.
        changed: set, and another event by then, when that changes.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.callers = 0
        self.attempt: Attempt | None = None
        self.busy = self.runs = False
        self.changed = asyncio.Event()
        self._finishes = asked.terms.on_abandon == "finish"
        self._ends = False

    def turn(self, *, busy: bool = False, runs: bool = False, ends: bool = False) -> None:
        """It waits for another's run, runs, or has run and is coming to its end."""
        self.busy, self.runs, self._ends = busy, runs or ends, ends
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def goes_on(self) -> bool:
        """Whether it does although nobody waits for it any more."""
        return self._ends or (self.runs and self._finishes)

    def lies_beneath(self, epoch: bytes) -> bool:
        """Whether what is being run was cleared meanwhile: its callers get it, and nobody else."""
        return self.attempt is not None and self.attempt.fence <= epoch

    async def wait(
        self, flight: "asyncio.Future[Settled]", terms: Terms, now: Callable[[], float], key: str, *, leads: bool
    ) -> Settled:
        """Wait for another's run as long as a caller wants to; for its own, to the end.

        Args:
            flight: what it waits for.
            terms: the caller's.
            now: monotonic seconds.
            key: what errors tell of the request.
            leads: whether it is this caller's run, if it is run here.
        """
        until = math.inf if terms.wait_timeout is None or terms.wait == "raise" else now() + terms.wait_timeout
        try:
            while not flight.done():
                own = leads and not self.busy
                if not own and terms.wait == "raise" and (self.busy or self.runs):
                    raise AlreadyInProgressError(key=key)
                if not own and now() >= until:
                    raise WaitTimeoutError(key=key)
                left = None if own or math.isinf(until) else until - now()
                changed: asyncio.Future[Any] = asyncio.ensure_future(self.changed.wait())
                try:
                    await asyncio.wait([flight, changed], timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
            return flight.result()
        finally:
            if not flight.done():
                flight.cancel()
                await asyncio.wait([flight])
