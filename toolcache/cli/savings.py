"""What was saved."""

from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import count, span, usd
from toolcache.cli.problems import Code
from toolcache.cli.stats import LABELS
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolcache.cli.screen import Screen
    from toolcache.metrics.snapshot import Label
    from toolcache.savings import Saved, Savings

_MOST: Final = 12
_ADVICE: Final = 3


@verb("savings")
@click.option("--period", default="30d", show_default=True, metavar="SPAN", help="How far back: 1h, 24h, 30d.")
@click.option(
    "--by", "label", type=click.Choice(LABELS), default="domain", show_default=True, help="A row for each of these."
)
@click.option("--explain", is_flag=True, help="Show the ledger: where each figure comes from.")
async def savings(call: Call, period: str, label: "Label", explain: bool) -> Answer:
    """Savings.

    What a computation costs is what its domain declares, or what computations have reported, or their tokens at the price of
    the setting prices. Where nobody knows, it says what to do. Exit code 3: a store could not be asked.
    """
    async with call.cache() as cache:
        saved = await cache.savings(period)
        namespace = cache.settings.namespace
    document: dict[str, Any] = {
        "namespace": namespace,
        "period": period,
        **_sums(saved),
        "since": saved.since,
        "until": saved.until,
        "complete": saved.complete,
        **{f"{one}s": {name: _sums(row) for name, row in saved.by(one).items()} for one in LABELS},
        "ledger": [{**_sums(line), **_line(line)} for line in saved.ledger],
    }

    def show(screen: "Screen") -> None:
        if explain:
            for line in saved.explain().splitlines():
                screen.line(line)
        else:
            screen.show(picture(saved, namespace, period, label, screen.width))

    return Answer(document, show, Code.OK if saved.complete else Code.UNREACHABLE)


def _sums(saved: "Saved") -> dict[str, Any]:
    from toolcache.savings import Saved

    return {name: getattr(saved, name) for name in Saved._fields}


def _line(line: Any) -> dict[str, Any]:
    named = ("what", "unit_usd", "unit_tokens", "source", "why", "advice")
    return {"series": line.series._asdict(), **{name: getattr(line, name) for name in named}}


def picture(saved: "Savings", namespace: str, period: str, label: "Label", width: int) -> "RenderableType":
    """The sums, and a row for each domain, agent, tool or model, the dearest first."""
    from rich.text import Text

    from toolcache.cli.charts import bar
    from toolcache.cli.fleet import between
    from toolcache.cli.screen import ACCENT, GOOD, WARN, Column, fields, heading, shown, stacked, styled, table

    spent = f", {usd(saved.cost_spent)} were spent" if saved.cost_spent else ""
    tokens = f", {count(saved.tokens_spent)} were spent" if saved.tokens_spent else ""
    sums = fields(
        [
            ("answered", f"{count(saved.cached_responses)} calls"),
            ("computed less", f"{count(saved.computations_avoided)} times"),
            ("dollars", Text.assemble((usd(saved.cost_saved), GOOD), f" saved{spent}")),
            ("tokens", f"{count(saved.tokens_saved)} saved{tokens}"),
            ("time", f"{span(saved.seconds_saved)} saved"),
        ]
    )
    rows = saved.by(label)
    order = sorted(rows, key=lambda name: (-rows[name].cost_saved, -rows[name].cached_responses, name))
    most = max((row.cost_saved for row in rows.values()), default=0.0)
    columns = (
        Column(label.upper(), right=False),
        Column("ANSWERED"),
        Column("AVOIDED", rank=2),
        Column("SAVED"),
        Column("", right=False, style=ACCENT, rank=4),
        Column("TOKENS", rank=1),
        Column("TIME", rank=3),
    )
    lines = [
        (
            shown(name),
            count(rows[name].cached_responses),
            count(rows[name].computations_avoided),
            usd(rows[name].cost_saved),
            bar(rows[name].cost_saved / most, 10) if most else "",
            count(rows[name].tokens_saved),
            span(rows[name].seconds_saved),
        )
        for name in order[:_MOST]
    ]
    notes: list[RenderableType] = []
    if not saved.complete:
        notes.append(styled("A layer could not be asked: what other processes counted may be missing.", WARN))
    for line in saved.unknown[:_ADVICE]:
        says = f"{shown(line.series.domain)}: {line.why}. {shown(line.advice)}"
        notes.append(Text.assemble(("▲ ", WARN), says))
    title = heading(shown(namespace), f"the last {period}", between(saved.since, saved.until))
    return stacked([title, sums, table(columns, lines, width) if lines else None, *notes])
