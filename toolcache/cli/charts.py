"""Charts of one line: sparklines and bars of block letters."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

BLOCKS: Final = "▁▂▃▄▅▆▇█"
NOTHING: Final = "·"
FULL: Final = "█"
EMPTY: Final = "░"


def groups(points: Sequence[T], width: int) -> Iterator[Sequence[T]]:
    """The points in at most ``width`` groups of neighbours, all but the first of one size."""
    each = max(1, -(-len(points) // width))
    first = len(points) % each or each
    if points:
        yield points[:first]
    for place in range(first, len(points), each):
        yield points[place : place + each]


def sparkline(values: Sequence[float | None], *, top: float | None = None) -> str:
    """One letter for each value, from nought to ``top``, or to the largest; a dot where there is no value."""
    highest = max((value for value in values if value is not None), default=0.0) if top is None else top
    return "".join(NOTHING if value is None else _block(value, highest) for value in values)


def _block(value: float, highest: float) -> str:
    step = int(value / highest * len(BLOCKS)) if highest > 0 else 0
    return BLOCKS[max(0, min(step, len(BLOCKS) - 1))]


def bar(share: float, width: int) -> str:
    """A share of a bar; whatever is more than nothing shows."""
    share = max(0.0, min(share, 1.0))
    full = max(round(share * width), 1 if share > 0 else 0)
    return FULL * full + EMPTY * (width - full)
