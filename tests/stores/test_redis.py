"""The Redis store against a real server that works."""

import asyncio
import contextvars
import gc
import logging
import sys
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import fakeredis
import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError
from servers import RedisServer

from toolcache.blob import NEVER, TOMBSTONE, read_header
from toolcache.errors import CacheClosedError, SettingsError
from toolcache.events import BlobRejected, Event, StoreFault
from toolcache.protocols import PutResult, PutStatus, Store, SupportsCount, SupportsScan, Write
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis import connection
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import StoreContract, blob_of, version_of
from toolcache.versions import ZERO

_SECRET = "hunter2"
_PIECE = 65_536


@pytest.fixture
def events() -> list[Event]:
    """What the store announced."""
    return []


@pytest.fixture
async def store(redis_server: RedisServer, clock: FakeClock, events: list[Event]) -> AsyncIterator[RedisStore]:
    """A store on the shared server."""
    store = RedisStore(redis_server.url, clock=clock, announce=events.append, op_timeout=5.0)
    yield store
    await store.aclose()


def write(
    key: str, body: bytes = b"body", *, version: bytes | int = 1, ttl: float | None = 600.0, **more: Any
) -> Write:
    """A write of a whole blob, as of now."""
    flags = more.pop("flags", 0)
    return Write(key, blob_of(key, body, version=version, now=time.time(), ttl=ttl, flags=flags), **more)


class TestRedisStore(StoreContract):
    """Redis keeps the contract of stores."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    async def damage(self, store: Store, key: str) -> None:
        """Overwrite the value with bytes of another program."""
        self.server.command("SET", key, b"\x80\x04garbage of somebody else, longer than a header is" * 3)


# What the script does


@given(one=st.binary(min_size=16, max_size=16), two=st.binary(min_size=16, max_size=16))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_versions_are_compared_bytewise(redis_server: RedisServer, one: bytes, two: bytes) -> None:
    """BUG-66: the server's locale, and bytes such as NUL, newline and 0xff, do not disturb the order of writes."""

    async def apply() -> tuple[PutResult, PutResult]:
        store = RedisStore(redis_server.url, op_timeout=5.0)
        first, second = await store.put_many([write("order", version=one), write("order", version=two)])
        await store.aclose()
        return first, second

    redis_server.command("DEL", "order")
    first, second = asyncio.run(apply())
    assert first == (PutStatus.STORED, one, False)
    if one == two:
        assert second == (PutStatus.ALREADY, one, True)
    elif two > one:
        assert second == (PutStatus.STORED, two, True)
    else:
        assert second == (PutStatus.NEWER, one, True)


async def test_the_script_is_loaded_again_when_it_is_lost(store: RedisStore, redis_server: RedisServer) -> None:
    """EC-14: SCRIPT FLUSH between two sets; the second succeeds."""
    await store.put_many([write("k")])
    redis_server.command("SCRIPT", "FLUSH")
    (result,) = await store.put_many([write("k", b"two", version=2)])
    assert result == (PutStatus.STORED, version_of(2), True)
    redis_server.command("SCRIPT", "FLUSH")
    many = await store.put_many([write(f"k{n}") for n in range(300)])
    assert [one.status for one in many] == [PutStatus.STORED] * 300


async def test_a_value_of_another_type_is_left_alone(
    store: RedisStore, redis_server: RedisServer, events: list[Event]
) -> None:
    """EC-11: a list under a key is a miss, is not destroyed, hurts no other key, and is told of."""
    redis_server.command("RPUSH", "list", "theirs")
    mine = write("mine")
    results = await store.put_many([write("list"), mine])
    assert [(one.status, one.version) for one in results] == [
        (PutStatus.FOREIGN, ZERO),
        (PutStatus.STORED, version_of(1)),
    ]
    assert await store.get_many(["list", "mine"]) == [None, mine.blob]
    assert redis_server.command("LRANGE", "list", 0, -1) == [b"theirs"]
    assert [(e.operation, e.kind) for e in events if isinstance(e, StoreFault)] == [
        ("put", "semantic"),
        ("get", "semantic"),
    ]


@pytest.mark.parametrize("garbage", [b"", b"TC\x01", b"TC\x02" + bytes(99), b"x" * 200, b"TC\x01" + bytes(16)])
@pytest.mark.parametrize("once", [False, True])
async def test_what_is_no_blob_is_overwritten_and_told(
    store: RedisStore, redis_server: RedisServer, events: list[Event], garbage: bytes, once: bool
) -> None:
    """Short, foreign and unknown bytes count as absent, write-once or not; the event names a digest, not the key."""
    redis_server.command("SET", "k", garbage)
    one = write("k", once=once)
    (result,) = await store.put_many([one])
    assert result == (PutStatus.STORED, version_of(1), False)
    header = read_header(one.blob)
    assert header is not None
    told = [BlobRejected("redis", "foreign", header.digest[:4].hex())] if garbage else []
    assert events == told


def _flipped(blob: bytes, at: int) -> bytes:
    return blob[:at] + bytes([blob[at] ^ 0x80]) + blob[at + 1 :]


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("damaged", [*range(3, 74), None])
async def test_what_is_damaged_or_of_another_key_stands_in_nobodys_way(
    store: RedisStore, redis_server: RedisServer, events: list[Event], damaged: int | None, once: bool
) -> None:
    """F-12: a header with one wrong bit, or of another key, is overwritten although its version looks newer."""
    newer = write("k" if damaged is not None else "other", version=5).blob
    redis_server.command("SET", "k", newer if damaged is None else _flipped(newer, damaged))
    one = write("k", version=4, once=once)
    assert await store.put_many([one]) == [(PutStatus.STORED, version_of(4), False)]
    assert await store.get_many(["k"]) == [one.blob]
    header = read_header(one.blob)
    assert header is not None
    assert events == [BlobRejected("redis", "foreign", header.digest[:4].hex())]


async def test_a_whole_header_of_a_newer_version_stands(store: RedisStore) -> None:
    """OR-01: whatever its bytes are."""
    for number in range(50):
        flags = TOMBSTONE if number % 2 else 0
        newer = write(f"k{number}", bytes(range(number)), version=10**9 + number, ttl=600.0 + number, flags=flags)
        older = write(f"k{number}", version=number)
        results = await store.put_many([newer, older, newer])
        assert [result.status for result in results] == [PutStatus.STORED, PutStatus.NEWER, PutStatus.ALREADY]


async def test_lifetimes(store: RedisStore, redis_server: RedisServer) -> None:
    """The server forgets a blob at its end, keeps one without end, and takes one that is over already."""
    await store.put_many(
        [
            write("minute", ttl=60.0),
            write("ever", ttl=None),
            write("aeon", ttl=1e15),
            write("over", ttl=-60.0),
        ]
    )
    assert 50_000 < redis_server.command("PTTL", "minute") <= 60_000
    assert redis_server.command("PTTL", "ever") == redis_server.command("PTTL", "aeon") == -1
    assert redis_server.command("PTTL", "over") <= 1
    assert NEVER > 1e18


async def test_a_life_is_no_longer_than_it_was_by_a_clock_ahead(store: RedisStore, redis_server: RedisServer) -> None:
    """LR-24, I8: what was made by a clock that was an hour ahead is kept for its ten minutes, not for seventy."""
    await store.put_many([Write("ahead", blob_of("ahead", now=time.time() + 3600.0, ttl=600.0))])
    assert 590_000 < redis_server.command("PTTL", "ahead") <= 600_000


async def test_a_write_once_meets_the_servers_clock(
    store: RedisStore, redis_server: RedisServer, clock: FakeClock
) -> None:
    """A value past its end by the server's time, though Redis still holds it, does not count as live."""
    await store.get_many(["k"])
    redis_server.command("SET", "over", write("over", ttl=-1.0).blob)
    redis_server.command("SET", "live", write("live", ttl=5.0).blob)
    redis_server.command("SET", "grave", write("grave", flags=TOMBSTONE).blob)
    results = await store.put_many([write(k, b"new", version=2, once=True) for k in ("over", "live", "grave")])
    assert results == [
        (PutStatus.STORED, version_of(2), False),
        (PutStatus.NEWER, version_of(1), True),
        (PutStatus.STORED, version_of(2), False),
    ]


async def test_repeating_everything_changes_nothing(store: RedisStore) -> None:
    """Any order and number of attempts at the same writes end in the same state."""
    writes = [write("k", b"%d" % n, version=n, flags=TOMBSTONE if n % 3 == 0 else 0) for n in range(1, 8)]
    await store.put_many(writes + writes[::-1] + writes[2:5])
    assert await store.get_many(["k"]) == [writes[-1].blob]


# Sizes


@pytest.mark.parametrize("size", [_PIECE - 1, _PIECE, _PIECE + 1, 3 * _PIECE])
async def test_blobs_around_the_first_piece_come_back_whole(store: RedisStore, size: int) -> None:
    """What fits in the first piece, fills it, or is longer."""
    small = write("small")
    large = write("large", b"x" * (size - len(small.blob) + len(b"body")))
    assert len(large.blob) == size
    await store.put_many([large, small])
    assert await store.get_many(["small", "large", "none", "large"]) == [small.blob, large.blob, None, large.blob]


async def test_no_more_is_read_than_a_blob_of_ours_can_have(store: RedisStore, redis_server: RedisServer) -> None:
    """SZ-06: of bytes that are no blob, or a larger one than ``max_entry``, only the first piece is ever fetched."""
    big = write("big", bytes(200_000))
    trailing = big.blob + bytes(1_000_000)
    redis_server.command("SET", "noise", bytes(1_000_000))
    redis_server.command("SET", "trailing", trailing)
    await store.put_many([big])
    noise, cut, whole = await store.get_many(["noise", "trailing", "big"])
    assert noise == bytes(_PIECE)
    assert cut is not None
    assert len(big.blob) < len(cut) < len(big.blob) + 100
    assert whole == big.blob
    modest = RedisStore(redis_server.url, max_entry=100_000)
    assert await modest.get_many(["big"]) == [big.blob[:_PIECE]]
    await modest.aclose()


@pytest.mark.parametrize("idle", [None, 0.5])
async def test_a_connection_keeps_nothing_of_the_requests_it_serves(
    redis_server: RedisServer, idle: float | None
) -> None:
    """Context variables of the caller that opened it, or woke its watchdog, do not live on in its tasks and timers."""
    store = RedisStore(redis_server.url, op_timeout=0.4)
    if idle is not None:
        await store.get_many(["k"])
        await asyncio.sleep(idle)

    class Request:
        pass

    current = contextvars.ContextVar[Request]("current")

    async def serve() -> weakref.ref[Request]:
        request = Request()
        current.set(request)
        await store.get_many(["k"])
        return weakref.ref(request)

    seen = await asyncio.create_task(serve())
    await asyncio.sleep(0)  # the step that woke us still holds the task
    gc.collect()
    assert seen() is None
    await store.aclose()


async def test_many_keys_in_one_call(store: RedisStore) -> None:
    """More than one slice of reads, more than one script call, and more bytes than one script call takes."""
    writes = [write(f"n{n}", b"%d" % n) for n in range(4_500)]
    writes += [write(f"mid{n}", b"m" * 50_000) for n in range(12)]
    results = await store.put_many(writes)
    assert {one.status for one in results} == {PutStatus.STORED}
    assert await store.get_many([one.key for one in writes]) == [one.blob for one in writes]


async def test_a_batch_may_be_larger_than_what_a_connection_carries_at_once(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound on what is under way is for many callers, and never refuses one large batch."""
    monkeypatch.setattr(connection, "MAX_BYTES", 500_000)
    monkeypatch.setattr(connection, "MAX_COMMANDS", 100)
    writes = [write(f"large{n}", bytes(150_000)) for n in range(8)] + [
        write(f"mid{n}", bytes(50_000)) for n in range(20)
    ]
    assert {one.status for one in await store.put_many(writes)} == {PutStatus.STORED}
    assert await store.get_many([one.key for one in writes]) == [one.blob for one in writes]


async def test_writes_of_one_key_stay_in_order_whatever_their_size(store: RedisStore) -> None:
    """A large and a small write of a key take the same connection, so each outcome is as if they came one by one."""
    results = await store.put_many([write("k", b"x" * 100_000, version=2), write("k", version=1), write("o")])
    assert [one.status for one in results] == [PutStatus.STORED, PutStatus.NEWER, PutStatus.STORED]


async def test_a_large_value_does_not_hold_up_small_ones(store: RedisStore) -> None:
    """While 8 MB travel, in either direction, small reads are answered."""
    big = write("big", bytes(8 * 2**20))
    await store.put_many([write("small")])
    both: list[Callable[[], Awaitable[Any]]] = [lambda: store.put_many([big]), lambda: store.get_many(["big"])]
    for large in both:
        moving: asyncio.Future[Any] = asyncio.ensure_future(large())
        answered = 0
        while not moving.done():
            assert (await store.get_many(["small"]))[0] is not None
            answered += 1
        assert answered > 1
        moved = await moving
    assert moved == [big.blob]


# Around the data


async def test_lists_keys_whatever_characters_they_have(store: RedisStore, redis_server: RedisServer) -> None:
    """BUG-40: glob characters in a prefix mean themselves; many keys come complete, and others' keys break nothing."""
    odd = ["a*b:1", "a*b:2", "a?b:1", "a[x]b:1", "a\\b:1", "axb:1", "ä:1"]
    await store.put_many([write(key) for key in odd] + [write(f"many:{n}") for n in range(1_200)])
    redis_server.command("SET", b"a*b:\xff", "theirs")
    assert {key async for key in store.scan("a*b:")} - {"a*b:\ufffd"} == {"a*b:1", "a*b:2"}
    for key in odd:
        assert {found async for found in store.scan(key)} == {key}
    assert len({key async for key in store.scan("many:")}) == 1_200
    assert await store.count() == len(odd) + 1_201


def test_has_the_capabilities_it_claims() -> None:
    """It can count and list; these are looked for once, when a layer is built."""
    store = RedisStore()
    assert isinstance(store, SupportsCount)
    assert isinstance(store, SupportsScan)
    assert store.name == "redis"


async def test_the_clock_is_set_by_the_server(redis_server: RedisServer) -> None:
    """All processes of one Redis agree on the time: that of the server, at each connect."""
    clock = FakeClock(now=1_000.0)
    store = RedisStore(redis_server.url, clock=clock)
    assert store.run_id is None
    await store.get_many(["k"])
    assert abs(clock.time() - time.time()) < 5.0
    info = redis_server.command("INFO", "server")
    assert f"run_id:{store.run_id}".encode() in info
    await store.aclose()


class SlowExchange(FakeClock):
    """A clock by which whatever is measured takes a second."""

    def monotonic(self) -> float:
        self.asked = getattr(self, "asked", 0) + 1
        return super().monotonic() + self.asked


@pytest.mark.parametrize(("ahead", "moved"), [(0.5, False), (5.0, True), (-5.0, True)])
async def test_a_slow_reply_does_not_disturb_a_clock_that_may_be_right(
    redis_server: RedisServer, ahead: float, moved: bool
) -> None:
    """F-09, I8: of the server's time only as much is known as the exchange was quick."""
    clock = SlowExchange(time.time() + ahead)
    store = RedisStore(redis_server.url, clock=clock, op_timeout=5.0)
    before = clock.time()
    await store.get_many(["k"])
    assert (clock.time() != before) is moved
    assert -1.0 <= clock.time() - time.time() <= 1.0
    await store.aclose()


async def test_the_server_sees_who_is_connected(store: RedisStore, redis_server: RedisServer) -> None:
    """One connection for small things, and a second only when something large moves; both have the client's name."""
    await asyncio.gather(*(store.get_many([f"k{n}"]) for n in range(100)))
    assert redis_server.command("CLIENT", "LIST").count(b"name=toolcache ") == 1
    await store.put_many([write("big", bytes(100_000))])
    assert redis_server.command("CLIENT", "LIST").count(b"name=toolcache ") == 2
    named = RedisStore(redis_server.url, client_name="me", db=3)
    await named.get_many(["k"])
    assert b"name=me " in redis_server.command("CLIENT", "LIST")
    assert b"db=3" in redis_server.command("CLIENT", "LIST")
    await named.aclose()


async def test_after_closing_there_are_no_connections(redis_server: RedisServer) -> None:
    """BUG-102: what the store opened it closes, and a closed store says so."""
    before = len(redis_server.command("CLIENT", "LIST").splitlines())
    store = RedisStore(redis_server.url)
    await store.put_many([write("k"), write("big", bytes(100_000))])
    await store.aclose()
    for _ in range(200):
        if len(redis_server.command("CLIENT", "LIST").splitlines()) == before:
            break
        await asyncio.sleep(0.01)
    assert len(redis_server.command("CLIENT", "LIST").splitlines()) == before
    with pytest.raises(CacheClosedError):
        await store.get_many(["k"])
    with pytest.raises(CacheClosedError):
        await store.put_many([write("k")])


@pytest.mark.parametrize("options", [{}, {"protocol": 3}, {"decode_responses": True, "socket_timeout": 0.01}])
async def test_a_client_that_is_given_is_never_closed(redis_server: RedisServer, options: dict[str, Any]) -> None:
    """BUG-102: its settings are borrowed, without those that would break us; it goes on working after we have gone."""
    async with redis.asyncio.Redis(port=redis_server.port, **options) as client:
        for number, given in enumerate((client, client.connection_pool), 1):
            store = RedisStore(client=given)
            assert store.redacted_url == f"redis://localhost:{redis_server.port}/0"
            one = write("k", bytes(range(256)) * 300, version=number)
            await store.put_many([one])
            await asyncio.sleep(0.03)
            assert await store.get_many(["k"]) == [one.blob]
            await store.aclose()
            assert await client.exists("k")


async def test_a_fake_client_serves_tests_of_others() -> None:
    """A fakeredis client works like a server, as far as it goes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        store = RedisStore(client=client)
        one = write("k")
        assert await store.put_many([one, one]) == [
            (PutStatus.STORED, version_of(1), False),
            (PutStatus.ALREADY, version_of(1), True),
        ]
        assert await store.get_many(["k", "none"]) == [one.blob, None]
        assert store.run_id is None
        await store.aclose()
        await client.aclose()


@pytest.mark.parametrize("wrong", [object(), redis.asyncio.Redis])
def test_a_client_of_another_kind_is_refused(wrong: Any) -> None:
    """BUG-105: at construction, with a text that says what would do."""
    with pytest.raises(SettingsError, match="client"):
        RedisStore(client=wrong)


def test_one_address_and_one_way_to_log_in() -> None:
    """BUG-104: what would have to be dropped is refused."""
    client = fakeredis.FakeAsyncRedis()
    with pytest.raises(SettingsError, match="client"):
        RedisStore("redis://h", client=client)
    with pytest.raises(SettingsError, match="client"):
        RedisStore(host="h", client=client)
    with pytest.raises(SettingsError, match="credentials take"):
        RedisStore("redis://:pw@h", credentials=_Async())
    with pytest.raises(SettingsError, match="credentials take"):
        RedisStore(client=client, credentials=_Async())


# Logging in


class _Async(CredentialProvider):
    async def get_credentials_async(self) -> tuple[str, str]:
        await asyncio.sleep(0)
        return "app", _SECRET


class _Blocking(CredentialProvider):
    def get_credentials(self) -> tuple[str, str]:
        time.sleep(0.001)
        return "app", _SECRET


class _PlainObject:
    async def get_credentials_async(self) -> tuple[str]:
        return (_SECRET,)


class _Broken(CredentialProvider):
    async def get_credentials_async(self) -> tuple[str]:
        raise ValueError(f"no token for {_SECRET}")


@pytest.fixture
def locked_redis(own_redis: RedisServer) -> RedisServer:
    """A server with a password, and a user ``app`` with the same."""
    own_redis.command("ACL", "SETUSER", "app", "on", f">{_SECRET}", "~*", "+@all")
    own_redis.command(
        "ACL",
        "SETUSER",
        "cacher",
        "on",
        f">{_SECRET}",
        "~*",
        "-@all",
        "+getrange",
        "+set",
        "+evalsha",
        "+eval",
        "+time",
    )
    own_redis.config(requirepass=_SECRET)
    return own_redis


@pytest.mark.parametrize(
    "options",
    [
        {"password": _SECRET},
        {"username": "app", "password": _SECRET},
        {"credentials": _Async()},
        {"credentials": _Blocking()},
        {"credentials": _PlainObject()},
    ],
)
async def test_logs_in_with_what_it_is_given(locked_redis: RedisServer, options: dict[str, Any]) -> None:
    """BUG-104, EC-15: password, ACL user, and providers that wait or block (off the loop)."""
    store = RedisStore(locked_redis.url, **options)
    assert (await store.put_many([write("k")]))[0].status is PutStatus.STORED
    await store.aclose()


async def test_logs_in_with_the_urls_user(locked_redis: RedisServer) -> None:
    """BUG-104: user and password from the URL; with no more rights than the docstring asks for it caches."""
    store = RedisStore(f"redis://cacher:{_SECRET}@127.0.0.1:{locked_redis.port}")
    one = write("k")
    assert (await store.put_many([one]))[0].status is PutStatus.STORED
    assert await store.get_many(["k"]) == [one.blob]
    assert store.run_id is None
    await store.aclose()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"password": "wrong" + _SECRET},
        {"username": "nobody", "password": _SECRET},
        {"credentials": _Broken()},
    ],
)
async def test_a_refused_log_in_is_told_as_such(
    locked_redis: RedisServer, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """EC-08, EC-15, BUG-107: class AUTH, at once, and the secret is in no log, text or shown traceback."""
    caplog.set_level(logging.DEBUG)
    store = RedisStore(locked_redis.url, **options)
    operations: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.get_many(["k"]),
        lambda: store.put_many([write("k")]),
    ]
    for operation in operations:
        with pytest.raises(RedisError) as refused:
            await operation()
        assert classify(refused.value) is FaultKind.AUTH
        logging.getLogger("test").warning("failed", exc_info=refused.value)
    await store.aclose()
    assert _SECRET not in caplog.text + str(refused.value) + repr(refused.value)
    assert "redis" in sys.modules
