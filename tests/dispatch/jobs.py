"""What is to run once, in tests: counted, and held until it is let go."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from toolcache import ToolCache
from toolcache.testing import Recorder
from toolcache.work import RunContext

Open = Callable[..., Awaitable[ToolCache]]


class Job:
    """A run that counts how often it was begun, with a gate to hold it.

    Args:
        output: what it returns; an exception is raised.
        held: whether it waits to be let go.
    """

    def __init__(self, output: Any = "done", *, held: bool = False) -> None:
        self.output = output
        self.contexts: list[RunContext] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()

    @property
    def runs(self) -> int:
        """How often it was begun."""
        return len(self.contexts)

    async def __call__(self, context: RunContext) -> Any:
        self.contexts.append(context)
        self.begun.set()
        await self.gate.wait()
        if isinstance(self.output, BaseException):
            raise self.output
        return self.output


@contextlib.asynccontextmanager
async def running(call: Coroutine[Any, Any, Any], job: Job) -> Any:
    """A call whose job has begun; let go at the end, unless it was before."""
    task = asyncio.create_task(call)
    try:
        async with asyncio.timeout(20):
            await job.begun.wait()
        yield task
    finally:
        job.gate.set()
        await asyncio.wait([task])


async def waits(task: "asyncio.Task[Any]", seconds: float = 0.1) -> None:
    """It is still waiting after a while; a shorter while would prove less, never more."""
    await asyncio.sleep(seconds)
    assert not task.done()


async def at_rest(cache: ToolCache) -> None:
    """What nobody waits for has ended."""
    await asyncio.gather(*cache._machine.homes.here()._tasks)


def heard(cache: ToolCache) -> Recorder:
    """The events of a cache from now on."""
    recorder = Recorder()
    cache.subscribe(recorder)
    return recorder
