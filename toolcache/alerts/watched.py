"""What alerts can watch: names, and how each is read off what a fleet has counted."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Metrics
from toolcache.spread import Spread

Unit: TypeAlias = Literal["number", "share", "seconds", "dollars"]


class Watched(NamedTuple):
    """One thing to watch.

    Attributes:
        unit: what its threshold is in.
        of_series: read off the sum of the series that a rule means; None where series do not count it.
        of_layer: read off the sum of the layers that it means.
        of_fleet: read off everything; given the layer that a rule names, or "".
        adds_up: whether a part of the counts never comes to more than the whole. Where counts are missing, what is
            above a threshold already is above it all the more; of a share or a quantile nothing is known then.
    """

    unit: Unit = "number"
    of_series: Callable[[Counts], float] | None = None
    of_layer: Callable[[LayerCounts], float] | None = None
    of_fleet: Callable[[Metrics, str], float] | None = None
    adds_up: bool = True

    @property
    def is_of_calls(self) -> bool:
        """Whether it is a share or a quantile of calls, which few calls say nothing of."""
        return not self.adds_up


def _miss_rate(counts: Counts | LayerCounts) -> float:
    return 1.0 - counts.hit_rate if counts.hits + counts.misses else 0.0


def _stale_rate(counts: Counts) -> float:
    calls = counts.hits + counts.misses
    return counts.stale / calls if calls else 0.0


def _quantile(read: Callable[[Spread], float]) -> Watched:
    return Watched("seconds", lambda counts: read(counts.times), lambda layer: read(layer.latency), adds_up=False)


def _series(name: str, unit: Unit = "number") -> Watched:
    return Watched(unit, lambda counts: float(getattr(counts, name)))


def _layer(name: str, unit: Unit = "number") -> Watched:
    return Watched(unit, of_layer=lambda layer: float(getattr(layer, name)))


def _either(name: str) -> Watched:
    return Watched("number", lambda counts: float(getattr(counts, name)), lambda layer: float(getattr(layer, name)))


def _dispatch(name: str) -> Watched:
    return Watched(of_fleet=lambda metrics, _: float(getattr(metrics.dispatch, name)))


def _pending(metrics: Metrics, _: str) -> float:
    """Each process tells what its whole host owes: of those of a host, the last one seen knows best."""
    hosts: dict[str, tuple[float, int]] = {}
    for one in metrics.processes:
        hosts[one.host] = max(hosts.get(one.host, (0.0, 0)), (one.seen_at, one.pending))
    return float(sum(pending for _, pending in hosts.values()))


def _memory_share(metrics: Metrics, _: str) -> float:
    return max((one.bytes / one.max_bytes for one in metrics.processes if one.max_bytes), default=0.0)


def _breakers_open(metrics: Metrics, layer: str) -> float:
    """How many processes have one that is not closed."""
    return float(
        sum(
            any(
                state != "closed"
                for name, state in one.breakers.items()
                if name.partition(".")[0] == layer or not layer
            )
            for one in metrics.processes
        )
    )


METRICS: Final[Mapping[str, Watched]] = MappingProxyType(
    {
        "calls": Watched("number", lambda counts: counts.hits + counts.misses),
        "calls_per_second": Watched("number", lambda counts: counts.hits + counts.misses),
        "hits": _either("hits"),
        "misses": _either("misses"),
        "hit_rate": Watched("share", lambda counts: counts.hit_rate, lambda layer: layer.hit_rate, adds_up=False),
        "miss_rate": Watched("share", _miss_rate, _miss_rate, adds_up=False),
        "stale": _series("stale"),
        "stale_rate": Watched("share", _stale_rate, adds_up=False),
        "refreshed": _series("refreshed"),
        "bypassed": _series("bypassed"),
        "sets": _series("sets"),
        "deletes": _series("deletes"),
        "computed": _series("computed"),
        "compute_seconds": _series("compute_seconds", "seconds"),
        "not_stored": _series("not_stored"),
        "evictions": _either("evictions"),
        "seconds_saved": _series("seconds_saved", "seconds"),
        "dollars_spent": _series("dollars_spent", "dollars"),
        "tokens_spent": _series("tokens_spent"),
        "latency_p50": _quantile(lambda spread: spread.p50),
        "latency_p95": _quantile(lambda spread: spread.p95),
        "latency_p99": _quantile(lambda spread: spread.p99),
        "writes": _layer("writes"),
        "faults": _layer("faults"),
        "refused": _layer("refused"),
        "rejected": _layer("rejected"),
        "breaker_opened": _layer("opened"),
        "down_seconds": _layer("down_seconds", "seconds"),
        "breakers_open": Watched(of_fleet=_breakers_open),
        "pending": Watched(of_fleet=_pending),
        "memory_share": Watched("share", of_fleet=_memory_share),
        "processes": Watched(of_fleet=lambda metrics, _: float(len(metrics.processes))),
        "dispatch_failures": _dispatch("failures"),
        "dispatch_timeouts": _dispatch("timeouts"),
        "dispatch_takeovers": _dispatch("takeovers"),
        "dispatch_duplicates": _dispatch("duplicates"),
        "dispatch_degraded": _dispatch("degraded"),
    }
)

RATES: Final = frozenset({"calls_per_second"})
"""Those that are divided by the seconds of the window."""

ALIASES: Final = MappingProxyType(
    {
        "errors": "faults",
        "opened": "breaker_opened",
        "p50": "latency_p50",
        "p95": "latency_p95",
        "p99": "latency_p99",
        "cost": "dollars_spent",
        "memory_usage": "memory_share",
    }
)


def metric_of(name: str) -> str:
    """The name of a metric as the table has it: ``cache_hit_rate`` is ``hit_rate``, ``errors`` are ``faults``."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_").removeprefix("cache_")
    return ALIASES.get(plain, plain)
