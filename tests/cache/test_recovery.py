"""After an outage, and after a Redis that has lost what it had: what was acknowledged counts, what was deleted is gone."""

import asyncio
import errno
import os
import shutil
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hosts import back, elsewhere, files, out, redis, replay, until_told
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache.blob import RECORD, read_header
from toolcache.cache import Cache
from toolcache.domains import IDEMPOTENCY
from toolcache.entry import MISSING, Durability
from toolcache.events import JournalReplayed
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.protocols import Write
from toolcache.testing import FakeClock
from toolcache.testing.stores import blob_of
from toolcache.versions import HybridClock

DAY = 86_400.0
MIRROR: dict[str, Any] = {"mirror": frozenset({"general"})}


async def commit(cache: Cache, output: Any) -> Durability:
    """Store the output of the one job."""
    return await cache._requests.put("job", output, IDEMPOTENCY, fingerprint="f")


async def result(cache: Cache) -> Any:
    """The output of the one job."""
    return await cache._requests.get("job", IDEMPOTENCY)


def restored(server: RedisServer, snapshot: Path) -> None:
    """The server is started again with what it once saved."""
    server.stop()
    shutil.copy(snapshot, server.directory / "dump.rdb")
    server.start()


def saved(server: RedisServer) -> Path:
    """What the server holds now, kept."""
    server.command("SAVE")
    return Path(shutil.copy(server.directory / "dump.rdb", server.directory / "kept.rdb"))


# -- what was written while Redis was away ------------------------------------------------------------------------------


async def test_a_value_that_ends_before_the_recovery_is_not_told(hosts: Rig, own_redis: RedisServer) -> None:
    """OR-15, BUG-60: no server and no host ever holds it; it is counted as dropped."""
    cache = await hosts.open()
    out(cache)
    await cache.set("key", "value", ttl=30)
    hosts.clock.advance(31)
    await until_told(hosts, cache)
    held = own_redis.command("GET", "tc1:v:test:key")
    header = None if held is None else read_header(held)
    assert held is None or (header is not None and header.is_tombstone)
    assert (cache._machine.journal.replayed, cache._machine.journal.dropped) == (0, 1)
    assert await cache.get("key", MISSING) is MISSING


async def test_an_ended_value_that_was_compacted_still_hides_what_it_replaced(hosts: Rig) -> None:
    """BUG-61, I4: Redis is owed it until it has been told; without it the older value, which has no end, would be back."""
    cache = await hosts.open()
    await cache.set("key", "old", ttl=None)
    hosts.clock.advance(1)
    out(cache)
    await cache.set("key", "newer", ttl=30)
    hosts.clock.advance(3700)
    await cache.set("other", "begins a new segment")
    await files(cache).compact()
    assert cache._machine.journal.pending == 2
    await until_told(hosts, cache)
    assert await cache.get("key", MISSING) is MISSING


@pytest.mark.parametrize("early", [True, False])
async def test_the_age_at_which_values_are_not_told_any_more(hosts: Rig, tmp_path: Path, early: bool) -> None:
    """DECISIONS, journal_max_age: to the millisecond; a delete is told however old, also one whose tombstone has ended."""
    here, there = await hosts.open(journal_max_age=DAY), await elsewhere(hosts, tmp_path)
    await there.set_many({"key": "old", "deleted": "old"}, ttl=None)
    hosts.clock.advance(1)
    out(here)
    await here.set("key", "new", ttl=None)
    await here.delete("deleted")
    redis(here).heal()
    version = files(here).pending("tc1:v:test:key")
    age = hosts.clock.time() - int.from_bytes(version[:6], "big") / 1000
    hosts.clock.advance(DAY - age - 0.001 if early else DAY - age + 0.001)
    here._machine.journal._clock = hosts.clock
    await here._machine.journal.replay()
    assert here._machine.journal.pending == 0
    assert await there.get("key", MISSING) == ("new" if early else MISSING)
    assert await there.get("deleted", MISSING) is MISSING
    out(here)
    await there.set("late", "old", ttl=None)
    hosts.clock.advance(1)
    await here.delete("late")
    hosts.clock.advance(3 * DAY)
    await until_told(hosts, here)
    assert await there.get("late", MISSING) is MISSING


async def test_a_clear_in_an_outage_takes_what_is_older_and_leaves_what_is_newer(hosts: Rig, tmp_path: Path) -> None:
    """BUG-08, BUG-59: in Redis and among what it is owed; on both hosts, and again when Redis comes back empty."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    await there.set_many(dict.fromkeys(["before", "both"], "old"), ttl=None)
    hosts.clock.advance(1)
    out(here)
    await here.set_many(dict.fromkeys(["owed", "both"], "owed"), ttl=None)
    hosts.clock.advance(1)
    await here.clear()
    await here.set("both", "new", ttl=None)
    other = await hosts.open()
    out(other)
    hosts.clock.advance(1)
    await other.set("after", "new", ttl=None)
    expected = {"both": "new", "after": "new"}
    names = ["before", "owed", "both", "after"]
    assert await here.get_many(names) == await other.get_many(names) == expected
    await until_told(hosts, here, other)
    hosts.clock.advance(6)
    for cache in (here, other, there, await hosts.open()):
        assert await cache.get_many(names) == expected
    assert hosts.server is not None
    hosts.server.restart()
    hosts.clock.advance(61)
    assert await here.get("probe") is None
    await replay(hosts, here)
    late = await hosts.open(directory=tmp_path / "third")
    assert await late.get_many(names) == {}


@pytest.mark.parametrize("how", ["clear", "forget", "clear elsewhere"])
async def test_a_result_after_a_clear_or_a_forget_reaches_the_other_hosts(hosts: Rig, tmp_path: Path, how: str) -> None:
    """I5, LR-14: acknowledged in an outage, while Redis still holds the one that had been forgotten."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    await commit(there, "first")
    if how == "forget":
        assert await result(here) == "first"
    hosts.clock.advance(1)
    out(here)
    if how == "forget":
        await here._requests.forget("job", IDEMPOTENCY)
    else:
        await (here if how == "clear" else there).clear()
    hosts.clock.advance(1)
    assert await commit(here, "second") is Durability.FILE
    await until_told(hosts, here)
    third = await hosts.open(directory=tmp_path / "third")
    assert await result(third) == "second"
    assert await result(here) == "second"


async def test_of_two_results_the_first_commit_stays_in_redis(hosts: Rig, tmp_path: Path) -> None:
    """ID-35, I5: a host that was cut off keeps its own answer, and changes nobody else's."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    out(here)
    assert await commit(here, "ours") is Durability.FILE
    hosts.clock.advance(1)
    assert await commit(there, "theirs") is Durability.REDIS
    await until_told(hosts, here)
    third = await hosts.open(directory=tmp_path / "third")
    assert [await result(cache) for cache in (here, there, third)] == ["ours", "theirs", "theirs"]


async def test_a_failing_disk_takes_back_no_delete(hosts: Rig) -> None:
    """G3: Redis is owed deletes, and a newer value; while the files fail, what Redis still holds does not answer."""
    cache = await hosts.open()
    await cache.set_many({"deleted": "old", "changed": "old"}, ttl=None)
    await commit(cache, "old")
    hosts.clock.advance(1)
    out(cache)
    await cache.delete("deleted")
    await cache.set("changed", "new", ttl=None)
    await cache._requests.forget("job", IDEMPOTENCY)
    files(cache).fail_with(lambda: OSError(errno.EIO, "i/o error"))
    parts = cache._parts
    assert parts.redis is not None
    assert parts.files is not None
    for number in range(5):
        assert await parts.files.read([f"key{number}"]) is None
    assert parts.files.guard.refuses()
    redis(cache).heal()
    parts.redis.guard.reset()
    parts.memory.clear()
    assert await cache.get_many(["deleted", "changed"]) == {}
    assert await result(cache) is MISSING
    files(cache).heal()
    parts.files.guard.reset()
    assert await cache.get_many(["deleted", "changed"]) == {"changed": "new"}


async def test_what_is_owed_is_paid_in_portions_that_redis_can_take(hosts: Rig, tmp_path: Path) -> None:
    """OR-23, BUG-52: forty values of 2 MB are told without a failure, and without holding all of them in memory."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    body = os.urandom(2_000_000)
    redis(here).fail_with(ConnectionResetError)
    for number in range(40):
        assert await here.set(f"key{number}", body) is Durability.FILE
    here._parts.memory.clear()
    await back(hosts, here)
    tally = here._parts.redis.tally if here._parts.redis else None
    assert tally is not None
    faults = tally.faults
    tracemalloc.start()
    await replay(hosts, here)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (here._machine.journal.pending, tally.faults) == (0, faults)
    assert peak < 20_000_000
    assert await there.get("key39") == body


async def test_an_hour_of_writes_takes_little_memory(hosts: Rig) -> None:
    """OR-23: of each value that Redis is owed memory knows digest and version, not the value: 50 MB at most at 50,000."""
    cache = await hosts.open(memory=MemoryStore(clock=hosts.clock, policy=S3FIFO(), max_bytes=100_000))
    cache._parts.redis.guard.breaker.force_open()  # type: ignore[union-attr]  # there is one
    await cache.set("warm", 1)
    values = {f"key{number}": "x" * 4_000 for number in range(2_000)}
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    told = await cache.set_many(values)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert set(told.values()) == {Durability.FILE}
    assert cache._machine.journal.pending == 2_001
    assert taken / 2_000 < 1_000, taken


async def test_after_the_threshold_a_read_asks_nobody(hosts: Rig) -> None:
    """OR-24: a hundred gets in an outage reach the store no more once the breaker is open, and none waits for it."""
    cache = await hosts.open()
    redis(cache).hang()
    cache._parts.redis.guard.timeout = 0.02  # type: ignore[union-attr]  # there is one
    for number in range(5):
        await cache.get(f"first{number}")
    calls = redis(cache).calls["get_many"]
    for number in range(100):
        assert await asyncio.wait_for(cache.get(f"key{number}", MISSING), 1.0) is MISSING
    assert redis(cache).calls["get_many"] == calls
    redis(cache).heal()


# -- the telling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
async def test_a_replay_that_is_killed_at_any_step_is_finished_by_the_next(
    hosts: Rig, tmp_path: Path, begun: bool
) -> None:
    """OR-12, OR-13, SPEC 5.4: before each step or after it; nothing is told twice with another outcome, nothing is
    missing.
    """  # noqa: D205 - one sentence
    step = 1
    while await _killed(hosts, tmp_path / str(step), step, begun=begun):
        step += 1
    assert step > 8, "catching up, the turn, the order, the debts, Redis, the marks: and once more for what lasts"


async def _killed(rig: Rig, root: Path, step: int, *, begun: bool) -> bool:
    """Whether a replay takes so many steps; if so, it ends there, and others begin anew."""
    own: dict[str, Any] = {"namespace": f"{root.name}.{begun}", "directory": root / "here"}
    here, there = await rig.open(**own), await rig.open(**own | {"directory": root / "elsewhere"})
    await there.set_many({"deleted": "old", "beneath": "old"}, ttl=None)
    rig.clock.advance(1)
    out(here)
    await here.clear()
    await here.set_many({"key": "new", "more": "new"}, ttl=None)
    await here.delete("deleted")
    await commit(here, "answer")
    await back(rig, here)
    await here.get("probe")
    killed = await _until_step(rig, here, step, begun=begun)
    await here.aclose()
    for cache in (await rig.open(**own), await rig.open(**own)):
        assert await cache.get("probe") is None
        await until_told(rig, cache)
        journal = cache._machine.journal
        assert journal.dropped == 0
    assert journal.replayed == 0, "what is told once more is there already"
    rig.clock.advance(6)
    for cache in (there, await rig.open(**own | {"directory": root / "third"})):
        assert await cache.get_many(["deleted", "beneath", "key", "more"]) == {"key": "new", "more": "new"}
        assert await result(cache) == "answer"
    return killed


async def _until_step(rig: Rig, cache: Cache, step: int, *, begun: bool) -> bool:
    """Cancel a replay at its ``step``-th call of a store, before it or after; whether it came so far."""
    reached, calls = asyncio.Event(), 0

    def watch(store: Any) -> None:
        for name in ("get_many", "put_many", "owed", "debts", "settle", "take_turn", "note"):
            call = getattr(store, name, None)
            if call is not None:
                setattr(store, name, stopped(call))

    def stopped(call: Any) -> Any:
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls != step:
                return await call(*args, **kwargs)
            if begun:
                await call(*args, **kwargs)
            reached.set()
            return await asyncio.Event().wait()

        return wrapped

    watch(redis(cache))
    watch(files(cache))
    running = asyncio.ensure_future(cache._machine.journal.replay())
    waiting = asyncio.ensure_future(reached.wait())
    while not (running.done() or reached.is_set()):
        rig.clock.advance(0.01)
        await asyncio.sleep(0.001)
    waiting.cancel()
    running.cancel()
    await asyncio.wait([running, waiting])
    return reached.is_set()


async def test_a_record_of_an_odd_key_blocks_nobody(hosts: Rig, tmp_path: Path) -> None:
    """SPEC 5.4: whatever stands in the log, a record of a key that no cache would make is told like others, or left."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    out(here)
    await here.set("key", "value")
    for odd in ("odd", "", "a:b", "ключ"):
        for key, flags, ttl in ((odd, RECORD, 600.0), (odd + "-", 0, -1.0)):
            blob = blob_of(key, b"", version=1, now=hosts.clock.time(), flags=flags, ttl=ttl)
            await files(here).put_many([Write(key, blob, pending=True)])
    await back(hosts, here)
    await replay(hosts, here)
    assert await there.get("key") == "value"


async def test_a_survivor_tells_what_a_dead_process_was_owed(hosts: Rig, tmp_path: Path) -> None:
    """OR-16: two processes of a host are owed writes, one dies; the other tells both."""
    dead, survivor, there = await hosts.open(), await hosts.open(), await elsewhere(hosts, tmp_path)
    for cache, key in ((dead, "theirs"), (survivor, "ours")):
        out(cache)
        await cache.set(key, key)
    await dead.aclose()
    await until_told(hosts, survivor)
    assert survivor._machine.journal.replayed == 2
    assert await there.get_many(["theirs", "ours"]) == {"theirs": "theirs", "ours": "ours"}


async def test_of_two_processes_that_begin_together_one_replays(hosts: Rig) -> None:
    """OR-17: while one has the turn the other asks Redis nothing, and waits for nobody."""
    one, two = await hosts.open(), await hosts.open()
    out(one)
    await one.set("key", 1)
    await back(hosts, one, two)
    await two.get("probe")
    redis(one).hang()
    calls = redis(one).calls["put_many"]
    telling = asyncio.ensure_future(one._machine.journal.replay())
    while redis(one).calls["put_many"] == calls:  # noqa: ASYNC110 - a plain counter
        await asyncio.sleep(0.001)
    before = redis(two).calls.copy()
    await asyncio.wait_for(two._machine.journal.replay(), 5)
    assert redis(two).calls == before
    redis(one).heal()
    await telling
    assert one._machine.journal.pending == 0


async def test_a_redis_that_comes_and_goes_is_not_battered(hosts: Rig, tmp_path: Path) -> None:
    """OR-18: ten times it goes in the midst of the replay; each time costs a few calls, and in the end all is told."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    out(here)
    values = {f"key{number}": number for number in range(1_000)}
    await here.set_many(values)
    for _ in range(10):
        await back(hosts, here)
        redis(here).fail_with(ConnectionResetError, on=["put_many"], every=3)
        calls = redis(here).calls["put_many"]
        for _ in range(3):
            await replay(hosts, here)
        assert redis(here).calls["put_many"] - calls < 50
    await until_told(hosts, here)
    assert await there.get_many(list(values)) == values


async def test_closing_in_the_midst_of_a_replay_leaves_the_rest_to_the_next(hosts: Rig, tmp_path: Path) -> None:
    """LC-04, SPEC 13.1: aclose waits for no server; the turn is free, and what was not told is still owed."""
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    out(here)
    await here.set_many({f"key{number}": number for number in range(250)})
    await back(hosts, here)
    journal = here._machine.journal
    telling = here._machine.homes.here().own(journal.replay())
    while not journal.replayed:  # noqa: ASYNC110 - a plain counter
        await asyncio.sleep(0.001)
    redis(here).hang()
    here._parts.redis.guard.timeout = 0.5  # type: ignore[union-attr]  # there is one
    hosts.clock.advance(1)
    await asyncio.wait_for(here.aclose(drain=0.01), 20)
    assert telling.cancelled()
    successor = await hosts.open()
    await successor.get("probe")
    assert successor._machine.journal.pending >= 150
    await until_told(hosts, successor)
    assert len(await there.get_many([f"key{number}" for number in range(250)])) == 250


# -- a Redis that is not what it was -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delete", "clear"])
async def test_a_delete_just_before_an_outage_is_known_to_the_whole_host(hosts: Rig, how: str) -> None:
    """G3: Redis took it, and was gone before another process asked again; that one's memory does not go on answering."""
    cache, other = await hosts.open(), await hosts.open()
    await cache.set("key", "old", ttl=None)
    assert await other.get("key") == "old"
    hosts.clock.advance(1)
    await (cache.delete("key") if how == "delete" else cache.clear())
    out(cache)
    out(other)
    hosts.clock.advance(5)
    assert await other.get("key", MISSING) is MISSING
    assert await cache.get("key", MISSING) is MISSING


@pytest.mark.parametrize("first", ["here", "late"])
async def test_a_delete_elsewhere_is_not_undone_by_a_late_replay(hosts: Rig, tmp_path: Path, first: str) -> None:
    """OR-07: one host is owed a value, another deletes it, Redis comes back empty; whoever tells it first, it is gone."""
    here, late = await hosts.open(), await elsewhere(hosts, tmp_path)
    out(late)
    await late.set("key", "of the outage")
    hosts.clock.advance(1)
    await here.delete("key")
    await replay(hosts, here)
    assert hosts.server is not None
    hosts.server.restart()
    await back(hosts, here, late)
    await here.get("probe")
    await late.get("probe")
    for cache in (here, late) if first == "here" else (late, here):
        await replay(hosts, cache)
        assert await here.get("key", MISSING) is MISSING
    hosts.clock.advance(6)
    for cache in (here, late, await hosts.open(directory=tmp_path / "third")):
        assert await cache.get("key", MISSING) is MISSING


async def test_what_an_older_copy_brings_back_is_deleted_again(hosts: Rig, tmp_path: Path) -> None:
    """OR-07, G3: Redis is restored from before deletes that it had taken; the host that deleted never sees it, the
    others from the moment that it has told.
    """  # noqa: D205 - one sentence
    here, there = await hosts.open(), await elsewhere(hosts, tmp_path)
    assert hosts.server is not None
    await there.set_many({"deleted": "old", "cleared": "old", "changed": "old"}, ttl=None)
    await commit(there, "old")
    snapshot = saved(hosts.server)
    hosts.clock.advance(1)
    await here.delete("deleted")
    await here.clear()
    await here.set("changed", "new", ttl=None)
    await here._requests.forget("job", IDEMPOTENCY)
    await replay(hosts, here)
    restored(hosts.server, snapshot)
    hosts.clock.advance(61)
    fellow = await hosts.open()
    for cache in (here, fellow):
        assert await cache.get_many(["deleted", "cleared", "changed"]) == {}
        assert await result(cache) is MISSING
    await replay(hosts, here)
    hosts.clock.advance(6)
    for cache in (here, fellow, await hosts.open(directory=tmp_path / "third")):
        assert await cache.get_many(["deleted", "cleared", "changed"]) == {}
    assert await result(await hosts.open(directory=tmp_path / "fourth")) is MISSING


async def test_a_mirrored_domain_is_there_while_redis_is_away_and_only_then(hosts: Rig) -> None:
    """OR-20, B6: 100 keys answer from files at once; with Redis back, and empty, a miss is a miss."""
    values = {f"key{number}": number for number in range(100)}
    await (await hosts.open(**MIRROR)).set_many(values, ttl=None)
    cache = await hosts.open(**MIRROR)
    assert hosts.server is not None
    hosts.server.stop()
    assert await cache.get_many(list(values)) == values
    hosts.server.start()
    hosts.clock.advance(61)
    assert await cache.get_many(list(values)) == {}
    assert await cache.set("key1", "again") is Durability.REDIS
    assert await cache.get_many(["key0", "key1"]) == {"key1": "again"}


async def change(cache: Cache, how: str) -> None:
    """Replace the key's value, or have it be gone."""
    await (cache.set("key", "new") if how == "set" else cache.delete("key") if how == "delete" else cache.clear())


@pytest.mark.parametrize("how", ["delete", "set", "clear", "clear again"])
async def test_a_mirror_does_not_take_back_what_was_seen(hosts: Rig, tmp_path: Path, how: str) -> None:
    """B6, G3: another host deletes, replaces or clears; once this one has read so, it stands in the next outage, in each
    of its processes.
    """  # noqa: D205 - one sentence
    here, there = await hosts.open(**MIRROR), await elsewhere(hosts, tmp_path)
    if how == "clear again":
        await here.clear()
        hosts.clock.advance(1)
    await here.set_many({"key": "old", "other": "old"})
    hosts.clock.advance(1)
    await change(there, how)
    hosts.clock.advance(6)
    seen = "new" if how == "set" else MISSING
    assert await here.get("key", MISSING) == seen
    appended = files(here).calls["put_many"]
    hosts.clock.advance(6)
    assert await here.get("key", MISSING) == seen
    assert files(here).calls["put_many"] == appended, "once is enough"
    fresh = await hosts.open(**MIRROR)
    for cache in (here, fresh):
        out(cache)
        cache._parts.memory.clear()
        assert await cache.get("key", MISSING) == seen
        assert await cache.get("other", MISSING) == (MISSING if how.startswith("clear") else "old")


@pytest.mark.parametrize("how", ["delete", "set", "clear"])
async def test_a_reader_who_leaves_takes_no_word_along(hosts: Rig, tmp_path: Path, how: str) -> None:
    """B6, G3, SPEC 12: what a read has learned of another host is put on file although its only caller has left."""
    here, there = await hosts.open(**MIRROR), await elsewhere(hosts, tmp_path)
    await here.set("key", "old")
    hosts.clock.advance(1)
    await change(there, how)
    hosts.clock.advance(6)
    files(here).hang()
    here._parts.files.guard.timeout = 0.5  # type: ignore[union-attr]  # there are some
    reading = asyncio.create_task(here.get("key"))
    async with asyncio.timeout(20):
        while not files(here).calls["put_many"] > 1:  # noqa: ASYNC110 - it is a test
            await asyncio.sleep(0.001)
    reading.cancel()
    await asyncio.wait([reading])
    files(here).heal()
    await asyncio.gather(*here._machine.homes.here()._tasks)
    fresh = await hosts.open(**MIRROR)
    out(fresh)
    assert await fresh.get("key", MISSING) == ("new" if how == "set" else MISSING)


async def test_what_memory_remembers_of_a_debt_ends_as_it_was_to(hosts: Rig) -> None:
    """Where files fail, a debt is read out of memory: its entry stays in the index of ends, and leaves it when it is written."""
    cache = await hosts.open()
    await cache.set("warm", "up")
    out(cache)
    assert await cache.set("key", "owed", ttl=20) is Durability.FILE
    hosts.clock.advance(6)
    files(cache).fail_with(OSError, on=["get_many"])
    redis(cache).heal()
    redis(cache).hang()
    before = redis(cache).calls["get_many"]
    hosts.clock.advance(2)
    reading = asyncio.create_task(cache.get("key"))
    async with asyncio.timeout(20):
        while redis(cache).calls["get_many"] == before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    writing = asyncio.create_task(cache.set("key", "later", ttl=20))
    await asyncio.sleep(0)
    redis(cache).heal()
    assert await reading in {"owed", "later"}
    await writing
    hosts.clock.advance(100)
    memory = cache._parts.memory
    for _ in range(3):
        memory.sweep()
    assert not memory.is_due
    assert memory.find("key") is None


async def test_an_empty_redis_is_missed_from_not_lied_for(hosts: Rig) -> None:
    """OR-21: nothing that memory or files remember answers for what a fallback domain lost with Redis."""
    cache = await hosts.open()
    await cache.set("kept", "first")
    out(cache)
    await cache.set("owed", "of the outage")
    await until_told(hosts, cache)
    await cache.set_many({"owed": "second", "kept": "second"})
    assert hosts.server is not None
    hosts.server.restart()
    hosts.clock.advance(61)
    assert await cache.get_many(["kept", "owed"]) == {}
    assert await (await hosts.open()).get_many(["kept", "owed"]) == {}


async def test_a_flush_by_an_operator_is_misses_and_no_error(hosts: Rig, tmp_path: Path) -> None:
    """OR-28, G3: writes go on; what another host is late with does not bring back here what was deleted; once the server
    is another, deletes and results are told again.
    """  # noqa: D205 - one sentence
    cache, late = await hosts.open(), await elsewhere(hosts, tmp_path)
    assert hosts.server is not None
    out(late)
    await late.set("deleted", "of before")
    hosts.clock.advance(1)
    await cache.set("key", "value")
    await cache.delete("deleted")
    await commit(cache, "answer")
    await replay(hosts, cache)
    hosts.server.command("FLUSHALL")
    await until_told(hosts, late)
    assert await late.get("deleted") == "of before", "nobody has told of the delete again"
    assert await cache.get_many(["key", "deleted"]) == {}
    assert await result(cache) == "answer"
    assert await cache.set("key", "again") is Durability.REDIS
    assert await cache.get_or_set("new", lambda: 1) == 1
    hosts.server.restart()
    hosts.clock.advance(61)
    await cache.get("probe")
    await replay(hosts, cache)
    names = set(hosts.server.command("KEYS", "*"))
    assert {b"tc1:v:test:deleted", b"tc1:i:test:job"} <= names


# -- clocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [-300.0, 300.0])
async def test_hosts_whose_clocks_differ(tmp_path: Path, own_redis: RedisServer, behind: float) -> None:
    """BUG-34: five minutes apart, both go by the server's clock: the last write wins, and a clear takes all before it."""
    rigs = [
        Rig("memory+redis+file", FakeClock(time.time() + off), tmp_path / str(off), own_redis, replays=False)
        for off in (0.0, behind)
    ]
    try:
        here, there = [await rig.open() for rig in rigs]
        await here.set("key", "first")
        await there.set("key", "second")
        assert await (await rigs[0].open()).get("key") == "second"
        await here.set("key", "third")
        await here.set("cleared", "old")
        assert await (await rigs[1].open()).get("key") == "third"
        await asyncio.sleep(0.06)
        fresh = await rigs[1].open()
        assert (await fresh.clear()).redis == "done"
        assert await (await rigs[0].open()).get_many(["key", "cleared"]) == {}
    finally:
        for rig in rigs:
            await rig.aclose()


async def test_a_process_that_clears_before_anything_else(tmp_path: Path, own_redis: RedisServer) -> None:
    """BUG-34: its own clock is five minutes behind, and it has not met the server's yet; the clear takes all the same."""
    one = Rig("memory+redis", FakeClock(time.time()), tmp_path, own_redis)
    other = Rig("memory+redis", FakeClock(time.time() - 300), tmp_path, own_redis)
    try:
        await (await one.open()).set("key", "old")
        await asyncio.sleep(0.06)
        await (await other.open()).clear()
        assert await (await one.open()).get("key", MISSING) is MISSING
    finally:
        await one.aclose()
        await other.aclose()


@pytest.mark.parametrize("lead", [30, 600])
@pytest.mark.parametrize("how", ["delete", "set", "clear"])
async def test_what_is_owed_by_a_clock_ahead_is_overtaken(hosts: Rig, tmp_path: Path, how: str, lead: float) -> None:
    """OR-10, OR-27: a process that began in the outage goes by the machine's own clock; what another one of its host sets
    later through Redis, by the server's, is later.
    """  # noqa: D205 - one sentence
    early = await hosts.open(hybrid=HybridClock(SteadyClock(hosts.clock.time() + lead)))
    later = await hosts.open()
    await later.set("key", "old", ttl=None)
    out(early)
    if how == "set":
        await early.set("key", "owed", ttl=None)
    else:
        await (early.delete("key") if how == "delete" else early.clear())
    hosts.clock.advance(7)
    assert await later.set("key", "new", ttl=None) is Durability.REDIS
    hosts.clock.advance(7)
    assert await later.get("key", MISSING) == "new"
    await until_told(hosts, early)
    hosts.clock.advance(7)
    for cache in (early, later, await elsewhere(hosts, tmp_path)):
        assert await cache.get("key", MISSING) == "new"


async def test_what_is_computed_after_a_delete_by_a_clock_ahead_is_found(hosts: Rig) -> None:
    """OR-27, BUG-34: this host's files know of the delete, which Redis has forgotten; what is computed later comes after it."""
    early = await hosts.open(hybrid=HybridClock(SteadyClock(hosts.clock.time() + 600)))
    later = await hosts.open()
    await early.delete("key")
    assert hosts.server is not None
    hosts.server.command("FLUSHALL")
    assert await later.get_or_set("key", lambda: "new", ttl=None) == "new"
    await asyncio.gather(*later._machine.homes.here()._tasks)
    for cache in (later, early):
        cache._parts.memory.clear()
        assert await cache.get("key", MISSING) == "new"


async def test_events_tell_how_much_was_told(hosts: Rig) -> None:
    """BUG-60: one operation for each key, the last; visible in statistics; what failed is tried again."""
    cache = await hosts.open()
    out(cache)
    for number in range(50):
        await cache.set("key", number)
    assert cache.stats().pending == 1
    for _ in range(3):
        hosts.clock.advance(61)
        await replay(hosts, cache)
        assert cache.stats().pending == 1
    await until_told(hosts, cache)
    assert (cache.stats().pending, cache.stats().replayed) == (0, 1)
    assert hosts.recorder.of(JournalReplayed)[-1].pending == 0
    assert await (await hosts.open()).get("key") == 49


@pytest.mark.parametrize("scope", ["clear", "tag"])
async def test_a_second_clear_of_another_host_is_kept_beside_the_first(hosts: Rig, tmp_path: Path, scope: str) -> None:
    """SPEC 5.3: what this host has read of an epoch it knows in the next outage, also where its file had an older one."""

    async def forget(cache: Cache) -> None:
        await (cache.clear() if scope == "clear" else cache.invalidate(tags=["news"]))

    here, there = await hosts.open(**MIRROR), await elsewhere(hosts, tmp_path)
    await forget(here)
    await here.set("key", "cleared", tags=["news"])
    hosts.clock.advance(1)
    await forget(there)
    assert await (await hosts.open(**MIRROR)).get("key") is None
    await here.aclose()
    late = await hosts.open(**MIRROR)  # a process that has heard of nothing
    out(late)
    assert await late.get("key") is None
