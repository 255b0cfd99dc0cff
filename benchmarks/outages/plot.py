"""The longest call of each second, for each cache and fault, as an SVG: no library is needed for a few lines."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.outages.report import Row

_COLOURS: Final = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
_WIDTH: Final = 860
_HEIGHT: Final = 120
_LEFT: Final = 60
_TOP: Final = 50
_GAP: Final = 40
_LEAST, _MOST = 1e-4, 100.0
_TICKS: Final = {0.001: "1 ms", 0.01: "10 ms", 0.1: "100 ms", 1.0: "1 s", 10.0: "10 s"}


def plot(titles: dict[str, str], rows: Sequence[Row], outage: tuple[float, float]) -> str:
    """A panel for each fault, under one another.

    Args:
        titles: of the faults, by name.
        rows: of all faults.
        outage: seconds from the beginning at which it begins and ends.
    """
    names = list(dict.fromkeys(row.name for row in rows))
    colours = dict(zip(names, _COLOURS * 2, strict=False))
    faults = [fault for fault in titles if any(row.fault == fault for row in rows)]
    seconds = max(len(row.longest_by_second) for row in rows)
    height = _TOP + len(faults) * (_HEIGHT + _GAP)
    title = f"The longest call begun in each second; {outage[1] - outage[0]:g} s of outage are shaded"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="16" font-size="13">{title}</text>',
    ]
    for number, name in enumerate(names):
        x = _LEFT + 130 * number
        parts.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 14}" y="35">{escape(name)}</text>')
    for number, fault in enumerate(faults):
        panel = _Panel(_TOP + number * (_HEIGHT + _GAP) + 16, seconds)
        parts += panel.frame(titles[fault], outage)
        parts += [panel.line(row, colours[row.name]) for row in rows if row.fault == fault]
    return "\n".join([*parts, "</svg>", ""])


class _Panel:
    def __init__(self, top: float, seconds: int) -> None:
        self._top = top
        self._seconds = seconds

    def _x(self, second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 20) * second / self._seconds

    def _y(self, took: float) -> float:
        share = math.log(max(took, _LEAST) / _LEAST) / math.log(_MOST / _LEAST)
        return self._top + _HEIGHT * (1 - share)

    def frame(self, title: str, outage: tuple[float, float]) -> list[str]:
        """Title, shade and ticks."""
        begin, end = map(self._x, outage)
        parts = [
            f'<text x="{_LEFT}" y="{self._top - 4:.0f}">{escape(title)}</text>',
            f'<rect x="{begin:.1f}" y="{self._top}" width="{end - begin:.1f}" height="{_HEIGHT}" fill="#eeeeee"/>',
        ]
        for took, told in _TICKS.items():
            y = self._y(took)
            parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#cccccc"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{told}</text>')
        return parts

    def line(self, row: Row, colour: str) -> str:
        """The longest calls of one cache; a gap where there were no calls."""
        path, pen = [], "M"
        for second, took in enumerate(row.longest_by_second):
            if took:
                dot = "h0" if pen == "M" else ""  # one that stands alone is a dot
                path.append(f"{pen}{self._x(second + 0.5):.1f} {self._y(took):.1f}{dot}")
            pen = "L" if took else "M"
        return f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linecap="round"/>'
