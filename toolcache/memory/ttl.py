"""By the time left: what ends soonest leaves first; of those that end together, what came in first.

Entries lie in rings by the instant at which they end, rounded down to a unit that is a 512th to a 256th of their whole life: so
ends closer than that count as the same. A hit changes nothing, an entry is filed once and found without a search, and
only a new ring, of which there are far fewer than entries where entries are many, costs a heap operation.
"""

import heapq
from math import inf
from typing import Final

from toolcache.entry import Held
from toolcache.memory.ring import Ring

_TICKS: Final = 16
"""A second: ends closer than this part of one count as the same, however short a life is."""

_FINENESS: Final = 9
"""Bits of a life that its end is told apart by."""

_NEVER: Final = -1
"""``Held.seen`` of what has no end."""


class TTL:
    """Evicts the entry that ends soonest; one without an end only when no other is held.

    It keeps what will be of use for longest, and does not ask whether anybody wants it: for values that cost the more the longer
    they are good, such as embeddings beside prices. Where all live equally long, it is ``FIFO``.
    """

    touch = None

    def __init__(self) -> None:
        self.clear()

    def admit(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Take in a new key."""
        end = entry.gone_until
        if end == inf:
            entry.seen = _NEVER
            self._endless.push(entry)
            return
        unit = max((entry.span_ms * _TICKS // 1000).bit_length() - _FINENESS, 0)
        entry.seen = due = int(end * _TICKS) >> unit << unit
        ring = self._rings.get(due)
        if ring is None:
            ring = self._rings[due] = Ring()
            heapq.heappush(self._dues, due)
        ring.push(entry)

    def replace(self, key: str, entry: Held, old: Held, /) -> None:
        """The new entry has an end of its own."""
        self.forget(key, old)
        self.admit(key, entry)

    def evict(self) -> str:
        """Name, and forget, the key that ends soonest."""
        self._drop_empty()
        ring = self._rings[self._dues[0]] if self._dues else self._endless
        soonest = ring.knot.newer
        ring.pull(soonest)
        return soonest.key

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        ring = self._endless if entry.seen == _NEVER else self._rings[entry.seen]
        ring.pull(entry)
        if not ring.count:
            self._drop_empty()

    def clear(self) -> None:
        """All keys have left."""
        self._endless = Ring()
        self._rings: dict[int, Ring] = {}
        self._dues: list[int] = []

    def _drop_empty(self) -> None:
        """Empty rings go when they are the next; others wait, and are used again."""
        while self._dues and not self._rings[self._dues[0]].count:
            ring = self._rings.pop(heapq.heappop(self._dues))
            del ring.knot.older, ring.knot.newer  # itself; a circle would wait for the garbage collector
