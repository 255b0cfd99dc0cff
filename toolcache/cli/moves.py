"""Backup and restore."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import count, size, span
from toolcache.cli.problems import unreachable
from toolcache.cli.progress import progress
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.tool_cache import ToolCache
    from toolcache.transfer import Transfer


@verb("backup")
@click.argument("path")
@click.option("--anew", is_flag=True, help="Begin anew rather than go on where an earlier call was ended.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Entries a second at most.")
async def backup(call: Call, path: str, anew: bool, rate: float | None) -> Answer:
    """Back up.

    Nothing stops meanwhile. The file is for this user alone; one that was ended goes on when it is called again. Sessions,
    and what was run once, are not in it. Exit code 3: a store could not be asked.
    """
    async with _moving(call, "backup") as (cache, tell):
        done = await cache.export(path, resume=not anew, rate=rate, on_progress=tell)
    return _answer(done, "written to", path)


@verb("restore")
@click.argument("path")
@click.option("--keep-newer", is_flag=True, help="Take only what is newer than what is there.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Entries a second at most.")
def restore(call: Call, path: str, keep_newer: bool, rate: float | None) -> Coroutine[Any, Any, Answer]:
    """Restore.

    The whole file is looked through first: one that is damaged changes nothing. What it holds takes the place of what is
    there, so it asks first; with --keep-newer only what is older gives way.
    """
    namespace = call.settings().namespace
    call.confirm(f"Write the entries of {path} over those of the namespace {namespace!r}?")
    return _restore(call, path, keep_newer=keep_newer, rate=rate)


async def _restore(call: Call, path: str, *, keep_newer: bool, rate: float | None) -> Answer:
    async with _moving(call, "restore") as (cache, tell):
        done = await cache.import_(path, keep_newer=keep_newer, rate=rate, on_progress=tell)
    return _answer(done, "taken from", path)


@asynccontextmanager
async def _moving(call: Call, what: str) -> "AsyncIterator[tuple[ToolCache, Callable[[Transfer], None]]]":
    """A cache, and what is told how far it is; what fails since a layer cannot be asked is told apart from a file that is bad."""
    from toolcache.cli import reach
    from toolcache.errors import BackupError

    async with call.cache() as cache:
        try:
            with progress(call, what) as told:
                yield cache, lambda now: told(now.entries, now.total, size(now.bytes))
        except BackupError as error:
            if await reach.failed(cache):
                raise unreachable(str(error)) from None
            raise


def _answer(done: "Transfer", what: str, path: str) -> Answer:
    def show(screen: "Screen") -> None:
        from toolcache.cli.screen import fields, shown

        rows = [
            ("entries", f"{count(done.entries)} {what} {shown(path)}"),
            ("size", size(done.bytes)),
            ("took", span(done.seconds)),
        ]
        if done.resumed:
            rows.append(("of an earlier call", count(done.resumed)))
        rows += [(f"skipped, {reason}", count(number)) for reason, number in done.skipped.items()]
        screen.show(fields(rows))

    return Answer({"path": path, **{name: getattr(done, name) for name in done._fields}}, show)
