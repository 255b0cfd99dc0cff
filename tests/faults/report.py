"""What a run of a scenario came to, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

_HEAD: Final = (
    "scenario", "seed", "s", "calls", "hits", "sets", "deletes", "redis", "file", "memory", "refused",
    "outage p99", "longest", "lag", "pending", "replayed", "healed", "grown", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Counts of calls and acknowledgements; times in seconds.

    ``outage_p99`` is of reads while Redis' breaker refused; it and ``longest`` are without what the loop was late.
    ``grown`` is in bytes. ``slow`` is what took longer than it may on a machine that has nothing else to do.
    """

    scenario: str
    seed: int
    seconds: float
    counts: Mapping[str, int]
    acknowledged: Mapping[str, int]
    outage_p99: float | None
    longest: float
    lag: float
    pending: int
    replayed: int
    healed: float
    grown: int
    facts: Mapping[str, Any]
    slow: Sequence[str]
    violations: Sequence[str]

    @property
    def holds(self) -> bool:
        """Whether every invariant does, in time."""
        return not (self.violations or self.slow)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"holds": self.holds}


def table(reports: Sequence[Report]) -> str:
    """A line for each run, and below what did not hold."""
    rows = [_HEAD, *map(_row, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    for report in reports:
        lines += [
            f"{report.scenario} SEED={report.seed}: {violation}" for violation in (*report.violations, *report.slow)
        ]
        lines += [f"{report.scenario} SEED={report.seed}: {name}: {fact}" for name, fact in report.facts.items()]
    return "\n".join(lines)


def _row(report: Report) -> tuple[str, ...]:
    counts, acknowledged = report.counts, report.acknowledged
    calls = sum(counts.get(kind, 0) for kind in ("get", "set", "delete", "get_or_set"))
    return (
        report.scenario,
        str(report.seed),
        f"{report.seconds:.1f}",
        str(calls),
        *(str(counts.get(kind, 0)) for kind in ("hit", "set", "delete")),
        *(str(acknowledged.get(durability, 0)) for durability in ("REDIS", "FILE", "MEMORY")),
        str(counts.get("refused", 0)),
        "-" if report.outage_p99 is None else f"{report.outage_p99 * 1000:.1f} ms",
        f"{report.longest * 1000:.0f} ms",
        f"{report.lag * 1000:.0f} ms",
        str(report.pending),
        str(report.replayed),
        f"{report.healed:.2f} s",
        f"{report.grown / (1 << 20):.1f} MiB",
        "holds" if report.holds else "BROKEN",
    )
