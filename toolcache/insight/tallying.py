"""What the sampler counts: how deep what was asked for lay, why it was not there, and what other lifetimes would have done."""

from array import array
from typing import Final

from toolcache.insight.scales import BYTES_BUCKETS, ENTRIES_BUCKETS, LIFETIMES

UNKNOWN: Final = -1.0
"""In place of the instant at which a value was made: nobody has made one."""


class Row:
    """The lookups of one domain, as many as those of the sampled keys stand for.

    Attributes:
        asked: all of them.
        cold: of a key that was not known.
        ended: of a key whose value had come to its end; ``ousted``, had made room; ``removed``, had been taken away.
        lived: hits that there would have been with each of the lifetimes, and no bound of memory; besides ``lasting`` ones
            with all of them.
        spans: how long values were to live, in seconds, summed over ``given`` of them that have an end.
    """

    __slots__ = ("asked", "cold", "ended", "given", "lasting", "lived", "ousted", "removed", "spans")

    def __init__(self) -> None:
        self.asked = self.cold = self.ended = self.ousted = self.removed = self.lasting = 0.0
        self.lived = [0.0] * len(LIFETIMES)
        self.spans = self.given = 0.0


class Depths:
    """How deep in the stack what was asked for lay, in bytes and in entries; of what could have been there at all."""

    def __init__(self) -> None:
        self.bytes = [0.0] * BYTES_BUCKETS
        self.entries = [0.0] * ENTRIES_BUCKETS
        self.asked = 0.0
        self.samples = 0

    def add(self, by_bytes: int, by_entries: int, weight: float) -> None:
        """Count lookups in a bucket of each."""
        self.bytes[by_bytes] += weight
        self.entries[by_entries] += weight


class Lives:
    """When the value of each key would have been made last, had values lived so long; for each of the lifetimes.

    To run through the lookups of a key with each lifetime tells exactly which of them it would have answered.

    Args:
        most: keys at most.
    """

    def __init__(self, most: int) -> None:
        self._width = len(LIFETIMES)
        self._made = array("f", [UNKNOWN]) * (most * self._width)
        self._all_until = array("d", bytes(8 * most))

    def begin(self, slot: int, made_at: float) -> None:
        """A value was made, whatever was there."""
        at = slot * self._width
        self._made[at : at + self._width] = array("f", [made_at]) * self._width
        self._all_until[slot] = made_at + LIFETIMES[0]

    def ask(self, slot: int, now: float, weight: float, row: Row) -> None:
        """A key is asked for; where a value would have come to its end, one would have been made."""
        if now < self._all_until[slot]:  # most often: it is younger than the shortest lifetime
            row.lasting += weight
            return
        made, at, soonest = self._made, slot * self._width, now + LIFETIMES[0]
        for index, lifetime in enumerate(LIFETIMES):
            end = made[at + index] + lifetime
            if now < end:
                row.lived[index] += weight
                soonest = min(soonest, end)
            else:
                made[at + index] = now
        self._all_until[slot] = soonest
