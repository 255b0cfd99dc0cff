"""What the page lives on: how things stand, told each second, and what to do about them."""

import json
from typing import Any, Final

from toolcache.web.endpoint import EVENTS, Asked, Endpoint, Param
from toolcache.web.house import House
from toolcache.web.page import documents
from toolcache.web.page.stream import DOCUMENTS, EventStream
from toolcache.web.page.vitals import PERIODS
from toolcache.web.problems import Problem
from toolcache.web.schema import Schema
from toolcache.web.tokens import Access

LISTENERS: Final = 64
"""Who may listen at a time: each has a connection of its own, of which a server has some hundreds."""


async def events(house: House, asked: Asked) -> Any:
    """How things stand, from now on."""
    pulse, period = house.pulse, asked.query["period"]
    if pulse.listeners >= LISTENERS:
        raise Problem(503, "too many look at the page already: close one", {"Retry-After": "10"})
    names = {"health": "health", "metrics": f"metrics:{period}", "alerts": "alerts"}
    return EventStream(pulse, names, json.dumps({"period": period, "may_write": asked.who.access >= Access.WRITE}))


async def advice(house: House, _asked: Asked) -> Any:
    """What is to be changed."""
    return documents.advice(await house.cache.diagnose(), await house.cache.analyze())


def _told(what: str) -> Schema:
    return {"type": "object", "description": what}


_ROWS: Final[Schema] = {"type": "array", "items": {"type": "object"}}

ENDPOINTS: Final = (
    Endpoint(
        name="events",
        method="GET",
        path="/api/v1/events",
        access=Access.READ,
        handler=events,
        summary="How things stand, told once a second while you listen",
        more=(
            "Server-sent events without names; the data of each is an object. The first says what you listen to, each later one `at`, and those "
            f"parts that are others than before; of one that could not be worked out `failed`, and the kind of error. After {DOCUMENTS} events "
            f"the stream ends: listen anew. {LISTENERS} may listen at a time; who comes then is told 503."
        ),
        params=(Param("period", {"type": "string", "enum": list(PERIODS)}, "how far back `metrics` reaches", "1h"),),
        answer={
            "type": "object",
            "anyOf": [{"required": ["period", "may_write"]}, {"required": ["at"]}],
            "properties": {
                "period": {"type": "string", "enum": list(PERIODS)},
                "may_write": {"type": "boolean", "description": "whether your scope is write or more"},
                "at": {"type": "number", "description": "seconds since 1970"},
                "health": _told("whether each layer answers, and what is owed to Redis"),
                "metrics": _told(
                    "the period: as a whole, in columns of its points, by label and layer, with what it has saved"
                ),
                "alerts": _told("how alerts stand, and what was told of them"),
            },
        },
        media=EVENTS,
    ),
    Endpoint(
        name="page_advice",
        method="GET",
        path="/api/v1/page/advice",
        access=Access.READ,
        handler=advice,
        summary="Why lookups miss and what memory and lifetimes should be, in one, for the page",
        more="`diagnose` of an hour and `analyze` of a day, in short.",
        answer={
            "type": "object",
            "required": [
                "reason",
                "lookups",
                "samples",
                "findings",
                "size",
                "lifetimes",
                "low_value",
                "low_value_count",
                "low_value_bytes",
            ],
            "properties": {
                "reason": {"type": "string"},
                "lookups": {"type": "integer"},
                "samples": {"type": "integer"},
                "findings": _ROWS,
                "size": {"type": "object"},
                "lifetimes": _ROWS,
                "low_value": _ROWS,
                "low_value_count": {"type": "integer"},
                "low_value_bytes": {"type": "integer"},
            },
        },
        heavy=True,
    ),
)
