"""The body of a request: JSON, of a bounded size, in a bounded time."""

import asyncio
import json
import re
from typing import Any, Final, NoReturn

from starlette.datastructures import Headers
from starlette.types import Receive

from toolcache.web.problems import Problem
from toolcache.web.schema import Schema, check

SLOWEST: Final = 10.0
"""Seconds that a body may take to come."""

_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")


async def json_body(headers: Headers, receive: Receive, schema: Schema, most: int) -> Any:
    """What a body says, which is as the schema has it.

    Raises:
        Problem: it is no JSON, too large, too slow, or not what the schema says.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which no form of another site's page can send
        raise Problem(415, "the body is to be JSON, with 'Content-Type: application/json'")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "the body is not to be encoded")
    try:
        async with asyncio.timeout(SLOWEST):
            raw = await _whole(headers, receive, most)
    except TimeoutError:
        raise Problem(408, f"the body took longer than {SLOWEST:g} s to come", {"Connection": "close"}) from None
    try:
        said = json.loads(raw.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_each_once)
        if _HALF.search(raw):  # half a character can be escaped in JSON, and written nowhere
            json.dumps(said, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        why = "the body is no JSON, names something twice, is too deep, or has half a character in it"
        raise Problem(400, why, at="body") from None
    check(schema, said, "body")
    return said


async def _whole(headers: Headers, receive: Receive, most: int) -> bytes:
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body was not sent to its end")
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(most: int) -> Problem:
    return Problem(413, f"a body has at most {most:,} bytes", {"Connection": "close"})


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("twice")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("no JSON")
