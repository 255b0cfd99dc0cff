"""A store made safe: reads and writes that never raise.

    Layer → guard (breaker → deadline → one retry) → store

Where the store cannot answer, the layer says so with None, counts it, and the caller goes on to the next layer.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

from toolcache.errors import CircuitOpenError
from toolcache.listing import Page, SupportsPages
from toolcache.loops import PerLoop
from toolcache.peeks import SupportsPeek
from toolcache.protocols import Clock, PutResult, Store, SupportsRenewal, Write
from toolcache.resilience.guard import Guard, Unusable
from toolcache.resilience.renewal import Renewal
from toolcache.swaps import Move, Standing, SupportsClaim, Swapped
from toolcache.tallies import LayerTally

T = TypeVar("T")
V = TypeVar("V")
I = TypeVar("I")  # noqa: E741 - what is asked for
O = TypeVar("O")  # noqa: E741 - what is answered

_FEW: Final = 8
"""Items that a store feeling its way back may be asked for at once."""

_TRIES: Final = 8


class Layer:
    """One remote store in its place in the order.

    Args:
        store: where the blobs are.
        guard: the breaker, the deadline and the retry.
        clock: for deadlines and latencies.
    """

    def __init__(self, store: Store, guard: Guard, *, clock: Clock) -> None:
        self.store = store
        self.claims = store if isinstance(store, SupportsClaim) else None
        self.guard = guard
        self.tally = LayerTally()
        self._clock = clock
        self._peeks = isinstance(store, SupportsPeek)
        self._paged = store if isinstance(store, SupportsPages) else None
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

    def peek(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """What ``read`` would answer, if the store need not wait for it, and may be asked; else None, and ``read`` tells more.

        No permit is asked for, and no deadline set: a store that answers so has not been near whatever may fail.
        """
        if not self._peeks or self.guard.troubled:
            return None
        return cast("SupportsPeek", self.store).peek(keys)

    def read(
        self, keys: Sequence[str], *, until: float | None = None
    ) -> Coroutine[Any, Any, list[bytes | None] | None]:
        """The blobs in the order of the keys; None if the store cannot be asked.

        Args:
            keys: store keys.
            until: where the call has spent some of its ``budget()`` already.
        """
        return self._each(keys, self.store.get_many, "get", until, mutation=False)

    def write(
        self, writes: Sequence[Write], *, until: float | None = None
    ) -> Coroutine[Any, Any, list[PutResult] | None]:
        """The outcomes in the order of the writes; None if the store did not take them, or nobody knows."""
        return self._each(writes, self.store.put_many, "put", until, mutation=True)

    async def page(self, prefix: str, cursor: Any = None) -> Page | None:
        """Some of what it holds, as ``SupportsPages`` says; None if the store cannot be listed, or asked."""
        return None if self._paged is None else await self.ask(partial(self._paged.page, prefix, cursor))

    async def ask(
        self,
        operation: Callable[[], Awaitable[T]],
        *,
        mutation: bool = False,
        until: float | None = None,
        counted: bool = True,
    ) -> T | None:
        """Any other question to the store; None if it cannot be asked. What is not ``counted`` has failures counted alone."""
        if self.refuses(mutation=mutation):
            self.tally.refused += counted
            return None
        due = self.budget() if until is None else until
        return await self._attempt(operation, "ask", due, mutation=mutation, counted=counted)

    async def settle(
        self, key: str, decide: Callable[[Standing], Move[V] | V], standing: Standing, *, until: float | None = None
    ) -> tuple[V, Standing] | None:
        """Decide on what is believed to stand under a key of records, try it, and decide again on what the store says.

        Returns what has come of it and what stands there now; None if the store cannot keep records, or did not answer:
        then it may have been done or not, and nobody may conclude anything from that.
        """
        due = self.budget() if until is None else until
        for _ in range(_TRIES):
            move = decide(standing)
            if not isinstance(move, Move):
                return move, standing
            if self.claims is None:
                return None
            said = await self.ask(partial(_swap, self.claims, key, move), mutation=True, until=due)
            if said is None:
                return None
            standing = said.standing
            if said.done:
                return move.then, standing
        return None

    async def aclose(self) -> None:
        """Close the store."""
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

    async def _each(
        self,
        items: Sequence[I],
        operation: Callable[[Sequence[I]], Awaitable[list[O]]],
        name: str,
        until: float | None,
        *,
        mutation: bool,
    ) -> list[O] | None:
        """An answer for each item, in order."""
        if self._refuses(mutation=mutation):
            return None
        if mutation:
            self.tally.writes += len(items)
        due = self.budget() if until is None else until
        # While the breaker is feeling its way back, one item goes ahead of a batch: a probe costs little.
        feeling = len(items) > _FEW and self.guard.probing(mutation=mutation)
        answers: list[O] = []
        for some in (items[:1], items[1:]) if feeling else (items,):
            said = await self._attempt(partial(operation, some), name, due, mutation=mutation)
            if said is None:
                return None
            if len(said) != len(some):  # whose answer is whose?
                self.tally.faults += 1
                return None
            answers += said
        return answers

    async def _attempt(
        self, operation: Callable[[], Awaitable[T]], name: str, due: float, *, mutation: bool, counted: bool = True
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
        if counted:
            self.tally.latency.add(self._clock.monotonic() - begun)
        return answer


def _swap(store: SupportsClaim, key: str, move: Move[Any]) -> Coroutine[Any, Any, Swapped]:
    """Try a move."""
    return store.swap(
        key, move.expected, move.new, ttl=move.ttl, lease=move.lease, durable=move.durable, pending=move.pending
    )
