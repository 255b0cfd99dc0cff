"""Who watches what comes into memory and what leaves it, of some keys."""

from typing import Final, Protocol

from toolcache.entry import Counts, Held

WHOLE: Final = 1 << 24
"""A key is watched if the last 24 bits of its hash are below ``MemoryStore.sampled``; this is above all of them."""

LAST_BITS: Final = WHOLE - 1


class Watcher(Protocol):
    """Is told of the keys that are watched. It asks nothing that takes memory's lock, under which it is called."""

    def came(self, key: str, held: Held, cost: int, /) -> None:
        """An entry was taken in, which takes so many bytes."""
        ...

    def left(self, key: str, /) -> None:
        """An entry made room before its end."""
        ...

    def sought(self, key: str, held: Held | None, tally: Counts, /) -> None:
        """A key was looked up that memory could not answer by itself; ``held`` is what was found."""
        ...

    def pulse(self) -> None:
        """Time has passed."""
        ...


class _Nobody:
    """Watches nothing."""

    def came(self, key: str, held: Held, cost: int, /) -> None:
        """Nothing."""

    def left(self, key: str, /) -> None:
        """Nothing."""

    def sought(self, key: str, held: Held | None, tally: Counts, /) -> None:
        """Nothing."""

    def pulse(self) -> None:
        """Nothing."""


UNWATCHED: Final[Watcher] = _Nobody()
