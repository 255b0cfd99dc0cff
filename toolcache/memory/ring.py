"""A queue that its own members are the links of.

An entry can leave from the middle, or move to the end, in constant time, and nothing is allocated: no table has to grow
when a million entries are held, as an OrderedDict does, all at once. An entry is in at most one ring.
"""

from typing import Final

from toolcache.entry import NOBODY, Held

EACH: Final = 512
"""Bytes that an entry takes besides its value, about: what is empty takes room, too."""


class Ring:
    """Entries from the oldest, ``knot.newer``, to the newest, ``knot.older``.

    ``count`` is how many there are, ``weight`` about the bytes they take. In an empty ring the knot is its own neighbour.
    """

    __slots__ = ("count", "knot", "weight")

    def __init__(self) -> None:
        # A Held that is no entry closes the ring, so that no link is ever None and no end is a special case.
        self.knot = Held.__new__(Held)
        self.knot.older = self.knot.newer = self.knot
        self.count = 0
        self.weight = 0

    def push(self, entry: Held) -> None:
        """Add an entry as the newest."""
        knot = self.knot
        newest = knot.older
        entry.older = newest
        entry.newer = knot
        newest.newer = knot.older = entry
        self.count += 1
        self.weight += entry.size + EACH

    def pull(self, entry: Held) -> None:
        """Take an entry out, wherever it is."""
        older, newer = entry.older, entry.newer
        older.newer = newer
        newer.older = older
        # An entry that keeps links to others would keep them, and their values, alive.
        entry.older = entry.newer = NOBODY
        self.count -= 1
        self.weight -= entry.size + EACH

    def swap(self, entry: Held, old: Held) -> None:
        """Put an entry in the place of another."""
        older, newer = old.older, old.newer
        entry.older, entry.newer = older, newer
        older.newer = newer.older = entry
        old.older = old.newer = NOBODY
        self.weight += entry.size - old.size
