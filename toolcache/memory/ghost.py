"""Traces of the keys that left lately: eight bytes each, in a table that is never rehashed.

A slot holds 32 bits of a key's hash and the number of the departure. Two slots are open to a key; a newcomer takes the
one that left longer ago. So the ghost may forget a key early, or take one key for another once in many thousands: either
costs a policy one imperfect choice. A trace is forgotten when as many others have left since as the policy says it should
remember. This is the table of the S3-FIFO paper (see ``s3fifo``), section 4.2.
"""

from array import array
from typing import Final

_LEAST: Final = 64
_LOW: Final = (1 << 32) - 1


class Ghost:
    """Which keys left lately."""

    def __init__(self) -> None:
        self._slots = array("Q", [0]) * _LEAST
        self._mask = _LEAST - 1
        self._departures = 0
        self._span = 0

    def __len__(self) -> int:
        """Slots in the table."""
        return len(self._slots)

    def remember(self, key: str, span: int) -> None:
        """Note that a key has left, and forget those that left more than ``span`` departures ago."""
        if span * 2 > self._mask + 1:
            self._grow(span)
        self._span = span
        self._departures = now = (self._departures + 1) & _LOW
        code = hash(key) & _LOW
        slots, slot = self._slots, code & self._mask
        other = slot ^ 1
        if (now - slots[other]) & _LOW > (now - slots[slot]) & _LOW:
            slot = other
        slots[slot] = code << 32 | now

    def recall(self, key: str) -> bool:
        """Whether a key left lately; it is forgotten by being asked for."""
        code = hash(key) & _LOW
        slots, slot = self._slots, code & self._mask
        for place in (slot, slot ^ 1):
            trace = slots[place]
            if trace >> 32 == code and trace and (self._departures - trace) & _LOW < self._span:
                slots[place] = 0
                return True
        return False

    def _grow(self, span: int) -> None:
        # What was remembered is lost; the store was growing, so it was little.
        size = 1 << (span * 2).bit_length()
        self._slots = array("Q", [0]) * size
        self._mask = size - 1
