"""A store made safe: reads and writes that never raise, in batches of one loop tick.

    Layer → batch → guard (breaker → deadline → one retry) → store

What the callers of one loop tick ask for leaves as one operation. Permit, deadline, retry and outcome belong to the
batch. Where the store cannot answer, the layer says so with None, counts it, and the caller goes on to the next layer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from toolcache.errors import CircuitOpenError
from toolcache.loops import PerLoop
from toolcache.protocols import Clock, PutResult, Store, SupportsRenewal, Write
from toolcache.resilience.guard import Guard, Unusable
from toolcache.resilience.renewal import Renewal
from toolcache.stats import LayerTally
from toolcache.swaps import Move, Standing, SupportsClaim, Swapped

T = TypeVar("T")
V = TypeVar("V")
I = TypeVar("I")  # noqa: E741 - what is asked for
O = TypeVar("O")  # noqa: E741 - what is answered

_FEW: Final = 8
"""Items that a store feeling its way back may be asked for at once."""

_TRIES: Final = 8


class _Ask(NamedTuple, Generic[I, O]):
    items: Sequence[I]
    until: float
    answer: "asyncio.Future[list[O] | None]"


class _Queue(Generic[I, O]):
    """What the callers of one loop have asked for since the last batch left.

    Args:
        send: carries a batch, and answers those who still wait.
    """

    def __init__(self, send: Callable[[list[_Ask[I, O]]], Coroutine[Any, Any, None]]) -> None:
        self._send = send
        self._asks: list[_Ask[I, O]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def join(self, items: Sequence[I], until: float) -> list[O] | None:
        """Wait for the batch that leaves at the end of this tick; None if nothing came of it."""
        loop = asyncio.get_running_loop()
        if not self._asks:
            asks: list[_Ask[I, O]] = []
            self._asks = asks
            # Not made by the loop, whose factory may have it begin at once.
            task = asyncio.Task(self._carry(asks), loop=loop)
            self.tasks.add(task)
            task.add_done_callback(partial(self._done, asks))
        ask: _Ask[I, O] = _Ask(items, until, loop.create_future())
        self._asks.append(ask)
        return await ask.answer

    async def _carry(self, asks: list[_Ask[I, O]]) -> None:
        self._asks = []  # who comes from now on goes with the next batch
        await self._send(asks)

    def _done(self, asks: list[_Ask[I, O]], task: "asyncio.Task[None]") -> None:
        """However it ended, even before it began: nobody waits for ever."""
        self.tasks.discard(task)
        if self._asks is asks:
            self._asks = []
        for ask in asks:
            if not ask.answer.done():
                ask.answer.set_result(None)


class Layer:
    """One remote store in its place in the order.

    Args:
        store: where the blobs are.
        guard: the breaker, the deadline and the retry.
        clock: for deadlines and latencies.
        batched: whether the asks of one tick are joined; a store that groups by itself does without.
    """

    def __init__(self, store: Store, guard: Guard, *, clock: Clock, batched: bool = True) -> None:
        self.store = store
        self.claims = store if isinstance(store, SupportsClaim) else None
        self.guard = guard
        self.tally = LayerTally()
        self._clock = clock
        self._batched = batched
        self._reads = PerLoop(lambda: _Queue(self._send_reads))
        self._writes = PerLoop(lambda: _Queue(self._send_writes))
        self._renewals: PerLoop[Renewal] | None = None
        if isinstance(store, SupportsRenewal):
            renewed = store.renewed
            self._renewals = PerLoop(lambda: Renewal(guard, renewed, clock))

    @property
    def name(self) -> str:
        """The store's name."""
        return self.store.name

    def budget(self) -> float:
        """The monotonic instant by which a public call that begins now is to be done with this layer."""
        return self._clock.monotonic() + self.guard.timeout

    async def read(self, keys: Sequence[str], *, until: float | None = None) -> list[bytes | None] | None:
        """The blobs in the order of the keys; None if the store cannot be asked.

        Args:
            keys: store keys.
            until: where the call has spent some of its ``budget()`` already.
        """
        if self._refuses(mutation=False):
            return None
        due = self.budget() if until is None else until
        if self._batched:
            return await self._reads.here().join(keys, due)
        return await self._all(keys, self.store.get_many, "get", due, mutation=False)

    async def write(self, writes: Sequence[Write], *, until: float | None = None) -> list[PutResult] | None:
        """The outcomes in the order of the writes; None if the store did not take them, or nobody knows."""
        if self._refuses(mutation=True):
            return None
        due = self.budget() if until is None else until
        if self._batched:
            return await self._writes.here().join(writes, due)
        self.tally.writes += len(writes)
        return await self._all(writes, self.store.put_many, "put", due, mutation=True)

    async def ask(
        self, operation: Callable[[], Awaitable[T]], *, mutation: bool = False, until: float | None = None
    ) -> T | None:
        """Any other question to the store; None if it cannot be asked."""
        if self._refuses(mutation=mutation):
            return None
        return await self._attempt(operation, "ask", self.budget() if until is None else until, mutation=mutation)

    async def settle(
        self, key: str, decide: Callable[[Standing], Move[V] | V], standing: Standing, *, until: float | None = None
    ) -> tuple[V, Standing] | None:
        """Decide on what is believed to stand under a key of records, try it, and decide again on what the store says.

        Returns what has come of it and what stands there now; None if the store cannot keep records, or did not answer:
        then it may have been done or not, and nobody may conclude anything from that.
        """
        store = self.claims
        due = self.budget() if until is None else until

        async def swap(move: Move[V]) -> Swapped | None:
            return (
                None if store is None else await self.ask(partial(swapped, store, key, move), mutation=True, until=due)
            )

        return await settle(swap, decide, standing)

    async def aclose(self) -> None:
        """Close the store; batches under way end first."""
        tasks = self._reads.here().tasks | self._writes.here().tasks
        if tasks:
            await asyncio.wait(tasks)
        if self._renewals is not None:
            await self._renewals.here().aclose()
        await self.store.aclose()

    def refuses(self, *, mutation: bool = False) -> bool:
        """Whether an operation would be refused now."""
        refused = self.guard.refuses(mutation=mutation)
        if refused and self._renewals is not None:
            self._renewals.here().look()
        return refused

    def _refuses(self, *, mutation: bool) -> bool:
        refused = self.refuses(mutation=mutation)
        self.tally.refused += refused
        return refused

    async def _send_reads(self, asks: list[_Ask[str, bytes | None]]) -> None:
        wanted = list(dict.fromkeys(key for ask in asks for key in ask.items))
        blobs = await self._careful(wanted, self.store.get_many, "get", asks, mutation=False)
        if blobs is not None:
            found = dict(zip(wanted, blobs, strict=True))
            for ask in asks:
                if not ask.answer.done():
                    ask.answer.set_result([found[key] for key in ask.items])

    async def _send_writes(self, asks: list[_Ask[Write, PutResult]]) -> None:
        batch = [write for ask in asks for write in ask.items]
        self.tally.writes += len(batch)
        results = await self._careful(batch, self.store.put_many, "put", asks, mutation=True)
        if results is not None:
            outcomes = iter(zip(batch, results, strict=True))
            for ask in asks:
                mine = [next(outcomes)[1] for _ in ask.items]
                if not ask.answer.done():
                    ask.answer.set_result(mine)

    async def _careful(
        self,
        items: list[I],
        operation: Callable[[Sequence[I]], Awaitable[list[O]]],
        name: str,
        asks: list[_Ask[I, O]],
        *,
        mutation: bool,
    ) -> list[O] | None:
        due = max(ask.until for ask in asks)
        ahead: list[O] = []
        if len(items) > _FEW and self.guard.probing(mutation=mutation):
            # While the breaker is feeling its way back, one item goes ahead of a batch: a probe costs little.
            first = await self._all(items[:1], operation, name, due, mutation=mutation)
            if first is None:
                return None
            ahead, items = first, items[1:]
        rest = await self._all(items, operation, name, due, mutation=mutation)
        return None if rest is None else ahead + rest

    async def _all(
        self,
        items: Sequence[I],
        operation: Callable[[Sequence[I]], Awaitable[list[O]]],
        name: str,
        due: float,
        *,
        mutation: bool,
    ) -> list[O] | None:
        answers = await self._attempt(lambda: operation(items), name, due, mutation=mutation)
        if answers is not None and len(answers) != len(items):  # whose answer is whose?
            self.tally.faults += 1
            return None
        return answers

    async def _attempt(
        self, operation: Callable[[], Awaitable[T]], name: str, due: float, *, mutation: bool
    ) -> T | None:
        begun = self._clock.monotonic()
        try:
            answer = await self.guard.run(operation, mutation=mutation, name=name, timeout=due - begun)
        except CircuitOpenError:
            self.tally.refused += 1
            return None
        except Unusable:
            self.tally.faults += 1
            return None
        self.tally.latency.add(self._clock.monotonic() - begun)
        return answer


async def settle(
    swap: Callable[[Move[V]], Awaitable[Swapped | None]], decide: Callable[[Standing], Move[V] | V], standing: Standing
) -> tuple[V, Standing] | None:
    """Decide and try, until there is a verdict; see ``Layer.settle``."""
    for _ in range(_TRIES):
        move = decide(standing)
        if not isinstance(move, Move):
            return move, standing
        said = await swap(move)
        if said is None:
            return None
        standing = said.standing
        if said.done:
            return move.then, standing
    return None


def swapped(store: SupportsClaim, key: str, move: Move[Any]) -> Coroutine[Any, Any, Swapped]:
    """Try a move."""
    return store.swap(
        key, move.expected, move.new, ttl=move.ttl, lease=move.lease, durable=move.durable, pending=move.pending
    )
