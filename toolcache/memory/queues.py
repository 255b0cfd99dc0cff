"""What S3-FIFO and the default have in common: a small queue, a main one, and how they know whose an entry is."""

from typing import Final

from toolcache.entry import NOBODY, Held
from toolcache.memory.ring import Ring

ENTRY: Final = 2
"""Hits in the small queue that lead to main."""

CAP: Final = 3
"""No more hits than this count, so that a former favourite leaves after a few rounds."""

CHANCES: Final = 1_000
"""Entries that one eviction may let pass, half a millisecond's. Without a limit, a million that were all hit would be."""

SMALL: Final = -1
"""``Held.seen`` in the small queue; in main it is the number of hits that have been paid for."""


class Queues:
    """Two queues, none of which a hit touches; ``Held.hits`` counts anyway."""

    touch = None
    _share: float
    """The small queue's share of all."""

    def __init__(self) -> None:
        self.clear()

    def replace(self, key: str, entry: Held, old: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The new entry takes the place of the old."""
        entry.seen = seen = old.seen
        older, newer = old.older, old.newer
        entry.older, entry.newer = older, newer
        older.newer = newer.older = entry
        old.older = old.newer = NOBODY
        if entry.size != old.size:
            (self._small if seen == SMALL else self._main).weight += entry.size - old.size

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        (self._small if entry.seen == SMALL else self._main).pull(entry)

    def clear(self) -> None:
        """All keys have left, and nothing is remembered of any."""
        self._small, self._main = Ring(), Ring()
        self._full = False

    def _small_is_long(self) -> bool:
        return self._small.weight >= self._share * (self._small.weight + self._main.weight)
