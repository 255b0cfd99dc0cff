"""Traces of the keys that left lately: eight bytes a slot, in a table that is never rehashed.

A slot holds 32 bits of a key's hash and as many of the number of its departure. Slots are in pairs: who comes takes the first of its
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
        self.departures = 0
        self._span = 0
        self._lay_out(_LEAST)

    def __len__(self) -> int:
        """Slots in the table."""
        return len(self._codes)

    def remember(self, key: str, span: int) -> None:
        """Note that a key has left, and forget those after which ``span`` others have left."""
        if span > self._most:
            # What was remembered is lost; the store was growing, so it was little.
            self._lay_out(1 << (span * _ROOM).bit_length())
        codes, numbers = self._codes, self._numbers
        self._span = span
        self.departures = number = self.departures + 1
        code = hash(key) & _LOW
        at = code & self._mask
        codes[at + 1], numbers[at + 1] = codes[at], numbers[at]
        codes[at], numbers[at] = code, number & _LOW

    def recall(self, key: str) -> int | None:
        """How many have left since a key did; None if it did not, or too long ago. Asked for, it is forgotten."""
        if not self.departures:
            return None
        codes, code = self._codes, hash(key) & _LOW
        at = code & self._mask
        if codes[at] != code:
            at += 1
            if codes[at] != code:
                return None
        since = (self.departures - self._numbers[at]) & _LOW
        codes[at] = self._numbers[at] = 0
        return since if since < self._span else None

    def _lay_out(self, size: int) -> None:
        self._codes = array("I", [0]) * size
        self._numbers = array("I", [0]) * size
        self._mask = size - 2
        self._most = size // _ROOM
