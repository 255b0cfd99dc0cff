"""Writes docs/reference/rest.md from the table of endpoints.

    PYTHONPATH=. python tests/rest_reference.py

A test says when it must be written again.
"""

from pathlib import Path
from typing import Any, Final

from toolcache.web.endpoint import EVENTS, Endpoint
from toolcache.web.openapi import KEY, statuses
from toolcache.web.schema import Schema
from toolcache.web.table import TABLE
from toolcache.web.tokens import Access

PAGE: Final = Path(__file__).parents[1] / "docs/reference/rest.md"

_HEAD: Final = """# REST

Written by tests/rest_reference.py from the table of endpoints, as is the OpenAPI document that a server tells at `/api/v1/openapi.json`.
[Serve the cache over HTTP](../how-to/serve.md) says how to have a server, and who may ask it.

All paths are below the place where the application is mounted. Answers are JSON unless something else is said, problems
`application/problem+json` (RFC 9457) with `title`, `status`, `detail`, where it helps `at`, and the `request_id` by which the server's log
knows the request. HEAD answers wherever GET does. Parameters that are not listed are refused, as is a body with a field that is not.

Besides the statuses below, any request may be answered with 400 (cannot be read), 403 (a page of another origin asks), 406 (another kind of
answer was asked for), 421 (another host was asked for), 422 (is not as listed), 429 (too often: `Retry-After` says when) or 500; one that needs
a scope with 401 (no token, or a wrong one), 403 (the token is for less) or 503 (the cache cannot do that now); one with a body with 408
(too slow), 413 (too large) or 415 (no JSON).

| | | scope | |
|---|---|---|---|
"""


def page() -> str:
    """The page."""
    rows = "".join(f"| `{one.method}` | `{one.path}` | {_scope(one)} | {one.summary} |\n" for one in TABLE)
    return _HEAD + rows + "".join(_section(one) for one in TABLE)


def _scope(one: Endpoint) -> str:
    return "anybody" if one.access is Access.OPEN else str(one.access)


def _section(one: Endpoint) -> str:
    lines = [f"\n## {one.method} {one.path}\n", f"{one.summary}. {one.more}".rstrip() + f" Scope: {_scope(one)}."]
    if "{key}" in one.path:
        lines.append(f"\n`{{key}}` is {KEY}.")
    if one.params:
        lines += ["\n| parameter | | unless given | |", "|---|---|---|---|"]
        lines += [
            f"| `{param.name}` | {kind(param.schema)} | {_default(param.default)} | {param.says} |"
            for param in one.params
        ]
    if one.body is not None:
        lines += _fields("body", one.body)
    if one.answer.get("properties"):
        lines += _fields("event" if one.media == EVENTS else "answer", one.answer)
    if one.media != "application/json":
        lines.append(f"\nAnswers with {' or '.join(f'`{media}`' for media in (one.media, *one.medias))}.")
    further = sorted(statuses(one))
    if further:
        lines.append(f"\nAlso: {', '.join(str(status) for status in further)}.")
    return "\n".join(lines) + "\n"


def _fields(what: str, schema: Schema) -> list[str]:
    if not schema["properties"]:
        return [f"\nThe {what} is an empty object."]
    needed = schema.get("required", ())
    one = ", of which one is given" if schema.get("maxProperties") == 1 else ""
    rows = [f"\n| {what}{one} | | |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        always = "" if name in needed or one else "optional" if what == "body" else "maybe"
        rows.append(f"| `{name}` | {kind(field)} | {always} |")
    return rows


def kind(schema: Schema) -> str:
    """A schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(kind(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join("null" if one is None else f'`"{one}"`' for one in schema["enum"])
    types = schema.get("type", "any")
    words = types if isinstance(types, str) else " or ".join(types)
    bounds = _bounds(schema)
    inner = f" of {kind(schema['items'])}" if "items" in schema else ""
    said = schema.get("description", "")
    return f"{words}{inner}{bounds}{': ' if said else ''}{said}".replace("|", "\\|")


def _bounds(schema: Schema) -> str:
    names = (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("maxItems", "at most"),
        ("maxLength", "at most"),
    )
    parts = [f"{word} {schema[name]:,}" for name, word in names if name in schema]
    return f" {' '.join(parts)}" if parts else ""


def _default(value: Any) -> str:
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
