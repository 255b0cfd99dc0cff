"""The one seam for time.

Nothing else in the package reads a clock. Lifetimes and versions use ``time()``: the boot clock plus an offset, so that
a step of the wall clock in mid-run moves nothing; the offset is this host's wall clock at start, or Redis' own time,
measured at each connect, so that all processes of one Redis agree. Deadlines use ``monotonic()``.
"""

import asyncio
import time
from typing import Final

# macOS has no CLOCK_BOOTTIME; its CLOCK_MONOTONIC counts sleep too. Windows has neither; its monotonic() does.
_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    """Seconds from an arbitrary start, for deadlines."""

    def __init__(self) -> None:
        self._offset = time.time() - self.boottime()

    def time(self) -> float:
        """Seconds since the epoch; steps of the wall clock do not move it."""
        return (time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)) + self._offset

    def boottime(self) -> float:
        """Seconds since the machine was started, sleep included."""
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def align(self, now: float) -> None:
        """Take ``now`` (seconds since the epoch, from a server that others share) as the present."""
        self._offset = now - self.boottime()


SYSTEM: Final = SystemClock()
"""The process's clock: one, so that all its caches agree."""


def chance() -> float:
    """A number from 0 up to 1, for jitter."""
    from random import random

    return random()  # noqa: S311 - nobody gains by guessing it
