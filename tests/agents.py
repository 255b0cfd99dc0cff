"""Something that is to be done once, counts how often it is, and takes as long as the test says."""

import asyncio
from collections.abc import Callable
from typing import Any

from toolcache import RunContext


class Agent:
    """Gives its output, or raises it if it is an exception; ``held``, not before it is let go.

    Args:
        output: what comes of each run; a function is called for it.
        held: waits in each run until ``let_go``.
    """

    def __init__(self, output: Any = "done", *, held: bool = False) -> None:
        self.output = output
        self.runs = 0
        self.ended = 0
        self.contexts: list[RunContext] = []
        self.begun = asyncio.Event()
        self._gate = asyncio.Event()
        if not held:
            self._gate.set()

    def let_go(self) -> None:
        """Have it come to its end."""
        self._gate.set()

    async def run(self, context: RunContext) -> Any:
        """One run."""
        self.runs += 1
        self.contexts.append(context)
        self.begun.set()
        try:
            await self._gate.wait()
        finally:
            self.ended += 1
        output = self.output() if isinstance(self.output, Callable) else self.output  # type: ignore[arg-type]  # it is a class for isinstance
        if isinstance(output, Exception):
            raise output
        return output


async def ticks(number: int = 20) -> None:
    """Let everything that can go on now do so."""
    for _ in range(number):
        await asyncio.sleep(0)


class Work:
    """Waits until it is ``over``, and gives its output, or raises it if it is an exception; takes no argument.

    Args:
        output: what comes of each run.
    """

    def __init__(self, output: Any = "done") -> None:
        self.output = output
        self.runs = 0
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self) -> Any:
        """One run."""
        self.runs += 1
        self.begun.set()
        await self.over.wait()
        if isinstance(self.output, BaseException):
            raise self.output
        return self.output
