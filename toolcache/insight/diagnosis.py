"""Diagnosis: why lookups miss, with the evidence, and what to change."""

from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from typing import Final, Literal

from toolcache.domains import EMBEDDING, MEMORY, MODEL, RESPONSE, SEARCH
from toolcache.fields import Frozen, each
from toolcache.insight.analysis import LOOKUPS, OF_DOMAIN, lifetime_advice
from toolcache.insight.curve import curve_of
from toolcache.insight.evidence import Evidence
from toolcache.insight.sketch import Clue, DomainSketch
from toolcache.insight.words import rounded, share, size, span
from toolcache.metrics.counts import Counts

Issue = Literal["key_variance", "short_ttl", "small_cache", "errors", "cold", "none"]

WORTH: Final = 0.05
"""The share of lookups that a change must turn into hits to be called for."""
_FEWEST: Final = 50
"""Lookups before anything is said."""
_COLD: Final = 0.5
_OURS: Final = frozenset(one.name for one in (EMBEDDING, MEMORY, MODEL, RESPONSE, SEARCH))
"""Domains whose keys are made as they are."""
_BELOW: Final = 3
"""Where Redis or files answer what memory has not, its size must matter so many times more."""


class Finding(Frozen):
    """One reason for misses.

    Attributes:
        issue: "key_variance", "short_ttl", "small_cache", "errors" or "cold".
        where: the domain; ``function:`` or ``tool:`` and a name; or the layer.
        gain: the share of the lookups looked at that would become hits; at most, in the case of errors.
        evidence: the numbers, by name.
        change: what to do: a line of code, a setting, or where to look.
        dollars: US dollars a day that computing would cost less.
    """

    issue: Issue
    where: str
    gain: float
    evidence: Mapping[str, float | str]
    change: str
    dollars: float = 0.0

    def __hash__(self) -> int:
        return hash((self.issue, self.where, self.gain))


class Diagnosis(Frozen):
    """Why lookups miss.

    Attributes:
        issue: the first of the findings that is worth a change; "cold" where most keys are asked for but once; "none".
        findings: all reasons, the greatest first.
        domain: what was looked at; None for all.
        lookups: lookups in the period, of which a share of ``hit_rate`` were hits.
        samples: lookups of the day that were sampled.
        reason: the same in a sentence.

    Examples:
        >>> diagnosis = await cache.diagnose()
        >>> if diagnosis.issue == "short_ttl":
        ...     print(diagnosis.findings[0].change)
    """

    issue: Issue
    findings: tuple[Finding, ...]
    domain: str | None
    lookups: int
    hit_rate: float
    samples: int
    reason: str = ""
    evidence: Mapping[str, float | str] = each(factory=dict)

    def __hash__(self) -> int:
        return hash((self.issue, self.domain, self.findings))


def diagnosis_of(evidence: Evidence, domain: str | None = None) -> Diagnosis:
    """What the evidence says of a domain, or of all."""
    counts = evidence.of(domain)
    looked = counts.hits + counts.misses
    if looked < _FEWEST:
        lack = f"not enough yet: {looked:,} of {_FEWEST} lookups in the period"
        return Diagnosis("none", (), domain, looked, counts.hit_rate, round(evidence.sketch.samples), lack)
    found = [one for find in _FINDERS for one in find(evidence, domain, counts)]
    findings = tuple(sorted(found, key=lambda one: -one.gain))
    first = next((one for one in findings if one.gain >= WORTH), None)
    cold = next((one for one in findings if one.issue == "cold"), None)
    chosen = first or cold
    return Diagnosis(
        issue="none" if chosen is None else chosen.issue,
        findings=findings,
        domain=domain,
        lookups=looked,
        hit_rate=counts.hit_rate,
        samples=round(evidence.sketch.samples),
        reason=f"{share(counts.hit_rate)} are hits, and no change is worth it" if chosen is None else chosen.change,
        evidence={} if chosen is None else chosen.evidence,
    )


def _sampled(evidence: Evidence, domain: str | None) -> dict[str, DomainSketch]:
    rows = {name: one for name, one in evidence.sketch.domains.items() if one.asked}
    return rows if domain is None else {domain: rows[domain]} if domain in rows else {}


def _misses(counts: Counts) -> float:
    looked = counts.hits + counts.misses
    return counts.misses / looked if looked else 0.0


# -- errors -------------------------------------------------------------------------------------------------------------


def _errors(evidence: Evidence, domain: str | None, counts: Counts) -> Iterator[Finding]:
    """Layers that fail, values that cannot be stored."""
    looked = counts.hits + counts.misses
    if counts.not_stored:
        yield Finding(
            "errors",
            domain or "values",
            min(counts.not_stored, counts.misses) / looked,
            {"not_stored": counts.not_stored, "computed": counts.computed},
            "values that were computed could not be stored: cache.on('value_not_stored') says why, see docs/how-to/keys.md",
        )
    ours = counts.misses / max(1, evidence.counted.misses)  # a layer's faults are not told by domain
    for name, layer in evidence.counted.layers.items():
        failed = layer.faults + layer.refused + layer.rejected
        if failed and name != "memory":
            yield Finding(
                "errors",
                name,
                min(failed * ours, counts.misses) / looked,
                {
                    "faults": layer.faults,
                    "refused": layer.refused,
                    "rejected": layer.rejected,
                    "down_seconds": round(layer.down_seconds, 1),
                },
                f"{name} could not be asked: await cache.health() says where it fails",
            )


# -- lifetimes ----------------------------------------------------------------------------------------------------------


def _short_lives(evidence: Evidence, domain: str | None, counts: Counts) -> Iterator[Finding]:
    """Values that come to their end shortly before they are asked for again."""
    rows = _sampled(evidence, domain)
    whole = sum(one.asked for one in rows.values())
    for name, one in rows.items():
        advice = lifetime_advice(evidence, name, one)
        if advice.recommended is None or advice.present is None or advice.recommended <= advice.present:
            continue
        gain = min(advice.hit_rate - advice.present_hit_rate, one.ended / one.asked) * one.asked / whole
        yield Finding(
            "short_ttl",
            name,
            min(gain, _misses(counts)),
            {
                "ended": round(one.ended / one.asked, 4),
                "ttl": advice.present,
                "recommended_ttl": advice.recommended,
                "hit_rate": round(advice.present_hit_rate, 4),
                "expected_hit_rate": round(advice.hit_rate, 4),
                "samples": advice.samples,
            },
            f"give {name!r} ttl={span(advice.recommended)!r} instead of {span(advice.present)}, if its values stay true for so "
            f"long: {share(one.ended / one.asked)} of its lookups came after the end",
            advice.dollars,
        )


# -- size ---------------------------------------------------------------------------------------------------------------


def _small_cache(evidence: Evidence, domain: str | None, counts: Counts) -> Iterator[Finding]:
    """Values that made room before they were asked for again."""
    rows = _sampled(evidence, domain)
    whole = sum(one.asked for one in rows.values())
    ousted = sum(one.ousted for one in rows.values())
    if not ousted or evidence.sketch.samples < OF_DOMAIN:
        return
    curve = curve_of(evidence.sketch)
    knee = curve.knee()
    if knee is None:
        return
    now = curve.at(evidence.max_bytes, entries=evidence.max_entries)
    gain = min(ousted / whole, knee.hit_rate - now if domain is None else 1.0)
    if not evidence.near:
        gain /= _BELOW
    fits = rounded(max(knee.bytes, evidence.max_bytes))
    change = f"max_memory={size(fits)!r} instead of {size(evidence.max_bytes)}"
    if evidence.max_entries is not None and knee.entries > evidence.max_entries:
        change = f"max_entries={rounded(knee.entries)} instead of {evidence.max_entries}"
    yield Finding(
        "small_cache",
        domain or "memory",
        max(0.0, min(gain, _misses(counts) if evidence.near else gain)),
        {
            "ousted": round(ousted / whole, 4),
            "size": evidence.max_bytes,
            "recommended_size": fits,
            "hit_rate": round(now, 4),
            "expected_hit_rate": round(knee.hit_rate, 4),
            "samples": round(evidence.sketch.samples),
        },
        f"{change}: {share(ousted / whole)} of lookups came for what had made room",
        evidence.a_day(evidence.sketch.lookups) * gain * evidence.mean_usd() if evidence.near else 0.0,
    )


# -- keys ---------------------------------------------------------------------------------------------------------------


def _key_variance(evidence: Evidence, domain: str | None, counts: Counts) -> Iterator[Finding]:
    """Calls that ask for the same, by other keys."""
    looked = counts.hits + counts.misses
    for clue in evidence.sketch.clues:
        kind, _, name = clue.where.partition(":")
        of = {"function": "general", "tool": "tool"}.get(kind, kind) if name else clue.where
        if domain is not None and of != domain:
            continue
        share_of = 1.0 if domain is not None else _looked(evidence.of(of)) / looked
        gain = (clue.keys - clue.fewer) / clue.calls * share_of
        if kind == "function":  # of which misses alone are looked at
            gain *= _misses(counts)
        gain = min(gain, _misses(counts))
        yield Finding(
            "key_variance",
            clue.where,
            gain,
            {
                "fields": ", ".join(clue.fields),
                "calls": clue.calls,
                "keys": clue.keys,
                "keys_without": clue.fewer,
                "expected_hit_rate": round(1 - clue.fewer / clue.calls, 4),
            },
            _advice(clue),
            evidence.a_day(evidence.sketch.lookups) * gain * evidence.unit_usd(of),
        )


def _looked(counts: Counts) -> int:
    return counts.hits + counts.misses


def _normalize(where: str, path: str, alike: str) -> str:
    """Where a field is made alike, by what ``toolcache.normalize`` has."""
    normal = "chain(casefold, spaces)" if alike == "text" else "rounded(3)"
    kind, _, name = where.partition(":")
    if not path.isidentifier() or where in _OURS:
        return f"hand it over as toolcache.normalize.{normal} makes it"
    if kind == "tool" and name:
        return f"cache.tools[{name!r}] = ToolPolicy(normalize={{{path!r}: {normal}}})"
    return f"normalize={{{path!r}: {normal}}}, from toolcache.normalize"


def _advice(clue: Clue) -> str:
    kind, _, name = clue.where.partition(":")
    told = [f"{clue.keys:,} keys of {clue.calls:,} calls would be {clue.fewer:,}"]
    for field in clue.fields:
        path, _, alike = field.partition("~")
        if alike == "mark":
            told.append(f"times and ids in {path!r} differ each time: take them out, or out of the key")
        elif alike:
            told.append(f"{path!r} differs in form alone: {_normalize(clue.where, path, alike)}")
        elif kind == "function":
            told.append(f'{path!r} differs each time: @cached(ignore_params=["{path}"])')
        elif kind == "tool" and name:
            told.append(
                f"{path!r} differs each time: name the others in cache.tools[{name!r}] = ToolPolicy(key_params=[...])"
            )
        else:
            told.append(f"{path!r} differs each time: leave it out of what the key is made of")
    return "; ".join(told)


# -- cold ---------------------------------------------------------------------------------------------------------------


def _cold(evidence: Evidence, domain: str | None, counts: Counts) -> Iterator[Finding]:
    """Most is asked for the first time."""
    rows = _sampled(evidence, domain)
    asked, cold = sum(one.asked for one in rows.values()), sum(one.cold for one in rows.values())
    if asked and evidence.sketch.samples >= _FEWEST and cold / asked >= _COLD and _misses(counts) >= _COLD:
        sure = 1 / sqrt(max(1.0, evidence.sketch.samples))
        yield Finding(
            "cold",
            domain or "all",
            0.0,
            {
                "cold": round(cold / asked, 4),
                "error": round(sure, 4),
                "enough": str(evidence.sketch.samples >= LOOKUPS),
            },
            f"{share(cold / asked)} of lookups are for keys that nobody has asked for before: warm them, or let it be",
        )


_FINDERS: Final[tuple[Callable[[Evidence, str | None, Counts], Iterator[Finding]], ...]] = (
    _errors,
    _short_lives,
    _small_cache,
    _key_variance,
    _cold,
)
