"""Traces of the keys that left lately: eight bytes a slot, in a table that is never rehashed.

A slot holds 32 bits of a key's hash and the number of its departure. Slots are in pairs: who comes takes the first of its
pair, who was there moves to the second, and whoever was there is lost. So about one trace in sixty is lost early, and
once in many thousands a key is taken for another: either costs a policy one imperfect choice. A trace is forgotten when
as many others have left since as the policy wants to remember. The table is that of the S3-FIFO paper (see ``s3fifo``),
in Python's terms.
"""

from array import array
from typing import Final

_LEAST: Final = 64
_ROOM: Final = 4
"""Slots, at least, for each trace to be kept."""

_LOW: Final = (1 << 32) - 1


class Ghost:
    """Which keys left lately, and how long ago; ``departures`` counts them."""

    def __init__(self) -> None:
        self._slots = array("Q", [0]) * _LEAST
        self._mask = _LEAST - 2
        self.departures = 0
        self._span = 0

    def __len__(self) -> int:
        """Slots in the table."""
        return len(self._slots)

    def remember(self, key: str, span: int) -> None:
        """Note that a key has left, and forget those after which ``span`` others have left."""
        if span * _ROOM > len(self._slots):
            self._grow(span)
        self._span = span
        self.departures += 1
        slots, code = self._slots, hash(key) & _LOW
        at = code & self._mask
        slots[at + 1] = slots[at]
        slots[at] = code << 32 | self.departures & _LOW

    def recall(self, key: str) -> int | None:
        """How many have left since a key did; None if it did not, or too long ago. Asked for, it is forgotten."""
        if not self.departures:
            return None
        slots, code = self._slots, hash(key) & _LOW
        at = code & self._mask
        if slots[at] >> 32 != code:
            at += 1
            if slots[at] >> 32 != code:
                return None
        since = (self.departures - slots[at]) & _LOW
        slots[at] = 0
        return since if since < self._span else None

    def _grow(self, span: int) -> None:
        # What was remembered is lost; the store was growing, so it was little.
        size = 1 << (span * _ROOM).bit_length()
        self._slots = array("Q", [0]) * size
        self._mask = size - 2
