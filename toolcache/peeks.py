"""What a store says of how long it takes: that it can often answer at once, or that it is being made ready."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class SupportsPeek(Protocol):
    """A local store that knows what it can read without waiting: who reads is spared a task, a deadline and a thread."""

    def peek(self, keys: Sequence[str], /) -> list[bytes | None] | None:
        """What ``get_many`` would answer now; None where that takes waiting, or where anything is amiss.

        Synchronous. It waits neither for a disk nor for a thread, takes about a millisecond at most, and raises nothing:
        ``get_many``, which has a deadline, meets whatever was in the way.
        """
        ...


@runtime_checkable
class SupportsOpening(Protocol):
    """A local store that has to read all of what it holds, before it answers for the first time."""

    @property
    def opening(self) -> bool:
        """Whether it is at that, and getting on: who waits in vain for it has met no fault. Cheap, synchronous."""
        ...
