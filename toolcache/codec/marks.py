"""Containers that msgpack does not know, as arrays whose first element is a mark.

A mark is an extension without a payload: ``[TUPLE, 1, 2]``, ``[MAP, k1, v1, k2, v2]``. So nothing is nested in payloads,
and each byte is read once, however deep the value. The codes are frozen: what is stored outlives the code.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgpack import ExtType

from toolcache.codec import extensions

_TUPLE: Final = 1
_SET: Final = 2
_FROZENSET: Final = 3
_MAP: Final = 4

PREFIX: Final = b"\xc7\x00"
"""What every mark begins with."""

OF: Final[Mapping[type, ExtType]] = MappingProxyType(
    {
        tuple: ExtType(_TUPLE, b""),
        set: ExtType(_SET, b""),
        frozenset: ExtType(_FROZENSET, b""),
    }
)
"""The mark of each container."""

MAP: Final = ExtType(_MAP, b"")
"""The mark of a dict with keys that are neither text nor bytes; keys and values follow by turns."""


class _Mark:
    __slots__ = ("build",)

    def __init__(self, build: Callable[[list[Any]], Any]) -> None:
        self.build = build


class Reader:
    """The hooks of one reading.

    ``open`` counts the marks that did not stand first in an array. Such a mark would be part of the value, and never
    was written: unless ``open`` is 0 at the end, the bytes are not ours.
    """

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = 0

    def extension(self, code: int, data: bytes) -> Any:
        """A mark, or the value of another extension."""
        if data or code not in _MARKS:
            return extensions.read(code, data)
        self.open += 1
        return _MARKS[code]

    def array(self, items: list[Any]) -> Any:
        """The list itself, or what its mark makes of it."""
        if not items or type(items[0]) is not _Mark:
            return items
        self.open -= 1
        return items[0].build(items[1:])


def _build_map(items: list[Any]) -> dict[Any, Any]:
    pairs = iter(items)
    return dict(zip(pairs, pairs, strict=True))


_MARKS: Final[Mapping[int, _Mark]] = MappingProxyType(
    {
        _TUPLE: _Mark(tuple),
        _SET: _Mark(set),
        _FROZENSET: _Mark(frozenset),
        _MAP: _Mark(_build_map),
    }
)
