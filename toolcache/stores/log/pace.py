"""Long work in a thread, in short steps: who computes holds the interpreter, and with it every loop of the process."""

import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

STEP: Final = 250
"""Records that are handled in about a millisecond."""

_PAUSE: Final = 0.0001


def paced(items: Iterable[T]) -> Iterator[T]:
    """The items; behind each ``STEP`` of them the others have a moment."""
    for number, item in enumerate(items, 1):
        yield item
        if number % STEP == 0:
            time.sleep(_PAUSE)
