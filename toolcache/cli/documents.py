"""Documents: what ``--json`` prints, as plain data."""

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

from toolcache.fields import Frozen
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Metrics, Snapshot
from toolcache.spread import Spread


def plain(value: Any) -> Any:  # noqa: C901, PLR0911 - one return per kind
    """Any value as JSON has it.

    No number is NaN or infinite: those are null. Instants are ISO 8601 in values, bytes are ``{"base64": …}``; sets, tuples and
    arrays are arrays; what has no such form is its text.
    """
    match value:
        case None | bool() | str():
            return str(value) if isinstance(value, Enum) else value
        case Enum():
            return value.name.lower()
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case Spread():
            return spread(value)
        case Frozen():
            return {name: plain(getattr(value, name)) for name in value._fields}
        case Mapping():
            return {_name(key): plain(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in value]
        case bytes():
            return {"base64": base64.b64encode(value).decode("ascii")}
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    listed = getattr(value, "tolist", None)  # of a NumPy array
    return plain(listed()) if callable(listed) else str(value)


def _name(key: Any) -> str:
    return key if isinstance(key, str) else str(plain(key))


def spread(latency: Spread) -> dict[str, float]:
    """Latencies, by their quantiles, in seconds."""
    return {
        "count": round(latency.count),
        "p50": latency.p50,
        "p95": latency.p95,
        "p99": latency.p99,
        "longest": latency.longest,
    }


def counts(row: Counts) -> dict[str, Any]:
    """One row of the counts, with what follows from them."""
    told = {name: plain(getattr(row, name)) for name in row._fields if name not in {"latency", "sampled"}}
    return {"hits": row.hits, "hit_rate": row.hit_rate, **told, "latency": spread(row.times)}


def layer(row: LayerCounts) -> dict[str, Any]:
    """One layer's."""
    return {**plain(row), "hit_rate": row.hit_rate}


def snapshot(taken: Snapshot) -> dict[str, Any]:
    """What was counted in a span of time: as a whole, by label, by layer."""
    labels = {"domains": "domain", "agents": "agent", "tools": "tool", "models": "model"}
    by: dict[str, Any] = {
        name: {one: counts(row) for one, row in taken.by(label).items()}  # type: ignore[arg-type]  # of the four labels
        for name, label in labels.items()
    }
    return {
        "since": taken.since,
        "until": taken.until,
        "total": counts(taken.total),
        **by,
        "layers": {name: layer(row) for name, row in taken.layers.items()},
        "dispatch": plain(taken.dispatch),
    }


def metrics(fleet: Metrics, period: str) -> dict[str, Any]:
    """What a fleet counted in a period, and point by point."""
    return {
        "period": period,
        "step": fleet.step,
        "complete": fleet.complete,
        **snapshot(fleet),
        "processes": plain(fleet.processes),
        "points": [point(one) for one in fleet.points],
    }


def point(taken: Snapshot) -> dict[str, Any]:
    """One point of a series over time."""
    total = taken.total
    return {
        "timestamp": taken.timestamp,
        "hits": total.hits,
        "misses": total.misses,
        "hit_rate": total.hit_rate,
        "computed": total.computed,
        "evictions": total.evictions,
        "latency": spread(total.times),
    }
