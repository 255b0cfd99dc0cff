"""Hot, warm and cold: the contract, promotion by use, demotion by age and pressure, bounds, and what statistics tell."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache.blob import NEVER
from toolcache.entry import Held
from toolcache.memory.store import MemoryStore
from toolcache.memory.tiered import Tiered
from toolcache.testing import FakeClock, MemoryPolicyContract
from toolcache.testing.policies import PolicyDriver, held_of

EACH = 100 + 512
"""What an entry of the driver weighs."""


def tiered(hot: int = 3, warm: int = 3, cold: int = 3, ttl: float = inf, clock: FakeClock | None = None) -> Tiered:
    """Tiers that hold so many entries of the driver's."""
    sizes = {"hot": (hot * EACH, ttl), "warm": (warm * EACH, ttl), "cold": (cold * EACH, ttl)}
    return Tiered(sizes, (clock or FakeClock()).monotonic)


def held(policy: Tiered) -> dict[str, int]:
    return {name: tier.entries for name, tier in policy.tiers().items()}


class TestContract(MemoryPolicyContract):
    def make(self) -> Tiered:
        return tiered(5, 5, 5)


class TestContractOfOneThatHoldsLittle(MemoryPolicyContract):
    """With tiers of one entry each, so that all go through all of them."""

    def make(self) -> Tiered:
        return tiered(1, 1, 1)


def test_use_promotes_one_tier_at_a_time() -> None:
    """What is new is warm; a use makes it hot, one of a cold entry makes it warm, and each is counted where it came in."""
    policy = tiered()
    driver = PolicyDriver(policy)
    for key in "abcd":
        driver.write(key)
    assert held(policy) == {"hot": 0, "warm": 3, "cold": 1}
    driver.hit("d")
    assert held(policy) == {"hot": 1, "warm": 2, "cold": 1}
    driver.hit("a")
    assert held(policy) == {"hot": 1, "warm": 3, "cold": 0}
    driver.hit("a")
    driver.hit("a")
    tiers = policy.tiers()
    assert held(policy) == {"hot": 2, "warm": 2, "cold": 0}
    assert [tier.promotions for tier in tiers.values()] == [2, 1, 0]
    assert [tier.demotions for tier in tiers.values()] == [0, 1, 0]


def test_pressure_demotes_what_was_unused_for_longest() -> None:
    """What a tier has no room for is its oldest, and goes one down; out of cold it leaves, whatever is hot."""
    policy = tiered(2, 2, 2)
    driver = PolicyDriver(policy)
    for key in "abc":
        driver.write(key)
        driver.hit(key)
    assert held(policy) == {"hot": 2, "warm": 1, "cold": 0}
    assert policy.tiers()["hot"].demotions == 1
    for number in range(20):
        driver.write(f"flood{number}")
        if len(driver.held) > 6:
            driver.evict()
    assert {"b", "c"} <= driver.held.keys()
    assert held(policy) == {"hot": 2, "warm": 2, "cold": 2}
    assert driver.drain() == ["flood16", "flood17", "flood18", "flood19", "b", "c"]


def test_age_demotes() -> None:
    """An entry that is not used for its tier's time sinks, one tier at a time, and leaves memory from cold; a use begins anew."""
    clock = FakeClock()
    policy = Tiered({"hot": (10**6, 60.0), "warm": (10**6, 600.0), "cold": (10**6, 6_000.0)}, clock.monotonic)
    store = MemoryStore(clock=clock, policy=policy, max_bytes=3 * 10**6)
    assert store.next_expiry == inf
    store.put("k", held_of())
    assert store.touch is not None
    entry = store.find("k")
    assert entry is not None
    store.touch("k", entry)
    assert held(policy) == {"hot": 1, "warm": 0, "cold": 0}
    clock.advance(59)
    assert store.sweep() == 0
    store.touch("k", entry)
    clock.advance(59)
    store.sweep()
    assert held(policy) == {"hot": 1, "warm": 0, "cold": 0}
    clock.advance(1)
    assert store.is_due
    assert store.sweep() == 0
    assert held(policy) == {"hot": 0, "warm": 1, "cold": 0}
    clock.advance(600)
    store.sweep()
    assert held(policy) == {"hot": 0, "warm": 0, "cold": 1}
    clock.advance(5_999)
    assert (store.sweep(), len(store)) == (0, 1)
    clock.advance(1)
    assert (store.sweep(), len(store), store.evictions, store.find("k")) == (1, 0, 1, None)
    assert [tier.demotions for tier in store.tiers().values()] == [1, 1, 1]


def test_many_that_age_at_once_go_a_few_at_a_time() -> None:
    """A write takes few with it, a sweep its limit; while more are due, there is work."""
    clock = FakeClock()
    policy = Tiered({"hot": (10**6, 1.0), "warm": (10**6, 1.0), "cold": (10**6, 1.0)}, clock.monotonic)
    store = MemoryStore(clock=clock, policy=policy, max_bytes=3 * 10**6)
    for number in range(200):
        store.put(f"k{number}", held_of())
    sweeps = 0
    for _ in range(2):
        clock.advance(2)
        while store.is_due:
            assert store.sweep(50) <= 50
            sweeps += 1
    assert (len(store), store.bytes) == (0, 0)
    assert sweeps >= 4


def test_cold_holds_no_more_than_it_may_though_memory_has_room() -> None:
    """BUG-97: with nothing hot, cold does not take hot's room; what is larger than every tier is not kept."""
    store = MemoryStore(clock=FakeClock(), policy=tiered(50, 2, 2), max_bytes=54 * EACH)
    for number in range(40):
        assert store.put(f"k{number}", held_of(f"k{number}"))
    assert sorted(store.keys()) == ["k36", "k37", "k38", "k39"]
    store = MemoryStore(clock=FakeClock(), policy=tiered(2, 2, 2), max_bytes=6 * EACH)
    assert store.put("small", held_of())
    assert not store.put("large", held_of(size=3 * EACH))
    assert list(store.keys()) == ["small"]


def test_an_entry_too_large_to_be_hot_leaves_what_is_hot_alone() -> None:
    """A use of an entry that hot could not hold even if empty leaves it where it is."""
    policy = tiered(2, 9, 9)
    driver = PolicyDriver(policy)
    driver.write("a")
    driver.hit("a")
    driver.write("large", size=4 * EACH)
    driver.hit("large")
    assert held(policy) == {"hot": 1, "warm": 1, "cold": 0}
    assert policy.tiers()["hot"].promotions == 1


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "hit", "hit", "remove", "wait", "sweep", "clear"]),
            st.integers(0, 11),
            st.integers(0, 2_500),
            st.one_of(st.none(), st.integers(1, 400)),
        ),
        max_size=80,
    )
)
def test_bounds_hold_under_any_mix(moves: list[tuple[str, int, int, int | None]]) -> None:
    """BUG-97: whatever is written, read, removed and left to age, sizes add up, and no tier holds more than it may after a write."""
    clock = FakeClock()
    policy = tiered(4, 3, 5, ttl=60, clock=clock)
    store = MemoryStore(clock=clock, policy=policy, max_bytes=12 * EACH, max_entries=9)
    for move, number, size, ttl in moves:
        key, now_ms = f"k{number}", int(clock.time() * 1000)
        entry: Held | None
        if move == "put":
            gone = NEVER if ttl is None else now_ms + ttl * 1000
            entry = held_of(size=size, created_ms=now_ms, gone_ms=gone)
            assert store.put(key, entry, force=True) == (store.find(key) is entry)
        elif move == "hit" and (entry := store.find(key)) is not None:
            entry.hits += 1
            assert store.touch is not None
            store.touch(key, entry)
        elif move == "remove":
            store.remove(key)
        elif move == "wait":
            clock.advance(number * 10)
        elif move == "sweep":
            store.sweep()
        elif move == "clear":
            store.clear()
        tiers = store.tiers()
        keys = list(store.keys())
        kept = {key: found for key in keys if (found := store.find(key)) is not None}
        assert sum(tier.entries for tier in tiers.values()) == len(store) == len(kept) <= 9
        assert sum(tier.bytes for tier in tiers.values()) == sum(found.size + 512 for found in kept.values())
        assert store.bytes == sum(found.size + 512 + len(key) for key, found in kept.items()) <= 12 * EACH
        assert all(tiers[name].bytes <= tiers[name].max_bytes for name in ("hot", "warm"))
        while store.is_due:
            store.sweep(2)
        assert all(tier.bytes <= tier.max_bytes for tier in store.tiers().values())


@pytest.mark.parametrize("change", ["replace", "clear"])
def test_a_write_keeps_its_tier_and_a_clear_keeps_the_counts(change: str) -> None:
    """BUG-98: a new value stands where the old one stood, and puts nobody out; what was counted stays counted."""
    policy = tiered()
    store = MemoryStore(clock=FakeClock(), policy=policy, max_bytes=9 * EACH + 100)
    for key in "abc":
        store.put(key, held_of(key))
    entry = store.find("a")
    assert entry is not None
    assert store.touch is not None
    store.touch("a", entry)
    if change == "replace":
        assert store.put("a", held_of("a", version=2))
        assert (held(policy), store.evictions) == ({"hot": 1, "warm": 2, "cold": 0}, 0)
    else:
        store.clear()
        assert held(policy) == {"hot": 0, "warm": 0, "cold": 0}
    assert store.tiers()["hot"].promotions == 1
