"""A permit: leave to make one call, and the word on how it went."""

import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from toolcache.resilience.faults import FaultKind

DENIED: Final = "access denied"
"""The reason of a breaker that is open because of who asks: waiting does not cure that."""


class Outcome(StrEnum):
    """What a call says about the other side."""

    OK = "ok"
    FAIL = "fail"
    AUTH = "auth"
    NEUTRAL = "neutral"


class Permit:
    """Leave to make one call. Say how it went, once; what is said after that changes nothing.

    One that is dropped unsaid is neutral, and warns: a probe's place must not be lost with it.
    """

    __slots__ = ("_abandon", "_resolve", "detail", "generation", "settled", "slot")

    def __init__(
        self,
        resolve: "Callable[[Permit, Outcome], None]",
        abandon: Callable[[tuple[int, int]], None],
        generation: int,
        slot: int,
    ) -> None:
        self._resolve = resolve
        self._abandon = abandon
        self.generation = generation
        self.slot = slot
        self.settled = False
        self.detail = ""

    @property
    def probe(self) -> bool:
        """Whether this call decides if the breaker closes."""
        return self.slot > 0

    def ok(self) -> None:
        """The other side answered."""
        self._resolve(self, Outcome.OK)

    def fail(self, *, auth: bool = False, detail: str = "") -> None:
        """The other side did not answer; with ``auth``, it will not have us, and one such failure is enough.

        Args:
            auth: whether access was denied.
            detail: why, in a few words that may be told.
        """
        self.detail = detail
        self._resolve(self, Outcome.AUTH if auth else Outcome.FAIL)

    def neutral(self) -> None:
        """The call says nothing about the other side."""
        self._resolve(self, Outcome.NEUTRAL)

    def judge(self, kind: FaultKind, detail: str = "") -> None:
        """Resolve by what ``classify`` said. A store that refuses or objects has answered."""
        if kind is FaultKind.CONN or kind is FaultKind.AUTH:
            self.fail(auth=kind is FaultKind.AUTH, detail=detail)
        elif kind is FaultKind.CANCEL or kind is FaultKind.LOCAL or kind is FaultKind.WRITE_LOST:
            self.neutral()
        else:
            self.ok()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self.settled:
            # The collector may run while this very thread holds the breaker's lock: leave a note, take no lock.
            self._abandon((self.generation, self.slot))
            _warn("a permit of a circuit breaker was dropped without ok(), fail() or neutral()", ResourceWarning, 2)
