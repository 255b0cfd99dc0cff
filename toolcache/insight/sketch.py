"""The sketch: what one process has sampled in a day, small enough to lie in its record, and made to be added up."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

from toolcache.fields import Frozen, each
from toolcache.insight.scales import BYTES_BUCKETS, ENTRIES_BUCKETS, LIFETIMES

FORMAT: Final = 1
DOMAINS: Final = 10
"""Domains of one sketch at most: those that most was asked of."""
CLUES: Final = 6
"""Clues of one sketch at most."""
_LONGEST: Final = 128
_FIELDS: Final = 4
_MOST: Final = 1e13
"""More than one process counts of anything in a day: what says so is none of ours, and sums of many stay numbers."""
_DAYS: Final = 2 * 86_400.0
_ROUNDING: Final = 1.001


class DomainSketch(Frozen):
    """The lookups of one domain, as many as those that were sampled stand for.

    Attributes:
        asked: all of them.
        cold: of a key that was not known.
        ended: of a key whose value had come to its end.
        ousted: of a key whose value had made room in memory before its end.
        removed: of a key whose value had been deleted or invalidated.
        spans: how long values were to live, in seconds, summed over ``given`` of them that have an end.
        lived: hits that there would have been with each of ``LIFETIMES``, if memory had no bound.
    """

    asked: float = 0.0
    cold: float = 0.0
    ended: float = 0.0
    ousted: float = 0.0
    removed: float = 0.0
    spans: float = 0.0
    given: float = 0.0
    lived: tuple[float, ...] = (0.0,) * len(LIFETIMES)

    def __add__(self, other: "DomainSketch") -> "DomainSketch":
        sums = {name: getattr(self, name) + getattr(other, name) for name in self._fields if name != "lived"}
        return DomainSketch(**sums, lived=_both(self.lived, other.lived))

    @property
    def lifetime(self) -> float | None:
        """How long values live on the average, in seconds; None where none has an end."""
        return self.spans / self.given if self.given else None


class Clue(Frozen):
    """What a window of calls says of the keys of a domain or function: how they would be without some fields.

    Attributes:
        where: the domain, or ``function:`` and its name.
        calls: calls that were looked at.
        keys: different keys among them.
        fields: what keys would be without; a field ends in ``~text`` or ``~number`` where it would be made alike instead.
        fewer: different keys there would be then.
    """

    where: str
    calls: int
    keys: int
    fields: tuple[str, ...]
    fewer: int


class Sketch(Frozen):
    """What was sampled of lookups: of one process, or of several together.

    Attributes:
        since: seconds since the epoch; so ``until``.
        lookups: how many there were in truth.
        asked: how many those that were sampled stand for.
        samples: lookups that were sampled, of ``keys`` keys.
        rate: the least share of keys that was followed.
        entries: keys that there are, as far as the sample tells; they take ``size`` bytes.
        by_bytes: lookups by how many bytes a memory needs in order to answer them, in buckets; see ``scales``.
        by_entries: the same by how many entries.
        domains: by name.
        clues: what varies in keys.
    """

    since: float = 0.0
    until: float = 0.0
    lookups: float = 0.0
    asked: float = 0.0
    samples: float = 0.0
    keys: float = 0.0
    rate: float = 1.0
    entries: float = 0.0
    size: float = 0.0
    by_bytes: tuple[float, ...] = (0.0,) * BYTES_BUCKETS
    by_entries: tuple[float, ...] = (0.0,) * ENTRIES_BUCKETS
    domains: Mapping[str, DomainSketch] = each(factory=dict)
    clues: tuple[Clue, ...] = ()

    def __hash__(self) -> int:
        return hash((self.since, self.until, self.lookups))

    def __add__(self, other: Self) -> Self:
        domains = dict(self.domains)
        for name, one in other.domains.items():
            domains[name] = domains[name] + one if name in domains else one
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMS}
        return self._replace(
            **sums,
            since=min(self.since or other.since, other.since or self.since),
            until=max(self.until, other.until),
            rate=min(self.rate, other.rate),
            by_bytes=_both(self.by_bytes, other.by_bytes),
            by_entries=_both(self.by_entries, other.by_entries),
            domains=domains,
            clues=_best(self.clues + other.clues),
        )

    def pack(self) -> dict[str, Any]:
        """Plain data of at most 4 kB as msgpack; what is known of many domains is cut to the greatest."""
        most = sorted(self.domains.items(), key=lambda pair: -pair[1].asked)[:DOMAINS]
        return {
            "v": FORMAT,
            "t": [round(self.since, 3), round(self.until, 3), self.rate],
            "n": [round(getattr(self, name)) for name in _SUMS],
            "b": _dense(self.by_bytes),
            "e": _dense(self.by_entries),
            "d": {name: _floats([*(getattr(one, count) for count in _COUNTS), *one.lived]) for name, one in most},
            "c": [
                [one.where, one.calls, one.keys, one.fewer, *one.fields]
                for one in self.clues[:CLUES]
                if sum(map(len, one.fields)) + len(one.where) <= _LONGEST
            ],
        }

    @classmethod
    def read(cls, told: object) -> "Sketch | None":
        """What ``pack`` has made; None for anything else."""
        try:
            return _read(told)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error):
            return None

    @classmethod
    def sum(cls, several: Iterable["Sketch"]) -> "Sketch":
        """All of them together."""
        whole = Sketch()
        for one in several:
            whole = whole + one
        return whole


_SUMS: Final = ("lookups", "asked", "samples", "keys", "entries", "size")
_COUNTS: Final = ("asked", "cold", "ended", "ousted", "removed", "spans", "given")


def merge(packed: Iterable[object]) -> Sketch:
    """What several processes have packed, together; what is no sketch is left out."""
    return Sketch.sum(one for one in map(Sketch.read, packed) if one is not None)


def _both(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(float.__add__, map(float, one), map(float, other)))


def _best(clues: Iterable[Clue]) -> tuple[Clue, ...]:
    """One of each place: that of the most calls."""
    best: dict[str, Clue] = {}
    for clue in clues:
        if clue.where not in best or clue.calls > best[clue.where].calls:
            best[clue.where] = clue
    return tuple(best.values())


def _dense(counts: Sequence[float]) -> list[int | bytes]:
    """The first bucket that counts anything, and all from there to the last."""
    filled = [bucket for bucket, one in enumerate(counts) if one]
    return [filled[0], _floats(counts[filled[0] : filled[-1] + 1])] if filled else []


def _spread(told: Any, buckets: int) -> tuple[float, ...]:
    counts = [0.0] * buckets
    if told:
        first, rest = told[0], _numbers(told[1])
        if type(first) is not int or not 0 <= first <= buckets - len(rest):
            raise ValueError("no such bucket")
        counts[first : first + len(rest)] = rest
    return tuple(counts)


def _floats(counts: Sequence[float]) -> bytes:
    """Four bytes each: seven digits are more than any sample has."""
    return struct.pack(f"<{len(counts)}f", *counts)


def _numbers(told: Any) -> list[float]:
    if not isinstance(told, bytes):
        raise TypeError("no counts")
    return [_number(one) for one in struct.unpack(f"<{len(told) // 4}f", told)]


def _read(told: Any) -> Sketch:
    if told["v"] != FORMAT:
        raise ValueError("another format")
    since, until, rate = map(_number, told["t"])
    if not since <= until <= since + _DAYS:
        raise ValueError("no time of a day")
    numbers = dict(zip(_SUMS, map(_number, told["n"]), strict=True))
    domains = {}
    for name, row in list(told["d"].items())[:DOMAINS]:
        counts = _numbers(row)
        lived = tuple(counts[len(_COUNTS) :])
        if len(lived) != len(LIFETIMES):
            raise ValueError("other lifetimes")
        one = DomainSketch(**dict(zip(_COUNTS, counts, strict=False)), lived=lived)
        if max(one.cold + one.ended + one.ousted + one.removed, *lived) > one.asked * _ROUNDING + 1:
            raise ValueError("more than was asked for")
        domains[_text(name)] = one
    return Sketch(
        **numbers,
        since=since,
        until=until,
        rate=min(1.0, max(rate, 1e-9)),
        by_bytes=_spread(told["b"], BYTES_BUCKETS),
        by_entries=_spread(told["e"], ENTRIES_BUCKETS),
        domains=domains,
        clues=tuple(map(_clue, told["c"][:CLUES])),
    )


def _clue(told: Any) -> Clue:
    where, calls, keys, fewer, *fields = told
    numbers = [int(_number(one)) for one in (calls, keys, fewer)]
    if not 1 <= len(fields) <= _FIELDS:
        raise ValueError("no fields, or too many")
    return Clue(_text(where), numbers[0], numbers[1], tuple(map(_text, fields)), numbers[2])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise TypeError("no count")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise TypeError("no name")
    return value
