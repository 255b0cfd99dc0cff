"""A stack of keys by last use: how many others were used since, and how many bytes these take.

Each use has the next position in time. What is above a key is the sum over the later positions, kept in two steps: sums of
blocks, and within a block the positions themselves. To move a key costs two additions, to ask takes some 300, in C.
Where positions run out, keys are numbered anew.

What *rests* is used all the time and is not asked about each time: it lies on top, whatever its position.
"""

from array import array
from typing import Final

_WIDTH: Final = 64
_ENTRY: Final = 1 << 48
"""Entries and bytes are added up in one number: bytes in the lower 48 bits."""
_BYTES: Final = _ENTRY - 1


class Stack:
    """Keys by last use; a key is a slot below ``most``.

    Args:
        most: keys at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._at = array("q", bytes(8 * (-4 * most // _WIDTH) * -_WIDTH))
        self._who = array("h", [-1]) * len(self._at)
        self._blocks = [0] * (len(self._at) // _WIDTH)
        self._position = array("h", [-1]) * most
        self._weight = array("q", bytes(8 * most))
        self._next = 0
        self._resting = bytearray(most)
        self._top = 0
        self._whole = 0

    @property
    def bytes(self) -> int:
        """What all keys take."""
        return self._whole & _BYTES

    def cost(self, slot: int) -> int:
        """Bytes that a key takes."""
        return self._weight[slot] & _BYTES

    def use(self, slot: int, cost: int | None = None) -> None:
        """A key is used now: it comes to the top. ``cost``: the bytes that it takes from now on."""
        known = self._weight[slot]
        weight = known if cost is None else _ENTRY | cost
        if weight == known and self._position[slot] == self._next - 1:  # it was the last that was used
            return
        if self._next == len(self._at):
            self._number()
        self._lift(slot)
        self._whole += weight - known
        self._weight[slot] = weight
        position = self._position[slot] = self._next
        self._who[position] = slot
        self._next += 1
        self._put(slot)

    def above(self, slot: int) -> tuple[int, int]:
        """Entries and bytes that were used since this key was."""
        position = self._position[slot]
        block = position // _WIDTH
        weights = (
            self._top
            + sum(self._at[position + 1 : (block + 1) * _WIDTH])
            + sum(self._blocks[block + 1 : self._next // _WIDTH + 1])
        )
        return weights >> 48, weights & _BYTES

    def rest(self, slot: int) -> None:
        """From now on a key is used all the time."""
        self._take(slot)
        self._resting[slot] = 1
        self._put(slot)

    def wake(self, slot: int) -> None:
        """No longer: it is where it was."""
        self._take(slot)
        self._resting[slot] = 0
        self._put(slot)

    def drop(self, slot: int) -> None:
        """A key is forgotten."""
        self._lift(slot)
        self._whole -= self._weight[slot]
        self._weight[slot] = 0
        self._resting[slot] = 0

    def _lift(self, slot: int) -> None:
        position = self._position[slot]
        if position >= 0:
            self._take(slot)
            self._who[position] = self._position[slot] = -1

    def _take(self, slot: int) -> None:
        """Its weight counts no more."""
        if self._resting[slot]:
            self._top -= self._weight[slot]
        else:
            position = self._position[slot]
            self._blocks[position // _WIDTH] -= self._at[position]
            self._at[position] = 0

    def _put(self, slot: int) -> None:
        """Its weight counts where it is."""
        weight = self._weight[slot]
        if self._resting[slot]:
            self._top += weight
        else:
            position = self._position[slot]
            self._at[position] = weight
            self._blocks[position // _WIDTH] += weight

    def _number(self) -> None:
        """Number all keys anew, in their order."""
        slots = [slot for slot in self._who if slot >= 0]
        room = len(self._at)
        self._at, self._who = array("q", bytes(8 * room)), array("h", slots + [-1] * (room - len(slots)))
        for position, slot in enumerate(slots):
            self._position[slot] = position
            if not self._resting[slot]:
                self._at[position] = self._weight[slot]
        self._blocks = [sum(self._at[at : at + _WIDTH]) for at in range(0, room, _WIDTH)]
        self._next = len(slots)
