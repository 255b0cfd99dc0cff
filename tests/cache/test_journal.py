"""What Redis missed is told to it: in order, once, by one process, whatever interrupts it."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hosts import back, elsewhere, out, redis, replay
from redis import exceptions as replies
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache.cache import Cache
from toolcache.domains import IDEMPOTENCY
from toolcache.entry import MISSING, Durability
from toolcache.events import JournalReplayed

DAY = 86_400.0


@pytest.fixture
async def rig(clock: SteadyClock, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Rig]:
    """Caches over Redis and files that replay when they are told to, with a server to mistreat."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", own_redis, replays=False)
    yield rig
    await rig.aclose()


@pytest.fixture
async def alive(clock: SteadyClock, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Rig]:
    """Such that replay by themselves."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", own_redis)
    yield rig
    await rig.aclose()


async def test_a_disk_that_cannot_be_asked_does_not_bring_old_values_back(rig: Rig) -> None:
    """I3, I4, OR-05: Redis is back and has not been told, and the files' breaker is open: a miss, not what was before."""
    cache = await rig.open()
    await cache.set_many({"set": "old", "deleted": "old"})
    out(cache)
    assert await cache.set("set", "new") is Durability.FILE
    await cache.delete("deleted")
    await back(rig, cache)
    files = cache._parts.files
    assert files is not None
    files.guard.breaker.force_open()
    cache._parts.memory.clear()
    assert await cache.get_many(["set", "deleted"]) == {}
    files.guard.breaker.reset()
    assert await cache.get_many(["set", "deleted"]) == {"set": "new"}


async def test_what_was_written_in_an_outage_reaches_the_other_hosts(rig: Rig, tmp_path: Path) -> None:
    """G2, OR-05: a value, a delete and a result; after it nothing is pending, and the overlay answers no more."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    await here.set("deleted", "old")
    out(here)
    assert await here.set("key", "value") is Durability.FILE
    await here.delete("deleted")
    await here._requests.put("job", {"answer": 42}, IDEMPOTENCY, fingerprint="f")
    assert here._machine.journal.pending == 3
    assert here._machine.journal.oldest() == pytest.approx(rig.clock.time(), abs=1)
    assert await there.get("deleted") == "old"
    await back(rig, here)
    await replay(rig, here)
    assert here._machine.journal.pending == 0
    assert here._machine.journal.oldest() is None
    assert await there.get("key") == "value"
    assert await there.get("deleted", MISSING) is MISSING
    assert await there._requests.get("job", IDEMPOTENCY) == {"answer": 42}
    told = rig.recorder.of(JournalReplayed)
    assert sum(event.replayed for event in told) == 3
    assert told[-1].pending == 0


async def test_a_clear_in_an_outage_reaches_the_other_hosts(rig: Rig, tmp_path: Path) -> None:
    """G3: what lay beneath it is gone there too, once it has been told."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    await here.set("key", "old")
    out(here)
    assert (await here.clear()).redis == "queued"
    await back(rig, here)
    await replay(rig, here)
    assert await there.get("key", MISSING) is MISSING


async def test_deletes_and_clears_go_before_results_and_values(rig: Rig) -> None:
    """SPEC 5.4: so that what is gone is gone before anything else comes."""
    cache = await rig.open()
    out(cache)
    await cache.set("value", 1)
    await cache._requests.put("job", 2, IDEMPOTENCY, fingerprint="f")
    await cache.delete("deleted")
    await cache.clear()
    await cache.set("later", 3)
    await back(rig, cache)
    store = cache._parts.files.store if cache._parts.files else None
    (handles,) = await store.owed()  # type: ignore[union-attr]  # the log's
    keys = [debt.key for debt in await store.debts(handles)]  # type: ignore[union-attr]  # the log's
    assert [key.split(":")[1] for key in keys] == ["v", "e", "i", "v", "v"]
    assert keys[0].endswith("deleted")
    assert [key.rsplit(":", 1)[1] for key in keys[3:]] == ["value", "later"]


async def test_a_newer_value_is_not_overwritten(rig: Rig, tmp_path: Path) -> None:
    """I5, OR-03: a replay never bumps: what another host wrote since stands, here too."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    out(here)
    await here.set("key", "older")
    rig.clock.advance(1)
    await there.set("key", "newer")
    await back(rig, here)
    await replay(rig, here)
    assert here._machine.journal.pending == 0
    assert here._machine.journal.dropped == 1
    assert await there.get("key") == "newer"
    assert await here.get("key") == "newer"


async def test_one_that_redis_will_not_have_blocks_nobody(rig: Rig, own_redis: RedisServer, tmp_path: Path) -> None:
    """SPEC 5.4: something foreign holds its key; it stays owed, and answers here; the others are told."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    out(here)
    await here.set("bad", 1)
    await here.set("good", 2)
    own_redis.command("RPUSH", "tc1:v:test:bad", "theirs")
    await back(rig, here)
    await replay(rig, here)
    assert await there.get("good") == 2
    assert here._machine.journal.pending == 1
    assert await here.get("bad") == 1


async def test_a_redis_that_refuses_one_write_takes_the_others(rig: Rig, tmp_path: Path) -> None:
    """SPEC 5.4: a batch that fails as a whole goes one by one."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    out(here)
    for number in range(3):
        await here.set(f"key{number}", number)
    await back(rig, here)
    redis(here).fail_with(replies.ResponseError("strange"), on=["put_many"], every=3)
    await redis(here).get_many(["warm"])
    await replay(rig, here)
    redis(here).heal()
    await replay(rig, here)
    assert here._machine.journal.pending == 0
    assert [await there.get(f"key{number}") for number in range(3)] == [0, 1, 2]


async def test_old_values_are_dropped_and_old_deletes_are_not(rig: Rig, tmp_path: Path) -> None:
    """DECISIONS, journal_max_age: a value that nobody could know of for a day is not believed any more; nor does what it
    replaced come back, there or where a value has ended.
    """  # noqa: D205 - one sentence
    here, there = await rig.open(journal_max_age=DAY, tombstone_ttl=10 * DAY), await elsewhere(rig, tmp_path)
    await there.set_many({"deleted": "old", "key": "old", "short": "old"}, ttl=None)
    rig.clock.advance(1)
    out(here)
    await here.set("key", "value", ttl=None)
    await here.set("short", "value", ttl=60)
    await here.delete("deleted")
    rig.clock.advance(DAY + 60)
    await back(rig, here)
    await replay(rig, here)
    assert here._machine.journal.pending == 0
    assert (here._machine.journal.replayed, here._machine.journal.dropped) == (1, 2)
    for key in ("key", "short", "deleted"):
        assert await there.get(key, MISSING) is MISSING
        assert await here.get(key, MISSING) is MISSING


async def test_one_process_of_a_host_replays(rig: Rig) -> None:
    """SPEC 5.4: the one that has the turn; another leaves it to it, and has it next."""
    one, two = await rig.open(), await rig.open()
    out(one)
    await one.set("key", 1)
    await back(rig, one)
    turn = await two._parts.files.store.take_turn()  # type: ignore[union-attr]  # the log's
    await replay(rig, one, two)
    assert one._machine.journal.pending == 1
    turn.close()
    await replay(rig, one, two)
    assert one._machine.journal.pending == 0
    assert one._machine.journal.replayed + two._machine.journal.replayed == 1


async def test_what_a_dead_process_left_is_replayed_by_the_next(rig: Rig, tmp_path: Path) -> None:
    """G2: at its start, without a call that asks for it."""
    first = await rig.open()
    out(first)
    await first.set("key", "value")
    await first.aclose()
    rig.clock.advance(5)
    await replay(rig, await rig.open())
    there = await elsewhere(rig, tmp_path)
    assert await there.get("key") == "value"


async def test_it_happens_by_itself(alive: Rig, tmp_path: Path) -> None:
    """SPEC 5.4: a task of the cache's own, from the first call on, until the cache is closed."""
    rig = alive
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    out(here)
    await here.set("key", "value")
    await back(rig, here)
    while here._machine.journal.pending:
        rig.clock.advance(0.5)
        await asyncio.sleep(0.001)
    assert await there.get("key") == "value"


def rests_long(cache: Cache) -> None:
    """The breakers wait a minute each time."""
    assert cache._parts.redis is not None
    guard = cache._parts.redis.guard
    for breaker in (guard.breaker, guard.write_breaker):
        assert breaker is not None
        breaker._first = breaker._wait = breaker._longest = 60.0


def tried(cache: Cache) -> int:
    """How often a breaker of a Redis that is away has opened: once for each time that it was tried."""
    assert cache._parts.redis is not None
    guard = cache._parts.redis.guard
    assert guard.write_breaker is not None
    return guard.breaker.stats().openings + guard.write_breaker.stats().openings


async def test_who_is_owed_something_is_tried_before_the_rest_is_over(rig: Rig, tmp_path: Path) -> None:
    """DECISIONS: after a long outage Redis is told within 5 s of its return, however long its breaker would rest."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    rests_long(here)
    await here.set("deleted", "old")
    out(here)
    for number in range(10):
        await here.set(f"key {number}", number)
    await here.delete("deleted")
    await replay(rig, here)  # in vain
    redis(here).heal()
    rig.clock.advance(3.0)
    await replay(rig, here)
    assert here._machine.journal.pending == 0
    assert [await there.get(f"key {number}") for number in range(10)] == list(range(10))
    assert await there.get("deleted", MISSING) is MISSING


async def test_a_redis_that_rests_is_not_tried_all_the_time(rig: Rig, tmp_path: Path) -> None:
    """While it is away, one write in three seconds feels whether it is back; nobody does where nothing is owed."""
    owing, paid = await rig.open(), await elsewhere(rig, tmp_path)
    for cache in (owing, paid):
        rests_long(cache)
        await cache.set("key", "value")
        out(cache)
    for number in range(10):
        await owing.set(f"key {number}", number)
        await paid.get(f"key {number}")
    before = tried(owing), tried(paid)
    for _ in range(30):
        await replay(rig, owing, paid)
        rig.clock.advance(0.95)
    assert 8 <= tried(owing) - before[0] <= 12
    assert tried(paid) == before[1]


async def test_where_one_process_has_told_redis_the_others_rest_no_more(rig: Rig) -> None:
    """That another process of the host has paid what was owed is word that Redis is back."""
    one, other = await rig.open(), await rig.open()
    for cache in (one, other):
        rests_long(cache)
        await cache.set("key", "value")
        out(cache)
        for number in range(10):
            await cache.set(f"key {number}", number)
    await replay(rig, one, other)  # in vain
    redis(one).heal()
    redis(other).heal()
    rig.clock.advance(3.0)
    await replay(rig, one)
    assert await other.set("key", "old") is Durability.FILE
    await replay(rig, one)
    await replay(rig, other)
    assert await other.set("key", "new") is Durability.REDIS


async def test_who_is_denied_access_is_not_tried_before_its_time(rig: Rig) -> None:
    """Another wrong password in every three seconds would help nobody."""
    cache = await rig.open()
    rests_long(cache)
    await cache.set("key", "old")
    redis(cache).fail_with(replies.AuthenticationError)
    assert await cache.set("key", "new") is Durability.FILE
    before = redis(cache).calls["put_many"]
    redis(cache).heal()
    for _ in range(10):
        await replay(rig, cache)
        rig.clock.advance(1)
    assert redis(cache).calls["put_many"] == before
    assert cache._machine.journal.pending == 1


@pytest.mark.parametrize("interrupted", range(1, 8))
async def test_interrupted_anywhere_it_can_be_begun_anew(rig: Rig, tmp_path: Path, interrupted: int) -> None:
    """SPEC 5.4: whatever fails, on either side, the end is the same."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    out(here)
    for number in range(5):
        await here.set(f"key{number}", number)
    await here.delete("key4")
    await back(rig, here)
    files: Any = here._parts.files.store if here._parts.files else None
    files.fail_with(lambda: OSError(errno.EIO, "i/o error"), every=interrupted)
    redis(here).fail_with(ConnectionResetError, on=["put_many"], every=interrupted, applied=True)
    await replay(rig, here)
    files.heal()
    await back(rig, here)
    await replay(rig, here)
    assert here._machine.journal.pending == 0
    assert [await there.get(f"key{number}") for number in range(5)] == [0, 1, 2, 3, None]


async def test_a_redis_that_comes_back_empty_is_told_of_deletes_and_results(
    rig: Rig, own_redis: RedisServer, tmp_path: Path
) -> None:
    """SPEC 5.3, OR-07: so that what another host is late with, or still has, does not bring back what was deleted."""
    here, late = await rig.open(), await elsewhere(rig, tmp_path)
    out(late)
    await late.set("key", "of the outage")
    rig.clock.advance(1)
    await here.delete("key")
    await here._requests.put("job", "answer", IDEMPOTENCY, fingerprint="f")
    await replay(rig, here)
    own_redis.restart()
    await back(rig, here, late)
    assert await here.get("key", MISSING) is MISSING
    await replay(rig, here)
    await replay(rig, late)
    assert await late.get("key", MISSING) is MISSING
    assert await here.get("key", MISSING) is MISSING
    third = await rig.open(directory=tmp_path / "third")
    assert await third._requests.get("job", IDEMPOTENCY) == "answer"


async def test_a_redis_that_comes_back_full_is_told_of_deletes_once_it_takes_them(
    rig: Rig, own_redis: RedisServer, tmp_path: Path
) -> None:
    """SPEC 5.3, R-OOM: what another server has refused to hear is not taken for told, however little it is."""
    here, there = await rig.open(), await elsewhere(rig, tmp_path)
    await here.set("key", "old")
    old = own_redis.command("DUMP", here._machine._entries.name("key"))
    await here.delete("key")
    await replay(rig, here)
    own_redis.restart()
    own_redis.command("RESTORE", here._machine._entries.name("key"), "0", old)
    await back(rig, here, there)
    assert await there.get("key") == "old"
    redis(here).fail_with(lambda: replies.OutOfMemoryError("command not allowed"), on=["put_many"])
    await here.get("anything")
    await replay(rig, here)
    await back(rig, here, there)
    await replay(rig, here)
    assert await there.get("key", MISSING) is MISSING


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_redis_took_while_the_disk_was_full_is_not_undone(
    rig: Rig, own_redis: RedisServer, tmp_path: Path, deleted: bool
) -> None:
    """F-28: what is owed on a disk that takes no mark answers no more, and is told to nobody, when Redis loses the rest."""
    cache, there = await rig.open(), await elsewhere(rig, tmp_path)
    files: Any = cache._parts.files.store if cache._parts.files else None
    out(cache)
    assert await cache.set("key", "old") is Durability.FILE
    await back(rig, cache)
    files.fail_with(lambda: OSError(errno.ENOSPC, "no space left on device"), on=["put_many", "settle"])
    if deleted:
        await cache.delete("key")
    else:
        assert await cache.set("key", "new") is Durability.REDIS
    cache._parts.memory.clear()
    out(cache)
    assert await cache.get("key", MISSING) is MISSING
    own_redis.command("FLUSHALL")
    files.heal()
    await back(rig, cache)
    await replay(rig, cache)
    assert await cache.get("key", MISSING) is MISSING
    assert await there.get("key", MISSING) is MISSING
    assert cache._machine.journal.pending == 0


@pytest.mark.parametrize("computed", [False, True])
async def test_a_write_that_comes_late_to_the_disk_is_not_owed_if_redis_took_a_later_one(
    rig: Rig, own_redis: RedisServer, tmp_path: Path, computed: bool
) -> None:
    """F-28: the order of versions counts, not that of arrivals; and so when Redis loses the later one."""
    cache, there = await rig.open(), await elsewhere(rig, tmp_path)
    files: Any = cache._parts.files.store if cache._parts.files else None
    await cache.set("other", "value")
    out(cache)
    files.hang()
    first: asyncio.Future[Any]
    if computed:
        cache._parts.files.guard.timeout = 0.5  # type: ignore[union-attr]  # what is missing is looked for there first
        assert await cache.get_or_set("key", lambda: "old") == "old"
        first = asyncio.gather(*cache._machine.homes.here()._tasks)
    else:
        first = asyncio.ensure_future(cache.set("key", "old"))
    while not files.calls["put_many"]:  # noqa: ASYNC110 - a plain counter
        await asyncio.sleep(0)
    await back(rig, cache)
    assert await cache.set("key", "new") is Durability.REDIS
    files.heal()
    await first
    cache._parts.memory.clear()
    out(cache)
    assert await cache.get("key", MISSING) is MISSING
    own_redis.command("FLUSHALL")
    await back(rig, cache)
    await replay(rig, cache)
    assert await cache.get("key", MISSING) is MISSING
    assert await there.get("key", MISSING) is MISSING
    assert cache._machine.journal.pending == 0


async def test_health_and_statistics_tell(rig: Rig) -> None:
    """SPEC 15: how much is pending, since when, and how much has been replayed."""
    cache = await rig.open()
    assert ((await cache.health()).pending, (await cache.health()).oldest_pending_at) == (0, None)
    out(cache)
    await cache.set("key", 1)
    written_at = rig.clock.time()
    health = await cache.health()
    assert health.pending == 1
    assert health.oldest_pending_at == pytest.approx(written_at, abs=1)
    assert cache.stats().pending == 1
    await back(rig, cache)
    await replay(rig, cache)
    assert (cache.stats().pending, cache.stats().replayed) == (0, 1)
