"""How far a run has come, for whoever watches it on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Tell: TypeAlias = Callable[[str, float], None]
"""Is told what is being done, and which share of its task is done."""


def silent(_what: str, _share: float) -> None:
    """Nobody watches."""


@contextmanager
def bar(done: int, total: int) -> Iterator[Callable[[int], Tell]]:
    """A bar below what is printed meanwhile, for tasks of which some may be done; none where no terminal is.

    Args:
        done: tasks of a larger run that are done.
        total: all its tasks.

    Yields:
        Gives each task, by its number from 0 on, whom it tells.
    """
    if not sys.stdout.isatty():
        yield lambda _number: silent
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}, {task.description}"),
        TimeRemainingColumn(),
    )
    # Drawn only when something is told: a thread that draws takes the time of what is measured.
    with Progress(*columns, transient=True, auto_refresh=False) as shown:
        line = shown.add_task("", total=total, completed=done)

        def watched(number: int) -> Tell:
            return lambda what, share: shown.update(
                line, description=what, completed=done + number + share, refresh=True
            )

        yield watched
