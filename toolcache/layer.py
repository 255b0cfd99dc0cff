"""A store made safe: reads and writes that never raise, in batches of one loop tick.

    Layer → batch → guard (breaker → deadline → one retry) → store

What the callers of one loop tick ask for leaves as one operation. Permit, deadline, retry and outcome belong to the
batch. Where the store cannot answer, the layer says so with None, counts it, and the caller goes on to the next layer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

from toolcache.errors import CircuitOpenError
from toolcache.protocols import Clock, PutResult, Store, Write
from toolcache.resilience.guard import Guard, Unusable
from toolcache.stats import LayerTally

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Tick:
    """What the callers of one loop have asked for since the last batch left."""

    reads: list[tuple[Sequence[str], "asyncio.Future[list[bytes | None] | None]"]] = field(default_factory=list)
    writes: list[tuple[Sequence[Write], "asyncio.Future[list[PutResult] | None]"]] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)


class Layer:
    """One remote store in its place in the order.

    Args:
        store: where the blobs are.
        guard: the breaker, the deadline and the retry.
        clock: for latencies.
        batched: whether the asks of one tick are joined; a store that groups by itself does without.
    """

    def __init__(self, store: Store, guard: Guard, *, clock: Clock, batched: bool = True) -> None:
        self.store = store
        self.guard = guard
        self.tally = LayerTally()
        self._clock = clock
        self._batched = batched
        self._ticks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Tick] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """The store's name."""
        return self.store.name

    async def read(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """The blobs in the order of the keys; None if the store cannot be asked."""
        if self.guard.refuses():
            self.tally.refused += 1
            return None
        if not self._batched:
            return await self._attempt(lambda: self.store.get_many(keys), "get", mutation=False)
        tick = self._tick()
        answer: asyncio.Future[list[bytes | None] | None] = asyncio.get_running_loop().create_future()
        if not tick.reads:
            asyncio.get_running_loop().call_soon(self._leave_reads, tick)
        tick.reads.append((keys, answer))
        return await answer

    async def write(self, writes: Sequence[Write]) -> list[PutResult] | None:
        """The outcomes in the order of the writes; None if the store did not take them, or nobody knows."""
        if self.guard.refuses(mutation=True):
            self.tally.refused += 1
            return None
        if not self._batched:
            self.tally.writes += len(writes)
            return await self._attempt(lambda: self.store.put_many(writes), "put", mutation=True)
        tick = self._tick()
        answer: asyncio.Future[list[PutResult] | None] = asyncio.get_running_loop().create_future()
        if not tick.writes:
            asyncio.get_running_loop().call_soon(self._leave_writes, tick)
        tick.writes.append((writes, answer))
        return await answer

    async def ask(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        """Any other question to the store; None if it cannot be asked."""
        return await self._attempt(operation, "ask", mutation=False)

    async def aclose(self) -> None:
        """Close the store; batches under way end first."""
        tick = self._ticks.get(asyncio.get_running_loop())
        if tick is not None and tick.tasks:
            await asyncio.wait(tick.tasks)
        await self.store.aclose()

    def _tick(self) -> _Tick:
        loop = asyncio.get_running_loop()
        tick = self._ticks.get(loop)
        if tick is None:
            for ended in [other for other in self._ticks if other.is_closed()]:
                del self._ticks[ended]
            tick = self._ticks[loop] = _Tick()
        return tick

    def _leave_reads(self, tick: _Tick) -> None:
        asks, tick.reads = tick.reads, []
        self._launch(tick, self._send_reads(asks))

    def _leave_writes(self, tick: _Tick) -> None:
        asks, tick.writes = tick.writes, []
        self._launch(tick, self._send_writes(asks))

    @staticmethod
    def _launch(tick: _Tick, batch: "Awaitable[None]") -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(batch)
        tick.tasks.add(task)
        task.add_done_callback(tick.tasks.discard)

    async def _send_reads(self, asks: list[tuple[Sequence[str], "asyncio.Future[list[bytes | None] | None]"]]) -> None:
        places = {key: None for keys, _ in asks for key in keys}
        wanted = list(places)
        blobs = await self._careful(wanted, self.store.get_many, "get", mutation=False)
        if blobs is None:
            _answer_all(asks, None)
            return
        found = dict(zip(wanted, blobs, strict=True))
        for keys, answer in asks:
            if not answer.done():
                answer.set_result([found[key] for key in keys])

    async def _send_writes(self, asks: list[tuple[Sequence[Write], "asyncio.Future[list[PutResult] | None]"]]) -> None:
        batch = [write for writes, _ in asks for write in writes]
        self.tally.writes += len(batch)
        results = await self._careful(batch, self.store.put_many, "put", mutation=True)
        if results is None:
            _answer_all(asks, None)
            return
        start = 0
        for writes, answer in asks:
            if not answer.done():
                answer.set_result(results[start : start + len(writes)])
            start += len(writes)

    async def _careful(
        self, items: list[T], operation: Callable[[Sequence[T]], Awaitable[list[R]]], name: str, *, mutation: bool
    ) -> list[R] | None:
        # While the breaker is feeling its way back, one key goes ahead of the batch: a probe costs little.
        ahead: list[R] = []
        if len(items) > 1 and self.guard.probing(mutation=mutation):
            first = await self._attempt(lambda: operation(items[:1]), name, mutation=mutation)
            if first is None:
                return None
            ahead, items = first, items[1:]
        rest = await self._attempt(lambda: operation(items), name, mutation=mutation)
        return None if rest is None else ahead + rest

    async def _attempt(self, operation: Callable[[], Awaitable[T]], name: str, *, mutation: bool) -> T | None:
        begun = self._clock.monotonic()
        try:
            answer = await self.guard.run(operation, mutation=mutation, name=name)
        except CircuitOpenError:
            self.tally.refused += 1
            return None
        except Unusable:
            self.tally.faults += 1
            return None
        self.tally.latency.add(self._clock.monotonic() - begun)
        return answer


def _answer_all(asks: Sequence[tuple[object, "asyncio.Future[T | None]"]], answer: T | None) -> None:
    for _, waiting in asks:
        if not waiting.done():
            waiting.set_result(answer)
