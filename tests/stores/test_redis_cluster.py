"""The Redis store and clusters of real servers: whole, on the move, and falling apart."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import RedisCluster, eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from loads import resumed, under_load
from redis.exceptions import RedisClusterException, RedisError
from servers import RedisServer, free_port, supports_tls

from toolcache import Durability, ToolCache
from toolcache.clock import SYSTEM
from toolcache.events import Event, StoreFault
from toolcache.groups import Grouped, SupportsGroups
from toolcache.protocols import Clock, PutStatus, Store, Write
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis.slots import SLOTS, slot_of
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import ClaimContract, FakeClock
from toolcache.testing.groups import ONE, GroupsContract
from toolcache.testing.stores import StoreContract, blob_of, version_of

_RESUMED_SECONDS = 25.0
_SECRET = "sesame-of-the-cluster"


def write(key: str, body: bytes = b"body", *, version: int = 1, **more: Any) -> Write:
    """A write of a whole blob, as of now."""
    return Write(key, blob_of(key, body, version=version, now=time.time()), **more)


def keys_of(slot: int, number: int = 1) -> list[str]:
    """Keys of one slot, by a tag in braces."""
    tag = next(str(tag) for tag in range(1_000_000) if slot_of(b"%d" % tag) == slot)
    return [f"{{{tag}}}:{at}" for at in range(number)]


async def until(holds: Callable[[], Any], *, within: float = 20.0) -> None:
    """Wait until it does."""
    give_up = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(three_nodes: RedisCluster) -> RedisCluster:
    """The module's three primaries, empty. For tests that end none and move no slots for good."""
    for node in three_nodes.nodes:
        node.command("FLUSHALL")
        node.command("CONFIG", "RESETSTAT")
    three_nodes.agree()
    return three_nodes


@pytest.fixture
async def store(cluster: RedisCluster) -> AsyncIterator[RedisStore]:
    """A store on the module's cluster."""
    store = RedisStore(cluster.url, op_timeout=5.0)
    yield store
    await store.aclose()


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """Three primaries of the test's own, a replica of each."""
    with RedisCluster(replicas=1) as cluster:
        yield cluster


class TestOnACluster(StoreContract):
    """The store keeps its contract on a cluster."""

    @pytest.fixture(autouse=True)
    def _nodes(self, cluster: RedisCluster) -> None:
        self.cluster = cluster

    @pytest.fixture
    async def store(self, cluster: RedisCluster, clock: FakeClock) -> AsyncIterator[RedisStore]:
        """A store on the module's cluster."""
        store = RedisStore(cluster.url, clock=clock, op_timeout=5.0)
        yield store
        await store.aclose()

    async def damage(self, store: Store, key: str) -> None:
        """Overwrite the value with bytes of another program."""
        owner = self.cluster.owner(slot_of(key.encode()))
        owner.command("SET", key, b"\x80\x04garbage of somebody else, longer than a header is" * 3)


class TestGroupsOnACluster(GroupsContract):
    """A group is one key, of one node; those of a call are on several."""

    @pytest.fixture(autouse=True)
    def _nodes(self, cluster: RedisCluster) -> None:
        self.cluster = cluster

    @pytest.fixture
    async def grouping(self, cluster: RedisCluster) -> AsyncIterator[RedisStore]:
        """A store on the module's cluster."""
        store = RedisStore(cluster.url, op_timeout=5.0)
        yield store
        await store.aclose()

    @pytest.fixture
    def clock(self) -> Clock:
        """The machine's, as the nodes'."""
        return SYSTEM

    async def damage(self, store: SupportsGroups, group: str, name: str) -> None:
        """Another program has written there."""
        self.cluster.owner(slot_of(group.encode())).command("HSET", group, name, b"garbage" * 50)


class TestClaimsOnACluster(ClaimContract):
    """A claim is one key, of one node."""

    lease = 0.3

    @pytest.fixture
    async def store(self, cluster: RedisCluster) -> AsyncIterator[RedisStore]:
        """A store on the module's cluster."""
        assert cluster.nodes
        store = RedisStore(cluster.url, op_timeout=5.0)
        yield store
        await store.aclose()

    async def let_pass(self, seconds: float) -> None:
        """For real."""
        await asyncio.sleep(seconds)


# -- All nodes are one ---------------------------------------------------------------------------------------------


async def test_keys_of_all_slots_in_one_call(store: RedisStore, cluster: RedisCluster) -> None:
    """BUG-103: thousands of keys, small and large, are written, read, listed and counted together; no CROSSSLOT."""
    writes = [write(f"k:{n}", b"x" * (100_000 if n % 100 == 0 else 10)) for n in range(2_500)]
    assert {one.status for one in await store.put_many(writes)} == {PutStatus.STORED}
    assert await store.get_many([one.key for one in writes]) == [one.blob for one in writes]
    held = [node.command("DBSIZE") for node in cluster.nodes]
    assert sum(held) == await store.count() == 2_500
    assert min(held) > 500
    assert {key async for key in store.scan("k:")} == {one.key for one in writes}
    for node in cluster.nodes:
        assert b"CROSSSLOT" not in node.command("INFO", "errorstats")


@given(numbers=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 5)), max_size=40))
@settings(max_examples=25, deadline=None)
def test_outcomes_stand_in_their_places(three_nodes: RedisCluster, numbers: list[tuple[int, int]]) -> None:
    """BUG-103: however the keys fall into slots, and however often one comes, results are those of one write at a time."""
    for node in three_nodes.nodes:
        node.command("FLUSHALL")
    writes = [write(f"{{{key % 7}}}{key}", b"%d" % version, version=version) for key, version in numbers]
    expected = []
    newest: dict[str, int] = {}
    for one, (_, version) in zip(writes, numbers, strict=True):
        before = newest.get(one.key, 0)
        newest[one.key] = max(before, version)
        status = PutStatus.STORED if version > before else PutStatus.ALREADY if version == before else PutStatus.NEWER
        expected.append((status, version_of(newest[one.key]), before > 0))

    async def apply() -> list[Any]:
        store = RedisStore(three_nodes.url, op_timeout=5.0)
        try:
            return list(await store.put_many(writes))
        finally:
            await store.aclose()

    assert asyncio.run(apply()) == expected


async def test_a_script_lost_by_one_node(store: RedisStore, cluster: RedisCluster) -> None:
    """EC-14: SCRIPT FLUSH on one of three; every write succeeds."""
    writes = [write(f"k:{n}") for n in range(100)]
    await store.put_many(writes)
    cluster.nodes[1].command("SCRIPT", "FLUSH")
    assert {one.status for one in await store.put_many(writes)} == {PutStatus.ALREADY}
    assert {one.status for one in await store.put_many([write(f"k:{n}", version=2) for n in range(100)])} == {
        PutStatus.STORED
    }


async def test_writes_of_one_slot_share_a_call(store: RedisStore, cluster: RedisCluster) -> None:
    """BUG-103: a call for each slot, not for each key; all calls for a node leave together."""
    keys = [key for slot in (1, 2, 3) for key in keys_of(slot, 20)]
    await store.put_many([write(keys[0])])
    before = cluster.calls(cluster.nodes[0], "evalsha")
    await store.put_many([write(key, version=2) for key in keys])
    assert cluster.calls(cluster.nodes[0], "evalsha") - before == 3


async def test_a_value_of_another_type_is_announced(cluster: RedisCluster) -> None:
    """BUG-103: what single keys do is told as for one server."""
    events: list[Event] = []
    store = RedisStore(cluster.url, announce=events.append)
    cluster.owner(slot_of(b"list")).command("RPUSH", "list", "x")
    assert await store.get_many(["list", "other"]) == [None, None]
    assert [one.status for one in await store.put_many([write("list"), write("other")])] == [
        PutStatus.FOREIGN,
        PutStatus.STORED,
    ]
    assert [type(event) for event in events] == [StoreFault, StoreFault]
    await store.aclose()


async def test_a_cache_takes_the_url(cluster: RedisCluster) -> None:
    """BUG-104: the URL alone is enough; what is shown of it says where the nodes are."""
    async with ToolCache(redis_url=cluster.url, files=False) as cache:
        assert [await cache.set(f"k{n}", n) for n in range(10)] == [Durability.REDIS] * 10
        assert [await cache.get(f"k{n}") for n in range(10)] == list(range(10))
        health = await cache.health()
        assert health.redis is not None
        assert health.redis.where == cluster.url
    assert sum(len(node.command("KEYS", "tc1:v:*")) for node in cluster.nodes) == 10


def test_loops_side_by_side_and_one_after_another(cluster: RedisCluster) -> None:
    """BUG-103: each loop has connections of its own; none is left behind."""
    store = RedisStore(cluster.url, op_timeout=5.0)

    async def use(name: str) -> list[bytes | None]:
        writes = [write(f"{name}:{n}") for n in range(30)]
        await store.put_many(writes)
        return [
            None if blob == one.blob else blob
            for blob, one in zip(await store.get_many([w.key for w in writes]), writes, strict=True)
        ]

    async def side_by_side() -> None:
        wrong = await asyncio.gather(use("a"), asyncio.to_thread(asyncio.run, use("b")))
        assert [blob for some in wrong for blob in some] == [None] * 60
        await store.aclose()

    assert asyncio.run(use("c")) == [None] * 30
    asyncio.run(side_by_side())
    eventually(lambda: all(node.command("CLIENT", "LIST").count(b"name=toolcache") == 0 for node in cluster.nodes))


# -- Slots that move -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def moving(cluster: RedisCluster, slot: int, source: RedisServer, target: RedisServer) -> Iterator[None]:
    """The slot is on its way inside the block, and back afterwards."""
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.identity(source))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.identity(target))
    try:
        yield
    finally:
        for node in (target, source):
            for key in node.command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
                node.command("DEL", key) if node is source else node.command("FLUSHALL")
        source.command("CLUSTER", "BUMPEPOCH")  # or the target's word would count for more
        for node in (source, *cluster.nodes):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", cluster.identity(source))


def migrate(source: RedisServer, target: RedisServer, key: str) -> None:
    """Take one key there."""
    assert source.command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000) == b"OK"


async def test_a_slot_that_has_moved(store: RedisStore, cluster: RedisCluster) -> None:
    """BUG-103: MOVED is followed, for reads and writes, and remembered: the next call goes there at once."""
    source, target = cluster.nodes[0], cluster.nodes[2]
    keys = keys_of(7, 3)
    await store.put_many([write(key, b"one") for key in keys])
    with moving(cluster, 7, source, target):
        for key in keys:
            migrate(source, target, key)
        for node in (target, source, cluster.nodes[1]):
            node.command("CLUSTER", "SETSLOT", 7, "NODE", cluster.identity(target))
        elsewhere = write("elsewhere")
        assert [
            one.status for one in await store.put_many([write(key, b"two", version=2) for key in keys] + [elsewhere])
        ] == [PutStatus.STORED] * 4
        assert [blob is not None and b"two" in blob for blob in await store.get_many(keys)] == [True] * 3
        before = cluster.refusals(source, "MOVED")
        assert before > 0
        await store.get_many(keys)
        assert cluster.refusals(source, "MOVED") == before
        await store.put_many([write(key, b"three", version=3) for key in keys])
        assert target.command("EXISTS", *keys) == 3
    assert await store.get_many(keys) == [None] * 3  # and back


def grouped(group: str, version: int = 1) -> Grouped:
    """A record of a group, as of now."""
    return Grouped(group, ONE, blob_of(f"{group}:{ONE}", version=version, now=time.time()))


async def test_groups_on_their_way_and_moved(store: RedisStore, cluster: RedisCluster) -> None:
    """BUG-103: a group is read and written where it is: here, there already, and when all have gone; with one script unknown."""
    source, target = cluster.nodes[0], cluster.nodes[2]
    groups = keys_of(8, 4)
    elsewhere = "tc1:s:test:h:elsewhere"
    await store.put_grouped([grouped(group) for group in groups])
    with moving(cluster, 8, source, target):
        migrate(source, target, groups[0])
        migrate(source, target, groups[1])
        target.command("SCRIPT", "FLUSH")
        for version in (2, 3):
            newer = [grouped(group, version) for group in (*groups, elsewhere)]
            await store.put_grouped(newer)
            await store.put_grouped([grouped(group) for group in groups])
            assert await store.read_groups([*groups, elsewhere]) == [{ONE: one.blob} for one in newer]
            if version == 2:
                for group in source.command("CLUSTER", "GETKEYSINSLOT", 8, 10):
                    migrate(source, target, group.decode())
                for node in (target, source, cluster.nodes[1]):
                    node.command("CLUSTER", "SETSLOT", 8, "NODE", cluster.identity(target))
        assert target.command("EXISTS", *groups) == 4


async def test_slots_that_move_one_after_another(store: RedisStore, cluster: RedisCluster) -> None:
    """BUG-103: each is found by one MOVED, and the map is not read anew for each."""
    source, target = cluster.nodes[0], cluster.nodes[2]
    await store.count()
    asked = sum(cluster.calls(node, "cluster|slots") for node in cluster.nodes)
    with contextlib.ExitStack() as stack:
        for slot in range(20, 40):
            stack.enter_context(moving(cluster, slot, source, target))
            for node in (target, source, cluster.nodes[1]):
                node.command("CLUSTER", "SETSLOT", slot, "NODE", cluster.identity(target))
        keys = [keys_of(slot)[0] for slot in range(20, 40)]
        for key in (*keys, *keys):
            assert await store.get_many([key]) == [None]
        assert cluster.refusals(source, "MOVED") <= 20
        assert sum(cluster.calls(node, "cluster|slots") for node in cluster.nodes) - asked <= 10


async def test_a_slot_on_its_way(store: RedisStore, cluster: RedisCluster) -> None:
    """BUG-103: ASK is followed for single keys, TRYAGAIN for several is no obstacle: each is where it is."""
    source, target = cluster.nodes[0], cluster.nodes[1]
    keys = keys_of(9, 6)
    await store.put_many([write(key, b"one") for key in keys[:4]])
    with moving(cluster, 9, source, target):
        migrate(source, target, keys[0])
        migrate(source, target, keys[1])
        assert [blob is None for blob in await store.get_many(keys)] == [False] * 4 + [True] * 2
        writes = [write(key, b"two", version=2) for key in keys]
        assert [one.status for one in await store.put_many(writes)] == [PutStatus.STORED] * 6
        assert await store.get_many(keys) == [one.blob for one in writes]
        late = [write(key, b"late", version=1) for key in keys]
        assert [one.status for one in await store.put_many(late)] == [PutStatus.NEWER] * 6
        target.command("SCRIPT", "FLUSH")
        assert [one.status for one in await store.put_many([write(keys[0], version=3)])] == [PutStatus.STORED]
        counts = [len(node.command("CLUSTER", "GETKEYSINSLOT", 9, 100)) for node in (source, target)]
        assert sum(counts) == 6  # each key in one place


async def test_slots_that_move_under_load() -> None:
    """BUG-103: a thousand slots go to another node one by one while they are in use; nobody notices."""
    with RedisCluster(primaries=2) as cluster:
        store = RedisStore(cluster.url, op_timeout=20.0)
        source, target = cluster.primaries
        busy = sorted({slot_of(f"load:{one}:{two}".encode()) for one in range(12) for two in range(5)})

        def reshard() -> None:
            for slot in (slot for slot in busy if slot < SLOTS // 2):
                target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.identity(source))
                source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.identity(target))
                while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                    source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
                for node in (target, source):
                    node.command("CLUSTER", "SETSLOT", slot, "NODE", cluster.identity(target))

        async with under_load(store, deadline=20.0) as log:
            await resumed(log, within=_RESUMED_SECONDS)
            await asyncio.to_thread(reshard)
            await resumed(log, within=_RESUMED_SECONDS)
        assert not log.faults, log.examples
        assert not log.wrong
        assert source.command("DBSIZE") == 0
        await store.aclose()


# -- Failures ------------------------------------------------------------------------------------------------------


async def test_a_primary_that_is_killed_under_load(own_cluster: RedisCluster) -> None:
    """BUG-103: its replica takes over; calls are acknowledged again within bounded time, every failure is class CONN."""
    store = RedisStore(own_cluster.url, op_timeout=0.3, connect_timeout=1.0)
    async with under_load(store) as log:
        await resumed(log, within=_RESUMED_SECONDS)
        before = store.run_id
        await asyncio.to_thread(own_cluster.primaries[0].stop)
        await resumed(log, within=_RESUMED_SECONDS)
    assert set(log.faults) == {FaultKind.CONN}, log.examples
    assert own_cluster.replicas[0][0].command("DBSIZE") > 0

    async def known() -> bool:
        await store.count()
        return store.run_id not in {None, before}

    await until(known)
    await store.aclose()


async def test_a_primary_that_is_frozen_under_load(own_cluster: RedisCluster) -> None:
    """BUG-103: its replica takes over although its connections stay open; thawed, all goes on.

    Nor does it matter how long connecting to a frozen node may take.
    """
    store = RedisStore(own_cluster.url, op_timeout=0.3, connect_timeout=30.0)
    async with under_load(store) as log:
        await resumed(log, within=_RESUMED_SECONDS)
        own_cluster.primaries[1].freeze()
        try:
            await resumed(log, within=_RESUMED_SECONDS)
        finally:
            own_cluster.primaries[1].thaw()
        await resumed(log, within=_RESUMED_SECONDS)
    assert set(log.faults) == {FaultKind.CONN}, log.examples
    await store.aclose()


async def test_an_operators_failover_is_not_noticed(own_cluster: RedisCluster) -> None:
    """BUG-103: CLUSTER FAILOVER hands all slots over; MOVED is followed without a failure."""
    store = RedisStore(own_cluster.url, op_timeout=2.0)
    keys = [f"k:{n}" for n in range(60)]
    await store.put_many([write(key) for key in keys])
    own_cluster.replicas[2][0].command("CLUSTER", "FAILOVER")
    await asyncio.to_thread(eventually, lambda: own_cluster.primaries[2].command("ROLE")[0] == b"slave")
    for version in (2, 3):
        assert {one.status for one in await store.put_many([write(key, version=version) for key in keys])} == {
            PutStatus.STORED
        }
        assert None not in await store.get_many(keys)
    await store.aclose()


async def test_a_primary_nobody_takes_over_from(store: RedisStore, cluster: RedisCluster) -> None:
    """EC-04: slots that nobody has are class CONN; those of others are not disturbed."""
    here, gone = keys_of(SLOTS - 1)[0], keys_of(11)[0]
    assert await store.get_many([here, gone]) == [None, None]
    for node in cluster.nodes:
        node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        node.command("CLUSTER", "DELSLOTS", 11)
    try:
        for attempt in (store, RedisStore(cluster.url)):
            with pytest.raises((RedisError, RedisClusterException)) as raised:
                await attempt.get_many([here, gone])
            assert classify(raised.value) is FaultKind.CONN
            assert await attempt.get_many([here]) == [None]
        await attempt.aclose()
    finally:
        cluster.nodes[0].command("CLUSTER", "ADDSLOTS", 11)
        for node in cluster.nodes:
            node.command("CONFIG", "SET", "cluster-require-full-coverage", "yes")
        await asyncio.to_thread(
            eventually,
            lambda: all(b"slots_assigned:16384" in node.command("CLUSTER", "INFO") for node in cluster.nodes),
        )
    assert await store.get_many([here, gone]) == [None, None]


async def test_nodes_in_the_url_that_are_dead_or_frozen(cluster: RedisCluster) -> None:
    """BUG-104: one that answers is enough, and is found without waiting for the others to time out."""
    with RedisServer() as frozen, frozen.frozen():
        dead = f"127.0.0.1:{free_port()},127.0.0.1:{frozen.port}"
        store = RedisStore(f"redis+cluster://{dead},127.0.0.1:{cluster.nodes[1].port}", connect_timeout=20.0)
        started = time.monotonic()
        assert await store.get_many(["k"]) == [None]
        assert time.monotonic() - started < 10.0
        await store.aclose()


async def test_nobody_listens() -> None:
    """EC-04: refused at once, as class CONN."""
    store = RedisStore(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    assert store.run_id is None
    for asked in (store.get_many(["k"]), store.put_many([write("k")]), store.count()):
        started = time.monotonic()
        with pytest.raises(RedisError) as raised:
            await asked
        assert classify(raised.value) is FaultKind.CONN
        assert time.monotonic() - started < 2.0
    await store.aclose()


async def test_a_server_that_is_no_cluster(redis_server: RedisServer) -> None:
    """EC-04: is not used as if it were one; the error, no RedisError, says what to do and counts as class CONN."""
    store = RedisStore(redis_server.url.replace("redis://", "redis+cluster://"))
    with pytest.raises(RedisClusterException, match="no node of a cluster") as raised:
        await store.get_many(["k"])
    assert classify(raised.value) is FaultKind.CONN
    await store.aclose()


async def test_who_the_cluster_is(cluster: RedisCluster) -> None:
    """BUG-103: one identity for all primaries, known without a word to each, and to every client the same."""
    one, two = RedisStore(cluster.url), RedisStore(cluster.url)
    await one.get_many(keys_of(1))
    await two.get_many(keys_of(SLOTS - 1))

    async def known() -> bool:
        return one.run_id is not None and two.run_id is not None

    await until(known)
    assert one.run_id == two.run_id
    assert one.run_id not in {node.command("INFO", "server") for node in cluster.nodes}
    await one.aclose()
    await two.aclose()


# -- Replicas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
async def test_reads_from_replicas(own_cluster: RedisCluster, wanted: bool) -> None:
    """BUG-104: ``read_from_replicas`` takes reads, large ones too, off the primaries; without it none goes to replicas."""
    url = f"{own_cluster.url}?read_from_replicas=true" if wanted else own_cluster.url
    store = RedisStore(url, op_timeout=2.0)
    writes = [write(f"k:{n}", b"x" * (100_000 if n % 10 == 0 else 10)) for n in range(60)]
    keys = [one.key for one in writes]
    replicas = [one for some in own_cluster.replicas for one in some]
    await store.put_many(writes)

    async def settled() -> bool:
        before = [own_cluster.calls(node, "getrange") for node in own_cluster.nodes]
        found = await store.get_many(keys)
        after = [own_cluster.calls(node, "getrange") for node in own_cluster.nodes]
        asked = {node.port for node, old, new in zip(own_cluster.nodes, before, after, strict=True) if new > old}
        expected = replicas if wanted else own_cluster.primaries
        return asked == {node.port for node in expected} and found == [one.blob for one in writes]

    await until(settled)
    assert {one.status for one in await store.put_many([write(key, version=2) for key in keys])} == {PutStatus.STORED}
    assert sum(node.command("DBSIZE") for node in own_cluster.primaries) == 60
    groups = [grouped(f"tc1:s:test:h:{n}") for n in range(12)]
    await store.put_grouped(groups)

    async def gathered() -> bool:
        before = [own_cluster.calls(node, "hgetall") for node in replicas]
        found = await store.read_groups([one.group for one in groups])
        asked = [own_cluster.calls(node, "hgetall") > old for node, old in zip(replicas, before, strict=True)]
        return asked == [wanted] * len(replicas) and found == [{ONE: one.blob} for one in groups]

    await until(gathered)
    if wanted:
        await asyncio.to_thread(replicas[0].stop)
        with contextlib.suppress(RedisError):
            await store.get_many(keys)
        assert None not in await store.get_many(keys)  # its primary answers instead
    await store.aclose()


# -- Who may -------------------------------------------------------------------------------------------------------


async def test_passwords_reach_every_node() -> None:
    """BUG-104: user and password, from the URL or beside it; a wrong one is class AUTH."""
    users = ("--requirepass", "pw", "--masterauth", "pw")
    with RedisCluster(*users, primaries=2, password="pw") as cluster:
        for node in cluster.nodes:
            cluster.ask(node, "ACL", "SETUSER", "app", "on", f">{_SECRET}", "~*", "+@all")
        keys = [keys_of(1)[0], keys_of(SLOTS - 1)[0]]
        url = cluster.url.replace("://", f"://app:{_SECRET}@")
        for store in (RedisStore(url), RedisStore(cluster.url, username="app", password=_SECRET)):
            assert await store.get_many(keys) == [None, None]
            assert _SECRET not in repr(store)
            await store.aclose()
        for password in (None, "wrong"):
            store = RedisStore(cluster.url, password=password)
            with pytest.raises(RedisError) as raised:
                await store.get_many(keys)
            assert classify(raised.value) is FaultKind.AUTH
            await store.aclose()


@pytest.mark.skipif(not supports_tls(), reason="the server under test was built without TLS")
async def test_over_tls(certificates: Path) -> None:
    """BUG-104: every node, verified by an authority of one's own; an unknown one is class AUTH."""
    with RedisCluster(primaries=2, certificates=certificates) as cluster:
        store = RedisStore(cluster.url, ssl_ca_certs=str(certificates / "ca.pem"))
        writes = [write(key) for key in (keys_of(1)[0], keys_of(SLOTS - 1)[0])]
        assert [one.status for one in await store.put_many(writes)] == [PutStatus.STORED] * 2
        await store.aclose()
        distrustful = RedisStore(cluster.url)
        with pytest.raises(OSError, match="certificate") as raised:
            await distrustful.get_many(["k"])
        assert classify(raised.value) is FaultKind.AUTH
        await distrustful.aclose()
