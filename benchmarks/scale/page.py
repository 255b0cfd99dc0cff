"""What a run says, for the terminal and for the page of the documentation: no figure of either is typed by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from textwrap import fill
from typing import Any, Final

from benchmarks.scale.cluster import ASSUMPTIONS, LIMITS, Calibration, Load, outlook
from benchmarks.scale.measure import Sweep
from benchmarks.table import number

MEASURED: Final = "scale-measured"
CLUSTER: Final = "scale-cluster"

_PARTS: Final = {
    "hit": ("a read that memory answers, of a process", 1e6, "µs"),
    "miss": ("a read that a server answers, of a process", 1e6, "µs"),
    "write": ("a write, of a process", 1e6, "µs"),
    "told": ("a message that a key was changed, of a process", 1e6, "µs"),
    "read_server": ("a read, of a server", 1e6, "µs"),
    "write_server": ("a write, of a server, with nobody to tell", 1e6, "µs"),
    "tell_server": ("each message, of a server", 1e6, "µs"),
    "read_bytes": ("sent for a read", 1.0, "bytes"),
    "tell_bytes": ("sent for each message", 1.0, "bytes"),
    "connections": ("connections of a process to a node", 1.0, ""),
    "connection_bytes": ("memory of a node for those", 1 / 1024, "KB"),
    "key_bytes": ("memory of a node for a key and a small value", 1.0, "bytes"),
}


def table(sweep: Sweep) -> str:
    """A sweep as text."""
    lines = [(sweep.varied, *sweep.columns), *(cells(row) for row in sweep.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    told = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([f"\n{sweep.name}: {sweep.title}", *(f"  {line}" for line in told)])


def cells(row: Sequence[float]) -> tuple[str, ...]:
    """A row of a table in words."""
    return (f"{row[0]:,.0f}", *map(number, row[1:]))


def filled(page: str, run: dict[str, Any], data: str, picture: str) -> str:
    """A page with what stands between its markers renewed; ``data`` and ``picture`` are names of files beside it."""
    page = _between(page, MEASURED, measured(run, data, picture))
    return _between(page, CLUSTER, cluster(run))


def _between(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page needs the lines {begin} and {end}: what is measured is written in between")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def measured(run: dict[str, Any], data: str, picture: str) -> str:
    """The sweeps, as Markdown."""
    parts = [_machine(run, data), f"![What one more costs]({picture})\n"]
    for sweep in (Sweep(**told) for told in run["sweeps"]):
        parts.append(f"### {sweep.title}\n")
        parts += _table([sweep.varied, *sweep.columns], [cells(row) for row in sweep.rows])
        parts.append(f"\n{_growth(sweep)}\n")
    return "\n".join(parts)


def _growth(sweep: Sweep) -> str:
    """In a sentence, what the last row is beside the first."""
    first, last = sweep.rows[0], sweep.rows[-1]
    told = []
    for name in sweep.curves:
        begins, ends = sweep.column(name)[0], sweep.column(name)[-1]
        factor = f", {number(ends / begins)} times as much" if begins else ""
        told.append(f"*{name}* goes from {number(begins)} to {number(ends)}{factor}")
    return f"From {first[0]:,.0f} to {last[0]:,.0f} {sweep.varied}, {'; '.join(told)}."


def cluster(run: dict[str, Any]) -> str:
    """The calibration, the limits, and the formula beside the simulation, as Markdown."""
    cost = Calibration(**run["calibration"])
    parts = ["### What is assumed\n", *(f"- {one}" for one in ASSUMPTIONS)]
    parts.append("\n### What the parts cost, as measured above\n")
    rows = []
    for field in fields(Calibration):
        words, scale, unit = _PARTS[field.name]
        rows.append((words, f"{number(getattr(cost, field.name) * scale)} {unit}".strip()))
    parts += _table(["", ""], rows)
    parts.append("\n### Where it breaks first\n")
    parts.append("The most processes of which each is not yet true, by the formula; the first to break is in bold.\n")
    parts += limits_table(run["cluster"]["limits"])
    parts.append("")
    parts += outlook_table([Load(**told["load"]) for told in run["cluster"]["limits"]], cost)
    parts.append("\n### The formula beside the simulation\n")
    parts += _checks(run["cluster"]["checks"])
    return "\n".join(parts) + "\n"


def limits_table(limits: Iterable[dict[str, Any]]) -> list[str]:
    """For each load, how far it goes."""
    rows = []
    for told in limits:
        load, reached = Load(**told["load"]), told["limits"]
        least = min((most for most in reached.values() if most is not None), default=None)
        words = [
            "–" if most is None else f"**{most:,}**" if most == least else f"{most:,}"
            for most in (reached[name] for name in LIMITS)
        ]
        rows.append((load.name, f"{load.nodes}", f"{load.reads:g}", f"{load.writes:g}", *words))
    return _table(["load", "nodes", "reads/s of each", "writes/s of each", *LIMITS], rows)


def outlook_table(loads: Iterable[Load], cost: Calibration, processes: int = 100) -> list[str]:
    """What each load comes to with so many processes."""
    rows = []
    for load in loads:
        it = outlook(load, processes, cost)
        rows.append(
            (load.name, f"{it.hits:.0%}", f"{it.node:.0%}", f"{it.messages:,.0f}", f"{it.process:.1%}",
             f"{it.sent * 8 / 1e6:,.0f}", f"{it.connections:,.0f}")
        )  # fmt: skip
    heads = ["load", "hits of memory", "a node busy", "messages/s to each process", "of its time", "Mbit/s of a node",
             "connections of a node"]  # fmt: skip
    return [f"With {processes} processes it comes to this:\n", *_table(heads, rows)]


def _checks(checks: Iterable[dict[str, Any]]) -> list[str]:
    rows = []
    for told in checks:
        said, seen = told["formula"], told["simulation"]
        rows.append(
            (told["load"], f"{told['processes']:,}", *(f"{said[name]:.0%} · {seen[name]:.0%}" for name in ("hits", "node")),
             f"{said['messages']:,.0f} · {seen['messages']:,.0f}", number(seen["wait"] * 1e3), number(seen["age"] * 1e3))
        )  # fmt: skip
    heads = ["load", "processes", "hits of memory", "a node busy", "messages/s to each process",
             "99 % wait at a node, ms", "longest until told, ms"]  # fmt: skip
    return ["Formula · simulation.\n", *_table(heads, rows)]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        "|---|" + "---:|" * (len(heads) - 1),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _machine(run: dict[str, Any], data: str) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    quick = " A quick run: the figures mean little." if run["quick"] else ""
    text = (
        f"Measured on {machine['date']} on {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}; {machine['server']}; {versions}. The machine's load was {machine['load']} at the beginning. "
        f"[All figures]({data}).{quick}"
    )
    return fill(text, width=128, break_on_hyphens=False, break_long_words=False) + "\n"
