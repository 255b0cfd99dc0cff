"""The page of the documentation, written out of the JSON of a run: no figure is typed by hand."""

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.harness import OURS, Result, ratio
from benchmarks.table import HEADINGS, aim, cells, judge, number

_INTRODUCTION = """\
# Performance

This page is written by `make bench ARGS="--page docs/explanation/performance.md"` out of what one run measured. Figures are
worth something beside the others of the same run, and nothing beside those of another machine.

{machine}

- Everything runs on one core, the server and its clients too: waking another core costs more than most of what is measured.
- In each round every subject does the same work once, in random order. *Least*, *median* and *most* are over the rounds;
  the ratios are the medians of ratios within a round. Goals for times are judged by the least: noise only adds.
- A *floor* is the least that the work could take: no cache, and often no more than the system call.
- The others run with the defaults of their documentation. Before a subject is measured its answers are checked: one that
  answers wrongly has no speed.
- Wherever Redis or files are measured, the memory of toolcache holds a single entry, so that every read goes there.
- The memory caches of the others return the object that they hold, which a caller may spoil; toolcache returns the caller's
  own copy of whatever can be changed.
"""


def page(run: dict[str, Any]) -> str:
    """The whole page, as Markdown."""
    results = {
        name: [Result.read(told) for told in script["results"]] for name, script in run["scripts"].items()
    }
    everything = [result for script in results.values() for result in script]
    parts = [_INTRODUCTION.format(machine=_machine(run)), "## Where it loses\n", _losses(everything)]
    for name, script in run["scripts"].items():
        parts += [f"## {script['question'].strip()}\n", *map(_section, results[name])]
    return "\n".join(parts).rstrip() + "\n"


def _machine(run: dict[str, Any]) -> str:
    machine = run["machine"]
    build = "" if machine["optimized"] else ", built without profile-guided optimization"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    quick = " A quick run: the figures mean little." if run["quick"] else ""
    busy = "" if machine["load"] is None else f" The machine's load was {machine['load']} at the beginning."
    return (
        f"Measured on {machine['date']} on {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}{build}; {machine['server']}; {versions}.{busy}{quick}"
    )


def _losses(results: Iterable[Result]) -> str:
    lines = [line for result in results for line in (*_slower(result), *_missed(result))]
    return "\n".join(lines) + "\n" if lines else "Nowhere in this run.\n"


def _slower(result: Result) -> Iterator[str]:
    ours = result.row(OURS)
    quicker = [row for row in result.rows if row.kind == "peer" and row.figures and ours and ratio(ours, row) > 1]
    if quicker and ours:
        told = ", ".join(f"{row.name} ({number(ratio(ours, row))} ×)" for row in quicker)
        yield f"- **{result.title}**: more than {told}."


def _missed(result: Result) -> Iterator[str]:
    for goal in result.goals:
        reached = judge(result, goal)
        if reached is not None and not reached[0]:
            yield f"- **{result.title}**: the goal was {aim(result, goal)}; it is {reached[1]}."


def _section(result: Result) -> str:
    lines = [f"### {result.title}\n", f"In {result.unit}.\n", f"| {' | '.join(HEADINGS)} | |", "|---|" + "---:|" * 5 + "---|"]
    for row in result.rows:
        lines.append(f"| {' | '.join(cells(result, row))} | {row.failure or row.note} |")
    lines += [f"\nLeft out: {absent}." for absent in result.absent]
    return "\n".join(lines) + "\n"
