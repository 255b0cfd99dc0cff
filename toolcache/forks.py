"""What a forked child must not share with its parent: locks that another thread held, sockets, files, a node's name.

Whoever has such a thing is watched, and its ``forked()`` is called in the child before anything else runs there.
"""

import os
from typing import Final, Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that begins anew in a child."""

    def forked(self) -> None:
        """Drop what is the parent's. No other thread runs, and no lock can be waited for."""
        ...


_watched: Final[WeakSet[Forked]] = WeakSet()
_hooked = False


def watch(thing: Forked) -> None:
    """Call ``thing.forked()`` in every child forked from now on, for as long as it lives."""
    global _hooked  # noqa: PLW0603 - a fork hook cannot be taken back, so it is set once
    if not _hooked:
        os.register_at_fork(after_in_child=_in_child)
        _hooked = True
    _watched.add(thing)


def _in_child() -> None:
    for thing in tuple(_watched):
        thing.forked()
