"""The Redis store against a server that is down, frozen, full, forbidden or otherwise unwell.

The store retries nothing and hides nothing: it raises redis-py's own errors, which mean what they should, and works
again when the server does, without being told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from proxy import FaultProxy
from redis.exceptions import (
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as LostError,
)
from servers import RedisServer, free_port

from toolcache.protocols import PutStatus, Write
from toolcache.resilience.faults import FaultKind, classify, connection_lost
from toolcache.stores.redis.store import RedisStore
from toolcache.testing.stores import blob_of, version_of

_PATIENCE = 0.3


@pytest.fixture
async def store(own_redis: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on a server of the test's own, with little patience."""
    store = RedisStore(own_redis.url, op_timeout=_PATIENCE, connect_timeout=2.0)
    yield store
    await store.aclose()


def write(key: str, body: bytes = b"body", *, version: int = 1) -> Write:
    """A write of a whole blob, as of now."""
    return Write(key, blob_of(key, body, version=version, now=time.time()))


async def works(store: RedisStore, *, within: float = 10.0) -> bool:
    """Whether the store answers again, within a time that only a broken store exceeds."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            await store.get_many(["anything"])
        except RedisError:
            await asyncio.sleep(0.02)
        else:
            return True
    return False


async def kind_of(failing: Any, *, mutation: bool = False) -> FaultKind:
    """What the error that is raised means."""
    with pytest.raises(RedisError) as raised:
        await failing
    return classify(raised.value, mutation=mutation)


# Away


async def test_nobody_listens() -> None:
    """EC-04: refused at once, as class CONN; the next call tries again."""
    store = RedisStore(f"redis://127.0.0.1:{free_port()}")
    for _ in range(3):
        started = time.monotonic()
        assert await kind_of(store.get_many(["k"])) is FaultKind.CONN
        assert time.monotonic() - started < 1.0
    await store.aclose()


async def test_no_such_host() -> None:
    """EC-04: a name that cannot be resolved is class CONN."""
    store = RedisStore("redis://no-such-host.invalid", connect_timeout=10.0)
    assert await kind_of(store.get_many(["k"])) is FaultKind.CONN
    await store.aclose()


async def test_all_who_wait_for_a_connection_get_one_error() -> None:
    """EC-08: a failed connect is one failure, however many operations it failed: the very same exception."""
    store = RedisStore(f"redis://127.0.0.1:{free_port()}")
    errors = await asyncio.gather(*(store.get_many([f"k{n}"]) for n in range(20)), return_exceptions=True)
    assert len({id(error) for error in errors}) == 1
    assert isinstance(errors[0], LostError)
    await store.aclose()


@pytest.mark.parametrize("keep", [False, True])
async def test_a_restarted_server_is_found_again(store: RedisStore, own_redis: RedisServer, keep: bool) -> None:
    """BUG-66: connection, scripts and identity recover by themselves after a kill, empty or with data."""
    one = write("k")
    await store.put_many([one])
    before = store.run_id
    await asyncio.to_thread(own_redis.restart, keep=keep)
    assert await works(store)
    assert await store.get_many(["k"]) == ([one.blob] if keep else [None])
    assert (await store.put_many([write("k", version=2)]))[0].status is PutStatus.STORED
    assert store.run_id != before


async def test_an_idle_connection_that_was_closed_is_not_used(store: RedisStore, own_redis: RedisServer) -> None:
    """BUG-66: a server that closed us while we were idle costs no failed operation."""
    await store.get_many(["k"])
    own_redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)
    assert await store.get_many(["k"]) == [None]


async def test_a_server_killed_under_way(own_redis: RedisServer) -> None:
    """BUG-66: what was under way fails at once as a lost connection, which may be tried again on another."""
    store = RedisStore(own_redis.url, op_timeout=30.0)
    await store.get_many(["k"])
    own_redis.freeze()
    waiting = [asyncio.ensure_future(store.get_many(["k"])) for _ in range(5)]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(own_redis.stop)
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, LostError)
        assert connection_lost(error)
    await store.aclose()


# Frozen


async def test_a_frozen_server_fails_those_who_wait_long(store: RedisStore, own_redis: RedisServer) -> None:
    """A silent server is given up after ``op_timeout``, and works again once thawed."""
    await store.get_many(["k"])
    with own_redis.frozen():
        started = time.monotonic()
        assert await kind_of(store.get_many(["k"])) is FaultKind.CONN
        assert _PATIENCE <= time.monotonic() - started < _PATIENCE + 2.0
    assert await works(store)


async def test_a_write_applied_late_is_harmless(own_redis: RedisServer) -> None:
    """OR-08, BUG-66: what a caller gave up is executed at the thaw, and does not disturb a newer value."""
    store = RedisStore(own_redis.url, op_timeout=30.0)
    await store.put_many([write("k", b"zero", version=1)])
    own_redis.freeze()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.put_many([write("k", b"given up", version=2)])
    newer = asyncio.ensure_future(store.put_many([write("k", b"newer", version=3)]))
    again = asyncio.ensure_future(store.put_many([write("k", b"given up", version=2)]))
    await asyncio.sleep(0.05)
    own_redis.thaw()
    assert (await newer)[0] == (PutStatus.STORED, version_of(3), True)
    assert (await again)[0] == (PutStatus.NEWER, version_of(3), True)
    assert await store.get_many(["k"]) == [own_redis.command("GET", "k")]
    await store.aclose()


async def test_a_write_that_arrives_from_a_dead_connection(own_redis: RedisServer) -> None:
    """A request held by the network arrives after its connection was given up, and after a newer write."""
    async with FaultProxy(own_redis.port) as proxy:
        store = RedisStore(proxy.url, op_timeout=_PATIENCE)
        await store.put_many([write("k", b"one", version=1)])
        proxy.mode = "up"
        assert await kind_of(store.put_many([write("k", b"late", version=2)]), mutation=True) is FaultKind.CONN
        newer = write("k", b"newer", version=3)
        own_redis.command("SET", "k", newer.blob)
        proxy.mode = "pass"
        await asyncio.sleep(0.05)
        assert await works(store)
        assert await store.get_many(["k"]) == [newer.blob]
        await store.aclose()


async def test_a_lost_reply_is_found_again(own_redis: RedisServer) -> None:
    """A write that was applied while its reply was lost is recognised when it is repeated."""
    async with FaultProxy(own_redis.port) as proxy:
        store = RedisStore(proxy.url, op_timeout=_PATIENCE)
        await store.put_many([write("other")])
        proxy.mode = "down"
        assert await kind_of(store.put_many([write("k")]), mutation=True) is FaultKind.CONN
        proxy.mode = "pass"
        assert await works(store)
        assert (await store.put_many([write("k")]))[0] == (PutStatus.ALREADY, version_of(1), True)
        await store.aclose()


async def test_connecting_outlives_who_wanted_it(own_redis: RedisServer) -> None:
    """A slow connect goes on when its caller has left, and serves the next one: one connection, not two."""
    async with FaultProxy(own_redis.port) as proxy:
        proxy.mode = "down"
        store = RedisStore(proxy.url, op_timeout=5.0, connect_timeout=20.0)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await store.get_many(["k"])
        proxy.mode = "pass"
        assert await store.get_many(["k"]) == [None]
        assert proxy.accepted == 1
        await store.aclose()


async def test_connecting_ends_at_its_own_time(own_redis: RedisServer) -> None:
    """``connect_timeout`` bounds a connect to which the server says nothing."""
    async with FaultProxy(own_redis.port) as proxy:
        proxy.mode = "hold"
        store = RedisStore(proxy.url, connect_timeout=0.2)
        started = time.monotonic()
        assert await kind_of(store.get_many(["k"])) is FaultKind.CONN
        assert 0.15 < time.monotonic() - started < 3.0
        await store.aclose()


async def test_closing_while_connecting(own_redis: RedisServer) -> None:
    """Who waits for a connection is told, not cancelled, when the store is closed."""
    async with FaultProxy(own_redis.port) as proxy:
        proxy.mode = "hold"
        store = RedisStore(proxy.url)
        waiting = asyncio.ensure_future(store.get_many(["k"]))
        await asyncio.sleep(0.05)
        await store.aclose()
        with pytest.raises(Exception, match="closed") as raised:
            await waiting
        assert classify(raised.value) is FaultKind.LOCAL


async def test_closing_a_store_whose_server_is_frozen(store: RedisStore, own_redis: RedisServer) -> None:
    """Closing waits for what is under way as long as ``op_timeout``, and no longer."""
    await store.get_many(["k"])
    with own_redis.frozen():
        waiting = asyncio.ensure_future(store.get_many(["k"]))
        await asyncio.sleep(0)
        started = time.monotonic()
        await store.aclose()
        assert time.monotonic() - started < _PATIENCE + 2.0
        with pytest.raises(LostError):
            await waiting


# Unwell


def _full(server: RedisServer) -> None:
    server.config(maxmemory_policy="noeviction", maxmemory="1mb")
    server.command("CONFIG", "SET", "maxmemory", 1)


def _read_only(server: RedisServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", free_port())


def _cannot_save(server: RedisServer) -> None:
    (server.directory / "blocked").mkdir()
    server.config(dbfilename="blocked", save="3600 1", stop_writes_on_bgsave_error="yes")
    server.command("BGSAVE")
    give_up = time.monotonic() + 10
    while b"rdb_last_bgsave_status:err" not in server.command("INFO", "persistence") and time.monotonic() < give_up:
        time.sleep(0.02)


def _no_replicas(server: RedisServer) -> None:
    server.config(min_replicas_to_write=1)


@pytest.mark.parametrize(
    ("spoil", "cure", "error"),
    [
        (_full, lambda s: s.config(maxmemory=0), OutOfMemoryError),
        (_read_only, lambda s: s.command("REPLICAOF", "NO", "ONE"), ReadOnlyError),
        (_cannot_save, lambda s: s.config(stop_writes_on_bgsave_error="no"), ResponseError),
        (_no_replicas, lambda s: s.config(min_replicas_to_write=0), ResponseError),
    ],
)
async def test_a_server_that_takes_no_writes(
    store: RedisStore,
    own_redis: RedisServer,
    spoil: Callable[[RedisServer], None],
    cure: Callable[[RedisServer], Any],
    error: type[RedisError],
) -> None:
    """EC-06, EC-07: OOM, READONLY, MISCONF, NOREPLICAS keep their class through the script; reads go on meanwhile."""
    one = write("k")
    await store.put_many([one])
    await asyncio.to_thread(spoil, own_redis)
    batches = (
        [write("k", version=2)],
        [write(f"b{n}") for n in range(200)],
        [write("small"), write("big", bytes(99_999))],
    )
    for batch in batches:
        with pytest.raises(error) as raised:
            await store.put_many(batch)
        assert classify(raised.value, mutation=True) is FaultKind.WRITE_REFUSED
    assert await store.get_many(["k"]) == [one.blob]
    cure(own_redis)
    assert (await store.put_many([write("k", version=2)]))[0].status is PutStatus.STORED


async def test_a_user_who_may_not_write(own_redis: RedisServer) -> None:
    """NOPERM concerns the writes alone where reading is allowed, and everything where it is not."""
    own_redis.command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+time")
    own_redis.command("ACL", "SETUSER", "nobody", "on", ">pw", "~*")
    reader = RedisStore(own_redis.url, username="reader", password="pw")
    assert await reader.get_many(["k"]) == [None]
    assert await kind_of(reader.put_many([write("k")]), mutation=True) is FaultKind.WRITE_REFUSED
    nobody = RedisStore(own_redis.url, username="nobody", password="pw")
    assert await kind_of(nobody.get_many(["k"])) is FaultKind.AUTH
    await reader.aclose()
    await nobody.aclose()


async def test_a_password_that_appears(store: RedisStore, own_redis: RedisServer) -> None:
    """EC-08: open connections go on; a new one is refused, as class AUTH."""
    await store.get_many(["k"])
    own_redis.config(requirepass="s")
    assert await store.get_many(["k"]) == [None]
    own_redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password="s")
    await asyncio.sleep(0.05)
    assert await kind_of(store.get_many(["k"])) is FaultKind.AUTH
    own_redis.command("CONFIG", "SET", "requirepass", "", password="s")
    assert await works(store)


async def test_a_server_that_is_loading(own_redis: RedisServer) -> None:
    """EC-09: a reply, not a lost connection: everybody gets its own error, and the connection serves afterwards."""
    own_redis.command("DEBUG", "POPULATE", 4_000, "filler", 10)
    own_redis.command("SAVE")
    await asyncio.to_thread(own_redis.stop)
    slow = ("--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")
    await asyncio.to_thread(own_redis.start, *slow)
    store = RedisStore(own_redis.url, op_timeout=30.0, connect_timeout=30.0)
    with pytest.raises(BusyLoadingError) as raised:
        await store.get_many(["k"])
    assert classify(raised.value) is FaultKind.CONN
    assert await works(store, within=30.0)
    await store.aclose()


async def test_a_server_busy_with_a_script(store: RedisStore, own_redis: RedisServer) -> None:
    """EC-10: BUSY is class CONN; once the script is killed the store goes on."""
    await store.get_many(["k"])
    own_redis.config(busy_reply_threshold=50)
    endless = asyncio.create_task(asyncio.to_thread(own_redis.command, "EVAL", "while true do end", 0))
    kinds = set()
    give_up = time.monotonic() + 10
    while FaultKind.CONN not in kinds and time.monotonic() < give_up:
        try:
            await store.get_many(["k"])
        except RedisError as error:
            kinds.add(classify(error))
    own_redis.command("SCRIPT", "KILL")
    with pytest.raises(ResponseError):
        await endless
    assert kinds == {FaultKind.CONN}
    assert await works(store)


async def test_a_server_with_too_many_clients(store: RedisStore, own_redis: RedisServer) -> None:
    """EC-13: class CONN, and no attempt to connect again at once; recovery when there is room."""
    own_redis.config(maxclients=1)
    async with FaultProxy(own_redis.port) as proxy:
        taken = RedisStore(proxy.url)
        await taken.get_many(["k"])
        with pytest.raises(RedisError) as raised:
            await store.get_many(["k"])
        assert classify(raised.value) is FaultKind.CONN
        await taken.aclose()
    assert await works(store)


async def test_a_paused_server(store: RedisStore, own_redis: RedisServer) -> None:
    """While writes are paused a write is given up, and reads go on, over another connection if need be."""
    await store.put_many([write("k")])
    own_redis.command("CLIENT", "PAUSE", 60_000, "WRITE")
    assert (await store.get_many(["k"]))[0] is not None
    assert await kind_of(store.put_many([write("k", version=2)]), mutation=True) is FaultKind.CONN
    assert (await store.get_many(["k"]))[0] is not None
    own_redis.command("CLIENT", "UNPAUSE")
    assert (await store.put_many([write("k", version=3)]))[0].status is PutStatus.STORED


async def test_an_unknown_command_does_not_repeat_the_key(own_redis: RedisServer) -> None:
    """BUG-107: servers repeat the arguments of commands they do not know; the error that is raised does not."""
    own_redis.close()
    with RedisServer("--rename-command", "GETRANGE", "") as odd:
        store = RedisStore(odd.url)
        with pytest.raises(ResponseError, match="unknown command") as raised:
            await store.get_many(["the-secret-of-the-key"])
        assert "the-secret-of-the-key" not in str(raised.value) + repr(raised.value)
        assert classify(raised.value) is FaultKind.SEMANTIC
        await store.aclose()


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    """BUG-104: works, and tells a wrong password from an absent server as it does over TCP."""
    path = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(path), "--requirepass", "pw") as server:
        assert server.running
        store = RedisStore(f"unix://:pw@{path}?db=1")
        one = write("k")
        await store.put_many([one])
        assert await store.get_many(["k"]) == [one.blob]
        await store.aclose()
        wrong = RedisStore(f"unix://:wrong@{path}")
        assert await kind_of(wrong.get_many(["k"])) is FaultKind.AUTH
        await wrong.aclose()
    absent = RedisStore(f"unix://{path}")
    assert await kind_of(absent.get_many(["k"])) is FaultKind.CONN
    await absent.aclose()
