"""W: four tasks on fifty keys, each key with one writer, and how long every call took."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faults.oracle import Act, Oracle
from faults.values import KEYS, value_of

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability
from toolcache.errors import CacheClosedError, CacheWriteError, FlightAbortedError
from toolcache.resilience.breaker import BreakerState

TASKS: Final = 4
TTL: Final = 3600.0
_PAUSE: Final = 0.004
_TICK: Final = 0.005


class LagMeter:
    """How late a loop is, added up: what a call lost to it is the difference between its end and its beginning."""

    def __init__(self) -> None:
        self._total = 0.0
        self._due = time.monotonic()
        self.longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = time.monotonic() + _TICK
            await asyncio.sleep(_TICK)
            late = max(0.0, time.monotonic() - self._due)
            self._total += late
            self.longest = max(self.longest, late)

    def late(self) -> float:
        """Seconds by which the loop has been late so far."""
        return self._total + max(0.0, time.monotonic() - self._due)


@dataclass(slots=True)
class Call:
    """One call: ``took`` is without what the loop was late meanwhile; ``refused`` if Redis' breaker was open."""

    kind: str
    phase: str
    took: float
    refused: bool


@dataclass
class Workload:
    """Calls a cache, and has the oracle judge.

    Args:
        cache: what is tried.
        oracle: who judges.
        meter: how late the loop is.
        seed: which calls are made.
        keys: whose writers run here, dealt to the tasks; every key is read.
        may_refuse: whether deletes may raise ``CacheWriteError``.
        ttl: seconds for which values are good.
        closing: whether the cache is being closed: calls may be refused, and computations given up.
    """

    cache: Cache
    oracle: Oracle
    meter: LagMeter
    seed: str
    keys: Sequence[str] = KEYS
    may_refuse: bool = False
    ttl: float = TTL
    closing: bool = False
    phase: str = "start"
    calls: list[Call] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    pending: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """W inside the block; calls under way at its end are finished."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self._work(number, stop)) for number in range(TASKS)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def _work(self, number: int, stop: asyncio.Event) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        mine = self.keys[number::TASKS]
        while not stop.is_set():
            dice = chance.random()
            if dice < 0.60:
                await self.timed("get", self.get(chance.choice(KEYS)))
            elif dice < 0.85:
                await self.timed("set", self.set(chance.choice(mine)))
            elif dice < 0.95:
                await self.timed("delete", self.delete(chance.choice(mine)))
            else:
                await self.timed("get_or_set", self.get_or_set(chance.choice(mine)))
            self.pending = max(self.pending, self.cache._machine.journal.pending)
            await asyncio.sleep(chance.expovariate(1 / _PAUSE))

    async def timed(self, kind: str, call: Any) -> None:
        """Make a call, note how long it took, and that it raised nothing that it may not."""
        phase, refused = self.phase, self._refused()
        begun, late = time.monotonic(), self.meter.late()
        try:
            await call
        except (Exception, asyncio.CancelledError) as error:  # whatever it is, it is a finding
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            if not (self.closing and isinstance(error, CacheClosedError | FlightAbortedError)):
                self.oracle.violated(f"I1: {kind} in {phase} raised {error!r}")
        took = time.monotonic() - begun - (self.meter.late() - late)
        self.calls.append(Call(kind, phase, max(0.0, took), refused))
        self.counts[kind] += 1

    async def get(self, key: str) -> Any:
        """A read."""
        begun = time.monotonic()
        value = await self.cache.get(key, MISSING)
        self.oracle.saw(key, value, begun)
        self.counts["hit"] += value is not MISSING
        return value

    async def set(self, key: str) -> Durability:
        """A write."""
        act = self.oracle.begin("set", key)
        durability = await self.cache.set(key, value_of(key, act.number), ttl=self.ttl)
        self.oracle.end(act, durability, ttl=self.ttl)
        return durability

    async def delete(self, key: str) -> None:
        """A delete; its acknowledgement says that it outlives this process."""
        act = self.oracle.begin("delete", key)
        try:
            await self.cache.delete(key)
        except CacheWriteError:
            self.oracle.end(act)
            self.counts["refused"] += 1
            if not self.may_refuse:
                raise
        else:
            self.oracle.end(act, Durability.FILE)

    async def get_or_set(self, key: str) -> None:
        """A read, or else a value that may or may not be kept."""
        made: list[Act] = []

        def compute() -> Any:
            made.append(act := self.oracle.begin("compute", key))
            return value_of(key, act.number)

        begun = time.monotonic()
        self.oracle.saw(key, await self.cache.get_or_set(key, compute, ttl=self.ttl), begun)
        for act in made:
            self.oracle.end(act, ttl=self.ttl)
        self.counts["computed"] += len(made)

    def _refused(self) -> bool:
        redis = self.cache._parts.redis
        if redis is None:
            return False
        stats = redis.guard.breaker.stats()
        return stats.state is BreakerState.OPEN and (stats.retry_after or 0.0) > 0.0
