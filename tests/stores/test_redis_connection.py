"""The multiplexed connection: replies stay with their commands, whatever callers and the network do."""

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import pytest
from hearing import until
from proxy import FaultProxy
from redis.asyncio.connection import Connection as RawConnection
from redis.exceptions import (
    ConnectionError as LostError,
)
from redis.exceptions import (
    InvalidResponse,
    MaxConnectionsError,
    RedisError,
    ResponseError,
)
from servers import RedisServer

from toolcache.protocols import Write
from toolcache.resilience.faults import FaultKind, classify, connection_lost
from toolcache.stores.redis import connection as module
from toolcache.stores.redis.connection import Connection
from toolcache.stores.redis.driver import connect
from toolcache.stores.redis.store import RedisStore
from toolcache.stores.redis.wire import pack
from toolcache.testing.stores import blob_of

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def raw(port: int) -> RawConnection:
    """redis-py's connection, as the driver makes it."""
    return RawConnection(port=port, protocol=2, socket_timeout=None, socket_connect_timeout=2.0)


def bare(port: int) -> RawConnection:
    """redis-py's connection, which says nothing when it connects."""
    options: dict[str, Any] = {"port": port, "protocol": 2, "socket_timeout": None}
    try:
        return RawConnection(**options, driver_info=None)
    except TypeError:  # older releases know two other keywords instead
        return RawConnection(**options, lib_name=None, lib_version=None)


@pytest.fixture
async def line(redis_server: RedisServer) -> AsyncIterator[Connection]:
    """A connection to the shared server."""
    line = await connect(raw(redis_server.port), within=5.0, patience=5.0)
    yield line
    await line.aclose()


class Impostor:
    """A server that does as the test says; an async context manager."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def command(reader: asyncio.StreamReader) -> list[bytes]:
    """The next command that a client sent."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


# Order


async def test_replies_come_in_order_in_one_piece(line: Connection, redis_server: RedisServer) -> None:
    """Commands of one tick leave together, and each caller has its own replies, errors among them."""
    redis_server.command("RPUSH", "list", "x")
    calls = [line.call(pack(b"ECHO", b"%d" % n)) for n in range(500)]
    mixed = line.call(pack(b"ECHO", b"a") + pack(b"GET", b"list") + pack(b"ECHO", b"b"), 3)
    assert [reply for (reply,) in await asyncio.gather(*calls)] == [b"%d" % n for n in range(500)]
    first, wrong, last = await mixed
    assert (first, last) == (b"a", b"b")
    assert isinstance(wrong, ResponseError)
    assert str(wrong).startswith("WRONGTYPE")


async def test_a_cancelled_caller_keeps_its_place(line: Connection) -> None:
    """LC-06, BUG-67: get(a) is cancelled, then get(b) has b's reply on the same connection."""
    calls = [line.call(pack(b"ECHO", b"%d" % n)) for n in range(10)]
    for cancelled in (0, 3, 4, 9):
        calls[cancelled].cancel()
    after = line.call(pack(b"ECHO", b"b"))
    assert await after == [b"b"]
    left = [n for n, call in enumerate(calls) if not call.cancelled()]
    assert [calls[n].result() for n in left] == [[b"%d" % n] for n in left]
    assert line.alive


async def test_a_storm_of_cancellations_mixes_nothing_up(redis_server: RedisServer) -> None:
    """BUG-67, LC-06: 500 tasks over a slow network, cancelled at random points; nobody gets another's value."""
    rng = random.Random(67)
    now = time.time()
    blobs = {f"k{n}": blob_of(f"k{n}", b"%d" % n * rng.randrange(1, 400), now=now) for n in range(50)}
    async with FaultProxy(redis_server.port) as proxy:
        store = RedisStore(proxy.url, op_timeout=10.0)
        await store.put_many([Write(key, blob) for key, blob in blobs.items()])
        proxy.delay = 0.002
        right = 0

        async def ask() -> None:
            nonlocal right
            keys = rng.sample(sorted(blobs), rng.randrange(1, 4))
            if rng.random() < 0.2:
                await store.put_many([Write(key, blobs[key]) for key in keys])
            assert await store.get_many(keys) == [blobs[key] for key in keys]
            right += 1

        tasks = [asyncio.create_task(ask()) for _ in range(500)]
        for task in rng.sample(tasks, 400):
            if rng.random() < 0.1:
                await asyncio.sleep(rng.random() * 0.004)
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in done} <= {type(None), asyncio.CancelledError}
        assert right >= 100
        assert await store.get_many(list(blobs)) == list(blobs.values())
        assert proxy.accepted == 2  # one for reads, one for writes
        await store.aclose()


async def test_storms_of_resets_and_cancellations(redis_server: RedisServer) -> None:
    """BUG-67: connections reset, replies cut, callers leaving, all at once: errors or right values, nothing else."""
    rng = random.Random(68)
    now = time.time()
    blobs = {f"k{n}": blob_of(f"k{n}", b"%d" % n * 99, now=now) for n in range(20)}
    async with FaultProxy(redis_server.port) as proxy:
        store = RedisStore(proxy.url, op_timeout=1.0)
        await store.put_many([Write(key, blob) for key, blob in blobs.items()])
        outcomes = Counter[str]()

        async def ask() -> None:
            while True:
                key = rng.choice(sorted(blobs))
                try:
                    async with asyncio.timeout(rng.choice([0.001, 0.5])):
                        assert await store.get_many([key]) == [blobs[key]]
                    outcomes["right"] += 1
                except (RedisError, TimeoutError):
                    outcomes["lost"] += 1

        async def more(outcome: str) -> None:
            enough = outcomes[outcome] + 10
            while outcomes[outcome] < enough:  # noqa: ASYNC110 - a counter raises no event
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(ask()) for _ in range(20)]
        for _ in range(10):
            await more("right")
            proxy.mode = rng.choice(["truncate", "pass"])
            proxy.reset()
            await more("lost")
            proxy.mode = "pass"
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in done} == {asyncio.CancelledError}
        proxy.reset()
        await asyncio.sleep(0.02)
        assert await store.get_many(list(blobs)) == list(blobs.values())
        await store.aclose()


# A server that lies


async def test_crossed_replies_are_passed_on_as_they_come() -> None:
    """LR-26: nothing at this level can tell; the digest in each blob is what the reader compares."""

    async def swap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one, two = await command(reader), await command(reader)
        writer.write(b"$1\r\n%b\r\n$1\r\n%b\r\n" % (two[1], one[1]))
        await writer.drain()
        await reader.read()

    async with Impostor(swap) as server:
        line = await connect(bare(server.port), within=5.0, patience=5.0)
        assert await line.call(pack(b"GET", b"a") + pack(b"GET", b"b"), 2) == [b"b", b"a"]
        await line.aclose()


async def test_a_reply_nobody_asked_for_ends_the_connection() -> None:
    """A stream that has lost its order is not read any further."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n+WHAT\r\n")
        await reader.read()

    async with Impostor(babble) as server:
        line = await connect(bare(server.port), within=5.0, patience=5.0)
        await until(lambda: not line.alive)
        with pytest.raises(LostError, match="nobody asked"):
            line.call(pack(b"ECHO", b"x"))
        await line.aclose()


@pytest.mark.parametrize("noise", [b"\x00\x01\x02", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$-5\r\n", b"*1\r\n$3\r\nab"])
async def test_bytes_that_are_no_reply(noise: bytes) -> None:
    """Another protocol, damaged or cut replies: a lost connection for all who wait, within patience."""

    async def scramble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await command(reader)
        writer.write(noise)
        await writer.drain()
        await reader.read(100)

    async with Impostor(scramble) as server:
        line = await connect(bare(server.port), within=5.0, patience=0.3)
        calls = [line.call(pack(b"GET", b"a")) for _ in range(3)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, LostError)
            assert classify(error) is FaultKind.CONN
        assert not line.alive
        await line.aclose()


@pytest.mark.parametrize("reply", [b":7\r\n", b"*1\r\n$1\r\nx\r\n", b"+OK\r\n"])
async def test_replies_of_the_wrong_shape(redis_server: RedisServer, reply: bytes) -> None:
    """What no GETRANGE or script of ours answers is a broken server, not a value and not a crash."""
    async with FaultProxy(redis_server.port) as proxy:
        store = RedisStore(proxy.url, op_timeout=2.0)
        one = Write("k", blob_of("k", now=time.time()))
        await store.put_many([one])
        await store.get_many(["k"])
        proxy.rewrite = lambda _chunk: reply
        if reply != b"+OK\r\n":
            with pytest.raises(InvalidResponse) as raised:
                await store.get_many(["k"])
            assert classify(raised.value) is FaultKind.CONN
        with pytest.raises(InvalidResponse):
            await store.put_many([one])
        proxy.rewrite = None
        await store.aclose()


@pytest.mark.parametrize("error", [TypeError("NoneType"), AttributeError("_writer"), RuntimeError("odd")])
@pytest.mark.parametrize("method", ["send_packed_command", "read_response"])
async def test_odd_errors_out_of_the_driver_are_a_lost_connection(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, error: Exception, method: str
) -> None:
    """A dying transport has been seen to raise TypeError and AttributeError; who waits gets redis-py's own error."""
    made = raw(redis_server.port)

    async def fail(*_args: Any, **_options: Any) -> None:
        await asyncio.sleep(0.01)
        raise error

    await made.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it so
    monkeypatch.setattr(made, method, fail)
    line = Connection(made, patience=5.0)
    with pytest.raises(LostError) as raised:
        await line.call(pack(b"ECHO", b"x"))
    assert raised.value.__cause__ is error
    assert connection_lost(raised.value)
    assert not line.alive
    await line.aclose()


# Patience and pressure


async def test_a_server_that_answers_slowly_but_steadily_is_kept(redis_server: RedisServer) -> None:
    """The oldest command is long overdue, yet replies keep coming: the connection stays."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await command(reader)
            await asyncio.sleep(0.05)
            writer.write(b"+OK\r\n")

    async with Impostor(drip) as server:
        line = await connect(bare(server.port), within=5.0, patience=0.3)
        calls = [line.call(pack(b"PING")) for _ in range(12)]
        assert await asyncio.gather(*calls) == [[b"OK"]] * 12
        assert line.alive
        await line.aclose()


async def test_an_idle_connection_is_left_alone(redis_server: RedisServer) -> None:
    """No command is overdue where none is under way."""
    line = await connect(raw(redis_server.port), within=5.0, patience=0.05)
    await line.call(pack(b"PING"))
    await asyncio.sleep(0.2)
    assert await line.call(pack(b"ECHO", b"x")) == [b"x"]
    await line.aclose()


async def test_a_process_that_slept_blames_itself(redis_server: RedisServer) -> None:
    """A loop that stood still for longer than patience still reads the replies that came meanwhile."""
    line = await connect(raw(redis_server.port), within=5.0, patience=0.1)
    call = line.call(pack(b"ECHO", b"x"))
    await asyncio.sleep(0.02)
    second = line.call(pack(b"ECHO", b"y"))
    time.sleep(0.5)  # noqa: ASYNC251 - the stall is the point
    assert await call == [b"x"]
    assert await second == [b"y"]
    await line.aclose()


@pytest.mark.parametrize(("name", "limit"), [("MAX_COMMANDS", 10), ("MAX_BYTES", 250)])
async def test_too_much_at_once_is_this_processs_own_fault(
    line: Connection, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    """More commands or bytes than a connection carries are refused as class LOCAL, and room comes back."""
    monkeypatch.setattr(module, name, limit)
    calls: list[asyncio.Future[list[Any]]] = []

    def fill() -> None:
        while True:
            calls.append(line.call(pack(b"ECHO", b"%02d" % len(calls))))

    with pytest.raises(MaxConnectionsError) as raised:
        fill()
    assert classify(raised.value) is FaultKind.LOCAL
    assert len(calls) in {10, 11}
    calls[0].cancel()
    await asyncio.gather(*calls[1:])
    assert await line.call(pack(b"ECHO", b"again")) == [b"again"]


async def test_one_large_command_is_carried_however_large(line: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on what waits together, not on a single value."""
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    assert await line.call(pack(b"ECHO", bytes(5_000))) == [bytes(5_000)]
    with pytest.raises(MaxConnectionsError):
        await asyncio.gather(line.call(pack(b"ECHO", b"a" * 600)), line.call(pack(b"ECHO", b"b" * 600)))


# Ends


async def test_a_transport_that_is_full_holds_up_nobody(own_redis: RedisServer) -> None:
    """What a server that stands still does not take waits in a task, and what comes meanwhile waits behind it, in order."""
    line = await connect(raw(own_redis.port), within=5.0, patience=20.0)
    large = b"x" * 4_000_000
    own_redis.freeze()
    try:
        stored = [line.call(pack(b"SET", b"key%d" % number, large)) for number in range(3)]
        echoed = line.call(pack(b"ECHO", b"behind"))
        await asyncio.sleep(0)
        assert line._pushing is not None
        assert not line._pushing.done()
    finally:
        own_redis.thaw()
    async with asyncio.timeout(20):
        assert await asyncio.gather(*stored) == [[b"OK"]] * 3
        assert await echoed == [b"behind"]
    await line.aclose()


async def test_a_lone_command_goes_at_once_and_others_together(
    line: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody to share a packet with: it waits for nothing. What comes while it is under way leaves when the tick ends."""
    packets: list[int] = []
    send = line._raw.send_packed_command

    async def sending(packed: list[bytes], **options: Any) -> None:
        packets.append(len(packed))
        await send(packed, **options)

    monkeypatch.setattr(line._raw, "send_packed_command", sending)
    asked = [line.call(pack(b"ECHO", b"%d" % number)) for number in range(3)]
    assert packets == [1]
    assert await asyncio.gather(*asked) == [[b"0"], [b"1"], [b"2"]]
    assert packets == [1, 2]


async def test_closing_waits_for_what_is_under_way(redis_server: RedisServer) -> None:
    """And a second closing does nothing; the connection's tasks are gone."""
    line = await connect(raw(redis_server.port), within=5.0, patience=5.0)
    call = line.call(pack(b"ECHO", b"x"))
    await asyncio.gather(line.aclose(), line.aclose())
    assert call.result() == [b"x"]
    await line.aclose()
    with pytest.raises(LostError, match="closed"):
        line.call(pack(b"ECHO", b"x"))


async def test_closing_at_once(redis_server: RedisServer) -> None:
    """A connection closed in the tick that made it leaves no socket open."""
    made = raw(redis_server.port)
    line = await connect(made, within=5.0, patience=5.0)
    await line.aclose()
    assert not made.is_connected
    assert not line.alive


async def test_those_who_left_are_not_missed(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A lost connection whose callers have all left complains to nobody."""
    line = await connect(raw(redis_server.port), within=5.0, patience=5.0)
    for _ in range(3):
        line.call(pack(b"ECHO", b"x")).cancel()
    line.close()
    await line.aclose()
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records


@pytest.mark.parametrize("last", [b"SETNAME", b"TIME", b"INFO"])
async def test_a_server_that_hangs_up_during_the_introduction(last: bytes) -> None:
    """A connection lost before it was of use is a failed connect, and leaves nothing behind."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while last not in (words := await command(reader)):
            writer.write(b"+OK\r\n" if words[0] == b"CLIENT" else b"-ERR not now\r\n")

    async with Impostor(greet) as server:
        store = RedisStore(host="127.0.0.1", port=server.port)
        with pytest.raises(LostError) as raised:
            await store.get_many(["k"])
        assert connection_lost(raised.value)
        await store.aclose()


def test_a_loop_that_ends_while_connecting(caplog: pytest.LogCaptureFixture) -> None:
    """LC-06: what a program leaves unfinished ends with its loop, without complaint."""

    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with Impostor(silent) as server:
            store = RedisStore(host="127.0.0.1", port=server.port)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await store.get_many(["k"])
            connecting = [task for task in asyncio.all_tasks() if task.get_name() == "toolcache-redis-connect"]
            assert len(connecting) == 1
            connecting[0].cancel()
            await asyncio.wait(connecting)
            assert connecting[0].cancelled()

    asyncio.run(main())
    gc.collect()
    assert not caplog.records
