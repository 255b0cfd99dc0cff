"""Counters in, frozen snapshots out."""

import math
from collections.abc import Mapping
from typing import Final, Protocol

from toolcache.fields import Fields, Frozen, each
from toolcache.tiers import Tier

_BASE: Final = 1e-7
_PER_DOUBLING: Final = 4
_BUCKETS: Final = 128


class _Row(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def cost_usd(self) -> float: ...
    @property
    def cost_tokens(self) -> float: ...


class Histogram:
    """Latencies in buckets of a quarter doubling, from 0.1 µs up: quantiles to about ±10 %, in constant memory."""

    __slots__ = ("_counts", "count", "longest")

    def __init__(self) -> None:
        self._counts = [0.0] * _BUCKETS
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a latency, met ``times`` times (at least once)."""
        bucket = int(math.log2(seconds / _BASE) * _PER_DOUBLING) if seconds > _BASE else 0
        self._counts[bucket if bucket < _BUCKETS else -1] += times
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

    def snapshot(self) -> "Latency":
        """The quantiles so far."""
        return Latency(self.count, self._quantile(0.5), self._quantile(0.9), self._quantile(0.99), self.longest)

    def _quantile(self, share: float) -> float:
        wanted = share * self.count
        seen = 0.0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(_BASE * 2 ** ((bucket + 0.5) / _PER_DOUBLING), self.longest)
        return 0.0


class Tally:
    """The running counts of one domain. ``hits`` and ``seconds_saved`` are raised on the hit path.

    ``hits`` are those of memory, of whose latencies ``sampled`` has a few; ``latency`` has those of all other calls.
    """

    __slots__ = (
        "compute_seconds",
        "computed",
        "cost_tokens",
        "cost_usd",
        "deletes",
        "far_hits",
        "hits",
        "latency",
        "misses",
        "not_stored",
        "sampled",
        "seconds_saved",
        "sets",
        "spent_tokens",
        "spent_usd",
        "stale",
        "told",
    )

    def __init__(self, cost_usd: float = 0.0, cost_tokens: float = 0.0) -> None:
        self.cost_usd = cost_usd
        self.cost_tokens = cost_tokens
        self.told = 0
        self.spent_usd = self.spent_tokens = 0.0
        self.hits = 0
        self.far_hits = 0
        self.misses = 0
        self.sets = 0
        self.stale = 0
        self.deletes = 0
        self.computed = 0
        self.compute_seconds = 0.0
        self.not_stored = 0
        self.seconds_saved = 0.0
        self.latency = Histogram()
        self.sampled = Histogram()

    def spend(self, usd: float, tokens: float) -> None:
        """A computation has told what it cost."""
        self.told += 1
        self.spent_usd += usd
        self.spent_tokens += tokens

    def found_after_all(self, seconds: float) -> None:
        """What had been counted as a miss was being computed elsewhere, in that many seconds."""
        self.misses -= 1
        self.far_hits += 1
        self.seconds_saved += seconds

    def snapshot(self, *, entries: int = 0, size: int = 0, evictions: int = 0) -> "DomainStats":
        """The counts so far, with what only memory knows."""
        hits, told = self.hits + self.far_hits, self.told or 1
        return DomainStats(
            hits=hits,
            misses=self.misses,
            hit_rate=_rate(hits, self.misses),
            sets=self.sets,
            deletes=self.deletes,
            computed=self.computed,
            compute_seconds=self.compute_seconds,
            not_stored=self.not_stored,
            seconds_saved=self.seconds_saved,
            dollars_saved=hits * (self.cost_usd or self.spent_usd / told),
            tokens_saved=hits * (self.cost_tokens or self.spent_tokens / told),
            dollars_spent=self.spent_usd,
            tokens_spent=self.spent_tokens,
            stale=self.stale,
            entries=entries,
            bytes=size,
            evictions=evictions,
            latency=self.latency.beside(self.sampled, self.hits).snapshot(),
        )


class Tallies:
    """The tallies of one cache, by domain."""

    def __init__(self) -> None:
        self._by_name: dict[str, Tally] = {}

    def of(self, domain: _Row) -> Tally:
        """The tally of a domain, begun when it is first asked for."""
        tally = self._by_name.get(domain.name)
        if tally is None:
            tally = self._by_name.setdefault(domain.name, Tally(domain.cost_usd, domain.cost_tokens))
        return tally

    def all(self) -> dict[str, Tally]:
        """Every tally, by the name of its domain."""
        return dict(self._by_name)


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

    def snapshot(self, *, entries: int | None = None, size: int | None = None, evictions: int = 0) -> "LayerStats":
        """The counts so far, with what only the store knows."""
        return LayerStats(
            hits=self.hits,
            misses=self.misses,
            hit_rate=_rate(self.hits, self.misses),
            writes=self.writes,
            faults=self.faults,
            refused=self.refused,
            rejected=self.rejected,
            entries=entries,
            bytes=size,
            evictions=evictions,
            latency=self.latency.snapshot(),
        )


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

    def snapshot(self) -> "DispatchStats":
        """The counts so far."""
        return DispatchStats(**vars(self))


def _rate(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0


class Latency(Frozen):
    """Quantiles of ``count`` latencies, in seconds, to about ±10 %; ``longest`` is exact."""

    count: int
    p50: float
    p90: float
    p99: float
    longest: float


class DomainStats(Frozen):
    """One domain since the cache was made.

    ``dollars_saved`` and ``tokens_saved`` are hits × the domain's unit costs or, where it has none, × the mean of what
    computations said that they cost, in all ``dollars_spent`` and ``tokens_spent``; ``seconds_saved`` is what computing
    the values took that the hits did not. A call that waited for the computation of another is a hit. ``stale`` are calls
    that were answered by a value past its time, which stood in for one that could not be computed, or not in time.
    ``entries``, ``bytes`` and ``evictions`` are memory's. ``latency`` is of whole calls that read or compute, one for each key that was answered: hits of memory
    are sampled, one in 1,024 from the first on, and count as many as they were.
    """

    hits: int
    misses: int
    hit_rate: float
    sets: int
    deletes: int
    computed: int
    compute_seconds: float
    not_stored: int
    seconds_saved: float
    dollars_saved: float
    tokens_saved: float
    dollars_spent: float
    tokens_spent: float
    stale: int
    entries: int
    bytes: int
    evictions: int
    latency: Latency


class LayerStats(Frozen):
    """One layer since the cache was made.

    ``writes`` of memory are the entries it took in, those found in other layers included. ``faults`` are operations
    that failed, ``refused`` those the breaker spared, ``rejected`` blobs that could not be used. ``entries`` and
    ``bytes`` are None where the store would have to be asked: of Redis, and of files not used yet. Those of files are
    the directory's, whoever wrote them, deleted keys included for a while; its ``evictions`` are by this process.
    Latencies are of whole operations; those of memory are sampled, of each domain one hit in 1,024 from the first on.
    """

    hits: int
    misses: int
    hit_rate: float
    writes: int
    faults: int
    refused: int
    rejected: int
    entries: int | None
    bytes: int | None
    evictions: int
    latency: Latency


class DispatchStats(Frozen):
    """Requests that run once (``dispatch_agents``, ``once``, ``@idempotent``), as this cache object saw them.

    Attributes:
        executions: runs that began here; ``takeovers`` of them after another process had died or stalled.
        replays: calls that were answered from a record.
        joins: calls that waited for a run in progress, in this process or another.
        failures: runs here that raised; ``timeouts``, apart from those, took too long.
        leases_lost: runs that could not keep their claim.
        duplicates: runs that ended when another answer was there, which was kept.
        mismatches: idempotency keys that came again to ask for something else.
        degraded: requests that went on without a layer that is configured.
        seconds_saved: what the runs had taken whose answers were replayed; so ``cost_usd_saved``, ``tokens_saved``.
        cost_usd: what runs here have reported, in US dollars, failed ones included; so ``tokens``.
    """

    executions: int
    replays: int
    joins: int
    failures: int
    timeouts: int
    takeovers: int
    leases_lost: int
    duplicates: int
    mismatches: int
    degraded: int
    seconds_saved: float
    cost_usd: float
    tokens: int
    cost_usd_saved: float
    tokens_saved: int


class Stats(Frozen):
    """A cache's counts since it was made; ``layers`` by "memory", "redis", "file", ``domains`` by their names.

    ``entries``, ``bytes``, ``evictions`` and ``expirations`` are memory's.
    ``pending`` are writes of this host that Redis has not taken yet, ``replayed`` those that it was told of since.
    ``dispatch`` is of requests that run once; what they save is told there, and is not in ``dollars_saved``.
    ``strategy`` says what leaves memory first; ``tiers`` what is in each where it is "tiered", from "hot" down.
    """

    hits: int
    misses: int
    hit_rate: float
    entries: int
    bytes: int
    evictions: int
    expirations: int
    computed: int
    seconds_saved: float
    dollars_saved: float
    tokens_saved: float
    layers: Mapping[str, LayerStats]
    domains: Mapping[str, DomainStats]
    pending: int
    replayed: int
    dispatch: DispatchStats
    strategy: str = "adaptive"
    tiers: Mapping[str, Tier] = each(factory=dict)


class LayerHealth(Frozen):
    """One remote layer: ``usable`` as just tried (None if not tried), the breaker's state, and how much is held.

    ``where`` is Redis' address without its password, or the directory. ``latency`` is that of the read just made.
    """

    usable: bool | None
    where: str
    breaker: str
    write_breaker: str | None
    last_fault: str
    entries: int | None
    latency: float | None


class Health(Frozen):
    """Whether a cache works as configured.

    ``status`` is "ok", or "degraded" when a configured layer cannot be used, or only be read: the others stand in.
    ``pending`` are writes of this host that Redis has not taken yet, the oldest of them made at ``oldest_pending_at``,
    in seconds since the epoch. ``domains`` are those that were used, or asked for.

    ``coherence`` says how memory learns what other processes have written through Redis: by "tracking" (Redis tells
    it), "timed" (it asks every 5 s), or "off" where no Redis is configured. ``heard_at`` is when the server last gave
    word, in seconds since the epoch; None if it has not yet.
    """

    status: str
    namespace: str
    enabled: bool
    fallback: bool
    memory_entries: int
    memory_bytes: int
    redis: LayerHealth | None
    files: LayerHealth | None
    pending: int
    oldest_pending_at: float | None
    coherence: str = "off"
    heard_at: float | None = None
    domains: tuple[str, ...] = ()
