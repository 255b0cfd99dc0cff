"""What the pulse tells of a cache while somebody listens: its health, its alerts, and what its fleet has done."""

from functools import partial
from typing import Any, Final

from toolcache.aside import aside
from toolcache.metrics.spans import DAY
from toolcache.protocols import Clock
from toolcache.savings import savings_of, wants_more
from toolcache.tool_cache import ToolCache
from toolcache.web.page import documents
from toolcache.web.page.pulse import Part, Pulse

PERIODS: Final = {"1h": 1.0, "24h": 15.0, "30d": 60.0}
"""What can be looked at, and how many seconds later anew."""


def pulse_of(cache: ToolCache, clock: Clock) -> Pulse:
    """The pulse of a cache."""

    async def health() -> Any:
        return documents.health(await cache.health())

    async def metrics(period: str) -> Any:
        # As ``cache.savings`` does it, but of the same counts: what is saved is never more than what was hit.
        found, prices = await cache.metrics(period), cache.settings.prices
        kept = await cache.metrics(DAY.kept) if wants_more(found, prices) else None
        saved = savings_of(found, prices, kept=kept)
        return await aside(partial(documents.metrics, found, saved))  # of a large fleet it takes a while

    async def alerts() -> Any:
        states, notices = await cache.alerts.state(), await cache.alerts.history()
        return documents.alerts(cache.alerts.list(), states, notices)

    parts = {"health": Part(health), "alerts": Part(alerts)}
    parts |= {f"metrics:{period}": Part(partial(metrics, period), every) for period, every in PERIODS.items()}
    return Pulse(parts, clock)
