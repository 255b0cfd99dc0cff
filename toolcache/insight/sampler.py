"""The sampler: from a few keys, followed closely, how any memory would do and any lifetime.

How large must a cache be for a given hit rate? An LRU cache has a key if the distinct keys used since its last use fit in
beside it, whatever its size: so one histogram of these *stack distances* tells the hit rates of all sizes. To keep a stack of
all keys takes far too much, but a sample will do if it is drawn by key rather than by lookup: follow those keys alone whose
hash falls below a threshold. Of a share R of the keys, distances come out R times as long as they are, and each lookup counts
as 1/R of them. To bound the room, the threshold falls whenever there are too many keys; what was counted before keeps its
weight. Popular keys that happen to be in the sample, or not, would bias it: how many lookups there were in truth is known, and
the difference is added to the shortest distance, to which most lookups of popular keys belong.

Source: Waldspurger, Park, Garthwaite and Ahmad, *Efficient MRC Construction with SHARDS*, FAST 2015: its fixed-size variant
with the correction it calls SHARDS-adj. Stack distances: Mattson, Gecsei, Slutz and Traiger, *Evaluation techniques for
storage hierarchies*, IBM Systems Journal, 1970.

**What it costs.** A hit looks at nothing: the entry of a followed key is of a class of its own whose ``hits``, which a hit
raises anyway, is a property that tells the sampler. Where there are many hits, a key *rests* for a while, as an ordinary entry, on top of
the stack; how often it was hit meanwhile, its ``hits`` tell when it wakes, and these lookups count as the last one before. So no
more than 256 hits a second are seen, whatever the load, and a program that has fewer is seen whole; no more than 64 keys a second
wake. Misses are told by those who meet them, for the price of one comparison; where more than 250 a second are seen, the threshold falls.

No key, no value and no name is kept: keys are numbers that mean nothing outside the process.
"""

import threading
from collections.abc import Callable
from functools import partial
from itertools import islice
from math import inf
from typing import Any, Final

from toolcache.blob import NEVER
from toolcache.entry import Aging, Counts, Held
from toolcache.forks import watch
from toolcache.insight.keys import HERE, OUSTED, Keys
from toolcache.insight.scales import LIFETIMES, bytes_bucket, entries_bucket
from toolcache.insight.tallying import Depths, Row
from toolcache.memory.store import MemoryStore
from toolcache.memory.watcher import WHOLE
from toolcache.protocols import Clock

KEYS: Final = 3_072
"""Keys that are followed at most."""

_REST: Final = 4.0
"""Seconds a key rests at least."""
_SEEN: Final = 256
"""Hits that are seen in a second before keys rest; what was not used of a second is left for the next."""
_SLOW: Final = 1_024
"""Misses, and entries that come, that are seen in four seconds before fewer keys are followed: each costs what ten hits do."""
_WAKES: Final = 4
"""Keys that wake at once, at most: so all of them within a minute."""
_PAUSE: Final = 1 / 16
"""Seconds before others wake."""
_HOUR: Final = 3_600.0
"""Seconds before more keys are followed again after they were too many."""
_KEPT: Final = 7 / 8
"""The share of keys that is followed on where there are too many."""


class Sampler:
    """Follows some keys of one memory.

    Args:
        memory: whose; it tells what comes and goes.
        clock: tells ages.
        keys: keys followed at most.
        number: a key's number: another than its hash, for tests.
    """

    def __init__(
        self, memory: MemoryStore, clock: Clock, *, keys: int = KEYS, number: Callable[[str], int] = hash
    ) -> None:
        self._memory = memory
        self._now = clock.monotonic
        self._time = clock.time
        self._zero = clock.monotonic()
        self._most = keys
        self._number = number
        self._kinds: dict[type[Held], type[Held]] = {}
        self.forked()
        watch(self)

    def forked(self) -> None:
        """Begin anew: in a child of this process memory is empty, and another thread may have held the lock."""
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._resting: dict[int, str] = {}
        self._sought = self._came = 0
        self._until = self._wakes_at = -inf
        self._left: float = _SEEN
        self._filled_at = self._widened_at = self._now()
        self._follow(WHOLE)
        self.begin()

    def begin(self) -> None:
        """Count from now on; what is known of keys stays known, but of those that were not used since the last time.

        Where that leaves room, more keys are followed again: one burst of keys is not to blind a process for the rest of its life.
        """
        with self._lock:
            self.depths = Depths()
            self.rows: dict[Counts, Row] = {}
            keys = self._keys
            if keys is not None:
                for slot in keys.rid():
                    self._resting.pop(slot, None)
                self._widen(keys)

    @property
    def rate(self) -> float:
        """The share of keys that is followed."""
        return self._below / WHOLE

    @property
    def keys(self) -> int:
        """Keys that are followed."""
        return 0 if self._keys is None else len(self._keys.slots)

    @property
    def whole_bytes(self) -> float:
        """What all keys take, followed or not, as far as the followed ones tell."""
        return 0.0 if self._keys is None else self._keys.stack.bytes / self.rate

    # -- what it is told ----------------------------------------------------------------------------------------------

    def came(self, key: str, held: Held, cost: int) -> None:
        """Memory has taken an entry in, which takes so many bytes."""
        if not self._lock.acquire(blocking=False):  # another thread counts: one entry more or less is no matter
            return
        try:
            self._pass()
            self._came += 1
            if self._came > _SLOW:
                self._have_enough(self._number(key))
            slot = self._enter(self._number(key), held)
            if slot is None or self._keys is None:
                return
            row = self._row(held.tally)
            if held.span_ms < NEVER:
                row.spans += held.span_ms / 1000
                row.given += 1
            self._keys.state[slot] = HERE
            self._keys.ends[slot] = held.fresh_until if isinstance(held, Aging) else held.gone_until
            self._keys.stack.use(slot, cost)
            self._keys.used[slot] = 1
            if slot in self._resting:  # it counts on from those of the entry before, if that was there still
                self._keys.hits[slot] = held.hits
            else:
                held.__class__ = self._kind(type(held))
        finally:
            self._lock.release()

    def left(self, key: str) -> None:
        """An entry made room before its end."""
        keys = self._keys
        slot = None if keys is None else keys.slots.get(self._number(key))
        if keys is not None and slot is not None:
            keys.state[slot] = OUSTED

    def sought(self, key: str, held: Held | None, tally: Counts) -> None:
        """A key was looked up that memory could not answer by itself; ``held`` is what was found."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            now, keys = self._pass(), self._keys
            self._sought += 1
            if self._sought > _SLOW:
                self._sought = 0
                self._narrow(now)
            row, weight = self._ask(tally), WHOLE / self._below
            slot = None if keys is None else keys.slots.get(self._number(key))
            if keys is None or slot is None:
                self._meet(held, row, weight)
                return
            if slot in self._resting:
                self._wake(keys, slot)
            if held is None and keys.state[slot] != OUSTED and now < keys.ends[slot]:
                row.removed += weight
                keys.lives.begin(slot, now - self._zero)
                return
            keys.lives.ask(slot, now - self._zero, weight, row)
            if held is None and now >= keys.ends[slot]:
                row.ended += weight
            else:
                row.ousted += weight * (keys.state[slot] == OUSTED)
                self._measure(keys, slot, weight)
            keys.stack.use(slot)
            keys.used[slot] = 1
        finally:
            self._lock.release()

    def pulse(self) -> None:
        """Time has passed: what has rested wakes."""
        if self._resting and self._lock.acquire(blocking=False):
            try:
                self._pass()
            finally:
                self._lock.release()

    def settle(self) -> None:
        """Count how often what rests was asked for so far."""
        with self._lock:
            keys, now = self._keys, self._now()
            if keys is not None and now >= self._widened_at + _HOUR:
                self._widened_at = now
                self._widen(keys)
            for slot, key in () if keys is None else tuple(self._resting.items()):
                held = self._memory.find(key)
                if held is not None and keys is not None:
                    self._count(keys, slot, held)

    def _hit(self, held: Held, hits: int) -> None:
        """Memory answered with an entry that is followed, for the so many-th time."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            keys = self._keys
            slot = None if keys is None else keys.slots.get(self._number(held.key))
            if keys is None or slot is None or slot in self._resting:
                held.__class__ = _plain(held)
                return
            now, weight = self._pass(), WHOLE / self._below
            self._left = min(_SEEN, self._left + (now - self._filled_at) * _SEEN)
            self._filled_at = now
            enough = self._left < 1
            if enough:
                held.__class__ = _plain(held)
                self._resting[slot] = held.key
                keys.since[slot], keys.hits[slot] = now, hits - 1
            if not enough or not keys.deep[2 * slot]:  # what rests must have been seen once
                keys.hits[slot] = hits
                row = self._ask(held.tally)
                keys.lives.ask(slot, now - self._zero, weight, row)
                self._measure(keys, slot, weight)
                keys.stack.use(slot)
                keys.used[slot] = 1
                self._left -= not enough
            if enough:
                keys.stack.rest(slot)
        finally:
            self._lock.release()

    # -- keys that are followed ---------------------------------------------------------------------------------------

    def _enter(self, number: int, held: Held) -> int | None:
        """The slot of a key that is followed, from now on at least; None of one that is not. Some leave where they are too many."""
        keys = self._keys = self._keys or Keys(self._most)
        slot = keys.slots.get(number)
        if slot is not None:
            return slot
        if keys.full:
            self._follow(keys.threshold(_KEPT))
        if number & (WHOLE - 1) >= self._below or keys.full:
            return None
        return keys.enter(number, self._now() - self._zero - self._age(held))

    def _have_enough(self, number: int) -> None:
        """Much comes: if it is the same again, it is not seen for a while; if it is new, fewer keys are followed."""
        if self._keys is not None and number in self._keys.slots:
            self._memory.admitted = 0
        else:
            self._came = 0
            self._narrow(self._now())

    def _narrow(self, now: float) -> None:
        """Follow half of the keys."""
        self._widened_at = now
        if self._below > 1:
            self._follow(self._below // 2)

    def _widen(self, keys: Keys) -> None:
        """Follow more keys again, where there is room for many."""
        if len(keys.slots) < self._most // 4:
            self._follow(min(WHOLE, 2 * self._below))

    def _follow(self, below: int) -> None:
        """Follow the keys below a threshold, and no others."""
        self._below = self._memory.sampled = self._memory.admitted = below
        for slot in () if self._keys is None else self._keys.leave(below):
            self._resting.pop(slot, None)

    def _ask(self, tally: Counts, times: int = 1) -> Row:
        """Count lookups."""
        row, weight = self._row(tally), times * WHOLE / self._below
        row.asked += weight
        self.depths.asked += weight
        self.depths.samples += times
        return row

    def _meet(self, held: Held | None, row: Row, weight: float) -> None:
        """A key was looked up that is not known: what was found is of somebody else's making."""
        if held is None:
            row.cold += weight
            return
        age = self._age(held)
        row.lived[:] = [one + weight * (age < lifetime) for one, lifetime in zip(row.lived, LIFETIMES, strict=True)]

    def _measure(self, keys: Keys, slot: int, weight: float) -> None:
        """Count how deep a key lay."""
        entries, size = keys.stack.above(slot)
        rate = self._below / WHOLE
        by_bytes = keys.deep[2 * slot] = bytes_bucket(size / rate + keys.stack.cost(slot))
        by_entries = keys.deep[2 * slot + 1] = entries_bucket(entries / rate + 1)
        self.depths.add(by_bytes, by_entries, weight)

    def _pass(self) -> float:
        """The instant; what has rested for long enough wakes."""
        now, keys = self._now(), self._keys
        if self._resting and keys is not None and now >= self._wakes_at:
            self._wakes_at = now + _PAUSE
            for slot in list(islice(self._resting, _WAKES)):
                if now < keys.since[slot] + _REST:
                    break
                self._wake(keys, slot)
        if now >= self._until:
            self._sought = self._came = 0
            self._until, self._memory.admitted = now + _REST, self._below
        return now

    def _wake(self, keys: Keys, slot: int) -> None:
        """A key is looked at again; how often it was hit meanwhile, its entry tells."""
        held = self._memory.find(self._resting.pop(slot))
        keys.stack.wake(slot)
        if held is not None:
            held.__class__ = self._kind(type(held))
            if self._count(keys, slot, held):
                keys.stack.use(slot)
                keys.used[slot] = 1

    def _count(self, keys: Keys, slot: int, held: Held) -> int:
        """Count the hits of an entry that has rested, as deep as the last that was seen; how many they were."""
        times = max(0, held.hits - keys.hits[slot])
        keys.hits[slot] = held.hits
        if times:
            row, weight = self._ask(held.tally, times), times * WHOLE / self._below
            row.lasting += weight
            self.depths.add(keys.deep[2 * slot], keys.deep[2 * slot + 1], weight)
        return times

    def _row(self, tally: Counts) -> Row:
        row = self.rows.get(tally)
        if row is None:
            row = self.rows[tally] = Row()
        return row

    def _age(self, held: Held) -> float:
        return max(0.0, self._time() - held.created_ms / 1000)

    def _kind(self, kind: type[Held]) -> type[Held]:
        """The class of the entries that are followed, beside one of others."""
        if kind in self._kinds.values():
            return kind
        followed = self._kinds.get(kind)
        if followed is None:
            slot: Any = Held.__dict__["hits"]
            hits = property(slot.__get__, partial(_tell, self._hit))
            fields = {"__slots__": (), "hits": hits, "counted": slot}
            followed = self._kinds[kind] = type(f"Followed{kind.__name__}", (kind,), fields)
        return followed


def _tell(hit: Callable[[Held, int], None], held: Any, hits: int) -> None:
    try:
        before = held.counted
    except AttributeError:  # another thread has laid it to rest since
        held.hits += 1
        return
    if hits <= before:  # since it was read, another thread has hit it, too
        hits = before + 1
    held.counted = hits  # nothing is called since it was read: no other thread runs
    hit(held, hits)


def _plain(held: Held) -> type[Held]:
    return Aging if isinstance(held, Aging) else Held
