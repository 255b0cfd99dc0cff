"""The keys that are followed: numbers that mean nothing elsewhere, and what is known of each, in columns."""

from array import array
from typing import Final

from toolcache.insight.stack import Stack
from toolcache.insight.tallying import Lives
from toolcache.memory.watcher import WHOLE

HERE: Final = 0
OUSTED: Final = 1
"""What became of a key's entry: it made room before its end."""


class Keys:
    """Keys by number, each in a slot of its own.

    Args:
        most: keys at most.

    Attributes:
        slots: the slot of each number.
        stack: by last use.
        lives: with lifetimes of other lengths.
        state: ``HERE`` or ``OUSTED``.
        ends: monotonic seconds at which the value comes to its end.
        since: monotonic seconds from when on it rests; ``hits`` it had then.
        used: whether a key was used since ``rid``.
        deep: the buckets in which it lay last: of bytes and of entries, in turn.
    """

    def __init__(self, most: int) -> None:
        self.slots: dict[int, int] = {}
        self._most = most
        self._free: list[int] = []
        self.stack = Stack(most)
        self.lives = Lives(most)
        self.state = bytearray(most)
        self.ends = array("d", bytes(8 * most))
        self.hits = array("q", bytes(8 * most))
        self.since = array("d", bytes(8 * most))
        self.deep = array("H", bytes(4 * most))
        self.used = bytearray(most)

    @property
    def full(self) -> bool:
        """Whether there is no slot left."""
        return len(self.slots) >= self._most

    def threshold(self, share: float) -> int:
        """The threshold below which this share of the keys lies."""
        marks = sorted(number & (WHOLE - 1) for number in self.slots)
        return max(1, marks[int(share * len(marks))])

    def enter(self, number: int, made_at: float) -> int:
        """Follow a key, whose value was made at that instant."""
        slot = self.slots[number] = self._free.pop() if self._free else len(self.slots)
        self.lives.begin(slot, made_at)
        return slot

    def rid(self) -> list[int]:
        """Follow no key any more that was not used since the last time; their slots."""
        slots = self._drop([number for number, slot in self.slots.items() if not self.used[slot]])
        self.used = bytearray(self._most)
        return slots

    def leave(self, below: int) -> list[int]:
        """Follow no key any more whose mark is not below; their slots."""
        return self._drop([number for number in self.slots if number & (WHOLE - 1) >= below])

    def _drop(self, gone: list[int]) -> list[int]:
        slots = [self.slots.pop(number) for number in gone]
        for slot in slots:
            self.stack.drop(slot)
        self._free += slots
        return slots
