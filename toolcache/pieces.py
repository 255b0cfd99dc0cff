"""Much work in pieces: the event loop has its turn between them, and several wait for a store at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")

PIECE: Final = 40
"""Keys whose entries are looked at, made or packed before others have their turn: 3 ms for the dearest, vectors."""

_AT_ONCE: Final = 2
"""Pieces under way: while the server is at one, the answer to the other is read."""


class Pieces(Generic[T]):
    """The items, some at a time, for ``async for``; few of them come without a pause.

    Args:
        items: all of them.
        size: how many are one piece.
    """

    def __init__(self, items: Sequence[T], size: int = PIECE) -> None:
        self._items = items
        self._size = size
        self._at = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[T]:
        """The next of them."""
        at = self._at
        if at >= len(self._items):
            raise StopAsyncIteration
        if at:
            await asyncio.sleep(0)
        self._at += self._size
        return self._items[at : self._at]


async def abreast(work: Callable[[Sequence[T]], Awaitable[None]], items: Sequence[T], size: int = PIECE) -> None:
    """Do the work on all of the items, some at a time, several times at once; the first failure ends it."""
    if len(items) <= size:
        if items:
            await work(items)
        return
    waiting = (items[start : start + size] for start in range(0, len(items), size))

    turn = asyncio.Lock()

    async def go_on() -> None:
        for some in waiting:
            async with turn:  # never two in one turn of the loop: a store would answer them as one
                await asyncio.sleep(0)
            await work(some)

    workers = [asyncio.ensure_future(go_on()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
