"""Long work in a thread, in short steps: who computes holds the interpreter, and with it every loop of the process."""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
            pause()


def pause() -> None:
    """Let the others have a moment, who has just done a ``STEP``."""
    time.sleep(_PAUSE)


def pool(size: int, name: str) -> ThreadPoolExecutor:
    """Threads that take the processor from nobody when there is something to do: not from the loop that has just said so."""
    return ThreadPoolExecutor(size, name, _give_way)


def _give_way() -> None:
    # Linux alone; and a sandbox may forbid it
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
