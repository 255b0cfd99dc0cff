"""Tallies: what is counted while a cache runs, by series, by layer, and of requests that run once."""

from collections.abc import Awaitable
from itertools import compress
from typing import Final, Protocol, TypeVar

from toolcache.fields import Fields
from toolcache.series import Series
from toolcache.spread import BUCKETS, Spread, bucket_of, quantile

_T = TypeVar("_T")

_EACH: Final = range(BUCKETS)
_MOST: Final = 512
"""Series of one cache; what would be more is counted with its domain."""


class _Row(Protocol):
    @property
    def series(self) -> Series: ...
    @property
    def cost_usd(self) -> float: ...
    @property
    def cost_tokens(self) -> float: ...


class _Told(Protocol):
    @property
    def cost_usd(self) -> float | None: ...
    @property
    def tokens(self) -> int | None: ...


class Histogram:
    """Latencies in buckets of a quarter doubling, from 0.1 µs up: quantiles to about ±10 %, in constant memory."""

    __slots__ = ("_counts", "count", "longest")

    def __init__(self) -> None:
        self._counts: list[float] = [0] * BUCKETS  # written down, a whole number takes a third of the bytes
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a latency, met ``times`` times (at least once)."""
        self._counts[bucket_of(seconds)] += times
        self.count += times
        self.longest = max(self.longest, seconds)

    def beside(self, sample: "Histogram", whole: int) -> "Histogram":
        """These latencies and ``whole`` others, of which only a sample was measured: it counts for all of them."""
        both = Histogram()
        weight = whole / sample.count if sample.count else 0.0
        counts = zip(self._counts, sample._counts, strict=True)  # noqa: SLF001 - of another one of this class
        both._counts = [count + weight * one for count, one in counts]
        both.count = self.count + (whole if sample.count else 0)
        both.longest = max(self.longest, sample.longest)
        return both

    def plus(self, other: "Histogram") -> "Histogram":
        """These latencies and those."""
        return self.beside(other, other.count)

    def quantile(self, share: float) -> float:
        """Seconds that this share of them did not exceed."""
        return quantile(enumerate(self._counts), share, self.longest)

    def spread(self) -> Spread:
        """The counts so far, to be added up."""
        counts = self._counts.copy()  # others may be counting
        return Spread(dict(zip(compress(_EACH, counts), filter(None, counts), strict=True)), self.longest)


class Tally:
    """The running counts of one series. ``hits`` and ``seconds_saved`` are raised on the hit path.

    ``hits`` are those of memory, of whose latencies ``sampled`` has a few; ``latency`` has those of all other calls.
    """

    __slots__ = (
        "bypassed",
        "compute_seconds",
        "computed",
        "cost_tokens",
        "cost_usd",
        "deletes",
        "far_hits",
        "file_hits",
        "hits",
        "latency",
        "metered",
        "misses",
        "not_stored",
        "priced",
        "redis_hits",
        "refreshed",
        "replayed",
        "sampled",
        "seconds_saved",
        "series",
        "sets",
        "spent_tokens",
        "spent_usd",
        "stale",
        "told",
        "unpriced_tokens",
        "waited",
    )

    def __init__(self, cost_usd: float = 0.0, cost_tokens: float = 0.0, series: Series = Series("general")) -> None:  # noqa: B008 - a constant
        self.series = series
        self.cost_usd = cost_usd
        self.cost_tokens = cost_tokens
        self.told = self.priced = self.metered = 0
        self.unpriced_tokens = 0.0
        self.spent_usd = self.spent_tokens = 0.0
        self.hits = self.far_hits = self.redis_hits = self.file_hits = self.waited = 0
        self.misses = self.stale = self.refreshed = self.bypassed = self.replayed = 0
        self.sets = self.deletes = 0
        self.computed = 0
        self.compute_seconds = 0.0
        self.not_stored = 0
        self.seconds_saved = 0.0
        self.latency = Histogram()
        self.sampled = Histogram()

    def spend(self, usd: float | None, tokens: float | None) -> None:
        """A computation has told what it cost: in dollars, in tokens, or both."""
        self.told += 1
        self.spent_usd += usd or 0.0
        self.spent_tokens += tokens or 0.0
        self.priced += usd is not None
        self.metered += tokens is not None
        if usd is None:
            self.unpriced_tokens += tokens or 0.0

    def unit_usd(self, price: float | None) -> float:
        """What one computation costs in US dollars, as far as that is known; ``price`` is that of a million tokens."""
        spent = self.spent_usd + self.unpriced_tokens * (price or 0.0) / 1e6
        return self.cost_usd or spent / ((self.priced if price is None else self.told) or 1)

    @property
    def unit_tokens(self) -> float:
        """The same in tokens."""
        return self.cost_tokens or self.spent_tokens / (self.metered or 1)

    async def watch(self, computing: Awaitable[_T], told: _Told) -> _T:
        """What a computation makes; what it says of its cost is counted, also where it fails."""
        try:
            return await computing
        finally:
            if told.cost_usd is not None or told.tokens is not None:
                self.spend(told.cost_usd, told.tokens)

    def joined(self, seconds: float, times: int = 1) -> None:
        """So many calls have waited for what others were computing, which took that many seconds in all."""
        self.far_hits += times
        self.waited += times
        self.seconds_saved += seconds

    def found(self, layer: str, seconds: float) -> None:
        """A call was answered by what a layer held, or memory on a second thought."""
        self.far_hits += 1
        self.redis_hits += layer == "redis"
        self.file_hits += layer == "file"
        self.seconds_saved += seconds


class Tallies:
    """The tallies of one cache, by series."""

    def __init__(self) -> None:
        self._by_series: dict[Series, Tally] = {}

    def of(self, domain: _Row) -> Tally:
        """The tally of a domain's row, begun when it is first asked for."""
        return self._by_series.get(domain.series) or self._begin(domain)

    def _begin(self, domain: _Row) -> Tally:
        series = domain.series
        if len(self._by_series) >= _MOST:
            series = Series(series.domain)
        return self._by_series.setdefault(series, Tally(domain.cost_usd, domain.cost_tokens, series))

    def all(self) -> list[Tally]:
        """Every tally."""
        return list(self._by_series.values())

    def by_domain(self) -> dict[str, list[Tally]]:
        """Every tally, by the name of its domain."""
        domains: dict[str, list[Tally]] = {}
        for tally in self.all():
            domains.setdefault(tally.series.domain, []).append(tally)
        return domains


class LayerTally:
    """The running counts of one layer."""

    __slots__ = ("faults", "hits", "latency", "misses", "refused", "rejected", "writes")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.writes = 0
        self.faults = 0
        self.refused = 0
        self.rejected = 0
        self.latency = Histogram()


class DispatchTally(Fields):
    """The running counts of requests that run once; `DispatchStats` says what each one counts."""

    executions: int = 0
    replays: int = 0
    joins: int = 0
    failures: int = 0
    timeouts: int = 0
    takeovers: int = 0
    leases_lost: int = 0
    duplicates: int = 0
    mismatches: int = 0
    degraded: int = 0
    seconds_saved: float = 0.0
    cost_usd: float = 0.0
    tokens: int = 0
    cost_usd_saved: float = 0.0
    tokens_saved: int = 0

    def spent(self, *, cost_usd: float = 0.0, tokens: int = 0) -> None:
        """What a run here reported of its cost."""
        self.cost_usd += cost_usd
        self.tokens += tokens

    def replayed(self, seconds: float, *, cost_usd: float = 0.0, tokens: int = 0) -> None:
        """A call was answered from a record, and need not spend again what its run took."""
        self.replays += 1
        self.seconds_saved += seconds
        self.cost_usd_saved += cost_usd
        self.tokens_saved += tokens
