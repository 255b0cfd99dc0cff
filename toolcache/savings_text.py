"""Savings as text: the ledger in columns, for people."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from toolcache.savings import Line, Saved, Savings

_WIDEST: Final = 48
_HEADS: Final = (
    "what",
    "answered",
    "avoided",
    "each",
    "saved",
    "tokens saved",
    "time saved",
    "spent",
    "what one costs",
)
_LONGEST: Final = 1e15
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


def explained(savings: "Savings") -> str:
    """The ledger in aligned columns, with its sums."""
    rows = [_HEADS, *map(_row, savings.ledger), ("in all", *_figures(savings, ""), "")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"Savings from {_day(savings.since)} to {_day(savings.until)} (UTC)", ""]
    for at, row in enumerate(rows):
        if at in (1, len(rows) - 1):
            lines.append("-" * (sum(widths[:-1]) + 2 * len(widths) - 2))
        name, *figures, why = row
        cells = [name.ljust(widths[0]), *(one.rjust(width) for one, width in zip(figures, widths[1:-1], strict=True))]
        lines.append("  ".join([*cells, why]).rstrip())
    if not savings.complete:
        lines += ["", "A layer could not be asked: what others have counted may be missing."]
    return "\n".join(lines)


def _row(line: "Line") -> tuple[str, ...]:
    why = f"{line.why}: {line.advice}" if line.advice else line.why
    return name_of(line), *_figures(line, dollars(line.unit_usd) if line.source != "unknown" else "?"), plain(why, 120)


def _figures(saved: "Saved", each: str) -> tuple[str, ...]:
    return (
        f"{saved.cached_responses:,}",
        f"{saved.computations_avoided:,}",
        each,
        dollars(saved.cost_saved),
        f"{saved.tokens_saved:,.0f}",
        span(saved.seconds_saved),
        dollars(saved.cost_spent),
    )


def name_of(line: "Line") -> str:
    """What a line is of: the domain, and whose agent, which tool and which model it was."""
    labels = [f"{label}={name}" for label, name in list(zip(line.series._fields, line.series, strict=True))[1:] if name]
    replays = ["replays"] if line.what == "replays" else []
    return plain(" ".join([line.series.domain, *replays, *labels]), _WIDEST)


def plain(text: str, longest: int) -> str:
    """Text that a terminal shows as it is, and no more of it than fits."""
    shown = "".join(one if one.isprintable() else "?" for one in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def dollars(amount: float) -> str:
    """US dollars: in cents from one dollar up, below in as many digits as tell something."""
    if amount >= 1 or not amount:
        return f"${amount:,.2f}"
    shown = f"{amount:.8f}".rstrip("0")
    return f"${shown}" if shown != "0." else "<$0.00000001"


def span(seconds: float) -> str:
    """A span of time in its two largest units."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.3g} s" if seconds >= 0.001 else "0 s"  # noqa: PLR2004 - a millisecond
    left, parts = int(min(seconds, _LONGEST)), list[str]()
    for unit, size in (*_UNITS, ("s", 1)):
        whole, left = divmod(left, size)
        if whole or parts:
            parts.append(f"{whole:,} {unit}")
    return " ".join(parts[:2])


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
