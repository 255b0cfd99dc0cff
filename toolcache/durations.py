"""Spans of time and sizes as people write them: ``"7d"``, ``timedelta(hours=2)``, ``90``; ``"100MB"``, ``"8MiB"``."""

import math
import re
from datetime import timedelta
from typing import Final, TypeAlias

Duration: TypeAlias = float | timedelta | str
Size: TypeAlias = int | str

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_LONGEST: Final = 64
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_SIZE: Final = r"(\d+(?:\.\d+)?)\s*([a-z]*)"


def seconds(value: Duration, *, name: str = "ttl") -> float:
    """Seconds of a span.

    Args:
        value: seconds as a number, a ``timedelta``, or text such as ``"90s"``, ``"2h30m"``, ``"7d"``.
        name: what the span is called in an error.

    Raises:
        TypeError: for anything else.
        ValueError: for text that is no span, for zero, negative, infinite and NaN spans, and for ``bool``.

    Examples:
        >>> seconds("2h30m")
        9000.0
    """
    if type(value) is float and 0.0 < value < math.inf:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta | str):
        msg = f"{name} takes seconds, a timedelta or text such as '2h30m', not {type(value).__name__}"
        raise (ValueError if isinstance(value, bool) else TypeError)(msg)  # a bool is a number, of no seconds
    if isinstance(value, timedelta):
        span = value.total_seconds()
    elif isinstance(value, str):
        span = _parse_span(value, name)
    else:
        span = _float(value)
    if not span > 0 or math.isinf(span):
        msg = f"{name} must be longer than nothing and finite, not {span:g} s"
        raise ValueError(msg)
    return span


def size(value: Size, *, name: str = "size") -> int:
    """Bytes of a size: ``"8MB"`` is 8·10⁶, ``"8MiB"`` is 2²³.

    Raises:
        TypeError: for anything but whole numbers and text.
        ValueError: for text that is no size, and for sizes below 1.

    Examples:
        >>> size("8MiB")
        8388608
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        msg = f"{name} takes bytes or text such as '100MB', not {type(value).__name__}"
        raise TypeError(msg)
    if isinstance(value, str):
        value = _parse_size(value, name)
    if value < 1:
        msg = f"{name} must be at least 1 byte"
        raise ValueError(msg)
    return value


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _parse_size(text: str, name: str) -> int:
    match = re.fullmatch(_SIZE, text.strip().lower()) if len(text) <= _LONGEST else None
    if match is None or match[2] not in _BYTES:
        msg = f"{name}={text[:_LONGEST]!r} is no size: write bytes, or text such as '64MB', '1GiB'"
        raise ValueError(msg)
    whole, unit = match[1].isdecimal(), _BYTES[match[2]]
    return int(match[1]) * unit if whole else round(float(match[1]) * unit)


def _parse_span(text: str, name: str) -> float:
    lowered = text.strip().lower() if len(text) <= _LONGEST else ""
    try:
        return float(lowered)
    except ValueError:
        pass
    total, end = 0.0, 0
    for match in _PART.finditer(lowered):
        if match.start() != end or match[2] not in _SECONDS:
            break
        total += float(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if end == 0 or end != len(lowered):
        msg = f"{name}={text[:_LONGEST]!r} is no span of time: write seconds, or text such as '90s', '2h30m', '7d'"
        raise ValueError(msg)
    return total
