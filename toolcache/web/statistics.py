"""What is told of the cache: is it well, and what has it done."""

import json
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from toolcache.exporters.local import process_of
from toolcache.exporters.prometheus import Exposition, render
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Label, Metrics, Process, Snapshot
from toolcache.metrics.spans import reach_of
from toolcache.pieces import Pieces
from toolcache.stats import Health
from toolcache.web.endpoint import Asked, Endpoint, Param
from toolcache.web.house import House
from toolcache.web.plain import said
from toolcache.web.schema import Schema
from toolcache.web.tokens import Access

LABELS: Final[tuple[Label, ...]] = ("domain", "agent", "tool", "model")
_SHARE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}
_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
PERIOD: Final[Schema] = {
    "type": "string",
    "pattern": "^([1-9][0-9]{0,2}[mh]|([1-9][0-9]?|[123][0-9]{2}|400)d)$",
    "description": "minutes, hours or days, such as 30m, 1h or 30d, at most 400d",
}
_FEW: Final = 60
"""Spans that are read at once: the minutes of an hour, or 60 days."""
INSTANT: Final[Schema] = {"type": "number", "description": "seconds since 1970"}
COMPLETE: Final[Schema] = {"type": "boolean", "description": "false where counts of others may be missing"}
AGE: Final = 1.0
"""Seconds that an answer is good for others who ask: the fleet writes down once a second what it counts."""


def is_long(query: Mapping[str, Any]) -> bool:
    """Whether a period is of so many spans that reading it is heavy: 6 hours are as many as 360 days."""
    return reach_of(query["period"]).number > _FEW


async def fleet(house: House, period: str) -> Metrics:
    """What the fleet has counted in a period."""
    found: Metrics = await house.shared(f"metrics {period}", AGE, partial(house.cache.metrics, period))
    return found


def _numbers(counts: Counts | LayerCounts) -> dict[str, Any]:
    shown = said(counts)
    if isinstance(counts, Counts):
        shown["latency"] = said(counts.times)
        del shown["sampled"], shown["times"]
    return dict(shown)


def summed(snapshot: Snapshot) -> dict[str, Any]:
    """A span of time as a whole."""
    return {
        "since": snapshot.since,
        "until": snapshot.until,
        "hits": snapshot.hits,
        "misses": snapshot.misses,
        "hit_rate": snapshot.hit_rate,
        "total": _numbers(snapshot.total),
        "layers": {name: _numbers(counts) for name, counts in snapshot.layers.items()},
        "dispatch": said(snapshot.dispatch),
    }


def _parted(snapshot: Snapshot, *labels: Label | None) -> dict[str, Any]:
    """The same by these labels."""
    return {
        f"{label}s": {name: _numbers(counts) for name, counts in snapshot.by(label).items()}
        for label in labels
        if label is not None
    }


def sizes(processes: tuple[Process, ...]) -> dict[str, Any]:
    """What the processes of a fleet hold together; what a host owes to Redis is told by each process of it, and counted once."""
    owed: dict[str, int] = {}
    for one in processes:
        owed[one.host] = max(owed.get(one.host, 0), one.pending)
    return {
        "processes": len(processes),
        "hosts": len(owed),
        "entries": sum(one.entries for one in processes),
        "bytes": sum(one.bytes for one in processes),
        "max_bytes": sum(one.max_bytes for one in processes),
        "pending": sum(owed.values()),
    }


async def stats(house: House, asked: Asked) -> Any:
    """The fleet in a period, and how this process is."""
    metrics = await fleet(house, asked.query["period"])
    return {
        "namespace": house.cache.settings.namespace,
        "period": asked.query["period"],
        "complete": metrics.complete,
        **summed(metrics),
        **_parted(metrics, *LABELS),
        "fleet": sizes(metrics.processes),
        "processes": said(metrics.processes),
        "server": {"memory": _memory(house), "health": said(await _health(house))},
    }


async def metrics(house: House, asked: Asked) -> Any:
    """The fleet in a period, point by point."""
    found = await fleet(house, asked.query["period"])
    label = asked.query["by"]
    head = {
        "namespace": house.cache.settings.namespace,
        "period": asked.query["period"],
        "step": found.step,
        "complete": found.complete,
        **summed(found),
        **_parted(found, label),
    }
    points = []
    async for few in Pieces(found.points, 1):  # each may tell of hundreds of names: others have their turn in between
        points += [_json(summed(point) | _parted(point, label)) for point in few]
    return Response(f'{_json(head)[:-1]},"points":[{",".join(points)}]}}', media_type="application/json")


def _json(told: Any) -> str:
    return json.dumps(told, separators=(",", ":"), allow_nan=False)


def _memory(house: House) -> Mapping[str, Any]:
    here = house.cache.stats()
    return {name: getattr(here, name) for name in ("entries", "bytes", "evictions", "strategy")}


async def domains(house: House, _asked: Asked) -> Any:
    """The kinds of value that there are."""
    fields = ("ttl", "key", "version", "cost_usd", "cost_tokens", "vector", "dimensions")
    rows = house.cache.domains.items()
    return {"domains": {name: {field: said(getattr(row, field)) for field in fields} for name, row in rows}}


async def _health(house: House) -> Health:
    found: Health = await house.shared("health", AGE, house.cache.health)
    return found


async def health(house: House, asked: Asked) -> Any:
    """Whether the cache works as configured: little to whoever asks, all to those who may read."""
    found = await _health(house)
    shown = said(found) if asked.who.access >= Access.READ else {"status": found.status}
    well = found.status == "ok"
    return JSONResponse(shown, HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)


async def prometheus(house: House, asked: Asked) -> Any:
    """The fleet for Prometheus."""
    exposition = Exposition.wanted(asked.accept)
    text = render(
        house.rising(await house.shared("ever", AGE, house.ever.metrics)),
        namespace=house.cache.settings.namespace,
        processes=(process_of(house.cache),),
        prices=house.cache.settings.prices,
        exposition=exposition,
    )
    return Response(text, media_type=exposition.value)


_COUNTS: Final[Schema] = {
    "type": "object",
    "required": ["hits", "misses", "hit_rate"],
    "properties": {"hits": _WHOLE, "misses": _WHOLE, "hit_rate": _SHARE, "latency": {"type": "object"}},
}
_TABLE: Final[Schema] = {"type": "object", "additionalProperties": _COUNTS}
_SPAN: Final[Mapping[str, Schema]] = {
    "since": INSTANT,
    "until": INSTANT,
    "hits": _WHOLE,
    "misses": _WHOLE,
    "hit_rate": _SHARE,
    "total": {**_COUNTS, "description": "the counts of all series together, with quantiles of latency in seconds"},
    "layers": {**_TABLE, "description": "the counts of memory, redis and file"},
    "dispatch": {"type": "object", "description": "requests that run once"},
}
_SPAN_NAMES: Final = list(_SPAN)
_HEAD: Final[Mapping[str, Schema]] = {
    "namespace": {"type": "string"},
    "period": {"type": "string"},
    "complete": COMPLETE,
    **_SPAN,
}
_HEALTH: Final[Schema] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "enum": ["ok", "degraded"]}},
}

ENDPOINTS: Final = (
    Endpoint(
        name="stats",
        method="GET",
        path="/api/v1/cache/stats",
        access=Access.READ,
        handler=stats,
        summary="What the fleet has done, and how this server is",
        more="Sums over all processes of the namespace, by domain, layer, agent, tool and model; sizes as they were last seen.",
        params=(Param("period", PERIOD, "how far back", "24h"),),
        answer={
            "type": "object",
            "required": ["namespace", "period", "complete", *_SPAN_NAMES, "domains", "fleet", "processes", "server"],
            "properties": {
                **_HEAD,
                **{f"{label}s": _TABLE for label in LABELS},
                "fleet": {
                    "type": "object",
                    "additionalProperties": _WHOLE,
                    "description": "processes and hosts, entries and bytes in their memories, writes that are owed to Redis",
                },
                "processes": {"type": "array", "items": {"type": "object"}, "description": "the last seen first"},
                "server": {
                    "type": "object",
                    "required": ["memory", "health"],
                    "properties": {"memory": {"type": "object"}, "health": _HEALTH},
                    "description": "the memory and the health of the process that answers",
                },
            },
        },
        heavy=is_long,
    ),
    Endpoint(
        name="metrics",
        method="GET",
        path="/api/v1/cache/metrics",
        access=Access.READ,
        handler=metrics,
        summary="The same over time: a point for each minute, hour or day of a period",
        params=(
            Param("period", PERIOD, "how far back", "1h"),
            Param("by", {"type": "string", "enum": list(LABELS)}, "what each point is told apart by, too"),
        ),
        answer={
            "type": "object",
            "required": ["namespace", "period", "step", "complete", *_SPAN_NAMES, "points"],
            "properties": {
                **_HEAD,
                "step": {"type": "number", "description": "seconds that a point spans"},
                "points": {
                    "type": "array",
                    "items": {"type": "object", "required": _SPAN_NAMES, "properties": dict(_SPAN)},
                },
            },
        },
        heavy=is_long,
    ),
    Endpoint(
        name="domains",
        method="GET",
        path="/api/v1/cache/domains",
        access=Access.READ,
        handler=domains,
        summary="The kinds of value that there are",
        answer={
            "type": "object",
            "required": ["domains"],
            "properties": {"domains": {"type": "object", "additionalProperties": {"type": "object"}}},
        },
    ),
    *(
        Endpoint(
            name=name,
            method="GET",
            path=path,
            access=Access.OPEN,
            handler=health,
            summary="Whether the cache works as configured",
            more="200 where it does, 503 where a configured layer cannot be used; the others stand in. Without a token only the word.",
            answer=_HEALTH,
            others={503: {"description": "it does not", "content": {"application/json": {"schema": _HEALTH}}}},
        )
        for name, path in (("health", "/health"), ("api_health", "/api/v1/health"))
    ),
    Endpoint(
        name="prometheus",
        method="GET",
        path="/metrics",
        access=Access.READ,
        handler=prometheus,
        summary="The fleet for Prometheus, as text or OpenMetrics",
        more="Over all days that are kept, of which those before yesterday are read once an hour: what a host tells late of them shows then.",
        answer={"type": "string"},
        media="text/plain",
        medias=("application/openmetrics-text",),
    ),
)
