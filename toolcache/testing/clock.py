"""A clock that moves when it is told to."""

import asyncio
import heapq


class FakeClock:
    """Wall, monotonic and boot time under the test's control.

    Args:
        now: seconds since the epoch to begin with.

    Examples:
        >>> clock = FakeClock()
        >>> before = clock.monotonic()
        >>> clock.advance(60)
        >>> clock.monotonic() - before
        60.0
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._wall = now
        self._elapsed = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return self._elapsed

    def boottime(self) -> float:
        """Seconds since the pretended boot."""
        return self._elapsed

    def align(self, now: float) -> None:
        """Set the wall time; the others do not move."""
        self._wall = now

    def advance(self, seconds: float) -> None:
        """Let time pass everywhere, and wake those whose sleep has ended."""
        self._wall += seconds
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP would; no time passes."""
        self._wall += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until ``advance`` has gone that far."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._order, waiter))
        await waiter
