"""Totals: what a cache has counted since it was made, and what has come since it was last looked at."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from toolcache.events import BreakerChanged
from toolcache.layer import Layer
from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.metrics.snapshot import Snapshot
from toolcache.parts import Parts
from toolcache.protocols import SupportsUsage
from toolcache.series import Series
from toolcache.tallies import DispatchTally, LayerTally, Tallies, Tally


class Totals:
    """The counts of one cache since it was made.

    Args:
        parts: the cache's parts.
        tallies: by series.
        memory: of memory.
        dispatch: of requests that run once.
    """

    def __init__(self, parts: Parts, tallies: Tallies, memory: LayerTally, dispatch: DispatchTally) -> None:
        self._parts = parts
        self._tallies = tallies
        self._memory = memory
        self._dispatch = dispatch
        self._known: dict[Series, tuple[tuple[Any, ...], Counts]] = {}
        self._opened: dict[str, int] = {}
        self._down: dict[str, float] = {}
        self._looked_at: float | None = None
        self.began_at = parts.clock.time()
        parts.announce.subscribe(self._note)

    def tallies(self) -> list[Tally]:
        """The running counts of each series."""
        return self._tallies.all()

    def __call__(self) -> Snapshot:
        """All that was counted so far."""
        tallies = self._tallies.all()
        return self.of(tallies)._replace(layers=self._layers(tallies), dispatch=self._dispatched())

    def besides(self) -> Snapshot:
        """The same without the series."""
        return self.of(())._replace(layers=self._layers(self._tallies.all()), dispatch=self._dispatched())

    def of(self, tallies: Sequence[Tally]) -> Snapshot:
        """What was counted in some series; what has not changed since the last time is not made anew."""
        series: dict[Series, Counts] = {}
        for tally in tallies:
            mark = _mark(tally, self._parts.memory.share(tally).evictions)
            known = self._known.get(tally.series)
            if known is None or known[0] != mark:  # together: another thread may be doing the same
                known = self._known[tally.series] = mark, _counts(tally, mark[-1])
            series[tally.series] = known[1]
        return Snapshot(
            since=self.began_at,
            until=self._parts.clock.time(),
            series=series,
            unit_usd={tally.series: tally.cost_usd for tally in tallies if tally.cost_usd},
            unit_tokens={tally.series: tally.cost_tokens for tally in tallies if tally.cost_tokens},
        )

    def look(self) -> None:
        """Note how long remote layers could not be used since the last look."""
        now = self._parts.clock.monotonic()
        passed = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        for layer in self._remote():
            if state_of(layer) not in {"closed", "forced_closed"}:
                self._down[layer.name] = self._down.get(layer.name, 0.0) + passed

    def _remote(self) -> list[Layer]:
        return [layer for layer in (self._parts.redis, self._parts.files) if layer is not None]

    def _dispatched(self) -> DispatchCounts:
        return DispatchCounts(**vars(self._dispatch))

    def _layers(self, tallies: list[Tally]) -> dict[str, LayerCounts]:
        memory = self._parts.memory
        self._memory.hits = sum(tally.hits for tally in tallies)
        self._memory.writes = memory.writes
        layers = {"memory": _layer_counts(self._memory, evictions=memory.evictions)}
        for layer in self._remote():
            usage = layer.store.usage() if isinstance(layer.store, SupportsUsage) else None
            layers[layer.name] = _layer_counts(
                layer.tally,
                evictions=0 if usage is None else usage.evictions,
                opened=self._opened.get(layer.name, 0),
                down_seconds=self._down.get(layer.name, 0.0),
            )
        return layers

    def _note(self, event: Any) -> None:
        if isinstance(event, BreakerChanged) and event.before == "closed":
            name = event.name.partition(".")[0]
            self._opened[name] = self._opened.get(name, 0) + 1


_WORST_FIRST: Final = ("shut", "forced_open", "open", "half_open", "forced_closed")


def state_of(layer: Layer) -> str:
    """The state of a layer's breakers: the worse of them, where reads and writes have one each."""
    states = {layer.guard.breaker.state.value}
    if layer.guard.write_breaker is not None:
        states.add(layer.guard.write_breaker.state.value)
    return next((state for state in _WORST_FIRST if state in states), "closed")


def _mark(tally: Tally, evictions: int) -> tuple[Any, ...]:
    """What tells that a tally has changed, at less cost than its counts."""
    return (
        *(tally.hits, tally.far_hits, tally.misses, tally.stale, tally.sets, tally.deletes, tally.computed),
        *(tally.refreshed, tally.bypassed, tally.not_stored, tally.told, tally.latency.count, tally.sampled.count),
        evictions,
    )


def _counts(tally: Tally, evictions: int) -> Counts:
    elsewhere = tally.redis_hits + tally.file_hits + tally.waited + tally.replayed
    return Counts(
        hits_memory=tally.hits + tally.far_hits - elsewhere,
        hits_redis=tally.redis_hits,
        hits_file=tally.file_hits,
        hits_waited=tally.waited,
        hits_replayed=tally.replayed,
        misses=tally.misses,
        stale=tally.stale,
        refreshed=tally.refreshed,
        bypassed=tally.bypassed,
        sets=tally.sets,
        deletes=tally.deletes,
        computed=tally.computed,
        compute_seconds=tally.compute_seconds,
        not_stored=tally.not_stored,
        evictions=evictions,
        seconds_saved=tally.seconds_saved,
        told=tally.told,
        dollars_spent=tally.spent_usd,
        tokens_spent=tally.spent_tokens,
        priced=tally.priced,
        metered=tally.metered,
        unpriced_tokens=tally.unpriced_tokens,
        latency=tally.latency.spread(),
        sampled=tally.sampled.spread(),
    )


def _layer_counts(tally: LayerTally, **more: Any) -> LayerCounts:
    names = ("hits", "misses", "writes", "faults", "refused", "rejected")
    return LayerCounts(**{name: getattr(tally, name) for name in names}, latency=tally.latency.spread(), **more)


def since(now: Snapshot, before: Snapshot) -> Snapshot | None:
    """What has come from one look to the next, of all that ``now`` tells; None for nothing."""
    series = _changed(now.series, before.series)
    layers = _changed(now.layers, before.layers)
    dispatch = now.dispatch - before.dispatch
    if not (series or layers or dispatch != DispatchCounts()):
        return None
    return now._replace(since=before.until, series=series, layers=layers, dispatch=dispatch)


def _changed(now: Mapping[Any, Any], before: Mapping[Any, Any]) -> dict[Any, Any]:
    return {
        name: counts if name not in before else counts - before[name]
        for name, counts in now.items()
        if counts is not before.get(name) and counts != before.get(name, type(counts)())
    }
