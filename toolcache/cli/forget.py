"""Many entries at once: invalidate, clear, cleanup."""

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import count, size
from toolcache.cli.problems import Problem
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.entry import Invalidation


@verb("invalidate")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="What carries it, or one beneath it; may be repeated."
)
@click.option("--domain", metavar="NAME", help="What belongs to a domain.")
@click.option("--agent", metavar="NAME", help="What was made for an agent.")
@click.option("--tool", metavar="NAME", help="The results of a tool.")
@click.option("--catalog-version", metavar="NAME", help="What belongs to a version of a catalog.")
@click.option("--pattern", metavar="PATTERN", help="The keys that match; goes through every layer.")
def invalidate(call: Call, tags: Sequence[str], **names: str | None) -> Coroutine[Any, Any, Answer]:
    """Invalidate.

    It takes one kind at a time. By --pattern it asks first, since that lists every layer and deletes what it finds.
    """
    what: dict[str, Any] = {name: said for name, said in names.items() if said is not None}
    if tags:
        what["tags"] = list(tags)
    if len(what) != 1:
        kinds = "--tag, --domain, --agent, --tool, --catalog-version or --pattern"
        raise Problem(f"name {'one kind at a time' if what else 'what to forget'}: {kinds}")
    if "pattern" in what:
        call.confirm("Delete every key that matches?")
    return _invalidate(call, what)


async def _invalidate(call: Call, what: dict[str, Any]) -> Answer:
    from toolcache.cli.domains import declare

    async with call.cache() as cache:
        if "domain" in what:
            await declare(cache, what["domain"])
        receipt = await cache.invalidate(**what)
    return _receipt(receipt)


@verb("clear")
def clear(call: Call) -> Coroutine[Any, Any, Answer]:
    """Clear.

    Nothing else is touched: neither other namespaces, nor sessions, nor what was run once.
    """
    namespace = call.settings().namespace
    call.confirm(f"Forget everything in the namespace {namespace!r}?")
    return _clear(call)


async def _clear(call: Call) -> Answer:
    async with call.cache() as cache:
        receipt = await cache.clear()
    return _receipt(receipt)


def _receipt(receipt: "Invalidation") -> Answer:
    def show(screen: "Screen") -> None:
        from toolcache.cli.screen import fields

        said = {"done": "forgotten", "queued": "will be told as soon as it is back", "failed": "could not be told"}
        rows: list[tuple[str, str]] = [
            (name, said.get(state, state))
            for name, state in (("memory", receipt.memory), ("Redis", receipt.redis), ("files", receipt.files))
            if state is not None
        ]
        if receipt.removed is not None and receipt.scope in {"pattern", "where"}:
            rows.append(("removed", count(receipt.removed)))
        screen.show(fields(rows))

    return Answer(receipt, show)


@verb("cleanup")
async def cleanup(call: Call) -> Answer:
    """Clean up.

    Nothing that could still be served is lost. Redis lets go of what has ended by itself.
    """
    async with call.cache() as cache:
        cleaned = await cache.cleanup()

    def show(screen: "Screen") -> None:
        from toolcache.cli.screen import fields

        files = "none" if cleaned.files is None else size(cleaned.files)
        screen.show(
            fields([("files, given back", files), ("records of invalidations, removed", count(cleaned.epochs))])
        )

    return Answer(cleaned, show)
