"""What the fleet has counted."""

from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.problems import Code, Problem
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.metrics.snapshot import Label, Metrics
    from toolcache.tool_cache import ToolCache

LABELS: Final = ("domain", "agent", "tool", "model")


@verb("stats")
@click.option("--period", default="1h", show_default=True, metavar="SPAN", help="How far back: 1h, 24h, 30d.")
@click.option(
    "--by", "label", type=click.Choice(LABELS), default="domain", show_default=True, help="A row for each of these."
)
async def stats(call: Call, period: str, label: "Label") -> Answer:
    """Statistics.

    The numbers are those of every process that shares the stores, also of those that have ended; this command counts nothing
    itself. Exit code 3: a store could not be asked, so what others counted may be missing.
    """
    async with call.cache() as cache:
        return await look(call, cache, period, label)


async def look(call: Call, cache: "ToolCache", period: str, label: "Label") -> Answer:
    """What the fleet counted, told once."""
    from toolcache.cli import reach

    fleet = await fleet_of(cache, period)
    nothing = "" if fleet.series or fleet.layers else await reach.nothing(cache, period)
    return answer(call, fleet, cache.settings.namespace, period, label, nothing)


async def fleet_of(cache: "ToolCache", period: str) -> "Metrics":
    """What the fleet counted in a period."""
    metrics: Any = getattr(cache, "metrics", None)
    if metrics is None:
        raise Problem("this version keeps no statistics over time", kind="missing")
    fleet: Metrics = await metrics(period)
    return fleet


def answer(call: Call, fleet: "Metrics", namespace: str, period: str, label: "Label", nothing: str = "") -> Answer:
    """The same, told; ``nothing`` is what is said where that is nothing."""
    from toolcache.cli import documents

    def show(screen: "Screen") -> None:
        from toolcache.cli import fleet as views
        from toolcache.cli.screen import stacked

        parts = views.tables(fleet, label, screen.width)
        told = parts.values() if fleet.series or fleet.layers else (parts["notice"], nothing)
        screen.show(stacked([views.title(fleet, namespace, period), *told]))

    code = Code.OK if fleet.complete else Code.UNREACHABLE
    document = {"namespace": namespace, **documents.metrics(fleet, period)} if call.as_json else {}
    return Answer(document, show, code)
