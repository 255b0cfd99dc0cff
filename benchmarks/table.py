"""Results for people."""

from collections.abc import Iterable
from statistics import median
from typing import Final

from benchmarks.harness import OURS, Goal, Result, Row, at_share, ratio

SCALE: Final = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1.0, "bytes": 1.0}
HEADINGS: Final = ("", "least", "median", "most", "× floor", "× toolcache")


def table(result: Result) -> str:
    """A task's result as text."""
    lines = [HEADINGS, *(cells(result, row) for row in result.rows)]
    widths = [max(len(line[column]) for line in lines if column < len(line)) for column in range(len(HEADINGS))]
    told = [f"\n{result.name}: {result.title}, {result.unit}"]
    for line, row in zip(lines, [None, *result.rows], strict=True):
        aligned = [line[0].ljust(widths[0])]
        aligned += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        remark = row.failure or row.note if row else ""
        told.append(f"  {'  '.join(aligned)}  {remark}".rstrip())
    told += [f"  {verdict}" for verdict in verdicts(result)]
    told += [f"  left out: {absent}" for absent in result.absent]
    return "\n".join(told)


def cells(result: Result, row: Row) -> tuple[str, ...]:
    """Name, least, median, most, and what it is beside the floor and beside ours."""
    if not row.figures:
        return (row.name, "fails", "", "", "", "")
    scale = SCALE[result.unit]
    figures = [number(value * scale) for value in (min(row.figures), median(row.figures), max(row.figures))]
    floor = next((other for other in result.rows if other.kind == "floor" and other.figures), None)
    ours = result.row(OURS)
    return (row.name, *figures, *(factor(row, beside) for beside in (floor, ours)))


def factor(row: Row, beside: Row | None) -> str:
    """A ratio, or nothing where there is nobody to compare with, or as good as nothing."""
    return "" if beside is None or beside is row or not median(beside.figures) else number(ratio(row, beside))


def verdicts(result: Result) -> Iterable[str]:
    """For each goal, whether it was reached."""
    for goal in result.goals:
        reached = judge(result, goal)
        if reached is not None:
            met, figure = reached
            yield f"goal: {aim(result, goal)}: {'reached' if met else 'missed'}, {figure}"


def aim(result: Result, goal: Goal) -> str:
    """A goal in words."""
    if goal.of is None:
        often = f" in {goal.share:.0%} of cases" if goal.share else ""
        return f"{goal.who} at most {number(goal.at_most * SCALE[result.unit])} {result.unit}{often}"
    return f"{goal.who} at most {number(goal.at_most)} × {goal.of}"


def judge(result: Result, goal: Goal) -> tuple[bool, str] | None:
    """Whether a goal was reached, and what was; None where somebody is missing."""
    row = result.row(goal.who)
    if row is None:
        return None
    if goal.of is None:
        figure = at_share(row.figures, goal.share)
        return figure <= goal.at_most, f"{number(figure * SCALE[result.unit])} {result.unit}"
    other = result.row(goal.of)
    if other is None:
        return None
    figure = ratio(row, other)
    return figure <= goal.at_most, f"{number(figure)} ×"


def number(value: float) -> str:
    """Three digits that mean something."""
    decimals = next((places for places, least in ((0, 99.95), (1, 9.995), (2, 0.9995)) if value >= least), 3)
    return f"{value:,.{decimals}f}"
