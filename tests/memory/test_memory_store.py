"""The memory store: bounds, versions, ends, and what it frees."""

import gc
import math
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from toolcache.blob import NEVER
from toolcache.entry import Held
from toolcache.memory.guarded import Guarded
from toolcache.memory.lru import LRU
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.memory.tiered import Tiered
from toolcache.memory.ttl import TTL
from toolcache.protocols import MemoryPolicy
from toolcache.testing import FakeClock
from toolcache.testing.policies import NoCounts, held_of

Policy = Callable[[], MemoryPolicy]


def tiers() -> Tiered:
    """Out of which nothing leaves while there is room."""
    return Tiered(
        {"hot": (3_000, math.inf), "warm": (3_000, math.inf), "cold": (10**9, math.inf)}, FakeClock().monotonic
    )


def guarded() -> Guarded:
    """A policy of somebody else's."""
    return Guarded(LRU(), lambda event: pytest.fail(str(event)))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=[LRU, S3FIFO, TTL, tiers, guarded])
def policy(request: pytest.FixtureRequest) -> Policy:
    chosen: Policy = request.param
    return chosen


@pytest.fixture
def make(clock: FakeClock, policy: Policy) -> Callable[..., MemoryStore]:
    def make(max_bytes: int = 10_000, max_entries: int | None = None, overhead: int = 0) -> MemoryStore:
        return MemoryStore(
            clock=clock, policy=policy(), max_bytes=max_bytes, max_entries=max_entries, overhead=overhead
        )

    return make


@pytest.fixture
def entry(clock: FakeClock) -> Callable[..., Held]:
    versions = iter(range(1, 10**9))

    def entry(ttl: float | None = None, *, size: int = 100, version: int | None = None, value: object = b"v") -> Held:
        now_ms = int(clock.time() * 1000)
        return held_of(
            value=value,
            size=size,
            version=next(versions) if version is None else version,
            created_ms=now_ms,
            gone_ms=NEVER if ttl is None else now_ms + round(ttl * 1000),
            settled_until=math.inf if ttl is None else clock.monotonic() + ttl,
        )

    return entry


Make = Callable[..., MemoryStore]
MakeEntry = Callable[..., Held]


def test_more_than_the_front_holds(clock: FakeClock, policy: Policy, entry: MakeEntry) -> None:
    """Keys beyond the front table lie in the others, and are found, replaced, counted and taken out as well."""
    store = MemoryStore(clock=clock, policy=policy(), max_bytes=10**6, front=3)
    keys = [f"key{number}" for number in range(10)]
    first = {key: entry() for key in keys}
    assert all(store.put(key, held) for key, held in first.items())
    assert list(store.front) == keys[:3]
    assert all(store.shards[hash(key) & store.mask][key] is first[key] for key in keys[3:])
    second = {key: entry() for key in keys}
    assert all(store.put(key, held) for key, held in second.items())
    assert all(store.find(key) is held for key, held in second.items())
    assert (len(store), sorted(store.keys())) == (10, keys)
    assert all(store.remove(key) is second[key] for key in ("key1", "key7"))
    assert store.put("new", entry())
    assert list(store.front) == ["key0", "key2", "new"]
    assert (len(store), len(set(store.keys()))) == (9, 9)
    store.clear()
    assert (len(store), list(store.keys()), store.find("key0"), store.find("key5")) == (0, [], None, None)
    while store.sweep():
        pass
    assert store.put("key0", entry())
    assert list(store.front) == ["key0"]


def test_find_and_remove(make: Make, entry: MakeEntry) -> None:
    """What was put is found, also through the tables; what was removed is not, and its bytes are free."""
    store, held = make(), entry()
    assert store.find("a") is None
    assert store.put("a", held)
    assert store.find("a") is held
    assert store.front.get("a") is held
    assert (len(store), store.bytes) == (1, 101)
    assert store.remove("a") is held
    assert store.remove("a") is None
    assert store.find("a") is None
    assert (len(store), store.bytes) == (0, 0)
    assert repr(store) == "<MemoryStore: 0 entries, 0 of 10000 bytes>"


def test_older_never_replaces_newer(make: Make, entry: MakeEntry) -> None:
    """An entry of a lower version is refused; of the same write, read again, the later copy counts; force ignores both."""
    store = make()
    newer, again, older = entry(version=7), entry(version=7), entry(version=6)
    assert store.put("a", newer)
    assert not store.put("a", older)
    assert store.find("a") is newer
    assert store.put("a", again)
    assert store.find("a") is again
    assert store.put("a", older, force=True)
    assert store.find("a") is older


def test_the_very_same_entry_again(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """Putting the entry that is there changes nothing: not its hits, its end or its place."""
    store, held = make(max_entries=2), entry(60)
    store.put("a", held)
    store.put("b", entry(60))
    held.hits = 3
    clock.advance(30)
    assert store.put("a", held)
    assert held.hits == 3
    assert store.bytes == 202
    clock.advance(31)
    assert store.sweep() == 2
    assert store.put("a", entry())


def test_overwriting_replaces_the_ttl(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """BUG-92: the end of the entry that was overwritten or cleared never takes its successor away."""
    store = make()
    store.put("a", entry(10))
    store.put("b", entry(10))
    store.put("a", entry(100))
    store.put("b", entry())
    store.put("c", entry(10))
    store.clear()
    store.put("c", entry(100))
    store.put("a", entry(100))
    store.put("b", entry())
    clock.advance(50)
    while store.next_expiry <= clock.monotonic():
        store.sweep()
    assert sorted(store.keys()) == ["a", "b", "c"]
    store.put("c", entry(10))
    clock.advance(51)
    store.sweep()
    assert list(store.keys()) == ["b"]
    assert store.expirations == 2


def test_the_remaining_life_counts(make: Make, clock: FakeClock) -> None:
    """BUG-93: an entry filled from a store lives as long as it has left there, not its whole life again."""
    store = make()
    created_ms = int((clock.time() - 50) * 1000)
    assert store.put("a", held_of(created_ms=created_ms, gone_ms=created_ms + 60_000))
    clock.advance(9.9)
    assert store.sweep() == 0
    clock.advance(0.2)
    assert store.sweep() == 1


@pytest.mark.parametrize("ttl", [0.001, 0.2, 1.9, 60, 26 * 86_400, 2**31 + 1, 1e10])
def test_lives_of_any_length(make: Make, entry: MakeEntry, clock: FakeClock, ttl: float) -> None:
    """BUG-94: a fifth of a second is not a second, 1.9 not 1, and beyond 25 days or 2^31 seconds all is as before."""
    store, held = make(), entry(ttl)
    assert store.put("a", held)
    assert held.gone_until == pytest.approx(clock.monotonic() + ttl)
    clock.advance(ttl * 0.99)
    assert store.sweep() == 0
    clock.advance(ttl * 0.02 + 0.07)
    assert store.sweep() == 1
    assert len(store) == 0


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_life_that_is_over(make: Make, entry: MakeEntry, ttl: float) -> None:
    """BUG-94: an entry without a life comes not in, and what it overwrote is gone."""
    store = make()
    store.put("a", entry(60))
    assert not store.put("a", entry(ttl))
    assert store.find("a") is None
    assert (len(store), store.bytes) == (0, 0)


def test_wall_clock_back(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """LR-24: after the wall clock went back an hour, an entry of 60 s is there for 60 s, and so is one that came later."""
    store = make()
    store.put("before", entry(60))
    read_later = entry(60)
    clock.step_wall(-3_600)
    store.put("after", read_later)
    clock.advance(59.9)
    assert store.sweep() == 0
    clock.advance(0.2)
    assert store.sweep() == 2


def test_wall_clock_forward(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """LR-25: after the wall clock went forward an hour, an entry of 60 s that is read from a store counts as ended."""
    store = make()
    held = entry(60)
    clock.step_wall(3_600)
    assert not store.put("a", held)
    assert store.find("a") is None


def test_bounded_by_entries(make: Make, entry: MakeEntry) -> None:
    """LR-27: of 10,000 keys put into a memory of 1,000 entries, 1,000 are there."""
    store = make(max_bytes=10**9, max_entries=1_000)
    for number in range(10_000):
        assert store.put(f"k{number}", entry())
        assert len(store) <= 1_000
    assert len(store) == len(list(store.keys())) == 1_000
    assert store.evictions == 9_000


def test_each_tally_has_its_share(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """Entries, bytes and evictions are told by tally, whichever way an entry comes and goes."""
    store = make(max_bytes=10**9, max_entries=5)
    mine, other = NoCounts(), NoCounts()

    def put(key: str, tally: NoCounts, ttl: float | None = None) -> None:
        held = entry(ttl)
        held.tally = tally
        store.put(key, held)

    def shares() -> list[tuple[int, int, int]]:
        return [(share.entries, share.bytes, share.evictions) for share in map(store.share, (mine, other))]

    for number in range(6):
        put(f"{number}", mine, ttl=9.0 if number == 5 else None)
    assert shares() == [(5, 505, 1), (0, 0, 0)]
    put("5", other, ttl=9.0)
    assert shares() == [(4, 404, 1), (1, 101, 0)]
    clock.advance(10.0)
    store.sweep()
    store.remove("4")
    assert shares() == [(3, 303, 1), (0, 0, 0)]
    assert (len(store), store.bytes, store.writes) == (3, 303, 7)
    store.clear()
    assert shares() == [(0, 0, 1), (0, 0, 0)]


def test_bounded_by_bytes(make: Make, entry: MakeEntry) -> None:
    """BUG-97: values, keys and what an entry takes besides stay within the bound, after every single write."""
    store = make(max_bytes=10_000, overhead=50)
    for number in range(2_000):
        store.put(f"k{number % 300:04}", entry([None, 1, 60][number % 3], size=number * 37 % 900))
        assert store.bytes <= 10_000
        if number % 7 == 0:
            store.remove(f"k{number % 300:04}")
    assert store.bytes == sum(held.size + 5 + 50 for key in list(store.keys()) if (held := store.find(key)))


def test_everything_is_counted(make: Make, entry: MakeEntry) -> None:
    """BUG-97: the bytes of an entry are those of its value, its key at full width, its tags, and ``overhead``."""
    store = make(overhead=50)
    store.put("narrow", entry(size=100))
    assert store.bytes == 100 + 6 + 50
    store.put("широк", entry(size=100))
    assert store.bytes == 156 + 100 + 4 * 5 + 50
    tagged = entry(size=100)
    tagged.tags = ("products", "products:phones")
    store.put("narrow", tagged)
    assert store.bytes > 156 + 170 + len("products" + "products:phones") + 2 * 49
    store.remove("narrow")
    store.remove("широк")
    assert store.bytes == 0


def test_no_room_at_all(make: Make, entry: MakeEntry) -> None:
    """A store of no entries, or no bytes, takes nothing in."""
    assert not make(max_entries=0).put("a", entry())
    assert not make(max_bytes=0).put("a", entry())


def test_larger_than_the_store(make: Make, entry: MakeEntry) -> None:
    """An entry larger than the whole store is refused, evicts nobody, and takes the older one of its key with it."""
    store = make(max_bytes=1_000)
    for key in "abc":
        store.put(key, entry())
    assert not store.put("a", entry(size=1_000))
    assert not store.put("d", entry(size=1_000))
    assert sorted(store.keys()) == ["b", "c"]
    assert store.evictions == 0
    assert store.put("d", entry(size=999))
    assert list(store.keys()) == ["d"]


def test_updating_evicts_nobody(make: Make, entry: MakeEntry) -> None:
    """BUG-98: in a full store, overwriting with the same or a smaller size leaves everybody else in place."""
    store = make(max_bytes=1_010, max_entries=10)
    for key in "abcdefghij":
        store.put(key, entry())
    assert store.bytes == 1_010
    for key in "abcdefghij":
        assert store.put(key, entry(size=100))
        assert store.put(key, entry(size=90))
        assert store.put(key, entry(size=100))
    assert sorted(store.keys()) == list("abcdefghij")
    assert store.evictions == 0


def test_updating_with_more(make: Make, entry: MakeEntry) -> None:
    """An entry that grows makes the others leave, never itself, even where the policy names it."""
    store = make(max_bytes=1_010)
    for key in "abcdefghij":
        store.put(key, entry())
    for key in "abcdefghij":
        assert store.put(key, entry(size=900))
        assert store.find(key) is not None
        assert store.bytes <= 1_010


def test_what_has_ended_makes_room_first(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """BUG-99: in a full store ended entries leave before any living one, without having been read."""
    store = make(max_entries=10)
    for number in range(5):
        store.put(f"living {number}", entry(1_000))
        store.put(f"ending {number}", entry(10))
    clock.advance(11)
    for number in range(5):
        store.put(f"new {number}", entry())
    assert sorted(store.keys()) == sorted(f"{kind} {number}" for kind in ("living", "new") for number in range(5))
    assert (store.evictions, store.expirations) == (0, 5)


def test_sweeping_in_slices(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """BUG-99: ended entries are freed without reads and without looking at their values, so many at a time."""

    class Untouchable:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    store = make(max_bytes=10**9)
    for number in range(2_500):
        store.put(f"k{number}", entry(60 + number % 7, value=Untouchable()))
    store.put("stays", entry(3_600))
    assert store.next_expiry > clock.monotonic()
    clock.advance(70)
    slices = []
    while store.next_expiry <= clock.monotonic():
        slices.append(store.sweep(500))
    assert [n for n in slices if n] == [500] * 5
    assert list(store.keys()) == ["stays"]
    assert store.expirations == 2_500
    assert store.bytes == 105


def test_clear_is_at_once_and_frees_bit_by_bit(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """A cleared store is empty at once; sweeps and writes free what it held, and no collector is needed."""

    class Value:
        pass

    values = [Value() for _ in range(1_000)]
    alive = weakref.WeakSet(values)
    store = make(max_bytes=10**9)
    for number in range(1_000):
        store.put(f"k{number}", entry(60, value=values[number]))
    del values
    gc.disable()
    try:
        store.clear()
        assert (len(store), store.bytes, list(store.keys())) == (0, 0, [])
        assert store.find("k1") is None
        assert store.next_expiry <= clock.monotonic()
        assert store.sweep(300) == 300
        assert len(alive) == 700
        for number in range(100):
            assert store.put(f"new {number}", entry(60))
        assert len(alive) == 300
        assert store.sweep() == 300
        assert store.sweep() == 0
        assert not alive
    finally:
        gc.enable()
    assert len(store) == 100


def test_what_leaves_dies_without_the_collector(make: Make, entry: MakeEntry, clock: FakeClock) -> None:
    """Whichever way an entry leaves, its value is freed there and then."""

    class Value:
        pass

    alive: weakref.WeakSet[Value] = weakref.WeakSet()

    def put(key: str, ttl: float | None = None) -> None:
        value = Value()
        alive.add(value)
        store.put(key, entry(ttl, value=value))

    store = make(max_entries=10)
    gc.disable()
    try:
        for number in range(30):
            put(f"k{number}", 60)
        assert len(alive) == 10
        for key in list(store.keys()):
            put(key, 60)
        assert len(alive) == 10
        store.remove(next(store.keys()))
        assert len(alive) == 9
        clock.advance(61)
        store.sweep()
        assert len(alive) == 0
    finally:
        gc.enable()


def test_keys_while_the_store_changes(make: Make, entry: MakeEntry) -> None:
    """Walking the keys while others come and go raises nothing, and meets once each key that stayed."""
    store = make(max_bytes=10**9)
    for number in range(3_000):
        store.put(f"k{number}", entry())
    walked = []
    for number, key in enumerate(store.keys()):
        walked.append(key)
        store.remove(f"k{number}")
        store.put(f"new {number}", entry())
    stayed = {f"k{number}" for number in range(3_000)} & set(store.keys())
    assert stayed <= set(walked)
    assert len(set(walked)) == len(walked)


def test_hits_go_on_with_the_next_entry(make: Make, entry: MakeEntry) -> None:
    """Hits are counted since the key came in, across overwrites, and begin anew after it left."""
    store, held = make(), entry()
    store.put("a", held)
    held.hits += 3
    store.put("a", entry())
    assert (found := store.find("a")) is not None
    assert found.hits == 3
    store.remove("a")
    store.put("a", entry())
    assert (found := store.find("a")) is not None
    assert found.hits == 0


def test_touch(clock: FakeClock, entry: MakeEntry) -> None:
    """A policy that wants to hear of hits hears of those of entries that are held; one that does not costs nothing."""
    store = MemoryStore(clock=clock, policy=LRU(), max_bytes=10_000, max_entries=2)
    gone, kept = entry(), entry()
    assert store.touch is not None
    store.put("gone", gone)
    store.remove("gone")
    store.touch("gone", gone)
    store.put("a", kept)
    store.put("b", entry())
    store.touch("a", kept)
    store.put("c", entry())
    assert sorted(store.keys()) == ["a", "c"]
    assert MemoryStore(clock=clock, policy=S3FIFO(), max_bytes=1).touch is None


def test_a_forked_child_starts_empty(make: Make, entry: MakeEntry) -> None:
    """A child whose parent held the lock at the fork can go on, with nothing in memory."""
    store = make()
    store.put("a", entry())
    store._lock.acquire()
    store.forked()
    assert len(store) == 0
    assert store.put("a", entry())


def test_several_threads(make: Make) -> None:
    """Writers, readers and sweepers of four threads leave sums that agree with what is held."""
    store = make(max_bytes=20_000, max_entries=150)
    faults: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(3_000):
                key = f"k{(number * 7 + seed * 13) % 400}"
                held = store.find(key)
                if held is None:
                    store.put(key, held_of(size=number % 300, version=number * 4 + seed))
                elif store.touch is not None:
                    store.touch(key, held)
                if number % 11 == 0:
                    store.remove(key)
                if number % 500 == 0:
                    store.sweep()
        except BaseException as fault:  # noqa: BLE001 - whatever it is, the test must see it
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    keys = list(store.keys())
    assert len(keys) == len(store) <= 150
    assert store.bytes == sum(held.size + len(key) for key in keys if (held := store.find(key))) <= 20_000


RESIDENT = """
import resource, sys
from toolcache.clock import SystemClock
from toolcache.memory.adaptive import Adaptive
from toolcache.memory.store import MemoryStore
from toolcache.testing.policies import held_of

def taken():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

clock = SystemClock()
store = MemoryStore(clock=clock, policy=Adaptive(), max_bytes=16_000_000)
base = taken()
for number in range(400_000):
    now_ms, size = int(clock.time() * 1000), number * 7919 % 500
    held = held_of(
        value=bytes(size),
        size=size,
        version=number,
        created_ms=now_ms,
        gone_ms=now_ms + 3_600_000 + number,
        settled_until=clock.monotonic() + 60,
    )
    held.tally = store  # one for all, as in a cache
    held.tags = tuple(f"tag {number} {tag}" for tag in range(number % 3))
    store.put(f"embedding:{number % 280_000:040}", held)
print(len(store), taken() - base)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_resident_memory_is_bounded() -> None:
    """BUG-97: over 400,000 writes of all sizes, with tags and updates, the process grows by what it was allowed."""
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count > 10_000
    assert grown < 16_000_000 * 1.1
