"""The curve: which share of lookups a memory of each size would answer."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import sqrt
from typing import Final

from toolcache.fields import Frozen
from toolcache.insight.scales import LEAST_BYTES, edge
from toolcache.insight.sketch import Sketch

ENOUGH: Final = 0.01
"""A size is large enough if no larger one answers more than so many more of all lookups."""
_SAMPLE: Final = 0.03
_COARSE: Final = 0.5


class Point(Frozen):
    """A size of memory, in bytes and in entries of the usual size, and the share of lookups that it would answer."""

    bytes: float
    entries: float
    hit_rate: float


class Curve(Frozen):
    """Hit rates by size, as an LRU memory would have them; those of the default strategy are as good or better.

    Attributes:
        points: from the smallest size to the largest that makes a difference; each bucket's end.
        lookups: how many the curve was made of.
        rate: the share of keys that was followed.
        mean: bytes of an entry, on the average.
    """

    points: tuple[Point, ...]
    lookups: float
    rate: float
    mean: float

    @property
    def best(self) -> float:
        """The hit rate that no size exceeds."""
        return self.points[-1].hit_rate if self.points else 0.0

    def at(self, size: float, *, entries: float | None = None) -> float:
        """The hit rate of a memory of so many bytes, and of so many entries where those are bounded."""
        rate = _at([(point.bytes, point.hit_rate) for point in self.points], size)
        if entries is None:
            return rate
        return min(rate, _at([(point.entries, point.hit_rate) for point in self.points], entries))

    def knee(self) -> Point | None:
        """The smallest size that is within a hundredth of the best; None where nothing was asked for twice."""
        return next((point for point in self.points if point.hit_rate >= self.best - ENOUGH), None)

    def error(self, size: float) -> float:
        """How far from the truth the hit rate of a size may well be.

        Where all keys were followed it is a bucket's width. Of a sample, the whole is known to some 3 points; and how deep a
        key lies is told by those sampled keys that fit into the size, as by so many throws of a coin.
        """
        if self.rate >= 1:
            return ENOUGH
        fit = max(1.0, size / max(self.mean, 1.0) * self.rate)
        return min(1.0, _SAMPLE + _COARSE / sqrt(fit))


def curve_of(sketch: Sketch) -> Curve:
    """The curve of what was sampled."""
    mean = sketch.size / sketch.entries if sketch.entries else 0.0
    by_bytes = rates(sketch.by_bytes, sketch)
    points = [
        Point(edge(bucket + 1) * LEAST_BYTES, edge(bucket + 1) * LEAST_BYTES / mean if mean else 0.0, rate)
        for bucket, rate in enumerate(by_bytes)
    ]
    last = max((bucket for bucket, one in enumerate(sketch.by_bytes) if one), default=-1)
    first = next((bucket for bucket, one in enumerate(sketch.by_bytes) if one), 0)
    return Curve(tuple(points[max(0, first - 1) : last + 1]), sketch.lookups, sketch.rate, mean)


def rates(counts: Sequence[float], sketch: Sketch) -> list[float]:
    """The hit rate at the end of each bucket.

    Lookups that the sample does not stand for are those of popular keys that are not in it, or too few: they belong to the
    first bucket, as in SHARDS-adj.
    """
    whole = max(sketch.lookups, 1.0)
    missing = sketch.lookups - sketch.asked
    return [min(1.0, max(0.0, one + missing) / whole) for one in accumulate(counts)]


def _at(points: Sequence[tuple[float, float]], size: float) -> float:
    """The hit rate between two points, in proportion."""
    at = bisect_left(points, (size,))
    if at == len(points):
        return points[-1][1] if points else 0.0
    if points[at][0] == size or not at:
        return points[at][1] if points[at][0] <= size else 0.0
    (low, less), (high, more) = points[at - 1], points[at]
    return less + (more - less) * (size - low) / (high - low)
