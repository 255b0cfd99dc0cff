"""Least recently used: what was neither read nor written for longest leaves first."""

from toolcache.entry import Held
from toolcache.memory.ring import Ring


class LRU:
    """Evicts the entry used longest ago.

    Good where what was used lately is used next, bad where more is scanned or looped over than fits. It must hear of
    every hit, under the store's lock; ``S3FIFO`` need not.
    """

    def __init__(self) -> None:
        self._order = Ring()

    def touch(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Called at each hit: the entry is the newest now."""
        self._order.pull(entry)
        self._order.push(entry)

    def admit(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Take in a new key."""
        self._order.push(entry)

    def replace(self, key: str, entry: Held, old: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """A write is a use too."""
        self._order.pull(old)
        self._order.push(entry)

    def evict(self) -> str:
        """Name, and forget, the key used longest ago."""
        oldest = self._order.knot.newer
        self._order.pull(oldest)
        return oldest.key

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        self._order.pull(entry)

    def clear(self) -> None:
        """All keys have left."""
        self._order = Ring()
