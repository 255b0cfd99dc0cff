"""Groups of records in Redis, on real servers: the contract, what others may have put there, and what a user may not do."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from logs import until
from redis.exceptions import OutOfMemoryError
from servers import RedisServer

from toolcache.blob import read_header
from toolcache.events import Event, StoreFault
from toolcache.groups import MAX_RECORD, Grouped, GroupsRefusedError, SupportsGroups
from toolcache.protocols import PutStatus, Write
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis import groups
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import FakeClock
from toolcache.testing.groups import ONE, TWO, GroupsContract
from toolcache.testing.stores import blob_of

GROUP = "tc1:s:test:h:1"


@pytest.fixture
def events() -> list[Event]:
    """What the store announced."""
    return []


@pytest.fixture
async def grouping(redis_server: RedisServer, clock: FakeClock, events: list[Event]) -> AsyncIterator[RedisStore]:
    """A store on the shared server."""
    store = RedisStore(redis_server.url, clock=clock, announce=events.append, op_timeout=5.0)
    await store.get_many(["anything"])  # sets the clock
    yield store
    await store.aclose()


@pytest.fixture
async def own(own_redis: RedisServer, events: list[Event]) -> AsyncIterator[RedisStore]:
    """A store on a server of the test's own."""
    store = RedisStore(own_redis.url, announce=events.append, op_timeout=5.0)
    yield store
    await store.aclose()


def record(
    name: str = ONE, version: bytes | int = 1, body: bytes = b"body", *, group: str = GROUP, ttl: float | None = 600.0
) -> Grouped:
    """One, as of now."""
    return Grouped(group, name, blob_of(f"{group}:{name}", body, version=version, now=time.time(), ttl=ttl))


async def bodies(store: RedisStore, *groups: str) -> list[dict[str, bytes]]:
    """The bodies in groups by name."""
    found = await store.read_groups(groups or [GROUP])
    return [{name: blob[-4 - read_header(blob).body_len : -4] for name, blob in group.items()} for group in found]  # type: ignore[union-attr]  # it has one


def write(key: str = "tc1:v:test:k", version: int = 1) -> Write:
    """A write of a value."""
    return Write(key, blob_of(key, version=version, now=time.time()))


class TestGroups(GroupsContract):
    """Redis keeps the contract of groups."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    async def damage(self, store: SupportsGroups, group: str, name: str) -> None:
        """Another program has written there."""
        self.server.command("HSET", group, name, b"\x80\x04garbage of somebody else, longer than a header is" * 3)


class Counted:
    """What a store's connections are asked, call by call: how many commands, whether in bulk, whether reading."""

    def __init__(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[int, bool, bool]] = []
        lanes = store._lanes.here()
        exchange = lanes.exchange

        async def counted(commands: Any, keys: Any, *, bulk: bool = False, reading: bool = False) -> list[Any]:
            self.calls.append((len(commands), bulk, reading))
            return await exchange(commands, keys, bulk=bulk, reading=reading)

        monkeypatch.setattr(lanes, "exchange", counted)


async def test_all_groups_of_a_call_go_in_one_round_trip(grouping: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the script is known: a command for each group; what is large holds up nobody; reading asks for sizes first."""
    records = [record(name, group=f"{GROUP}{n}") for n in range(3) for name in (ONE, TWO)]
    await grouping.put_grouped(records)
    counted = Counted(grouping, monkeypatch)
    await grouping.put_grouped(records)
    await grouping.put_grouped([record(body=bytes(70_000))])
    await grouping.read_groups([one.group for one in records[::2]])
    await grouping.read_groups(["tc1:s:test:none"] * 9)
    assert counted.calls == [(3, False, False), (1, True, False), (3, True, True), (3, True, True), (9, True, True)]


async def test_the_script_is_loaded_again_when_it_is_lost(grouping: RedisStore, redis_server: RedisServer) -> None:
    """EC-14: after a SCRIPT FLUSH, in all groups of a call."""
    await grouping.put_grouped([record()])
    redis_server.command("SCRIPT", "FLUSH")
    many = [record(version=2, group=f"{GROUP}{n}") for n in range(40)]
    await grouping.put_grouped(many)
    assert await grouping.read_groups([one.group for one in many]) == [{ONE: one.blob} for one in many]


@pytest.mark.parametrize("one", [b"\0" * 16, b"a" * 16, b"\n" + b"z" * 15, b"\x7f" * 16, b"\x80" * 16, b"\xff" * 16])
@pytest.mark.parametrize("two", [b"\0" * 15 + b"\1", b"B" * 16, b"\xc3\xa4" * 8, b"\xff" * 15 + b"\xfe"])
async def test_versions_are_compared_bytewise(grouping: RedisStore, one: bytes, two: bytes) -> None:
    """BUG-66: the server's locale, and bytes such as NUL, newline and 0xff, do not disturb the order of records."""
    for version in (one, two):
        await grouping.put_grouped([record(version=version, body=version)])
    assert await bodies(grouping) == [{ONE: max(one, two)}]


async def test_a_group_ends_with_the_last_of_its_records(grouping: RedisStore, redis_server: RedisServer) -> None:
    """Whichever came first; and never later than it would have by the clock of who wrote it, be that ahead."""
    for ttl, left in ((300.0, 300_000), (200.0, 300_000), (900.0, 900_000)):
        await grouping.put_grouped([record(f"{int(ttl):016x}", ttl=ttl)])
        assert left - 20_000 < redis_server.command("PTTL", GROUP) <= left
    await grouping.put_grouped([record(f"{n:016x}", group=f"{GROUP}1", ttl=600.0 - n * 100) for n in range(3)])
    assert 580_000 < redis_server.command("PTTL", f"{GROUP}1") <= 600_000
    ahead = blob_of(f"{GROUP}2:{ONE}", now=time.time() + 5_000, ttl=100.0)
    await grouping.put_grouped([Grouped(f"{GROUP}2", ONE, ahead)])
    assert 80_000 < redis_server.command("PTTL", f"{GROUP}2") <= 100_000
    await grouping.put_grouped([record(group=f"{GROUP}3", ttl=None)])
    assert redis_server.command("PTTL", f"{GROUP}3") > 1e13


async def test_a_group_that_somebody_made_without_an_end_gets_one(
    grouping: RedisStore, redis_server: RedisServer
) -> None:
    """Or it would stay for ever."""
    redis_server.command("HSET", GROUP, "theirs", "x")
    await grouping.put_grouped([record()])
    assert 0 < redis_server.command("PTTL", GROUP) <= 600_000


async def test_a_key_of_another_type_is_left_alone(
    grouping: RedisStore, redis_server: RedisServer, events: list[Event]
) -> None:
    """EC-11: it is an empty group, is not destroyed, hurts no other group, and is told of."""
    redis_server.command("RPUSH", GROUP, "theirs")
    redis_server.command("SET", f"{GROUP}2", "theirs")
    mine = record(group=f"{GROUP}3")
    await grouping.put_grouped([record(), record(group=f"{GROUP}2"), mine])
    assert await grouping.read_groups([GROUP, f"{GROUP}2", mine.group]) == [{}, {}, {ONE: mine.blob}]
    assert redis_server.command("LRANGE", GROUP, 0, -1) == [b"theirs"]
    assert redis_server.command("GET", f"{GROUP}2") == b"theirs"
    told = [(one.operation, one.kind) for one in events if isinstance(one, StoreFault)]
    assert told == [("put", "semantic")] * 2 + [("get", "semantic")] * 2


async def test_what_others_put_into_a_group_is_left_out(grouping: RedisStore, redis_server: RedisServer) -> None:
    """Names that are none, bytes that are no blob, and what is larger than any record, be it a blob."""
    large = blob_of(f"{GROUP}:{TWO}", bytes(MAX_RECORD), version=9, now=time.time())
    good = record().blob
    redis_server.command("HSET", GROUP, TWO, large, "theirs", good, b"\xff" * 16, good, "0" * 16, "x", "1" * 16, "")
    await grouping.put_grouped([record()])
    assert await bodies(grouping) == [{ONE: b"body"}]
    await grouping.put_grouped([record(TWO, 8, b"mine")])
    assert await bodies(grouping) == [{ONE: b"body", TWO: b"mine"}]


async def test_another_names_record_is_no_older_one(grouping: RedisStore, redis_server: RedisServer) -> None:
    """A blob of another key stands in nobody's way, whatever its version."""
    redis_server.command("HSET", GROUP, ONE, record(TWO, 9, b"theirs").blob)
    await grouping.put_grouped([record()])
    assert await bodies(grouping) == [{ONE: b"body"}]


async def test_a_huge_group_is_not_read(
    grouping: RedisStore, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of; the others are read, as many at once as are not too much together."""
    monkeypatch.setattr(groups, "_MOST", 20_000)
    monkeypatch.setattr(groups, "_AT_ONCE", 12_000)
    sizes = (5_000, 5_000, 30_000, 15_000, 100)
    many = [record(group=f"{GROUP}{n}", body=bytes(size)) for n, size in enumerate(sizes)]
    await grouping.put_grouped(many)
    counted = Counted(grouping, monkeypatch)
    found = await grouping.read_groups([one.group for one in many])
    assert found == [None if len(one.blob) > 20_000 else {ONE: one.blob} for one in many]
    assert [commands for commands, _, _ in counted.calls] == [5, 2, 1, 1]
    (told,) = (one for one in events if isinstance(one, StoreFault))
    assert (told.operation, told.kind) == ("get", "semantic")


async def test_values_and_lists_do_not_see_them(grouping: RedisStore, redis_server: RedisServer) -> None:
    """Neither a scan of values nor those who are told of changes; a group is read where a value is asked for as nothing."""
    told: list[str] = []
    armed = asyncio.Event()

    class Watch:
        def armed(self) -> None:
            armed.set()

        def changed(self, keys: Any) -> None:
            told.extend(keys or ["all"])

        def heard(self) -> None:
            """So it is."""

    tracking = asyncio.create_task(grouping.track(["tc1:v:test:", "tc1:e:test:"], Watch()))
    await armed.wait()
    await grouping.put_grouped([record()])
    await grouping.put_many([write()])
    await until(lambda: bool(told))
    tracking.cancel()
    assert told == ["tc1:v:test:k"]
    assert [key async for key in grouping.scan("tc1:v:test:")] == ["tc1:v:test:k"]
    assert await grouping.get_many([GROUP, f"{GROUP}:{ONE}"]) == [None, None]


@pytest.mark.parametrize("denied", ["-hset", "-hget", "-hgetall", "-pexpire", "-hstrlen", "-pttl"])
async def test_a_user_who_may_not_loses_the_statistics_alone(
    own: RedisStore, own_redis: RedisServer, denied: str
) -> None:
    """BUG-25: it says nothing of the server, nor of values; they are written and read as before."""
    await own.put_grouped([record(TWO)])
    own_redis.command("ACL", "SETUSER", "default", denied)
    asked = own.read_groups([GROUP]) if denied == "-hgetall" else own.put_grouped([record(TWO, 2)])
    with pytest.raises(GroupsRefusedError) as told:
        await asked
    for mutation in (False, True):
        assert classify(told.value, mutation=mutation) is FaultKind.LOCAL
    assert (await own.put_many([write()]))[0].status is PutStatus.STORED
    assert await own.get_many(["tc1:v:test:k"]) != [None]


async def test_a_user_who_may_only_read_reads_the_statistics(own: RedisStore, own_redis: RedisServer) -> None:
    """EC-15: what is written it may not write, and that is no news of other writes."""
    await own.put_grouped([record()])
    own_redis.command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read")
    reader = RedisStore(own_redis.url, username="reader", password="pw", op_timeout=5.0)
    assert await bodies(reader) == [{ONE: b"body"}]
    with pytest.raises(GroupsRefusedError):
        await reader.put_grouped([record(version=2)])
    await reader.aclose()


async def test_groups_are_read_where_nobody_may_ask_for_sizes(own: RedisStore, own_redis: RedisServer) -> None:
    """Some hosted servers have no MEMORY."""
    await own.put_grouped([record()])
    own_redis.command("ACL", "SETUSER", "default", "-memory")
    assert await bodies(own, GROUP, "none") == [{ONE: b"body"}, {}]


async def test_a_server_that_is_full_refuses_them_as_it_does_values(own: RedisStore, own_redis: RedisServer) -> None:
    """EC-10: and they are read on."""
    await own.put_grouped([record()])
    own_redis.config(maxmemory=1)
    with pytest.raises(OutOfMemoryError) as told:
        await own.put_grouped([record(version=2)])
    assert classify(told.value, mutation=True) is FaultKind.WRITE_REFUSED
    assert await bodies(own) == [{ONE: b"body"}]
