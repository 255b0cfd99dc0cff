"""What has come to its end, found without looking at anything else.

Entries lie in buckets by the instant at which they end, rounded down to a unit that grows with the time left: a 64th to
a 32nd of it. When a bucket comes due, what has ended is handed out, and the rest is filed again, with a finer unit; the
finest is a tick. So an entry is handled a few times in its whole life (an hour: three), at most 64 buckets of each
unit exist, and only a new bucket, never an entry, costs a heap operation.

The idea is that of hierarchical timing wheels (Varghese and Lauck, SOSP 1987), with a dictionary of buckets in place of
the wheels' arrays. The members of a bucket are linked through ``Held.before`` and ``Held.after``, so that an entry
leaves its bucket without a search.
"""

import heapq
from math import inf
from typing import Final

from toolcache.entry import NOBODY, Held

_TICKS: Final = 16
"""A second: entries are found at most this part of one late."""

_FINENESS: Final = 6
"""Bits of the time left that a bucket's instant keeps."""


class Expiry:
    """The ends of entries, in monotonic seconds (``Held.gone_until``); ``inf`` is not filed.

    ``due`` is the instant before which there is nothing to do, ``inf`` if nothing ends.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        """The number of buckets."""
        return len(self._buckets)

    def add(self, entry: Held, now: float) -> None:
        """File an entry that ends after ``now``."""
        if not self._from <= entry.gone_until < self._to:
            if entry.gone_until == inf:
                return
            self._turn_to(entry.gone_until, now)
        knot = self._knot
        last = knot.before
        entry.before = last
        entry.after = knot
        last.after = knot.before = entry

    def discard(self, entry: Held) -> None:
        """Take an entry out that was added."""
        if entry.gone_until == inf:
            return
        before, after = entry.before, entry.after
        before.after = after
        after.before = before
        entry.before = entry.after = NOBODY

    def replace(self, entry: Held, old: Held, now: float) -> None:
        """File an entry in the place of another: one that ends later is found there in time, and filed again."""
        if old.gone_until <= entry.gone_until < inf:
            before, after = old.before, old.after
            entry.before, entry.after = before, after
            before.after = after.before = entry
            old.before = old.after = NOBODY
        else:
            self.discard(old)
            self.add(entry, now)

    def take(self, now: float, limit: int, patience: int) -> list[Held]:
        """Up to ``limit`` entries that have ended, taken out; gives up after filing ``patience`` others again."""
        ended: list[Held] = []
        tick = int(now * _TICKS)
        while self._dues and self._dues[0] <= tick and len(ended) < limit and patience:
            self._from = self._to = inf  # nothing is filed where it was: the time has come for a finer bucket
            knot = self._buckets[self._dues[0]]
            entry = knot.after
            if entry is knot:
                self._close()
                continue
            self.discard(entry)
            if entry.gone_until <= now:
                ended.append(entry)
            else:
                self.add(entry, now)
                patience -= 1
        return ended

    def clear(self) -> None:
        """Nothing is left."""
        self._buckets: dict[int, Held] = {}
        self._dues: list[int] = []
        self._knot: Held
        self._from = self._to = inf
        self.due = inf

    def _turn_to(self, gone_until: float, now: float) -> None:
        """File entries of this end, and those that end near it, in one bucket until it closes or another is turned to."""
        end = int(gone_until * _TICKS) + 1
        unit = max((end - int(now * _TICKS)).bit_length() - _FINENESS, 0)
        due = end >> unit << unit
        knot = self._buckets.get(due)
        self._knot = self._open(due) if knot is None else knot
        self._from, self._to = (due - 1) / _TICKS, (due + (1 << unit) - 1) / _TICKS

    def _open(self, due: int) -> Held:
        knot = Held.__new__(Held)
        knot.before = knot.after = knot
        self._buckets[due] = knot
        heapq.heappush(self._dues, due)
        self.due = self._dues[0] / _TICKS
        return knot

    def _close(self) -> None:
        knot = self._buckets.pop(heapq.heappop(self._dues))
        # A knot that points at itself would wait for the garbage collector.
        del knot.before, knot.after
        self.due = self._dues[0] / _TICKS if self._dues else inf
