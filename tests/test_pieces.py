"""Much work in pieces, with turns for others in between."""

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest

from toolcache.pieces import PIECE, Pieces, abreast


class Turns:
    """Counts the turns of the loop, as another task has them."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await asyncio.sleep(0)
        self.count = 0
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1


async def test_others_have_their_turn_between_pieces() -> None:
    """All items come, in order, and the loop goes round once for each piece but the first."""
    async with Turns() as turns:
        got = [list(some) async for some in Pieces(range(10), 3)]
        assert got == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
        assert turns.count == 3


@pytest.mark.parametrize("count", [0, 1, PIECE])
async def test_few_items_take_no_pause(count: int) -> None:
    """What fits into one piece is done at once."""
    async with Turns() as turns:
        assert [len(some) async for some in Pieces(range(count))] == [count] * (count > 0)
        done: list[int] = []

        async def work(some: Sequence[int]) -> None:
            done.extend(some)

        await abreast(work, range(count))
        assert done == list(range(count))
        assert turns.count == 0


async def test_two_pieces_are_under_way_and_begin_in_turns_of_their_own() -> None:
    """Work that waits is not waited for before the next piece; no two pieces begin in one turn, even when they end in one."""
    two, gate, under_way, most, begun = asyncio.Event(), asyncio.Event(), 0, 0, list[int]()

    async with Turns() as turns:

        async def work(_some: Sequence[int]) -> None:
            nonlocal under_way, most
            begun.append(turns.count)
            under_way += 1
            most = max(most, under_way)
            if under_way == 2:
                two.set()
            await gate.wait()
            under_way -= 1

        whole = asyncio.create_task(abreast(work, range(20), 4))
        await two.wait()
        gate.set()
        await whole
    assert most == 2
    assert len(begun) == len(set(begun)) == 5


async def test_a_failure_ends_the_work() -> None:
    """The failure of one piece is the caller's, no further piece begins, and nothing is left running."""
    begun: list[int] = []

    async def work(some: Sequence[int]) -> None:
        begun.append(some[0])
        if some[0] == 4:
            raise ValueError("the second piece")
        await asyncio.Event().wait()

    with pytest.raises(ValueError, match="the second piece"):
        await abreast(work, range(100), 4)
    assert begun == [0, 4]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_caller_that_leaves_ends_the_work() -> None:
    """Cancelled, it leaves no task behind."""

    async def work(_some: Sequence[int]) -> None:
        await asyncio.Event().wait()

    whole = asyncio.create_task(abreast(work, range(100), 4))
    for _ in range(5):
        await asyncio.sleep(0)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert asyncio.all_tasks() == {asyncio.current_task()}
