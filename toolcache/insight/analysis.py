"""Analysis: how large memory should be, how long values should live, and which entries are hardly worth their room."""

from collections.abc import Mapping
from itertools import pairwise
from math import log
from typing import Final

from toolcache.fields import Frozen
from toolcache.insight.curve import ENOUGH, Curve, Point, curve_of
from toolcache.insight.evidence import Evidence
from toolcache.insight.scales import LIFETIMES
from toolcache.insight.sketch import DomainSketch, Sketch
from toolcache.insight.words import rounded, share, size, span

LOOKUPS: Final = 1_000
"""Sampled lookups before a size is recommended."""
OF_DOMAIN: Final = 200
"""Sampled lookups of a domain before a lifetime is recommended for it."""
_ALIKE: Final = 0.02
"""A lifetime is long enough if none answers more than so many more of all lookups."""
_KEYS: Final = 30
_ROOMY: Final = 1.25
"""A memory that is larger than it needs to be by no more than this is as large as it should be."""


class SizeAdvice(Frozen):
    """How large memory should be.

    Attributes:
        recommended: bytes: the least within a hundredth of the best hit rate; None where too little is known.
        entries: how many entries of the usual size that are.
        present: bytes that it may take now; with the recommended ones ``bytes`` more, or fewer.
        hit_rate: what memory would answer of all lookups, with an LRU strategy; the default one is as good or better.
        present_hit_rate: the same now, or what memory has answered in the period, if that is more.
        dollars: US dollars a day that computing would cost less; zero where Redis or files answer instead.
        error: how far off either hit rate may well be.
        samples: lookups that were sampled.
        reason: all that in a sentence.
    """

    recommended: int | None
    entries: int | None
    present: int
    bytes: int
    hit_rate: float
    present_hit_rate: float
    dollars: float
    error: float
    samples: int
    reason: str

    @property
    def sure(self) -> bool:
        """Whether enough is known."""
        return self.recommended is not None


class LifetimeAdvice(Frozen):
    """How long the values of a domain should live.

    Attributes:
        domain: its name.
        recommended: seconds: the shortest lifetime within two hundredths of the best hit rate, as far as a value stays
            true for so long, which no count can tell; None where too little is known.
        present: seconds; None for ever.
        hit_rate: what would be answered of all lookups of the domain, if memory had room for all.
        present_hit_rate: the same now.
        dollars: US dollars a day that computing would cost less.
        samples: lookups that were sampled.
        reason: all that in a sentence.
    """

    domain: str
    recommended: float | None
    present: float | None
    hit_rate: float
    present_hit_rate: float
    dollars: float
    samples: int
    reason: str

    @property
    def sure(self) -> bool:
        """Whether enough is known."""
        return self.recommended is not None


class LowValue(Frozen):
    """An entry that has not been asked for since it came into this process's memory.

    ``age`` are seconds since its value was made, ``size`` bytes.
    """

    key: str
    domain: str
    size: int
    age: float


class Analysis(Frozen):
    """What sampled lookups say of a cache.

    Attributes:
        size: of memory.
        lifetimes: of each domain that was asked often enough, by name.
        curve: hit rates by size, to be drawn.
        low_value: the largest entries that nobody asks for.
        low_value_count: how many there are in all in this process's memory; they take ``low_value_bytes``.
        lookups: lookups in the days that were looked at, of which ``samples`` were sampled.

    Examples:
        >>> analysis = await cache.analyze()
        >>> analysis.size.reason
        'not enough yet: 0 of 1,000 lookups sampled'
    """

    size: SizeAdvice
    lifetimes: Mapping[str, LifetimeAdvice]
    curve: Curve
    low_value: tuple[LowValue, ...]
    low_value_count: int
    low_value_bytes: int
    lookups: int
    samples: int

    @property
    def recommended_size(self) -> int | None:
        """Bytes that memory should have; None where too little is known."""
        return self.size.recommended

    @property
    def recommended_ttl(self) -> dict[str, float]:
        """Seconds that values should live, of each domain of which enough is known."""
        return {name: one.recommended for name, one in self.lifetimes.items() if one.recommended is not None}

    def __hash__(self) -> int:
        return hash((self.size, self.lookups))


def analysis_of(evidence: Evidence, low: "Low | None" = None) -> Analysis:
    """What the evidence says."""
    curve, sketch = curve_of(evidence.sketch), evidence.sketch
    low = low or Low((), 0, 0)
    return Analysis(
        size=size_advice(evidence, curve),
        lifetimes={
            name: lifetime_advice(evidence, name, one) for name, one in sorted(sketch.domains.items()) if one.asked >= 1
        },
        curve=curve,
        low_value=low.entries,
        low_value_count=low.count,
        low_value_bytes=low.bytes,
        lookups=round(sketch.lookups),
        samples=round(sketch.samples),
    )


class Low(Frozen):
    """Entries of low value: the largest, and how many there are."""

    entries: tuple[LowValue, ...]
    count: int
    bytes: int


# -- size ---------------------------------------------------------------------------------------------------------------


def size_advice(evidence: Evidence, curve: Curve) -> SizeAdvice:
    """The size that the curve recommends."""
    sketch, present = evidence.sketch, evidence.max_bytes
    now = max(
        curve.at(present, entries=evidence.max_entries), evidence.memory_rate
    )  # no strategy need be as bad as LRU
    knee = curve.knee() if sketch.samples >= LOOKUPS and sketch.keys >= _KEYS else None
    if knee is None:
        lack = f"not enough yet: {sketch.samples:,.0f} of {LOOKUPS:,} lookups sampled"
        if sketch.samples >= LOOKUPS:
            lack = f"not enough yet: {sketch.keys:,.0f} of {_KEYS} keys" if curve.points else _of_none(sketch)
        return SizeAdvice(None, None, present, 0, now, now, 0.0, 1.0, round(sketch.samples), lack)
    fits = rounded(knee.bytes)
    better = knee.hit_rate - now
    if better <= ENOUGH and present <= _ROOMY * fits:  # no more than is needed, and not much more
        fits, better = present, 0.0
    error = max(curve.error(min(fits, present)), curve.error(fits))
    dollars = evidence.a_day(sketch.lookups) * max(0.0, better) * evidence.mean_usd() if evidence.near else 0.0
    return SizeAdvice(
        recommended=fits,
        entries=round(fits / curve.mean) if curve.mean else None,
        present=present,
        bytes=fits - present,
        hit_rate=now + better,
        present_hit_rate=now,
        dollars=dollars,
        error=error,
        samples=round(sketch.samples),
        reason=_of_entries(knee, evidence.max_entries, now) or _of_size(fits, present, now, now + better),
    )


def _of_none(sketch: Sketch) -> str:
    if any(one.ended or one.removed for one in sketch.domains.values()):
        return "nothing was asked for again before its value came to its end, or was deleted: no size would help"
    return "no key was asked for twice"


def _of_entries(knee: Point, most: int | None, now: float) -> str:
    """Where entries are what bounds memory, and more of them would answer more."""
    if most is None or knee.entries <= most or knee.hit_rate - now <= ENOUGH:
        return ""
    return (
        f"max_entries={rounded(knee.entries)}, with max_memory of at least {size(knee.bytes)!r}, would have memory answer "
        f"{share(knee.hit_rate)} instead of {share(now)} with max_entries={most}"
    )


def _of_size(fits: int, present: int, now: float, then: float) -> str:
    if fits == present:
        return f"{size(present)} are right: memory answers {share(now)}, and more room would not help"
    if fits < present:
        return f"{size(fits)} would do: memory answers {share(then)} with them, and {share(now)} with {size(present)}"
    return (
        f"max_memory={size(fits)!r} would have memory answer {share(then)} instead of {share(now)} with {size(present)}"
    )


# -- lifetimes ----------------------------------------------------------------------------------------------------------


def lifetime_advice(evidence: Evidence, name: str, one: DomainSketch) -> LifetimeAdvice:
    """The lifetime that the lookups of a domain recommend."""
    sketch = evidence.sketch
    samples = round(sketch.samples * one.asked / sketch.asked) if sketch.asked else 0
    rates = [min(1.0, hits / one.asked) for hits in one.lived]
    present = one.lifetime or evidence.ttls.get(name)
    now = rates[-1] if present is None else rate_of(rates, present)
    if samples < OF_DOMAIN:
        lack = f"not enough yet: {samples:,} of {OF_DOMAIN} lookups sampled"
        return LifetimeAdvice(name, None, present, now, now, 0.0, samples, lack)
    best = max(rates)
    if best < _ALIKE:
        lack = "hardly any key was asked for twice"
        return LifetimeAdvice(name, None, present, now, now, 0.0, samples, lack)
    fits = next(life for life, rate in zip(LIFETIMES, rates, strict=True) if rate >= best - _ALIKE)
    if present is None or (now >= best - _ALIKE and fits > present / 2):
        return LifetimeAdvice(
            name, present, present, now, now, 0.0, samples, f"values live long enough: {share(now)} could be answered"
        )
    then = rate_of(rates, fits)
    dollars = evidence.a_day(sketch.lookups * one.asked / sketch.asked) * (then - now) * evidence.unit_usd(name)
    what = "would answer" if fits > present else "would do: it answers"
    reason = f"ttl={span(fits)!r} {what} {share(then)}; {span(present)} answers {share(now)}"
    return LifetimeAdvice(name, fits, present, then, now, dollars, samples, reason)


def rate_of(rates: list[float], lifetime: float) -> float:
    """The hit rate of any lifetime: between two that were tried, in proportion to their logarithms."""
    if lifetime <= LIFETIMES[0]:
        return rates[0] * lifetime / LIFETIMES[0]
    for (low, less), (high, more) in pairwise(zip(LIFETIMES, rates, strict=True)):
        if lifetime <= high:
            return less + (more - less) * log(lifetime / low) / log(high / low)
    return rates[-1]
