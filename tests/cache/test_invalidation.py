"""Invalidation by tag: one epoch, whatever it covers, in every layer and for everybody."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from rig import Rig

from toolcache.cache import Cache
from toolcache.compute import Context
from toolcache.entry import MISSING
from toolcache.errors import CacheWriteError
from toolcache.tags import scopes
from toolcache.testing import FakeClock
from toolcache.versions import ZERO


async def settle(cache: Cache) -> None:
    """Until what was computed has been written."""
    await asyncio.gather(*cache._machine.homes.here()._tasks)


async def begun(runs: list[str], number: int) -> None:
    """Until that many computations have begun."""
    while len(runs) < number:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.001)


def redis(cache: Cache) -> Any:
    """What can be made to fail."""
    assert cache._parts.redis is not None
    return cache._parts.redis.store


async def readers(rig: Rig, cache: Cache) -> list[Cache]:
    """The cache itself, and a process with an empty memory, where there are layers below it."""
    return [cache, await rig.open()] if rig.far else [cache]


async def test_a_tag_covers_what_carries_it_and_nothing_else(rig: Rig, cache: Cache) -> None:
    """C12, BUG-39, BUG-35, BUG-42: exact names; a tag covers those beneath it; what is set afterwards stays."""
    tags = {
        "plain": [],
        "parent": ["products"],
        "child": ["news", "products:phones"],
        "leaf": ["products:phones:used"],
        "alike": ["productsOld"],
        "other": ["news:products"],
    }
    for key, given in tags.items():
        await cache.set(key, [key], tags=given)
    receipt = await cache.invalidate(tags=["products:phones"])
    assert (receipt.scope, receipt.memory) == ("tags", "done")
    assert receipt.redis == ("done" if rig.shared else None)
    for reader in await readers(rig, cache):
        assert list(await reader.get_many(tags)) == ["plain", "parent", "alike", "other"]
    await cache.set("leaf", ["again"], tags=["products:phones:used"])
    await cache.invalidate(tags=["products", "nobody's"])
    await cache.set("child", ["again"], tags=["products:phones"])
    for reader in await readers(rig, cache):
        assert await reader.get_many(tags) == {
            "plain": ["plain"],
            "child": ["again"],
            "alike": ["alike"],
            "other": ["other"],
        }


async def test_members_with_short_lives_do_not_shorten_what_a_tag_covers(
    rig: Rig, cache: Cache, clock: FakeClock
) -> None:
    """BUG-36: whatever has ended under the tag, the rest is found."""
    await cache.set("long", 1, ttl="7d", tags=["t"])
    await cache.set("short", 1, ttl="1s", tags=["t"])
    clock.advance(3_600)
    await cache.invalidate(tags=["t"])
    for reader in await readers(rig, cache):
        assert await reader.get_many(["long", "short"]) == {}


async def test_every_way_of_storing_carries_tags(rig: Rig, cache: Cache, counted: Callable[..., Any]) -> None:
    """C12: set_many, add, get_or_set, and the tags that a computation gives itself."""

    def compute(context: Context) -> list[int]:
        context.tags = ("t",)
        return [4]

    for _ in range(2):
        await cache.set_many({"many": [1]}, tags=["t"])
        assert await cache.add("added", [2], tags=["t"])
        assert await cache.get_or_set("computed", lambda: [3], tags=["t"]) == [3]
        assert await cache.get_or_set("own", compute) == [4]
        await settle(cache)
        for reader in await readers(rig, cache):
            assert len(await reader.get_many(["many", "added", "computed", "own"])) == 4
        await cache.invalidate(tags=["t"])
        for reader in await readers(rig, cache):
            assert await reader.get_many(["many", "added", "computed", "own"]) == {}


async def test_what_is_computed_meanwhile_is_not_stored(rig: Rig, cache: Cache) -> None:
    """BUG-35, SPEC 6, C11: those who waited get it; who comes after the invalidation starts anew; others are left alone."""
    gates = {key: asyncio.Event() for key in ("covered", "spared")}
    runs: list[str] = []

    async def compute(key: str) -> list[str]:
        runs.append(key)
        await gates[key].wait()
        return [key, str(len(runs))]

    async def ask(key: str, tag: str) -> Any:
        return await cache.get_or_set(key, lambda: compute(key), tags=[tag])

    first = [asyncio.create_task(ask(key, tag)) for key, tag in (("covered", "a:b"), ("spared", "c"))]
    await begun(runs, 2)
    await cache.invalidate(tags=["a"])
    late = [asyncio.create_task(ask(key, tag)) for key, tag in (("covered", "a:b"), ("spared", "c"))]
    await begun(runs, 3)
    assert sorted(runs) == ["covered", "covered", "spared"]
    await cache.invalidate(tags=["a"])
    for gate in gates.values():
        gate.set()
    results = await asyncio.gather(*first, *late)
    assert [result[0] for result in results] == ["covered", "spared"] * 2
    await settle(cache)
    for reader in await readers(rig, cache):
        assert list(await reader.get_many(["covered", "spared"])) == ["spared"]


@pytest.mark.parametrize("own", ["@d:search", "@a:faq:bot", "@c:v2"])
async def test_domains_agents_and_catalogs_are_tags_of_the_caches_own(
    rig: Rig, cache: Cache, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """C11, DECISIONS: an epoch of the same kind covers what carries one, as a whole and by its exact name."""
    monkeypatch.setattr("toolcache.machine.labels", tuple)  # no caller may give such a tag
    await cache.set("covered", 1, tags=["news", own])
    await cache.set("spared", 1, tags=["news", own + "x"])
    receipt = await cache._machine._invalidator.invalidate("own", [own], cache._parts.due())
    assert (receipt.scope, receipt.memory) == ("own", "done")
    for reader in await readers(rig, cache):
        assert await reader.get_many(["covered", "spared"]) == {"spared": 1}


async def test_a_tag_that_a_computation_gives_itself_counts_from_its_beginning(rig: Rig, cache: Cache) -> None:
    """SPEC 6: a computation that names the tag only when it has ended is older than what came meanwhile."""

    async def compute(context: Context) -> int:
        await cache.invalidate(tags=["t"])
        context.tags = ("t",)
        return 1

    assert await cache.get_or_set("key", compute) == 1
    await settle(cache)
    for reader in await readers(rig, cache):
        assert await reader.get("key", MISSING) is MISSING


async def test_results_carry_tags(rig: Rig, cache: Cache) -> None:
    """DECISIONS, flights: results are fenced by tag as well."""
    from toolcache.domains import IDEMPOTENCY

    for output in (1, 2):
        await cache._requests.put("task", output, IDEMPOTENCY, fingerprint="f" * 64, tags=["t"])
        assert await cache._requests.get("task", IDEMPOTENCY) == output
        await cache.invalidate(tags=["t"])
        for reader in await readers(rig, cache):
            assert await reader._requests.get("task", IDEMPOTENCY) is MISSING


@pytest.mark.parametrize("tags", ["news", ["@d:search"], [""], ["a" * 200], [7], []])
async def test_what_is_no_list_of_tags_is_refused(cache: Cache, tags: Any) -> None:
    """A text is not taken for its letters, what is the cache's own is not open to callers, and nothing is nothing."""
    await cache.set("key", 1, tags=["n"])
    with pytest.raises(ValueError, match="tag"):
        await cache.invalidate(tags=tags)
    assert await cache.get("key") == 1


async def test_epochs_do_not_pile_up_in_memory(rig: Rig, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-37: a process remembers a bounded number; what may be beneath a forgotten one is not served from memory."""
    monkeypatch.setattr("toolcache.epochs.REMEMBERED", 10)
    for key, tag in (("covered", "t"), ("spared", "u")):
        await cache.set(key, [key], tags=[tag])
    await cache.invalidate(tags=["t"])
    for number in range(100):
        await cache.invalidate(tags=[f"user:{number}"])
        assert await cache.get("spared") == ["spared"]
    epochs = cache._machine._epochs
    assert len(epochs._versions) + len(epochs._older) <= 22
    assert epochs.of(epochs.name("t")) == ZERO
    for reader in await readers(rig, cache):
        assert await reader.get_many(["covered", "spared"]) == {"spared": ["spared"]}


async def test_a_clock_that_lags_does_not_write_beneath_an_epoch(rig: Rig, clock: FakeClock) -> None:
    """SPEC 5.3, OR-17: who knows of an epoch writes above it, also within the 50 ms by which it is ahead."""
    cache = await rig.open()
    await cache.invalidate(tags=["t"])
    await cache.set("key", 1, tags=["t:u"])
    for reader in await readers(rig, cache):
        assert await reader.get("key") == 1


async def told(cache: Cache) -> None:
    """Redis knows what it missed; another cache of the host may be the one that is telling it."""
    journal = cache._machine.journal
    async with asyncio.timeout(20):
        while True:  # on a busy machine a try may end before Redis has answered, and here no time passes until the next
            await journal.replay()
            if not (journal.pending or journal._is_another()):
                return
            await asyncio.sleep(0.01)


class TestInAnOutage:
    """Redis, files, and several processes: each its own memory and breakers."""

    @pytest.fixture(params=["memory+redis+file"])
    def layering(self, request: pytest.FixtureRequest) -> str:
        """Redis may fail, files hold on."""
        return str(request.param)

    async def test_an_invalidation_that_redis_missed(self, rig: Rig, clock: FakeClock) -> None:
        """OR-10, G3: it holds at once on this host, in every process of it, and everywhere once Redis was told."""
        one, two = await rig.open(), await rig.open()
        for key in ("a", "b"):
            await one.set(key, key, tags=["t"] if key == "a" else ["u"])
        redis(one).fail_with(ConnectionError("away"))
        receipt = await one.invalidate(tags=["t"])
        assert (receipt.redis, receipt.files) == ("queued", "done")
        redis(one).heal()
        assert await one.get_many(["a", "b"]) == {"b": "b"}
        assert await two.get_many(["a", "b"]) == {"b": "b"}
        clock.advance(10)
        await told(one)
        elsewhere = Cache(rig.parts(files=None))
        async with elsewhere:
            assert await elsewhere.get_many(["a", "b"]) == {"b": "b"}

    async def test_redis_forgets_and_is_told_again(self, rig: Rig, clock: FakeClock) -> None:
        """SPEC 5.4: an epoch outlives a Redis that comes back empty, for those who write old values then."""
        one = await rig.open()
        await one.set("a", 1, tags=["t"])
        blobs = await redis(one).get_many([one._machine._entries.name("a")])
        await one.invalidate(tags=["t"])
        assert rig.server is not None
        rig.server.command("FLUSHALL")
        one._machine.journal.flushed()
        await told(one)
        name = one._machine._entries.name("a")
        rig.server.command("SET", name, blobs[0])
        elsewhere = Cache(rig.parts(files=None))
        async with elsewhere:
            assert await elsewhere.get("a", MISSING) is MISSING


class TestOverRedis:
    """What it costs, and when nobody can be told."""

    @pytest.fixture(params=["memory+redis"])
    def layering(self, request: pytest.FixtureRequest) -> str:
        """Redis alone."""
        return str(request.param)

    async def test_it_costs_the_same_however_much_it_covers(self, rig: Rig) -> None:
        """BUG-35, C11, A10: one write, and no search for members, with ten of them and with a thousand."""
        cache = await rig.open()
        assert rig.server is not None
        costs = []
        for members in (10, 1_000):
            await cache.set_many({f"key:{at}": at for at in range(members)}, tags=["t"])
            rig.server.command("CONFIG", "RESETSTAT")
            await cache.invalidate(tags=["t"])
            calls = rig.server.command("INFO", "commandstats").decode().splitlines()
            costs.append(sorted(line.split(":calls=")[0] for line in calls if line.startswith("cmdstat")))
            counted = [
                int(line.split("calls=")[1].split(",")[0]) for line in calls if line.startswith("cmdstat_evalsha")
            ]
            assert counted == [1]
        assert costs[0] == costs[1]

    async def test_it_is_raised_when_nobody_was_told(self, rig: Rig) -> None:
        """DECISIONS: Redis may still hold the values, and nothing durable says otherwise."""
        cache = await rig.open()
        await cache.set("key", 1, tags=["t"])
        redis(cache).fail_with(ConnectionError("away"))
        with pytest.raises(CacheWriteError):
            await cache.invalidate(tags=["t"])
        assert await cache.get("key", MISSING) is MISSING


def test_scopes() -> None:
    """C12: each level of a tag; the cache's own are whole; what a result answers is no scope."""
    assert scopes(["a:b:c", "a:d", "@a:one:two"]) == ("a", "a:b", "a:b:c", "a:d", "@a:one:two")


@pytest.mark.parametrize("write", ["set", "delete"])
async def test_a_write_overtakes_what_nobody_joins_since_a_clear(rig: Rig, cache: Cache, write: str) -> None:
    """A clear finds a flight that has not computed yet: a later write of the key ends it as any other."""
    go, runs = asyncio.Event(), []

    async def compute() -> str:
        runs.append("old")
        await go.wait()
        return "old"

    waiter = asyncio.create_task(cache.get_or_set("key", compute, lock=False))
    await asyncio.sleep(0)
    await cache.clear()
    await begun(runs, 1)
    await (cache.set("key", "new") if write == "set" else cache.delete("key"))
    go.set()
    assert await waiter == "old"
    expected = "new" if write == "set" else None
    assert await cache.get("key") == expected
    await settle(cache)
    assert await cache.get("key") == expected
