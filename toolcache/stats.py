"""Statistics: frozen snapshots of what is counted."""

from collections.abc import Mapping

from toolcache.fields import Frozen, each
from toolcache.tiers import Tier


class Latency(Frozen):
    """Quantiles of ``count`` latencies, in seconds, to about ±10 %; ``longest`` is exact."""

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    longest: float


class DomainStats(Frozen):
    """One domain since the cache was made.

    ``dollars_saved`` and ``tokens_saved`` are hits × the domain's unit costs or, where it has none, × the mean of what
    computations said that they cost, in all ``dollars_spent`` and ``tokens_spent`` (where they told tokens alone, at the price of
    the model, if the cache knows it); what replays of runs saved is told in ``DispatchStats``; ``seconds_saved`` is what computing
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
