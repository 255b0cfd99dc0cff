"""The order of writes: a hybrid logical clock.

A version is 16 bytes, compared bytewise: milliseconds (6), a counter for writes of one millisecond (2), and the node
(8 random bytes, one per process), so that no two processes ever mint the same. It follows the clock where the clock
moves forward, and never runs backward where the clock does (Kulkarni et al., *Logical Physical Clocks*, 2014).
"""

import os
import threading
from struct import Struct
from typing import Final, Protocol

from toolcache.clock import SYSTEM
from toolcache.forks import watch

ZERO: Final = bytes(16)
"""Below every version."""

_MAX_LEAD_MS: Final = 60_000
_LEAD_MS: Final = 50
_NODE_SIZE: Final = 8
_COUNTS: Final = 1 << 16
_LAST: Final = (1 << 64) - 1

_TOP: Final = (1 << 128) - 1

_pack: Final = Struct(f">Q{_NODE_SIZE}s").pack


class _Time(Protocol):
    def time(self) -> float: ...


class HybridClock:
    """Mints versions; one per process, shared by its caches, loops and threads.

    Args:
        clock: where the milliseconds come from; anything with ``time() -> seconds``.
        node: 8 bytes that no other process has; random unless given.
    """

    def __init__(self, clock: _Time | None = None, *, node: bytes | None = None) -> None:
        if node is not None and len(node) != _NODE_SIZE:
            raise ValueError(f"a node is {_NODE_SIZE} bytes, not {len(node)}")
        self.clock: Final = clock or SYSTEM
        self._lock = threading.Lock()
        self._stamp = 0
        self._leaps = 0
        self._leapt = ZERO
        self.node = node or os.urandom(_NODE_SIZE)

    def next(self, above: bytes = ZERO, now: int | None = None) -> bytes:
        """A version above all minted before and above ``above``; ``now`` is the clock's millisecond, if that was just read.

        A far-future ``above`` (another process with a broken clock) is exceeded for this one write and not adopted:
        the next write goes by the clock again. Nothing is above the last version there can be; such a write loses.
        """
        if now is None:
            now = int(self.clock.time() * 1000)
        stamp = now * _COUNTS
        lock = self._lock
        lock.acquire()  # half of what it takes to be `with` it, and every write comes by here
        try:
            if stamp <= self._stamp < _LAST:
                stamp = self._stamp + 1
            self._stamp = stamp
            version = _pack(stamp, self.node)
            return version if version > above else self._leap(above, now)
        finally:
            lock.release()

    def yielding(self, above: bytes = ZERO) -> bytes:
        """A version above ``above``, for what is to give way to all that others write from now on: as if made 50 ms ago.

        For clocks of two hosts never agree to the last millisecond, and what was computed before a write must not stand
        above it because its process' clock is the one ahead.
        """
        now = int(self.clock.time() * 1000)
        with self._lock:
            self._stamp = max(now * _COUNTS, self._stamp + 1)
            version = self._at(max(self._stamp - _LEAD_MS * _COUNTS, 0))
        return version if version > above else just_above(above)

    def _leap(self, above: bytes, now: int) -> bytes:
        """A version above one that is ahead of the clock."""
        stamp = min(_stamp(above) + 1, _LAST)
        if stamp // _COUNTS - now <= _MAX_LEAD_MS:
            self._stamp = stamp
        else:
            # The next millisecond, and a count of its own: no two leaps meet, whatever they are above.
            self._leaps += 1
            stamp = min((_stamp(above) // _COUNTS + 1) * _COUNTS + self._leaps % _COUNTS, _LAST)
            self._leapt = max(self._leapt, self._at(stamp))
        return self._at(stamp)

    def observe(self, version: bytes) -> bool:
        """Move past a version seen in a store; False if it lies too far in the future to be believed."""
        seen = _stamp(version)
        if seen <= self._stamp:  # without the lock: it only grows
            return True
        with self._lock:
            if seen // _COUNTS - int(self.clock.time() * 1000) > _MAX_LEAD_MS:
                return False
            self._stamp = max(self._stamp, seen)
        return True

    def believes(self, version: bytes) -> bool:
        """Whether a version is one that a clock as it is now could have made, or one a little ahead of it."""
        return split(version)[0] - int(self.clock.time() * 1000) <= _MAX_LEAD_MS

    def passed(self, version: bytes) -> bool:
        """Whether the clock came to a version, or beyond, in the course of time: its own are in the order of their minting.

        Never up to the highest version that exceeded a far future: there an earlier one may be above a later one.
        """
        with self._lock:
            return version > self._leapt and _stamp(version) <= self._stamp

    def epoch(self) -> bytes:
        """A version that covers what clocks up to 50 ms ahead of this one have written so far."""
        now = int(self.clock.time() * 1000)
        with self._lock:
            self._stamp = max(now + _LEAD_MS, self._stamp // _COUNTS + 1) * _COUNTS
            return self._at(self._stamp)

    def forked(self) -> None:
        """Become another node: a forked child must never mint its parent's versions."""
        self._lock = threading.Lock()
        self.node = os.urandom(_NODE_SIZE)

    def _at(self, stamp: int) -> bytes:
        return _pack(stamp, self.node)


def just_above(version: bytes) -> bytes:
    """A version above this one, and below whatever is minted after it.

    It stands among the nodes of the version's own instant, where nobody else's is but by a chance of one in billions; and no
    two of one version meet.
    """
    above = int.from_bytes(version, "big") + 1 + int.from_bytes(os.urandom(4), "big")
    return min(above, _TOP).to_bytes(16, "big")


def split(version: bytes) -> tuple[int, int]:
    """The milliseconds and the counter of a version."""
    return divmod(_stamp(version), _COUNTS)


def _stamp(version: bytes) -> int:
    """Milliseconds and counter as one number; it grows as they do."""
    return int.from_bytes(version[:8], "big")


_shared: HybridClock | None = None
_sharing = threading.Lock()


def process_clock() -> HybridClock:
    """The process's hybrid clock; made at first use, another node after a fork."""
    global _shared  # noqa: PLW0603 - one per process is the point
    with _sharing:
        if _shared is None:
            _shared = HybridClock()
            watch(_shared)
        return _shared
