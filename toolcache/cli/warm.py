"""Has values be there before they are asked for: given ones, or those that a program makes."""

import asyncio
import json
import shlex
import shutil
import time
import tomllib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.problems import Code, Problem
from toolcache.cli.progress import Told, progress
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.dispatch.results import Progress
    from toolcache.tool_cache import ToolCache
    from toolcache.warming import WarmReport

_PLAN: Final = frozenset(
    [
        "name",
        "domain",
        "params",
        "file",
        "queries",
        "command",
        "ttl",
        "tags",
        "refresh",
        "max_parallel",
        "per_second",
        "max_items",
        "max_seconds",
        "max_cost_usd",
        "cost_usd",
    ]
)
_LONGEST: Final = 300.0
"""Seconds that a program has for one value."""


@verb("warm")
@click.argument("path")
@click.option("--command", metavar="COMMAND", help="Makes the value of a query; see above.")
@click.option("--domain", metavar="NAME", help="Whose values they are; else the lines are keys.")
@click.option("--ttl", metavar="SPAN", help="How long they are good.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag to keep with each; may be repeated.")
@click.option("--refresh", is_flag=True, help="Compute also what is there.")
@click.option("--parallel", "max_parallel", type=click.IntRange(1), metavar="N", help="So many at a time; else 8.")
@click.option(
    "--rate", "per_second", type=click.FloatRange(0, min_open=True), metavar="N", help="So many a second at most."
)
@click.option("--max-items", type=click.IntRange(1), metavar="N", help="So many in all at most.")
@click.option("--max-seconds", metavar="SPAN", help="Begin nothing more after this.")
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(0), metavar="USD", help="Dollars at most.")
@click.option("--cost", "cost_usd", type=click.FloatRange(0), metavar="USD", help="What one computation costs.")
def warm(call: Call, path: str, **told: Any) -> Coroutine[Any, Any, Answer]:
    """Warm.

    PATH is a plan (.toml), or a file of queries or keys, one a line; a name that ends in .jsonl has a JSON value a line.
    What is there already is left as it is.

    --command makes the value of each: it is run without a shell, is given the query as JSON on standard input, and prints the
    value as JSON. Without it each line of a .jsonl file is {"key": …, "value": …}, and is stored as it is.

    A plan has tables [[plan]] with name, domain, params, file or queries, command (a list of words), ttl, tags, refresh and the
    limits, spelt as in WarmPlan. Exit code 1: something failed.
    """
    options = {name: value for name, value in told.items() if value is not None and value is not False and value != ()}
    return _warm(call, [_made(plan) for plan in _plans(Path(path), options)])


def _plans(path: Path, options: dict[str, Any]) -> list[dict[str, Any]]:
    """What each plan is told."""
    if path.is_dir():
        raise Problem(f"{path} is a directory: name a file of queries, of values, or a plan")
    if path.suffix != ".toml":
        return [{"file": str(path), **options}]
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"{path} is no TOML: {error}") from None
    plans = told.get("plan")
    if not isinstance(plans, list) or not plans or told.keys() != {"plan"}:
        raise Problem(f"{path} is no plan: it has tables [[plan]], and nothing else")
    for plan in plans:
        _check(path, plan)
    return [{**plan, **_beside(path, plan), **options} for plan in plans]


def _check(path: Path, plan: dict[str, Any]) -> None:
    from toolcache.spelling import nearest

    for name in plan:
        if name not in _PLAN:
            raise Problem(f"{path}: a plan has no {name!r}{nearest(name, _PLAN)}")


def _beside(path: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Files that a plan names lie beside it."""
    return {"file": str(path.parent / plan["file"])} if isinstance(plan.get("file"), str) else {}


async def _warm(call: Call, made: "list[Run]") -> Answer:
    reports: list[WarmReport] = []
    async with call.cache() as cache:
        for one in made:
            with progress(call, "warm") as told:
                reports.append(await one(cache, told))
    failed = any(report.failed for report in reports)

    def show(screen: "Screen") -> None:
        for report in reports:
            screen.line(str(report))

    return Answer({"plans": [report.as_dict() for report in reports]}, show, Code.FOUND if failed else Code.OK)


def _words(command: Any) -> Any:
    """A command line's; a plan has them already."""
    try:
        return shlex.split(command) if isinstance(command, str) else command
    except ValueError as error:
        raise Problem(f"--command cannot be read: {error}") from None


def _made(options: dict[str, Any]) -> "Run":
    """What one plan does."""
    from toolcache.warm_plan import WarmPlan

    command = options.pop("command", None)
    if command is None:
        return _stored(options)
    plan = WarmPlan(compute=_Program(_words(command)), **options)

    async def run(cache: "ToolCache", told: Told) -> "WarmReport":
        def tell(now: "Progress") -> None:
            told(now.done, now.total, "")

        return await cache.warm(plan, on_progress=tell)

    return run


class _Program:
    """Computes a value by running a program of the user's, without a shell.

    Args:
        words: its command line.
    """

    def __init__(self, words: Any) -> None:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
            raise Problem("a command is the words of a command line: a program, and what it is given")
        if shutil.which(words[0]) is None:
            raise Problem(f"there is no program {words[0]!r} that could be run")
        self._words: list[str] = words

    async def __call__(self, query: Any) -> Any:
        """What it makes of a query."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self._words, stdin=pipe, stdout=pipe)
        try:
            async with asyncio.timeout(_LONGEST):
                said, _ = await process.communicate(json.dumps(query).encode())
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise ProgramFailedError(f"it ended with {process.returncode}")
        return json.loads(said)


class ProgramFailedError(Exception):
    """A program that was to make a value has failed."""


def _stored(options: dict[str, Any]) -> "Run":
    """Stores the values that a file has."""
    path, most = options.get("file"), options.get("max_items")
    if path is None or not path.endswith((".jsonl", ".ndjson")):
        raise Problem('who makes the values? --command COMMAND, or a .jsonl file of {"key": …, "value": …}')
    if lost := options.keys() - {"file", "ttl", "tags", "refresh", "max_items", "name"}:
        raise Problem(f"without a command there is nothing to compute: leave out {', '.join(sorted(lost))}")
    return partial(_store, path, most, options)


async def _store(
    path: str, most: int | None, options: Mapping[str, Any], cache: "ToolCache", told: Told
) -> "WarmReport":
    from toolcache.entry import MISSING
    from toolcache.warming import WarmReport

    lines = (await asyncio.to_thread(Path(path).read_bytes)).splitlines()
    rows = [line for line in lines if line.strip()][:most]
    began, stored, there, failed = time.monotonic(), 0, 0, Counter[str]()
    for number, line in enumerate(rows):
        told(number, len(rows), "")
        row = _row(line)
        if row is None:
            failed["no key and value"] += 1
            continue
        ttl = row.get("ttl", options.get("ttl", MISSING))
        keep = cache.set if options.get("refresh") else cache.add
        try:
            done = await keep(row["key"], row["value"], ttl, tags=[*options.get("tags", ()), *row.get("tags", ())])
        except (TypeError, ValueError) as error:
            failed[type(error).__name__] += 1
            continue
        stored, there = stored + bool(done), there + (not done)
    return WarmReport(
        name=options.get("name", Path(path).name),
        asked=len(rows),
        there=there,
        computed=stored,
        failed=dict(failed),
        seconds=time.monotonic() - began,
    )


def _row(line: bytes) -> dict[str, Any] | None:
    """A line's key, value, ttl and tags; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    told = isinstance(row, dict) and {"key", "value"} <= row.keys() <= {"key", "value", "ttl", "tags"}
    return row if told and isinstance(row["key"], str) and isinstance(row.get("tags", []), list) else None


Run = Callable[["ToolCache", Told], Awaitable["WarmReport"]]
