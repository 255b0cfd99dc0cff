"""Advice: analyze, diagnose, stale, top."""

from heapq import nlargest
from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import count, percent, size, span, usd
from toolcache.cli.problems import Code, Problem
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Cell, Screen
    from toolcache.tool_cache import ToolCache

_WORTH: Final = ("hits", "misses", "dollars", "seconds", "tokens", "bytes")
_LABELS: Final = ("domain", "agent", "tool", "model")


def _method(cache: "ToolCache", name: str) -> Any:
    """A method of the cache that another version may lack."""
    method = getattr(cache, name, None)
    if method is None:
        raise Problem(f"this version gives no such advice ({name})", kind="missing")
    return method


@verb("analyze")
@click.option("--period", default="1d", show_default=True, metavar="SPAN", help="How far back.")
async def analyze(call: Call, period: str) -> Answer:
    """Analyze.

    It comes from lookups that were sampled, of all processes that share the stores; each recommendation says what it would
    bring. Where too few were sampled it says so, and recommends nothing. Exit code 3: a store could not be asked.
    """
    from toolcache.cli import reach

    async with call.cache() as cache:
        found = await _method(cache, "analyze")(period)
        document: dict[str, Any] = {name: getattr(found, name) for name in found._fields}
        code = await reach.partly(call, cache, document, some=bool(found.lookups))
        nothing = "" if found.lookups else await reach.nothing(cache, period)

    def show(screen: "Screen") -> None:
        from rich.text import Text

        from toolcache.cli.screen import Column, fields, shown, stacked, table

        if nothing:
            screen.note(nothing)
            return
        memory = found.size
        told: list[Any] = [Text.assemble(("memory  ", "bold"), shown(memory.reason))]
        if memory.recommended is not None:
            rows = [
                ("now", f"{size(memory.present)}, {percent(memory.present_hit_rate)} hits"),
                (
                    "recommended",
                    f"{size(memory.recommended)}, {percent(memory.hit_rate)} hits (±{percent(memory.error)})",
                ),
                ("worth", f"{usd(memory.dollars)} a day"),
            ]
            told.append(fields(rows))
        columns = (
            Column("DOMAIN", right=False),
            Column("LIVES NOW"),
            Column("WOULD DO"),
            Column("HITS NOW", rank=2),
            Column("HITS THEN", rank=1),
            Column("A DAY", rank=3),
        )
        lines = [
            (
                shown(name),
                "for ever" if one.present is None else span(one.present),
                "not enough known" if one.recommended is None else span(one.recommended),
                percent(one.present_hit_rate),
                percent(one.hit_rate),
                usd(one.dollars),
            )
            for name, one in found.lifetimes.items()
        ]
        told.append(table(columns, lines, screen.width) if lines else None)
        told.append(Text(f"from {count(found.samples)} samples of {count(found.lookups)} lookups", style="dim"))
        screen.show(stacked(told))

    return Answer(document, show, code)


@verb("diagnose")
@click.option("--period", default="1h", show_default=True, metavar="SPAN", help="How far back.")
@click.option("--domain", metavar="NAME", help="Of one domain alone.")
async def diagnose(call: Call, period: str, domain: str | None) -> Answer:
    """Diagnose.

    It names keys that vary, lifetimes that are too short, a memory that is too small, or errors, with the evidence and what
    to change. Exit codes: 1 there is something to change; 3 a store could not be asked, so it may be otherwise.
    """
    from toolcache.cli import reach
    from toolcache.cli.domains import declare

    async with call.cache() as cache:
        await declare(cache, domain)
        found = await _method(cache, "diagnose")(domain, period)
        document: dict[str, Any] = {name: getattr(found, name) for name in found._fields}
        code = await reach.partly(call, cache, document, some=bool(found.lookups))
        nothing = "" if found.lookups else await reach.nothing(cache, period, domain or "")

    def show(screen: "Screen") -> None:
        from rich.text import Text

        from toolcache.cli.screen import DIM, WARN, fields, indented, shown, stacked

        if nothing:
            screen.note(nothing)
            return
        rate = f"{percent(found.hit_rate)} of {count(found.lookups)} lookups were hits"
        issue = (
            "" if found.issue == "none" else f"{found.issue.replace('_', ' ')}  "
        )  # none: that may be too little known
        told: list[Any] = [Text.assemble((issue, "bold"), rate), Text(shown(found.reason))]
        for one in found.findings:
            sign = Text.assemble(("▲ ", WARN), f"{one.issue.replace('_', ' ')} of {shown(one.where)}")
            worth = Text(f"  {percent(one.gain)} of lookups would become hits, {usd(one.dollars)} a day", style=DIM)
            told += [
                sign + worth if one.gain else sign,
                Text(f"  → {shown(one.change)}"),
                indented(fields(_evidence(one.evidence))),
            ]
        screen.show(stacked(told))

    return Answer(document, show, code or (Code.OK if found.issue in {"none", "cold"} else Code.FOUND))


def _evidence(evidence: Any) -> "list[tuple[str, Cell]]":
    from toolcache.cli.screen import shown

    return [
        (shown(name), shown(f"{value:,.4g}" if isinstance(value, float) else str(value)))
        for name, value in evidence.items()
    ]


@verb("stale")
@click.option("--max-age", default="7d", show_default=True, metavar="SPAN", help="Older than this.")
@click.option("--domain", metavar="NAME", help="Of one domain alone.")
@click.option("--agent", metavar="NAME", help="Of one agent alone.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="N", help="So many at most."
)
async def stale(call: Call, max_age: str, domain: str | None, agent: str | None, limit: int) -> Answer:
    """Stale.

    Those of Redis and of the files, the oldest first, without their values. Exit codes: 1 there are some; 3 a store could not be
    asked.
    """
    from toolcache.cli import reach
    from toolcache.cli.domains import declare

    async with call.cache() as cache:
        await declare(cache, domain)
        find = _method(cache, "find_stale")
        found = await find(max_age, domain=domain, agent=agent, limit=limit, layers=True)
        document: dict[str, Any] = {"entries": found}
        code = await reach.partly(call, cache, document, some=bool(found))

    def show(screen: "Screen") -> None:
        from toolcache.cli.screen import Column, shown, table

        if not found:
            screen.note(f"nothing is older than {max_age}")
            return
        columns = (
            Column("KEY", right=False),
            Column("DOMAIN", right=False, rank=2),
            Column("AGE"),
            Column("SIZE", rank=1),
            Column("ENDS IN", rank=1),
        )
        rows = [
            (shown(one.key), one.domain or "", span(round(one.age)), size(one.size), span(one.ttl)) for one in found
        ]
        screen.show(table(columns, rows, screen.width))

    return Answer(document, show, code or (Code.FOUND if found else Code.OK))


@verb("top")
@click.argument("number", type=click.IntRange(1, 1000), default=10)
@click.option("--by", type=click.Choice(_WORTH), default="hits", show_default=True, help="What counts.")
@click.option("--period", default="1d", show_default=True, metavar="SPAN", help="How far back; for all but bytes.")
async def top(call: Call, number: int, by: str, period: str) -> Answer:
    """Top.

    By bytes these are the largest entries of the stores. By anything else they are domains with their agents, tools and
    models, since how often each entry is asked for only the process knows that holds it: cache.top() tells it there.
    """
    from toolcache.cli import reach

    async with call.cache() as cache:
        if by == "bytes":
            rows, ranked = await _largest(cache, number), "entries"
            title, nothing = "the largest entries", "nothing is there"
        else:
            counted = await _series(cache, by, period)
            rows, ranked = nlargest(number, (row for row in counted if row[by]), key=lambda row: row[by]), "series"
            title = f"domains with their agents, tools and models, by {by}  the last {period}"
            nothing = f"nothing that was counted has any {by}" if counted else await reach.nothing(cache, period)
        document: dict[str, Any] = {"by": by, "ranked": ranked, "top": rows}
        code = await reach.partly(call, cache, document, some=bool(rows))
        namespace = cache.settings.namespace
    return Answer(document, lambda screen: _show_top(screen, rows, by, (namespace, title), nothing), code)


async def _largest(cache: "ToolCache", number: int) -> list[dict[str, Any]]:
    best: list[tuple[int, str, Any]] = []
    async for info in cache.scan():
        best.append((info.size, info.key, info))
        if len(best) > number * 8 + 1000:
            best = nlargest(number, best, key=lambda row: row[:2])
    return [
        {"key": info.key, "domain": info.domain, "bytes": info.size, "layer": info.layer}
        for _, _, info in nlargest(number, best, key=lambda row: row[:2])
    ]


async def _series(cache: "ToolCache", by: str, period: str) -> list[dict[str, Any]]:
    if by in {"dollars", "tokens"}:
        saved = await cache.savings(period)
        field = "cost_saved" if by == "dollars" else "tokens_saved"
        return [{**line.series._asdict(), by: getattr(line, field)} for line in saved.ledger]
    field = "seconds_saved" if by == "seconds" else by
    metrics = await cache.metrics(period)
    return [{**series._asdict(), by: getattr(counts, field)} for series, counts in metrics.series.items()]


def _show_top(screen: "Screen", rows: list[dict[str, Any]], by: str, title: tuple[str, str], nothing: str) -> None:
    from toolcache.cli.charts import bar
    from toolcache.cli.screen import ACCENT, Column, heading, shown, stacked, table

    if not rows:
        screen.note(nothing)
        return
    say = {"dollars": usd, "seconds": span, "bytes": size}.get(by, count)
    names = ("key", "domain") if by == "bytes" else tuple(name for name in _LABELS if any(row[name] for row in rows))
    most = rows[0][by]
    columns = (
        *(Column(name.upper(), right=False, rank=0 if not at else 1) for at, name in enumerate(names)),
        Column(by.upper()),
        Column("", right=False, style=ACCENT, rank=2),
    )
    lines = [(*(shown(row[name] or "") for name in names), say(row[by]), bar(row[by] / most, 16)) for row in rows]
    screen.show(stacked([heading(*map(shown, title)), table(columns, lines, screen.width)]))
