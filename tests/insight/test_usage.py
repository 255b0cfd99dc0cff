"""What takes room, what is asked for most, what is old: as it is, in the order that is said."""

import pytest
from rig import Rig

from toolcache import Domain, ToolCache
from toolcache.cache import Cache
from toolcache.testing import FakeClock

PAID = Domain[str]("paid", ttl="1h", key=("name",), cost_usd=0.5)


@pytest.mark.parametrize("layering", ["memory"])
class TestMemory:
    async def test_usage_adds_up(self, cache: Cache) -> None:
        """Used and available are the whole; domains are its parts; the largest come first, as many as asked for."""
        for number in range(30):
            await cache.set(f"key {number}", "x" * (10 * number))
        usage = await cache.memory_usage(largest=3)
        assert usage.used == cache._parts.memory.bytes == sum(part.bytes for part in usage.domains.values())
        assert usage.used + usage.available == usage.max_bytes
        assert usage.entries == 30 == usage.domains["general"].entries
        assert [one.key for one in usage.largest_entries] == ["key 29", "key 28", "key 27"]
        assert usage.largest_entries[0].size >= 290

    async def test_top_by_hits_and_bytes(self, cache: Cache) -> None:
        """By hits, what was never hit is left out; by bytes, all have some."""
        await cache.set_many({"none": 1, "once": 2, "thrice": 3, "large": "x" * 500})
        for key in ("once", "thrice", "thrice", "thrice"):
            await cache.get(key)
        assert [(one.key, one.hits) for one in await cache.top()] == [("thrice", 3), ("once", 1)]
        assert [one.key for one in await cache.top(1, by="bytes")] == ["large"]
        assert len(await cache.top(10, by="bytes")) == 4

    async def test_wrong_numbers_and_measures_are_refused(self, cache: Cache) -> None:
        """The measures that there are, and the nearest, are told."""
        with pytest.raises(ValueError, match=r"by is one of hits, bytes, dollars.*did you mean 'dollars'"):
            await cache.top(by="dolars")  # type: ignore[arg-type]  # what a user may write
        for number in (0, -1, True, 10_001):
            await cache.set("key", 1)
            with pytest.raises(ValueError, match="whole number from 1 to 10,000"):
                await cache.top(number, by="bytes")
            with pytest.raises(ValueError, match="whole number from 1 to 10,000"):
                await cache.find_stale("1ms", limit=number, layers=True)

    async def test_what_has_ended_is_not_told(self, cache: Cache, clock: FakeClock) -> None:
        """Neither as large nor as stale: it is no more."""
        await cache.set("short", 1, ttl=10)
        await cache.set("long", 1, ttl=1000)
        clock.advance(100)
        assert [one.key for one in await cache.find_stale(50)] == ["long"]
        assert [one.key for one in await cache.top(by="bytes")] == ["long"]


async def test_top_by_dollars(clock: FakeClock) -> None:
    """Hits times what computing costs: as the domain says, else what computations told on the average."""
    async with ToolCache(files=False, clock=clock) as cache:
        await cache[PAID].set("value", name="a")
        for _ in range(3):
            await cache[PAID].get(name="a")

        async def told(context: "object") -> int:
            context.cost_usd = 4.0  # type: ignore[attr-defined]  # a Context
            return 1

        for _ in range(3):
            await cache.get_or_set("told", told)
        best = await cache.top(by="dollars")
        assert [(one.domain, one.dollars) for one in best] == [(None, 8.0), ("paid", 1.5)]


async def test_stale_entries_by_age_domain_and_agent(clock: FakeClock) -> None:
    """D7: what is older than so long, the oldest first; of one domain or agent alone where that is asked for."""
    async with ToolCache(files=False, clock=clock) as cache:
        await cache.set("oldest", 1, ttl=None)
        clock.advance(100)
        await cache[PAID].set("value", name="a")
        await cache.for_agent("faq").set("of an agent", 1, ttl=None)
        clock.advance(50)
        await cache.set("new", 1, ttl=None)
        stale = await cache.find_stale(40)
        assert [round(one.age) for one in stale] == [150, 50, 50]
        assert stale[0].key == "oldest"
        assert [one.key for one in await cache.find_stale(40, limit=1)] == ["oldest"]
        assert [one.domain for one in await cache.find_stale(40, domain=PAID)] == ["paid"]
        assert len(await cache.find_stale(40, domain="general")) == 2
        assert len(await cache.find_stale(40, agent="faq")) == 1
        assert await cache.find_stale(40, agent="other") == ()
        assert await cache.find_stale("1d") == ()


async def test_stale_entries_of_every_layer(rig: Rig, layering: str, clock: FakeClock) -> None:
    """D7: with ``layers`` what Redis and files hold is told, which this process has never seen; without, it is not."""
    if layering == "memory":
        return
    async with await rig.open() as other:
        await other.set_many({"a": 1, "b": 2}, ttl=None)
        clock.advance(100)
        await other.set("c", 3, ttl=None)
    cache = await rig.open()
    clock.advance(10)
    assert await cache.find_stale(50) == ()
    stale = await cache.find_stale(50, layers=True)
    assert sorted(one.key for one in stale) == ["a", "b"]
    assert {one.layer for one in stale} == {"redis" if rig.shared else "file"}
    assert len(await cache.find_stale(5, layers=True)) == 3
    assert len(await cache.find_stale(5, layers=True, limit=2)) == 2
