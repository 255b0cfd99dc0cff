"""The memory store against a model that is a plain dictionary, whatever the order of calls."""

from collections.abc import Callable
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolcache.blob import NEVER
from toolcache.entry import Held
from toolcache.memory.adaptive import Adaptive
from toolcache.memory.fifo import FIFO
from toolcache.memory.guarded import Guarded
from toolcache.memory.lfu import LFU
from toolcache.memory.lru import LRU
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.memory.tiered import Tiered
from toolcache.memory.ttl import TTL
from toolcache.protocols import MemoryPolicy
from toolcache.testing import FakeClock
from toolcache.testing.policies import held_of


def roomy_tiers() -> Tiered:
    """Tiers out of which nothing leaves as long as there is room: else it is not the store that is tried."""
    return Tiered({"hot": (1_500, inf), "warm": (1_500, inf), "cold": (10**6, inf)}, FakeClock().monotonic)


def guarded() -> Guarded:
    """A policy of somebody else's, which keeps its promises."""
    return Guarded(LRU(), lambda event: None)


KEYS = st.sampled_from([f"key {i}" for i in range(8)] + ["ключ"])
MAX_BYTES = 1_000
MAX_ENTRIES = 5
OVERHEAD = 20


class Model(RuleBasedStateMachine):
    """What may be there is what was put last and not removed since; what must be there is that, unless others needed room."""

    @initialize(
        policy=st.sampled_from([Adaptive, FIFO, LFU, LRU, S3FIFO, TTL, roomy_tiers, guarded]),
        front=st.integers(0, MAX_ENTRIES),
    )
    def begin(self, policy: Callable[[], MemoryPolicy], front: int) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(
            clock=self.clock,
            policy=policy(),
            max_bytes=MAX_BYTES,
            max_entries=MAX_ENTRIES,
            overhead=OVERHEAD,
            front=front,
        )
        self.last: dict[str, Held] = {}
        self.ends: dict[str, float] = {}

    def cost(self, key: str, held: Held) -> int:
        return held.size + len(key) * (1 if key.isascii() else 4) + OVERHEAD

    @rule(
        key=KEYS,
        size=st.integers(0, 1_100),
        version=st.integers(1, 20),
        ttl=st.one_of(st.none(), st.integers(-5, 100)),
        age=st.integers(0, 50),
        force=st.booleans(),
    )
    def put(self, key: str, size: int, version: int, ttl: int | None, age: int, force: bool) -> None:
        store, now_ms = self.store, int(self.clock.time() * 1000)
        held = held_of(
            size=size,
            version=version,
            created_ms=now_ms - age * 1000,
            gone_ms=NEVER if ttl is None else now_ms + ttl * 1000,
        )
        there = {other: found for other in self.last if (found := store.find(other))}
        old = there.get(key)
        fits_as_it_is = (
            store.bytes + self.cost(key, held) - (self.cost(key, old) if old else 0) <= MAX_BYTES
            and len(store) + (old is None) <= MAX_ENTRIES
        )
        taken = store.put(key, held, force=force)
        if old is not None and held.version < old.version and not force:
            assert not taken
            assert store.find(key) is old
            return
        possible = (ttl is None or min(ttl, ttl + age) > 0) and self.cost(key, held) <= MAX_BYTES
        assert taken == possible
        assert store.find(key) is (held if taken else None)
        self.last.pop(key, None)
        self.ends.pop(key, None)
        if taken:
            self.last[key] = held
            self.ends[key] = float("inf") if ttl is None else self.clock.monotonic() + min(ttl, ttl + age)
        if fits_as_it_is or not taken:
            assert all(store.find(other) is found for other, found in there.items() if other != key)
        elif any(self.ends[other] <= self.clock.monotonic() - 1 / 16 for other in there if other != key):
            # Room was made; as long as something that had ended was there, nothing that lives had to go.
            ended = [other for other in there if other != key and self.ends[other] <= self.clock.monotonic() - 1 / 16]
            lost = [other for other in there if other != key and store.find(other) is None]
            assert set(lost) & set(ended)

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        held = self.store.find(key)
        assert self.store.remove(key) is held
        assert self.store.find(key) is None
        self.last.pop(key, None)

    @rule(key=KEYS)
    def hit(self, key: str) -> None:
        held = self.store.find(key)
        if held is not None:
            held.hits += 1
            if self.store.touch is not None:
                self.store.touch(key, held)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.integers(-4_000, 4_000))
    def step(self, seconds: int) -> None:
        self.clock.step_wall(seconds)

    @rule(limit=st.integers(1, 6))
    def sweep(self, limit: int) -> None:
        now = self.clock.monotonic()
        before = {key for key in self.last if self.store.find(key)}
        while self.store.next_expiry <= now:
            assert self.store.sweep(limit) <= limit
        gone = {key for key in before if self.store.find(key) is None}
        assert all(self.ends[key] <= now for key in gone)
        assert all(self.ends[key] > now - 1 / 16 for key in before - gone)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.last.clear()
        assert len(self.store) == 0

    @invariant()
    def is_within_bounds_and_adds_up(self) -> None:
        if not hasattr(self, "store"):
            return
        keys = list(self.store.keys())
        assert len(keys) == len(set(keys)) == len(self.store) <= MAX_ENTRIES
        held = {key: found for key in keys if (found := self.store.find(key))}
        assert sum(self.cost(key, found) for key, found in held.items()) == self.store.bytes <= MAX_BYTES
        assert all(self.last[key] is found for key, found in held.items())
        assert all(found.key == key for key, found in held.items())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
