"""What a sample of keys says of all lookups, beside what is known to be so."""

import gc
import os
import random
import threading
import tracemalloc
from collections.abc import Sequence
from itertools import islice
from math import sqrt
from typing import cast

import pytest
from followed import COST, Followed, Memory, at_entries, entry, lru_hits
from rig import Rig

from benchmarks.traces import Trace, traces
from toolcache.cache import Cache
from toolcache.entry import Aging, Held
from toolcache.insight.curve import curve_of
from toolcache.insight.sampler import KEYS, Sampler
from toolcache.insight.stack import Stack
from toolcache.memory.store import MemoryStore
from toolcache.memory.watcher import LAST_BITS, WHOLE
from toolcache.tallies import Tally
from toolcache.testing import FakeClock

SHORT = 20_000
"""Lookups of a trace that are run, so that the whole takes seconds: a prefix of a trace is a trace."""

BUCKET = 2 ** (1 / 8)


def zipf(number: int, keys: int, seed: int = 7) -> list[int]:
    """Lookups of keys that are asked for as often as words of a language."""
    dice = random.Random(seed)
    weights = [1 / rank for rank in range(1, keys + 1)]
    return dice.choices(range(keys), weights, k=number)


def bound(curve_rate: float, size: int) -> float:
    """How far a sampled rate may be off.

    Three points for the sample as a whole; and for how deep keys lie, what the sampled keys that fit into the size allow, as
    of so many throws of a coin.
    """
    return 0.0 if curve_rate == 1 else 0.03 + 0.5 / sqrt(max(1.0, size * curve_rate))


@pytest.mark.parametrize("trace", traces(), ids=lambda trace: str(trace.name))
def test_the_curve_of_a_trace_is_that_of_an_lru_memory(trace: Trace) -> None:
    """SHARDS: with a sample of 512 keys, at each size, within the sampling error; followed whole, within a bucket."""
    keys = list(islice(trace.keys(), SHORT))
    sizes = [size for size in trace.sizes if size < len(set(keys))] or [len(set(keys)) // 2]
    followed = Followed(keys=512, step=0.002).run(keys)
    sketch = followed.sketch()
    assert followed.sampler.keys <= 512
    for size in sizes[:4]:
        low, high = (lru_hits(keys, max(1, int(some))) / len(keys) for some in (size / BUCKET, size * BUCKET + 1))
        error = bound(sketch.rate, size)
        assert low - error <= at_entries(sketch, size) <= high + error, size
        assert low - error <= curve_of(sketch).at(size * COST) <= high + error, size


def test_the_reference_of_others_agrees_with_the_yardstick() -> None:
    """The LRU that curves are compared with has the very hits of two other programs, where their figures are at hand."""
    trace = next((one for one in traces() if one.name in {"glimpse", "zipf"}), None)
    assert trace is not None
    keys = trace.keys()[:20_000]
    for size, reference in trace.reference.items():
        assert lru_hits(keys, size) == reference["LRU"]
    assert lru_hits([1, 2, 1, 3, 1, 2], 2) == 2


def test_a_loop_has_its_knee_where_it_fits() -> None:
    """1,000 keys, again and again: nothing is gained below their room, and nothing above."""
    followed = Followed().run(list(range(1_000)) * 6)
    curve = followed.curve()
    knee = curve.knee()
    assert knee is not None
    assert 1_000 * COST <= knee.bytes <= 1_000 * COST * BUCKET * BUCKET
    assert 1_000 <= knee.entries <= 1_000 * BUCKET * BUCKET
    assert knee.hit_rate == pytest.approx(5 / 6)
    assert curve.at(800 * COST) == 0.0
    assert curve.best == pytest.approx(5 / 6)


def test_sizes_count_not_entries_alone() -> None:
    """A key is deep by the bytes of what was used since: ten large entries are as deep as a thousand small ones."""
    followed = Followed()
    for _ in range(5):
        for key in range(10):
            followed.ask(f"large{key}", 10_000)
    knee = followed.curve().knee()
    assert knee is not None
    assert 100_000 <= knee.bytes <= 100_000 * BUCKET * BUCKET
    assert 10 <= knee.entries <= 10 * BUCKET * BUCKET


def test_too_many_keys_lower_the_threshold() -> None:
    """No more keys are followed than the bound; what was counted before keeps its weight, so that the sum stays right."""
    keys = [key for key in range(20_000) for _ in range(3)]
    followed = Followed(keys=512).run(keys)
    sampler = followed.sampler
    assert sampler.keys <= 512
    assert sampler.rate < 0.05
    assert sampler.depths.asked == pytest.approx(len(keys), rel=0.15)
    assert followed.sketch().entries == pytest.approx(20_000, rel=0.15)


@pytest.mark.parametrize("seed", range(4))
def test_popular_keys_in_the_sample_or_not_do_not_bias(seed: int) -> None:
    """SHARDS-adj: two keys that get half of all lookups are hits of any size, whether they happen to be followed or not."""
    dice = random.Random(seed)
    keys = [dice.choice(["a", "b"]) if dice.random() < 0.5 else dice.randrange(30_000) for _ in range(30_000)]
    sketch = Followed(keys=256, seed=seed, step=0.002).run(keys).sketch()
    assert at_entries(sketch, 50) == pytest.approx(lru_hits(keys, 50) / len(keys), abs=0.08)
    assert abs(sketch.lookups - sketch.asked) / sketch.lookups > 0.02  # without the correction it would be off by that


class TestRest:
    def test_a_hot_key_is_seen_a_limited_number_of_times(self) -> None:
        """A key that is hit all the time rests; its hits are counted all the same, none twice."""
        followed = Followed(step=0.0).run(["hot"])
        held = followed.memory.held["hot"]
        assert type(held) is not Held
        for _ in range(30_000):
            held.hits += 1
        assert type(held) is Held
        assert followed.sampler.depths.samples < 10_000
        followed.sampler.settle()
        assert followed.sampler.depths.samples == 30_001
        held.hits += 5
        followed.clock.advance(5.0)
        followed.sampler.pulse()
        assert type(held) is not Held
        assert followed.sampler.depths.samples == 30_006

    def test_a_hundred_hot_keys_keep_their_distances(self) -> None:
        """A loop over 100 keys, as hot as can be, still says that it takes 100 entries."""
        followed = Followed(step=0.0).run(range(100))
        for turn in range(300):
            for key in range(100):
                followed.memory.held[str(key)].hits += 1
            if turn % 150 == 0:
                followed.clock.advance(4.5)
                followed.sampler.pulse()
        assert sum(type(held) is Held for held in followed.memory.held.values()) == 100
        sketch = followed.sketch()
        sketch = sketch._replace(lookups=sketch.asked)
        assert sketch.samples == 30_100
        assert at_entries(sketch, 90) < 0.02
        assert at_entries(sketch, 110) > 0.99

    def test_a_slow_program_is_seen_whole(self) -> None:
        """A hundred calls a second over a thousand keys: nothing rests, every one is seen."""
        keys = zipf(20_000, 1_000)
        followed = Followed(step=0.01).run(keys)
        assert followed.sampler.depths.samples == 20_000
        assert followed.sampler.rate == 1
        assert all(type(held) is not Held for held in followed.memory.held.values())

    def test_what_is_slow_and_comes_too_often_lowers_the_threshold(self) -> None:
        """100,000 misses a second are not all looked at: the threshold is halved until they are few enough."""
        followed = Followed(step=0.00001, ttl=0.000001)
        followed.run(list(range(500)) * 100)
        assert followed.sampler.rate <= 0.25
        assert followed.sampler.depths.samples < 40_000
        assert followed.sampler.depths.asked == pytest.approx(50_000, rel=0.4)

    def test_a_key_that_rests_and_is_written_goes_on_resting(self) -> None:
        """Its new entry counts on from the old one's hits, so that none is lost or counted twice."""
        followed = Followed(step=0.0).run(["hot"])
        old = followed.memory.held["hot"]
        for _ in range(5_000):
            old.hits += 1
        assert type(old) is Held
        new = followed.memory.held["hot"] = entry("hot", followed.clock, followed.tally)
        new.hits = old.hits  # as memory has it where one takes the place of another
        followed.sampler.settle()
        followed.sampler.came("hot", new, COST)
        assert type(new) is Held
        seen = followed.sampler.depths.samples
        for _ in range(7):
            new.hits += 1
        followed.sampler.settle()
        assert followed.sampler.depths.samples == seen + 7 == 5_008

    def test_writes_that_come_too_often_are_not_seen(self) -> None:
        """A key that is written all the time costs no more than a comparison; when a while has passed, it is seen again."""
        followed = Followed(step=0.0).run(["written"])
        for _ in range(10_000):
            held = entry("written", followed.clock, followed.tally)
            if followed.number("written") & LAST_BITS < followed.memory.admitted:
                followed.sampler.came("written", held, COST)
        assert followed.memory.admitted == 0
        assert followed.memory.sampled == WHOLE
        followed.clock.advance(5)
        followed.ask("other")
        assert followed.memory.admitted == WHOLE

    def test_a_burst_does_not_blind_for_ever(self) -> None:
        """Keys of a burst are forgotten after a day without use, and more are followed again; so they are hour by hour."""
        followed = Followed(keys=256, step=0.01).run(range(20_000))
        sampler, rate = followed.sampler, followed.sampler.rate
        assert rate < 0.05
        assert sampler.keys > 128
        sampler.begin()  # what was used since stays
        followed.run(list(range(100)) * 3)
        sampler.begin()
        assert sampler.keys <= 10
        assert sampler.rate == 2 * rate
        for hour in range(2, 8):
            followed.clock.advance(3_601)
            sampler.settle()
            assert sampler.rate == min(1.0, rate * 2**hour)
        sampler.settle()
        assert sampler.rate == min(1.0, rate * 2**7)


class TestInACache:
    async def test_hits_and_misses_of_a_cache_are_seen(self, cache: Cache) -> None:
        """Every lookup, whichever layer answers, is seen once."""
        insight = cache._machine.insight
        assert insight is not None
        await cache.set("a", 1)
        for key in ("a", "a", "b", "c", "a"):
            await cache.get(key)
        await cache.get_many(["a", "b", "c", "d"])
        await cache.get_or_set("e", lambda: 5)
        await cache.get_or_set("e", lambda: 5)
        assert insight.own().samples == insight.own().lookups == 11
        sketch = insight.own().domains["general"]
        assert sketch.asked == 11
        assert sketch.cold == 6  # b and c twice, d and e once

    async def test_a_followed_entry_is_as_any_other(self, cache: Cache) -> None:
        """Its hits count, it is replaced, touched, removed and found as ever; ages make no difference."""
        await cache.get_or_set("aging", lambda: [1], ttl=60, grace=60)
        await cache.set("plain", [2], ttl=60)
        memory = cache._parts.memory
        for key in ("aging", "plain"):
            held = memory.find(key)
            if held is None:  # where Redis is told of it, the next read brings it
                await cache.get(key)
                held = memory.find(key)
            assert held is not None
            before = held.hits
            assert type(held) not in {Held, Aging}
            assert isinstance(held, Held)
            assert await cache.get(key) is not None
            found = await cache.get_entry(key)
            assert found is not None
            assert found.hits >= before + 1
            assert await cache.delete(key)
            assert await cache.get(key) is None

    async def test_without_metrics_nothing_is_followed(self, rig: Rig) -> None:
        """The setting ``metrics=False`` leaves entries what they are."""
        cache = await rig.open(metrics=False)
        await cache.set("a", 1)
        await cache.get("a")
        held = cache._parts.memory.find("a")
        assert held is not None
        assert type(held) is Held
        assert cache._machine.insight is None

    @pytest.mark.parametrize("layering", ["memory"])
    async def test_what_rests_wakes_by_hits_alone(self, cache: Cache, clock: FakeClock) -> None:
        """Where nothing but hits happens, one in a thousand of them looks whether it is time."""
        await cache.set("hot", 1, ttl=None)
        held = cache._parts.memory.find("hot")
        assert held is not None
        for _ in range(5_000):
            await cache.get("hot")
        assert type(held) is Held
        clock.advance(5)
        followed = 0
        for _ in range(1_100):
            await cache.get("hot")
            followed += type(held) is not Held
        assert followed

    @pytest.mark.parametrize("layering", ["memory"])
    async def test_why_memory_had_no_answer_is_told(self, rig: Rig, clock: FakeClock) -> None:
        """Cold, ended, made room, removed: each is counted as what it is."""
        cache = await rig.open(max_entries=5)
        await cache.set("ends", 1, ttl=10)
        clock.advance(11)
        await cache.get("ends")
        await cache.set("removed", 1)
        await cache.delete("removed")
        await cache.get("removed")
        await cache.get("cold")
        await cache.set("ousted", 1)
        await cache.set_many({f"other{number}": 1 for number in range(20)})
        assert cache._parts.memory.find("ousted") is None
        await cache.get("ousted")
        assert cache._machine.insight is not None
        row = cache._machine.insight.own().domains["general"]
        assert (row.cold, row.ended, row.ousted, row.removed, row.asked) == (1, 1, 1, 1, 4)


def test_it_takes_less_than_a_megabyte() -> None:
    """With as many keys as it follows, all of which rest; entries and their keys are memory's."""
    clock, tally, memory = FakeClock(), Tally(), Memory()
    memory.held = {key: entry(key, clock, tally) for key in (f"key:{number:040}" for number in range(KEYS))}
    gc.collect()
    tracemalloc.start()
    try:
        sampler = Sampler(cast("MemoryStore", memory), clock)
        for key, held in memory.held.items():
            clock.advance(0.01)
            sampler.came(key, held, COST)
        for held in [*memory.held.values()] * 4:
            held.hits += 1
        assert sampler.keys == len(sampler._resting) == KEYS
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_threads_do_no_harm() -> None:
    """Several threads hit at once: some are not seen, nothing breaks, and nobody waits."""
    followed = Followed(step=0.0).run(range(50))

    def hit(helds: Sequence[Held]) -> None:
        for _ in range(300):
            for held in helds:
                held.hits += 1
            followed.sampler.pulse()

    helds = list(followed.memory.held.values())
    crew = [threading.Thread(target=hit, args=(helds,)) for _ in range(4)]
    for one in crew:
        one.start()
    for one in crew:
        one.join(30)
    followed.sampler.settle()
    assert 50 < followed.sampler.depths.samples <= 50 + 4 * 300 * 50
    assert {held.hits for held in helds} == {4 * 300}


def test_a_child_begins_anew() -> None:
    """After a fork nothing is followed, and a lock that another thread held holds nobody up."""
    followed = Followed(step=0.0).run(range(10))
    with followed.sampler._lock:
        if (child := os.fork()) == 0:
            followed.sampler.settle()
            os._exit(followed.sampler.keys)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert followed.sampler.keys == 10


def test_nothing_is_set_aside_before_it_is_needed() -> None:
    """A cache that nobody uses has no columns."""
    followed = Followed()
    assert isinstance(followed.sampler, Sampler)
    assert followed.sampler._keys is None
    assert Stack(4).bytes == 0
