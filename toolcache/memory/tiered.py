"""Hot, warm and cold: what is used climbs, what is not sinks, and each tier has a size and a time of its own.

A new entry starts in the middle. A use takes it one tier up, or to the newest end of the highest; what a tier has no room
for, or has not used within the tier's time, goes one down, and out of the lowest it leaves. So a flood of keys that are
asked for once passes beneath what is hot, and what was a favourite needs no more than disuse to leave.

All tiers are in this process's memory, in the same form: a hit costs the same in each, and which tier an entry is in decides
only what leaves before it.

Source: segments with promotion one by one are those of Karedla, Love and Wherry, *Caching Strategies to Improve Disk
System Performance*, IEEE Computer, 1994.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from toolcache.entry import Held
from toolcache.memory.ring import EACH, Ring
from toolcache.tiers import Tier

_TICKS: Final = 16
"""A second: a use is known to this part of one."""

_TIER: Final = 2
_AT: Final = (1 << _TIER) - 1
"""Bits of ``Held.seen`` that hold the tier; above them is the tick since which the entry is there unused."""

_STEPS: Final = 64
"""Entries that one call takes down for their age at most; the next goes on."""


class _Level(Ring):
    """The entries of one tier, from the one unused for longest."""

    __slots__ = ("demotions", "max_weight", "promotions", "ticks")

    def __init__(self, max_weight: int, ttl: float) -> None:
        super().__init__()
        self.knot.seen = 0  # who looks at it without the lock may meet the knot
        self.max_weight = max_weight
        self.ticks = inf if ttl == inf else max(int(ttl * _TICKS), 1)
        self.promotions = 0
        self.demotions = 0

    def takes(self, entry: Held) -> bool:
        """Whether it has room for an entry if for nothing else."""
        return entry.size + EACH <= self.max_weight

    def push_oldest(self, entry: Held) -> None:
        """Add an entry as the oldest."""
        knot = self.knot
        oldest = knot.newer
        entry.older, entry.newer = knot, oldest
        oldest.older = knot.newer = entry
        self.count += 1
        self.weight += entry.size + EACH

    @property
    def due(self) -> float:
        """The tick from which on its oldest is to go down: 0 while the tier holds too much."""
        if self.weight > self.max_weight:
            return 0
        return (self.knot.newer.seen >> _TIER) + self.ticks if self.count else inf


class Tiered:
    """Evicts from the lowest tier what was unused there for longest.

    It must hear of every hit, under the store's lock; ``Adaptive`` need not.

    Args:
        tiers: two to four, from the highest down: of each the bytes that it may hold and the seconds that an entry may be unused
            in it, ``inf`` for no limit.
        now: the monotonic clock.
    """

    def __init__(self, tiers: Mapping[str, tuple[int, float]], now: Callable[[], float]) -> None:
        self._tiers = dict(tiers)
        self._now = now
        self._start = now()
        self.clear()

    def touch(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Called at each hit: one tier up."""
        at = entry.seen & _AT
        self._levels[at].pull(entry)
        if at and self._levels[at - 1].takes(entry):
            at -= 1
            self._levels[at].promotions += 1
        self._push(entry, at)

    def admit(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """Take in a new key, in the middle."""
        self._push(entry, len(self._levels) // 2)

    def replace(self, key: str, entry: Held, old: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The new entry is the newest of its tier."""
        at = old.seen & _AT
        self._levels[at].pull(old)
        self._push(entry, at)

    def evict(self) -> str:
        """Name, and forget, the key that was unused for longest in the lowest tier that has one."""
        level = next(level for level in reversed(self._levels) if level.count)
        oldest = level.knot.newer
        level.pull(oldest)
        level.demotions += 1
        return oldest.key

    def forget(self, key: str, entry: Held, /) -> None:  # noqa: ARG002 - the protocol's
        """The key has left."""
        self._levels[entry.seen & _AT].pull(entry)

    def clear(self) -> None:
        """All keys have left."""
        before = getattr(self, "_levels", ())
        self._levels = [_Level(*limits) for limits in self._tiers.values()]
        for level, old in zip(self._levels, before, strict=False):
            level.promotions, level.demotions = old.promotions, old.demotions

    @property
    def due(self) -> float:
        """The monotonic instant from which ``lapsed`` has work; ``inf`` if it never will."""
        return self._start + min(level.due for level in self._levels) / _TICKS

    def lapsed(self) -> str | None:
        """Take down what has been too long where it is; name, and forget, what so leaves the lowest tier, one at a time."""
        now, last = self._tick(), len(self._levels) - 1
        for at, level in enumerate(self._levels):
            for _ in range(_STEPS):
                if level.due > now:
                    break
                if at == last:
                    return self.evict()
                self._sink(at, now)
        return None

    def tiers(self) -> dict[str, Tier]:
        """Each tier by its name, from the highest."""
        return {
            name: Tier(level.count, level.weight, *self._tiers[name], level.promotions, level.demotions)
            for name, level in zip(self._tiers, self._levels, strict=True)
        }

    def _tick(self) -> int:
        return int((self._now() - self._start) * _TICKS)

    def _push(self, entry: Held, at: int) -> None:
        """Make an entry the newest of a tier, or of the next below that can hold it; what that has no room for goes down."""
        levels, tick, last = self._levels, self._tick(), len(self._levels) - 1
        while at < last and not levels[at].takes(entry):
            at += 1
        entry.seen = tick << _TIER | at
        if not levels[at].takes(entry):
            levels[at].push_oldest(entry)  # it is to leave, and nothing else for it
            return
        levels[at].push(entry)
        while at < last and levels[at].weight > levels[at].max_weight:
            while levels[at].weight > levels[at].max_weight:
                self._sink(at, tick)
            at += 1

    def _sink(self, at: int, tick: int) -> None:
        """Take the oldest of a tier to the one below."""
        level = self._levels[at]
        oldest = level.knot.newer
        level.pull(oldest)
        level.demotions += 1
        oldest.seen = tick << _TIER | at + 1
        self._levels[at + 1].push(oldest)
