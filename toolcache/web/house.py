"""What the endpoints share: the cache, what the server was told, and what is worked out for several at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from toolcache.clock import SYSTEM
from toolcache.exporters.rising import Rising
from toolcache.protocols import Clock
from toolcache.tool_cache import ToolCache
from toolcache.warm_plan import WarmPlan
from toolcache.web.ever import Ever
from toolcache.web.listings import Listings
from toolcache.web.page.vitals import pulse_of
from toolcache.web.problems import Problem
from toolcache.web.tokens import Access

if TYPE_CHECKING:
    from toolcache.web.endpoint import Endpoint

PATIENCE: Final = 30.0
"""Seconds that an answer may take."""
_HEAVY: Final = 2
"""Requests of a scope that go through all entries, or hundreds of spans, at a time."""
_KEPT: Final = 16
"""Answers that are kept for others who ask, besides those that are being worked out."""


class House:
    """What the endpoints share.

    Args:
        cache: whose.
        table: of endpoints.
        values: whether values are shown, and not only what is known of them.
        plans: what can be warmed by name.
        clock: another than the machine's, for tests.
    """

    def __init__(
        self,
        cache: ToolCache,
        table: Sequence["Endpoint"] = (),
        *,
        values: bool = False,
        plans: Mapping[str, WarmPlan] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.cache = cache
        self.table = table
        self.values = values
        self.plans = dict(plans or {})
        self.clock = clock
        self.listings = Listings(clock)
        self.rising = Rising(clock)
        self.ever = Ever(cache, clock)
        self.pulse = pulse_of(cache, clock)
        # Of each scope its own: those who may but read cannot hold up those who have something forgotten.
        self._heavy = {access: asyncio.Semaphore(_HEAVY) for access in Access}
        self.ending = asyncio.Event()
        self._shared: dict[str, Shared] = {}

    async def aclose(self) -> None:
        """Give up what goes on from one request to the next."""
        await self.listings.aclose()
        await self.ever.aclose()

    async def answer(self, ask: Callable[[], Awaitable[Any]], heavy: Access | None = None) -> Any:
        """What ``ask`` says, if that does not take too long.

        Args:
            ask: is asked.
            heavy: the scope of what is heavy; None for what is not.

        Raises:
            Problem: it took too long.
        """
        try:
            async with asyncio.timeout(PATIENCE), nullcontext() if heavy is None else self._heavy[heavy]:
                return await ask()
        except TimeoutError:
            why = f"this took longer than {PATIENCE:g} s and was given up"
            raise Problem(503, why, {"Retry-After": "30"}) from None

    async def shared(self, name: str, seconds: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What ``ask`` says, asked for once in so many seconds, whoever and however many want to know."""
        one = self._shared.pop(name, None) or Shared(self.clock)
        asked = {known: other for known, other in self._shared.items() if other.is_asked}
        good = {known: other for known, other in self._shared.items() if other.is_good and known not in asked}
        self._shared = {**asked, **dict([*good.items()][1 - _KEPT :]), name: one}  # those that were used last
        return await one.get(seconds, ask)


class Shared:
    """An answer that several get.

    Args:
        clock: tells its age.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._said: Any = None
        self._until = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether it is being worked out."""
        return self._lock.locked()

    @property
    def is_good(self) -> bool:
        """Whether it is not too old to be told."""
        return self._clock.monotonic() < self._until

    async def get(self, seconds: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, of which none is older than ``seconds``."""
        if not self.is_good:
            async with self._lock:
                if not self.is_good:
                    self._said = await ask()
                    self._until = self._clock.monotonic() + seconds
        return self._said
