"""Where a scenario plays: a server to mistreat, a cache, the workload, and what must hold when it is over."""

import asyncio
import contextlib
import json
import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from faults.oracle import Oracle
from faults.report import Report
from faults.values import KEYS, SECRET
from faults.workload import LagMeter, Workload
from programs import clients, descriptors, run, tasks, threads
from proxy import FaultProxy
from servers import RedisServer

from toolcache.events import BreakerChanged
from toolcache.resilience.breaker import BreakerState
from toolcache.stores.log.ops import FileOps
from toolcache.testing import Recorder
from toolcache.tool_cache import ToolCache

SLACK: Final = 0.3
HEALED: Final = 5.0
REPLAY_RATE: Final = 2_000
KEEPING: Final = ("--appendonly", "yes", "--appendfsync", "no")
"""A server that has after a crash what it had acknowledged."""

_QUICK: Final = 0.3
_LEGAL: Final = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
_FRESH: Final = "import sys; from faults.fresh import main; main(*sys.argv[1:])"


class _Logged(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())


class Stage:
    """One run of one scenario.

    Args:
        name: the scenario's identifier.
        seed: decides what is called when, and every choice of the scenario.
        quick: whether its times are shortened.
        options: of the server.
    """

    def __init__(self, name: str, seed: int, *, quick: bool, options: tuple[str, ...] = ()) -> None:
        self.name = name
        self.seed = seed
        self.quick = quick
        self.chance = random.Random(f"{name}/{seed}")
        self.server = RedisServer(*options)
        self.directory = Path(tempfile.mkdtemp(prefix="toolcache-faults-"))
        self.oracle = Oracle()
        self.meter = LagMeter()
        self.events = Recorder()
        self.healed = 0.0
        self.facts: dict[str, Any] = {}
        self.work: Workload
        self.cache: ToolCache
        self._log = _Logged()
        self._stack = contextlib.AsyncExitStack()
        self._props = contextlib.AsyncExitStack()
        self._opened: list[ToolCache] = []
        self._began = time.monotonic()

    async def __aenter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._stack.push_async_callback(asyncio.to_thread, self.server.close)
        self._stack.enter_context(self._listening())
        self._before = (len(descriptors()), threads(), tasks())
        meter = asyncio.create_task(self.meter.run(), name="lag")
        self._stack.push_async_callback(asyncio.wait, [meter])
        self._stack.callback(meter.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._close()
        await self._stack.aclose()

    # -- setting up -------------------------------------------------------------------------------------------------

    def open(self, url: str | None = None, **options: Any) -> ToolCache:
        """The cache that is tried, with its workload; half of the seeds have a memory that holds a few entries only."""
        chosen = {"max_entries": self.chance.choice((12, None)), "op_timeout": 0.5, "recovery_time": ("0.2s", "1s")}
        self.cache = self.another(url, **chosen | options)
        self.cache.subscribe(self.events)
        self.work = Workload(self.cache, self.oracle, self.meter, f"{self.name}/{self.seed}")
        return self.cache

    def another(self, url: str | None = None, *, directory: Path | None = None, **options: Any) -> ToolCache:
        """A further cache, closed at the end: of this host, or of another with a directory of its own."""
        cache = ToolCache(redis_url=url or self.server.url, directory=directory or self.directory / "files", **options)
        self._opened.append(cache)
        return cache

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
        patience = HEALED + owed / REPLAY_RATE
        while self.cache._machine.journal.pending:
            if time.monotonic() - begun - (self.meter.late() - late) > patience:
                pending = self.cache._machine.journal.pending
                self.oracle.violated(f"I11: {pending} writes are pending {patience:.1f} s after {why}")
                break
            await asyncio.sleep(0.01)
        self.healed = max(self.healed, time.monotonic() - begun)

    # -- judging ----------------------------------------------------------------------------------------------------

    async def judge(self) -> Report:
        """All invariants, once the workload has ended and Redis is well."""
        await self.heal()
        await self._recover()
        self._judge_calls()
        self._judge_breakers()
        stats = self.cache.stats()
        await self._close()
        await self._judge_leftovers()
        await self._ask_others()
        for line in [*self._log.lines, *map(str, self.events.events)]:
            if SECRET in line or any(key in line for key in KEYS):
                self.oracle.violated(f"a log line or an event tells too much: {line}")
        refused = sorted(call.took for call in self.work.calls if call.kind == "get" and call.refused)
        return Report(
            scenario=self.name,
            seed=self.seed,
            seconds=time.monotonic() - self._began,
            counts=dict(self.work.counts),
            acknowledged=dict(self.oracle.acknowledged),
            outage_p99=refused[len(refused) * 99 // 100] if refused else None,
            longest=max((call.took for call in self.work.calls), default=0.0),
            lag=self.meter.longest,
            pending=self.work.pending,
            replayed=stats.replayed,
            healed=self.healed,
            facts=self.facts,
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

    def _judge_breakers(self) -> None:
        state: dict[str, str] = {}
        for event in self.events.of(BreakerChanged):
            if state.get(event.name, "closed") != event.before or (event.before, event.after) not in _LEGAL:
                self.oracle.violated(f"I10: {event}")
            state[event.name] = event.after

    async def _judge_leftovers(self) -> None:
        for _ in range(100):  # the other end of a socket may still be closing
            left = (len(descriptors()), threads(), tasks() - {"lag"})
            if left[0] <= self._before[0] and not clients(self.server):
                break
            await asyncio.sleep(0.01)
        more = left[0] - self._before[0]
        new_threads, new_tasks = left[1] - self._before[1], left[2] - self._before[2]
        if more > 0 or new_threads or new_tasks or (there := clients(self.server)):
            there = clients(self.server)
            self.oracle.violated(f"I9: {more} descriptors, threads {new_threads}, tasks {new_tasks}, {there} are left")
        if litter := [str(path) for path in self.directory.rglob("*.tmp")]:
            self.oracle.violated(f"I9: {litter} are left")

    async def _ask_others(self) -> None:
        out, _ = await self.do(run, _FRESH, self.server.url, self.directory / "files")
        for who, answers in json.loads(out).items():
            for key, (number, gone_at) in answers.items():
                self.oracle.found(key, number, gone_at, who)

    def warnings(self, about: str) -> list[str]:
        """What was logged as a warning, with these words in it."""
        return [line for line in self._log.warnings if about in line]

    def changes(self, name: str) -> list[str]:
        """The states that a breaker went through."""
        return [event.after for event in self.events.of(BreakerChanged) if event.name == name]

    def acknowledgements(self) -> Counter[str]:
        """How many writes were acknowledged so far, by durability."""
        return Counter(self.oracle.acknowledged)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        logger, loop = logging.getLogger("toolcache"), asyncio.get_running_loop()
        level, handler = logger.level, loop.get_exception_handler()
        logger.addHandler(self._log)
        logger.setLevel(logging.DEBUG)
        loop.set_exception_handler(lambda _loop, context: self.oracle.violated(f"I1: the loop was told of {context}"))
        try:
            yield
        finally:
            loop.set_exception_handler(handler)
            logger.setLevel(level)
            logger.removeHandler(self._log)
