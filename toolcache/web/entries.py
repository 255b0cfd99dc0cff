"""Single entries: listed, looked at, stored, removed."""

import asyncio
import json
from typing import Any, Final

from toolcache.catalogue import KeyInfo
from toolcache.entry import MISSING, Durability, Entry
from toolcache.errors import UnsupportedKeyError
from toolcache.keys.text import KeyText
from toolcache.tags import MAX_LENGTH, MAX_TAGS
from toolcache.web import plain
from toolcache.web.endpoint import Asked, Endpoint, Param
from toolcache.web.house import House
from toolcache.web.listings import Listing
from toolcache.web.paths import encoded
from toolcache.web.problems import Problem, refusing
from toolcache.web.schema import Schema
from toolcache.web.tokens import Access

KEYS: Final = "/api/v1/cache/keys"
_LARGE: Final = 64 << 10
"""Bytes of a value that is made JSON in a thread."""

PATTERN: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1024,
    "pattern": r"^([^\[]|\[!?(0-9|a-f|A-F|a-z|A-Z|[^\]!\-])+\])*$",
    "description": "of keys: * any letters, ? one, [ab] or [a-z] one of these, [!a] one but these; [*] is a star",
}
TAGS: Final[Schema] = {
    "type": "array",
    "maxItems": MAX_TAGS,
    "items": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_LENGTH,
        "pattern": "^([^@:][^:]*)?(:[^:]*){0,7}$",
        "description": "up to 8 levels, separated by colons; none begins with @",
    },
}
TTL: Final[Schema] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 10**9, "description": "seconds"},
        {"type": "string", "pattern": "^[1-9][0-9]{0,5}(ms|s|m|h|d|w)$", "description": "such as 90s, 30m, 7d"},
        {"type": "null", "description": "for ever"},
    ]
}
VALUE: Final[Schema] = {"description": "any JSON; an object with $type stands for what JSON has no word for"}
_ENCODED: Final = Param(
    "encoded",
    {"type": "boolean"},
    "whether the key is one that a list tells as encoded, rather than as it was written",
    default=False,
)
ENTRY: Final[Schema] = {
    "type": "object",
    "required": ["key", "size", "created_at", "expires_at", "ttl", "tags", "layer", "hits", "stale"],
    "properties": {
        "key": {"type": "string"},
        "encoded": {
            "type": "boolean",
            "description": "the key is too long to be told as it was written, or was made by a domain",
        },
        "href": {"type": "string", "description": "where the entry is"},
        "domain": {"type": ["string", "null"]},
        "size": {"type": "integer", "description": "bytes"},
        "created_at": {"type": "number", "description": "seconds since 1970"},
        "expires_at": {"type": ["number", "null"], "description": "null for never"},
        "ttl": {"type": ["number", "null"], "description": "seconds left; null without end"},
        "age": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "layer": {"type": "string", "enum": ["memory", "redis", "file"]},
        "hits": {"type": "integer"},
        "stale": {"type": "boolean"},
        "type": {"type": "string", "description": "of the value"},
        "value": {
            "description": "as JSON; what JSON has no word for is an object with $type. Only where the server shows values"
        },
    },
}


async def list_keys(house: House, asked: Asked) -> Any:
    """A page of the keys that match."""
    pattern, limit, cursor = (asked.query[name] for name in ("pattern", "limit", "cursor"))
    owner = (asked.who.name, pattern)
    if cursor is None:
        with refusing("query.pattern"):
            found = house.cache.scan(pattern)
        page = await house.listings.begin(Listing(owner, found), limit)
    else:
        page = await house.listings.go_on(cursor, owner, limit)
    keys = [shown(info, asked.root) for info in page.found]
    return {"keys": keys, "cursor": page.cursor or None, "complete": page.complete}


def shown(info: KeyInfo, root: str) -> dict[str, Any]:
    """What is known of an entry, and where it is, for JSON."""
    is_text = type(info.key) is KeyText
    where = f"{encoded(root).replace('%2F', '/')}{KEYS}/{encoded(info.key)}" if info.key else None
    return {**plain.said(info), "encoded": is_text, "href": f"{where}?encoded=true" if is_text and where else where}


def _key(asked: Asked) -> str:
    if not asked.query["encoded"]:
        return asked.key
    try:
        return KeyText(asked.key)
    except UnsupportedKeyError:
        raise _none() from None


def _none() -> Problem:
    return Problem(404, "no entry has this key", at="path.key")


async def get_entry(house: House, asked: Asked) -> Any:
    """What is known of an entry and, where the server shows values, its value."""
    key = _key(asked)
    found = await house.cache.get_entry(key)
    if found is None:
        raise _none()
    known = {
        "key": key,
        "encoded": type(key) is KeyText,
        **{name: plain.said(getattr(found, name)) for name in Entry._fields if name != "value"},
        "type": type(found.value).__name__,
    }
    if not house.values:
        return known
    if found.size < _LARGE:
        return {**known, "value": plain.told(found.value)}
    return await asyncio.to_thread(_large, known, found.value)


def _large(known: dict[str, Any], value: Any) -> Any:
    from starlette.responses import Response

    text = json.dumps({**known, "value": plain.told(value)}, separators=(",", ":"), allow_nan=False)
    return Response(text, media_type="application/json")


async def put_entry(house: House, asked: Asked) -> Any:
    """Store a value."""
    body = asked.body
    with refusing("body.value"):
        value = await asyncio.to_thread(plain.meant, body["value"])
    with refusing("body"):
        where = await house.cache.set(asked.key, value, body.get("ttl", MISSING), tags=body.get("tags", ()))
    return {"stored": where.name.lower()}


async def delete_entry(house: House, asked: Asked) -> Any:
    """Remove an entry everywhere."""
    return {"deleted": await house.cache.delete(_key(asked))}


def _rows() -> list[Endpoint]:
    rows = []
    for path, suffix, more in (
        (f"{KEYS}/{{key}}", "", "Any key, also one that is a word of this interface, such as stats."),
        (
            "/api/v1/cache/{key}",
            "_short",
            "The same for keys that are no word of this interface: see /api/v1/cache/keys/{key}.",
        ),
    ):
        rows += [
            Endpoint(
                name=f"get_entry{suffix}",
                method="GET",
                path=path,
                access=Access.READ,
                handler=get_entry,
                summary="What is known of an entry and, where the server shows values, its value",
                more=more,
                params=(_ENCODED,),
                answer=ENTRY,
                refusals=(404,),
            ),
            Endpoint(
                name=f"put_entry{suffix}",
                method="PUT",
                path=path,
                access=Access.WRITE,
                handler=put_entry,
                summary="Store a value, under a key of your own",
                more=more,
                body={
                    "type": "object",
                    "required": ["value"],
                    "properties": {"value": VALUE, "ttl": TTL, "tags": TAGS},
                    "additionalProperties": False,
                },
                answer={
                    "type": "object",
                    "required": ["stored"],
                    "properties": {"stored": {"type": "string", "enum": [one.name.lower() for one in Durability]}},
                },
            ),
            Endpoint(
                name=f"delete_entry{suffix}",
                method="DELETE",
                path=path,
                access=Access.WRITE,
                handler=delete_entry,
                summary="Remove an entry from every layer; says whether it was there",
                more=more,
                params=(_ENCODED,),
                refusals=(404,),
                answer={"type": "object", "required": ["deleted"], "properties": {"deleted": {"type": "boolean"}}},
            ),
        ]
    return rows


ENDPOINTS: Final = (
    Endpoint(
        name="list_keys",
        method="GET",
        path=KEYS,
        access=Access.READ,
        handler=list_keys,
        summary="Keys, and what is known of their entries, page after page",
        more=(
            "What is there throughout is listed once; what comes or goes meanwhile, perhaps. A page may be short, or empty, before the "
            "last one: go on until the cursor is null. A cursor that nobody asked for within a minute has ended (410)."
        ),
        params=(
            Param("pattern", PATTERN, "of the keys", "*"),
            Param("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "entries of a page", 100),
            Param(
                "cursor",
                {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
                "of the answer before; the same pattern goes with it",
            ),
        ),
        answer={
            "type": "object",
            "required": ["keys", "cursor", "complete"],
            "properties": {
                "keys": {"type": "array", "items": ENTRY},
                "cursor": {"type": ["string", "null"], "description": "of the next page; null at the end"},
                "complete": {
                    "type": "boolean",
                    "description": "false where a layer could not be listed, so far: the list is of what the others have",
                },
            },
        },
        refusals=(410,),
        heavy=True,
    ),
    *_rows(),
)
