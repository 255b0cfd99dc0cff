"""Least frequently used: what was asked for least often leaves first; of those, what was used longest ago.

Entries with the same number of uses share a ring, and the rings in use hang together from the fewest uses to the most. A
use takes an entry to the ring above its own, made if it is not there and dropped when its last entry leaves; so there is
never anything to search.

Source: Shah, Mitra and Matani, *An O(1) algorithm for implementing the LFU cache eviction scheme*, 2010.
"""

from toolcache.entry import Held
from toolcache.memory.ring import Ring


class Level(Ring):
    """The entries that were used ``uses`` times, in order of their last use, between their neighbours."""

    __slots__ = ("higher", "lower", "uses")

    def __init__(self, uses: int, below: "Level | None" = None) -> None:
        super().__init__()
        self.uses = uses
        self.lower: Level = below or self
        self.higher: Level = below.higher if below else self
        self.lower.higher = self.higher.lower = self

    def drop(self) -> None:
        """Leave the neighbours."""
        self.lower.higher, self.higher.lower = self.higher, self.lower
        del self.knot.older, self.knot.newer  # itself; a circle would wait for the garbage collector


class LFU:
    """Evicts the entry with the fewest uses; coming in is the first, and a key that left starts anew.

    Good where favourites stay the same for good, bad where they change: what once was asked for a thousand times stays
    until others were, too. It must hear of every hit, under the store's lock; ``S3FIFO`` and ``Adaptive`` need not.
    """

    def __init__(self) -> None:
        self.clear()

    def touch(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Called at each hit: one use more."""
        self._use(entry, entry)

    def admit(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Take in a new key, used once."""
        self._put(entry, self._ground)

    def replace(self, key: str, entry: Held, old: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """A write is a use too."""
        self._use(old, entry)

    def evict(self) -> str:
        """Name, and forget, the key used least often; of several, the one used longest ago."""
        entry = self._ground.higher.knot.newer
        self.forget(entry.key, entry)
        return entry.key

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        level = self._levels[entry.seen]
        level.pull(entry)
        self._drop_if_empty(level)

    def clear(self) -> None:
        """All keys have left."""
        self._ground = Level(0)
        self._levels: dict[int, Level] = {}

    def _use(self, old: Held, entry: Held) -> None:
        level = self._levels[old.seen]
        # In this order: an entry is in one ring at most, and the next level is found from this one.
        level.pull(old)
        self._put(entry, level)
        self._drop_if_empty(level)

    def _put(self, entry: Held, below: Level) -> None:
        """Add an entry to the level above ``below``."""
        uses = below.uses + 1
        level = below.higher
        if level.uses != uses:
            level = self._levels[uses] = Level(uses, below)
        entry.seen = uses
        level.push(entry)

    def _drop_if_empty(self, level: Level) -> None:
        if not level.count:
            level.drop()
            del self._levels[level.uses]
