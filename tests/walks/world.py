"""What is walked over: two processes of one host and one of another, a Redis in memory, real files, one clock.

Each process has its own memory, versions, breakers, clock and view of its host's files, as if it were alone in its
interpreter. A process dies where the walk says: what it waits for never comes, and nothing of it goes on.
"""

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from fake_redis import FakeRedis, FakeRedisStore

from toolcache.cache import Cache
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.events import Announcer
from toolcache.layer import Layer
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.parts import Parts
from toolcache.protocols import Store
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.stores.log.shared import Shared, Table
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.versions import ZERO, HybridClock

T = TypeVar("T")

NAMESPACE: Final = "walk"
TRUST: Final = 5.0
HOSTS: Final = (0, 0, 1)
"""Of each process."""


class ProcessClock:
    """The clock of one process: the world's, but for what the host's wall clock was off when it began.

    Args:
        world: the one clock that is right.
        off: by how many seconds the host's is ahead.
    """

    def __init__(self, world: FakeClock, off: float) -> None:
        self._world = world
        self.off = off
        self.monotonic = world.monotonic
        self.boottime = world.boottime
        self.sleep = world.sleep

    def time(self) -> float:
        """Seconds since the epoch, as this process believes."""
        return self._world.time() + self.off

    def align(self, now: float) -> None:
        """Redis knows better."""
        self.off = now - self._world.time()


class Minted(HybridClock):
    """Remembers the versions it gave out."""

    def __init__(self, clock: ProcessClock, node: bytes) -> None:
        super().__init__(clock, node=node)
        self.minted: list[bytes] = []

    def next(self, above: bytes = ZERO, now: int | None = None) -> bytes:
        """A version."""
        self.minted.append(super().next(above, now))
        return self.minted[-1]

    def yielding(self, above: bytes = ZERO) -> bytes:
        """Of what is computed."""
        self.minted.append(super().yielding(above))
        return self.minted[-1]

    def epoch(self) -> bytes:
        """An epoch."""
        self.minted.append(super().epoch())
        return self.minted[-1]


class OwnLogStore(LogStore):
    """A file store that shares nothing with the others of this interpreter but the files.

    It never compacts: that is for threads of its own to do when they come to it, and another time in each walk.
    """

    def _attach(self) -> Shared:
        def make(real: str) -> Shared:
            shared = Shared(real, self._clock, self._hybrid, self._ops)
            shared.compactor.consider = lambda: None  # type: ignore[method-assign]  # as the class says
            return shared

        self._shared = Table().attach(self._root, make, self._post, self._budget)
        return self._shared


class Process:
    """One process of the world."""

    def __init__(self, at: int, cache: Cache, clock: ProcessClock, hybrid: Minted, files: OwnLogStore) -> None:
        self.at = at
        self.host = HOSTS[at]
        self.cache = cache
        self.clock = clock
        self.hybrid = hybrid
        self.files = files
        self.redis = _layer(cache._parts.redis)
        self._death = asyncio.Event()

    def refuses(self, *, mutation: bool) -> bool:
        """Whether its breakers keep it from Redis now."""
        return self.redis.guard.refuses(mutation=mutation)

    async def do(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of a call, and of all that it left behind; None if the process dies of it."""
        task, death = asyncio.create_task(work), asyncio.create_task(self._death.wait())
        left: set[asyncio.Task[Any]] = {task}
        while left and not self._death.is_set():
            await asyncio.wait([*left, death], return_when=asyncio.FIRST_COMPLETED)
            left = {one for one in (task, *self.cache._machine.homes.here()._tasks) if not one.done()}
        death.cancel()
        if self._death.is_set():
            task.cancel()
            await asyncio.wait([task])
            return None
        return task.result()

    def doom(self, layer: str, *, applied: bool) -> None:
        """Die at the next write to a layer, before or after it is applied."""
        store: Any = self.redis.store if layer == "redis" else self.files

        async def put_many(writes: Any) -> Any:
            if applied:
                await put(writes)
            self._death.set()
            await asyncio.Event().wait()

        put, store.put_many = store.put_many, put_many

    def spare(self) -> None:
        """Do not die after all."""
        for store in (self.redis.store, self.files):
            vars(store).pop("put_many", None)

    @property
    def dead(self) -> bool:
        """Whether it has come to that."""
        return self._death.is_set()

    async def bury(self) -> None:
        """Nothing of it goes on; its files are let go of, as the kernel would."""
        home = self.cache._machine.homes.here()
        tasks = {*home._tasks, *home.flights.tasks(), *home._attendants.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.cache._machine.entrance.used = False
        await self.files.aclose()


class World:
    """Makes processes, and looks at what they leave behind.

    Args:
        directory: for the files of both hosts.
        chance: of the walk.
        mirrored: whether files are to have a copy of each value that Redis took.
    """

    def __init__(self, directory: Path, chance: random.Random, *, mirrored: bool) -> None:
        self._chance = chance
        self._mirror = frozenset({"general"} if mirrored else ())
        self.clock = FakeClock()
        self.server = FakeRedis(self.clock.time)
        self.off = [0.0, 0.0]
        """By how much the wall clocks of the hosts are ahead."""
        self._roots = [directory / "one", directory / "two"]
        self._observers = [self._files(host, ProcessClock(self.clock, 0)) for host in (0, 1)]

    def begin(self, at: int) -> Process:
        """A process begins."""
        host = HOSTS[at]
        clock = ProcessClock(self.clock, self.off[host])
        hybrid, announce = Minted(clock, self._chance.randbytes(8)), Announcer(clock)
        files = self._files(host, clock, hybrid)
        parts = Parts(
            metrics=False,  # whose records take versions, too
            namespace=NAMESPACE,
            clock=clock,
            hybrid=hybrid,
            memory=MemoryStore(clock=clock, policy=S3FIFO(), max_bytes=2**24),
            coder=Coder(),
            envelope=Envelope(),
            announce=announce,
            redis=self._guarded(FakeRedisStore(self.server, clock), clock),
            files=self._guarded(files, clock),
            trust=TRUST,
            mirror=self._mirror,
            lock=False,  # claims save work, and decide nothing of what is compared here
        )
        cache = Cache(parts)
        cache._machine.journal.run = _never  # type: ignore[method-assign]  # only when the walk says so
        cache._machine._follower.run = _never  # type: ignore[method-assign]  # as well
        cache._machine.sweeper.arm = lambda: None  # type: ignore[method-assign]  # it goes by the loop's clock
        return Process(at, cache, clock, hybrid, files)

    async def owed(self, host: int, names: list[str]) -> dict[str, bytes]:
        """What the host owes Redis, as a stranger reads it in the files."""
        observer = self._observers[host]
        await observer.open()
        return {name: version for name in names if (version := observer.pending(name)) is not None}

    async def aclose(self) -> None:
        """Let go of the files."""
        for observer in self._observers:
            await observer.aclose()

    def _files(self, host: int, clock: ProcessClock, hybrid: HybridClock | None = None) -> OwnLogStore:
        return OwnLogStore(self._roots[host], clock=clock, hybrid=hybrid or HybridClock(clock), fsync="never")

    def _guarded(self, store: Store, clock: ProcessClock) -> Layer:
        def breaker(kind: str) -> CircuitBreaker:
            return CircuitBreaker(name=f"{store.name}.{kind}", clock=clock, recovery_time=1.0, jitter=0.0)

        guard = Guard(
            breaker=breaker("conn"),
            write_breaker=breaker("write"),
            timeout=60.0,  # a slow machine is no fault
            clock=clock,
            layer=store.name,
        )
        return Layer(store, guard, clock=clock)


def _layer(layer: Layer | None) -> Layer:
    assert layer is not None
    return layer


async def _never() -> None:
    await asyncio.Event().wait()
