"""Credentials that change: a store that denied access is tried again as soon as there are others.

Denied access opens the breaker for the longest wait, since asking again soon is useless; with other credentials it is
not. They are asked for while calls are being refused, in the background and now and then, and nobody waits for them.
"""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable
from typing import Final

from toolcache.protocols import Clock
from toolcache.resilience.guard import Guard

_REST_SECONDS: Final = 1.0


class Renewal:
    """Asks for one event loop.

    Args:
        guard: admits a probe when there are others.
        renewed: whether there are; never raises for who provides them.
        clock: for the rest between two questions.
    """

    def __init__(self, guard: Guard, renewed: Callable[[], Awaitable[bool]], clock: Clock) -> None:
        self._guard = guard
        self._renewed = renewed
        self._clock = clock
        self._asked_at = -math.inf
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """A call was refused: ask, if that was for denied access and has not been done a moment ago."""
        now = self._clock.monotonic()
        if self._task is None and now - self._asked_at >= _REST_SECONDS and self._guard.denied:
            self._asked_at = now
            # In a context of its own: what comes of it is not the caller's.
            self._task = asyncio.get_running_loop().create_task(
                self._ask(), name="toolcache-renewal", context=contextvars.Context()
            )

    async def aclose(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask(self) -> None:
        try:
            if await self._renewed():
                self._guard.allow_probe()
        finally:
            self._task = None
