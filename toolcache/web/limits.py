"""How often somebody may ask: a bucket of tokens for each, in bounded room."""

from collections import OrderedDict
from typing import Final

MOST: Final = 4_096
"""Buckets that are kept; the one that was not used for longest makes room."""


class Buckets:
    """Token buckets (Turner, 1986), by name.

    Args:
        rate: requests a second, in the long run.
        burst: how many at once, after a while without any.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Take one; 0.0, or the seconds until there is one to take."""
        left, at = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        granted = left >= 1.0
        self._buckets[name] = (left - granted, now)
        while len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1.0 - left) / self._rate
