"""Progress: a bar on standard error while something takes long, and only where somebody can see it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolcache.cli.call import Call

Told = Callable[[int, int | None, str], None]
"""Told how much is done, of how much in all if that is known, and what else is to be said."""


@contextmanager
def progress(call: "Call", title: str) -> Iterator[Told]:
    """A bar for as long as the block takes.

    Args:
        call: whose standard error it is on.
        title: what is going on.
    """
    screen = call.err
    if not (screen.terminal and screen.coloured) or call.as_json:
        yield lambda _done, _total, _more: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[more]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen.console, transient=True) as shown:
        task = shown.add_task(title, total=None, more="")

        def told(done: int, total: int | None, more: str) -> None:
            shown.update(task, completed=done, total=total, more=more)

        yield told
