"""Batches: what the callers of one loop tick ask for leaves as one.

Most of what an operation costs does not depend on how many keys it has.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from enum import Enum
from types import coroutine
from typing import Any, Final, Generic, Literal, TypeVar

from toolcache.home import Home

A = TypeVar("A")
R = TypeVar("R")


class Alone(Enum):
    """Whether an ask has company."""

    ALONE = "alone"


ALONE: Final = Alone.ALONE

_ROOM: Final = 16
"""Callers who have their turn in one tick: with what the last ones asked for, a millisecond of work."""


class Batches(Generic[A, R]):
    """The batches of one kind and one loop.

    Args:
        carry: answers several asks, in order.
        home: whose tasks carry.

    Attributes:
        home: as given.
    """

    def __init__(self, carry: Callable[[list[A]], Coroutine[Any, Any, list[R]]], home: Home) -> None:
        self._carry = carry
        self.home = home
        self._waiting: list[tuple[A, asyncio.Future[R | None]]] = []
        self._sharing: list[tuple[A, asyncio.Future[R | None]]] = []
        self._under_way = 0
        self._crowded = False
        self._line: deque[asyncio.Future[None]] = deque()
        self._calling = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and the last to leave had nobody to go with: so it will be again, most likely."""
        return not self._under_way and not self._crowded

    async def turn(self) -> None:
        """Come before ``ask``: where very many ask in one tick, most wait for another, since the loop is others' too."""
        if self._calling or len(self._waiting) >= _ROOM:
            loop = asyncio.get_running_loop()
            if not self._calling:
                self._calling = True
                loop.call_soon(self._call)
            turn: asyncio.Future[None] = loop.create_future()
            self._line.append(turn)
            await turn

    def _call(self) -> None:
        """The next ones, once in each tick, whatever becomes of them; and once more, that nobody overtakes the last."""
        self._calling = bool(self._line)
        for _ in range(min(_ROOM, len(self._line))):
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._calling:
            asyncio.get_running_loop().call_soon(self._call)

    def begin(self) -> None:
        """Somebody does alone what a batch would do, and says when that is at its ``end``."""
        self._under_way += 1

    def end(self) -> None:
        """Who has begun is done."""
        self._under_way -= 1

    async def share(self, item: A) -> R | Literal[Alone.ALONE] | None:
        """The same for what is of no use without its caller: ALONE if nobody else asks in this tick, to carry it unaided."""
        loop = asyncio.get_running_loop()
        if self._sharing:
            future: asyncio.Future[R | None] = loop.create_future()
            self._sharing.append((item, future))
            return await future
        mine: asyncio.Future[R | None] = loop.create_future()
        together = self._sharing
        together.append((item, mine))
        try:
            await _turn()
        except BaseException:
            mine.cancel()
            raise
        finally:  # also where the caller leaves meanwhile
            self._sharing = []
            if len(together) > 1 and not all(answer.done() for _, answer in together):  # as when the loop ends
                self._send(together)
        return ALONE if len(together) == 1 else await mine

    def ask(self, item: A, *, alone: bool = False) -> "asyncio.Future[R | None]":
        """The answer, from the batch that leaves at the end of this tick; None where that was cancelled, as when all ends.

        It leaves although the caller does. Whatever ``carry`` raises, the future does.

        Args:
            item: what is asked for.
            alone: whether it is so much that nobody should have to wait for it.
        """
        answer: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        if alone:
            self._send([(item, answer)])
            return answer
        if not self._waiting:
            self._waiting = []
            self._send(self._waiting)
        self._waiting.append((item, answer))
        return answer

    def _send(self, together: list[tuple[A, "asyncio.Future[R | None]"]]) -> None:
        self._under_way += 1
        task = self.home.own_later(self._leave(together))
        task.add_done_callback(lambda task: self._done(together, task))

    async def _leave(self, together: list[tuple[A, "asyncio.Future[R | None]"]]) -> None:
        if self._waiting is together:
            self._waiting = []  # who comes from now on goes with the next batch
            self._crowded = len(together) > 1
        answers = await self._carry([item for item, _ in together])
        for (_, future), answer in zip(together, answers, strict=True):
            if not future.done():
                future.set_result(answer)
        together.clear()  # what was asked may be large, and the task is not quite gone yet

    def _done(self, together: list[tuple[A, "asyncio.Future[R | None]"]], task: "asyncio.Task[None]") -> None:
        """However it ended, even before it began: nobody waits for ever."""
        self._under_way -= 1
        if self._waiting is together:
            self._waiting = []
        error = None if task.cancelled() else task.exception()
        for _, future in together:
            if not future.done() and error is not None:
                future.set_exception(error)
            elif not future.done():
                future.set_result(None)


@coroutine
def _turn() -> Generator[None, None, None]:
    """Let all others of this tick go first."""
    yield
