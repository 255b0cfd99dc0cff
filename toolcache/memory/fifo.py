"""First in, first out: what came in longest ago leaves first, however often it was asked for."""

from toolcache.entry import Held
from toolcache.memory.ring import Ring


class FIFO:
    """Evicts the oldest entry; a hit changes nothing, and a new value takes the place of the old one.

    It finds less than any other policy here; it is for those who want what is kept to depend on writes alone.
    """

    touch = None

    def __init__(self) -> None:
        self._order = Ring()

    def admit(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Take in a new key."""
        self._order.push(entry)

    def replace(self, key: str, entry: Held, old: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The new entry takes the place of the old."""
        self._order.swap(entry, old)

    def evict(self) -> str:
        """Name, and forget, the key that came in longest ago."""
        oldest = self._order.knot.newer
        self._order.pull(oldest)
        return oldest.key

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        self._order.pull(entry)

    def clear(self) -> None:
        """All keys have left."""
        self._order = Ring()
