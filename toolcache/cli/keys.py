"""The entries that there are."""

from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import count, size, span
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.catalogue import KeyInfo
    from toolcache.cli.screen import Screen

MOST: Final = 1000
"""Entries that are listed unless ``--limit`` says otherwise."""


@verb("keys")
@click.argument("pattern", default="*")
@click.option(
    "--limit", type=click.IntRange(1), default=MOST, show_default=True, metavar="N", help="List so many at most."
)
@click.option("--domain", metavar="NAME", help="Those of a domain alone.")
@click.option("--tag", metavar="TAG", help="Those that carry a tag, or one beneath it, alone.")
async def keys(call: Call, pattern: str, limit: int, domain: str | None, tag: str | None) -> Answer:
    """List entries.

    In a PATTERN * stands for any letters, ? for one, and [ab] for one of these. In a pipe it prints keys, one a line.
    """
    from toolcache.cli import reach

    found: list[KeyInfo] = []
    more = False
    async with call.cache() as cache:
        entries = cache.scan(pattern)
        async for info in entries:
            if (domain is not None and info.domain != domain) or (tag is not None and not _carries(info, tag)):
                continue
            more = len(found) == limit
            if more:
                break
            found.append(info)
        closing: Any = entries
        await closing.aclose()
        document: dict[str, Any] = {"keys": found, "more": more}
        code = await reach.partly(call, cache, document, some=bool(found))
    found.sort(key=lambda info: info.key)

    def show(screen: "Screen") -> None:
        if not screen.terminal:
            for info in found:
                screen.line(_one_line(info.key))
        else:
            _show(screen, found, pattern)
        if more:
            call.note(f"the first {limit:,}; --limit lists more")

    return Answer(document, show, code)


def _carries(info: "KeyInfo", tag: str) -> bool:
    return any(one == tag or one.startswith(f"{tag}:") for one in info.tags)


def _one_line(key: str) -> str:
    from toolcache.cli.screen import shown

    return shown(key)


def _show(screen: "Screen", found: "list[KeyInfo]", pattern: str) -> None:
    from toolcache.cli.screen import Column, shown, table

    if not found:
        screen.note("nothing is there" if pattern == "*" else "no key matches")
        return
    columns = (
        Column("KEY", right=False),
        Column("DOMAIN", right=False, rank=2),
        Column("LAYER", right=False, rank=3),
        Column("SIZE"),
        Column("ENDS IN"),
        Column("TAGS", right=False, rank=4),
    )
    rows = [
        (
            shown(info.key),
            info.domain or "",
            info.layer,
            size(info.size),
            "stale" if info.stale else span(info.ttl),
            ", ".join(map(shown, info.tags)),
        )
        for info in found
    ]
    screen.show(table(columns, rows, screen.width))
    screen.note(f"{count(len(found))} {'entry' if len(found) == 1 else 'entries'}, {size(sum(i.size for i in found))}")
