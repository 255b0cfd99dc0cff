"""What a store that can often answer at once promises; its reader is spared a task, a deadline and a thread."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class SupportsPeek(Protocol):
    """A local store that knows what it can read without waiting."""

    def peek(self, keys: Sequence[str], /) -> list[bytes | None] | None:
        """What ``get_many`` would answer now; None where that takes waiting, or where anything is amiss.

        Synchronous. It waits neither for a disk nor for a thread, takes about a millisecond at most, and raises nothing:
        ``get_many``, which has a deadline, meets whatever was in the way.
        """
        ...
