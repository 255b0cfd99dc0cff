"""What a cache says of itself: ``stats()`` from counters, ``health()`` by trying."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from toolcache.bus import Bus
from toolcache.journal import Journal
from toolcache.keys.text import store_key
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import SupportsCount, SupportsUsage
from toolcache.stats import DispatchStats, DomainStats, Health, Latency, LayerHealth, LayerStats, Stats
from toolcache.tallies import DispatchTally, Histogram, LayerTally, Tallies, Tally


def stats(
    parts: Parts,
    tallies: Tallies,
    memory_tally: LayerTally,
    journal: Journal,
    dispatch_tally: DispatchTally | None = None,
) -> Stats:
    """A snapshot of every counter."""
    domains = {name: _domain(parts, rows) for name, rows in tallies.by_domain().items()}
    memory_tally.writes = parts.memory.writes
    memory_tally.hits = sum(tally.hits for tally in tallies.all())
    layers = {
        "memory": _layer_stats(memory_tally, len(parts.memory), parts.memory.bytes, parts.memory.evictions),
    }
    for layer in (parts.redis, parts.files):
        if layer is not None:
            layers[layer.name] = _layer(layer)
    hits, misses = (sum(getattr(row, name) for row in domains.values()) for name in ("hits", "misses"))
    return Stats(
        hits=hits,
        misses=misses,
        hit_rate=_rate(hits, misses),
        entries=len(parts.memory),
        bytes=parts.memory.bytes,
        evictions=parts.memory.evictions,
        expirations=parts.memory.expirations,
        computed=sum(row.computed for row in domains.values()),
        seconds_saved=sum(row.seconds_saved for row in domains.values()),
        dollars_saved=sum(row.dollars_saved for row in domains.values()),
        tokens_saved=sum(row.tokens_saved for row in domains.values()),
        layers=layers,
        domains=domains,
        pending=journal.pending,
        replayed=journal.replayed,
        dispatch=DispatchStats(**vars(dispatch_tally or DispatchTally())),
        strategy=parts.memory.strategy,
        tiers=parts.memory.tiers(),
    )


def _domain(parts: Parts, tallies: Sequence[Tally]) -> DomainStats:
    """The counts of all series of a domain, with what only memory knows."""
    shares = [parts.memory.share(tally) for tally in tallies]
    latency = Histogram()
    for tally in tallies:
        latency = latency.plus(tally.latency.beside(tally.sampled, tally.hits))
    saved = [(tally.hits + tally.far_hits - tally.replayed, tally) for tally in tallies]

    def total(name: str) -> Any:
        return sum(getattr(tally, name) for tally in tallies)

    hits, misses = total("hits") + total("far_hits"), total("misses")
    return DomainStats(
        hits=hits,
        misses=misses,
        hit_rate=_rate(hits, misses),
        sets=total("sets"),
        deletes=total("deletes"),
        computed=total("computed"),
        compute_seconds=total("compute_seconds"),
        not_stored=total("not_stored"),
        seconds_saved=total("seconds_saved"),
        dollars_saved=sum(hits * tally.unit_usd(parts.prices.get(tally.series.model)) for hits, tally in saved),
        tokens_saved=sum(hits * tally.unit_tokens for hits, tally in saved),
        dollars_spent=total("spent_usd"),
        tokens_spent=total("spent_tokens"),
        stale=total("stale"),
        entries=sum(share.entries for share in shares),
        bytes=sum(share.bytes for share in shares),
        evictions=sum(share.evictions for share in shares),
        latency=latency_of(latency),
    )


def latency_of(histogram: Histogram) -> Latency:
    """The quantiles so far."""
    p50, p90, p95, p99 = map(histogram.quantile, (0.5, 0.9, 0.95, 0.99))
    return Latency(histogram.count, p50, p90, p95, p99, histogram.longest)


def _layer(layer: Layer) -> LayerStats:
    usage = layer.store.usage() if isinstance(layer.store, SupportsUsage) else None
    return _layer_stats(layer.tally) if usage is None else _layer_stats(layer.tally, *usage)


def _layer_stats(
    tally: LayerTally, entries: int | None = None, size: int | None = None, evictions: int = 0
) -> LayerStats:
    """The counts so far, with what only the store knows."""
    return LayerStats(
        hits=tally.hits,
        misses=tally.misses,
        hit_rate=_rate(tally.hits, tally.misses),
        writes=tally.writes,
        faults=tally.faults,
        refused=tally.refused,
        rejected=tally.rejected,
        entries=entries,
        bytes=size,
        evictions=evictions,
        latency=latency_of(tally.latency),
    )


def _rate(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0


async def health(parts: Parts, tallies: Tallies, journal: Journal, bus: Bus, *, probe: bool) -> Health:
    """Whether each configured layer answers."""
    redis = await _layer_health(parts, parts.redis, parts.where_redis, probe=probe) if parts.redis else None
    files = await _layer_health(parts, parts.files, parts.where_files, probe=probe) if parts.files else None
    well = all(map(_well, filter(None, (redis, files))))
    return Health(
        status="ok" if well else "degraded",
        namespace=parts.namespace,
        enabled=parts.enabled,
        fallback=parts.redis is not None and parts.files is not None,
        memory_entries=len(parts.memory),
        memory_bytes=parts.memory.bytes,
        redis=redis,
        files=files,
        pending=journal.pending,
        oldest_pending_at=journal.oldest(),
        coherence=bus.state,
        domains=tuple(tallies.by_domain()),
        heard_at=bus.heard_at,
    )


def _well(layer: LayerHealth) -> bool:
    return layer.usable is not False and layer.breaker == "closed" and layer.write_breaker in {None, "closed"}


async def _layer_health(parts: Parts, layer: Layer, where: str, *, probe: bool) -> LayerHealth:
    usable: bool | None = None
    latency: float | None = None
    entries: int | None = None
    if probe:
        begun = parts.clock.monotonic()
        usable = await layer.read([store_key("v", parts.namespace, "health")]) is not None
        latency = parts.clock.monotonic() - begun if usable else None
        if usable and isinstance(layer.store, SupportsCount):
            entries = await layer.ask(partial(_count, layer.store))
    guard = layer.guard
    return LayerHealth(
        usable=usable,
        where=where,
        breaker=guard.breaker.state.value,
        write_breaker=guard.write_breaker.state.value if guard.write_breaker else None,
        last_fault=guard.last_fault,
        entries=entries,
        latency=latency,
    )


async def _count(store: SupportsCount) -> int | None:
    try:
        return await store.count()
    except Exception:  # noqa: BLE001 - a user who may not count may still read and write: no fault of the layer
        return None
