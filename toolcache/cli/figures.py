"""Numbers as a person reads them: separated, rounded, with their unit."""

from typing import Final

_SPANS: Final = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (60.0, 1.0, "s"))
_LONG: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES: Final = ("kB", "MB", "GB", "TB")
_HUNDRED: Final = 100
_TEN: Final = 10
_THOUSAND: Final = 1000
_MINUTE: Final = 60


def count(number: float) -> str:
    """A whole number: ``12,345``."""
    return f"{number:,.0f}"


def percent(share: float) -> str:
    """A share: ``87.3%``; what is not quite all is not rounded to all, nor what is not quite nothing to nothing."""
    shown = f"{share * _HUNDRED:.1f}"
    if shown == "100.0" and share < 1:
        return "99.9%"
    if shown == "0.0" and share > 0:
        return "0.1%"
    return f"{shown}%"


def span(seconds: float) -> str:
    """A span of time: ``12.5 µs``, ``340 ms``, ``2 h 5 min``."""
    if seconds <= 0:
        return "0 s"
    for below, factor, unit in _SPANS:
        if seconds < below:
            return f"{_three(seconds * factor)} {unit}"
    if seconds == float("inf"):
        return "for ever"
    whole = round(seconds)
    for place, (unit_seconds, unit) in enumerate(_LONG):
        if whole >= unit_seconds:
            rest = 0 if unit == "s" else whole % unit_seconds // _LONG[place + 1][0]
            return f"{whole // unit_seconds:,} {unit}" + (f" {rest} {_LONG[place + 1][1]}" if rest else "")
    return "0 s"


def size(number: float) -> str:
    """Bytes: ``3.4 MB``, of thousands."""
    if number < _THOUSAND:
        return f"{number:.0f} B"
    for unit in _SIZES:
        number /= _THOUSAND
        if number < _THOUSAND or unit == _SIZES[-1]:
            return f"{_three(number)} {unit}"
    raise AssertionError  # pragma: no cover - the last unit takes all


def usd(dollars: float) -> str:
    """An amount of dollars; of little ones as many digits as tell them apart."""
    if dollars and abs(dollars) < 1:
        return f"${dollars:,.4f}"
    return f"${dollars:,.2f}"


def ago(seconds: float) -> str:
    """How long since: ``3 s ago``."""
    if seconds < 1:
        return "now"
    whole = round(seconds)
    return f"{whole} s ago" if whole < _MINUTE else f"{span(whole)} ago"


def _three(number: float) -> str:
    if number < _TEN:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < _HUNDRED else f"{number:,.0f}"
