"""The record of one process and one span: what is written, and what of it is believed when it is read again."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from msgpack import Packer, packb, unpackb

from toolcache.groups import MAX_RECORD
from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.metrics.snapshot import Process, Snapshot
from toolcache.series import Series
from toolcache.spread import BUCKETS, Spread

_C = TypeVar("_C", Counts, LayerCounts, DispatchCounts)
_FORMAT: Final = 1
_MOST_SERIES: Final = 4_096
_LONGEST: Final = 256
_LARGEST: Final = 1e18
"""Of numbers: they are added up by the thousand, and whole ones divided."""
_KINDS: Final[Mapping[type[Any], Mapping[str, type[Any]]]] = {
    kind: {name: type(usual) for name, usual in vars(kind()).items()} for kind in (Counts, LayerCounts, DispatchCounts)
}
"""Of each field of each kind of counts the type.

Whoever reads a fleet reads millions of numbers: what is as it was written is told so by few calls, most of them C's.
"""
_NUMBERS: Final = frozenset((int, float))
_MOST_BYTES: Final = 4 << 20


class Record(NamedTuple):
    """What one process counted in one span, and how it was when it last wrote.

    Attributes:
        process: who.
        counts: what came; its instants are those of the span.
        sketch: what was sampled of its lookups, where it was; plain data.
    """

    process: Process
    counts: Snapshot
    sketch: Mapping[str, Any] | None = None


class Rows:
    """The packed series of a record: of many that are written once a second, those that have not changed are not packed again."""

    def __init__(self) -> None:
        self._packed: dict[Series, tuple[Counts, float, float, bytes]] = {}

    def of(self, counts: Snapshot, some: Iterable[Series]) -> list[bytes]:
        """Some series of the counts, packed."""
        return [self._row(series, counts) for series in some]

    def _row(self, series: Series, counts: Snapshot) -> bytes:
        one, usd, tokens = counts.series[series], counts.unit_usd.get(series, 0.0), counts.unit_tokens.get(series, 0.0)
        known = self._packed.get(series)
        if known is None or known[0] is not one or known[1:3] != (usd, tokens):
            known = one, usd, tokens, bytes(packb([*series, usd, tokens, _numbers(one)]))
            self._packed[series] = known
        return known[-1]


def encode(record: Record, most: int = MAX_RECORD, rows: Rows | None = None) -> bytes:
    """The bytes of a record: msgpack of plain data, in which what is zero is left out.

    Of one that would take more than ``most`` bytes each domain is one series: rather fewer of them than no count at all.
    """
    body = _encode(record, record.counts, rows or Rows())
    return body if len(body) <= most else _encode(record, _by_domain(record.counts), Rows())


def _by_domain(counts: Snapshot) -> Snapshot:
    """The same counts, of each domain in one series."""

    def costs(units: Mapping[Series, float]) -> dict[Series, float]:
        return {Series(series.domain): unit for series, unit in units.items()}

    series = {Series(name): sums for name, sums in counts.by("domain").items()}
    return counts._replace(series=series, unit_usd=costs(counts.unit_usd), unit_tokens=costs(counts.unit_tokens))


def _encode(record: Record, counts: Snapshot, rows: Rows) -> bytes:
    body = {
        "v": _FORMAT,
        "p": {name: value for name, value in vars(record.process).items() if name != "owner"},
        "l": {name: _numbers(one) for name, one in counts.layers.items()},
        "d": _numbers(counts.dispatch),
    }
    if record.sketch is not None:
        body["x"] = record.sketch
    packer = Packer()
    parts = [packer.pack_map_header(len(body) + 1), *(packer.pack(part) for each in body.items() for part in each)]
    parts += packer.pack("s"), packer.pack_array_header(len(counts.series))
    return b"".join(parts + rows.of(counts, counts.series))


def _numbers(counts: Counts | LayerCounts | DispatchCounts) -> dict[str, Any]:
    return {
        name: [value.longest, *chain.from_iterable(value.counts.items())] if type(value) is Spread else value
        for name, value in vars(counts).items()
        if (value.counts if type(value) is Spread else value)
    }


def decode(body: bytes, owner: str, since: float, until: float) -> Record | None:
    """The record; None for bytes that are none. Whatever a field of another kind or range says is left out."""
    if len(body) > _MOST_BYTES:
        return None
    try:
        told = unpackb(body, strict_map_key=False)
        if not isinstance(told, dict) or told.get("v") != _FORMAT:
            return None
        return _record(told, owner, since, until)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, UnicodeDecodeError):
        return None


def is_newer(body: bytes) -> bool:
    """Whether bytes that are no record here are one to a later version of the library."""
    try:
        told = unpackb(body, strict_map_key=False)
        return isinstance(told, dict) and _number(told.get("v")) > _FORMAT
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False


def _record(told: dict[str, Any], owner: str, since: float, until: float) -> Record:
    series: dict[Series, Counts] = {}
    usd: dict[Series, float] = {}
    tokens: dict[Series, float] = {}
    for domain, agent, tool, model, unit_usd, unit_tokens, numbers in told["s"][:_MOST_SERIES]:
        row = Series(*map(_text, (domain, agent, tool, model)))
        series[row] = _counts(Counts, numbers)
        for units, unit in ((usd, unit_usd), (tokens, unit_tokens)):
            if _number(unit) > 0:
                units[row] = unit
    layers = {_text(name): _counts(LayerCounts, numbers) for name, numbers in told["l"].items()}
    counts = Snapshot(
        since=since,
        until=until,
        series=series,
        unit_usd=usd,
        unit_tokens=tokens,
        layers=layers,
        dispatch=_counts(DispatchCounts, told["d"]),
    )
    sketch = told.get("x")
    return Record(_process(told["p"], owner), counts, sketch if isinstance(sketch, dict) else None)


def _process(told: dict[str, Any], owner: str) -> Process:
    texts: dict[str, Any] = {name: _text(told.get(name, "")) for name in ("host", "coherence")}
    instants = {name: _number(told.get(name, 0.0)) for name in ("began_at", "seen_at")}
    whole = {name: int(_number(told.get(name, 0))) for name in ("pid", "entries", "bytes", "max_bytes", "pending")}
    breakers = {_text(name): _text(state) for name, state in told.get("breakers", {}).items()}
    fields: dict[str, Any] = texts | instants | whole
    return Process(owner=owner, breakers=breakers, **fields)


def _counts(kind: type[_C], told: dict[str, Any]) -> _C:
    """Counts of a kind; the fields that this version does not know are left out."""
    kinds = _KINDS[kind]
    fields: dict[str, Any] = {}
    for name, value in told.items():
        known = kinds.get(name)
        if type(value) is known and 0 <= value < _LARGEST:
            fields[name] = value
        elif known is Spread:
            fields[name] = _spread(value)
        elif known is not None and _number(value) >= 0:
            fields[name] = int(value) if known is int else value
    return kind.having(fields)


def _spread(told: list[Any]) -> Spread:
    if not _NUMBERS.issuperset(map(type, told)):
        raise TypeError("no numbers")
    buckets, counts = told[1::2], told[2::2]
    if min(told) < 0 or not sum(told) < _LARGEST or (buckets and max(buckets) >= BUCKETS):
        raise ValueError("no such bucket")
    return Spread(dict(zip(map(int, buckets), counts, strict=True)), told[0])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        raise TypeError("no number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:_LONGEST]
