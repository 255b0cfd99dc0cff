"""The page about hit ratios: its curves, and its table."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from benchmarks.hit_ratio import EXACT, OTHERS, Row, exact, verdicts
from benchmarks.plots import WORD, as_svg, styled

_COLOURS: Final = {"adaptive": "#0a7bbf", "s3fifo": "#d29a4a", "lru": "#8b949e", "OPT": "#c2374f"}
_COLUMNS: Final = 3
_PANEL: Final = (2.8, 2.1)
"""Inches of a panel."""

_INTRODUCTION = """\
# Hit ratios

How many reads memory answers by itself, in percent, under each `strategy`; `make hit-ratio` writes this page, and
[the counts]({stem}.json). Every entry weighs the same, every miss comes in. The recorded traces are those by which the
papers judge one another, and are read from where others keep them; two come with *ARC: A Self-Tuning, Low Overhead Replacement Cache*
(Megiddo and Modha, FAST 2003). What stands in italics is their reference: other programs on the same traces; *best* is whichever of all finds
most, and *OPT* is Belady's.

{verdicts}

![Hit ratio by size, for each trace]({stem}.svg)

Blue is `"adaptive"`, the default; amber `"s3fifo"`, grey `"lru"`, and the dashed line Belady's, which knows what will be asked for. Its rules
are in [decision 0020](../decisions/0020-what-leaves-memory.md).

"""


def curves(rows: Sequence[Row]) -> str:
    """A panel for each trace, hit ratio over size, as SVG."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.trace for row in rows))
    lines = -(-len(names) // _COLUMNS)
    with styled():
        figure = Figure(figsize=(_PANEL[0] * _COLUMNS, _PANEL[1] * lines), layout="constrained")
        for place, name in enumerate(names):
            axes = figure.add_subplot(lines, _COLUMNS, place + 1)
            _panel(axes, name, [row for row in rows if row.trace == name])
        return as_svg(figure)


def _panel(axes: Any, name: str, rows: Sequence[Row]) -> None:
    sizes = [row.size for row in rows]
    for line, colour in _COLOURS.items():
        ratios = [
            row.theirs(line) if line == "OPT" else row.ratio(line) for row in rows if line == "OPT" or line in row.hits
        ]
        if ratios and None not in ratios:
            axes.plot(
                sizes, ratios, "--" if line == "OPT" else "-", color=colour, linewidth=1.4, marker=".", markersize=4
            )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title(name, size=9, color=WORD)
    axes.set_xticks(ticks := [sizes[0], sizes[-1]], [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.tick_params(colors=WORD, length=2.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"bottom", "left"})
        spine.set_color(WORD)
        spine.set_alpha(0.4)


def page(run: dict[str, Any], rows: Sequence[Row], stem: str) -> str:
    """The whole page, as Markdown; its pictures and data are called ``stem``."""
    told = "\n".join(f"- {line}." for line in verdicts(rows)) or "- made traces: there is nobody to compare with."
    parts = [_INTRODUCTION.format(stem=stem, verdicts=told), *_table(rows), "", "## The traces", ""]
    parts += ["| trace | what it is | whose it is |", "|---|---|---|"]
    parts += [f"| {one['name']} | {one['pattern']} | {one['source']} |" for one in run["traces"]]
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Ours first, others' references in italics."""
    ours = [policy for policy in ("adaptive", "s3fifo", "lru", "lfu", "fifo") if policy in rows[0].hits]
    others = [
        name
        for name, key in OTHERS.items()
        if name not in EXACT.values() and any(row.theirs(key) is not None for row in rows)
    ]
    yield (
        "| trace | entries |"
        + "".join(f" `{policy}` |" for policy in ours)
        + "".join(f" *{name}* |" for name in others)
    )
    yield "|---|" + "---:|" * (len(ours) + len(others) + 1)
    for row in rows:
        theirs = [row.theirs(OTHERS[name]) for name in others]
        mine = [f"{row.ratio(policy):.1f}{'' if exact(row, policy) is not False else ' ≠'}" for policy in ours]
        cells = [row.trace, f"{row.size:,}", *mine, *("" if ratio is None else f"{ratio:.1f}" for ratio in theirs)]
        yield f"| {' | '.join(cells)} |"
