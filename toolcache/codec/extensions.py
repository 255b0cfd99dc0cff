"""Values that msgpack does not know, as extension types: instants, spans, decimals, UUIDs, integers beyond 64 bits.

Each is a short payload without nesting, read back with struct or a constructor that parses; no name from the data is
ever imported or called. The codes and payloads are frozen: what is stored outlives the code.
"""

import re
import struct
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgpack import ExtType

from toolcache.rare import rare

if TYPE_CHECKING:
    from decimal import Context, Decimal
    from uuid import UUID

DATETIME: Final = 16
DATE: Final = 17
TIME: Final = 18
TIMEDELTA: Final = 19
DECIMAL: Final = 20
UUID_: Final = 21
INTEGER: Final = 22

_DATETIME: Final = struct.Struct(">HBBBBBIB")
_DATE: Final = struct.Struct(">HBB")
_TIME: Final = struct.Struct(">BBBIB")
_TIMEDELTA: Final = struct.Struct(">iii")
_OFFSET: Final = struct.Struct(">q")

_MICROSECOND: Final = timedelta(microseconds=1)
_ZONE_NAME: Final = r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}"


class Refused(Exception):  # noqa: N818 - a signal between the writers, never seen outside
    """A value that cannot be kept; ``steps`` collects the way to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []


def _pack_datetime(value: datetime) -> ExtType:
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.fold)
    return ExtType(DATETIME, _DATETIME.pack(*fields) + _pack_zone(value.tzinfo))


def _read_datetime(data: bytes) -> datetime:
    year, month, day, hour, minute, second, micro, fold = _DATETIME.unpack_from(data)
    zone = _read_zone(data[_DATETIME.size :])
    return datetime(year, month, day, hour, minute, second, micro, zone, fold=fold)


def _pack_date(value: date) -> ExtType:
    return ExtType(DATE, _DATE.pack(value.year, value.month, value.day))


def _read_date(data: bytes) -> date:
    return date(*_DATE.unpack(data))


def _pack_time(value: time) -> ExtType:
    fields = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return ExtType(TIME, _TIME.pack(*fields) + _pack_zone(value.tzinfo))


def _read_time(data: bytes) -> time:
    hour, minute, second, micro, fold = _TIME.unpack_from(data)
    return time(hour, minute, second, micro, _read_zone(data[_TIME.size :]), fold=fold)


def _pack_timedelta(value: timedelta) -> ExtType:
    return ExtType(TIMEDELTA, _TIMEDELTA.pack(value.days, value.seconds, value.microseconds))


def _read_timedelta(data: bytes) -> timedelta:
    return timedelta(*_TIMEDELTA.unpack(data))


def _pack_decimal(value: "Decimal") -> ExtType:
    return ExtType(DECIMAL, str(value).encode())


def _read_decimal(data: bytes) -> "Decimal":
    from decimal import Decimal

    return Decimal(data.decode("ascii"), _decimals())


@cache
def _decimals() -> "Context":
    """Malformed text must raise, whatever the thread's own context says."""
    from decimal import Context, InvalidOperation

    return Context(traps=[InvalidOperation])


def _pack_uuid(value: "UUID") -> ExtType:
    return ExtType(UUID_, value.bytes)


def _read_uuid(data: bytes) -> "UUID":
    from uuid import UUID

    return UUID(bytes=data)


def pack_integer(value: int) -> ExtType:
    """An integer that does not fit in 64 bits."""
    return ExtType(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _read_integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_zone(zone: tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        own = b"" if name == timezone(offset).tzname(None) else name.encode("utf-8", "surrogatepass")
        return b"o" + _OFFSET.pack(offset // _MICROSECOND) + own
    zone_class = getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None)
    if type(zone) is zone_class:
        return b"z" + _zone_name(zone, zone_class).encode()
    kind = type(zone)
    raise Refused(
        f"a time with tzinfo {kind.__module__}.{kind.__qualname__}: use datetime.timezone or zoneinfo.ZoneInfo"
    )


def _zone_name(zone: Any, zone_class: Any) -> str:
    # A zone that the cache of zoneinfo does not hold would come back as another object, and two such
    # disagree on times that a clock change repeats.
    name: str = zone.key or ""
    if not re.fullmatch(_ZONE_NAME, name) or zone_class(name) is not zone:
        raise Refused("a time whose ZoneInfo is not the one that its name gives: make it with ZoneInfo(name)")
    return name


def _read_zone(data: bytes) -> tzinfo | None:
    if not data:
        return None
    if data[:1] == b"o":
        offset = _OFFSET.unpack_from(data, 1)[0] * _MICROSECOND
        name = data[1 + _OFFSET.size :].decode("utf-8", "surrogatepass")
        return timezone(offset, name) if name else timezone(offset)
    name = data[1:].decode("ascii")
    if data[:1] != b"z" or not re.fullmatch(_ZONE_NAME, name):
        raise ValueError("zone")
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


_PACK: Final[Mapping[type, Callable[[Any], ExtType]]] = MappingProxyType(
    {
        datetime: _pack_datetime,
        date: _pack_date,
        time: _pack_time,
        timedelta: _pack_timedelta,
    }
)
_PACK_RARE: Final[Mapping[str, Callable[[Any], ExtType]]] = MappingProxyType(
    {
        "Decimal": _pack_decimal,
        "UUID": _pack_uuid,
    }
)
_READ: Final[Mapping[int, Callable[[bytes], Any]]] = MappingProxyType(
    {
        DATETIME: _read_datetime,
        DATE: _read_date,
        TIME: _read_time,
        TIMEDELTA: _read_timedelta,
        DECIMAL: _read_decimal,
        UUID_: _read_uuid,
        INTEGER: _read_integer,
    }
)


def packer(kind: type) -> Callable[[Any], ExtType] | None:
    """What writes values of a type; None for one that is no extension."""
    return _PACK.get(kind) or _PACK_RARE.get(rare(kind))


def read(code: int, data: bytes) -> Any:
    """The value of an extension; raises anything for a code or payload that is none of ours."""
    return _READ[code](data)
