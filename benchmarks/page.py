"""The page of the documentation, written out of the JSON of a run: no figure is typed by hand."""

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any

from benchmarks.harness import OURS, Result, ratio
from benchmarks.table import HEADINGS, aim, cells, judge, number, verdicts

_INTRODUCTION = """\
# Performance

What one run of `make bench` measured; that command writes this page, and [every figure of every round]({data}). A figure is
worth something beside the others of its run, and nothing beside those of another machine. How many reads memory answers at all
is told of [hit ratios](hit-ratio.md), and how cost grows of [scale](scale.md).

{machine}

- Everything runs on one core, the server and its clients too: waking another core costs more than most of what is measured.
- In each round every subject does the same work once, in random order. *Least*, *median* and *most* are over the rounds;
  the ratios are the medians of ratios within a round. Goals for times are judged by the least: noise only adds.
- A *floor* is the least that the work could take: no cache, and often no more than the system call.
- The others run with the defaults of their documentation. Before a subject is measured its answers are checked: one that
  answers wrongly has no speed.
- Wherever Redis or files are measured, the memory of toolcache holds a single entry, so that every read goes there.
- Libraries without asynchronous calls are called plainly; nothing is awaited, and the event loop stands still meanwhile.
- Vectors are 32-bit floats, as models make them, which Python holds as 64 bits: whoever writes them as JSON writes 17 digits
  for each. Services that send JSON round them to some nine decimals: there is a table for those too.
- Bars are medians, the thin lines reach from the least to the most, and a red mark is where a bar of ours should end.
- The memory caches of the others return the object that they hold, which a caller may spoil; toolcache returns the caller's
  own copy of whatever can be changed.
"""


def page(run: dict[str, Any], data: str, pictures: Mapping[str, str]) -> str:
    """The whole page, as Markdown.

    Args:
        run: what was measured.
        data: the name of the file with the run, beside the page.
        pictures: the names of the pictures, beside it too, by script.
    """
    results = {name: [Result.read(told) for told in script["results"]] for name, script in run["scripts"].items()}
    everything = [result for several in results.values() for result in several]
    parts = [_INTRODUCTION.format(machine=_machine(run), data=data)]
    parts += ["## Where others are quicker\n", _list(_slower(result) for result in everything)]
    parts += ["## Goals that were missed\n", _tally(everything), _list(_missed(result) for result in everything)]
    for name, script in run["scripts"].items():
        question = script["question"].strip()
        parts += [f"## {question}\n", f"![{question}]({pictures[name]})\n", *map(_section, results[name])]
    return "\n".join(parts).rstrip() + "\n"


def _machine(run: dict[str, Any]) -> str:
    machine = run["machine"]
    build = "" if machine["optimized"] else ", built without profile-guided optimization"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    quick = " A quick run: the figures mean little." if run["quick"] else ""
    busy = "" if machine["load"] is None else f" The machine's load was {machine['load']} at the beginning."
    took = sum(script.get("seconds", 0) for script in run["scripts"].values())
    long = f" It took {took / 60:.0f} minutes." if took else ""
    return fill(
        f"Measured on {machine['date']} on {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}{build}; {machine['server']}; {versions}.{busy}{long}{quick}",
        width=128,
        break_on_hyphens=False,
    )


def _list(lines: Iterable[str]) -> str:
    told = [f"- {line}" for line in lines if line]
    return "\n".join(told or ["None in this run."]) + "\n"


def _tally(results: Iterable[Result]) -> str:
    told = [judged for result in results for goal in result.goals if (judged := judge(result, goal))]
    return f"{sum(reached for reached, _ in told)} of {len(told)} goals are reached.\n"


def _slower(result: Result) -> str:
    ours = result.row(OURS)
    peers = [row for row in result.rows if row.kind == "peer" and row.figures]
    quicker = [f"{number(ratio(ours, row))} × {row.name}" for row in peers if ours and ratio(ours, row) > 1]
    return f"{result.title}: toolcache takes {', '.join(quicker)}." if quicker else ""


def _missed(result: Result) -> str:
    judged = [(goal, judge(result, goal)) for goal in result.goals]
    missed = [f"{aim(result, goal)}, and it is {told[1]}" for goal, told in judged if told and not told[0]]
    return f"{result.title}: {'; '.join(missed)}." if missed else ""


def _section(result: Result) -> str:
    lines = [
        f"### {result.title}\n",
        f"In {result.unit}.\n",
        f"| {' | '.join(HEADINGS)} | |",
        "|---|" + "---:|" * 5 + "---|",
    ]
    lines += [f"| {' | '.join(cells(result, row))} | {row.failure or row.note} |" for row in result.rows]
    lines += [f"\n{verdict[0].upper()}{verdict[1:]}." for verdict in verdicts(result)]
    lines += [f"\nLeft out: {absent}." for absent in result.absent]
    return "\n".join(lines) + "\n"
