"""Counters of a fleet that do not fall: what has lost some of its counts is told again when they are back."""

from collections.abc import Mapping
from typing import Final

from toolcache.clock import SYSTEM
from toolcache.metrics.snapshot import Metrics
from toolcache.protocols import Clock
from toolcache.series import Series

PATIENCE: Final = 60.0
"""Seconds that counts which have gone may take to come back."""


class Rising:
    """Looks at the metrics of one fleet, time after time.

    A Redis that comes back empty has each process tell it anew; whoever reads in between finds the counts of a few. To
    Prometheus that would be a reset, and all that comes again an increase. So such metrics are not ``complete``, until
    the counts are there again, or have not been for a minute: then they are lost, as those of days that are no longer kept.

    Args:
        clock: tells how long it has been.

    Examples:
        >>> rising = Rising()
        >>> text = render(rising(await cache.metrics(period="400d")))
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._highest: Mapping[Series, int] = {}
        self._fell_at: float | None = None

    def __call__(self, metrics: Metrics) -> Metrics:
        """The same metrics; not complete where counts have fallen of late."""
        if not metrics.complete:
            return metrics
        now = self._clock.monotonic()
        counts = {one: row.hits + row.misses + row.sets + row.computed for one, row in metrics.series.items()}
        if all(counts.get(one, 0) >= before for one, before in self._highest.items()):
            self._fell_at = None
        elif self._fell_at is None or now < self._fell_at + PATIENCE:
            self._fell_at = now if self._fell_at is None else self._fell_at
            return metrics._replace(complete=False)
        self._highest, self._fell_at = counts, None
        return metrics
