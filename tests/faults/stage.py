"""Where a scenario plays: a server to mistreat, a cache, the workload, and what must hold when it is over."""

import asyncio
import contextlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from faults.automaton import Automaton
from faults.oracle import Oracle
from faults.report import Report
from faults.values import KEYS
from faults.witness import BESIDE, Witness
from faults.workload import LagMeter, Workload
from programs import run
from proxy import FaultProxy
from servers import RedisServer

from toolcache.clock import SYSTEM
from toolcache.events import BreakerChanged, Event
from toolcache.protocols import Clock
from toolcache.resilience.breaker import BreakerState
from toolcache.stores.log.ops import FileOps
from toolcache.tool_cache import ToolCache

SLACK: Final = 0.3
HEALED: Final = 5.0
REPLAY_RATE: Final = 2_000
KEEPING: Final = ("--appendonly", "yes", "--appendfsync", "no")
"""A server that has after a crash what it had acknowledged."""

_QUICK: Final = 0.3
_READ: Final = 0.010
"""Seconds: the p99 of a read while the breaker is open."""
_ENOUGH: Final = 100
"""Reads of which a p99 can be told."""
_FRESH: Final = "import sys; from faults.fresh import main; main(*sys.argv[1:])"


class Stage:
    """One run of one scenario.

    Args:
        name: the scenario's identifier.
        seed: decides what is called when, and every choice of the scenario.
        quick: whether its times are shortened.
        options: of the server.
        seconds: how long it is to take, where that can be chosen.
    """

    def __init__(
        self, name: str, seed: int, *, quick: bool, options: tuple[str, ...] = (), seconds: float | None = None
    ) -> None:
        self.name = name
        self.seed = seed
        self.quick = quick
        self.seconds = seconds
        self.chance = random.Random(f"{name}/{seed}")
        self.server = RedisServer(*options)
        self.directory = Path(tempfile.mkdtemp(prefix="toolcache-faults-"))
        self.oracle = Oracle()
        self.meter = LagMeter()
        self.witness: Witness
        self.healed = 0.0
        self.at_rest_until = 0.0
        """Until then the files are left alone, as they may be when they have refused."""
        self.facts: dict[str, Any] = {}
        self.slow: list[str] = []
        """What took too long, and on another machine may not: it counts in a command, not in the gate."""
        self.work: Workload
        self.cache: ToolCache
        self.opened = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()
        self._props = contextlib.AsyncExitStack()
        self._opened: list[ToolCache] = []
        self._automata: dict[str, Automaton] = {}
        self._began = time.monotonic()

    async def __aenter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.afterwards(self.server.close)
        self.witness = Witness(self.oracle.violated, self.server, self.directory)
        self._stack.enter_context(self.witness.listening())
        self.beside(self.meter.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._close()
        await self._stack.aclose()

    def afterwards(self, call: Callable[[], Any]) -> None:
        """Have something done at the very end, however it comes."""
        self._stack.push_async_callback(asyncio.to_thread, call)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something run until the end."""
        task = asyncio.create_task(work, name=BESIDE)

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self._stack.push_async_callback(end)

    # -- setting up -------------------------------------------------------------------------------------------------

    def open(self, url: str | None = None, **options: Any) -> ToolCache:
        """The cache that is tried, with its workload; half of the seeds have a memory that holds a few entries only."""
        chosen = {"max_entries": self.chance.choice((12, None)), "op_timeout": 0.5, "recovery_time": ("0.2s", "1s")}
        self.cache = self.another(url, **chosen | options)
        self.cache.subscribe(self._hear)
        self.work = Workload(self.cache, self.oracle, self.meter, f"{self.name}/{self.seed}")
        self.opened.set()
        return self.cache

    def another(
        self, url: str | None = None, *, directory: Path | None = None, clock: Clock = SYSTEM, **options: Any
    ) -> ToolCache:
        """A further cache, closed at the end: of this host, or of another with a directory of its own."""
        where: dict[str, Any] = {"redis_url": url or self.server.url, "directory": directory or self.files}
        cache = ToolCache(clock=clock, **where | options)
        self._opened.append(cache)
        return cache

    @property
    def files(self) -> Path:
        """The directory of this host."""
        return self.directory / "files"

    async def proxy(self) -> FaultProxy:
        """A proxy before the server."""
        return await self._props.enter_async_context(FaultProxy(self.server.port))

    def disk(self, ops: FileOps) -> None:
        """Put something between the cache, not yet used, and its disk."""
        assert self.cache._parts.files is not None
        store: Any = self.cache._parts.files.store
        store._ops = ops

    def dials(self) -> list[float]:
        """The instants at which the cache, not yet used, tries to connect to Redis, from now on."""
        assert self.cache._parts.redis is not None
        store: Any = self.cache._parts.redis.store
        servers, instants = store._servers, list[float]()
        dial = servers._dial

        async def noted() -> Any:
            instants.append(time.monotonic())
            return await dial()

        servers._dial = noted
        return instants

    # -- playing ----------------------------------------------------------------------------------------------------

    def span(self, seconds: float) -> float:
        """Seconds of the plan, shortened in a quick run."""
        return seconds * _QUICK if self.quick else seconds

    def times(self, count: int) -> int:
        """Repetitions of the plan, fewer in a quick run."""
        return ceil(count * _QUICK) if self.quick else count

    async def during(self, phase: str, seconds: float) -> None:
        """Let the workload go on for a while; ``phase`` is what its calls are counted under."""
        self.work.phase = phase
        await asyncio.sleep(self.span(seconds))

    async def do(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What blocks, beside the loop."""
        return await asyncio.to_thread(call, *arguments, **options)

    async def kill(self, *, keeps: bool = False) -> None:
        """SIGKILL the server; ``keeps`` if it has its data on disk."""
        await self.do(self.server.stop)
        if not keeps:
            self.oracle.lost()

    async def heal(self, why: str = "the end") -> None:
        """Redis is well from now on: wait until it is told what it is owed; the workload goes on, or has ended."""
        begun, late, owed = time.monotonic(), self.meter.late(), self.cache._machine.journal.pending
        patience = HEALED + owed / REPLAY_RATE + max(0.0, self.at_rest_until - begun)
        while self.cache._machine.journal.pending:
            if time.monotonic() - begun - (self.meter.late() - late) > patience:
                pending = self.cache._machine.journal.pending
                self.oracle.violated(f"I11: {pending} writes are pending {patience:.1f} s after {why}")
                break
            await asyncio.sleep(0.01)
        self.healed = max(self.healed, time.monotonic() - begun)

    async def take_over(self) -> None:
        """Other processes have written: see it, and tell Redis what they owed when they ended."""
        files: Any = self.cache._parts.files
        with contextlib.suppress(OSError):  # it may be at rest
            await files.store.open()
        self.cache._parts.memory.clear()
        await self.work.get(KEYS[0])
        await self.heal("others ended")

    # -- judging ----------------------------------------------------------------------------------------------------

    async def judge(self) -> Report:
        """All invariants, once the workload has ended and Redis is well."""
        await self.heal()
        await self._recover()
        self._judge_calls()
        stats = self.cache.stats()
        await self._close()
        await self.witness.judge(len(self.work.calls))
        await self.ask_others()
        refused = sorted(call.took for call in self.work.calls if call.kind == "get" and call.refused)
        p99 = refused[len(refused) * 99 // 100] if refused else None
        if p99 is not None and len(refused) >= _ENOUGH and p99 >= _READ:
            self.slow.append(f"while the breaker was open the p99 of a read was {p99 * 1000:.1f} ms")
        return Report(
            scenario=self.name,
            seed=self.seed,
            seconds=time.monotonic() - self._began,
            counts=dict(self.work.counts),
            acknowledged=dict(self.oracle.acknowledged),
            outage_p99=p99,
            longest=max((call.took for call in self.work.calls), default=0.0),
            lag=self.meter.longest,
            pending=self.work.pending,
            replayed=stats.replayed,
            healed=self.healed,
            facts=self.facts,
            grown=self.witness.grown,
            slow=tuple(self.slow),
            violations=tuple(self.oracle.violations),
        )

    async def _close(self) -> None:
        for cache in self._opened:
            await cache.aclose()
        await self._props.aclose()

    def deadline(self) -> float:
        """What a call may take: its budget for Redis, and what the files really took, as far as theirs goes."""
        files, settings = self.cache._parts.files, self.cache.settings
        on_file = 0.0
        if files is not None:
            on_file = settings.file_timeout if files.tally.faults else files.tally.latency.longest
        return settings.op_timeout + min(on_file, settings.file_timeout) + SLACK

    async def _recover(self) -> None:
        """Have calls made until the breakers of Redis have found out that it is well."""
        redis = self.cache._parts.redis
        assert redis is not None
        assert redis.guard.write_breaker is not None
        breakers = (redis.guard.breaker, redis.guard.write_breaker)
        begun, late = time.monotonic(), self.meter.late()
        patience = self.cache.settings.recovery_time[1] * 1.2 + self.cache.settings.op_timeout + SLACK
        while any(breaker.state is not BreakerState.CLOSED for breaker in breakers):
            if time.monotonic() - begun - (self.meter.late() - late) > patience:
                self.oracle.violated(f"I10: breakers are {[breaker.state.value for breaker in breakers]} long after")
                break
            self.cache._parts.memory.remove(KEYS[0])
            await self.work.get(KEYS[0])
            await self.work.set(KEYS[0])
            await asyncio.sleep(0.02)
        await self.heal("the breakers closed")

    def _judge_calls(self) -> None:
        limit = self.deadline()
        for call in self.work.calls:
            if call.took > limit:
                self.oracle.violated(f"I2: {call.kind} in {call.phase} took {call.took:.3f} s, {limit:.3f} s at most")

    def _hear(self, event: Event) -> None:
        self.witness.events(event)
        if isinstance(event, BreakerChanged):
            settings = self.cache.settings
            fresh = Automaton(settings.recovery_time, settings.failure_threshold)
            if wrong := self._automata.setdefault(event.name, fresh).follow(event, time.monotonic()):
                self.oracle.violated(f"I10: {wrong}")

    async def ask_others(self) -> None:
        """What processes that have just begun find, and whether that is right."""
        out, _ = await self.do(run, _FRESH, self.server.url, self.files)
        for who, answers in json.loads(out).items():
            for key, (number, gone_at) in answers.items():
                self.oracle.found(key, number, gone_at, who)

    def changes(self, name: str) -> list[str]:
        """The states that a breaker went through."""
        return [event.after for event in self.witness.events.of(BreakerChanged) if event.name == name]

    def acknowledgements(self) -> Counter[str]:
        """How many writes were acknowledged so far, by durability."""
        return Counter(self.oracle.acknowledged)
