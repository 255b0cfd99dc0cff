"""What can be seen of a cache, and of all that share its stores: over time, in money, and what to do about it."""

from functools import cached_property
from typing import TYPE_CHECKING

from toolcache.durations import Duration
from toolcache.insight.advised import Advised
from toolcache.machine import Machine

if TYPE_CHECKING:
    from toolcache.alerts.alerts import Alerts
    from toolcache.metrics.snapshot import Metrics, Snapshot
    from toolcache.savings import Savings


class Observed(Advised):
    """What can be seen of a cache."""

    _machine: Machine

    def totals(self) -> "Snapshot":
        """What this cache object has counted since it was made, by series and by layer. Local, no I/O.

        Examples:
            >>> cache.totals().by("domain")["general"].hits
            0
        """
        return self._machine.totals()

    async def metrics(self, period: Duration = "1h", *, step: Duration | None = None) -> "Metrics":
        """What all processes that share these stores and this namespace have counted, minute by minute, hour by hour or day by day.

        Each writes down once a second what it has counted, to Redis and to the files of its host: of one that dies, at
        most the last second is missing. By the minute that is kept for 6 hours, by the hour for 8 days, by the day (of
        universal time) for 400 days.

        Args:
            period: how far back: ``"1h"`` is read by the minute, ``"1d"`` by the hour, ``"30d"`` by the day; the last point is
                the minute, hour or day that has just begun.
            step: a minute, an hour or a day, for other points than these.

        Raises:
            ValueError: that is not kept for so long, or the step is none of these.

        Examples:
            >>> for point in await cache.metrics(period="1h"):
            ...     print(f"{point.timestamp:.0f}: {point.hits} hits, {point.misses} misses")
        """
        self._machine.enter(())
        return await self._machine.history.metrics(period, step)

    async def savings(self, period: Duration = "30d") -> "Savings":
        """What the cache has spared all who share its stores and this namespace: calls, computations, tokens, dollars and seconds.

        ``print(savings)`` shows the ledger: what was answered for whom, and where each unit cost comes from. That is what the
        domain declares; else what computations have reported (``context.cost(...)``), on average over the period or, if none
        did in it, over all days kept; tokens come to dollars by the setting ``prices``.

        Args:
            period: how far back, as for ``metrics``.

        Raises:
            ValueError: that is not kept for so long.

        Examples:
            >>> savings = await cache.savings(period="30d")
            >>> print(f"Cached responses: {savings.cached_responses}, cost saved: ${savings.cost_saved:.2f}")
        """
        from toolcache.metrics.spans import DAY
        from toolcache.savings import savings_of, wants_more

        prices = self._machine.parts.prices
        metrics = await self.metrics(period)
        more = len(metrics) * metrics.step < DAY.kept and wants_more(metrics, prices)
        kept = await self._machine.history.metrics(DAY.kept) if more else None
        return savings_of(metrics, prices, kept=kept)

    @cached_property
    def alerts(self) -> "Alerts":
        """What is told to people when the cache comes to something that it should not; see ``Alerts``.

        Examples:
            >>> cache.alerts.create("few hits", metric="hit_rate", condition="< 50%", window="5m")
        """
        from toolcache.alerts.alerts import Alerts
        from toolcache.metrics.spans import reaching

        machine = self._machine
        return Alerts(
            machine.parts,
            machine.homes,
            lambda window: self.metrics(reaching(window)),
            machine.entrance.attend,
            lambda: tuple(getattr(self, "domains", ())),
        )
