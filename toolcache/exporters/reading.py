"""What is exported at an instant: counts, and the processes that count."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from toolcache.metrics.counts import Counts
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.savings import Line, savings_of
from toolcache.series import Series

ALIVE: Final = 300.0
"""Seconds after which a process of the fleet that has not written is no longer taken for one that runs."""

NO_PRICES: Final[Mapping[str, float]] = MappingProxyType({})

MOST: Final = 512
"""Series that are told apart."""


class Reading(NamedTuple):
    """What is exported at an instant.

    Attributes:
        snapshot: what was counted.
        namespace: of the cache; the first label of everything.
        processes: those that count, and run.
        witnesses: those whose breakers are told: these, and who reads.
        complete: False where others' counts may be missing.
        ledger: what was saved, by series.
    """

    snapshot: Snapshot
    namespace: str = ""
    processes: tuple[Process, ...] = ()
    witnesses: tuple[Process, ...] = ()
    complete: bool = True
    ledger: tuple[Line, ...] = ()

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        namespace: str = "",
        processes: Iterable[Process] = (),
        prices: Mapping[str, float] = NO_PRICES,
    ) -> "Reading":
        """Of a process; or of a fleet, whose metrics tell of its processes themselves, and ``processes`` of who reads."""
        few, running, complete = _few(snapshot), tuple(processes), True
        witnesses = {one.owner: one for one in running}
        if isinstance(snapshot, Metrics):
            running = tuple(one for one in snapshot.processes if one.seen_at >= snapshot.until - ALIVE)
            witnesses = {one.owner: one for one in running} | witnesses
            complete = snapshot.complete
        lines = tuple(line for line in savings_of(few, prices).ledger if line.what == "hits")
        return cls(few, namespace, running, tuple(witnesses.values()), complete, lines)


def _few(snapshot: Snapshot) -> Snapshot:
    """With no more series than one cache tells apart: a fleet's agents are not told where they are too many, then its tools."""
    series = snapshot.series
    for label in ("agent", "tool", "model"):
        if len(series) <= MOST:
            break
        rows: dict[Series, list[Counts]] = {}
        for one, counts in series.items():
            rows.setdefault(one._replace(**{label: ""}), []).append(counts)
        series = {one: Counts.sum(several) for one, several in rows.items()}
    if series is snapshot.series:
        return snapshot
    usd, tokens = (_by_domain(unit, series) for unit in (snapshot.unit_usd, snapshot.unit_tokens))
    return snapshot._replace(series=series, unit_usd=usd, unit_tokens=tokens)


def _by_domain(unit: Mapping[Series, float], series: Iterable[Series]) -> dict[Series, float]:
    """What one value costs is said by its domain, and the same of all its series."""
    said = {one.domain: number for one, number in unit.items()}
    return {one: said[one.domain] for one in series if one.domain in said}
