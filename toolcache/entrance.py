"""The way in: what every call passes before it touches anything."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from toolcache.bus import Bus
from toolcache.errors import CacheClosedError, UnsupportedEventLoopError
from toolcache.follower import Follower
from toolcache.home import Home, Homes
from toolcache.journal import Journal
from toolcache.metrics.recorder import Recorder
from toolcache.parts import Parts
from toolcache.places import Places
from toolcache.sweeper import Sweeper


class Entrance:
    """The way into one cache. Refuses what no call may bring: a closed cache, a foreign loop, keys that are not text.

    Args:
        parts: the cache's parts.
        places: the places of keys.
        homes: what belongs to each loop.
        sweeper: frees what has ended.
        follower: hears what other processes write to the files.
        bus: hears what they write to Redis.
        journal: tells Redis what it has missed.
        recorder: writes down what is counted, if anybody does.

    Attributes:
        used: whether anybody came in to whom more than memory matters: what must be closed.
    """

    def __init__(
        self,
        parts: Parts,
        places: Places,
        homes: Homes,
        sweeper: Sweeper,
        follower: Follower,
        bus: Bus,
        journal: Journal,
        recorder: Recorder | None,
    ) -> None:
        self._memory = parts.memory
        self._places = places
        self._homes = homes
        self._sweeper = sweeper
        self._follower = follower
        self._bus = bus
        self._journal = journal
        self._recorder = recorder
        self._far = parts.redis is not None or parts.files is not None
        self._others: tuple[Callable[[], None], ...] = ()
        self.used = False

    def one(self, key: str) -> str:
        """The place of a key."""
        self.pass_through()
        held = self._memory.front.get(key) if type(key) is str else None
        return self._places.of(key) if held is None else held.key

    def each(self, keys: Iterable[str]) -> list[str]:
        """The places of keys."""
        self.pass_through()
        return [self._places.of(key) for key in keys]

    def pass_through(self) -> None:
        """Come in without a key."""
        if self._homes.closed and self._homes.refusing:
            raise CacheClosedError
        self._sweeper.arm()
        if not self._far:
            return
        self.used = True
        if not self._homes.closed:
            home = self._homes.here()
            if not home.staffed:
                self._staff(home)

    def attend(self, start: Callable[[], None]) -> None:
        """Have ``start()`` called on each loop from which anybody comes in, by the first who does; now, if it may be.

        Raises:
            CacheClosedError: the cache is closed.
        """
        if start not in self._others:
            self._others += (start,)
        self._far = True  # there is more than memory now that must be seen to, and closed
        self._homes.unstaff()
        with suppress(UnsupportedEventLoopError):
            self.pass_through()

    def _staff(self, home: Home) -> None:
        """Have the loop's attendants there."""
        if self._follower.needed and home.attend(self._follower.run):
            self._follower.behind = True
        if self._bus.needed:
            home.attend(self._bus.run)
        if self._journal.needed:
            home.attend(self._journal.run)
        if self._recorder is not None and self._recorder.needed:
            home.attend(self._recorder.run)
        for start in self._others:
            start()
        home.staffed = True
