"""Normalisers: what makes values equal that mean the same, for keys alone; the function gets what was passed.

    @cached(normalize=chain(nfkc, casefold, spaces))
    @cached(normalize={"query": casefold, "scores": each(rounded(3)), "filters": unordered})

Each passes what it is not about: ``casefold`` a number, ``rounded`` a text. So all of them may be applied to anything, and
any function of one argument may stand beside them.
"""

import unicodedata
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from toolcache.keys.canonical import canonical

Normaliser: TypeAlias = Callable[[Any], Any]
"""A value to the one that stands for it in a key."""

_EXACT: Final = 1 << 53


def _of_any(function: Normaliser, of: tuple[Normaliser, ...] = ()) -> Normaliser:
    """Say of a normaliser that it takes any value and always gives the same, if those that it is made of do."""
    for mark in ("takes_any", "is_steady"):
        setattr(function, mark, all(getattr(one, mark, False) for one in of))
    return function


def casefold(value: Any) -> Any:
    """Text in the form in which case does not matter, in any language: ``"Straße"`` and ``"STRASSE"`` are one."""
    return value.casefold() if type(value) is str else value


def strip(value: Any) -> Any:
    """Text without white space at its ends."""
    return value.strip() if type(value) is str else value


def spaces(value: Any) -> Any:
    """Text without white space at its ends, and each other run of it, line ends too, as one space."""
    return " ".join(value.split()) if type(value) is str else value


def nfc(value: Any) -> Any:
    """Text in which an accented letter is one character, however it was typed."""
    return unicodedata.normalize("NFC", value) if type(value) is str else value


def nfkc(value: Any) -> Any:
    """The same, and what only looks different becomes plain: ``"ﬁ"``, ``"①"``, full-width letters."""
    return unicodedata.normalize("NFKC", value) if type(value) is str else value


def unordered(value: Any) -> Any:
    """A list or tuple as if nobody had ordered it; how often each member is there still counts."""
    return type(value)(sorted(value, key=canonical)) if type(value) in {list, tuple} else value


def rounded(digits: int) -> Normaliser:
    """Numbers to so many digits after the point, as floats, so that ``2``, ``2.0`` and ``2.0001`` are one.

    Args:
        digits: zero or more.

    Raises:
        ValueError: it is less.

    Examples:
        >>> rounded(2)(0.30000000000000004)
        0.3
    """
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < 0:
        raise ValueError(f"rounded takes a number of digits, zero or more, not {digits!r}")

    def round_off(value: Any) -> Any:
        if type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT):
            return round(float(value), digits) + 0.0  # and no zero below zero
        return value

    return _of_any(round_off)


def each(normaliser: Normaliser) -> Normaliser:
    """Apply a normaliser to what a list, a tuple, a set or the values of a dict hold, at any depth, and to what holds nothing.

    Examples:
        >>> each(casefold)(["A", {"b": "C"}])
        ['a', {'b': 'c'}]
    """

    def change(value: Any) -> Any:
        kind = type(value)
        if kind in {list, tuple, set, frozenset}:
            return kind([change(one) for one in value])
        if kind is dict:
            return {name: change(one) for name, one in value.items()}
        return normaliser(value)

    return _of_any(change, (normaliser,))


def chain(*normalisers: Normaliser) -> Normaliser:
    r"""One after another, the first first.

    Examples:
        >>> chain(nfkc, casefold, spaces)("  Red\u00a0  SHOES ")
        'red shoes'
    """

    def change(value: Any) -> Any:
        for normaliser in normalisers:
            value = normaliser(value)
        return value

    return _of_any(change, normalisers)


for _one in (casefold, strip, spaces, nfc, nfkc, unordered):
    _of_any(_one)
