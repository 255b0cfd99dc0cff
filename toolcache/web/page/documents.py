"""What the page is told, as JSON has it: numbers in columns, a row for each name, no more of them than a page can show."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Label, Metrics, Process, Snapshot
from toolcache.savings import Saved, Savings
from toolcache.series import Series
from toolcache.spread import Spread
from toolcache.stats import Health
from toolcache.web import plain

if TYPE_CHECKING:
    from toolcache.alerts import AlertRule, AlertState, Notice
    from toolcache.insight.analysis import Analysis
    from toolcache.insight.diagnosis import Diagnosis

ROWS: Final = 25
"""Names of a kind that are told of, the busiest first; the others are told as one number."""
PROCESSES: Final = 50

_SUMS: Final = (
    "hits",
    "misses",
    "hit_rate",
    "hits_memory",
    "hits_redis",
    "hits_file",
    "hits_waited",
    "hits_semantic",
    "exact",
    "stale",
    "refreshed",
    "bypassed",
    "sets",
    "deletes",
    "computed",
    "compute_seconds",
    "not_stored",
    "evictions",
    "seconds_saved",
)
_LAYER_SUMS: Final = tuple(name for name in LayerCounts._fields if name != "latency")
_STRIPS: Final = ("down_seconds", "faults", "opened")


def spread(of: Spread) -> dict[str, float]:
    """Quantiles in seconds."""
    return {"p50": of.p50, "p95": of.p95, "p99": of.p99, "longest": of.longest, "count": of.count}


def counts(of: Counts) -> dict[str, Any]:
    """Sums, and how long calls took."""
    return {**{name: getattr(of, name) for name in _SUMS}, "latency": spread(of.times)}


def metrics(of: Metrics, saved: Savings) -> dict[str, Any]:
    """A period: as a whole, in columns of its points, by label, by layer, by process."""
    return {
        "since": of.since,
        "until": of.until,
        "step": of.step,
        "complete": of.complete,
        "total": counts(of.total),
        "saved": {name: getattr(saved, name) for name in Saved._fields},
        "points": points(of.points, saved),
        "layers": {name: _layer(name, of) for name in of.layers},
        "by": {label: rows(of, saved, label) for label in get_args(Label)},
        "dispatch": {name: getattr(of.dispatch, name) for name in of.dispatch._fields},
        "processes": [process(one) for one in of.processes[:PROCESSES]],
        "more_processes": max(0, len(of.processes) - PROCESSES),
    }


def points(of: Iterable[Snapshot], saved: Savings) -> dict[str, list[Any]]:
    """One column for each number; a point's dollars are what one computation costs over the whole period."""
    units = {line.series: line.unit_usd for line in saved.ledger if line.what == "hits" and line.unit_usd}
    rows = [_point(one, units) for one in of]
    return {name: [row[name] for row in rows] for name in _COLUMNS}


def _point(of: Snapshot, units: Mapping[Series, float]) -> dict[str, Any]:
    total = of.total
    times = total.times if total.hits or total.misses else None
    avoided = ((series, max(0, one.hits - one.hits_replayed)) for series, one in of.series.items() if series in units)
    return {
        "at": of.since,
        "hits": total.hits,
        "misses": total.misses,
        **{name: times.quantile(part) if times else None for name, part in _SHARES.items()},
        "seconds_saved": total.seconds_saved + of.dispatch.seconds_saved,
        "dollars_saved": sum(number * units[series] for series, number in avoided) + of.dispatch.cost_usd_saved,
    }


_SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_COLUMNS: Final = ("at", "hits", "misses", *_SHARES, "seconds_saved", "dollars_saved")
_NOTHING: Final = Saved()


def rows(of: Metrics, saved: Savings, label: Label) -> dict[str, Any]:
    """The busiest names of a label, and how many calls of each there were at each point."""
    sums = sorted(of.by(label).items(), key=lambda row: -(row[1].hits + row[1].misses))
    busiest = {name: [0] * len(of.points) for name, _ in sums[:ROWS]}
    for number, point in enumerate(of.points):
        for name, calls in _calls(point.series, label):
            if name in busiest:
                busiest[name][number] += calls
    money = saved.by(label)
    return {
        "rows": [
            {"name": name, **counts(one), "cost_saved": money.get(name, _NOTHING).cost_saved, "calls": busiest[name]}
            for name, one in sums[:ROWS]
        ],
        "more": max(0, len(sums) - ROWS),
    }


def _calls(of: Mapping[Series, Counts], label: Label) -> Iterable[tuple[str, int]]:
    for series, one in of.items():
        yield getattr(series, label), one.hits + one.misses


def _layer(name: str, of: Metrics) -> dict[str, Any]:
    whole = of.layers[name]
    by_point = [point.layers.get(name) for point in of.points]
    strips = {strip: [getattr(one, strip) if one else 0 for one in by_point] for strip in _STRIPS}
    return {
        **{sum_: getattr(whole, sum_) for sum_ in _LAYER_SUMS},
        "hit_rate": whole.hit_rate,
        "latency": spread(whole.latency),
        "history": strips,
    }


def process(of: Process) -> dict[str, Any]:
    """One cache of a process."""
    return {name: getattr(of, name) for name in of._fields if name != "breakers"} | {"breakers": dict(of.breakers)}


def health(of: Health) -> dict[str, Any]:
    """Whether each layer answers, and what is owed to Redis."""
    layers = {"redis": of.redis, "file": of.files}
    return {
        **{name: getattr(of, name) for name in of._fields if name not in {"redis", "files", "domains"}},
        "layers": {
            name: {field: getattr(layer, field) for field in layer._fields} for name, layer in layers.items() if layer
        },
    }


def alerts(
    rules: Iterable["AlertRule"], states: Mapping[str, "AlertState"], notices: Iterable["Notice"]
) -> dict[str, Any]:
    """How alerts stand, those that fire first, and what was told of them, the last first.

    Of an alert that other processes have declared, only they know the condition.
    """
    known = {rule.name: rule for rule in rules}
    order = {"firing": 0, "pending": 1, "ok": 2}
    standing = sorted(states.values(), key=lambda state: (order[state.status], state.name))
    return {
        "rules": [
            {
                "name": state.name,
                "state": state.status,
                "since": state.since,
                "value": _shown(known.get(state.name), state.value),
                "condition": _condition(known.get(state.name)),
                "unjudged": state.unjudged,
            }
            for state in standing
        ],
        "history": [
            {"at": one.at, "name": one.name, "state": one.status, "value": _shown(known.get(one.name), one.value)}
            for one in notices
        ],
    }


def _shown(rule: "AlertRule | None", value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.6g}" if rule is None else rule.shown(value)


def _condition(rule: "AlertRule | None") -> str:
    if rule is None:
        return "declared elsewhere"
    about = "".join(f" of {label} {name}" for label, name in rule.only.items())
    return f"{rule.metric}{about} {rule.condition} {rule.shown(rule.threshold)}, over {rule.window:g} s"


def advice(diagnosis: "Diagnosis", analysis: "Analysis") -> dict[str, Any]:
    """What is to be changed, and what is expected of it."""
    return {
        "reason": diagnosis.reason,
        "lookups": diagnosis.lookups,
        "samples": analysis.samples,
        "findings": [plain.said(one) for one in diagnosis.findings],
        "size": plain.said(analysis.size),
        "lifetimes": [plain.said(one) for one in analysis.lifetimes.values()],
        "low_value": [plain.said(one) for one in analysis.low_value],
        "low_value_count": analysis.low_value_count,
        "low_value_bytes": analysis.low_value_bytes,
    }
