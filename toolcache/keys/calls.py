"""Calls whose keys are known: found by the arguments themselves, in place of a digest of them.

Two calls have one key if their arguments are equal and of equal types, as long as these are types of which equality
says everything. So the first table is by types, and knows no others; the second is by arguments, which may be hashed and
compared safely there.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

_Shape: TypeAlias = tuple[type | str, ...]

_TELLING: Final = frozenset({type(None), bool, int, float, str, bytes})
_LONGEST: Final = 512
_HIGHEST: Final = 1 << 64
_REMEMBERED: Final = 4_096


class KnownCalls:
    """The keys of one function's calls, by arguments; bounded."""

    def __init__(self) -> None:
        self._shapes: dict[_Shape, dict[tuple[Any, ...], str]] = {}
        self._count = 0

    def find(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """The key of a call, if it is known."""
        if kwargs:
            args = (*args, *kwargs.values())
            shape: _Shape = (*kwargs, *map(type, args))
        elif len(args) == 1:  # the types of a few are told in half the time without a loop
            shape = (type(args[0]),)
        elif len(args) == 2:  # noqa: PLR2004 - as it says
            first, second = args
            shape = (type(first), type(second))
        elif len(args) == 3:  # noqa: PLR2004 - as it says
            first, second, third = args
            shape = (type(first), type(second), type(third))
        else:
            shape = tuple(map(type, args))
        known = self._shapes.get(shape)
        return None if known is None else known.get(args)

    def learn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], key: str) -> None:
        """Remember the key of a call, if its arguments are short and of telling types."""
        args = (*args, *kwargs.values())
        if not all(map(_is_telling, args)):
            return
        if self._count >= _REMEMBERED:
            self._shapes, self._count = {}, 0
        self._count += 1
        self._shapes.setdefault((*kwargs, *map(type, args)), {})[args] = key


def _is_telling(value: Any) -> bool:
    """Whether equal values of its type are one and the same for a key."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _LONGEST
    if kind is float:
        return bool(value < 0 or value > 0)  # 0.0 and -0.0 are equal, and two; no NaN equals another
    return kind in _TELLING and (kind is not int or -_HIGHEST < value < _HIGHEST)
