"""Redis refused, frozen, hung, full, read-only, loading or locked: callers notice nothing, and it comes back by itself."""

import asyncio
import errno
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hosts import paid
from proxy import FaultProxy
from redis.exceptions import ResponseError
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache import AgentTask, ToolCache
from toolcache.cache import Cache
from toolcache.domains import IDEMPOTENCY
from toolcache.entry import MISSING, Durability
from toolcache.errors import CacheWriteError
from toolcache.events import BlobRejected, BreakerChanged, DataAtRisk, FilesUnavailable, StoreFault
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import ChaosStore

DEADLINE = 0.5
SLACK = 0.3
MIRROR: dict[str, Any] = {"mirror": frozenset({"general"})}


@pytest.fixture(params=["memory+redis", "memory+redis+file"])
async def outage(
    request: pytest.FixtureRequest, clock: SteadyClock, tmp_path: Path, own_redis: RedisServer
) -> AsyncIterator[Rig]:
    """A rig with a server of its own to mistreat."""
    rig = Rig(str(request.param), clock, tmp_path / "files", own_redis, op_timeout=DEADLINE)
    yield rig
    await rig.aclose()


async def in_thread(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Mistreat the server while the loop turns."""
    return await asyncio.to_thread(work, *arguments, **options)


async def timed(call: Any) -> tuple[Any, float]:
    """The answer, and the seconds it took."""
    begun = time.monotonic()
    answer = await call
    return answer, time.monotonic() - begun


def commands(server: RedisServer | None) -> int:
    """How many GETRANGE the server has executed."""
    assert server is not None
    found = re.search(rb"cmdstat_getrange:calls=(\d+)", server.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


def redis_breaker(cache: Cache) -> Any:
    """The breaker before Redis."""
    assert cache._parts.redis is not None
    return cache._parts.redis.guard.breaker


async def back_to_normal(rig: Rig, cache: Cache) -> None:
    """The breaker's wait is over; the next operation is the probe, and shows that Redis is in use again."""
    rig.clock.advance(120)
    await cache.get("probe")
    assert await cache.set("back", 1) is Durability.REDIS
    assert redis_breaker(cache).state.value == "closed"


async def test_a_dead_redis_is_not_noticed(outage: Rig) -> None:
    """BUG-44, BUG-45, BUG-46, SF-17, OR-24: reads, writes and computations go on; the breaker sees what callers do not."""
    cache = await outage.open(**MIRROR)
    files = cache._parts.files is not None
    await cache.set("before", {"a": 1})
    await in_thread(outage.server.stop)  # type: ignore[union-attr]  # there is one
    kept = Durability.FILE if files else Durability.MEMORY
    assert await cache.set("during", [2]) is kept
    runs = 0

    async def compute() -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return "computed"

    assert await asyncio.gather(*(cache.get_or_set("new", compute) for _ in range(1000))) == ["computed"] * 1000
    assert runs == 1
    assert await cache.get("before") == {"a": 1}
    assert await cache.get("during") == [2]
    assert await cache.get("new") == "computed"
    for number in range(6):
        await cache.get(f"missing{number}")
    assert redis_breaker(cache).state.value == "open"
    assert outage.recorder.of(BreakerChanged)
    _, took = await timed(asyncio.gather(*(cache.get(f"absent{n}") for n in range(100))))
    assert took < DEADLINE
    assert bool(outage.recorder.of(DataAtRisk)) is not files
    await in_thread(outage.server.start)  # type: ignore[union-attr]  # there is one
    await back_to_normal(outage, cache)


async def test_a_frozen_redis_costs_one_deadline(outage: Rig) -> None:
    """BUG-47: with the server stopped and its connections open, every call ends in time; then none waits any more."""
    cache = await outage.open(**MIRROR)
    files = cache._parts.files is not None
    await cache.set_many({f"key{n}": n for n in range(50)})
    outage.clock.advance(6)  # memory is no longer trusted without asking
    assert outage.server is not None
    with outage.server.frozen():
        for number in range(50):
            got, took = await timed(cache.get(f"key{number}"))
            assert got == number
            assert took < DEADLINE + SLACK
        durability, took = await timed(cache.set("new", 1))
        assert durability is (Durability.FILE if files else Durability.MEMORY)
        assert took < DEADLINE + SLACK
        assert redis_breaker(cache).state.value == "open"
        _, took = await timed(asyncio.gather(*(cache.get(f"absent{n}") for n in range(100))))
        assert took < DEADLINE / 2
    await back_to_normal(outage, cache)


async def test_callers_with_less_patience_do_not_hide_a_frozen_redis(outage: Rig) -> None:
    """SPEC 12: what a caller does not wait for is found out all the same, and costs the next ones nothing."""
    cache = await outage.open()
    await cache.set("key", 1)
    assert cache._parts.redis is not None
    store = cache._parts.redis.store
    assert isinstance(store, ChaosStore)
    store.hang()
    for number in range(10):
        asked = store.calls["get_many"]
        reading = asyncio.create_task(cache.get(f"key{number}"))
        while store.calls["get_many"] == asked:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
    await asyncio.wait(cache._machine.homes.here()._tasks)
    assert redis_breaker(cache).state.value == "open"
    assert (await timed(cache.get("another")))[1] < SLACK
    store.heal()


async def test_all_steps_of_a_call_share_one_deadline(own_redis: RedisServer, tmp_path: Path) -> None:
    """DECISIONS, layers: what reads before it writes waits for a frozen Redis once, not twice."""
    task = AgentTask("agent", "do it", {})
    async with ToolCache(
        redis_url=own_redis.url, directory=tmp_path, op_timeout=DEADLINE, failure_threshold=100
    ) as cache:
        await cache.set("warm", 1)
        with own_redis.frozen():
            for call in (cache.add("key", 1), cache.set_result(task, 1), cache.get_result(task)):
                _, took = await timed(call)
                assert took < DEADLINE + SLACK
        assert await cache.get("key") == 1
        assert await cache.get_result(task) == 1


async def test_a_fresh_process_is_served_from_the_mirror(outage: Rig) -> None:
    """B6, LR-28: while Redis is unusable a mirrored domain answers from files, in order, and nothing else does."""
    if "file" not in outage.layering:
        return
    writer = await outage.open(**MIRROR)
    await writer.set_many({"a": 1, "b": None})
    await in_thread(outage.server.stop)  # type: ignore[union-attr]  # there is one
    mirrored, plain = await outage.open(**MIRROR), await outage.open()
    assert list((await mirrored.get_many(["x", "b", "a"])).items()) == [("b", None), ("a", 1)]
    assert await plain.get_many(["x", "b", "a"]) == {}


async def test_a_file_copy_never_answers_for_a_redis_that_works(outage: Rig) -> None:
    """LR-28, BUG-61: with Redis usable a Redis miss is a miss, in a mirrored domain too."""
    cache = await outage.open(**MIRROR)
    await cache.set("key", "old")
    assert outage.server is not None
    await in_thread(outage.server.command, "FLUSHALL")
    assert await (await outage.open(**MIRROR)).get("key", MISSING) is MISSING


async def test_what_was_written_in_an_outage_is_read_after_it(outage: Rig) -> None:
    """OR-24, SPEC 5.1: this host reads its own writes and deletes, during the outage and after it, in every process."""
    if "file" not in outage.layering:
        return
    cache = await outage.open()
    await cache.set_many({"kept": "old", "deleted": "old"})
    assert outage.server is not None
    with outage.server.frozen():
        assert await cache.set("kept", "new") is Durability.FILE
        assert await cache.delete("deleted") is True
        other = await outage.open()
        assert await other.get("kept") == "new"
        assert await other.get("deleted", MISSING) is MISSING
    outage.clock.advance(120)
    await cache.get("probe")
    late = await outage.open()
    assert await late.get("kept") == "new"
    assert await late.get("deleted", MISSING) is MISSING
    assert redis_breaker(late).state.value == "closed"


async def test_a_later_write_through_redis_settles_what_was_owed(outage: Rig) -> None:
    """OR-27: after the outage a live write goes to Redis, and the older record on file no longer answers."""
    if "file" not in outage.layering:
        return
    cache = await outage.open()
    assert outage.server is not None
    with outage.server.frozen():
        assert await cache.set("key", "owed") is Durability.FILE
    outage.clock.advance(120)
    await cache.get("probe")
    assert await cache.set("key", "live") is Durability.REDIS
    other = await outage.open()
    await other.set("key", "others")
    assert await (await outage.open()).get("key") == "others"


async def test_a_late_attempt_changes_nothing(outage: Rig) -> None:
    """OR-08: a write that timed out and is applied when the server thaws does not overwrite what came after it."""
    cache = await outage.open()
    assert outage.server is not None
    await cache.set("key", "first")
    with outage.server.frozen():
        await cache.set("key", "late")
        await cache.set("key", "last")
    outage.clock.advance(120)
    await cache.get("probe")
    await cache.set("key", "final")
    assert await (await outage.open()).get("key") == "final"


async def test_a_full_redis_goes_on_answering_reads(outage: Rig) -> None:
    """EC-06, R-OOM: writes are kept on file, reads stay on Redis, and the connection's breaker stays closed."""
    cache = await outage.open()
    await cache.set("old", "here")
    assert outage.server is not None
    outage.server.config(maxmemory="1mb", maxmemory_policy="noeviction")
    kept = Durability.FILE if cache._parts.files is not None else Durability.MEMORY
    for number in range(7):
        assert await cache.set(f"new{number}", "x" * 100) is kept
    assert redis_breaker(cache).state.value == "closed"
    reader = await outage.open()
    assert reader._parts.redis is not None
    reader._parts.redis.guard.timeout = 60.0  # a slow machine is no fault
    assert await reader.get("old") == "here"
    assert await cache.get("new3") == "x" * 100
    outage.server.config(maxmemory="0")
    outage.clock.advance(120)
    assert await cache.set("again", 1) is Durability.REDIS


async def test_a_read_only_redis(outage: Rig) -> None:
    """EC-07: as a full one; when it is promoted again, writes go to it, and it is told what it refused."""
    cache = await outage.open()
    await cache.set("old", "here")
    assert outage.server is not None
    outage.server.command("REPLICAOF", "127.0.0.1", "1")
    kept = Durability.FILE if cache._parts.files is not None else Durability.MEMORY
    assert [await cache.set(f"new{n}", n) for n in range(7)] == [kept] * 7
    assert await (await outage.open()).get("old") == "here"
    assert [await cache.get(f"new{n}") for n in range(7)] == list(range(7))
    assert redis_breaker(cache).state.value == "closed"
    outage.server.command("REPLICAOF", "NO", "ONE")
    outage.clock.advance(120)
    assert await cache.set("again", 1) is Durability.REDIS
    if cache._parts.files is not None:
        await paid(outage, cache)
        assert outage.server.command("EXISTS", *(f"tc1:v:test:new{n}" for n in range(7))) == 7


async def test_a_busy_redis(outage: Rig) -> None:
    """EC-10: while a script runs for ever answers come from elsewhere, each in time; once it is killed all is well."""
    cache = await outage.open()
    assert outage.server is not None
    await cache.set("key", "value")
    outage.server.config(busy_reply_threshold=50)
    endless = asyncio.create_task(in_thread(outage.server.command, "EVAL", "while true do end", 0))
    server = outage.server

    def ask_until_it_is_busy() -> None:  # it takes the other thread a moment
        while True:
            server.command("GET", "nothing")

    with pytest.raises(ResponseError, match="BUSY"):
        await in_thread(ask_until_it_is_busy)
    files = cache._parts.files is not None
    for number in range(7):
        got, took = await timed(cache.get_or_set(f"key{number}", lambda n=number: n))
        assert (got, took < DEADLINE + SLACK) == (number, True)
    assert await cache.set("during", 1) is (Durability.FILE if files else Durability.MEMORY)
    assert redis_breaker(cache).state.value == "open"
    await in_thread(outage.server.command, "SCRIPT", "KILL")
    with pytest.raises(ResponseError):
        await endless
    await back_to_normal(outage, cache)
    assert await cache.get("key") == "value"


async def test_a_redis_with_too_many_clients(outage: Rig) -> None:
    """EC-13: whoever is turned away works on without, does not storm the door, and is let in when there is room."""
    assert outage.server is not None
    first, second = await outage.open(), await outage.open()
    await first.set("key", "value")
    outage.server.config(maxclients=2)
    for number in range(7):
        got, took = await timed(second.get_or_set(f"key{number}", lambda n=number: n))
        assert (got, took < DEADLINE + SLACK) == (number, True)
    assert redis_breaker(second).state.value == "open"
    store = second._parts.redis.store if second._parts.redis else None
    assert isinstance(store, ChaosStore)
    calls = store.calls["get_many"]
    await second.get_many([f"absent{number}" for number in range(20)])
    assert store.calls["get_many"] == calls
    await first.aclose()
    await back_to_normal(outage, second)
    assert await second.get("key") == "value"


async def test_an_attempt_whose_reply_was_lost_is_told_once(outage: Rig) -> None:
    """OR-08: Redis took the write and could not say so; the replay finds the very same version, and changes nothing."""
    cache = await outage.open()
    assert outage.server is not None
    if cache._parts.files is None:
        return
    store = cache._parts.redis.store if cache._parts.redis else None
    assert isinstance(store, ChaosStore)
    store.fail_with(ConnectionResetError, on=["put_many"], applied=True)
    assert await cache.set("key", "value") is Durability.FILE
    before = outage.server.command("GET", "tc1:v:test:key")
    store.heal()
    outage.clock.advance(120)
    await paid(outage, cache)
    journal = cache._machine.journal
    assert (journal.pending, journal.replayed, journal.dropped) == (0, 0, 0)
    assert outage.server.command("GET", "tc1:v:test:key") == before


async def test_a_batch_says_what_became_of_each_key(outage: Rig) -> None:
    """BUG-62: something foreign holds one of three keys; the other two are safe, and that one is told apart."""
    cache = await outage.open()
    assert outage.server is not None
    outage.server.command("RPUSH", "tc1:v:test:b", "theirs")
    kept = Durability.FILE if cache._parts.files is not None else Durability.MEMORY
    durabilities = await cache.set_many({"a": 1, "b": 2, "c": 3})
    assert durabilities == {"a": Durability.REDIS, "b": kept, "c": Durability.REDIS}
    assert {event.operation for event in outage.recorder.of(DataAtRisk)} == (
        set() if kept > Durability.MEMORY else {"set"}
    )


async def test_a_clear_says_what_became_of_it_in_each_layer(outage: Rig) -> None:
    """BUG-42: done, queued or failed, layer by layer; a layer that is not configured is None."""
    cache = await outage.open()
    files = "done" if cache._parts.files is not None else None
    receipt = await cache.clear()
    assert (receipt.memory, receipt.redis, receipt.files) == ("done", "done", files)
    assert outage.server is not None
    await in_thread(outage.server.stop)
    if files is None:
        with pytest.raises(CacheWriteError):
            await cache.clear()
        return
    receipt = await cache.clear()
    assert (receipt.memory, receipt.redis, receipt.files) == ("done", "queued", "done")


async def test_replies_that_were_exchanged(outage: Rig) -> None:
    """LR-26, BUG-67: of two replies that changed places neither is believed; both keys miss, and both are counted."""
    writer, cache = await outage.open(), await outage.open()
    await writer.set_many({"one": "the first", "two": "the second"})
    redis = cache._parts.redis
    assert redis is not None
    honest = redis.store.get_many

    async def crossed(keys: Sequence[str], /) -> list[bytes | None]:
        epoch, *blobs = await honest(keys)
        return [epoch, *reversed(blobs)]

    redis.store.get_many = crossed  # type: ignore[method-assign]  # as a connection that has lost count
    assert await cache.get_many(["one", "two"]) == {}
    assert redis.tally.rejected == 2
    assert {event.reason for event in outage.recorder.of(BlobRejected)} == {"key"}
    redis.store.get_many = honest  # type: ignore[method-assign]
    assert await cache.get_many(["one", "two"]) == {"one": "the first", "two": "the second"}


async def test_a_hundred_keys_are_one_round_trip(outage: Rig) -> None:
    """LR-28: all that memory lacks is asked for at once, in order, with the epoch of the namespace."""
    values = {f"key{number}": number for number in range(100)}
    await (await outage.open()).set_many(values)
    cache = await outage.open()
    await cache.get("warm")
    async with FaultProxy(outage.server.port) as proxy:  # type: ignore[union-attr]  # there is one
        assert cache._parts.redis is not None
        cache._parts.redis.store = store = ChaosStore(RedisStore(proxy.url, clock=outage.clock))
        cache._parts.redis.guard.timeout = 30.0
        assert await cache.get("warm") is None
        asked = commands(outage.server)
        proxy.mode = "down"
        getting = asyncio.create_task(cache.get_many(list(values)))
        while commands(outage.server) < asked + 101:  # noqa: ASYNC110 - what the server has done
            await asyncio.sleep(0.001)
        assert not getting.done(), "no reply has come yet"
        proxy.mode = "pass"
        assert list((await getting).items()) == list(values.items())
        assert (store.calls["get_many"], commands(outage.server)) == (2, asked + 101)
        await store.aclose()


async def test_a_changed_password(outage: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """EC-08, CB-34, BUG-107: fast from the first call, one attempt per open period, and no password in any log."""
    assert outage.server is not None
    outage.server.config(requirepass="right-s3cret")
    cache = await outage.open()
    assert cache._parts.redis is not None
    cache._parts.redis.store = ChaosStore(
        RedisStore(outage.server.url, password="wrong-s3cret", clock=outage.clock, announce=outage.recorder)
    )
    with caplog.at_level(logging.DEBUG, "toolcache"):
        got, took = await timed(cache.get("key", MISSING))
        assert got is MISSING
        assert took < DEADLINE + SLACK
        assert redis_breaker(cache).state.value == "open"
        for number in range(20):
            assert await cache.get(f"key{number}", MISSING) is MISSING
    assert cache._parts.redis.store.calls["get_many"] == 1
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(outage.recorder.events)
    outage.server.command("CONFIG", "SET", "requirepass", "", password="right-s3cret")


async def test_a_loading_redis(outage: Rig) -> None:
    """EC-09: while the server loads its data answers come from elsewhere; afterwards it is used again."""
    cache = await outage.open()
    assert outage.server is not None
    await cache.set("probe", 1)
    await in_thread(outage.server.command, "DEBUG", "POPULATE", 3000, "fill", 1000)
    await in_thread(outage.server.command, "SAVE")
    await in_thread(outage.server.stop)
    slow = ("--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024")
    await in_thread(outage.server.start, *slow, wait=False)
    for number in range(7):
        got, took = await timed(cache.get_or_set(f"key{number}", lambda n=number: n))
        assert got == number
        assert took < DEADLINE + SLACK
    for _ in range(600):
        outage.clock.advance(61)
        await cache.get("anything")
        if redis_breaker(cache).state.value == "closed":
            break
        await asyncio.sleep(0.01)
    assert await cache.set("after", 1) is Durability.REDIS


async def test_a_foreign_value_is_left_alone(outage: Rig) -> None:
    """EC-11, BUG-54: a key that holds a list is a miss, is not destroyed, hurts no breaker; files keep what is ours."""
    cache = await outage.open()
    assert outage.server is not None
    outage.server.command("RPUSH", "tc1:v:test:key", "theirs")
    assert await cache.get("key", MISSING) is MISSING
    files = cache._parts.files is not None
    assert await cache.set("key", "ours") is (Durability.FILE if files else Durability.MEMORY)
    if files:
        assert await (await outage.open()).get("key") == "ours", "the file holds what Redis cannot be given"
        assert await cache.delete("key") is True
        assert await (await outage.open()).get("key", MISSING) is MISSING
    assert outage.server.command("LRANGE", "tc1:v:test:key", 0, -1) == [b"theirs"]
    assert redis_breaker(cache).state.value == "closed"
    assert "semantic" in {event.kind for event in outage.recorder.of(StoreFault)}
    expected = set() if files else {"redis: a foreign value holds the key"}
    assert {event.reason for event in outage.recorder.of(DataAtRisk)} == expected


async def test_scripts_that_the_server_forgot(outage: Rig) -> None:
    """EC-14, BUG-66: after SCRIPT FLUSH the next write loads them again."""
    cache = await outage.open()
    await cache.set("a", 1)
    assert outage.server is not None
    outage.server.command("SCRIPT", "FLUSH")
    assert await cache.set("b", 2) is Durability.REDIS
    assert redis_breaker(cache).state.value == "closed"


async def test_foreign_and_damaged_blobs_in_redis_are_misses(outage: Rig) -> None:
    """SZ-06, BUG-82, BUG-81, LR-26: garbage, truncation, another key's blob: a miss each, and the next set works."""
    cache = await outage.open()
    server = outage.server
    assert server is not None
    await cache.set("donor", "theirs")
    donor = server.command("GET", "tc1:v:test:donor")
    bad = [b"garbage", b"", b"TC\x01", donor[:-1], donor[:80], donor + b"x", donor, b"TC\x02" + donor[3:], b"\x80\x04."]
    for number, blob in enumerate(bad):
        server.command("SET", f"tc1:v:test:key{number}", blob)
        assert await cache.get(f"key{number}", MISSING) is MISSING
    for number, _ in enumerate(bad):
        await cache.set(f"key{number}", number)
    fresh = await outage.open()
    assert await fresh.get_many([f"key{n}" for n in range(len(bad))]) == {f"key{n}": n for n in range(len(bad))}


async def test_a_delete_that_is_safe_nowhere_is_raised(outage: Rig) -> None:
    """OR-22, LR-11: memory alone took it: a set says so, a delete and a clear raise."""
    cache = await outage.open()
    await cache.set("key", "old")
    assert outage.server is not None
    if cache._parts.files is not None:
        chaos = cache._parts.files.store
        assert isinstance(chaos, ChaosStore)
        chaos.fail_with(lambda: OSError(errno.ENOSPC, "No space left on device"), on=["put_many"])
    with outage.server.frozen():
        assert await cache.set("key", "new") is Durability.MEMORY
        assert await cache.get("key") == "new"
        for call in (cache.delete("key"), cache.clear()):
            with pytest.raises(CacheWriteError, match="repeat"):
                await call
        assert await cache.get("key", MISSING) is MISSING
    assert {event.operation for event in outage.recorder.of(DataAtRisk)} == {"set", "delete", "clear"}


async def test_strict_writes_raise_when_memory_alone_took_them(outage: Rig) -> None:
    """SPEC 5.2: strict=True turns a write that is safe nowhere into an error; the value is in memory all the same."""
    if "file" in outage.layering:
        return
    cache = await outage.open(strict=True)
    assert outage.server is not None
    with outage.server.frozen():
        with pytest.raises(CacheWriteError):
            await cache.set("key", 1)
        assert await cache.get("key") == 1


async def test_a_cleared_namespace_stays_cleared_when_redis_was_away(outage: Rig) -> None:
    """A clear during an outage is kept on file and holds afterwards on this host."""
    if "file" not in outage.layering:
        return
    cache = await outage.open()
    await cache.set("key", "old")
    assert outage.server is not None
    with outage.server.frozen():
        receipt = await cache.clear()
        assert (receipt.redis, receipt.files) == ("queued", "done")
    outage.clock.advance(120)
    await cache.get("probe")
    assert await cache.get("key", MISSING) is MISSING
    assert await cache.set("key", "new") is Durability.REDIS
    assert await cache.get("key") == "new"


@pytest.fixture(params=["others may write", "a file", "under a file", "under /proc"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory that is refused, whoever asks, root included."""
    if request.param == "under /proc":
        return Path("/proc/none/cache")
    if request.param == "others may write":
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad").chmod(0o777)
        return tmp_path / "bad"
    (tmp_path / "bad").write_text("in the way")
    return tmp_path / "bad" if request.param == "a file" else tmp_path / "bad" / "cache"


async def test_an_unwritable_directory_is_one_warning_and_no_error(
    rig: Rig, unwritable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """FS-08, LR-09, FS-15: files that cannot be used are told of once; everything else works."""
    if "file" not in rig.layering:
        return
    caplog.set_level(logging.DEBUG, "toolcache")
    cache = await rig.open(directory=unwritable, **MIRROR)
    kept = Durability.REDIS if rig.shared else Durability.MEMORY
    for number in range(10):
        assert await cache.set("key", number) is kept
        assert await cache.get("key") == number
        assert await cache.get_or_set(f"new{number}", lambda: [1]) == [1]
        assert await cache.get(f"absent{number}", MISSING) is MISSING
        assert await cache.delete("key") is True
        assert await cache.get("key", MISSING) is MISSING
    assert (await cache.clear()).files == "failed"
    assert await cache.get("new1", MISSING) is MISSING
    assert len(rig.recorder.of(FilesUnavailable)) == 1
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(unwritable) in warning.getMessage()
    files = cache._parts.files
    assert files is not None
    assert (files.guard.breaker.state.value, files.guard.breaker.stats().failures) in {("closed", 1), ("closed", 0)}


@pytest.fixture
async def filed(clock: SteadyClock, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig of memory and files."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    yield rig
    await rig.aclose()


async def test_a_delete_that_could_not_be_told_holds_when_the_directory_is_mended(
    filed: Rig, clock: SteadyClock, tmp_path: Path
) -> None:
    """FS-08, LR-11: what lay in a directory that refused does not answer, results excepted; new writes do."""
    before = await filed.open()
    await before.set("key", "old")
    await before._requests.put("task", "output", IDEMPOTENCY, fingerprint="f")
    await before.aclose()
    (tmp_path / "files").chmod(0o777)
    clock.advance(1)
    cache = await filed.open()
    assert await cache.delete("key") is False
    (tmp_path / "files").chmod(0o700)
    clock.advance(31)
    assert await cache.get("key", MISSING) is MISSING
    assert await cache._requests.get("task", IDEMPOTENCY) == "output"
    assert await cache.set("key", "new") is Durability.FILE
    assert await (await filed.open()).get("key") == "new"
    (tmp_path / "files").chmod(0o777)
    assert await cache.delete("key") is True


async def test_a_directory_that_was_opened_once_owes_the_delete(filed: Rig, tmp_path: Path) -> None:
    """LR-11, SPEC 5.2: files that were in use, and strict writes, raise for a delete that memory alone took."""
    cache = await filed.open()
    await cache.set("key", "old")
    chaos = cache._parts.files.store if cache._parts.files else None
    assert isinstance(chaos, ChaosStore)
    chaos.fail_with(lambda: OSError(errno.EROFS, "Read-only file system"), on=["put_many"])
    with pytest.raises(CacheWriteError):
        await cache.delete("key")
    (tmp_path / "in the way").write_text("")
    strict = await filed.open(strict=True, directory=tmp_path / "in the way")
    with pytest.raises(CacheWriteError):
        await strict.delete("key")


async def test_a_full_disk_is_named(filed: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """FS-07: the warning of a write that memory alone took says that the disk is full, and the breaker's does."""
    cache = await filed.open()
    chaos = cache._parts.files.store if cache._parts.files else None
    assert isinstance(chaos, ChaosStore)
    chaos.fail_with(lambda: OSError(errno.ENOSPC, "/home/secret"), on=["put_many"])
    for number in range(6):
        assert await cache.set(f"key{number}", 1) is Durability.MEMORY
    assert {event.reason for event in filed.recorder.of(DataAtRisk)} == {"file: no space left on device"}
    assert filed.recorder.of(BreakerChanged)[0].detail == "no space left on device"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 2
    assert all("no space left on device" in warning for warning in warnings)


async def test_memory_answers_in_an_outage_past_its_trust(outage: Rig) -> None:
    """B6: what this process has read stays readable until its own end while nobody better can be asked."""
    cache = await outage.open()
    await cache.set("key", "value", ttl=60)
    assert outage.server is not None
    with outage.server.frozen():
        outage.clock.advance(30)
        assert await cache.get("key") == "value"
        outage.clock.advance(31)
        assert await cache.get("key", MISSING) is MISSING


async def test_two_processes_see_each_others_writes_within_the_trust(outage: Rig) -> None:
    """BUG-28, LR-01: what another process wrote or deleted is seen at the latest when memory's trust of 5 s ends."""
    one, two = await outage.open(), await outage.open()
    await one.set("key", "first", ttl=60)
    assert await two.get("key") == "first"
    assert (await two.ttl("key") or 0) <= 60
    await one.set("key", "second")
    outage.clock.advance(5.1)
    assert await two.get("key") == "second"
    await one.delete("key")
    outage.clock.advance(5.1)
    assert await two.get("key", MISSING) is MISSING
