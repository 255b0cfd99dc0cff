"""S3-FIFO: three queues, and not one of them is touched by a hit.

Most keys are asked for once and never again. A new entry therefore starts in a *small* queue, a tenth of the whole, and
goes on to the *main* queue only if it was asked for again while there; else it leaves early, and only a trace of its
key stays in the *ghost*. A key that comes back while the ghost remembers it goes straight to main. Main is a FIFO with
second chances: what was hit since it was last looked at goes round once more.

Until the first eviction everything fits, and what comes in is shared out at once, a tenth to small and the rest to main:
a loop over more than fits then keeps most of itself. So do the authors in their simulator.

Source: Yang, Zhang, Qiu, Yue and Rashmi, *FIFO Queues are All You Need for Cache Eviction*, SOSP 2023.
"""

from typing import Final

from toolcache.entry import Held
from toolcache.memory.ghost import Ghost
from toolcache.memory.ring import Ring

_SHARE: Final = 10
"""One part in so many belongs to the small queue."""

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
        self._small = Ring()
        self._main = Ring()
        self._ghost = Ghost()
        self._full = False

    def admit(self, key: str, entry: Held, /) -> None:
        """Take in a new key: into main if it was evicted from the small queue not long ago."""
        if self._ghost.recall(key) if self._full else self._small_is_large():
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
        small, main = self._small, self._main
        for chance in range(_CHANCES, -1, -1):
            if not main.count or (small.count and self._small_is_large()):
                entry = small.oldest
                small.pull(entry)
                if entry.hits < _ENTRY or not chance:
                    self._ghost.remember(entry.key, small.count + main.count)
                    break
                entry.seen = entry.hits
            else:
                entry = main.oldest
                main.pull(entry)
                credit = min(entry.hits - entry.seen, _CAP)
                if credit <= 0 or not chance:
                    break
                entry.seen = entry.hits - credit + 1
            main.push(entry)
        return entry.key

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        (self._small if entry.seen == _SMALL else self._main).pull(entry)

    def clear(self) -> None:
        """All keys have left; the ghost too forgets them."""
        self._small, self._main, self._ghost = Ring(), Ring(), Ghost()
        self._full = False

    def _small_is_large(self) -> bool:
        return self._small.size * _SHARE >= self._small.size + self._main.size
