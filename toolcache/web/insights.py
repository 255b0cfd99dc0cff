"""What the cache is worth, and what to do about it."""

from functools import partial
from typing import Any, Final

from toolcache.spelling import nearest
from toolcache.tool_cache import ToolCache
from toolcache.web.endpoint import Asked, Endpoint, Param
from toolcache.web.entries import ENTRY, shown
from toolcache.web.house import House
from toolcache.web.plain import said
from toolcache.web.problems import Problem
from toolcache.web.schema import Schema
from toolcache.web.statistics import AGE, COMPLETE, INSTANT, LABELS, PERIOD
from toolcache.web.tokens import Access

_SAVED: Final = (
    "cached_responses",
    "computations_avoided",
    "tokens_saved",
    "cost_saved",
    "seconds_saved",
    "tokens_spent",
    "cost_spent",
)
_SUMS: Final[dict[str, Schema]] = {name: {"type": "number"} for name in _SAVED}
_SUM: Final[Schema] = {"type": "object", "required": list(_SAVED), "properties": _SUMS}


async def savings(house: House, asked: Asked) -> Any:
    """What the fleet was spared, in all and by label, and, if asked for, how it comes to that."""
    period = asked.query["period"]
    found = await house.shared(f"savings {period}", AGE, lambda: house.cache.savings(period))
    told = {
        "period": period,
        "since": found.since,
        "until": found.until,
        "complete": found.complete,
        **{name: getattr(found, name) for name in _SAVED},
        **{f"{label}s": said(found.by(label)) for label in LABELS},
    }
    return {**told, "ledger": said(found.ledger)} if asked.query["explain"] else told


async def analyze(house: House, asked: Asked) -> Any:
    """What size and lifetimes would be better, and what is hardly worth its room."""
    return said(await house.cache.analyze(asked.query["period"]))


async def diagnose(house: House, asked: Asked) -> Any:
    """Why lookups miss."""
    check_domain(house, asked)
    return said(await house.cache.diagnose(asked.query["domain"], asked.query["period"]))


async def stale(house: House, asked: Asked) -> Any:
    """Entries that were made long ago."""
    check_domain(house, asked)
    query = asked.query
    found = await house.cache.find_stale(
        query["max_age"], domain=query["domain"], agent=query["agent"], limit=query["limit"], layers=query["layers"]
    )
    return {"entries": [shown(one, asked.root) for one in found]}


async def top(house: House, asked: Asked) -> Any:
    """The first entries of this memory, by a measure."""
    found = await house.cache.top(asked.query["limit"], by=asked.query["by"])
    return {"entries": [shown(one, asked.root) for one in found]}


async def memory(house: House, asked: Asked) -> Any:
    """What takes room in this memory."""
    found = await house.cache.memory_usage(asked.query["largest"])
    return {**said(found), "largest_entries": [shown(one, asked.root) for one in found.largest_entries]}


def check_domain(house: House, asked: Asked) -> None:
    """Whether there is the domain that is asked for.

    Raises:
        Problem: there is none of that name.
    """
    name, known = asked.query["domain"], house.cache.domains
    if name is not None and name not in known:
        raise Problem(404, f"domain is one of {', '.join(known)}{nearest(name, known)}", at="query.domain")


async def alerts(house: House, _asked: Asked) -> Any:
    """How the alerts of the namespace stand, whoever judges them, and what was told of them."""
    return await house.shared("alerts", AGE, partial(_alerts, house.cache))


async def _alerts(cache: ToolCache) -> Any:
    rules = {rule.name: rule for rule in cache.alerts.list()}
    rows = []
    for name, state in (await cache.alerts.state()).items():
        rule = rules.get(name)  # those of other processes are known by their state alone
        # What is done is left out: an address that is told may be a secret.
        said_of = {} if rule is None else {field: getattr(rule, field) for field in _RULE}
        rows.append({**said(state), "rule": {**said_of, "only": rule.only} if rule else None})
    return {"alerts": rows, "history": said(await cache.alerts.history())}


_RULE: Final = ("metric", "condition", "threshold", "window", "for_", "cooldown", "minimum")

_DOMAIN: Final = Param(
    "domain", {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"}, "of which alone; all unless given"
)
_ISSUES: Final = ("key_variance", "short_ttl", "small_cache", "errors", "cold")
_FINDING: Final[Schema] = {
    "type": "object",
    "required": ["issue", "where", "change"],
    "properties": {
        "issue": {"type": "string", "enum": list(_ISSUES)},
        "where": {"type": "string", "description": "a domain, a function, a tool or a layer"},
        "change": {"type": "string", "description": "what to do"},
    },
}
_FEW: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 1000}
_ENTRIES: Final[Schema] = {
    "type": "object",
    "required": ["entries"],
    "properties": {"entries": {"type": "array", "items": ENTRY}},
}

ENDPOINTS: Final = (
    Endpoint(
        name="analyze",
        method="GET",
        path="/api/v1/cache/analyze",
        access=Access.READ,
        handler=analyze,
        summary="How large memory should be, how long values should live, and what is hardly worth its room",
        more="From lookups that were sampled in all processes of the namespace.",
        params=(Param("period", PERIOD, "how far back", "1d"),),
        answer={
            "type": "object",
            "required": ["recommended_size", "recommended_ttl", "low_value_count", "size", "lifetimes", "low_value"],
            "properties": {
                "recommended_size": {
                    "type": ["integer", "null"],
                    "description": "bytes; null where too little is known",
                },
                "recommended_ttl": {
                    "type": "object",
                    "additionalProperties": {"type": "number"},
                    "description": "seconds, of each domain of which enough is known",
                },
                "low_value_count": {"type": "integer"},
                "size": {"type": "object", "description": "the expected effect, in hit rate, dollars and bytes"},
                "lifetimes": {"type": "object", "description": "the same of each domain"},
                "low_value": {"type": "array", "items": {"type": "object"}},
            },
        },
        heavy=True,
    ),
    Endpoint(
        name="diagnose",
        method="GET",
        path="/api/v1/cache/diagnose",
        access=Access.READ,
        handler=diagnose,
        summary="Why lookups miss, with the evidence, and what to change",
        params=(_DOMAIN, Param("period", PERIOD, "how far back", "1h")),
        answer={
            "type": "object",
            "required": ["issue", "findings", "reason"],
            "properties": {
                "issue": {"type": "string", "enum": [*_ISSUES, "none"]},
                "findings": {"type": "array", "items": _FINDING},
                "reason": {"type": "string"},
            },
        },
        refusals=(404,),
        heavy=True,
    ),
    Endpoint(
        name="stale",
        method="GET",
        path="/api/v1/cache/stale",
        access=Access.READ,
        handler=stale,
        summary="Entries whose values were made long ago, the oldest first",
        params=(
            Param("max_age", PERIOD, "how old they may be", "7d"),
            _DOMAIN,
            Param("agent", {"type": "string", "minLength": 1, "maxLength": 100}, "whose alone"),
            Param("limit", _FEW, "how many at most", 100),
            Param(
                "layers",
                {"type": "boolean"},
                "whether Redis and files are looked through, or only this memory",
                default=True,
            ),
        ),
        answer=_ENTRIES,
        refusals=(404,),
        heavy=True,
    ),
    Endpoint(
        name="top",
        method="GET",
        path="/api/v1/cache/top",
        access=Access.READ,
        handler=top,
        summary="The entries of this process's memory that have most hits, take most bytes or have saved most dollars",
        params=(
            Param("by", {"type": "string", "enum": ["hits", "bytes", "dollars"]}, "the measure", "hits"),
            Param("limit", _FEW, "how many at most", 10),
        ),
        answer=_ENTRIES,
        heavy=True,
    ),
    Endpoint(
        name="memory",
        method="GET",
        path="/api/v1/cache/memory",
        access=Access.READ,
        handler=memory,
        summary="What this process's memory holds, by domain, and its largest entries",
        params=(Param("largest", _FEW, "how many of these", 10),),
        answer={
            "type": "object",
            "required": ["used", "available", "max_bytes", "entries", "domains", "largest_entries"],
            "properties": {
                "used": {"type": "integer", "description": "bytes"},
                "available": {"type": "integer"},
                "max_bytes": {"type": "integer"},
                "entries": {"type": "integer"},
                "domains": {"type": "object", "additionalProperties": {"type": "object"}},
                "largest_entries": {"type": "array", "items": ENTRY},
            },
        },
        heavy=True,
    ),
    Endpoint(
        name="alerts",
        method="GET",
        path="/api/v1/cache/alerts",
        access=Access.READ,
        handler=alerts,
        summary="How alerts stand, and the last fifty that fired or resolved",
        more="Of all processes of the namespace. What an alert was declared as is told where this process has declared it, too.",
        answer={
            "type": "object",
            "required": ["alerts", "history"],
            "properties": {
                "alerts": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "status", "since", "value"],
                        "properties": {
                            "name": {"type": "string"},
                            "status": {"type": "string", "enum": ["ok", "pending", "firing"]},
                            "since": INSTANT,
                            "value": {"type": ["number", "null"]},
                            "rule": {"type": ["object", "null"]},
                        },
                    },
                },
                "history": {"type": "array", "items": {"type": "object"}},
            },
        },
    ),
    Endpoint(
        name="savings",
        method="GET",
        path="/api/v1/cache/savings",
        access=Access.READ,
        handler=savings,
        summary="Responses served, computations, tokens, US dollars and seconds saved",
        params=(
            Param("period", PERIOD, "how far back", "30d"),
            Param(
                "explain",
                {"type": "boolean"},
                "whether the ledger is told: a line for each figure, and where its unit cost comes from",
                default=False,
            ),
        ),
        answer={
            "type": "object",
            "required": ["period", "since", "until", "complete", *_SAVED],
            "properties": {
                "period": {"type": "string"},
                "since": INSTANT,
                "until": INSTANT,
                "complete": COMPLETE,
                **_SUMS,
                **{f"{label}s": {"type": "object", "additionalProperties": _SUM} for label in LABELS},
                "ledger": {"type": "array", "items": {"type": "object"}},
            },
        },
        heavy=True,  # for what computations cost it may read all days, however short the period
    ),
)
