"""Views of what a fleet has counted: pure functions from ``Metrics`` to what a screen shows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from rich.console import RenderableType
from rich.text import Text

from toolcache.cli.charts import bar, groups, sparkline
from toolcache.cli.figures import ago, count, percent, size, span
from toolcache.cli.screen import ACCENT, BAD, DIM, GOOD, WARN, Cell, Column, fields, heading, shown, styled, table
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Label, Metrics, Process, Snapshot

SPARKS: Final = 16
"""Letters of a sparkline in a table, where there is room twice as many."""
MOST: Final = 12
"""Rows of a table; the rest is told in a line."""
WIDE: Final = 100
"""From so many columns on there is that room."""
RECENT: Final = 15.0
"""Seconds; a process that counts nothing for so long may have ended."""
_GOOD: Final = 0.8
_FAIR: Final = 0.5
_LAYERS: Final = {"memory": "memory", "redis": "Redis", "file": "files"}
_WORST: Final = ("open", "half_open", "closed")
_DAY: Final = 86_400


class Outage(NamedTuple):
    """A while in which a layer could not be used, to the step; ``seconds`` are those of all processes together."""

    layer: str
    since: float
    until: float
    seconds: float


def outages(metrics: Metrics) -> list[Outage]:
    """When which layer could not be used, oldest first; neighbouring steps are one outage."""
    found: list[Outage] = []
    for point in metrics.points:
        for name, layer in point.layers.items():
            if not layer.down_seconds and not layer.opened:
                continue
            place = next((at for at, one in enumerate(found) if one.layer == name and one.until >= point.since), None)
            if place is None:
                found.append(Outage(name, point.since, point.until, layer.down_seconds))
            else:
                one = found[place]
                found[place] = one._replace(until=point.until, seconds=one.seconds + layer.down_seconds)
    return found


def title(metrics: Metrics, namespace: str, period: str) -> RenderableType:
    """What this is about."""
    number, working = len(metrics.processes), len(alive(metrics))
    named = f"{count(number)} process{'' if number == 1 else 'es'}"
    if working < number:
        named += f", {count(working)} at work"
    return heading(shown(namespace), f"the last {period}", between(metrics.since, metrics.until), named)


def summary(metrics: Metrics, width: int) -> RenderableType:
    """All in all."""
    total = metrics.total
    room = max(SPARKS, width - 19)
    rows: list[tuple[str, Cell]] = [
        ("hit rate", Text.assemble(rate(total), "  ", (spark_of_rates(metrics.points, room), ACCENT))),
        (
            "calls",
            Text.assemble(
                f"{count(total.hits + total.misses):>6}", "  ", (spark_of_calls(metrics.points, room), ACCENT)
            ),
        ),
        ("hits", _hits(total)),
        ("misses", _misses(total)),
        ("computed", _computed(total)),
        ("latency", latency(total)),
    ]
    if total.evictions:
        rows.append(("evicted", f"{count(total.evictions)} entries made room in memory"))
    if run := _dispatch(metrics):
        rows.append(("run once", run))
    return fields(rows)


def _hits(total: Counts) -> str:
    ways = [("memory", total.hits_memory), ("Redis", total.hits_redis), ("files", total.hits_file)]
    ways.append(("waiting for another", total.hits_waited))
    told = ", ".join(f"{name} {count(number)}" for name, number in ways if number)
    semantic = f"; {count(total.hits_semantic)} by meaning" if total.hits_semantic else ""
    return count(total.hits) + (f": {told}{semantic}" if told else "")


def _misses(total: Counts) -> str:
    stale = f", {count(total.stale)} answered by an old value" if total.stale else ""
    passed = f"; {count(total.bypassed)} calls passed the cache by" if total.bypassed else ""
    return f"{count(total.misses)}{stale}{passed}"


def _computed(total: Counts) -> str:
    took = f" in {span(total.compute_seconds)}" if total.computed else ""
    ahead = f", {count(total.refreshed)} of them anew" if total.refreshed else ""
    lost = f", {count(total.not_stored)} not stored" if total.not_stored else ""
    return f"{count(total.computed)}{took}{ahead}{lost}; hits saved {span(total.seconds_saved)}"


def _dispatch(metrics: Metrics) -> str:
    run = metrics.dispatch
    parts = [
        (run.executions, "run"),
        (run.replays, "replayed"),
        (run.joins, "joined"),
        (run.failures + run.timeouts, "failed"),
        (run.takeovers, "taken over"),
        (run.degraded, "degraded"),
    ]
    return ", ".join(f"{count(number)} {name}" for number, name in parts if number)


def latency(total: Counts) -> str:
    """Quantiles of whole calls."""
    times = total.times
    if not times.count:
        return "nothing measured"
    return f"p50 {span(times.p50)}, p95 {span(times.p95)}, p99 {span(times.p99)}, longest {span(times.longest)}"


def rate(row: Counts | LayerCounts) -> Text:
    """A hit rate; of whole calls coloured by how good it is, since a layer is only asked for what those above it lack."""
    if not row.hits + row.misses:
        return styled("–".rjust(6), DIM)
    share = row.hit_rate
    if isinstance(row, LayerCounts):
        return Text(percent(share).rjust(6))
    return styled(percent(share).rjust(6), GOOD if share >= _GOOD else WARN if share >= _FAIR else BAD)


def rows_by(metrics: Metrics, label: Label, width: int) -> RenderableType | None:
    """A row for each domain, agent, tool or model, the busiest first; None where there is none."""
    sums = metrics.by(label)
    if not sums:
        return None
    busiest = sorted(sums, key=lambda name: (-(sums[name].hits + sums[name].misses), name))
    room = SPARKS * 2 if width >= WIDE else SPARKS
    columns = (
        Column(label.upper(), right=False),
        Column("HITS"),
        Column("MISSES"),
        Column("RATE"),
        Column("COMPUTED", rank=5),
        Column("EVICTED", rank=6),
        Column("P50", rank=4),
        Column("P99", rank=2),
        Column("RATE OVER TIME", right=False, style=ACCENT, rank=3),
    )
    lines = [_row(name, sums[name], spark_by(metrics.points, label, name, room)) for name in busiest[:MOST]]
    if len(busiest) > MOST:
        rest = Counts.sum(sums[name] for name in busiest[MOST:])
        lines.append(_row(f"{count(len(busiest) - MOST)} others", rest, ""))
    return table(columns, lines, width)


def _row(name: str, row: Counts, spark: str) -> Sequence[Cell]:
    times = row.times
    return (
        shown(name),
        count(row.hits),
        count(row.misses),
        rate(row),
        count(row.computed),
        count(row.evictions),
        span(times.p50) if times.count else "–",
        span(times.p99) if times.count else "–",
        spark,
    )


def layers(metrics: Metrics, width: int) -> RenderableType | None:
    """A row for each layer; None where nothing was counted."""
    if not metrics.layers:
        return None
    columns = (
        Column("LAYER", right=False),
        Column("HITS"),
        Column("MISSES"),
        Column("RATE"),
        Column("WRITES", rank=2),
        Column("P50", rank=5),
        Column("P99", rank=3),
        Column("FAULTS", rank=1),
        Column("REFUSED", rank=4),
        Column("AWAY", rank=1),
        Column("BREAKER", right=False),
    )
    ordered = sorted(metrics.layers, key=lambda name: list(_LAYERS).index(name) if name in _LAYERS else len(_LAYERS))
    return table(columns, [_layer(metrics, name) for name in ordered], width)


def _layer(metrics: Metrics, name: str) -> Sequence[Cell]:
    row = metrics.layers[name]
    measured = bool(row.latency.count)
    return (
        _LAYERS.get(name, name),
        count(row.hits),
        count(row.misses),
        rate(row),
        count(row.writes),
        span(row.latency.p50) if measured else "–",
        span(row.latency.p99) if measured else "–",
        styled(count(row.faults), BAD if row.faults else ""),
        count(row.refused),
        styled(span(row.down_seconds), BAD) if row.down_seconds else "–",
        breaker(alive(metrics), name),
    )


def alive(metrics: Metrics) -> list[Process]:
    """The processes that have written down something lately; of the others nobody knows how they are, if they are."""
    return [process for process in metrics.processes if metrics.until - process.seen_at <= RECENT]


def breaker(processes: Iterable[Process], layer: str) -> Cell:
    """The worst state of a layer's breakers, and in how many processes."""
    states = [process.breakers[layer] for process in processes if layer in process.breakers]
    for state in _WORST:
        if state in states and state != "closed":
            of = f" in {count(states.count(state))} of {count(len(states))}" if len(states) > 1 else ""
            return styled(f"● {state.replace('_', ' ')}{of}", BAD if state == "open" else WARN)
    return styled("● closed", GOOD) if states else styled("–", DIM)


def away(metrics: Metrics, most: int = 5) -> RenderableType | None:
    """When layers could not be used, the newest first; None where they always could."""
    found = sorted(outages(metrics), key=lambda one: one.since, reverse=True)
    if not found:
        return None
    rows: list[tuple[str, Cell]] = [
        (
            f"{_LAYERS.get(one.layer, one.layer)} away",
            Text(f"{between(one.since, one.until)}, {span(one.seconds)} in all processes", style=WARN),
        )
        for one in found[:most]
    ]
    return fields(rows)


def processes(metrics: Metrics, width: int, most: int = 5) -> RenderableType | None:
    """A row for each process, the last seen first; None where there is none."""
    if not metrics.processes:
        return None
    columns = (
        Column("PROCESS", right=False),
        Column("SEEN"),
        Column("UP", rank=4),
        Column("ENTRIES", rank=3),
        Column("MEMORY"),
        Column("", right=False, style=ACCENT, rank=4),
        Column("OWED", rank=1),
        Column("TOLD BY", right=False, rank=2),
    )
    lines = [_process(one, metrics.until) for one in metrics.processes[:most]]
    if len(metrics.processes) > most:
        lines.append((styled(f"{count(len(metrics.processes) - most)} others", DIM), *[""] * 7))
    return table(columns, lines, width)


def _process(one: Process, now: float) -> Sequence[Cell]:
    return (
        f"{shown(one.host)}:{one.pid}",
        ago(max(0.0, now - one.seen_at)),
        span(max(0.0, one.seen_at - one.began_at)),
        count(one.entries),
        size(one.bytes),
        bar(one.bytes / one.max_bytes, 8) if one.max_bytes else "",
        styled(count(one.pending), WARN if one.pending else ""),
        one.coherence,
    )


# -- over time --------------------------------------------------------------------------------------------------------


def _looked(points: Sequence[Snapshot], chosen: Callable[[Snapshot], Iterable[Counts]]) -> tuple[int, int]:
    hits = misses = 0
    for point in points:
        for counts in chosen(point):
            hits += counts.hits
            misses += counts.misses
    return hits, misses


def _all(point: Snapshot) -> Iterable[Counts]:
    return point.series.values()


def _rates(points: Sequence[Snapshot], width: int, chosen: Callable[[Snapshot], Iterable[Counts]]) -> str:
    sums = [_looked(group, chosen) for group in groups(points, width)]
    return sparkline([hits / (hits + misses) if hits + misses else None for hits, misses in sums], top=1.0)


def spark_of_rates(points: Sequence[Snapshot], width: int) -> str:
    """The hit rate over time, from nought to all."""
    return _rates(points, width, _all)


def spark_by(points: Sequence[Snapshot], label: Label, name: str, width: int) -> str:
    """The same of one domain, agent, tool or model."""
    return _rates(
        points, width, lambda point: (row for key, row in point.series.items() if getattr(key, label) == name)
    )


def spark_of_calls(points: Sequence[Snapshot], width: int) -> str:
    """Calls over time."""
    means = (sum(_looked(group, _all)) / len(group) for group in groups(points, width))
    return sparkline([mean or None for mean in means])


def between(since: float, until: float) -> str:
    """From when to when, in local time; the day too, where that is another."""
    start, end = (datetime.fromtimestamp(one).astimezone() for one in (since, until))
    days = until - since >= _DAY or start.date() != end.date()
    form = "%Y-%m-%d %H:%M" if days else "%H:%M"
    return f"{start.strftime(form)} – {end.strftime(form)}"


def notice(metrics: Metrics) -> RenderableType | None:
    """What is to be said of how far the numbers go; None where that is nothing."""
    if metrics.complete:
        return None
    return styled("A layer could not be asked: what other processes counted may be missing.", WARN)


def tables(metrics: Metrics, label: Label, width: int) -> Mapping[str, RenderableType | None]:
    """All of it, by what it is."""
    return {
        "notice": notice(metrics),
        "summary": summary(metrics, width),
        "rows": rows_by(metrics, label, width),
        "layers": layers(metrics, width),
        "away": away(metrics),
        "processes": processes(metrics, width),
    }
