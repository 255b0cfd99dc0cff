"""What changes many entries at once: forget, warm, clean up, clear."""

import asyncio
from functools import partial
from typing import Any, Final

from toolcache.compute import Context
from toolcache.domains import GENERAL, IDEMPOTENCY
from toolcache.entry import MISSING
from toolcache.spelling import nearest
from toolcache.warm_plan import WarmPlan
from toolcache.web import plain
from toolcache.web.endpoint import Asked, Endpoint
from toolcache.web.entries import PATTERN, TAGS, TTL, VALUE
from toolcache.web.house import House
from toolcache.web.problems import Problem, refusing
from toolcache.web.schema import Schema
from toolcache.web.tokens import Access

_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 100}
_KEY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 4096}
_ITEMS: Final = 500
_LAYER: Final[Schema] = {"type": ["string", "null"], "enum": ["done", "queued", "failed", None]}
_RECEIPT: Final[Schema] = {
    "type": "object",
    "required": ["scope", "memory", "redis", "files"],
    "properties": {
        "scope": {"type": "string"},
        "memory": _LAYER,
        "redis": _LAYER,
        "files": _LAYER,
        "removed": {"type": ["integer", "null"], "description": "entries, where they are found one by one"},
        "cut": {"type": "integer"},
        "detached": {"type": "integer"},
    },
}


async def invalidate(house: House, asked: Asked) -> Any:
    """Forget what has something in common."""
    body = dict(asked.body)
    if (name := body.get("domain")) is not None:
        known = house.cache.domains.keys() - {GENERAL.name, IDEMPOTENCY.name}
        if name not in known:  # keys of the user's own, and what runs once, are forgotten otherwise
            raise Problem(404, f"domain is one of {', '.join(sorted(known))}{nearest(name, known)}", at="body.domain")
    with refusing("body"):
        receipt = await house.cache.invalidate(**body)
    return plain.said(receipt)


async def warm(house: House, asked: Asked) -> Any:
    """Have something be there: values that are sent, a plan of the server's, or in its memory what a layer has."""
    match asked.body:
        case {"plan": str(name)}:
            if name not in house.plans:
                raise Problem(
                    404, f"the server has no such plan: it has {', '.join(house.plans) or 'none'}", at="body.plan"
                )
            return (await house.cache.warm(house.plans[name])).as_dict()
        case {"items": list(items)}:
            return await _store(house, items)
        case _:
            keys = asked.body["keys"]
            found = await house.cache.get_many(keys)
            return {
                "name": "keys",
                "asked": len(keys),
                "there": len(found),
                "computed": 0,
                "failed": {},
                "missing": len(set(keys)) - len(found),
            }


async def _store(house: House, items: list[dict[str, Any]]) -> Any:
    """What is not there is stored, as if it had been computed; of a key that comes twice, the last value."""
    with refusing("body.items"):
        values = await asyncio.to_thread(plain.meant, [item["value"] for item in items])
        made = {item["key"]: partial(_value, value, item) for item, value in zip(items, values, strict=True)}
        plan = WarmPlan(items=made, name="items")
    return (await house.cache.warm(plan)).as_dict()


async def _value(value: Any, item: dict[str, Any], context: Context) -> Any:
    ttl = item.get("ttl", MISSING)
    if ttl is not MISSING:
        context.ttl = ttl
    context.tags = tuple(item.get("tags", ()))
    return value


async def cleanup(house: House, _asked: Asked) -> Any:
    """Give back room."""
    return plain.said(await house.cache.cleanup())


async def clear(house: House, asked: Asked) -> Any:
    """Forget the namespace."""
    if asked.body["namespace"] != house.cache.settings.namespace:
        raise Problem(409, "that is not the namespace of this cache: nothing was forgotten", at="body.namespace")
    return plain.said(await house.cache.clear())


def _one_of(**choices: Schema) -> Schema:
    return {
        "type": "object",
        "properties": choices,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


ENDPOINTS: Final = (
    Endpoint(
        name="invalidate",
        method="POST",
        path="/api/v1/cache/invalidate",
        access=Access.WRITE,
        handler=invalidate,
        summary="Forget many entries, in every layer and process, by what they have in common",
        more=(
            "One kind in each request. A pattern has every layer listed, which is given up after 30 seconds: repeat it then. The others take "
            "as long for a million entries as for one."
        ),
        body=_one_of(
            tags={**TAGS, "minItems": 1},
            domain={"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"},
            agent=_NAME,
            pattern=PATTERN,
            tool=_NAME,
            catalog_version=_NAME,
        ),
        answer=_RECEIPT,
        refusals=(404,),
        heavy=True,
    ),
    Endpoint(
        name="warm",
        method="POST",
        path="/api/v1/cache/warm",
        access=Access.WRITE,
        handler=warm,
        summary="Have something be in the cache before anybody asks for it",
        more=(
            "What computes values is code, which no request can send. So: items with their values, of which those are stored that are "
            "not there; a plan that the server was given, by its name; or keys, which the memory of this process is to hold."
        ),
        body=_one_of(
            items={
                "type": "array",
                "minItems": 1,
                "maxItems": _ITEMS,
                "items": {
                    "type": "object",
                    "required": ["key", "value"],
                    "properties": {"key": _KEY, "value": VALUE, "ttl": TTL, "tags": TAGS},
                    "additionalProperties": False,
                },
            },
            plan={"type": "string", "minLength": 1, "maxLength": 64},
            keys={"type": "array", "minItems": 1, "maxItems": _ITEMS, "items": _KEY},
        ),
        answer={
            "type": "object",
            "required": ["name", "asked", "there", "computed", "failed"],
            "properties": {
                "name": {"type": "string"},
                "asked": {"type": "integer"},
                "there": {"type": "integer"},
                "computed": {"type": "integer", "description": "stored, or computed by the plan"},
                "failed": {"type": "object", "additionalProperties": {"type": "integer"}},
                "skipped": {"type": "integer"},
                "seconds": {"type": "number"},
                "cost_usd": {"type": "number"},
                "missing": {"type": "integer"},
                "stopped": {"type": "string"},
            },
        },
        refusals=(404,),
        heavy=True,
    ),
    Endpoint(
        name="cleanup",
        method="POST",
        path="/api/v1/cache/cleanup",
        access=Access.WRITE,
        handler=cleanup,
        summary="Give back at once the room of what has ended",
        body={"type": "object", "properties": {}, "additionalProperties": False},
        answer={
            "type": "object",
            "required": ["memory", "files", "epochs"],
            "properties": {
                "memory": {"type": "integer"},
                "files": {"type": ["integer", "null"]},
                "epochs": {"type": "integer"},
            },
        },
        heavy=True,
    ),
    Endpoint(
        name="clear",
        method="POST",
        path="/api/v1/cache/clear",
        access=Access.ADMIN,
        handler=clear,
        summary="Forget the whole namespace, which the request has to name",
        body={
            "type": "object",
            "required": ["namespace"],
            "properties": {"namespace": {"type": "string", "minLength": 1, "maxLength": 64}},
            "additionalProperties": False,
        },
        answer=_RECEIPT,
        refusals=(409,),
    ),
)
