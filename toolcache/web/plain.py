r"""What JSON can say of records, and of values of any type that a cache keeps.

Records are for people and pages: their fields, and what they work out from them. Values come back equal: what JSON has no
word for is an object whose ``$type`` names it.

    b"\x00"                  {"$type": "bytes", "base64": "AA=="}
    (1, 2)                  {"$type": "tuple", "items": [1, 2]}; so list-like set, frozenset
    {1: "one"}              {"$type": "dict", "items": [[1, "one"]]}; so a dict with a key "$type"
    Decimal("1.10")         {"$type": "decimal", "text": "1.10"}; so uuid, datetime, date, time, float (nan, inf), int (large)
    timedelta(seconds=1.5)  {"$type": "timedelta", "seconds": 1.5}
    array([0.5])            {"$type": "ndarray", "dtype": "float64", "items": [0.5]}
"""

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from toolcache.entry import MISSING
from toolcache.fields import Frozen
from toolcache.spread import Spread

TAG: Final = "$type"
_SAFE: Final = 1 << 53
"""Whole numbers beyond which JavaScript, and so most readers of JSON, loses digits."""


def said(record: Any) -> Any:  # noqa: PLR0911 - one line for each kind
    """A record, or a table or list of some, for JSON: fields and properties by name; None for what is no finite number."""
    match record:
        case _ if record is MISSING:
            return None
        case None | bool() | int() | str():
            return record
        case float():
            return record if math.isfinite(record) else None
        case Spread():
            return {name: said(getattr(record, name)) for name in ("count", "p50", "p95", "p99", "longest")}
        case Frozen():
            return {name: said(getattr(record, name)) for name in (*record._fields, *_worked_out(type(record)))}
        case Mapping():
            return {str(name): said(one) for name, one in record.items()}
        case tuple() if hasattr(record, "_asdict"):
            return {name: said(one) for name, one in record._asdict().items()}
        case list() | tuple() | set() | frozenset():
            return [said(one) for one in record]
        case _:
            return str(record)


def _worked_out(kind: type) -> list[str]:
    """Names of the public properties of a class of records."""
    return [
        name
        for base in reversed(kind.__mro__)
        for name, one in vars(base).items()
        if isinstance(one, property) and name[0] != "_"
    ]


def told(value: Any) -> Any:
    """A value that a cache keeps, for JSON; of one that is too deep, or has a number of thousands of digits, its type alone."""
    try:
        return _told(value)
    except (RecursionError, ValueError):
        return {TAG: type(value).__name__}


def _told(value: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line for each type
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) < _SAFE else {TAG: "int", "text": str(value)}
        case float():
            return value if math.isfinite(value) else {TAG: "float", "text": str(value)}
        case list():
            return [_told(one) for one in value]
        case dict():
            if TAG not in value and all(type(key) is str for key in value):
                return {key: _told(one) for key, one in value.items()}
            return {TAG: "dict", "items": [[_told(key), _told(one)] for key, one in value.items()]}
        case bytes():
            return {TAG: "bytes", "base64": b64encode(value).decode("ascii")}
        case tuple() | set() | frozenset():
            return {TAG: type(value).__name__, "items": [_told(one) for one in value]}
        case Decimal() | UUID():
            return {TAG: type(value).__name__.lower(), "text": str(value)}
        case datetime() | date() | time():
            return {TAG: type(value).__name__, "text": value.isoformat()}
        case timedelta():
            return {TAG: "timedelta", "seconds": value.total_seconds()}
        case _ if hasattr(value, "tolist") and hasattr(value, "dtype"):
            return {TAG: "ndarray", "dtype": str(value.dtype), "items": [_told(one) for one in value.tolist()]}
        case _:
            return {TAG: type(value).__name__}


def meant(value: Any) -> Any:
    """The value that JSON tells of; the reverse of ``told``.

    Raises:
        ValueError: an object has a ``$type`` that there is none of, or what belongs to it is missing or wrong; or it is too deep.
    """
    try:
        return _meant(value)
    except RecursionError:
        raise ValueError("the value is too deep") from None


def _meant(value: Any) -> Any:
    if isinstance(value, list):
        return [_meant(one) for one in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: _meant(one) for key, one in value.items()}
    kind = value[TAG]
    if not isinstance(kind, str) or kind not in _READERS:
        raise ValueError(f"an object with {TAG!r} names one of {', '.join(_READERS)} in it")
    field, read = _READERS[kind]
    if set(value) != ({TAG, field} | ({"dtype"} if kind == "ndarray" else set())):
        raise ValueError(f"an object of {TAG!r} {kind!r} has {field!r}, and nothing else but what that needs")
    try:
        return read(value) if kind == "ndarray" else read(value[field])
    except (TypeError, ArithmeticError, AttributeError, KeyError) as error:
        raise ValueError(f"an object of {TAG!r} {kind!r} cannot be read") from error


def _pairs(items: Any) -> dict[Any, Any]:
    return {_meant(key): _meant(one) for key, one in items}


def _several(kind: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    def read(items: Any) -> Any:
        if not isinstance(items, list):
            raise TypeError
        return kind([_meant(one) for one in items])

    return read


def _span(seconds: Any) -> timedelta:
    if isinstance(seconds, bool):
        raise TypeError
    return timedelta(seconds=seconds)


def _array(value: Any) -> Any:
    import numpy as np

    if value["dtype"] not in {"float16", "float32", "float64"}:
        raise ValueError("an ndarray has the dtype float16, float32 or float64")
    return np.array([float(one) for one in value["items"]], dtype=value["dtype"])


def _text(kind: Callable[[str], Any]) -> Callable[[Any], Any]:
    def read(text: Any) -> Any:
        if not isinstance(text, str):
            raise TypeError
        return kind(text)

    return read


_READERS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "bytes": ("base64", lambda text: b64decode(text, validate=True)),
    "tuple": ("items", _several(tuple)),
    "set": ("items", _several(set)),
    "frozenset": ("items", _several(frozenset)),
    "dict": ("items", _pairs),
    "decimal": ("text", _text(Decimal)),
    "uuid": ("text", _text(UUID)),
    "datetime": ("text", _text(datetime.fromisoformat)),
    "date": ("text", _text(date.fromisoformat)),
    "time": ("text", _text(time.fromisoformat)),
    "float": ("text", _text(float)),
    "int": ("text", _text(int)),
    "timedelta": ("seconds", _span),
    "ndarray": ("items", _array),
}
