"""The items of a plan, wherever they come from: lists, functions, what was asked for, and files of others."""

import inspect
import json
import os
import stat
from asyncio import sleep, to_thread
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, NoReturn

from toolcache.domains import Domain
from toolcache.warm_plan import GETTERS, Item, WarmPlan

if TYPE_CHECKING:
    from toolcache.told import Told

MAX_LINE: Final = 65_536
"""Bytes of a line of a file; a longer one is none."""

_AT_ONCE: Final = 500
_TURN: Final = 50
"""Items after which the event loop has its turn."""
_JSON: Final = (".jsonl", ".ndjson")


class Bad(NamedTuple):
    """A line that is no item, and why."""

    reason: str


async def items(cache: "Told", plan: WarmPlan) -> AsyncGenerator[Item | Bad, None]:
    """The items of a plan, at most as many as it allows."""
    left = plan.max_items
    async with aclosing(_all(cache, plan)) as every:  # one that is left in the middle closes its file
        async for item in every:
            if not left:
                return
            left -= 1
            if left % _TURN == 0:  # what memory holds is seen to without a pause
                await sleep(0)
            yield item


async def _all(cache: "Told", plan: WarmPlan) -> AsyncGenerator[Item | Bad, None]:
    for key, compute in plan.items:
        yield Item(key, compute)
    if plan.file is not None:
        async with aclosing(_lines(plan.file)) as lines:
            async for line in lines:
                yield line if isinstance(line, Bad) else _checked(Item(line), plan)
    if plan.top is not None:
        for item in cache.requested.most(plan.top, plan.domain):
            yield item
    async for query in _queries(plan.queries):
        yield _checked(Item(query), plan)


async def _queries(queries: Any) -> AsyncIterator[Any]:
    if callable(queries):
        queries = queries()
        if inspect.isawaitable(queries):
            queries = await queries
    if isinstance(queries, str | bytes | Mapping):
        raise TypeError(f"queries returned a {type(queries).__name__}: have it return a list of queries")
    if isinstance(queries, AsyncIterable):
        async for query in queries:
            yield query
        return
    for query in queries:
        yield query


def _checked(item: Item, plan: WarmPlan) -> Item | Bad:
    if plan.domain is None and (not isinstance(item.subject, str) or not item.subject):
        return Bad("no key")
    return item


def fields_of(item: Item, domain: str | Domain[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What the getter of a domain is called with.

    Raises:
        TypeError: a query of a domain of the user's own does not name its fields, of which there are several.
    """
    if item.fields is not None:
        return dict(item.fields)
    if isinstance(domain, str):
        return {GETTERS[domain][1]: item.subject, **params}
    missing = [field for field in domain.key if field not in params]
    if len(missing) == 1:
        return {missing[0]: item.subject, **params}
    if not isinstance(item.subject, Mapping):
        raise TypeError(f"a query of the domain {domain.name!r} is a dict of {', '.join(missing)}")
    return {**params, **item.subject}


async def _lines(path: str) -> AsyncGenerator[Any, None]:
    """What the lines of a file say; read in a thread, some at a time."""
    read = _json if path.lower().endswith(_JSON) else _text
    file = await to_thread(_open, path)
    try:
        while lines := await to_thread(_some, file):
            for line in lines:
                if (said := line if isinstance(line, Bad) else read(line)) is not None:
                    yield said
    finally:
        await to_thread(file.close)


def _open(path: str) -> BinaryIO:
    # Without waiting: a pipe in the place of a file would keep the thread for ever.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("file is to be a regular file, of one query a line")
    return file


def _some(file: BinaryIO) -> list[bytes | Bad]:
    """The next lines; of one that is too long, word."""
    lines: list[bytes | Bad] = []
    while len(lines) < _AT_ONCE and (line := file.readline(MAX_LINE + 1)):
        if len(line) <= MAX_LINE:
            lines.append(line)
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE + 1)
        lines.append(Bad("line too long"))
    return lines


def _text(line: bytes) -> Any:
    """A line as it is; None for an empty one."""
    try:
        return line.decode("utf-8").strip() or None
    except UnicodeDecodeError:
        return Bad("no UTF-8")


def _json(line: bytes) -> Any:
    """The JSON value of a line; None for an empty one."""
    if not line.strip():
        return None
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Bad("no JSON")
    return Bad("null") if value is None else value


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("no JSON")
