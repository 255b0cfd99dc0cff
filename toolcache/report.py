"""What a cache says of itself: ``stats()`` from counters, ``health()`` by trying."""

from functools import partial

from toolcache.bus import Bus
from toolcache.journal import Journal
from toolcache.keys.text import store_key
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import SupportsCount, SupportsUsage
from toolcache.stats import (
    DispatchTally,
    DomainStats,
    Health,
    LayerHealth,
    LayerStats,
    LayerTally,
    Stats,
    Tallies,
    Tally,
)


def stats(
    parts: Parts,
    tallies: Tallies,
    memory_tally: LayerTally,
    journal: Journal,
    dispatch_tally: DispatchTally | None = None,
) -> Stats:
    """A snapshot of every counter."""
    domains = {name: _domain(parts, tally) for name, tally in tallies.all().items()}
    memory_tally.writes = parts.memory.writes
    memory_tally.hits = sum(tally.hits for tally in tallies.all().values())
    layers = {
        "memory": memory_tally.snapshot(
            entries=len(parts.memory), size=parts.memory.bytes, evictions=parts.memory.evictions
        )
    }
    for layer in (parts.redis, parts.files):
        if layer is not None:
            layers[layer.name] = _layer(layer)
    hits, misses = (sum(getattr(row, name) for row in domains.values()) for name in ("hits", "misses"))
    return Stats(
        hits=hits,
        misses=misses,
        hit_rate=hits / (hits + misses) if hits + misses else 0.0,
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
        dispatch=(dispatch_tally or DispatchTally()).snapshot(),
        strategy=parts.memory.strategy,
        tiers=parts.memory.tiers(),
    )


def _domain(parts: Parts, tally: Tally) -> DomainStats:
    share = parts.memory.share(tally)
    return tally.snapshot(entries=share.entries, size=share.bytes, evictions=share.evictions)


def _layer(layer: Layer) -> LayerStats:
    usage = layer.store.usage() if isinstance(layer.store, SupportsUsage) else None
    if usage is None:
        return layer.tally.snapshot()
    return layer.tally.snapshot(entries=usage.entries, size=usage.bytes, evictions=usage.evictions)


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
        domains=tuple(tallies.all()),
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
