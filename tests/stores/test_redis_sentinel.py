"""The Redis store and the master that sentinels name, by real sentinels and by ones that say what a test wants."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from deployments import WatchedServers, eventually
from loads import resumed, under_load
from redis.asyncio.sentinel import MasterNotFoundError
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError
from servers import RedisServer, free_port, supports_tls

from toolcache import Durability, ToolCache
from toolcache.clock import SYSTEM
from toolcache.groups import SupportsGroups
from toolcache.protocols import Clock, PutStatus, Store, Write
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import FakeClock
from toolcache.testing.groups import GroupsContract
from toolcache.testing.stores import StoreContract, blob_of

_SECRET = "sesame-of-the-sentinels"
_RESUMED_SECONDS = 25.0


def write(key: str, body: bytes = b"body", *, version: int = 1) -> Write:
    """A write of a whole blob, as of now."""
    return Write(key, blob_of(key, body, version=version, now=time.time()))


@pytest.fixture(scope="module")
def _watched() -> Iterator[WatchedServers]:
    with WatchedServers(down_after_ms=20_000) as watched:  # on a busy machine a server may say nothing for a while
        yield watched


@pytest.fixture
def watched(_watched: WatchedServers) -> WatchedServers:
    """The module's servers, empty. For tests that neither kill nor demote one."""
    _watched.master.command("FLUSHALL")
    return _watched


@pytest.fixture
def own_watched() -> Iterator[WatchedServers]:
    """Servers of the test's own."""
    with WatchedServers() as watched:
        yield watched


class TestBehindSentinels(StoreContract):
    """The store keeps its contract at the master that sentinels name."""

    @pytest.fixture(autouse=True)
    def _servers(self, watched: WatchedServers) -> None:
        self.watched = watched

    @pytest.fixture
    async def store(self, watched: WatchedServers, clock: FakeClock) -> AsyncIterator[RedisStore]:
        """A store on the module's servers."""
        store = RedisStore(watched.url, clock=clock, op_timeout=5.0)
        yield store
        await store.aclose()

    async def damage(self, store: Store, key: str) -> None:
        """Overwrite the value with bytes of another program."""
        self.watched.master.command("SET", key, b"\x80\x04garbage of somebody else, longer than a header is" * 3)


class TestGroupsBehindSentinels(GroupsContract):
    """And that of groups."""

    @pytest.fixture(autouse=True)
    def _servers(self, watched: WatchedServers) -> None:
        self.watched = watched

    @pytest.fixture
    async def grouping(self, watched: WatchedServers) -> AsyncIterator[RedisStore]:
        """A store on the module's servers."""
        store = RedisStore(watched.url, op_timeout=5.0)
        yield store
        await store.aclose()

    @pytest.fixture
    def clock(self) -> Clock:
        """The machine's, as the servers'."""
        return SYSTEM

    async def damage(self, store: SupportsGroups, group: str, name: str) -> None:
        """Another program has written there."""
        self.watched.master.command("HSET", group, name, b"garbage" * 50)


async def test_a_cache_takes_the_url(watched: WatchedServers) -> None:
    """BUG-104: the URL alone is enough; what is shown of it says where the sentinels are."""
    async with ToolCache(redis_url=watched.url, files=False) as cache:
        assert await cache.set("k", 1) is Durability.REDIS
        health = await cache.health()
        assert health.redis is not None
        assert health.redis.where == f"{watched.url}/0"
    assert len(watched.master.command("KEYS", "tc1:v:*")) == 1


async def test_the_database_and_the_name_arrive(watched: WatchedServers) -> None:
    """BUG-104: the number in the path, and ``client_name``; who asks the sentinels does not stay there."""
    store = RedisStore(f"{watched.url}/3?client_name=me")
    assert [one.status for one in await store.put_many([write("k")])] == [PutStatus.STORED]
    assert watched.master.command("EXISTS", "k", db=3) == 1
    assert b"name=me" in watched.master.command("CLIENT", "LIST")
    await store.aclose()


# -- A failover ----------------------------------------------------------------------------------------------------


async def test_a_master_that_is_killed_under_load(own_watched: WatchedServers) -> None:
    """BUG-104: calls are acknowledged again within bounded time; until then every failure is one of the connection."""
    store = RedisStore(own_watched.url, op_timeout=0.3, connect_timeout=1.0)
    async with under_load(store) as log:
        await resumed(log, within=_RESUMED_SECONDS)
        before = store.run_id
        await asyncio.to_thread(own_watched.master.stop)
        await resumed(log, within=_RESUMED_SECONDS)
    assert set(log.faults) == {FaultKind.CONN}, log.examples
    assert not log.wrong
    assert own_watched.replica.command("DBSIZE") > 0
    assert store.run_id not in {None, before}
    await store.aclose()


async def test_a_cache_whose_master_is_killed(own_watched: WatchedServers) -> None:
    """BUG-104: no caller meets an error; writes are in Redis again, at the new master, without a restart of anything."""
    async with ToolCache(
        redis_url=own_watched.url, files=False, op_timeout=0.5, connect_timeout=1.0, recovery_time=0.2
    ) as cache:
        assert await cache.set("k", 0) is Durability.REDIS
        await asyncio.to_thread(own_watched.master.stop)
        assert await cache.set("k", 1) is Durability.MEMORY
        give_up = time.monotonic() + _RESUMED_SECONDS
        while await cache.set("k", 2) is not Durability.REDIS:
            assert await cache.get("k") == 2
            assert time.monotonic() < give_up
            await asyncio.sleep(0.02)
    assert len(own_watched.replica.command("KEYS", "tc1:v:*")) == 1


async def test_a_master_that_is_frozen_under_load(own_watched: WatchedServers) -> None:
    """BUG-104: the new master is found although the old one's connections stay open; thawed, it is not gone back to."""
    store = RedisStore(own_watched.url, op_timeout=0.3, connect_timeout=1.0)
    async with under_load(store) as log:
        await resumed(log, within=_RESUMED_SECONDS)
        own_watched.master.freeze()
        try:
            await resumed(log, within=_RESUMED_SECONDS)
        finally:
            own_watched.master.thaw()
        await asyncio.to_thread(eventually, lambda: b"role:slave" in own_watched.master.command("INFO", "replication"))
        await resumed(log, within=_RESUMED_SECONDS)
    assert set(log.faults) == {FaultKind.CONN}, log.examples
    assert not log.wrong
    await store.aclose()


async def test_an_operators_failover_under_load(own_watched: WatchedServers) -> None:
    """BUG-104: the old master lives on as a replica, and no write is refused as if the master were read-only."""
    store = RedisStore(own_watched.url, op_timeout=0.3, connect_timeout=1.0)
    async with under_load(store) as log:
        await resumed(log, within=_RESUMED_SECONDS)
        await asyncio.to_thread(own_watched.fail_over)
        await asyncio.to_thread(eventually, lambda: b"role:slave" in own_watched.master.command("INFO", "replication"))
        await resumed(log, within=_RESUMED_SECONDS)
    assert set(log.faults) <= {FaultKind.CONN}, log.examples
    assert own_watched.replica.command("INFO", "replication").startswith(b"# Replication\r\nrole:master")
    await store.aclose()


async def test_a_master_that_turns_read_only_is_left(own_redis: RedisServer) -> None:
    """BUG-104: READONLY on a connection that stands leads to asking the sentinels, and to the master they name then."""
    with RedisServer() as other:
        async with StubSentinel(own_redis.port) as sentinel:
            store = RedisStore(sentinel.url, op_timeout=2.0)
            await store.put_many([write("k")])
            assert await store.get_many(["other"]) == [None]
            own_redis.command("REPLICAOF", "127.0.0.1", other.port)
            with pytest.raises(RedisError) as raised:
                await store.put_many([write("k", version=2)])
            assert classify(raised.value, mutation=True) is FaultKind.CONN
            with pytest.raises(MasterNotFoundError) as refused:  # the sentinel has not heard of it
                await store.put_many([write("k", version=2)])
            assert classify(refused.value, mutation=True) is FaultKind.CONN
            sentinel.port_named = other.port
            await store.put_many([write("k", version=2)])
            assert other.command("EXISTS", "k") == 1
            other.command("SET", "other", write("other").blob)
            assert await store.get_many(["other"]) != [None], "reads have stayed with the server that was"
            await store.aclose()


# -- The sentinels -------------------------------------------------------------------------------------------------


async def test_sentinels_that_are_dead_frozen_or_ignorant(own_redis: RedisServer) -> None:
    """BUG-104: one that knows is enough, and is found without waiting for the others to time out."""
    with RedisServer() as replica:
        replica.command("REPLICAOF", "127.0.0.1", own_redis.port)
        async with (
            StubSentinel(None) as ignorant,
            StubSentinel(replica.port) as mistaken,
            StubSentinel(own_redis.port, silent=True) as frozen,
            StubSentinel(own_redis.port) as good,
        ):
            ports = (free_port(), frozen.port, ignorant.port, mistaken.port, good.port)
            places = ",".join(f"127.0.0.1:{port}" for port in ports)
            store = RedisStore(f"redis+sentinel://{places}/main", connect_timeout=20.0)
            started = time.monotonic()
            assert await store.get_many(["k"]) == [None]
            assert time.monotonic() - started < 10.0
            assert own_redis.command("INFO", "commandstats").count(b"getrange") == 1
            await store.aclose()


async def test_one_sentinel_refuses_and_another_names_a_dead_master() -> None:
    """EC-04: class CONN, since a failover may be under way; where all refuse, class AUTH."""
    async with StubSentinel(1, refusing=True) as refusing, StubSentinel(free_port()) as other:
        store = RedisStore(f"redis+sentinel://127.0.0.1:{refusing.port},127.0.0.1:{other.port}/main")
        with pytest.raises(RedisError) as raised:
            await store.get_many(["k"])
        assert classify(raised.value) is FaultKind.CONN
        await store.aclose()
        store = RedisStore(refusing.url)
        with pytest.raises(RedisError) as raised:
            await store.get_many(["k"])
        assert classify(raised.value) is FaultKind.AUTH
        await store.aclose()


async def test_a_service_that_nobody_knows(watched: WatchedServers) -> None:
    """EC-04: redis-py's own error for it, of class CONN: a failover may be under way."""
    store = RedisStore(watched.url.replace("/main", "/other"))
    with pytest.raises(MasterNotFoundError, match="does not know the service") as raised:
        await store.get_many(["k"])
    assert classify(raised.value) is FaultKind.CONN
    await store.aclose()


async def test_no_sentinel_listens() -> None:
    """EC-04: refused at once, as class CONN."""
    store = RedisStore(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/main")
    started = time.monotonic()
    with pytest.raises(RedisError) as raised:
        await store.get_many(["k"])
    assert classify(raised.value) is FaultKind.CONN
    assert time.monotonic() - started < 2.0
    await store.aclose()


async def test_silent_sentinels_cost_no_more_than_connecting_may() -> None:
    """EC-04: the time for connecting covers all of it: asking, connecting, and looking."""
    async with StubSentinel(1, silent=True) as one, StubSentinel(1, silent=True) as two:
        store = RedisStore(f"redis+sentinel://127.0.0.1:{one.port},127.0.0.1:{two.port}/main", connect_timeout=0.3)
        started = time.monotonic()
        with pytest.raises((RedisError, OSError)) as raised:
            await store.get_many(["k"])
        assert classify(raised.value) is FaultKind.CONN
        assert time.monotonic() - started < 2.0
        await store.aclose()


# -- Who may -------------------------------------------------------------------------------------------------------


async def test_passwords_of_servers_and_of_sentinels() -> None:
    """BUG-104: each has its own, none is given to the other, and a wrong one at either is class AUTH."""
    users = ("--requirepass", "pw-of-servers", "--masterauth", "pw-of-servers")
    lines = ("sentinel auth-pass main pw-of-servers",)
    with WatchedServers(*users, sentinels=1, lines=lines, password="pw-of-servers") as watched:
        watched.sentinels[0].command("ACL", "SETUSER", "asker", "on", f">{_SECRET}", "+@all")
        watched.sentinels[0].command("ACL", "SETUSER", "default", "resetpass", ">other")
        url = watched.url.replace("://", "://:pw-of-servers@")
        right = RedisStore(f"{url}?sentinel_username=asker&sentinel_password={_SECRET}")
        assert await right.get_many(["k"]) == [None]
        by_keyword = RedisStore(
            watched.url, password="pw-of-servers", sentinel_username="asker", sentinel_password=_SECRET
        )
        assert await by_keyword.get_many(["k"]) == [None]
        wrong: list[dict[str, Any]] = [
            {"url": url},
            {"url": url, "sentinel_password": "wrong"},
            {"url": url, "sentinel_password": _SECRET},
            {"url": watched.url, "sentinel_password": "other"},
            {"url": watched.url, "sentinel_password": "other", "password": "wrong"},
        ]
        for options in wrong:
            store = RedisStore(**options)
            with pytest.raises(RedisError) as raised:
                await store.get_many(["k"])
            assert classify(raised.value) is FaultKind.AUTH, options
            await store.aclose()
        default = RedisStore(url, sentinel_password="other")
        assert await default.get_many(["k"]) == [None]
        provided = RedisStore(watched.url, sentinel_password="other", credentials=Provider())
        assert await provided.get_many(["k"]) == [None]
        for store in (right, by_keyword, default, provided):
            await store.aclose()


@pytest.mark.skipif(not supports_tls(), reason="the server under test was built without TLS")
async def test_over_tls(certificates: Path) -> None:
    """BUG-104: sentinels and servers both, verified by an authority of one's own; an unknown one is class AUTH."""
    authority = str(certificates / "ca.pem")
    with WatchedServers(sentinels=1, certificates=certificates) as watched:
        assert watched.url.startswith("rediss+sentinel://")
        store = RedisStore(watched.url, ssl_ca_certs=authority)
        assert [one.status for one in await store.put_many([write("k")])] == [PutStatus.STORED]
        await store.aclose()
        distrustful = RedisStore(watched.url)
        with pytest.raises(OSError, match="certificate") as raised:
            await distrustful.get_many(["k"])
        assert classify(raised.value) is FaultKind.AUTH
        await distrustful.aclose()


class Provider(CredentialProvider):
    """Knows the servers' password."""

    def get_credentials(self) -> tuple[str, str]:
        """User and password."""
        return "default", "pw-of-servers"


class StubSentinel:
    """Says that the master is at a port of the loopback, or knows none, or says nothing at all.

    Args:
        port_named: of the master; None for a service that it does not know.
        silent: whether it takes connections and answers nothing.
        refusing: whether it wants a password first.
    """

    def __init__(self, port_named: int | None, *, silent: bool = False, refusing: bool = False) -> None:
        self._refusing = refusing
        self.port_named = port_named
        self.port = 0
        self._silent = silent
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis+sentinel://127.0.0.1:{self.port}/main"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            while True:
                count = int((await reader.readuntil(b"\r\n"))[1:])
                words = []
                for _ in range(count):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if not self._silent:
                    writer.write(self._answer(words))
        writer.transport.abort()

    def _answer(self, words: list[bytes]) -> bytes:
        if words[0].upper() != b"SENTINEL":
            return b"+OK\r\n"
        if self._refusing:
            return b"-NOAUTH Authentication required.\r\n"
        if self.port_named is None:
            return b"*-1\r\n"
        port = b"%d" % self.port_named
        return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%b\r\n" % (len(port), port)
