"""The store of this process: synchronous, bounded by bytes and by entries."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Final

from toolcache.blob import NEVER
from toolcache.entry import Counts, Held
from toolcache.forks import watch
from toolcache.memory.expiry import Expiry
from toolcache.memory.share import Share
from toolcache.memory.watcher import LAST_BITS, UNWATCHED, Watcher
from toolcache.protocols import Clock, MemoryPolicy
from toolcache.tags import RESERVED
from toolcache.tiers import SupportsTiers, Tier

OVERHEAD: Final = 512
"""Bytes that an entry takes besides its value, its tags and the letters of its key: resident memory, measured."""

_TAGS: Final = 64
_TAG: Final = 72
"""Bytes that tags take, all together and each, besides their letters."""

_SHARDS: Final = 1024
"""Tables the keys are spread over: one table of a million, when it grows, stops every thread for 30 ms."""

FRONT: Final = 1 << 16
"""Entries that one more table holds, found sooner: as many as it can have without a stall of milliseconds when it grows."""

_PATIENCE: Final = 2
"""Entries that may be filed anew, as ending later, for each that a call is to free."""

_BURIED: Final = 4
"""Entries left by ``clear`` that each write frees: a cleared store is empty long before it is full again."""

_LAPSED: Final = 4
"""Entries that each write has leave for want of use, where the policy wants that."""

_ROUNDING: Final = 0.001

NO_ERA: Final = -1
"""No entry is of it."""


class MemoryStore:
    """Entries by key, bounded; of two writes the newer stays; what has ended, then what the policy names, makes room.

    A read is ``front.get(key)`` or else ``shards[hash(key) & mask].get(key)`` and takes no lock; whether the entry may still answer is for the
    reader to judge, by ``settled_until`` and ``era``. Whatever changes the store holds one short lock, so any number
    of threads may share it.

    Args:
        clock: ``monotonic`` says when an entry ends; ``time`` is read once, when it comes in.
        policy: which entry leaves first; it belongs to this store alone.
        max_bytes: the most that all entries may take: values, keys, tags and ``overhead`` for each.
        max_entries: the most entries; None for no bound but bytes.
        overhead: bytes an entry takes besides those.
        front: entries in the front table at most.

    Attributes:
        front: the table of the first that came.
        shards: the tables of all others, ``mask`` + 1 of them, and last the front.
        mask: which bits of a key's hash choose its table.
        touch: to be called with key and entry at each hit, unless it is None.
        bytes: what all entries take now.
        writes: entries taken in.
        evictions: entries that made room before their end.
        expirations: entries freed after their end.
        era: raised by the cache whenever an epoch changes; an entry of an older era is to be looked at again.
        settled_era: the era whose entries may answer without a thought; ``NO_ERA`` while anybody looks on.
        onlookers: who wants each read to be thought about, by names of their own.
        doubted: entries of an older era than this one may not answer before the layers have been asked.
        forgotten: entries of an older era than this one may lie beneath an epoch that nobody here remembers: they are gone.
        watcher: who is told of some keys.
        sampled: of which: those whose hash has less than this in its last bits; see ``toolcache.memory.watcher``.
        admitted: the same for what comes; less than that where too much does.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        policy: MemoryPolicy,
        max_bytes: int,
        max_entries: int | None = None,
        overhead: int = OVERHEAD,
        front: int = FRONT,
    ) -> None:
        self._clock = clock
        self._now = clock.monotonic
        self._policy = policy
        self._tiers = policy if isinstance(policy, SupportsTiers) else None
        self._expiry = Expiry()
        self._lock = threading.Lock()
        watch(self)
        self._count = 0
        self._most = sys.maxsize if max_entries is None else max_entries
        self._buried: list[dict[str, Held]] = []
        self._shares: dict[Counts, Share] = {}
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.overhead = overhead
        self.shards: list[dict[str, Held]] = [{} for _ in range(_SHARDS + 1)]
        self.front = self.shards[-1]
        self._most_in_front = front
        self.mask = _SHARDS - 1
        self.touch: Callable[[str, Held], None] | None = self._touch if policy.touch else None
        self.bytes = 0
        self.writes = 0
        self.evictions = 0
        self.expirations = 0
        self.era = self.settled_era = 0
        self.onlookers: set[int] = set()
        self.doubted = 0
        self.forgotten = 0
        self.watcher: Watcher = UNWATCHED
        self.sampled = self.admitted = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<MemoryStore: {self._count} entries, {self.bytes} of {self.max_bytes} bytes>"

    @property
    def next_expiry(self) -> float:
        """The monotonic instant from which ``sweep`` has work; ``inf`` if nothing ends."""
        if self._buried:
            return self._now()
        return self._expiry.due if self._tiers is None else min(self._expiry.due, self._tiers.due)

    @property
    def is_due(self) -> bool:
        """Whether ``sweep`` has work now."""
        return self.next_expiry <= self._now()

    @property
    def strategy(self) -> str:
        """What the policy is called."""
        name = getattr(self._policy, "name", None)
        return name if isinstance(name, str) else type(self._policy).__name__.lower()

    def tiers(self) -> Mapping[str, Tier]:
        """What each tier holds, where the policy has tiers."""
        if self._tiers is None:
            return {}
        with self._lock:
            return self._tiers.tiers()

    def share(self, tally: Counts) -> Share:
        """What the entries of a tally have of the store; to be read."""
        return self._shares.get(tally) or Share()

    def find(self, key: str) -> Held | None:
        """The entry of a key, ended or not; leaves no trace."""
        held = self.front.get(key)
        if held is None and self._count > len(self.front):
            held = self.shards[hash(key) & self.mask].get(key)
        return held

    def keys(self) -> Iterator[str]:
        """All keys, in no order, while the store may change: what is there throughout comes once."""
        for at in range(len(self.shards)):
            yield from list(self.shards[at])

    def put(self, key: str, held: Held, *, force: bool = False) -> bool:
        """Take an entry in, in the place of an older one, or of the same write read again.

        An entry that is larger than the whole store, or whose life is over, still takes away what is older than it.

        Args:
            key: the key.
            held: the entry; it belongs to the store from now on.
            force: whatever the version of the entry that is there.

        Returns:
            Whether the entry is in: not if it is too large, its life is over, or one of a higher version is there.
        """
        now = self._now()
        if held.gone_until == inf and held.span_ms < NEVER:
            held.gone_until = self._end(held, now)
        cost = held.size + self.overhead + (len(key) if key.isascii() else 4 * len(key))
        if held.tags and not held.tags[0].startswith(RESERVED):
            cost = self._cost(key, held)
        fits = held.gone_until > now and cost <= self.max_bytes and self._most
        freed: list[Held] = []  # until the lock is released: what a value does when it dies is anybody's guess
        lock = self._lock
        lock.acquire()  # half of what it takes to be `with` it
        try:
            if self._buried:
                self._bury(_BURIED, freed)
            table = self.front
            old = table.get(key)
            if old is None and self._count > len(table):
                table = self.shards[hash(key) & self.mask]
                old = table.get(key)
            if old is None:
                if not fits:
                    return False
                self._admit(key, held, cost, now, freed)
            elif old is held or (held.version < old.version and not force):
                return old is held
            elif fits:
                self._replace(table, held, old, cost, now, freed)
            else:
                freed.append(self._drop(old))
                return False
            self.writes += 1
            if hash(key) & LAST_BITS < self.admitted:
                self.watcher.came(key, held, cost)
            return self._tiers is None or held not in self._lapse(_LAPSED, freed)
        finally:
            lock.release()

    def remove(self, key: str) -> Held | None:
        """Take an entry out; None if there is none."""
        with self._lock:
            held = self.find(key)
            return None if held is None else self._drop(held)

    def clear(self) -> None:
        """Take everything out, at once; ``sweep`` and later writes free it bit by bit."""
        with self._lock:
            self._buried += filter(None, self.shards)
            self.shards[:] = [{} for _ in self.shards]
            self.front = self.shards[-1]
            self._policy.clear()
            self._expiry.clear()
            self._count = self.bytes = 0
            for share in self._shares.values():
                share.entries = share.bytes = 0

    def doubt(self) -> None:
        """Nothing that is held may answer by itself any more; at once, however much it is."""
        with self._lock:
            self.doubted = self.era + 1
            self.turn()

    def turn(self) -> None:
        """Begin another era: every entry is to be looked at once more."""
        self.era += 1
        self._settle()

    def look_on(self, name: int) -> None:
        """From now on every read is to be thought about, until all who look on ``look_away``."""
        self.onlookers.add(name)
        self._settle()

    def look_away(self, name: int) -> None:
        """The end of ``look_on``; may come from the garbage collector at any time, so it takes no lock."""
        self.onlookers.discard(name)
        self._settle()

    def _settle(self) -> None:
        while self.settled_era != (era := NO_ERA if self.onlookers else self.era):
            self.settled_era = era

    def forked(self) -> None:
        """Start empty, with a new lock: another thread of the parent may have held the old one."""
        self._lock = threading.Lock()
        self.clear()

    def sweep(self, limit: int = 500) -> int:
        """Free up to ``limit`` entries whose end has come, or that ``clear`` left; nothing else is looked at.

        Returns:
            How many were freed. While ``next_expiry`` has passed there is more to do.
        """
        freed: list[Held] = []
        with self._lock:
            if self._buried:
                self._bury(limit, freed)
            freed += self._expire(self._now(), limit - len(freed), limit * _PATIENCE)
            self._lapse(limit - len(freed), freed)
        return len(freed)

    def _cost(self, key: str, held: Held) -> int:
        # Letters outside ASCII take up to four bytes each.
        letters = len(key) if key.isascii() else 4 * len(key)
        cost = held.size + letters + self.overhead
        if not held.tags or held.tags[0].startswith(
            RESERVED
        ):  # the cache's own come last, and are shared by all that have them
            return cost
        return cost + _TAGS + sum(_TAG + len(tag) for tag in held.tags)

    def _end(self, held: Held, now: float) -> float:
        """The monotonic instant of an entry's end: a clock set back never lengthens a life beyond its whole."""
        left = held.gone_ms - int(self._clock.time() * 1000)
        end = now + min(held.span_ms, left) / 1000
        # Often the same instant but for rounding: sharing the number saves its bytes.
        return held.settled_until if -_ROUNDING < end - held.settled_until < _ROUNDING else end

    def _free(self, now: float) -> Held:
        """Take out what has ended, or else what the policy names."""
        if self._expiry.due <= now and (ended := self._expire(now, 1, _PATIENCE)):
            return ended[0]
        return self._evict(self._policy.evict())

    def _evict(self, key: str) -> Held:
        held = self.front.pop(key, None)
        if held is None:
            held = self.shards[hash(key) & self.mask].pop(key)
        self._expiry.discard(held)
        self._weigh(held.tally, -1, -self._cost(key, held)).evictions += 1
        self.evictions += 1
        if hash(key) & LAST_BITS < self.sampled:
            self.watcher.left(key)
        return held

    def _lapse(self, limit: int, freed: list[Held]) -> list[Held]:
        """Take out what the policy has leave although there is room."""
        while self._tiers is not None and limit > 0 and (key := self._tiers.lapsed()) is not None:
            freed.append(self._evict(key))
            limit -= 1
        return freed

    def _expire(self, now: float, limit: int, patience: int) -> list[Held]:
        ended = self._expiry.take(now, limit, patience)
        for held in ended:
            self._policy.forget(held.key, held)
            self._leave(held)
        self.expirations += len(ended)
        return ended

    def _drop(self, held: Held) -> Held:
        self._policy.forget(held.key, held)
        self._expiry.discard(held)
        self._leave(held)
        return held

    def _admit(self, key: str, held: Held, cost: int, now: float, freed: list[Held]) -> None:
        """Make room for a key that is not there, and take it in."""
        while self.bytes + cost > self.max_bytes or self._count >= self._most:
            freed.append(self._free(now))
        held.key = key
        self._weigh(held.tally, 1, cost)
        self._policy.admit(key, held)
        self._expiry.add(held, now)
        table = self.front
        if len(table) >= self._most_in_front:
            table = self.shards[hash(key) & self.mask]
        table[key] = held

    def _replace(self, table: dict[str, Held], held: Held, old: Held, cost: int, now: float, freed: list[Held]) -> None:
        """Put an entry in the place of another, or anew if that had to make room itself."""
        key = old.key
        growth = cost - self._cost(key, old) if old.tags or held.tags else held.size - old.size
        while self.bytes + growth > self.max_bytes:
            freed.append(self._free(now))
            if freed[-1] is old:
                self._admit(key, held, cost, now, freed)
                return
        held.key = key
        held.hits += old.hits
        if growth:
            self._weigh(held.tally, 0, growth)
        if held.tally is not old.tally:
            self._weigh(held.tally, 1, cost - growth)
            self._weigh(old.tally, -1, growth - cost)
        self._policy.replace(key, held, old)
        self._expiry.replace(held, old, now)
        table[key] = held

    def _leave(self, held: Held) -> None:
        key = held.key
        if self.front.pop(key, None) is None:
            del self.shards[hash(key) & self.mask][key]
        self._weigh(held.tally, -1, -self._cost(key, held))

    def _weigh(self, tally: Counts, entries: int, size: int) -> Share:
        self._count += entries
        self.bytes += size
        share = self._shares.get(tally)
        if share is None:
            share = self._shares[tally] = Share()
        share.entries += entries
        share.bytes += size
        return share

    def _bury(self, limit: int, freed: list[Held]) -> None:
        """Free entries that ``clear`` left; linked as they are, only the garbage collector would."""
        while self._buried and len(freed) < limit:
            if not self._buried[-1]:
                self._buried.pop()
                continue
            held = self._buried[-1].popitem()[1]
            held.unlink()
            freed.append(held)

    def _touch(self, key: str, held: Held) -> None:
        with self._lock:
            # Between the reader's look and this, another thread may have taken it out.
            if self.find(key) is held and self._policy.touch is not None:
                self._policy.touch(key, held)
