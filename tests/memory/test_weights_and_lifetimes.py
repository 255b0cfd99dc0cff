"""What policies find where entries differ in size, and where they end: as others find it, to the last hit and byte."""

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable

import pytest
from traces import lifetimes, made_trace, read_side, read_trace, traces, weighted

from toolcache.entry import Held
from toolcache.memory.adaptive import Adaptive
from toolcache.memory.fifo import FIFO
from toolcache.memory.lru import LRU
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.protocols import MemoryPolicy
from toolcache.testing import FakeClock
from toolcache.testing.policies import held_of

Sized = list[tuple[str, int]]
Timed = list[tuple[str, float]]


def found_by_bytes(trace: Sized, policy: MemoryPolicy, capacity: int) -> tuple[int, int]:
    """Hits, and bytes of them, in a cache of so many bytes; what is larger is not kept."""
    held: dict[str, Held] = {}
    used = hits = answered = 0
    for key, size in trace:
        if (entry := held.get(key)) is not None:
            hits, answered = hits + 1, answered + size
            entry.hits += 1
            if policy.touch is not None:
                policy.touch(key, entry)
        elif size <= capacity:
            while used + size > capacity:
                used -= held.pop(policy.evict()).size
            held[key] = entry = held_of(key, size=size)
            used += size
            policy.admit(key, entry)
    return hits, answered


def plain_by_bytes(trace: Sized, capacity: int, *, moves: bool) -> tuple[int, int]:
    """The same for the textbook's LRU, or its FIFO."""
    order: OrderedDict[str, int] = OrderedDict()
    used = hits = answered = 0
    for key, size in trace:
        if key in order:
            hits, answered = hits + 1, answered + size
            if moves:
                order.move_to_end(key)
        elif size <= capacity:
            while used + size > capacity:
                used -= order.popitem(last=False)[1]
            order[key] = size
            used += size
    return hits, answered


def found_in_store(trace: Timed, policy: MemoryPolicy, size: int, ttl: float) -> int:
    """Hits in a memory store of so many entries, each of which ends ``ttl`` seconds after it came in."""
    clock = FakeClock()
    store = MemoryStore(clock=clock, policy=policy, max_bytes=1 << 50, max_entries=size)
    last, hits = trace[0][1], 0
    for key, at in trace:
        if at > last:
            clock.advance(at - last)
            last = at
            store.sweep()
        held = store.find(key)
        if held is not None and held.gone_until > clock.monotonic():
            hits += 1
            held.hits += 1
            if store.touch is not None:
                store.touch(key, held)
        else:
            now_ms = int(clock.time() * 1000)
            assert store.put(key, held_of(created_ms=now_ms, gone_ms=now_ms + int(ttl * 1000)))
    return hits


def plain_in_time(trace: Timed, size: int, ttl: float) -> int:
    """The same for the textbook's LRU, out of which everything that has ended is taken before each access."""
    order: OrderedDict[str, float] = OrderedDict()
    hits = 0
    for key, at in trace:
        for other in [other for other, since in order.items() if at - since >= ttl]:
            del order[other]
        if key in order:
            hits += 1
            order.move_to_end(key)
        else:
            if len(order) == size:
                order.popitem(last=False)
            order[key] = at
    return hits


def sized() -> Sized:
    """Every key has a size of its own, most are small."""
    return [(key, int(random.Random(key).paretovariate(1.1)) * 10 % 5_000) for key in made_trace()]


@pytest.mark.parametrize(("make", "moves"), [(LRU, True), (FIFO, False)])
def test_by_bytes(make: Callable[[], MemoryPolicy], moves: bool) -> None:
    """LRU and FIFO bounded by bytes find what the textbook's do; on a recorded trace, hits and bytes of other programs."""
    trace = sized()
    for capacity in (2_000, 20_000):
        assert found_by_bytes(trace, make(), capacity) == plain_by_bytes(trace, capacity, moves=moves)
    for capacity, counts in weighted().items():
        recorded = list(zip(read_trace("cdn_sized"), read_side("cdn_sized.size"), strict=True))
        assert list(found_by_bytes(recorded, make(), capacity)) == counts["lru" if moves else "fifo"]


@pytest.mark.parametrize(("make", "under"), [(S3FIFO, 0.01), (Adaptive, 0.02)])
def test_queues_by_bytes(make: Callable[[], MemoryPolicy], under: float) -> None:
    """Bounded by bytes, S3-FIFO and the default find more than LRU; on a recorded trace, S3-FIFO as its authors do.

    The default learns, and what it learns goes with the hashes of the keys, which are others in each process: from 0.4 to 1.0
    points under S3-FIFO at the smallest size.
    """
    trace = sized()
    for capacity in (2_000, 20_000):
        assert found_by_bytes(trace, make(), capacity)[0] > found_by_bytes(trace, LRU(), capacity)[0]
    for capacity, counts in weighted().items():
        recorded = list(zip(read_trace("cdn_sized"), read_side("cdn_sized.size"), strict=True))
        hits, answered = found_by_bytes(recorded, make(), capacity)
        assert -under < hits / len(recorded) - counts["lcs_S3FIFO"][0] < 0.01
        assert -under < answered / sum(size for _, size in recorded) - counts["lcs_S3FIFO"][1] < 0.01


def paced(keys: Iterable[str]) -> Timed:
    """A tenth of a second from key to key, and a rest of ten now and then."""
    return [(key, number / 8 + 8 * (number // 1_000)) for number, key in enumerate(keys)]


@pytest.mark.parametrize("ttl", [2, 16, 64])
def test_with_lifetimes(ttl: int) -> None:
    """Under LRU the store finds what the textbook's LRU does out of which the ended are taken at once: they take no room."""
    trace = paced(made_trace()[:8_000])
    for size in (10, 100):
        assert found_in_store(trace, LRU(), size, ttl) == plain_in_time(trace, size, ttl)


def test_recorded_lifetimes() -> None:
    """On a recorded trace with instants, the very hits of other programs."""
    for name in traces("block_io"):
        trace = list(zip(read_trace(name), map(float, read_side("block_io.ts_s")), strict=True))
        for (size, ttl), counts in lifetimes("block_io").items():
            if size == 2_500 and ttl in {1.0, 60.0}:
                assert found_in_store(trace, LRU(), size, ttl) == counts["write_eager"]
