"""Deadlines that share a timer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from toolcache.resilience.deadline import Deadline


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the loop was asked to call."""
    asked: list[float] = []
    loop = asyncio.get_running_loop()
    plain = loop.call_at

    def call_at(when: float, callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.TimerHandle:
        asked.append(when)
        return plain(when, callback, *args, **options)

    monkeypatch.setattr(loop, "call_at", call_at)
    return asked


async def _never() -> None:
    with Deadline(0.01):
        await asyncio.Event().wait()


async def test_time_is_up() -> None:
    """The body is cancelled, and the caller told; the task is as before."""
    with pytest.raises(TimeoutError):
        await _never()
    me = asyncio.current_task()
    assert me is not None
    assert not me.cancelling()


async def test_done_in_time(timers: list[float]) -> None:
    """A hundred that are over in time have cost one timer, and cut off nothing that comes after."""
    for _ in range(100):
        with Deadline(300.0) as deadline:
            await asyncio.sleep(0)
        assert not deadline.expired
    assert len(timers) <= 1


async def test_the_earliest_comes_first() -> None:
    """One that begins later and is due earlier is not kept waiting, and takes no other along."""
    with Deadline(300.0) as outer:
        with pytest.raises(TimeoutError):
            await _never()
        await asyncio.sleep(0)
    assert not outer.expired


async def test_each_has_its_own_time() -> None:
    """Of several tasks, those whose time is up are ended, and no other."""
    slow = asyncio.create_task(_within(300.0))
    quick = [asyncio.create_task(_within(0.01)) for _ in range(3)]
    assert [type(it) for it in await asyncio.gather(*quick, return_exceptions=True)] == [TimeoutError] * 3
    assert not slow.done()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow


async def _within(seconds: float) -> None:
    with Deadline(seconds):
        await asyncio.Event().wait()


async def test_a_caller_who_leaves_is_cancelled() -> None:
    """A cancellation from outside stays one, even when time is up as well."""
    task = asyncio.create_task(_within(300.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def both() -> None:
        deadline = Deadline(300.0)
        with deadline:
            deadline.expire()
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(both())


async def test_another_error_is_that_error() -> None:
    """What the body raises by itself is not taken for the deadline's."""

    async def fail() -> None:
        with Deadline(0.01):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError):
        await fail()
    await asyncio.sleep(0)


def test_outside_of_a_task() -> None:
    """There is nothing to cancel."""

    async def attempt() -> None:
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                with Deadline(1.0):
                    failed.set_result(AssertionError())
            except RuntimeError as error:
                failed.set_result(error)

        asyncio.get_running_loop().call_soon(call)
        assert "in a task" in str(await failed)

    asyncio.run(attempt())
