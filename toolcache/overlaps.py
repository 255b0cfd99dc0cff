"""Writes of one key that are under way at once."""

from collections.abc import Collection, Iterable
from threading import Lock
from typing import TypeAlias

from toolcache.forks import watch
from toolcache.versions import ZERO

Mark: TypeAlias = tuple[str, bytes]
"""A store key and a version."""


class Overlaps:
    """The newest version that Redis took of each key that is being written.

    A write that Redis did not take may come to the disk after a later one of its key has come to Redis. It is not owed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._writes: dict[str, int] = {}
        self._taken: dict[str, bytes] = {}
        watch(self)

    def begin(self, names: Collection[str]) -> None:
        """These are being written from now on."""
        if not names:
            return
        with self._lock:
            for name in names:
                self._writes[name] = self._writes.get(name, 0) + 1

    def end(self, names: Collection[str]) -> None:
        """They are not any more, once each has ended as often as it has begun."""
        if not names:
            return
        with self._lock:
            for name in names:
                left = self._writes[name] - 1
                if left:
                    self._writes[name] = left
                else:
                    del self._writes[name]
                    self._taken.pop(name, None)

    def took(self, marks: Iterable[Mark]) -> None:
        """Redis took these."""
        with self._lock:
            for name, version in marks:
                if self._writes[name] > 1:
                    self._taken[name] = max(version, self._taken.get(name, ZERO))

    def newer(self, marks: Iterable[Mark]) -> list[Mark]:
        """What it took that is newer than these, which it did not."""
        taken = self._taken
        return [(name, taken[name]) for name, version in marks if taken.get(name, ZERO) > version]

    def forked(self) -> None:
        """The parent's writes are not under way here."""
        self._lock, self._writes, self._taken = Lock(), {}, {}
