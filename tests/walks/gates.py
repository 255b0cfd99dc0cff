"""Gates: whatever a process asks a store, and each thing that it waits for, stands still until the walk lets it pass.

So the walk decides on each interleaving of the calls of several processes, swap by swap, and on what becomes of each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from fake_redis import FakeRedis, FakeRedisStore
from redis import exceptions as replies
from walks.world import OwnLogStore

from toolcache.hold import Hold
from toolcache.home import Homes
from toolcache.ledger import Place
from toolcache.protocols import Clock, PutResult, Write
from toolcache.stores.log.batch import Batch
from toolcache.stores.log.shared import Shared
from toolcache.swaps import Standing, Swapped

T = TypeVar("T")


class Fate(Enum):
    """What becomes of what has passed."""

    DONE = "done"
    REFUSED = "refused"
    """Nobody is there."""
    VAIN = "unanswered and in vain"
    LOST = "unanswered, and done"
    LATE = "unanswered, and done later"
    LAST = "done, and that is the last that it does"


class Parked:
    """One who waits at a gate.

    Attributes:
        at: of which process.
        what: "redis", "file", "wait" or "run".
        why: for people.
        task: who waits.
    """

    def __init__(self, at: int, what: str, why: str) -> None:
        self.at = at
        self.what = what
        self.why = why
        self.task = asyncio.current_task()
        self.fate: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()


class Gates:
    """All that wait, first come first."""

    def __init__(self) -> None:
        self.parked: list[Parked] = []
        self.dead: set[object] = set()
        self.late: list[Callable[[], object]] = []
        """What is on the wire yet."""
        self._busy = 0
        self._idle = asyncio.Event()

    async def wait(self, at: int, owner: object, what: str, why: str) -> Fate:
        """Until the walk says what is to become of it; of a dead process nothing does."""
        if owner in self.dead:
            raise asyncio.CancelledError
        parked = Parked(at, what, why)
        self.parked.append(parked)
        try:
            return await parked.fate
        finally:
            if parked in self.parked:
                self.parked.remove(parked)

    async def watch(self, work: Awaitable[T]) -> T:
        """Work that goes on elsewhere, such as in a thread: nobody is still before it has ended."""
        self._busy += 1
        try:
            return await work
        finally:
            self._busy -= 1
            self._idle.set()

    async def let(self, parked: Parked, fate: Fate = Fate.DONE) -> None:
        """Let one pass; until all stand still again."""
        self.parked.remove(parked)
        if not parked.fate.done():
            parked.fate.set_result(fate)
        await self.still()

    async def still(self) -> None:
        """Until nothing goes on by itself."""
        ready: Sequence[object] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # who is about to run
        while True:
            await asyncio.sleep(0)
            if self._busy and not ready:
                self._idle.clear()
                await self._idle.wait()
            elif not ready:
                return


class GatedRedis(FakeRedisStore):
    """A process's way to Redis, past gates.

    Args:
        server: to talk to.
        clock: set to the server's time at each connect.
        gates: to pass.
        at: of which process.
        noted: told of each swap that was done: the store, the key, and the raw bytes that stood there and stand there now.
    """

    def __init__(
        self,
        server: FakeRedis,
        clock: Clock,
        gates: Gates,
        at: int,
        noted: Callable[[str, str, bytes, Standing], None],
        wrote: Callable[[Sequence[Write]], None],
    ) -> None:
        super().__init__(server, clock)
        self._gates = gates
        self._at = at
        self._noted = noted
        self._wrote = wrote

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, in order."""
        return await self._pass("reads", super().get_many, keys)

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes."""
        self._wrote(writes)
        return await self._pass("writes", super().put_many, writes)

    async def swap(self, key: str, expected: bytes, new: bytes | None, /, **how: Any) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands."""

        async def swap() -> Swapped:
            swapped = await super(GatedRedis, self).swap(key, expected, new, **how)
            if swapped.done:
                self._noted("redis", key, expected, swapped.standing)
            return swapped

        return await self._pass(f"swaps for {_what(new)}", swap)

    async def _pass(self, why: str, do: Callable[..., Awaitable[T]], *what: Any) -> T:
        fate = await self._gates.wait(self._at, self, "redis", why)
        if fate is Fate.REFUSED:
            raise ConnectionRefusedError
        if fate is Fate.LATE:
            self._gates.late.append(lambda: _run(do(*what)))
        if fate in (Fate.VAIN, Fate.LATE):
            raise replies.TimeoutError("no answer")
        answer = await do(*what)
        if fate is Fate.LAST:
            raise asyncio.CancelledError
        if fate is Fate.LOST:
            raise replies.TimeoutError("no answer")
        return answer


class GatedLogStore(OwnLogStore):
    """A process's view of its host's files, past gates."""

    gates: Gates
    at: int
    noted: Callable[[str, str, bytes, Standing], None]
    wrote: Callable[[Sequence[Write]], None]

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, in order."""
        fate = await self.gates.wait(self.at, self, "file", "reads")
        found = await super().get_many(keys)
        return self._told(fate, found)

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes."""
        self.wrote(writes)
        fate = await self.gates.wait(self.at, self, "file", "writes")
        return self._told(fate, await super().put_many(writes))

    async def swap(self, key: str, expected: bytes, new: bytes | None, /, **how: Any) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands."""

        async def swap() -> Swapped:
            swapped = await super(GatedLogStore, self).swap(key, expected, new, **how)
            if swapped.done:
                self.noted("file", key, expected, swapped.standing)
            return swapped

        fate = await self.gates.wait(self.at, self, "file", f"swaps for {_what(new)}")
        # It is done, whether or not anybody still waits.
        return self._told(fate, await asyncio.shield(swap()))

    def _told(self, fate: Fate, answer: T) -> T:
        if fate is Fate.LAST:
            raise asyncio.CancelledError
        return answer

    async def _attached(self) -> Shared:
        if self._shared is not None:
            return await super()._attached()
        return await self.gates.watch(super()._attached())

    async def _written(self, batch: Batch) -> list[PutResult]:
        return await self.gates.watch(super()._written(batch))

    async def _job(
        self, shared: Shared, call: Callable[..., T], *args: Any, pool: ThreadPoolExecutor | None = None
    ) -> T:
        return await self.gates.watch(super()._job(shared, call, *args, pool=pool))


WALKERS: Final[WeakKeyDictionary[Homes, tuple[Gates, int, object, list["SteppedHold"]]]] = WeakKeyDictionary()
"""Of the homes of each process: the gates, which process, the same as known to the gates, and what it holds."""


class SteppedHold(Hold):
    """Waits at a gate, and renews when the walk says so."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gates, self.at, self._owner, holds = WALKERS[self._homes]
        holds.append(self)
        self.runs = False

    async def wait(self, place: Place, standing: Standing) -> None:
        """Until the walk has it look once more."""
        await self._gates.wait(self.at, self._owner, "wait", f"for another's claim in {place.name}")

    def begin(self) -> None:
        """It runs."""
        self.runs = True
        super().begin()

    async def end(self) -> None:
        """It does not."""
        self.runs = False
        await super().end()

    @property
    def holds(self) -> bool:
        """Whether it believes to hold anything."""
        return bool(self._standings)

    def beat(self) -> set[asyncio.Task[None]]:
        """Renew now: the walk's clock is not the loop's, whose timers are yet far from it."""
        self._due()
        return {*self._beating.values()}


def _what(new: bytes | None) -> str:
    return "nothing" if new is None else "a record"


def _run(work: Awaitable[Any]) -> None:
    """Run what never waits."""
    try:
        work.__await__().send(None)
    except StopIteration:
        pass
    except (OSError, replies.RedisError):
        pass
