"""Computations and invalidations in any order: nothing that was computed before an invalidation is served after it.

Each step is one interleaving of its own: one or two processes compute the same key from a source, some read it, and one of
them changes the source and then forgets what was made of it, in one way out of all. Every computation, and every word
from or to a store, stands at a gate; which one opens next is chance. Once all is done, whoever asks gets what was made of
the source as it is, or nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from fake_redis import FakeRedis, FakeRedisStore
from walks.walk import DivergedError
from walks.world import OwnLogStore, ProcessClock

from toolcache.cache import Cache
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.compute import Context
from toolcache.domains import Domain
from toolcache.entry import MISSING
from toolcache.events import Announcer
from toolcache.keys.globs import escape
from toolcache.layer import Layer
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.parts import Parts
from toolcache.protocols import Clock, PutResult, Store, Write
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.tags import agent_label, catalog_label, tool_label
from toolcache.testing import FakeClock
from toolcache.versions import HybridClock

T = TypeVar("T")

LAYERINGS: Final = ("memory", "redis", "files", "redis+files")
KINDS: Final = (
    *("key", "set", "namespace", "tags", "parent", "domain", "agent", "catalog_version", "tool"),
    *("pattern", "where"),
)
_OFTEN: Final = ("memory", "redis") * 8 + ("memory", "files", "memory", "redis+files")
"""Which layering a seed has: those over files take twenty times as long."""

LOCAL: Final = ("pattern", "where")
"""These know nothing of what other processes compute."""
DOCS: Final = Domain("docs", ttl="1h", key=("page",))
TRUST: Final = 5.0
OFF: Final = 0.02
"""Seconds that the clock of a process is off."""
_TURNS: Final = 3
_MANY: Final = 20


class Gates:
    """Where everything waits for its turn.

    Args:
        chance: whose turn it is.
        clock: moves on a little now and then.
    """

    def __init__(self, chance: random.Random, clock: FakeClock) -> None:
        self._chance = chance
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self.busy = 0
        self.open = False

    async def step(self) -> None:
        """Wait for a turn."""
        if not self.open:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    async def drive(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Give turns until all of the tasks are done."""
        while not all(task.done() for task in tasks):
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self.busy or not self._waiting:
                await asyncio.sleep(0.0002 if self.busy else 0)
                continue
            waiting = self._waiting.pop(self._chance.randrange(len(self._waiting)))
            if not waiting.done():
                waiting.set_result(None)
            if self._chance.random() < 0.3:
                self._clock.advance(self._chance.choice((0.001, 0.02)))
        await asyncio.gather(*tasks)


class GatedStore:
    """A store with a gate before each operation, and one behind it: the answer may come late.

    Args:
        store: behind the gates.
        gates: they are.
    """

    def __init__(self, store: Any, gates: Gates) -> None:
        self._store = store
        self._gates = gates
        self.name: str = store.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """As the store."""
        found: list[bytes | None] = await self._gated(lambda: self._store.get_many(keys))
        return found

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """As the store."""
        results: list[PutResult] = await self._gated(lambda: self._store.put_many(writes))
        return results

    async def page(self, prefix: str, cursor: Any = None, /) -> Any:
        """As the store."""
        return await self._gated(lambda: self._store.page(prefix, cursor))

    async def aclose(self) -> None:
        """As the store."""
        await self._store.aclose()

    async def _gated(self, work: Callable[[], Awaitable[T]]) -> T:
        await self._gates.step()
        self._gates.busy += 1
        try:
            answer = await work()
        finally:
            self._gates.busy -= 1
        await self._gates.step()
        return answer


class OffClock(ProcessClock):
    """The clock of one process, which is off by a little, whatever Redis says."""

    def align(self, now: float) -> None:
        """Stay."""


class FenceWalk:
    """Interleavings, each with a key of its own, over one layering.

    Args:
        seed: decides everything, and by its remainder the layering.
        directory: for files.
        layering: of ``LAYERINGS``, whatever the seed.
    """

    def __init__(self, seed: int, directory: Path, layering: str | None = None) -> None:
        self.seed = seed
        self.layering = layering or _OFTEN[seed % len(_OFTEN)]
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.gates = Gates(self.chance, self.clock)
        self.told: list[str] = []
        self._directory = directory
        self._server = FakeRedis(self.clock.time)
        self.caches = [self._process() for _ in range(1 if self.layering == "memory" else 2)]

    async def go(self, steps: int) -> None:
        """So many interleavings; nothing is left behind.

        Raises:
            DivergedError: something old was served.
        """
        try:
            for step in range(steps):
                self.told = []
                try:
                    await self._interleave(step)
                    if step % _MANY == _MANY - 1:
                        self._pass_by()
                except AssertionError as fault:
                    told = ", ".join(self.told)
                    raise DivergedError(f"SEED={self.seed}, step {step}, {self.layering}: {fault} ({told})") from fault
        finally:
            self.gates.open = True
            for cache in self.caches:
                await cache.aclose()

    async def _interleave(self, step: int) -> None:
        play = Play(self, step)
        acts = play.acts()
        self.chance.shuffle(acts)
        await self.gates.drive([asyncio.create_task(self._late(act)) for act in acts])
        await self.gates.drive([asyncio.create_task(self._settled())])
        self.clock.advance(0.1)
        for cache in [play.changer, *self.caches]:
            if cache is not play.changer:
                self.clock.advance(TRUST + 1)  # what others were not told of, they ask for then
                await cache._machine._follower.catch_up()
            (value,) = await self._alone(cache.get(play.key, MISSING))
            assert value is MISSING or value[0] >= play.forgotten, f"{value} was served, and {play.forgotten} forgotten"
            play.check_memory(cache)

    def _pass_by(self) -> None:
        """What was stored so far ends, so that lists of all that is there stay short."""
        self.clock.advance(3 * 3_600)
        now_ms = self.clock.time() * 1000
        self._server.data = {name: held for name, held in self._server.data.items() if held[1] > now_ms}

    async def _late(self, act: Coroutine[Any, Any, None]) -> None:
        await self.gates.step()
        await act

    async def _settled(self) -> None:
        """What was computed has been written."""
        for cache in self.caches:
            home = cache._machine.homes.here()
            while tasks := {*home._tasks, *home.flights.tasks()}:
                await asyncio.wait(tasks)

    async def _alone(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        tasks = [asyncio.create_task(one) for one in work]
        await self.gates.drive(tasks)
        return [task.result() for task in tasks]

    def _process(self) -> Cache:
        """A process of its own as far as versions, memory and breakers go."""
        clock, hybrid, announce = (
            self.clock,
            HybridClock(self.clock, node=self.chance.randbytes(8)),
            Announcer(self.clock),
        )
        redis = files = None
        if "redis" in self.layering:
            redis = self._guarded(GatedStore(FakeRedisStore(self._server, clock), self.gates), clock)
        if "files" in self.layering:
            store = OwnLogStore(self._directory, clock=clock, hybrid=hybrid, fsync="never")
            files = self._guarded(GatedStore(store, self.gates), clock)
        parts = Parts(
            metrics=False,  # whose records take versions, too
            namespace="fences",
            clock=clock,
            hybrid=hybrid,
            memory=MemoryStore(clock=clock, policy=S3FIFO(), max_bytes=2**21),
            coder=Coder(),
            envelope=Envelope(),
            announce=announce,
            redis=redis,
            files=files,
            trust=TRUST if redis else None,
            lock=False,
        )
        cache = Cache(parts)
        cache._machine.journal.run = _never  # type: ignore[method-assign]  # it has nothing to do
        cache._machine._follower.run = _never  # type: ignore[method-assign]  # the walk says when
        cache._machine.sweeper.arm = lambda: None  # type: ignore[method-assign]  # it goes by the loop's clock
        return cache

    def _guarded(self, store: Store, clock: Clock) -> Layer:
        def breaker(kind: str) -> CircuitBreaker:
            return CircuitBreaker(name=f"{store.name}.{kind}", clock=clock)

        guard = Guard(
            breaker=breaker("conn"), write_breaker=breaker("write"), timeout=600.0, clock=clock, layer=store.name
        )
        return Layer(store, guard, clock=clock)


class Play:
    """One interleaving: a key, the source it is computed from, and who does what."""

    def __init__(self, walk: FenceWalk, step: int) -> None:
        self.walk = walk
        self.chance = walk.chance
        self.key = f"page:{step}"
        self.kind = self.chance.choice(KINDS)
        self.changer = self.chance.choice(walk.caches)
        self.source = 0
        self.forgotten = 0
        """What of the source nobody may be served any more but what is at least this."""
        self.late = False
        """Whether a computation names its tags only in the end."""
        self.name = f"n{step}"
        labels = {"agent": agent_label, "catalog_version": catalog_label, "tool": tool_label}
        self.own = tuple(labels[kind](self.name) for kind in labels)
        self.tags = (f"{self.name}:below", "news")
        walk.told.append(self.kind)

    def acts(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on at the same time."""
        others = [self.changer] if self.kind in LOCAL else self.walk.caches
        computing = [self.compute(self.chance.choice(others)) for _ in range(self.chance.randint(1, 3))]
        reading = [self.read(self.chance.choice(self.walk.caches)) for _ in range(self.chance.randint(0, 2))]
        return [*computing, *reading, self.change()]

    async def compute(self, cache: Cache) -> None:
        """Ask for the key; the value is what the source was when the computation began."""
        gates = self.walk.gates
        late = self.chance.random() < 0.3 and self.kind in {"tags", "parent"}
        self.late |= late

        async def run(context: Context) -> list[int]:
            await gates.step()
            value = [self.source]
            await gates.step()
            if late:
                context.tags = self.tags
            return value

        async def run_many(_keys: list[str]) -> dict[str, list[int]]:
            return {self.key: await run(Context(None, self.tags))}

        before = self.forgotten
        if self.chance.random() < 0.2:
            found = await cache._machine.compute_many([self.key], run_many, DOCS, tags=self.tags, own=self.own)
            value = found[self.key]
        else:
            value = await cache._machine.compute(self.key, run, DOCS, tags=() if late else self.tags, own=self.own)
        if cache is self.changer and not self.late:  # else who asked has joined what nobody knew to be under the tag
            assert value[0] >= before, f"{value} was brought to who asked when {before} had been forgotten"

    async def read(self, cache: Cache) -> None:
        """Have memory filled, if there is anything, or what there is last longer."""
        await (cache.get(self.key) if self.chance.random() < 0.7 else cache.touch(self.key, "2h"))

    async def change(self) -> None:
        """Change the source, and forget what was made of it; now and then twice."""
        for _ in range(self.chance.choice((1, 1, 2))):
            self.source += 1
            now = self.source
            await self.forget()
            self.forgotten = now
            self.walk.told.append(f"forgot {now}")

    async def forget(self) -> None:
        """In one way out of all."""
        cache = self.changer
        match self.kind:
            case "key":
                await cache.delete(self.key)
            case "set":
                await cache._machine.set(self.key, [self.source], DOCS, tags=self.tags, own=self.own)
            case "namespace":
                await cache.clear()
            case "tags":
                await cache.invalidate(tags=[f"{self.name}:below"])
            case "parent":
                await cache.invalidate(tags=[self.name])
            case "domain":
                await cache.invalidate(domain=DOCS)
            case "pattern":
                await cache.invalidate(pattern=escape(self.key) + "*")
            case "where":
                await cache.invalidate(where=lambda info: info.key == self.key)
            case kind:
                named: Any = {kind: self.name}
                await cache.invalidate(**named)

    def check_memory(self, cache: Cache) -> None:
        """Nor does memory hold anything old that it might serve."""
        found = cache._machine._reader.look(self.key)
        assert found.held is None or found.value[0] >= self.forgotten, "memory holds what was forgotten"


async def _never() -> None:
    await asyncio.Event().wait()
