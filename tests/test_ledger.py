"""The records of requests in the stores: whatever bytes stand under their keys, and what a host goes by."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_redis import FakeRedis, FakeRedisStore, OtherType, State
from hearing import aboard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolcache.blob import CLAIM, NEVER, RECORD, CorruptBlobError
from toolcache.cache import Cache
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.entry import MISSING
from toolcache.errors import CacheWriteError, StoresUnavailableError
from toolcache.events import Announcer
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.parts import Parts
from toolcache.protocols import Store
from toolcache.record import Record
from toolcache.record import State as RecordState
from toolcache.record_body import body_of
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.stores.log.store import LogStore
from toolcache.swaps import Swapped
from toolcache.testing import FakeClock
from toolcache.versions import HybridClock
from toolcache.work import RunContext

NAME = "tc1:i:test:once:k"


class Host:
    """A process on a host, with Redis, files, or both."""

    def __init__(self, clock: FakeClock, server: FakeRedis, directory: Path, layers: str) -> None:
        self.clock, self.server, self.runs = clock, server, 0
        hybrid, self.announce = HybridClock(clock), Announcer(clock)
        self.files = LogStore(directory, clock=clock, hybrid=hybrid, fsync="never")
        self.parts = Parts(
            namespace="test",
            clock=clock,
            hybrid=hybrid,
            memory=MemoryStore(clock=clock, policy=S3FIFO(), max_bytes=2**24),
            coder=Coder(),
            envelope=Envelope(),
            announce=self.announce,
            redis=self._layer(FakeRedisStore(server, clock)) if "redis" in layers else None,
            files=self._layer(self.files) if "files" in layers else None,
            trust=5.0,
            coherence=False,
        )
        self.cache = Cache(self.parts)
        self.cache._machine.journal.run = asyncio.Event().wait  # type: ignore[method-assign,assignment]  # never

    async def once(self, **options: Any) -> Any:
        """The answer of the one request."""
        return await self.cache.once("k", self.run, **options)

    def run(self) -> str:
        """The work."""
        self.runs += 1
        return f"run {self.runs}"

    def _layer(self, store: Store) -> Layer:
        breaker = CircuitBreaker(name=store.name, clock=self.clock, recovery_time=1.0, jitter=0.0)
        return Layer(store, Guard(breaker=breaker, timeout=60.0, clock=self.clock), clock=self.clock)

    async def plant(self, raw: bytes | OtherType, layers: str) -> bool:
        """Have these bytes stand in each store, where they can; whether they do."""
        self.server.data[NAME] = (raw, float("inf"))
        if "files" not in layers:
            return True
        try:
            assert not isinstance(raw, OtherType)
            swapped: Swapped = await self.files.swap(NAME, b"", raw, ttl=1e6)
        except (ValueError, AssertionError):
            return False
        return swapped.done


@asynccontextmanager
async def a_host(layers: str, clock: FakeClock | None = None, server: FakeRedis | None = None) -> AsyncIterator[Host]:
    """One, closed at the end."""
    clock = clock or FakeClock()
    with tempfile.TemporaryDirectory() as directory:
        host = Host(clock, server or FakeRedis(clock.time), Path(directory), layers)
        async with host.cache:
            yield host
        await host.files.aclose()


def blob(body: Any, *, name: str = NAME, flags: int = RECORD) -> bytes:
    """The blob of any body."""
    return Envelope().pack(
        Coder().encode(body),
        digest=key_digest(name),
        version=bytes(16),
        created_ms=0,
        fresh_until_ms=NEVER,
        gone_ms=NEVER,
        flags=flags,
    )


def whole() -> list[Any]:
    """The body of a claim that is as it should be."""
    return body_of(Record(state=RecordState.RUNNING, owner=b"o" * 16, fence=b"f" * 16))


plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.lists(st.none()),
)
changed = st.tuples(st.integers(0, 14), plain).map(
    lambda change: [*whole()[: change[0]], change[1], *whole()[change[0] + 1 :]]
)
bodies = st.one_of(plain, st.lists(plain, max_size=16), changed)
hostile = st.one_of(
    st.binary(max_size=200),
    st.builds(blob, bodies, flags=st.sampled_from([0, CLAIM, RECORD])),
    st.builds(blob, st.just(whole()), flags=st.just(0)),
    st.builds(blob, st.just(whole()), name=st.just("tc1:i:test:once:another")),
    st.tuples(st.integers(0, 200), st.integers(1, 255)).map(
        lambda flip: (raw := blob(whole()))[: (at := flip[0] % len(raw))] + bytes([raw[at] ^ flip[1]]) + raw[at + 1 :]
    ),
)


def readable(raw: bytes) -> bool:
    """Whether it is a record after all."""
    try:
        _, _, encoded = Envelope().unpack(raw, key_digest(NAME))
        body = None if encoded is None else Coder().decode(encoded)
    except CorruptBlobError:
        return False
    return isinstance(body, list) and len(body) == len(whole()) and body[0] == 1 and type(body[2]) is bytes


async def attack(raw: bytes | OtherType, layers: str) -> None:
    """Nobody who asks is told anything but what is documented, and nothing is run that may have been."""
    async with a_host(layers) as host:
        if not await host.plant(raw, layers):
            return
        with pytest.raises(StoresUnavailableError):
            await host.once()
        assert host.runs == 0, "what cannot be read was taken for nothing"
        assert await host.cache._requests.get("once:k", host.cache._request_domain) is MISSING
        assert (await host.cache.status("k")).state == "absent"
        layer = host.parts.redis or host.parts.files
        assert layer is not None
        assert layer.tally.rejected + layer.tally.faults > 0, "it was counted nowhere"
        if isinstance(raw, OtherType):
            with pytest.raises(CacheWriteError):
                await host.cache.forget("k")
            assert await host.cache.once("k", host.run, on_store_down="run") == "run 1"
        else:  # who says that it is to be forgotten, need not read it
            assert await host.cache.forget("k") is False
            assert await host.cache.once("k", host.run) == "run 1"


@pytest.mark.parametrize("layers", ["redis", "files"])
@settings(max_examples=60, deadline=None)
@given(raw=hostile)
def test_what_cannot_be_read_is_never_taken_for_nothing(layers: str, raw: bytes) -> None:
    """G1, G7, ID-29: any bytes under a record's key in the only store: refused, counted, and not run; never another error."""
    assume(raw and not readable(raw))
    asyncio.run(attack(raw, layers))


async def test_a_value_of_another_type_is_no_record() -> None:
    """G1: a list of somebody else's under the key in Redis is as bad as a Redis that is down."""
    await attack(OtherType(), "redis")


@settings(max_examples=30, deadline=None)
@given(raw=hostile)
def test_an_unreadable_record_in_redis_leaves_it_to_the_files(raw: bytes) -> None:
    """G4: where the host's file can say, a request is run once, whatever stands in Redis."""
    assume(not readable(raw))

    async def go() -> None:
        async with a_host("redis+files") as host:
            host.server.data[NAME] = (raw, float("inf"))
            assert [await host.once(), await host.once()] == ["run 1", "run 1"]
            assert host.runs == 1

    asyncio.run(go())


async def test_an_answer_ends_although_redis_is_owed_it() -> None:
    """SPEC 8.4: what the files keep for a Redis that is away, is no answer any more when its retention is over."""
    async with a_host("redis+files") as host:
        host.server.state = State.DOWN
        assert await host.once(retention=60.0) == "run 1"
        host.clock.advance(59.0)
        assert await host.once() == "run 1"
        host.clock.advance(2.0)
        assert await host.cache._requests.get("once:k", host.cache._request_domain) is MISSING
        assert await host.once() == "run 2"


async def test_who_asks_after_a_forget_joins_no_run_from_before() -> None:
    """ID-33: callers from before have the old run's output; who asks once it was forgotten, in whatever process, a new one's."""
    clock = FakeClock()
    async with a_host("redis+files", clock) as host:
        begun, go, runs = asyncio.Event(), asyncio.Event(), 0

        async def run(_context: RunContext) -> int:
            nonlocal runs
            runs += 1
            mine = runs
            begun.set()
            await go.wait()
            return mine

        before = [asyncio.create_task(host.cache.once("k", run)) for _ in range(2)]
        await begun.wait()
        await aboard(host.cache, 2)
        clock.advance(0.01)
        await host.cache.forget("k")
        clock.advance(0.01)
        since = asyncio.create_task(host.cache.once("k", run))
        await asyncio.sleep(0.01)
        go.set()
        assert [await one for one in before] == [1, 1]
        assert await since == 2
        assert await host.once() == 2


async def test_what_another_host_has_cleared_is_no_answer_here() -> None:
    """A clear that Redis knows of holds for an answer of this host's file, also where Redis holds no record of it."""
    clock = FakeClock()
    server = FakeRedis(clock.time)
    async with a_host("redis+files", clock, server) as here, a_host("redis+files", clock, server) as there:
        assert await here.once() == "run 1"
        del server.data[NAME]
        clock.advance(0.1)
        await there.cache.clear()
        clock.advance(0.1)
        assert await here.once() == "run 2"


async def test_a_run_that_was_forgotten_elsewhere_leaves_no_claim_behind() -> None:
    """ID-33: its host learns of that at Redis, gives the file's claim up, and the next call there runs at once."""
    clock = FakeClock()
    server = FakeRedis(clock.time)
    async with a_host("redis+files", clock, server) as here, a_host("redis+files", clock, server) as there:

        async def run() -> str:
            clock.advance(0.1)
            await there.cache.forget("k")
            return "forgotten"

        assert await here.cache.once("k", run) == "forgotten"
        clock.advance(0.1)
        async with asyncio.timeout(5):
            assert await here.once() == "run 1"
        assert (await here.cache.status("k")).attempts == 1
