"""A short measurement of this machine: what a hit, a write and a round trip take here."""

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import count, span
from toolcache.cli.problems import unreachable
from toolcache.cli.verb import verb
from toolcache.fields import Frozen

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.tool_cache import ToolCache

_ROUNDS: Final = 5
_LIFE: Final = 60.0
"""Seconds, after which nothing is left in Redis; deletes would leave their marks for a day."""
_KEYS: Final = 512
_AT_ONCE: Final = 64
_VALUE: Final = {"text": "x" * 180, "score": 0.5, "ids": list(range(8))}
"""Some 200 bytes, as an entry of an agent may have."""


class Measured(Frozen):
    """What one operation came to.

    Attributes:
        name: what was done.
        per_second: of the median round; ``best`` of the best one.
        seconds: what one took in the median round.
        count: how many there were in all.
    """

    name: str
    per_second: float
    best: float
    seconds: float
    count: int


@verb("bench")
@click.option(
    "--seconds",
    type=click.FloatRange(0.05, 60),
    default=0.5,
    show_default=True,
    metavar="N",
    help="How long each operation is measured.",
)
async def bench(call: Call, seconds: float) -> Answer:
    """Benchmark.

    One process, one call after the other, values of some 200 bytes, in a namespace and a directory of its own; the
    directory is removed at the end, and what is in Redis ends within a minute. Each operation runs five times; the median round is told, and the best. Redis is measured if one is configured.
    """
    from toolcache.cli.progress import progress

    measured: list[Measured] = []
    directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="toolcache-bench-")
    try:
        plans = _plans(call, directory)
        with progress(call, "measuring") as told:
            for number, (layer, options) in enumerate(plans):
                told(number, len(plans), layer)
                measured += await _measure(call, layer, options, seconds)
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    return Answer({"rounds": _ROUNDS, "seconds": seconds, "results": measured}, lambda screen: _show(screen, measured))


def _plans(call: Call, directory: str) -> list[tuple[str, dict[str, Any]]]:
    settings = call.settings()
    plans: list[tuple[str, dict[str, Any]]] = [("memory", {"redis_url": None, "files": False})]
    if settings.files:
        plans.append(("files", {"redis_url": None, "directory": directory}))
    if settings.redis_url is not None:
        plans.append(("Redis", {"files": False}))
    return plans


async def _measure(call: Call, layer: str, options: dict[str, Any], seconds: float) -> list[Measured]:
    from secrets import token_hex

    from toolcache.entry import Durability

    async with call.cache(namespace=f"bench-{token_hex(4)}", max_entries=None, **options) as cache:
        keys = [f"key:{number}" for number in range(_KEYS)]
        safe = await cache.set_many(dict.fromkeys(keys, _VALUE), ttl=_LIFE)
        if layer == "Redis" and set(safe.values()) != {Durability.REDIS}:
            raise unreachable("Redis cannot be reached: toolcache health says why; --backend file measures without")
        rows = [("hits, memory", _hits)] if layer == "memory" else [(f"reads, {layer}", _reads)]
        results = [await _rounds(name, does, cache, keys, seconds) for name, does in rows]
        results.append(await _rounds(f"writes, {layer}", _writes, cache, keys, seconds))
    return results


Does = Callable[["ToolCache", list[str]], Awaitable[None]]


async def _hits(cache: "ToolCache", keys: list[str]) -> None:
    get = cache.get
    for key in keys:
        await get(key)


async def _reads(cache: "ToolCache", keys: list[str]) -> None:
    """Each from the layer beneath: memory is emptied before."""
    memory = cache._parts.memory  # noqa: SLF001 - of this house
    for key in keys:
        memory.clear()
        await cache.get(key)


async def _writes(cache: "ToolCache", keys: list[str]) -> None:
    for key in keys:
        await cache.set(key, _VALUE, _LIFE)


async def _rounds(name: str, does: Does, cache: "ToolCache", keys: list[str], seconds: float) -> Measured:
    rounds, total = [], 0
    for _ in range(_ROUNDS):
        done, took = 0, 0.0
        while took < seconds / _ROUNDS:
            some = keys[done % len(keys) :][:_AT_ONCE]
            began = time.perf_counter()
            await does(cache, some)
            took += time.perf_counter() - began
            done += len(some)
            await asyncio.sleep(0)  # not measured: Ctrl-C has its turn
        rounds.append(took / done)
        total += done
    median = statistics.median(rounds)
    return Measured(name, 1 / median, 1 / min(rounds), median, total)


def _show(screen: "Screen", measured: list[Measured]) -> None:
    import os
    import platform

    from rich.text import Text

    from toolcache.cli.charts import bar
    from toolcache.cli.screen import ACCENT, DIM, Column, table

    columns = (
        Column("ONE AFTER THE OTHER", right=False),
        Column("A SECOND"),
        Column("BEST", rank=2),
        Column("EACH TAKES"),
        Column("", right=False, style=ACCENT, rank=1),
    )
    most = max(one.per_second for one in measured)
    rows = [
        (one.name, count(one.per_second), count(one.best), span(one.seconds), bar(one.per_second / most, 16))
        for one in measured
    ]
    screen.show(table(columns, rows, screen.width))
    machine = (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    )
    load = os.getloadavg()[0]
    screen.show(Text(f"{machine}, load {load:.1f}", style=DIM))
