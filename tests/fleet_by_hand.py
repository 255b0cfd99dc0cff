"""Numbers made by hand, of a fleet that has had a morning: what the views are looked at with."""

from datetime import datetime
from typing import Final

from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.series import Series
from toolcache.spread import Spread

BEGAN: Final = datetime(2026, 11, 21, 15, 0).astimezone().timestamp()
EMBEDDING: Final = Series("embedding", model="small")
SEARCH: Final = Series("search", agent="faq")
TOOL: Final = Series("tool", tool="web_search")
OWN: Final = Series("general")


def point(minute: int) -> Snapshot:
    """One minute; Redis was away in the 31st and 32nd."""
    away = minute in {31, 32}
    hits = 900 + 10 * minute
    series = {
        EMBEDDING: Counts(
            hits_memory=hits,
            hits_redis=0 if away else 90,
            hits_waited=3,
            misses=20 + (400 if away else 0),
            computed=20,
            compute_seconds=4.0,
            seconds_saved=190.0,
            sets=20,
            evictions=minute % 3,
            latency=Spread({52: 80, 60: 20}, 0.004),
            sampled=Spread({14: 4}, 2e-6),
        ),
        SEARCH: Counts(hits_memory=40 if minute > 10 else 0, misses=30, stale=1, computed=30, compute_seconds=12.0),
        OWN: Counts(hits_file=5, misses=1, computed=1) if minute % 4 == 0 else Counts(),
    }
    if minute == 5:
        series[TOOL] = Counts(hits_memory=7, misses=3, bypassed=2, computed=3, not_stored=1)
    layers = {
        "memory": LayerCounts(hits=hits, misses=140, writes=50, evictions=minute % 3, latency=Spread({14: 4}, 2e-6)),
        "redis": LayerCounts(
            hits=90,
            misses=50,
            writes=50,
            faults=5 if minute == 31 else 0,
            refused=200 if away else 0,
            opened=3 if minute == 31 else 0,
            down_seconds=90.0 if away else 0.0,
            latency=Spread({50: 100}, 0.002),
        ),
        "file": LayerCounts(hits=5, misses=2, writes=50 if away else 0, latency=Spread({46: 7}, 0.0006)),
    }
    since = BEGAN + 60 * minute
    return Snapshot(since, since + 60, series=series, layers=layers, dispatch=DispatchCounts(executions=2, replays=11))


def metrics(minutes: int = 60, *, complete: bool = True, processes: int = 3) -> Metrics:
    """An hour of them."""
    points = tuple(point(minute) for minute in range(minutes))
    series: dict[Series, Counts] = {}
    layers: dict[str, LayerCounts] = {}
    for one in points:
        for key, counts in one.series.items():
            series[key] = series.get(key, Counts()) + counts
        for name, layer in one.layers.items():
            layers[name] = layers.get(name, LayerCounts()) + layer
    until = BEGAN + 60 * minutes
    return Metrics(
        since=BEGAN,
        until=until,
        series=series,
        layers=layers,
        dispatch=DispatchCounts.sum(one.dispatch for one in points),
        step=60.0,
        points=points,
        processes=tuple(process(number, until) for number in range(processes)),
        complete=complete,
    )


def process(number: int, until: float) -> Process:
    """One of them; the second one's breaker is open."""
    return Process(
        owner=f"{number:016x}",
        host="worker-1.example",
        pid=4000 + number,
        began_at=BEGAN - 3600 * number,
        seen_at=until - number,
        entries=1000 * (number + 1),
        bytes=20_000_000 * (number + 1),
        max_bytes=64 << 20,
        pending=4 if number == 1 else 0,
        coherence="timed" if number == 1 else "tracking",
        breakers={"redis": "open" if number == 1 else "closed", "file": "closed"},
    )
