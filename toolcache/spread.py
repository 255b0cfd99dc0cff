"""Latencies as counts in buckets that can be added up: over time, over processes, over hosts."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from toolcache.fields import Frozen, each

BASE: Final = 1e-7
PER_DOUBLING: Final = 4
BUCKETS: Final = 128


def bucket_of(seconds: float) -> int:
    """The bucket of a latency: a quarter of a doubling wide, from 0.1 µs up."""
    bucket = int(math.log2(seconds / BASE) * PER_DOUBLING) if seconds > BASE else 0
    return min(bucket, BUCKETS - 1)


def middle_of(bucket: int) -> float:
    """Seconds in the middle of a bucket."""
    return float(BASE * 2 ** ((bucket + 0.5) / PER_DOUBLING))


def top_of(bucket: int) -> float:
    """Seconds at which a bucket ends."""
    return float(BASE * 2 ** ((bucket + 1) / PER_DOUBLING))


class Spread(Frozen):
    """How latencies are spread: quantiles to about ±10 %; two of them add up to that of both.

    Attributes:
        counts: how many fell into each bucket; see ``top_of``.
        longest: seconds of the longest.

    Examples:
        >>> (Spread({40: 3}, 0.0001) + Spread({40: 1, 60: 4}, 0.004)).count
        8
    """

    counts: Mapping[int, float] = each(factory=dict)
    longest: float = 0.0

    def __init__(
        self, counts: Mapping[int, float] | None = None, longest: float = 0.0
    ) -> None:  # thousands of them are made
        self.__dict__.update(counts={} if counts is None else counts, longest=longest)

    @property
    def count(self) -> float:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def p50(self) -> float:
        """Seconds that half of them did not exceed."""
        return self.quantile(0.5)

    @property
    def p95(self) -> float:
        """Seconds that 95 of 100 did not exceed."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """Seconds that 99 of 100 did not exceed."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """Seconds that this share of them did not exceed; 0.0 where there is none."""
        return quantile(sorted(self.counts.items()), share, self.longest)

    def scaled(self, whole: float) -> "Spread":
        """The same spread of ``whole`` latencies, of which these are a sample."""
        count = self.count
        if not count:
            return self
        return Spread({bucket: one * whole / count for bucket, one in self.counts.items()}, self.longest)

    @classmethod
    def sum(cls, several: "Iterable[Spread]") -> "Spread":
        """All of them together."""
        counts: dict[int, float] = {}
        longest = 0.0
        for one in several:
            for bucket, count in one.counts.items():
                counts[bucket] = counts.get(bucket, 0) + count
            longest = max(longest, one.longest) if one.counts else longest
        return cls(counts, longest)

    def __add__(self, other: "Spread") -> "Spread":
        if not other.counts:
            return self
        both = dict(self.counts)
        for bucket, count in other.counts.items():
            both[bucket] = both.get(bucket, 0) + count
        return Spread(both, max(self.longest, other.longest))

    def __sub__(self, other: "Spread") -> "Spread":
        if not other.counts:
            return self
        came = {bucket: count - other.counts.get(bucket, 0) for bucket, count in self.counts.items()}
        came = {bucket: count for bucket, count in came.items() if count > 0}
        longest = self.longest if self.longest > other.longest else top_of(max(came, default=0))
        return Spread(came, min(longest, self.longest) if came else 0.0)

    def __hash__(self) -> int:
        return hash((frozenset(self.counts.items()), self.longest))


def quantile(counts: Iterable[tuple[int, float]], share: float, longest: float) -> float:
    """Seconds that this share of latencies did not exceed, of counts by bucket in their order."""
    rows = [(bucket, count) for bucket, count in counts if count]
    wanted = share * sum(count for _, count in rows)
    seen = 0.0
    for bucket, count in rows:
        seen += count
        if seen >= wanted:
            return min(middle_of(bucket), longest)
    return 0.0
