"""What a run says in the documentation: what stands between the markers is written out of its JSON, never by hand."""

from collections.abc import Callable, Iterable, Sequence
from textwrap import fill
from typing import Any, Final

from benchmarks.harness import OURS
from benchmarks.outages.report import HEADINGS, LEGEND, Row, cells, kinds, span

BEGIN: Final = "<!-- outage-report: begin -->"
END: Final = "<!-- outage-report: end -->"

# For each column how many times as much as another's is worth a word, what less is better of, and whether only those are
# compared that take part in all of the calls.
_WANTED: Final[dict[str, tuple[float, Callable[[Row], float], bool]]] = {
    "errors": (1.0, lambda row: sum(row.errors.values()), False),
    "refused": (1.0, lambda row: row.refused, True),
    "longest": (1.25, lambda row: row.longest, False),
    "p99": (1.25, lambda row: row.p99, False),
    "hits": (1.0, lambda row: -round(row.hits / row.reads, 2) if row.reads else 0.0, True),
    "computed": (1.05, lambda row: row.computed / max(1, row.asked), True),
    "older": (1.0, lambda row: row.older, True),
    "lost": (1.0, lambda row: row.lost, True),
    "back": (1.0, lambda row: row.back, True),
    "healthy": (1.25, lambda row: float("inf") if row.healthy is None else row.healthy, False),
}


def filled(page: str, run: dict[str, Any], data: str, picture: str) -> str:
    """A page with what stands between its markers renewed; ``data`` and ``picture`` are names of files beside it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}: what is measured is written in between")
    return f"{before}{begin}\n\n{section(run, data, picture)}\n{end}{after}"


def section(run: dict[str, Any], data: str, picture: str) -> str:
    """What is told of a run, as Markdown."""
    rows = [Row(**row) for row in run["rows"]]
    parts = [_machine(run, data), f"![The longest call of each second]({picture})\n", "### How each was set up\n"]
    parts += [f"- **{name}**: {about}." for name, about in run["about"].items()]
    parts += [f"- Left out: {absent}." for absent in run["absent"]]
    parts += ["\n### What the columns say\n"]
    parts += [f"- *{name}*: {meaning.format(limit=run['times']['limit'])}." for name, meaning in LEGEND.items()]
    parts.append(_summary(rows))
    for fault, title in run["titles"].items():
        parts.append(_table(fault, title, [row for row in rows if row.fault == fault]))
        parts += [f"\nNo figures of {name}: {reason}." for name, reason in run["failures"][fault].items()]
    parts += ["\n### Where toolcache is not the first\n", *(_behind(run["titles"], rows) or ["Nowhere in this run."])]
    return "\n".join(parts) + "\n"


def _machine(run: dict[str, Any], data: str) -> str:
    machine, times = run["machine"], run["times"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    quick = " A quick run: the figures mean little." if run["quick"] else ""
    return (
        fill(
            f"Measured on {machine['date']} by `{run['command']}` on {machine['processor']}, {machine['cores']} cores, "
            f"{machine['system']}, {machine['python']}; {machine['server']}; {versions}. {times['before']:g} s before, "
            f"{times['outage']:g} s of outage, {times['after']:g} s after it. The machine's load was {machine['load']} at the "
            f"beginning. [All figures]({data}).{quick}",
            width=128,
            break_on_hyphens=False,
            break_long_words=False,
        )
        + "\n"
    )


def _summary(rows: Sequence[Row]) -> str:
    """All outages together."""
    lines = [
        "\n### All outages together\n",
        "| | errors | refused | longest | older | lost | back |",
        "|---|" + "---:|" * 6,
    ]
    for name in dict.fromkeys(row.name for row in rows):
        mine = [row for row in rows if row.name == name]
        sums = [sum(sum(row.errors.values()) for row in mine), sum(row.refused for row in mine)]
        ends = [sum(row.older for row in mine), sum(row.lost for row in mine), sum(row.back for row in mine)]
        told = [*map("{:,}".format, sums), span(max(row.longest for row in mine)), *map("{:,}".format, ends)]
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines)


def _table(fault: str, title: str, rows: Sequence[Row]) -> str:
    lines = [f"\n### {fault.capitalize()}\n", f"{title}.\n", f"| | {' | '.join(HEADINGS)} |"]
    lines.append("|---|" + "---:|" * len(HEADINGS))
    lines += [f"| {row.name} | {' | '.join(cells(row))} |" for row in rows]
    if any(row.errors for row in rows):
        lines.append("\nErrors: " + "; ".join(f"{row.name}: {kinds(row)}" for row in rows if row.errors) + ".")
    return "\n".join(lines)


def _behind(titles: dict[str, str], rows: Sequence[Row]) -> list[str]:
    told = []
    for fault in titles:
        here = [row for row in rows if row.fault == fault]
        ours = next((row for row in here if row.name == OURS), None)
        if ours is not None and (found := list(_better(ours, here))):
            told.append(f"- {fault}: {'; '.join(found)}.")
    return told


def _better(ours: Row, rows: Sequence[Row]) -> Iterable[str]:
    """Where others have less of what nobody wants, or more hits; who stores nothing cannot lose it."""
    for column, (factor, figure, compared) in _WANTED.items():
        others = [row for row in rows if row is not ours and (row.reads or not compared)]
        first = min(others, key=figure, default=ours)
        if figure(first) * factor < figure(ours):
            mine, other = (dict(zip(HEADINGS, cells(row), strict=True))[column] for row in (ours, first))
            yield f"{column} {mine}, {first.name} {other}"
