"""The OpenAPI 3.1 document of the application, read off the table of endpoints."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.responses import Response

from toolcache import __version__
from toolcache.entry import MISSING
from toolcache.web.endpoint import EVENTS, Asked, Endpoint, Param
from toolcache.web.house import House
from toolcache.web.problems import MEDIA, SCHEMA
from toolcache.web.schema import Schema
from toolcache.web.tokens import Access

KEY: Final = "the rest of the path, percent-encoded; slashes may be, or not"
_PROBLEM: Final = {"$ref": "#/components/responses/Problem"}
_EVERYWHERE: Final = (400, 403, 406, 421, 422, 429, 500)
_KNOWN: Final = (401, 503)
_BODIES: Final = (408, 413, 415)


async def openapi(house: House, asked: Asked) -> Any:
    """This very document, with a validator by which it need not be sent twice."""
    text = json.dumps(document(house.table, asked.root), separators=(",", ":"))
    mark = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    fields = {"ETag": mark, "Cache-Control": "no-cache"}
    known = {one.strip().removeprefix("W/") for one in asked.if_none_match.split(",")}
    if known & {mark, "*"}:
        return Response(None, 304, fields)
    return Response(text, 200, fields, "application/json")


def document(table: Iterable[Endpoint], root: str = "") -> dict[str, Any]:
    """The document.

    Args:
        table: of endpoints.
        root: where the application is mounted.
    """
    paths: dict[str, dict[str, Any]] = {}
    for one in table:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "toolcache",
            "version": __version__,
            "summary": "What a cache for agents does, and what is in it",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "of scope read, write or admin"}
            },
            "schemas": {"Problem": SCHEMA},
            "responses": {
                "Problem": {
                    "description": "the request was not answered, and why",
                    "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


def _operation(one: Endpoint) -> dict[str, Any]:
    said: dict[str, Any] = {"operationId": one.name, "summary": one.summary, "tags": [str(one.access)]}
    if one.more:
        said["description"] = one.more
    parameters = [_query(param) for param in one.params]
    if "{key}" in one.path:
        parameters.insert(0, _key())
    if parameters:
        said["parameters"] = parameters
    if one.body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": one.body}}}
    said["responses"] = _responses(one)
    said["security"] = [{}] if one.access is Access.OPEN else [{"token": []}]
    return said


def statuses(one: Endpoint) -> dict[int, Mapping[str, Any]]:
    """Responses that not every endpoint has."""
    return {**dict.fromkeys(one.refusals, _PROBLEM), **one.others}


def _responses(one: Endpoint) -> dict[str, Any]:
    answer = {
        "description": one.summary,
        "content": {media: {"schema": _schema(media, one.answer)} for media in (one.media, *one.medias)},
    }
    usual = [*_EVERYWHERE]
    if one.access is not Access.OPEN:
        usual += _KNOWN
    if one.body is not None:
        usual += _BODIES
    every = {200: answer, **dict.fromkeys(sorted(usual), _PROBLEM), **statuses(one)}
    return {str(status): every[status] for status in sorted(every)}


def _schema(media: str, answer: Schema) -> Schema:
    """Of a stream that of each event, in the words that OpenAPI 3.2 has for them: 3.1 has none of its own."""
    if media != EVENTS:
        return answer
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": answer}
    return {"type": "object", "required": ["data"], "properties": {"data": data}, "description": "each of the events"}


def _query(param: Param) -> Mapping[str, Any]:
    schema = dict(param.schema)
    said: dict[str, Any] = {"name": param.name, "in": "query", "description": param.says, "schema": schema}
    if param.default is MISSING:
        said["required"] = True
    elif param.default is not None:
        schema["default"] = param.default
    return said


def _key() -> Mapping[str, Any]:
    return {
        "name": "key",
        "in": "path",
        "required": True,
        "description": KEY,
        "schema": {"type": "string", "minLength": 1},
    }
