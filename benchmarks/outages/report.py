"""What calls came to: a row for each cache, and tables of them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from benchmarks.outages.oracle import Known

HEADINGS: Final = (
    "calls", "errors", "refused", "longest", "p99", "hits", "computed", "older", "lost", "back", "healthy", "late",
)  # fmt: skip
LEGEND: Final = {
    "calls": "made in all, by callers that wait for one before they make the next",
    "errors": "calls that raised, or had no answer within {limit:g} s",
    "refused": "writes and deletes of which the cache said that they were not done",
    "longest": "call of all",
    "p99": "of the calls begun in the outage",
    "hits": "among the reads in the outage of keys that must have a value",
    "computed": "computations run, of the calls that might have needed one",
    "older": "answers older than what had been acknowledged before the call",
    "lost": "acknowledged writes that a new process, of this host or of another, does not find in the end",
    "back": "acknowledged deletes after which a new process finds an older value in the end",
    "healthy": (
        "from the end of the outage until the server is told of a new write, and no call fails, is refused, answers with "
        "something older, or takes more than half a second; *not yet*: something of the kind happened in the last second too"
    ),
    "late": "the most by which the event loop was late: the machine's doing, which is part of the longest call, or a cache's",
}
_SLOW: Final = 0.5
_SETTLED: Final = 1.0


@dataclass
class Row:
    """What callers of one cache noticed of one fault; times in seconds.

    Attributes:
        name: the cache.
        fault: the fault.
        errors: calls without an answer, by the kind of error.
        healthy: None: not while anybody looked.
        asked: calls for a value that might have to be computed.
        longest_by_second: the longest of the calls begun in each second; 0 where there was none.
    """

    name: str
    fault: str
    calls: int
    errors: dict[str, int]
    refused: int
    longest: float
    p99: float
    hits: int
    reads: int
    computed: int
    asked: int
    older: int
    lost: int
    back: int
    healthy: float | None
    late: float
    longest_by_second: list[float]


def measure(
    fault: str,
    name: str,
    told: dict[str, Any],
    found: Sequence[dict[str, int | None]],
    phases: tuple[float, float, float, float],
    told_again: float | None,
) -> Row:
    """A row out of what a process gave.

    Args:
        fault: its name.
        name: the cache.
        told: the calls, and what is known of each key.
        found: for each that looked in the end, the number of the value of each key.
        phases: when it began, when the outage began and ended, when all ended.
        told_again: seconds from the end of the outage until the server had a new write.
    """
    begun, broken, mended, ended = phases
    calls = told["calls"]
    errors = Counter(call["failure"] for call in calls if call["failure"] not in {"", "refused"})
    outage = [call for call in calls if broken <= call["at"] < mended]
    reads = [call["hit"] for call in outage if call["hit"] is not None]
    bad = [call["at"] + call["took"] for call in calls if call["failure"] or call["wrong"] or call["took"] > _SLOW]
    by_second = [0.0] * (1 + int(max(call["at"] for call in calls) - begun))
    for call in calls:
        second = int(call["at"] - begun)
        by_second[second] = max(by_second[second], round(call["took"], 4))
    verdicts = Counter(_verdict(Known.read(known), key, found) for key, known in told["keys"].items())
    return Row(
        name=name,
        fault=fault,
        calls=len(calls),
        errors=dict(errors),
        refused=sum(call["failure"] == "refused" for call in calls),
        longest=round(max(call["took"] for call in calls), 4),
        p99=round(percentile([call["took"] for call in outage], 0.99), 5),
        hits=sum(reads),
        reads=len(reads),
        computed=told["computations"],
        asked=sum(call["kind"] == "compute" for call in calls),
        older=sum(call["wrong"] for call in calls),
        lost=verdicts["lost"],
        back=verdicts["resurrected"],
        healthy=_healthy(mended, ended, told_again, bad),
        late=round(told["late"], 4),
        longest_by_second=by_second,
    )


def _healthy(mended: float, ended: float, told_again: float | None, bad: Iterable[float]) -> float | None:
    last = max(bad, default=mended)
    if told_again is None or last > ended - _SETTLED:
        return None
    return round(max(told_again, last - mended), 2)


def _verdict(known: Known, key: str, found: Sequence[dict[str, int | None]]) -> str:
    return next((verdict for one in found if (verdict := known.judge(one.get(key)))), "")


def percentile(values: Iterable[float], share: float) -> float:
    """The value that a share of all does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0


def cells(row: Row) -> tuple[str, ...]:
    """A row for people, under ``HEADINGS``."""
    return (
        f"{row.calls:,}",
        f"{sum(row.errors.values()):,}",
        f"{row.refused:,}",
        span(row.longest),
        span(row.p99),
        f"{row.hits / row.reads:.0%}" if row.reads else "–",
        f"{row.computed:,}/{row.asked:,}",
        f"{row.older:,}",
        f"{row.lost:,}",
        f"{row.back:,}",
        "not yet" if row.healthy is None else f"{row.healthy:.1f} s",
        span(row.late),
    )


def span(seconds: float) -> str:
    """Seconds or milliseconds, with digits that mean something."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


def table(title: str, rows: Sequence[Row], failures: Mapping[str, str] = MappingProxyType({})) -> str:
    """What all noticed of one fault, as text."""
    lines = [("", *HEADINGS), *((row.name, *cells(row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    told = [f"\n{title}"]
    told += ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    told += [f"  {row.name}: {kinds(row)}" for row in rows if row.errors]
    told += [f"  no figures of {name}: {reason}" for name, reason in failures.items()]
    return "\n".join(told)


def kinds(row: Row) -> str:
    """The errors, by kind."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(row.errors.items(), key=lambda one: -one[1]))
