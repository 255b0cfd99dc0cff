"""Looks for what is set up wrong, and says what to do about it."""

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from toolcache.cli.call import Answer, Call
from toolcache.cli.problems import Code
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from toolcache.cli.checks.finding import Finding
    from toolcache.cli.screen import Screen
    from toolcache.settings import Settings

_SIGNS: Final = {"ok": ("✓", "green"), "note": ("○", "cyan"), "warn": ("▲", "yellow"), "bad": ("✗", "bold red")}


@verb("doctor")
def doctor(call: Call) -> "Coroutine[Any, Any, Answer]":
    """Look.

    It looks at the settings, what is installed, the directory, and Redis: its version, eviction, clock and permissions; behind
    sentinels at the master that they name, of a cluster at each primary. Nothing is changed. Exit codes: 0 nothing is wrong (notes may be told); 1 something is, or may be some day; 3 Redis cannot
    be reached.
    """
    from toolcache.cli.checks.extras import extras
    from toolcache.cli.checks.settings import settings
    from toolcache.cli.config import effective

    chosen, origins = effective(call)
    return _look(call, chosen, [*extras(chosen), *settings(chosen, origins, os.environ)])


async def _look(call: Call, chosen: "Settings", found: "list[Finding]") -> Answer:
    from toolcache.cli.checks.files import files
    from toolcache.cli.checks.redis import redis

    async with call.cache() as cache:
        known = await cache.health(probe=False)
    if known.files is not None:
        found += await asyncio.to_thread(lambda where: [*files(where, chosen.max_disk)], known.files.where)
    if chosen.redis_url is not None:
        found += await redis(call.settings())
    else:
        from toolcache.cli.checks.finding import Finding

        found.append(Finding("redis", "note", "no Redis is configured: each host keeps its own files"))
    return Answer({"findings": found}, lambda screen: _show(screen, found), _code(found))


def _code(found: "list[Finding]") -> Code:
    if any(one.check == "redis" and "cannot be reached" in one.says for one in found):
        return Code.UNREACHABLE
    return Code.FOUND if any(one.status in {"warn", "bad"} for one in found) else Code.OK


def _show(screen: "Screen", found: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    from toolcache.cli.screen import shown

    listed = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    listed.add_column(no_wrap=True)
    listed.add_column(no_wrap=True, style="dim")
    listed.add_column(overflow="fold")
    for one in found:
        sign, style = _SIGNS[one.status]
        listed.add_row(Text(sign, style=style), one.check, shown(one.says))
        if one.do:
            listed.add_row("", "", Text(f"→ {shown(one.do)}", style="bold" if one.status != "note" else ""))
    screen.show(listed)
