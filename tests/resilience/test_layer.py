"""A layer's batches."""

import asyncio
from collections.abc import Sequence

import pytest

from toolcache.layer import Layer
from toolcache.protocols import PutResult, Write
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.testing import FakeClock


class Asked:
    """A store that remembers what was asked for at once."""

    name = "asked"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        self.batches.append(list(keys))
        return [key.encode() for key in keys]

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def store() -> Asked:
    return Asked()


@pytest.fixture
def layer(store: Asked) -> Layer:
    clock = FakeClock()
    guard = Guard(breaker=CircuitBreaker(clock=clock), timeout=60.0, clock=clock)
    return Layer(store, guard, clock=clock)


async def test_what_one_tick_asks_for_goes_as_one(layer: Layer, store: Asked) -> None:
    """Callers of one tick share a batch, and each gets its own answers; who comes later goes with the next one."""
    answers = await asyncio.gather(layer.read(["a", "b"]), layer.read(["c"]), layer.read(["a"]))
    assert list(answers) == [[b"a", b"b"], [b"c"], [b"a"]]
    assert await layer.read(["d"]) == [b"d"]
    assert store.batches == [["a", "b", "c"], ["d"]]


async def test_a_loop_whose_tasks_begin_at_once_batches_as_well(layer: Layer, store: Asked) -> None:
    """What a loop's task factory does is no concern of the batches: everybody of the tick goes along."""

    def factory(loop: asyncio.AbstractEventLoop, work: object, **_options: object) -> asyncio.Future[object]:
        raise AssertionError("a batch was begun by the loop's factory")

    loop = asyncio.get_running_loop()
    first, second = layer.read(["a"]), layer.read(["b"])
    together = [asyncio.Task(first, loop=loop), asyncio.Task(second, loop=loop)]
    loop.set_task_factory(factory)  # type: ignore[arg-type]  # it makes none
    try:
        assert await together[0] == [b"a"]
        assert await together[1] == [b"b"]
    finally:
        loop.set_task_factory(None)
    assert store.batches == [["a", "b"]]


async def test_a_batch_that_was_cancelled_before_it_began(layer: Layer, store: Asked) -> None:
    """Nobody waits for a batch that never left, and the next one leaves."""
    before = asyncio.all_tasks()
    asking = asyncio.ensure_future(layer.read(["a"]))
    await asyncio.sleep(0)
    (batch,) = asyncio.all_tasks() - before - {asking}
    batch.cancel()
    assert await asking is None
    assert await layer.read(["b"]) == [b"b"]
    assert store.batches == [["b"]]
