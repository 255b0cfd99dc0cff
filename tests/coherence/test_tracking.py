"""What one process writes, another one's memory does not go on serving."""

import asyncio
import itertools
import random
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hearing import Open, fill, settled, state, until
from programs import clients, run, tasks
from servers import RedisServer

from toolcache import MISSING, AgentTask, Durability, ToolCache
from toolcache.aside import LARGE
from toolcache.events import CoherenceChanged, TrackingRefused
from toolcache.testing import Recorder
from toolcache.testing.claims import Holder

BOUND = 2.5
"""Seconds within which a silent server is noticed, and some for a slow machine."""


async def command(server: RedisServer, *words: Any) -> Any:
    """A command of somebody else's."""
    return await asyncio.to_thread(server.command, *words)


async def test_a_write_elsewhere_is_seen(open_cache: Open) -> None:
    """BUG-28, LR-01: what another process sets, deletes, adds or computes is seen, without waiting for any time to pass."""
    one, two = await open_cache(), await open_cache()
    await one.set("key", ["first"])
    assert await fill(two, "key") == ["first"]
    await one.set("key", ["second"])
    await until(lambda: not settled(two, "key"))
    assert await fill(two, "key") == ["second"]
    await one.delete("key")
    await until(lambda: not settled(two, "key"))
    assert await two.get("key", MISSING) is MISSING
    assert await two.add("key", ["third"])
    assert await one.get("key") == ["third"]
    await two.delete("key")
    assert await two.get_or_set("key", lambda: ["fourth"]) == ["fourth"]
    await asyncio.gather(*two._machine.homes.here()._tasks)
    assert await one.get("key") == ["fourth"]


async def test_memory_trusts_itself_for_long_while_it_is_told(open_cache: Open) -> None:
    """DECISIONS: 60 s where it is told of changes, 5 s where it is not; what Redis has not taken, 5 s in any case."""
    told, asks = await open_cache(), await open_cache(listening=False, coherence=False)
    await told.set("key", 1)
    for cache, least, most in ((told, 50, 60), (asks, 0, 5)):
        await fill(cache, "key")
        left = cache._parts.memory.find("key").settled_until - cache._parts.clock.monotonic()
        assert least < left <= most
    assert ((await told.health()).coherence, (await asks.health()).coherence) == ("tracking", "timed")
    async with ToolCache(files=False) as alone:
        assert (await alone.health()).coherence == "off"


async def test_an_own_write_is_read_back_from_redis_once(open_cache: Open) -> None:
    """LR-16: memory does not keep what was written, since another may have written after it; the next reads fill it."""
    cache = await open_cache()
    writes: list[Callable[[], Awaitable[Any]]] = [
        lambda: cache.set("key", [1]),
        lambda: cache.set_many({"key": [1]}),
        lambda: cache.get_or_set("key", lambda: [1]),
        lambda: cache.add("key", [1]),
    ]
    for write in writes:
        await cache.delete("key")
        await write()
        await asyncio.gather(*cache._machine.homes.here()._tasks)
        assert cache._parts.memory.find("key") is None
        assert await fill(cache, "key") == [1]
        hits = cache.stats().layers["memory"].hits
        assert [await cache.get("key") for _ in range(10)] == [[1]] * 10
        assert cache.stats().layers["memory"].hits == hits + 10


async def test_a_clear_elsewhere(open_cache: Open) -> None:
    """BUG-39, LR-14: after another process's clear, nothing of the namespace is served; other namespaces go on."""
    one, two, other = await open_cache(), await open_cache(), await open_cache(namespace="other")
    for cache in (one, other):
        await cache.set("key", 1)
    assert await fill(two, "key") == 1
    assert await fill(other, "key") == 1
    await one.clear()
    await until(lambda: not settled(two, "key"))
    assert await two.get("key", MISSING) is MISSING
    assert settled(other, "key")
    await asyncio.sleep(0.1)  # the epoch lies 50 ms ahead
    await two.set("key", 2)
    assert await fill(one, "key") == 2


async def test_the_echo_of_an_own_delete_or_clear_keeps_no_computation_out(open_cache: Open) -> None:
    """BUG-33: what is computed right after them is stored, however late their echo comes."""
    cache = await open_cache()
    for forget in (lambda: cache.delete("key"), cache.clear, lambda: cache.set("key", 0, ttl=0.001)):
        for number in range(20):
            await forget()
            await asyncio.sleep(0.055 if forget == cache.clear else 0.002)
            assert await cache.get_or_set("key", lambda number=number: number) == number
            await asyncio.gather(*cache._machine.homes.here()._tasks)
            assert await cache.get("key", MISSING) == number


@pytest.mark.parametrize("how", ["set", "set large", "delete", "clear"])
async def test_a_computation_that_another_process_overtook(open_cache: Open, how: str) -> None:
    """SPEC 6, LR-19: its waiters get its value, later callers do not, and it is stored nowhere."""
    one, two = await open_cache(), await open_cache()
    started, go = asyncio.Event(), asyncio.Event()

    async def compute() -> str:
        started.set()
        await go.wait()
        return "overtaken"

    first = asyncio.create_task(two.get_or_set("key", compute))
    await started.wait()
    new = "new" * (LARGE if how == "set large" else 1)
    await (one.set("key", new) if how.startswith("set") else one.delete("key") if how == "delete" else one.clear())
    await until(lambda: not two._machine.homes.flying("key"))
    await asyncio.sleep(0.1)  # echoes of the write come, and are to change nothing
    after = new if how.startswith("set") else "later"
    assert await two.get_or_set("key", lambda: "later") == after
    go.set()
    assert await first == "overtaken"
    await asyncio.gather(*two._machine.homes.here()._tasks)
    assert await two.get("key") == await one.get("key") == after


async def test_a_read_that_a_write_overtook_does_not_stay(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-29: a read answered before, and come in after, another process's write is not kept."""
    one, two = await open_cache(), await open_cache()
    await one.set("key", "old")
    store = two._parts.redis.store
    get_many = store.get_many
    sent, go = asyncio.Event(), asyncio.Event()

    async def slow(keys: list[str]) -> list[bytes | None]:
        blobs: list[bytes | None] = await get_many(keys)
        sent.set()
        await go.wait()
        return blobs

    store.get_many = slow
    heard = two._machine.bus.heard_at
    reading = asyncio.create_task(two.get("key"))
    await sent.wait()
    await one.set("key", "new")
    await until(lambda: two._machine.bus.heard_at != heard and not two._machine._reader._fills)
    store.get_many = get_many
    go.set()
    assert await reading == "old"
    assert not settled(two, "key")
    assert await two.get("key") == "new"


async def test_an_expiry_and_a_foreign_delete_are_heard(open_cache: Open, own_redis: RedisServer) -> None:
    """SPEC 5.6: whatever removes a key in Redis, memory hears of it."""
    cache = await open_cache()
    await cache.set("key", 1)
    await fill(cache, "key")
    await command(own_redis, "DEL", "tc1:v:default:key")
    await until(lambda: not settled(cache, "key"))
    assert await cache.get("key", MISSING) is MISSING


async def test_what_must_outlive_a_flush(open_cache: Open, own_redis: RedisServer, tmp_path: Path) -> None:
    """SPEC 5.3: a flush is heard of, and Redis is told again of the results, although it is the same server."""
    cache = await open_cache(files=True, directory=tmp_path)
    task = AgentTask("writer", "Say {what}", {"what": "hello"})
    await cache.set_result(task, "hello")
    await until(lambda: not cache._machine.journal._is_another())
    for _ in range(2):
        await command(own_redis, "FLUSHALL")
        await until(lambda: own_redis.command("KEYS", "tc1:i:*"))
        assert {key[:5] for key in own_redis.command("KEYS", "*")} <= {b"tc1:i", b"tc1:s"}
    assert await cache.get_result(task) == "hello"


@pytest.mark.parametrize("flush", ["FLUSHALL", "FLUSHDB"])
async def test_a_flush(open_cache: Open, own_redis: RedisServer, flush: str) -> None:
    """DECISIONS: one message for all keys; nothing answers from memory after it."""
    cache = await open_cache()
    await cache.set_many({f"key{n}": n for n in range(100)})
    for n in range(100):
        await fill(cache, f"key{n}")
    await command(own_redis, flush)
    await until(lambda: not settled(cache, "key0"))
    assert await cache.get_many([f"key{n}" for n in range(100)]) == {}
    assert state(cache) == "tracking"


async def test_the_listener_is_killed_and_comes_back(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-30, BUG-31, LR-15: what was changed while nobody listened is not served afterwards; it is told of."""
    one, two = await open_cache(), await open_cache(listening=False, coherence=False)
    recorder = Recorder()
    one.subscribe(recorder)
    await two.set("key", 0)

    def more(before: int) -> bool:
        return len(recorder.of(CoherenceChanged)) > before

    for number in range(5):
        assert await fill(one, "key") == number
        before = len(recorder.of(CoherenceChanged))
        await command(own_redis, "CLIENT", "KILL", "TYPE", "pubsub")
        await two.set("key", number + 1)
        await until(partial(more, before))
        assert await one.get("key") == number + 1
        await until(lambda: state(one) == "tracking")
    states = [event.after for event in recorder.of(CoherenceChanged)]
    assert states == ["timed", "tracking"] * 5


async def test_connections_killed_under_writes(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-30: whatever is killed meanwhile, no read is older than what was acknowledged half a second before."""
    one, two = await open_cache(), await open_cache()
    loop = asyncio.get_running_loop()
    written = [(loop.time(), 0)]
    await two.set("key", 0)
    done = False

    async def write() -> None:
        number = 0
        while not done:
            number += 1
            if await two.set("key", number) is Durability.REDIS:
                written.append((loop.time(), number))
            await asyncio.sleep(0.002)

    async def kill() -> None:
        for kind in ("pubsub", "normal", "pubsub", "pubsub") * 2:
            await asyncio.sleep(0.15)
            await command(own_redis, "CLIENT", "KILL", "TYPE", kind)

    async def read() -> None:
        while not done:
            got = await one.get("key")
            least = max(number for at, number in written if at <= loop.time() - 0.5 or number == 0)
            assert got >= least
            await asyncio.sleep(0)

    reading, writing = asyncio.create_task(read()), asyncio.create_task(write())
    await kill()
    done = True
    await writing
    await reading
    last = written[-1][1]
    await until(lambda: state(one) == "tracking")
    assert await fill(one, "key") >= last


async def test_a_server_that_falls_silent_and_wakes(open_cache: Open, own_redis: RedisServer) -> None:
    """SPEC 5.6: a missed pong is a gap: noticed within two seconds; after it, memory is told again."""
    cache = await open_cache(op_timeout=0.2)
    await cache.set("key", 1)
    await fill(cache, "key")
    loop = asyncio.get_running_loop()
    took: list[float] = []
    while not took or (min(took) >= BOUND and len(took) < 3):  # a machine that is busy meanwhile is no fault
        begun = loop.time()
        with own_redis.frozen():
            await until(lambda: state(cache) == "timed")
            took.append(loop.time() - begun)
            assert not settled(cache, "key")
            assert await cache.get("key") == 1  # nobody better can be asked
        await until(lambda: state(cache) == "tracking")
    assert min(took) < BOUND


async def test_a_server_that_comes_back_empty(open_cache: Open, own_redis: RedisServer) -> None:
    """SPEC 5.4, OR-24: memory answers while it is away, is told again when it is back, and lets it try at once."""
    cache = await open_cache(recovery_time="60s", failure_threshold=1)
    await cache.set("key", 1)
    await fill(cache, "key")
    await asyncio.to_thread(own_redis.stop)
    await until(lambda: state(cache) == "timed")
    assert await cache.get("key") == 1
    assert (await cache.health(probe=False)).redis.breaker == "open"
    await asyncio.to_thread(own_redis.start)
    await until(lambda: state(cache) == "tracking")
    assert await cache.set("new", 1) is Durability.REDIS
    assert await cache.get("key", MISSING) is MISSING


async def test_a_data_connection_to_another_server(open_cache: Open, own_redis: RedisServer) -> None:
    """SPEC 5.6: as soon as it is not the listener's server that is read, memory is not told any more."""
    cache = await open_cache()
    await cache.set("key", 1)  # reads and writes are connected: nobody who connects says again which server it is
    cache._parts.redis.store._servers.run_id = "0" * 40
    await until(lambda: state(cache) == "timed")
    await command(own_redis, "CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: state(cache) == "tracking")


@pytest.mark.parametrize("missing", ["-client|tracking", "-subscribe", "-ping", "resetchannels"])
async def test_a_user_who_may_not_listen(open_cache: Open, own_redis: RedisServer, missing: str) -> None:
    """SPEC 5.6: told once; memory asks every few seconds, and everything else works."""
    await command(own_redis, "ACL", "SETUSER", "app", "on", ">sesame", "~*", "+@all", "&*", missing)
    recorder = Recorder()
    cache = ToolCache(redis_url=own_redis.url, redis_username="app", redis_password="sesame", files=False)
    cache.subscribe(recorder)
    async with cache:
        assert await cache.set("key", 1) is Durability.REDIS
        await until(lambda: recorder.of(TrackingRefused))
        assert [event.reason for event in recorder.of(TrackingRefused)] == ["NOPERM"]
        assert state(cache) == "timed"
        assert await cache.get("key") == 1
        assert (await cache.health()).status == "ok"
        assert recorder.of(CoherenceChanged) == []


async def test_a_user_who_may_not_hear_of_claims(own_redis: RedisServer) -> None:
    """The ends of claims come over the same connection, on a channel of their own; without a right to that, all else does."""
    rights = ("resetchannels", "&__redis__:invalidate")
    await command(own_redis, "ACL", "SETUSER", "app", "on", ">sesame", "~*", "+@all", *rights)
    for channels, hears in (((), False), (("&tc1:w:*",), True)):
        await command(own_redis, "ACL", "SETUSER", "app", *channels)
        async with ToolCache(
            redis_url=own_redis.url, redis_username="app", redis_password="sesame", files=False
        ) as cache:
            await cache.get("warm")
            await until(lambda cache=cache: state(cache) == "tracking")  # type: ignore[misc]  # bound now
            assert cache._parts.redis is not None
            assert cache._parts.redis.claims is not None
            assert cache._parts.redis.claims.hears is hears


async def test_the_end_of_a_claim_goes_to_those_who_do_not_know_it(open_cache: Open, own_redis: RedisServer) -> None:
    """Where nobody but the caller listens, nothing is published, and who waits here is told all the same."""

    async def published(cache: ToolCache, key: str = "tc1:c:default:k") -> int:
        store = cache._machine.ledger.layers[0].store
        holder = Holder(store, key, 600.0)
        before = await _published(own_redis)
        await holder.claim()
        waiting = asyncio.create_task(store.until_ended(key, holder.standing))
        await holder.release()
        async with asyncio.timeout(20):
            await waiting
        return await _published(own_redis) - before

    one = await open_cache()
    assert await published(one) == 0
    await command(own_redis, "ACL", "SETUSER", "default", "-pubsub")
    assert await published(one) == 1
    await command(own_redis, "ACL", "SETUSER", "default", "+pubsub")
    two = await open_cache()
    assert [await published(cache) for cache in (one, two)] == [1, 1]
    await open_cache(namespace="other")
    assert await published(one, "tc1:c:other:k") == 1
    await two.aclose()
    await until(lambda: own_redis.command("PUBSUB", "NUMSUB", "tc1:w:default")[1] == 1)
    assert await published(one) == 0


async def _published(server: RedisServer) -> int:
    told = (await command(server, "INFO", "commandstats")).decode()
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in told.splitlines() if "cmdstat_publish:" in line)


async def test_nonsense_on_the_channel(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-31, BUG-32: whatever anybody publishes there, the listener goes on, and at most memory asks again."""
    cache = await open_cache()
    await cache.set("key", 1)
    for text in ("", "tc1:v:default:key", "x" * 100_000, b"\xff\x00"):
        await fill(cache, "key")
        await command(own_redis, "PUBLISH", "__redis__:invalidate", text)
        await command(own_redis, "SET", b"tc1:v:default:\xff%zz~", text)
    await until(lambda: not settled(cache, "key"))
    assert await fill(cache, "key") == 1
    assert state(cache) == "tracking"


async def test_many_keys_at_once_do_not_hold_up_the_loop(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-32: 20,000 keys that one script writes are heard of, all of them, and others run meanwhile."""
    cache = await open_cache()
    await cache.set("k19999", 1)
    await fill(cache, "k19999")
    script = "for i = 0, 19999 do redis.call('SET', 'tc1:v:default:k' .. i, 'x') end"
    await command(own_redis, "EVAL", script, 0)
    await until(lambda: not settled(cache, "k19999"))
    assert state(cache) == "tracking"


async def test_closing_leaves_nothing(own_redis: RedisServer) -> None:
    """LC-12: neither task nor connection, wherever in its life the listener is closed."""
    for ticks in range(12):
        cache = ToolCache(redis_url=own_redis.url, files=False)
        await cache.get("key")
        for _ in range(ticks):
            await asyncio.sleep(0)
        await cache.aclose()
        assert state(cache) == "timed"
    async with ToolCache(redis_url=own_redis.url, files=False) as cache:
        await cache.get("key")
        await until(lambda: state(cache) == "tracking")
    assert tasks() == set()
    assert await asyncio.to_thread(clients, own_redis) == []


def test_loops_one_after_another(own_redis: RedisServer) -> None:
    """BUG-14: each listens anew; what was changed between two loops is not served in the second."""
    cache = ToolCache(redis_url=own_redis.url, files=False)

    async def use(number: int) -> None:
        assert await cache.get("key", 0) == number
        await until(lambda: state(cache) == "tracking")
        await fill(cache, "key")

    async def write(number: int) -> None:
        async with ToolCache(redis_url=own_redis.url, files=False) as other:
            await other.set("key", number)

    asyncio.run(write(0))
    for number in range(5):
        asyncio.run(use(number))
        assert state(cache) == "timed"
        asyncio.run(write(number + 1))
    asyncio.run(cache.aclose())


def test_two_loops_side_by_side(own_redis: RedisServer) -> None:
    """LC-02: one of them listens, for both; when it ends, or stands still, the other one does."""
    cache = ToolCache(redis_url=own_redis.url, files=False)
    listening, leave, still = threading.Event(), threading.Event(), threading.Event()

    async def first() -> None:
        await cache.get("key")
        await until(lambda: state(cache) == "tracking")
        listening.set()
        await asyncio.to_thread(leave.wait)

    async def second() -> None:
        await fill(cache, "key")
        await asyncio.to_thread(own_redis.command, "DEL", "tc1:v:default:key")
        await until(lambda: not settled(cache, "key"))
        leave.set()
        await until(lambda: state(cache) == "tracking" and cache._machine.bus._listener)
        await asyncio.to_thread(thread.join)
        await until(lambda: state(cache) == "tracking")
        still.set()

    async def third() -> None:
        await cache.aclose()

    async def seed() -> None:
        async with ToolCache(redis_url=own_redis.url, files=False) as other:
            await other.set("key", 1)

    asyncio.run(seed())
    thread = threading.Thread(target=asyncio.run, args=(first(),))
    thread.start()
    assert listening.wait(20)
    asyncio.run(second())
    assert still.is_set()
    asyncio.run(third())


def test_a_forked_child_listens_for_itself(own_redis: RedisServer) -> None:
    """LC-09: over a connection of its own; the parent's goes on."""
    code = """
        import asyncio, os, sys, warnings
        from hearing import fill, settled, state, until
        from programs import clients
        from toolcache import ToolCache
        warnings.simplefilter("ignore")
        cache = ToolCache(redis_url=sys.argv[1], files=False)

        async def use(key):
            await cache.get(key)
            await until(lambda: state(cache) == "tracking")
            await cache.set(key, 1)
            assert await fill(cache, key) == 1

        async def parent():
            await use("parent")
            pid = os.fork()
            if not pid:
                return False
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            assert status == 0, status
            await until(lambda: not settled(cache, "parent"))  # the child wrote it
            assert state(cache) == "tracking"
            await cache.aclose()
            return True

        async def child():
            assert state(cache) == "timed"
            assert len(cache._parts.memory) == 0
            await use("child")
            await cache.set("parent", 2)
            await cache.aclose()

        loop = asyncio.new_event_loop()
        if loop.run_until_complete(parent()):
            print("done")
        else:
            asyncio.events._set_running_loop(None)
            asyncio.run(child())
            os._exit(0)
    """
    assert run(code, own_redis.url) == ("done\n", "")


async def test_what_redis_does_not_take_is_heard_of_by_way_of_the_files(
    open_cache: Open, own_redis: RedisServer, tmp_path: Path
) -> None:
    """BUG-28: Redis is full, and tells nobody of a write that it refuses; the processes of the host hear all the same."""
    one, two = [await open_cache(files=True, directory=tmp_path) for _ in range(2)]
    await one.set("key", "old")
    assert await fill(two, "key") == "old"
    await asyncio.to_thread(own_redis.config, maxmemory=1)
    assert await one.set("key", "new") is Durability.FILE
    await until(lambda: not settled(two, "key"), BOUND)
    assert state(two) == "tracking"
    assert await two.get("key") == "new"


async def test_what_is_computed_after_an_own_delete_is_stored(tmp_path: Path) -> None:
    """BUG-33: hearing, by way of the files, of a delete that the computation has seen keeps nothing out."""
    async with ToolCache(directory=tmp_path) as cache:
        await cache.set("key", 1)
        await cache.delete("key")

        async def compute() -> int:
            await cache._machine._follower.catch_up()
            await asyncio.sleep(0.05)
            return 2

        assert await cache.get_or_set("key", compute) == 2
        assert await cache.get("key", MISSING) == 2


@pytest.mark.parametrize("killing", [False, True])
async def test_nothing_is_stale_at_rest(open_cache: Open, own_redis: RedisServer, killing: bool) -> None:
    """BUG-29, BUG-30: three processes read, set, delete, add and compute the same keys at once; then all agree for good."""
    caches = [await open_cache() for _ in range(3)]
    chance = random.Random(7)
    keys = [f"key{n}" for n in range(100)]
    numbers = itertools.count()

    async def work(cache: ToolCache) -> None:
        for _ in range(600):
            key, number = chance.choice(keys), next(numbers)
            call = chance.randrange(8)
            if call == 0:
                await cache.set(key, number)
            elif call == 1:
                await cache.delete(key)
            elif call == 2:
                await cache.add(key, number)
            elif call == 3:
                await cache.get_or_set(key, lambda number=number: asyncio.sleep(0.001, number))
            else:
                await cache.get_many(chance.sample(keys, 3))

    async def kill() -> None:
        while killing:
            await command(own_redis, "CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.1)

    killer = asyncio.create_task(kill())
    await asyncio.gather(*(work(cache) for cache in caches * 4))
    killer.cancel()
    await asyncio.gather(*(task for cache in caches for task in cache._machine.homes.here()._tasks))
    await until(lambda: all(state(cache) == "tracking" for cache in caches))
    await asyncio.sleep(0.2)  # the last messages
    fresh = await (await open_cache(listening=False, coherence=False)).get_many(keys)
    for cache in caches:
        assert await cache.get_many(keys) == fresh
        assert any(settled(cache, key) for key in keys)


@pytest.mark.parametrize("what", ["gap", "flush", "clear"])
async def test_a_read_under_way_while_messages_were_lost(open_cache: Open, own_redis: RedisServer, what: str) -> None:
    """BUG-29, BUG-30: what was answered before a gap, a flush or a clear, and comes in after it, is not kept."""
    one, two = await open_cache(), await open_cache()
    recorder = Recorder()
    two.subscribe(recorder)
    await one.set("key", "old")
    store = two._parts.redis.store
    get_many = store.get_many
    sent, go = asyncio.Event(), asyncio.Event()

    async def slow(keys: list[str]) -> list[bytes | None]:
        blobs: list[bytes | None] = await get_many(keys)
        if not sent.is_set():
            sent.set()
            await go.wait()
        return blobs

    store.get_many = slow
    era = two._parts.memory.era
    reading = asyncio.create_task(two.get("key"))
    await sent.wait()
    if what == "gap":
        await command(own_redis, "CLIENT", "KILL", "TYPE", "pubsub")
        await one.delete("key")
        await until(lambda: len(recorder.of(CoherenceChanged)) == 2)
    else:
        await (command(own_redis, "FLUSHALL") if what == "flush" else one.clear())
        await until(lambda: two._parts.memory.era != era)
    go.set()
    assert await reading == "old" or what == "clear"
    assert not settled(two, "key")
    assert await two.get("key", MISSING) is MISSING


async def test_who_is_denied_does_not_ask_again_and_again(open_cache: Open, own_redis: RedisServer) -> None:
    """EC-08: while the breaker rests because access was denied, the listener rests as well; it is back after that."""
    own_redis.config(requirepass="new")
    cache = await open_cache(listening=False, recovery_time="60s", op_timeout=2)
    await until(lambda: cache._parts.redis.guard.denied)

    def connections() -> int:
        lines = own_redis.command("INFO", "stats", password="new").decode().splitlines()
        return int(next(line.split(":")[1] for line in lines if line.startswith("total_connections_received")))

    await asyncio.sleep(1)  # one that was on its way is over
    before = connections()
    await asyncio.sleep(1)  # it would have tried again: a lost connection is replaced in a twentieth of that
    assert connections() == before + 1  # that which asks
    own_redis.command("CONFIG", "SET", "requirepass", "", password="new")
    cache._parts.redis.guard.breaker.reset()
    await until(lambda: state(cache) == "tracking")


async def test_a_set_whose_caller_left_is_acknowledged_all_the_same(open_cache: Open, own_redis: RedisServer) -> None:
    """LC-04: memory knows that Redis has it, and asks there once Redis was flushed."""
    cache = await open_cache()
    task = asyncio.create_task(cache.set("key", "value"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.gather(*cache._machine.homes.here()._tasks)
    await command(own_redis, "FLUSHALL")
    async with asyncio.timeout(5):
        while await cache.get("key", MISSING) is not MISSING:  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.05)
