"""Numbers as people write them, in the spellings that settings take."""

from math import ceil, floor, log10
from typing import Final

_SPANS: Final = ((86_400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))
_SIZES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_DIGITS: Final = 2


def span(seconds: float) -> str:
    """Such as ``"15m"``."""
    for unit, letter in _SPANS:
        if seconds >= unit:
            whole = seconds / unit
            return f"{whole:.0f}{letter}" if whole == round(whole) else f"{whole:.1f}{letter}"
    return f"{seconds:.3g}s"


def size(count: float) -> str:
    """Such as ``"64MB"``: rounded up to two digits."""
    count = float(rounded(count))
    for unit, letters in _SIZES:
        if count >= unit:
            return f"{count / unit:g}{letters}"
    return f"{count:.0f}"


def rounded(count: float) -> int:
    """The next number with two digits and zeros."""
    if count < 1:
        return 0
    unit = int(10.0 ** max(0, floor(log10(count)) - _DIGITS + 1))
    return ceil(count / unit) * unit


def share(part: float) -> str:
    """Such as ``"12.5 %"``."""
    return f"{100 * part:.1f} %"
