"""What a cache counts of itself: by domain, by layer, and what it saved."""

import asyncio
import dataclasses
from typing import Any

import pytest
from rig import Rig

from toolcache import AgentTask, ToolCache, report
from toolcache.cache import Cache
from toolcache.domains import GENERAL, Domain
from toolcache.embeddings import embed
from toolcache.report import latency_of
from toolcache.stats import DispatchStats
from toolcache.tallies import DispatchTally, Histogram
from toolcache.testing import ChaosStore, FakeClock


def slow(clock: FakeClock, seconds: float, value: Any = "value") -> Any:
    """A computation that takes so long."""

    async def compute() -> Any:
        await asyncio.sleep(0)
        clock.advance(seconds)
        return value

    return compute


async def test_a_domain_tells_how_long_its_calls_took(cache: Cache, clock: FakeClock) -> None:
    """Every read and computation that was answered counts once, with the whole time it took; writes do not."""
    await cache.get_or_set("key", slow(clock, 2.0))
    await cache.set("other", 1)
    latency = cache.stats().domains["general"].latency
    assert latency.count == 1
    assert latency.longest == pytest.approx(2.0, abs=0.5)
    assert latency.p50 == pytest.approx(2.0, rel=0.25)
    for _ in range(3):
        await cache.get("key")
    await cache.get("absent")
    assert await cache.get_many(["key", "none", "nothing"]) == {"key": "value"}
    assert await cache.exists("other")
    stats = cache.stats().domains["general"]
    assert stats.latency.count == stats.hits + stats.misses == 8
    assert stats.latency.p50 < 0.1
    assert stats.latency.longest == latency.longest


async def test_a_batch_of_hits_counts_each_key_once(cache: Cache) -> None:
    """A key that is asked for twice in one call is one hit, whatever domain it was stored by; one that is absent, a miss."""
    await cache.set_many({"a": 1, "b": [2]})
    await cache._machine.set("c", 3, Domain("other", ttl="1h"))
    found = await cache.get_many(["b", "a", "none", "c", "b", "none"])
    assert list(found.items()) == [("b", [2]), ("a", 1), ("c", 3)]
    domains = cache.stats().domains
    assert (domains["general"].hits, domains["other"].hits, domains["general"].misses) == (2, 1, 1)
    assert await cache.get_many(iter(["a"])) == {"a": 1}
    assert cache.stats().hits == 4


async def test_batches_are_sampled_too(cache: Cache) -> None:
    """Of hits in batches one in 1,024 is measured as well, and each batch hands out copies of its caller's own."""
    await cache.set("key", [1])
    batch = ["key"]
    for _ in range(1_025):
        found = await cache.get_many(batch)
        found["key"].append(2)
    assert await cache.get_many(batch) == {"key": [1]}
    assert cache.stats().layers["memory"].latency.count == 2


async def test_hits_weigh_as_many_as_they_are(cache: Cache, clock: FakeClock) -> None:
    """One hit in 1,024 is measured, the first among them; a thousand quick hits are not lost beside ten slow calls."""
    for number in range(10):
        await cache.get_or_set(f"k{number}", slow(clock, 1.0))
    for _ in range(1000):
        await cache.get("k1")
    stats = cache.stats()
    latency = stats.domains["general"].latency
    assert latency.count == 1010
    assert latency.p90 < 0.1
    assert latency.longest >= 1.0
    assert stats.layers["memory"].latency.count == 1


async def test_memory_measures_the_first_hit_of_each_domain() -> None:
    """What was never hit 1,024 times shows a latency all the same."""
    async with ToolCache(files=False) as cache:
        await cache.set("key", [1])
        await cache.set_metadata("tool", [1])
        assert cache.stats().layers["memory"].latency.count == 0
        for _ in range(2):
            await cache.get("key")
            await cache.get_metadata("tool")
        assert cache.stats().layers["memory"].latency.count == 2
        for _ in range(1023):
            await cache.get("key")
        assert cache.stats().layers["memory"].latency.count == 3


async def test_a_result_is_timed_too(clock: FakeClock) -> None:
    """The idempotency domain reads past memory; its reads are calls like others."""
    async with ToolCache(files=False, clock=clock) as cache:
        await cache.get_result(AgentTask("a", "t", {}, model="m"))
        assert cache.stats().domains["idempotency"].latency.count == 1


async def test_a_domain_tells_what_it_holds_in_memory() -> None:
    """Entries, bytes and evictions add up to memory's over the domains."""
    async with ToolCache(files=False, max_entries=10, strategy="lru") as cache:
        for number in range(8):
            await cache.set_metadata(f"tool{number}", number)
        for number in range(6):
            await cache.set(f"k{number}", "x" * 100)
        stats = cache.stats()
        general, metadata = stats.domains["general"], stats.domains["metadata"]
        assert (general.entries, metadata.entries) == (6, 4)
        assert (general.evictions, metadata.evictions) == (0, 4)
        assert general.bytes + metadata.bytes == stats.bytes
        assert general.bytes > 600
        assert stats.layers["memory"].writes == 14
        await cache.delete("k1")
        assert cache.stats().domains["general"].entries == 5
        await cache.clear()
        assert [(row.entries, row.bytes) for row in cache.stats().domains.values()] == [(0, 0)] * 2


async def test_memory_counts_what_it_takes_in(rig: Rig, cache: Cache) -> None:
    """Writes of memory: sets, computed values, and what was brought from a layer below; hits are none."""
    await cache.set_many({"a": 1, "b": 2})
    await cache.get_or_set("c", lambda: 3)
    assert cache.stats().layers["memory"].writes == 3
    for key in "abc":
        await cache.get(key)
    assert cache.stats().layers["memory"].writes == 3
    if rig.far:
        other = await rig.open()
        await other.get_many(["a", "b", "none"])
        assert other.stats().layers["memory"].writes == 2


@pytest.mark.parametrize("layering", ["memory+file"])
async def test_files_tell_what_they_hold_without_being_asked(cache: Cache) -> None:
    """Before the first use nothing is known; then entries and bytes are those of the directory, and nobody waits."""
    assert cache.stats().layers["file"].entries is None
    await cache.set_many({f"k{n}": bytes(1000) for n in range(5)})
    files = cache.stats().layers["file"]
    assert files.entries == 5
    assert files.bytes is not None
    assert files.bytes > 300
    assert files.evictions == 0
    store = cache._parts.files.store if cache._parts.files else None
    assert isinstance(store, ChaosStore)
    assert set(store.calls) <= {"put_many", "changes"}, "what follows the others may have begun"


@pytest.mark.parametrize("size", [None, 3, 7, 100])
async def test_a_text_of_a_batch_is_one_hit_or_one_miss(size: int | None) -> None:
    """However a batch is divided, each text counts once, in its domain and in memory."""
    texts = list("abcdefg")

    async def make(some: list[str]) -> list[list[float]]:
        return [[float(ord(text))] for text in some]

    async with ToolCache(files=False) as cache:
        for hits in (0, 7):
            await cache.get_embeddings(texts, "m", compute=make, batch_size=size)
            stats = cache.stats()
            domain, memory = stats.domains["embedding"], stats.layers["memory"]
            assert (domain.hits, domain.misses, domain.computed) == (hits, 7, 7)
            assert (memory.hits, memory.misses) == (hits, 7)
            assert domain.latency.count == hits + 7


@pytest.mark.parametrize("layering", ["memory+file", "memory+redis"])
@pytest.mark.parametrize("size", [None, 2])
async def test_what_a_batch_finds_below_memory_counts_once(rig: Rig, size: int | None) -> None:
    """A text found in a layer below is a hit of its domain and a miss of memory, once."""
    first, second = await rig.open(), await rig.open()
    await first.set_many({"a": [1.0], "b": [2.0], "c": [3.0]})
    texts = {key: key for key in "abcde"}
    found = await embed(second._machine, GENERAL, texts, lambda some: [[9.0]] * len(some), size)
    assert found == {"a": [1.0], "b": [2.0], "c": [3.0], "d": [9.0], "e": [9.0]}
    stats = second.stats()
    general = stats.domains["general"]
    assert (general.hits, general.misses, general.latency.count) == (3, 2, 5)
    assert (stats.layers["memory"].hits, stats.layers["memory"].misses) == (0, 5)


async def test_who_joins_a_computation_saves_what_it_takes(cache: Cache, clock: FakeClock) -> None:
    """A call that waits for the computation of another is a hit, and has saved its seconds as any hit has."""
    compute = slow(clock, 3.0)
    await asyncio.gather(*(cache.get_or_set("key", compute) for _ in range(5)))
    general = cache.stats().domains["general"]
    assert (general.hits, general.misses, general.computed) == (4, 1, 1)
    assert general.seconds_saved == pytest.approx(4 * 3.0, abs=0.5)
    assert general.latency.count == 5


async def test_who_joins_saves_even_where_the_value_is_not_kept(cache: Cache, clock: FakeClock) -> None:
    """A value that cannot be stored was still computed once for all who waited."""
    compute = slow(clock, 3.0, value=object())
    await asyncio.gather(*(cache.get_or_set("key", compute) for _ in range(2)))
    general = cache.stats().domains["general"]
    assert (general.hits, general.not_stored) == (1, 1)
    assert general.seconds_saved == pytest.approx(3.0, abs=0.5)


async def test_who_joins_a_batch_is_a_hit(clock: FakeClock) -> None:
    """Texts that another batch is embedding are hits, with the seconds and dollars that they save."""

    async def make(some: list[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        clock.advance(float(len(some)))
        return [[1.0]] * len(some)

    async with ToolCache(files=False, costs={"embedding": 0.5}, clock=clock) as cache:
        await asyncio.gather(
            cache.get_embeddings(["a", "b"], "m", compute=make), cache.get_embeddings(["b", "c"], "m", compute=make)
        )
        row = cache.stats().domains["embedding"]
    assert (row.hits, row.misses, row.computed) == (1, 3, 3)
    assert row.seconds_saved == pytest.approx(1.0, rel=0.5)
    assert row.dollars_saved == 0.5
    assert row.latency.count == 4


def test_a_sample_stands_for_the_whole() -> None:
    """Two histograms side by side: the quantiles are those of all, the sampled ones weighed."""
    calls, sample = Histogram(), Histogram()
    calls.add(1.0, 10)
    assert latency_of(calls.beside(sample, 500)) == latency_of(calls)
    sample.add(0.001, 2)
    sample.add(0.002)
    both = latency_of(calls.beside(sample, 93))
    assert (both.count, both.longest) == (103, 1.0)
    assert both.p50 == pytest.approx(0.001, rel=0.2)
    assert both.p90 == pytest.approx(0.002, rel=0.2)
    assert both.p99 == pytest.approx(1.0, rel=0.2)
    assert calls.count == 10


async def test_requests_that_run_once_are_counted_apart(cache: Cache) -> None:
    """Each counter of requests that run once comes out under its own name; a cache that saw none tells zeros."""
    names = [field.name for field in dataclasses.fields(DispatchStats)]
    assert names == [field.name for field in dataclasses.fields(DispatchTally)]
    assert set(dataclasses.asdict(cache.stats().dispatch).values()) == {0}
    tally = DispatchTally(**{name: number for number, name in enumerate(names, 1)})
    machine = cache._machine
    told = report.stats(machine.parts, machine.tallies, machine.memory_tally, machine.journal, tally)
    assert dataclasses.astuple(told.dispatch) == tuple(range(1, len(names) + 1))
    assert told.dollars_saved == 0


def test_a_replay_saves_what_its_run_took() -> None:
    """What runs spend and what replays save are two accounts, and a snapshot does not move on."""
    tally = DispatchTally()
    tally.spent(cost_usd=0.5, tokens=1000)
    before = DispatchStats(**vars(tally))
    for _ in range(2):
        tally.replayed(3.0, cost_usd=0.5, tokens=1000)
    after = DispatchStats(**vars(tally))
    assert (after.cost_usd, after.tokens) == (before.cost_usd, before.tokens) == (0.5, 1000)
    assert (after.replays, after.seconds_saved, after.cost_usd_saved, after.tokens_saved) == (2, 6.0, 1.0, 2000)
    assert (before.replays, before.seconds_saved) == (0, 0.0)
