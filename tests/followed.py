"""A sampler by itself: a memory without bounds that is told what is asked for, in order."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from toolcache.blob import NEVER
from toolcache.entry import Held
from toolcache.insight.curve import Curve, curve_of, rates
from toolcache.insight.sampler import KEYS, Sampler
from toolcache.insight.scales import edge
from toolcache.insight.sketch import DomainSketch, Sketch
from toolcache.memory.watcher import LAST_BITS
from toolcache.tallies import Tally
from toolcache.testing import FakeClock

COST = 100
"""Bytes of an entry, unless a test says otherwise."""


class Memory:
    """Knows no bound; finds what came."""

    def __init__(self) -> None:
        self.sampled = self.admitted = 0
        self.held: dict[str, Held] = {}

    def find(self, key: str) -> Held | None:
        """An entry."""
        return self.held.get(key)


class Followed:
    """Asks a sampler's memory for keys, and makes what is missing.

    Args:
        keys: keys followed at most.
        seed: draws the sample.
        step: seconds from one lookup to the next.
        ttl: seconds that values live; None for ever.
    """

    def __init__(self, keys: int = KEYS, seed: int = 1, step: float = 0.01, ttl: float | None = None) -> None:
        self.clock = FakeClock()
        self.memory = Memory()
        self.tally = Tally()
        self.asked = 0
        self.hits = 0
        self._step = step
        self._ttl = ttl
        self._seed = seed.to_bytes(8, "big")
        self._numbers: dict[str, int] = {}
        memory: Any = self.memory
        self.sampler = Sampler(memory, self.clock, keys=keys, number=self.number)

    def number(self, key: str) -> int:
        """A number that is the same in every process."""
        number = self._numbers.get(key)
        if number is None:
            digest = blake2b(key.encode(), digest_size=8, key=self._seed).digest()
            number = self._numbers[key] = int.from_bytes(digest, "big", signed=True)
        return number

    def ask(self, key: str, cost: int = COST) -> None:
        """One lookup, as the cache tells it."""
        if self._step:
            self.clock.advance(self._step)
        self.asked += 1
        followed = self.number(key) & LAST_BITS < self.memory.sampled
        held, now = self.memory.held.get(key), self.clock.monotonic()
        if held is not None and now < held.gone_until:
            self.hits += 1
            held.hits += 1
            return
        if followed:
            self.sampler.sought(key, None, self.tally)
        held = self.memory.held[key] = entry(key, self.clock, self.tally, self._ttl)
        if self.number(key) & LAST_BITS < self.memory.admitted:
            self.sampler.came(key, held, cost)

    def run(self, keys: Iterable[object], cost: int = COST) -> "Followed":
        """Several lookups."""
        for key in keys:
            self.ask(str(key), cost)
        return self

    def sketch(self) -> Sketch:
        """What was sampled."""
        self.sampler.settle()
        depths, row = self.sampler.depths, self.sampler.rows.get(self.tally)
        domains = {} if row is None else {"general": DomainSketch(**slots(row))}
        return Sketch(
            since=self.clock.time() - self._step * self.asked,
            until=self.clock.time(),
            lookups=float(self.asked),
            asked=depths.asked,
            samples=float(depths.samples),
            keys=float(self.sampler.keys),
            rate=self.sampler.rate,
            entries=self.sampler.keys / self.sampler.rate,
            size=self.sampler.whole_bytes,
            by_bytes=tuple(depths.bytes),
            by_entries=tuple(depths.entries),
            domains=domains,
        )

    def curve(self) -> Curve:
        """The curve of it."""
        return curve_of(self.sketch())


def entry(key: str, clock: FakeClock, tally: Tally, ttl: float | None = None) -> Held:
    """An entry that memory has just taken in."""
    gone = float("inf") if ttl is None else clock.monotonic() + ttl
    span_ms = NEVER if ttl is None else int(ttl * 1000)
    held = Held.of(1, None, gone, COST, b"", int(clock.time() * 1000), span_ms, tally, gone_until=gone)
    held.key = key
    return held


def slots(row: Any) -> dict[str, Any]:
    """The fields of a row, as a sketch has them."""
    told = {name: getattr(row, name) for name in row.__slots__ if name != "lasting"}
    return told | {"lived": tuple(row.lasting + one for one in row.lived)}


def at_entries(sketch: Sketch, size: int) -> float:
    """The hit rate of a memory of so many entries: within the bucket, in proportion."""
    ends = rates(sketch.by_entries, sketch)
    for bucket, after in enumerate(ends):
        low, high = edge(bucket), edge(bucket + 1)
        if size < high:
            before = ends[bucket - 1] if bucket else 0.0
            return before + (after - before) * (size - low) / (high - low)
    return ends[-1]


def lru_hits(keys: Sequence[object], size: int) -> int:
    """The hits of an LRU memory of so many entries: what is to be told."""
    held: dict[object, None] = {}
    hits = 0
    for key in keys:
        if key in held:
            hits += 1
            del held[key]
        elif len(held) >= size:
            del held[next(iter(held))]
        held[key] = None
    return hits
