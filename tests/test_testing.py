"""The tools for tests: do they do what tests rely on?"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest

from toolcache.clock import SystemClock
from toolcache.events import BreakerChanged, DataAtRisk
from toolcache.peeks import SupportsPeek
from toolcache.protocols import (
    Clock,
    PutResult,
    PutStatus,
    Store,
    SupportsCount,
    SupportsOverlay,
    SupportsScan,
    Write,
)
from toolcache.testing import ChaosStore, FakeClock, Recorder


class Working:
    """A store that answers, and can count, scan and tell what is pending."""

    name = "working"
    shelf = "third"

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.closed = 0
        self.opened = False

    @property
    def ready(self) -> bool:
        return self.opened

    async def open(self) -> None:
        self.opened = True

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return [self.blobs.get(key) for key in keys]

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        self.blobs |= {write.key: write.blob for write in writes}
        return [PutResult(PutStatus.STORED, b"") for _ in writes]

    async def count(self) -> int:
        return len(self.blobs)

    async def scan(self, prefix: str, /) -> AsyncIterator[str]:
        for key in self.blobs:
            if key.startswith(prefix):
                yield key

    def pending(self, key: str, /) -> bool:
        return key == "pending"

    def newest(self, key: str, /) -> None:
        return None

    def disown(self, marks: Sequence[tuple[str, bytes]], /) -> None:
        return None

    async def settle(self, key: str, version: bytes, /) -> None:
        del self.blobs[key]

    async def aclose(self) -> None:
        self.closed += 1


class Minimal:
    """A store that can do nothing more than it must."""

    name = "minimal"

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return [None for _ in keys]

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        return [PutResult(PutStatus.NEWER, b"") for _ in writes]

    async def aclose(self) -> None:
        return None


@pytest.fixture
def store() -> Working:
    return Working()


@pytest.fixture
def chaos(store: Working) -> ChaosStore:
    return ChaosStore(store)


async def outcomes(chaos: ChaosStore, times: int) -> str:
    """One letter a read: g for good, b for bad."""
    letters = ""
    for _ in range(times):
        try:
            await chaos.get_many(["k"])
        except ConnectionResetError:
            letters += "b"
        else:
            letters += "g"
    return letters


class TestChaosStore:
    async def test_it_is_the_store_while_all_is_well(self, chaos: ChaosStore, store: Working) -> None:
        """Untouched, it answers as the wrapped store does, and counts the calls."""
        wrapped: Store = chaos
        await wrapped.put_many([Write("k", b"blob")])
        assert await wrapped.get_many(["k", "other"]) == [b"blob", None]
        await wrapped.aclose()
        assert store.closed == 1
        assert wrapped.name == "working"
        assert chaos.calls == {"get_many": 1, "put_many": 1}

    async def test_it_can_do_what_the_store_can(self, chaos: ChaosStore) -> None:
        """Capabilities are found on it exactly when the wrapped store has them."""
        for capability in (SupportsCount, SupportsScan, SupportsOverlay):
            assert isinstance(chaos, capability)
            assert not isinstance(ChaosStore(Minimal()), capability)
        assert chaos.shelf == "third"
        assert not chaos.ready
        await chaos.open()
        assert chaos.ready
        assert not hasattr(chaos, "lid")

    async def test_capabilities_fail_as_well(self, chaos: ChaosStore) -> None:
        """A coroutine method beyond ``Store`` is disturbed; what is not awaited is left alone."""
        await chaos.put_many([Write("a:1", b""), Write("b:1", b"")])
        chaos.fail_with(ConnectionResetError)
        with pytest.raises(ConnectionResetError):
            await chaos.count()
        assert chaos.pending("pending")
        assert [key async for key in chaos.scan("a:")] == ["a:1"]
        chaos.heal()
        assert await chaos.count() == 2

    async def test_it_says_nothing_at_once_while_it_is_disturbed(self) -> None:
        """Fact: a peek raises nothing, so a store that is to fail, to wait or to hang leaves it to ``get_many``."""

        class Quick(Minimal):
            def peek(self, keys: Sequence[str], /) -> list[bytes | None] | None:
                return [b"at once" for _ in keys]

        chaos = ChaosStore(Quick())
        assert isinstance(ChaosStore(Quick()), SupportsPeek)
        assert not isinstance(ChaosStore(Minimal()), SupportsPeek)
        assert chaos.peek(["k"]) == [b"at once"]
        for disturb in (partial(chaos.fail_with, ConnectionResetError), partial(chaos.delay, 1.0), chaos.hang):
            disturb()
            assert chaos.peek(["k"]) is None
            chaos.heal()
        chaos.fail_with(ConnectionResetError, on=["put_many"])
        assert chaos.peek(["k"]) == [b"at once"]

    async def test_failing_and_healing(self, chaos: ChaosStore) -> None:
        """It fails from the word on until it heals, with a new exception each time."""
        chaos.fail_with(ConnectionResetError)
        assert await outcomes(chaos, 3) == "bbb"
        assert chaos.calls["get_many"] == 3
        chaos.heal()
        assert await outcomes(chaos, 2) == "gg"

    async def test_a_given_exception_is_raised_itself(self, chaos: ChaosStore) -> None:
        """An instance is raised as it is."""
        fault = ConnectionResetError("mine")
        chaos.fail_with(fault)
        with pytest.raises(ConnectionResetError) as caught:
            await chaos.get_many([])
        assert caught.value is fault

    async def test_every_nth(self, chaos: ChaosStore) -> None:
        """``every=3`` fails each third call, counted from the word on."""
        await chaos.get_many([])
        chaos.fail_with(ConnectionResetError, every=3)
        assert await outcomes(chaos, 7) == "ggbggbg"

    async def test_some_methods_only(self, chaos: ChaosStore) -> None:
        """``on`` names the methods that fail, as a store that takes no writes."""
        chaos.fail_with(ConnectionResetError, on=["put_many"])
        assert await outcomes(chaos, 1) == "g"
        with pytest.raises(ConnectionResetError):
            await chaos.put_many([])

    async def test_a_lost_reply(self, chaos: ChaosStore, store: Working) -> None:
        """``applied`` lets the store do its work before the failure."""
        chaos.fail_with(ConnectionResetError, applied=True)
        with pytest.raises(ConnectionResetError):
            await chaos.put_many([Write("k", b"blob")])
        assert store.blobs == {"k": b"blob"}

    async def test_a_lost_request(self, chaos: ChaosStore, store: Working) -> None:
        """Without ``applied`` the store never hears of it."""
        chaos.fail_with(ConnectionResetError)
        with pytest.raises(ConnectionResetError):
            await chaos.put_many([Write("k", b"blob")])
        assert store.blobs == {}

    async def test_delaying_on_a_clock(self, chaos: ChaosStore, clock: FakeClock) -> None:
        """A delay passes with the clock that was given."""
        chaos.delay(5, clock)
        read = asyncio.create_task(chaos.get_many(["k"]))
        await asyncio.sleep(0)
        clock.advance(4.9)
        await asyncio.sleep(0)
        assert not read.done()
        clock.advance(0.1)
        assert await read == [None]
        chaos.heal()
        assert await chaos.get_many(["k"]) == [None]

    async def test_hanging(self, chaos: ChaosStore, store: Working) -> None:
        """What hangs goes on when the store heals, as commands do that a paused server had received."""
        chaos.hang()
        write = asyncio.create_task(chaos.put_many([Write("k", b"late")]))
        await asyncio.sleep(0)
        assert not write.done()
        assert store.blobs == {}
        chaos.heal()
        await write
        assert store.blobs == {"k": b"late"}

    async def test_what_hangs_can_be_cancelled(self, chaos: ChaosStore, store: Working) -> None:
        """A cancelled call does nothing when the store heals."""
        chaos.hang()
        write = asyncio.create_task(chaos.put_many([Write("k", b"late")]))
        await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])
        chaos.heal()
        await asyncio.sleep(0)
        assert store.blobs == {}

    async def test_closing_always_works(self, chaos: ChaosStore, store: Working) -> None:
        """``aclose`` is never disturbed, so that a test can always clean up."""
        chaos.fail_with(ConnectionResetError)
        chaos.hang()
        await chaos.aclose()
        assert store.closed == 1


class TestRecorder:
    def test_it_keeps_events_in_order(self) -> None:
        """Events are kept in order, told apart by class, and forgotten on request."""
        recorder = Recorder()
        events: list[Any] = [DataAtRisk("set", "0"), BreakerChanged("r", "closed", "open"), DataAtRisk("delete", "1")]
        for event in events:
            recorder(event)
        assert recorder.events == events
        assert recorder.of(DataAtRisk) == [events[0], events[2]]
        assert recorder.of(BreakerChanged) == [events[1]]
        recorder.clear()
        assert recorder.events == []


class TestFakeClock:
    def test_time_passes_everywhere(self, clock: FakeClock) -> None:
        """``advance`` moves wall, monotonic and boot time alike."""
        faces: Clock = clock
        before = (faces.time(), faces.monotonic(), faces.boottime())
        clock.advance(2.5)
        after = (faces.time(), faces.monotonic(), faces.boottime())
        assert [late - early for early, late in zip(before, after, strict=True)] == [2.5, 2.5, 2.5]

    def test_the_wall_can_be_stepped(self, clock: FakeClock) -> None:
        """A step of the wall clock, and an alignment, let no time pass."""
        monotonic, boot, wall = clock.monotonic(), clock.boottime(), clock.time()
        clock.step_wall(-3_600)
        assert clock.time() == wall - 3_600
        clock.align(5.0)
        assert clock.time() == 5.0
        assert (clock.monotonic(), clock.boottime()) == (monotonic, boot)

    async def test_sleepers_wake_in_order(self, clock: FakeClock) -> None:
        """Who sleeps is woken when its time has come, the earliest first."""
        woken: list[int] = []

        async def sleep(seconds: int) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2)]
        await asyncio.sleep(0)
        clock.advance(2)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert woken == [1, 2]
        clock.advance(1)
        await asyncio.gather(*tasks)
        assert woken == [1, 2, 3]

    async def test_a_cancelled_sleeper_is_passed_over(self, clock: FakeClock) -> None:
        """A sleeper that was cancelled does not trouble the clock."""
        sleeper = asyncio.create_task(clock.sleep(1))
        await asyncio.sleep(0)
        sleeper.cancel()
        await asyncio.wait([sleeper])
        clock.advance(2)
        assert sleeper.cancelled()

    async def test_the_real_one_has_the_same_faces(self) -> None:
        """The system's clock goes forward, and an alignment sets its time."""
        clock: Clock = SystemClock()
        before = clock.monotonic(), clock.boottime(), clock.time()
        await clock.sleep(0)
        after = clock.monotonic(), clock.boottime(), clock.time()
        assert all(late >= early for early, late in zip(before, after, strict=True))
        clock.align(1_000.0)
        assert clock.time() == pytest.approx(1_000.0, abs=5)
