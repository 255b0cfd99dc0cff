"""S3-FIFO: three queues, none of which a hit touches.

Most keys are asked for once and never again. A new entry therefore starts in a *small* queue, a tenth of the whole, and
goes on to the *main* queue only if it was asked for again while there; else it leaves early, and only a trace of its
key stays in a *ghost*. A key that comes back while the ghost remembers it goes straight to main. Main is a FIFO with
second chances: what was hit since it was last looked at goes round once more.

A tenth is not right for everybody, so the share moves. A miss of what left the small queue a moment ago says that the
queue is too short, one of what left main a moment ago says the same of main; either moves the border by one entry.

Until the first eviction everything fits, and what comes in is shared out at once, a tenth to small and the rest to main:
so a loop over more than fits keeps most of itself. So do the authors in their simulator.

Source: Yang, Zhang, Qiu, Yue and Rashmi, *FIFO Queues are All You Need for Cache Eviction*, SOSP 2023; the moving border
is the idea of its S3-FIFO-D, taken in steps of one entry.
"""

from typing import Final

from toolcache.entry import Held
from toolcache.memory.ghost import Ghost
from toolcache.memory.ring import Ring

_START: Final = 0.1
_LEAST: Final = 0.02
_MOST: Final = 0.9
"""The small queue's share of all bytes: at first, and its limits."""

_MOMENT: Final = 10
"""One part in so many of the number held: departures that are a moment ago."""

_ENTRY: Final = 2
"""Hits in the small queue that lead to main."""

_CAP: Final = 3
"""No more hits than this count, so that a former favourite leaves after a few rounds."""

_CHANCES: Final = 64
"""Entries that one eviction may let pass. Without a limit, a queue of a million that were all hit is gone through."""

_SMALL: Final = -1
"""``Held.seen`` in the small queue; in main it is the number of hits that have been paid for."""


class S3FIFO:
    """Evicts what was asked for only once before what was asked for again.

    Resists scans, does well on loops, and costs a hit nothing: it reads ``Held.hits``, which counts anyway.
    """

    touch = None

    def __init__(self) -> None:
        self.clear()

    def admit(self, key: str, entry: Held, /) -> None:
        """Take in a new key: into main if it left the small queue not long ago."""
        if self._returns(key) if self._full else self._small_is_long():
            entry.seen = entry.hits
            self._main.push(entry)
        else:
            entry.seen = _SMALL
            self._small.push(entry)

    def replace(self, key: str, entry: Held, old: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The new entry takes the place of the old."""
        entry.seen = old.seen
        (self._small if old.seen == _SMALL else self._main).swap(entry, old)

    def evict(self) -> str:
        """Name, and forget, the key that leaves next."""
        self._full = True
        small, main, share = self._small, self._main, self._share
        chances = _CHANCES
        while True:
            if not main.count or (small.count and small.size >= share * (small.size + main.size)):
                entry = small.knot.newer
                small.pull(entry)
                if entry.hits < _ENTRY or not chances:
                    self._left_small.remember(entry.key, small.count + main.count)
                    return entry.key
                entry.seen = entry.hits
            else:
                entry = main.knot.newer
                main.pull(entry)
                credit = entry.hits - entry.seen
                if credit <= 0 or not chances:
                    self._left_main.remember(entry.key, (small.count + main.count) // _MOMENT + 1)
                    return entry.key
                entry.seen = entry.hits - min(credit, _CAP) + 1
            main.push(entry)
            chances -= 1

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        (self._small if entry.seen == _SMALL else self._main).pull(entry)

    def clear(self) -> None:
        """All keys have left; the ghosts too forget them."""
        self._small, self._main = Ring(), Ring()
        self._left_small, self._left_main = Ghost(), Ghost()
        self._share = _START
        self._full = False

    def _small_is_long(self) -> bool:
        return self._small.size >= self._share * (self._small.size + self._main.size)

    def _returns(self, key: str) -> bool:
        """Whether a key left the small queue not long ago; moves the border if it, or main, was too short for it."""
        held = self._small.count + self._main.count + 1
        since = self._left_small.recall(key)
        if since is not None:
            if since * _MOMENT < held:
                self._share = min(_MOST, self._share + 1 / held)
            return True
        if self._left_main.recall(key) is not None:
            self._share = max(_LEAST, self._share - 1 / held)
        return False
