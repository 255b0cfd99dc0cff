"""What views look like: written to ``tests/views/`` by this program, and compared with that by a test.

PYTHONPATH=.:tests python tests/cli_views.py
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import fleet_by_hand

from toolcache.cli import fleet
from toolcache.cli.screen import Screen, stacked
from toolcache.cli.watch import Pulse, picture
from toolcache.metrics.snapshot import Label

FOLDER: Final = Path(__file__).parent / "views"


class Paper(io.StringIO):
    """A pipe of an encoding."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of a stream that has one
        """As a terminal has it."""
        return self._encoding


def drawn(columns: int, *, encoding: str = "utf-8", complete: bool = True, label: Label = "domain") -> str:
    """What ``stats`` shows of the fleet that was made by hand."""
    paper = Paper(encoding)
    screen = Screen(paper, {"COLUMNS": str(columns)})
    metrics = fleet_by_hand.metrics(complete=complete)
    parts = fleet.tables(metrics, label, screen.width)
    screen.show(stacked([fleet.title(metrics, "shop", "1h"), *parts.values()]))
    return paper.getvalue()


def watched(columns: int) -> str:
    """One frame of ``watch``, but for the time of day."""
    paper = Paper()
    screen = Screen(paper, {"COLUMNS": str(columns)})
    pulse = Pulse()
    for second in range(3):
        pulse.look(fleet_by_hand.metrics(20 + second), float(second))
    frame = picture(fleet_by_hand.metrics(22), pulse, screen, "shop", "15m", "domain")
    screen.show(frame)
    return "\n".join(paper.getvalue().splitlines()[:-1]) + "\n"


def views() -> Iterator[tuple[str, str]]:
    """Each view, and what it looks like."""
    yield "stats-80", drawn(80)
    yield "stats-120", drawn(120)
    yield "stats-ascii", drawn(80, encoding="ascii")
    yield "stats-incomplete", drawn(80, complete=False)
    yield "stats-by-model", drawn(80, label="model")
    yield "stats-60", drawn(60)
    yield "watch-80", watched(80)


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in views():
        (FOLDER / f"{name}.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
