"""Header fields, as ASGI has them: pairs of bytes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

Fields: TypeAlias = Iterable[tuple[bytes, bytes]]
Directives: TypeAlias = Mapping[str, str]
"""Directives of Cache-Control by name, in lower case; an empty text where one has no argument."""

_DIRECTIVE: Final = re.compile(r"([!#$%&'*+.^`|~\w-]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^,;\s\"]*)))?", re.ASCII)
_LONGEST: Final = 2**31
_DIGITS: Final = 20

_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
    | {b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info"}
)


def values(fields: Fields, name: bytes) -> list[bytes]:
    """The values of a field, in order."""
    return [value for key, value in fields if key.lower() == name]


def value(fields: Fields, name: bytes) -> bytes | None:
    """The first of them."""
    return next(iter(values(fields, name)), None)


def listed(fields: Fields, name: bytes) -> list[str]:
    """The members of a field that is a list, in order."""
    text = b",".join(values(fields, name)).decode("latin-1")
    return [member for one in text.split(",") if (member := one.strip())]


def directives(fields: Fields) -> Directives:
    """What Cache-Control says; of a directive that comes twice, the first. Without it, ``Pragma: no-cache`` counts."""
    told = values(fields, b"cache-control")
    if not told:
        return {"no-cache": ""} if "no-cache" in listed(fields, b"pragma") else {}
    found: dict[str, str] = {}
    for match in _DIRECTIVE.finditer(b",".join(told).decode("latin-1")):
        found.setdefault(match[1].lower(), match[2] if match[2] is not None else match[3] or "")
    return found


def span(said: Directives, name: str) -> int | None:
    """The seconds that a directive says, None if it does not stand there; 0 if they cannot be read."""
    return seconds(said[name]) if name in said else None


def seconds(text: str) -> int:
    """A whole number of seconds; 0 if that is none (RFC 9111, 1.2.2 and 4.2.1)."""
    return min(int(text[:_DIGITS]), _LONGEST) if text.isascii() and text.isdecimal() else 0


def date(raw: bytes | None) -> float | None:
    """The instant that a date of HTTP names; None for what is none."""
    if raw is None:
        return None
    try:
        found = parsedate_to_datetime(raw.decode("ascii"))
        # One form names no zone, and means this one all the same (RFC 9110, 5.6.7).
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def end_to_end(fields: Fields) -> Iterator[tuple[bytes, bytes]]:
    """The fields that belong to the response, not to one connection; their names in lower case."""
    kept = [(name.lower(), content) for name, content in fields]
    dropped = _HOP_BY_HOP | {name.lower().encode("latin-1") for name in listed(kept, b"connection")}
    return (field for field in kept if field[0] not in dropped)
