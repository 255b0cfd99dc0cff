"""Savings: what a cache has spared, line by line, so that each figure can be checked.

    saved = computations avoided x what one of them costs

A unit cost is what the domain declares; else the mean of what computations reported, in dollars or in tokens that a price is
known for; else the tokens the domain declares, at that price. Where none is known a line says zero, and what to do about it.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Self

from toolcache.domains import DOMAINS, GENERAL, IDEMPOTENCY, SESSION
from toolcache.fields import Frozen
from toolcache.metrics.counts import Counts
from toolcache.metrics.snapshot import Label, Metrics, Snapshot
from toolcache.series import Series

_MILLION: Final = 1e6
_NOTHING: Final = Counts()
_NO_PRICES: Final[Mapping[str, float]] = MappingProxyType({})


class Saved(Frozen):
    """What was saved and spent: by a line of the ledger, by several, or in all.

    Attributes:
        cached_responses: calls that were answered by what was kept, past its time or not.
        computations_avoided: of those, the ones for which nothing was computed or tried.
        tokens_saved: tokens that computing would have taken; ``cost_saved`` US dollars, ``seconds_saved`` seconds.
        tokens_spent: tokens that computations have taken; ``cost_spent`` US dollars.
    """

    cached_responses: int = 0
    computations_avoided: int = 0
    tokens_saved: float = 0.0
    cost_saved: float = 0.0
    seconds_saved: float = 0.0
    tokens_spent: float = 0.0
    cost_spent: float = 0.0

    @classmethod
    def sums(cls, several: Iterable["Saved"]) -> dict[str, Any]:
        """Each field of all of them together, by its name."""
        rows = list(several)
        return {name: sum(getattr(row, name) for row in rows) for name in Saved._fields}


class Line(Saved):
    """One line of the ledger: ``computations_avoided`` × ``unit_usd`` = ``cost_saved``, and the same in tokens.

    Attributes:
        series: whose.
        what: "hits", or "replays" of runs, of which each has its own cost: their units are means.
        unit_usd: what one computation costs in US dollars; ``unit_tokens`` in tokens.
        source: where the dollars come from: "declared", "reported", "priced" tokens, or "unknown".
        why: the same in words.
        advice: what to do where it is unknown; else empty.
    """

    series: Series = Series(GENERAL.name)
    what: Literal["hits", "replays"] = "hits"
    unit_usd: float = 0.0
    unit_tokens: float = 0.0
    source: Literal["declared", "reported", "priced", "unknown"] = "unknown"
    why: str = ""
    advice: str = ""


class Savings(Saved):
    """What a fleet has saved in a period; ``print(savings)`` shows how it comes to that.

    Attributes:
        since: seconds since the epoch; so ``until``.
        ledger: one line for each series, the dearest first, and one for the replays of runs; they add up to the sums here.
        complete: False where counts may be missing; see ``Metrics``.

    Examples:
        >>> savings = await cache.savings(period="30d")
        >>> print(f"Cost saved: ${savings.cost_saved:.2f}")
    """

    since: float = 0.0
    until: float = 0.0
    ledger: tuple[Line, ...] = ()
    complete: bool = True

    @classmethod
    def of(cls, since: float, until: float, lines: Iterable[Line], *, complete: bool = True) -> Self:
        """What the lines of a ledger come to."""
        ledger = tuple(sorted(lines, key=lambda line: (-line.cost_saved, -line.cached_responses, line.series)))
        return cls(**Saved.sums(ledger), since=since, until=until, ledger=ledger, complete=complete)

    def by(self, label: Label) -> dict[str, Saved]:
        """Sums by one label, such as ``by("model")``; of the others, what has none is left out.

        Replays of runs are counted with the domain "idempotency", whatever was run, and have no other label.
        """
        groups: dict[str, list[Line]] = {}
        for line in self.ledger:
            if name := getattr(line.series, label):
                groups.setdefault(name, []).append(line)
        return {name: Saved(**Saved.sums(lines)) for name, lines in sorted(groups.items())}

    @property
    def unknown(self) -> tuple[Line, ...]:
        """Lines that have saved computations of which nobody knows the cost."""
        return tuple(line for line in self.ledger if line.advice)

    def explain(self) -> str:
        """The ledger as text of aligned columns, with what its figures come from."""
        from toolcache.savings_text import explained

        return explained(self)

    def __str__(self) -> str:
        return self.explain()


class _Unit(NamedTuple):
    """What one computation costs, in dollars or in tokens; None where nobody knows."""

    amount: float | None
    source: Literal["declared", "reported", "priced", "unknown"] = "unknown"
    why: str = "nobody knows what one costs"


def savings_of(
    metrics: Metrics | Snapshot, prices: Mapping[str, float] = _NO_PRICES, *, kept: Snapshot | None = None
) -> Savings:
    """What was saved in the span of some metrics.

    Args:
        metrics: the counts of the span.
        prices: US dollars for a million tokens, by model.
        kept: the counts of all days that are kept, for the mean cost of what nobody has computed in the span.
    """
    before: Mapping[Series, Counts] = kept.series if kept else {}
    lines = [
        _line(metrics, series, counts, before.get(series, _NOTHING), prices.get(series.model) if series.model else None)
        for series, counts in metrics.series.items()
        if series.domain != SESSION.name  # what agents keep there was never computed
    ]
    lines = [line for line in lines if line.cached_responses or line.cost_spent or line.tokens_spent]
    if (replays := _replays(metrics)) is not None:
        lines.append(replays)
    asked = all(getattr(counts, "complete", True) for counts in (metrics, kept))
    return Savings.of(metrics.since, metrics.until, lines, complete=asked)


def wants_more(metrics: Snapshot, prices: Mapping[str, float] = _NO_PRICES) -> bool:
    """Whether the days before the span may tell what computations cost that nobody has told of in it."""
    return any(
        (not metrics.unit_usd.get(series) and not _mean_usd(counts, prices.get(series.model))[1])
        or not (metrics.unit_tokens.get(series) or counts.metered)
        for series, counts in metrics.series.items()
        if series.domain != SESSION.name and _avoided(counts)
    )


def _line(metrics: Snapshot, series: Series, counts: Counts, kept: Counts, price: float | None) -> Line:
    tokens = _tokens(metrics.unit_tokens.get(series, 0.0), counts, kept)
    usd = _usd(metrics.unit_usd.get(series, 0.0), counts, kept, tokens, price)
    avoided = _avoided(counts)
    # What computations did not tell, the domain may have declared.
    untold_usd = max(0, counts.computed - (counts.told if price is not None else counts.priced))
    untold_tokens = max(0, counts.computed - counts.metered)
    declared = usd.amount if usd.source == "declared" else 0.0
    return Line(
        series=series,
        cached_responses=avoided + max(0, counts.stale),
        computations_avoided=avoided,
        unit_usd=usd.amount or 0.0,
        unit_tokens=tokens.amount or 0.0,
        cost_saved=avoided * (usd.amount or 0.0),
        tokens_saved=avoided * (tokens.amount or 0.0),
        seconds_saved=counts.seconds_saved,
        cost_spent=_spent(counts, price) + untold_usd * (declared or 0.0),
        tokens_spent=counts.tokens_spent + untold_tokens * (metrics.unit_tokens.get(series, 0.0)),
        source=usd.source,
        why=usd.why,
        advice=_advice(series, tokens) if avoided and usd.amount is None else "",
    )


def _avoided(counts: Counts) -> int:
    """Hits that no record of a run has answered, whose savings are told with the replays."""
    return max(0, counts.hits - counts.hits_replayed)


def _tokens(declared: float, counts: Counts, kept: Counts) -> _Unit:
    if declared:
        return _Unit(declared, "declared", "declared")
    for told in (counts, kept):
        if told.metered:
            return _Unit(told.tokens_spent / told.metered, "reported")
    return _Unit(None)


def _usd(declared: float, counts: Counts, kept: Counts, tokens: _Unit, price: float | None) -> _Unit:
    if declared:
        return _Unit(declared, "declared", "declared")
    for told, whence in ((counts, ""), (kept, ", of all days kept")):
        mean, computations = _mean_usd(told, price)
        if computations:
            by_price = computations - told.priced
            what = "1 computation" if computations == 1 else f"{computations:,} computations"
            how = "as reported" if not by_price else f"{by_price:,} by tokens at ${price:g} a million"
            return _Unit(mean, "reported" if told.priced else "priced", f"mean of {what}, {how}{whence}")
    if price is not None and tokens.amount is not None:
        return _Unit(tokens.amount * price / _MILLION, "priced", f"declared tokens at ${price:g} a million")
    return _Unit(None)


def _mean_usd(counts: Counts, price: float | None) -> tuple[float, int]:
    """What computations cost on average, and how many of them said so in a way that comes to dollars."""
    computations = counts.priced if price is None else counts.told
    return (_spent(counts, price) / computations if computations else 0.0), computations


def _spent(counts: Counts, price: float | None) -> float:
    """Dollars that were reported, and those of tokens that were reported without."""
    return counts.dollars_spent + counts.unpriced_tokens * (price or 0.0) / _MILLION


def _replays(metrics: Snapshot) -> Line | None:
    """What the records of runs have saved: as much as each run has reported."""
    runs = metrics.dispatch
    if not (runs.replays or runs.cost_usd or runs.tokens):
        return None
    each = 1 / runs.replays if runs.replays else 0.0
    free = bool(runs.replays) and not runs.cost_usd_saved
    return Line(
        series=Series(IDEMPOTENCY.name),
        what="replays",
        cached_responses=runs.replays,
        computations_avoided=max(0, runs.replays - runs.duplicates),
        unit_usd=runs.cost_usd_saved * each,
        unit_tokens=runs.tokens_saved * each,
        cost_saved=runs.cost_usd_saved,
        tokens_saved=runs.tokens_saved,
        seconds_saved=runs.seconds_saved,
        cost_spent=runs.cost_usd,
        tokens_spent=runs.tokens,
        source="unknown" if free else "reported",
        why="no run has reported what it cost" if free else "what each replayed run reported",
        advice="have runs report it: context.cost(usd=...)" if free else "",
    )


def _advice(series: Series, tokens: _Unit) -> str:
    report = "report it: context.cost(usd=...)"
    if tokens.amount is not None:
        return "give its model a price: prices={...}" if series.model else f"{report}, besides tokens"
    if series.domain == GENERAL.name:
        return report
    if series.domain == IDEMPOTENCY.name:
        return "declare it: costs={'idempotency': ...}"
    declare = f"costs={{'{series.domain}': ...}}" if series.domain in DOMAINS else "Domain(..., cost_usd=...)"
    return f"declare it: {declare}; or {report}"
