"""Bars beside the tables of the page: one picture for each question, a panel for each task, on a logarithmic scale.

Lines and letters have no colour of their own: the picture takes a dark one, or a light one where its reader prefers the dark.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from math import ceil, floor, log10
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

from benchmarks.harness import Goal, Result
from benchmarks.table import SCALE, number

_COLOURS: Final = {"floor": "#8b949e", "ours": "#0a7bbf", "peer": "#d29a4a"}
_GOAL: Final = "#c2374f"
WORD: Final = "#010203"  # stands for whatever the reader's theme gives
_THEMES: Final = (
    '<style type="text/css">svg{color:#24292f}@media(prefers-color-scheme:dark){svg{color:#e6e6e6}}</style>'
)
_WIDTH: Final = 8.4  # inches, as all sizes here
_NAMES: Final = 2.9
_BARS: Final = 4.9
_LINE: Final = 0.2
_ABOVE: Final = 0.36
_BELOW: Final = 0.34
_DECADES: Final = 2.0


def pictures(run: dict[str, Any], page: Path) -> dict[str, str]:
    """Draw one for each script of a run, beside its page; their names by script."""
    names = file_names(run, page)
    for script, told in run["scripts"].items():
        results = [Result.read(one) for one in told["results"]]
        page.with_name(names[script]).write_text(picture(results), encoding="utf-8")
    return names


def file_names(run: dict[str, Any], page: Path) -> dict[str, str]:
    """How the pictures of a run are called."""
    return {script: f"{page.stem}-{script.replace('_', '-')}.svg" for script in run["scripts"]}


def picture(results: Sequence[Result]) -> str:
    """The panels of one script, as SVG."""
    from matplotlib.figure import Figure

    shown = [result for result in results if any(row.figures for row in result.rows)]
    heights = [_ABOVE + _LINE * len(result.rows) + _BELOW for result in shown]
    whole = sum(heights)
    with styled():
        figure = Figure(figsize=(_WIDTH, whole))
        top = whole
        for result, height in zip(shown, heights, strict=True):
            bars = height - _ABOVE - _BELOW
            place = (_NAMES / _WIDTH, (top - _ABOVE - bars) / whole, _BARS / _WIDTH, bars / whole)
            _panel(figure.add_axes(place), result)
            figure.text(0.1 / _WIDTH, (top - 0.22) / whole, f"{result.title}, {result.unit}", size=9, color=WORD)
            top -= height
        return as_svg(figure)


def styled() -> AbstractContextManager[None]:
    """How all pictures look; for the time in which one is drawn."""
    from matplotlib import rc_context

    style = {"svg.fonttype": "none", "svg.hashsalt": "toolcache", "font.family": "sans-serif", "font.size": 8.0}
    return cast("AbstractContextManager[None]", rc_context(style))


def as_svg(figure: Any) -> str:
    """A figure as text, the same for the same figure; what has the colour ``WORD`` takes the theme's."""
    drawn = BytesIO()
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = drawn.getvalue().decode().replace(WORD, "currentColor")
    lines = (line.rstrip() for line in text.replace("<defs>", f"{_THEMES}\n <defs>", 1).splitlines())
    return "\n".join(lines) + "\n"


def _panel(axes: Any, result: Result) -> None:
    scale = SCALE[result.unit]
    seen = [figure * scale for row in result.rows for figure in row.figures if figure > 0] or [1.0]
    marks = [mark for goal in result.goals if (mark := _mark(result, goal))]
    seen += [aim * scale for aim, _ in marks]
    left, right = min(seen) / 2, max(seen) * 2
    for place, row in enumerate(result.rows):
        if not row.figures:
            axes.annotate("fails", (left, place), xytext=(3, 0), textcoords="offset points", va="center", color=WORD)
            continue
        least, middle, most = (each(row.figures) * scale for each in (min, median, max))
        axes.barh(place, max(middle - left, 0.0), left=left, height=0.72, color=_COLOURS[row.kind])
        axes.plot([max(least, left), max(most, left)], [place, place], color=WORD, linewidth=0.8, alpha=0.6)
        told = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "color": WORD}
        axes.annotate(number(middle), (max(most, left), place), **told)
    for aim, place in marks:
        axes.plot([aim * scale] * 2, [place - 0.45, place + 0.45], color=_GOAL, linewidth=1.6)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(len(result.rows) - 0.4, -0.6)
    axes.set_yticks(range(len(result.rows)), [row.name for row in result.rows])
    axes.set_xticks(ticks := _ticks(left, right), [f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()
    axes.tick_params(colors=WORD, length=2.0)
    axes.tick_params(axis="y", length=0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(WORD)
        spine.set_alpha(0.4)


def _ticks(left: float, right: float) -> list[float]:
    """Powers of ten, and others between them where there is room."""
    steps = (1,) if log10(right / left) > _DECADES else (1, 2, 5)
    powers = range(floor(log10(left)), ceil(log10(right)) + 1)
    return [tick for power in powers for step in steps if left <= (tick := step * 10.0**power) <= right]


def _mark(result: Result, goal: Goal) -> tuple[float, int] | None:
    """Where the bar of whom a goal is for should end, and which bar that is; None where somebody is missing."""
    row = result.row(goal.who)
    of = result.row(goal.of) if goal.of else None
    if row is None or (goal.of and of is None):
        return None
    return goal.at_most * (median(of.figures) if of else 1.0), result.rows.index(row)
