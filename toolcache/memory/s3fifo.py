"""S3-FIFO: three queues, none of which a hit touches.

Most keys are asked for once and never again. A new entry therefore starts in a *small* queue, a tenth of the whole, and
goes on to the *main* queue only if it was asked for again while there; else it leaves early, and only a trace of its
key stays in a *ghost*. A key that comes back while the ghost remembers it goes straight to main. Main is a FIFO with
second chances: what was hit since it was last looked at goes round once more.

Until the first eviction everything fits: the tenth that came first goes to small and the rest to main, so a loop over more
than fits keeps most of itself. So do the authors in their simulator.

Source: Yang, Zhang, Qiu, Yue and Rashmi, *FIFO Queues are All You Need for Cache Eviction*, SOSP 2023. ``Adaptive``
builds on it.
"""

from typing import Final

from toolcache.entry import Held
from toolcache.memory.ghost import Ghost
from toolcache.memory.queues import CAP, CHANCES, ENTRY, SMALL, Queues

_SHARE: Final = 0.1
"""The small queue's share of all."""

_MEMORY: Final = 0.95
"""Departures that the ghost looks back on, as a share of those held; the authors' counts 0.9 that have not come back."""


class S3FIFO(Queues):
    """Evicts what was asked for only once before what was asked for again.

    Resists scans, does well on loops, and costs a hit nothing: it reads ``Held.hits``, which counts anyway.
    """

    _share = _SHARE

    def admit(self, key: str, entry: Held, /) -> None:
        """Take in a new key: into main if it left the small queue not long ago."""
        if not self._full or self._ghost.recall(key) is not None:
            entry.seen = entry.hits
            self._main.push(entry)
        else:
            entry.seen = SMALL
            self._small.push(entry)
        if not self._full and not self._small_is_long():
            first = self._main.knot.newer
            self._main.pull(first)
            first.seen = SMALL
            self._small.push(first)

    def evict(self) -> str:
        """Name, and forget, the key that leaves next."""
        self._full = True
        small, main = self._small, self._main
        chances = CHANCES
        while small.count and (chances < CHANCES or self._small_is_long()):
            entry = small.knot.newer
            small.pull(entry)
            if entry.hits < ENTRY or not chances:
                self._ghost.remember(entry.key, int(_MEMORY * (small.count + main.count + 1)))
                return entry.key
            entry.seen = entry.hits
            main.push(entry)
            chances -= 1
        while True:
            entry = main.knot.newer
            main.pull(entry)
            credit = entry.hits - entry.seen
            if credit <= 0 or not chances:
                return entry.key
            entry.seen = entry.hits - min(credit, CAP) + 1
            main.push(entry)
            chances -= 1

    def clear(self) -> None:
        """All keys have left; the ghost too forgets them."""
        super().clear()
        self._ghost = Ghost()
