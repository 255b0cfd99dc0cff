"""What a run tells the world, and what it leaves in it."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from faults.values import KEYS, SECRET
from programs import clients, descriptors, resident, tasks, threads
from servers import RedisServer

from toolcache.testing import Recorder

BESIDE: Final = "beside"
"""The name of tasks that belong to the harness."""

_GROWTH: Final = 20 << 20
"""Bytes by which a run may leave the process larger, after what the harness itself keeps of each call."""
_KEPT: Final = 1 << 10
_CLOSING: Final = 100


class _Logged(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())


class Witness:
    """Watches a process from its making to the end of a run.

    Args:
        violated: told of what does not hold.
        server: whose clients are counted.
        directory: in which no passing file may be left.
    """

    def __init__(self, violated: Callable[[str], None], server: RedisServer, directory: Path) -> None:
        self.events = Recorder()
        self.secrets = {SECRET, *KEYS}
        self._violated = violated
        self._server = server
        self._directory = directory
        self._log = _Logged()
        self._before = (len(descriptors()), threads(), tasks())
        self._around, self._resident = _visible(), resident()

    @property
    def grown(self) -> int:
        """Bytes of memory that the process occupies more than it did."""
        return resident() - self._resident

    def warnings(self, about: str) -> list[str]:
        """What was logged as a warning, with these words in it."""
        return [line for line in self._log.warnings if about in line]

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the log inside the block, and what the loop and the interpreter could tell nobody else."""
        logger, loop = logging.getLogger("toolcache"), asyncio.get_running_loop()
        level, handler, hook = logger.level, loop.get_exception_handler(), sys.unraisablehook
        logger.addHandler(self._log)
        logger.setLevel(logging.DEBUG)
        loop.set_exception_handler(lambda _loop, context: self._violated(f"I1: the loop was told of {context}"))
        sys.unraisablehook = lambda lost: self._violated(f"I1: nobody could be told of {lost.exc_value!r}")
        try:
            yield
        finally:
            sys.unraisablehook = hook
            loop.set_exception_handler(handler)
            logger.setLevel(level)
            logger.removeHandler(self._log)

    async def judge(self, calls: int) -> None:
        """Nothing is left, once all is closed, and no word too much was said; ``calls`` were noted by the harness."""
        gc.collect()  # what was never awaited or closed is told of now
        for _ in range(_CLOSING):  # the other end of a socket may still be closing
            left = (len(descriptors()), threads(), tasks() - {BESIDE})
            if left[0] <= self._before[0] and not clients(self._server):
                break
            await asyncio.sleep(0.01)
        more, there = left[0] - self._before[0], clients(self._server)
        new_threads, new_tasks = left[1] - self._before[1], left[2] - self._before[2]
        if more > 0 or new_threads or new_tasks or there:
            self._violated(f"I9: {more} descriptors, threads {new_threads}, tasks {new_tasks}, {there} are left")
        if litter := [*self._directory.rglob("*.tmp"), *(_visible() - self._around)]:
            self._violated(f"I9: {[str(path) for path in litter]} are left")
        if self.grown > _GROWTH + _KEPT * (calls + len(self._log.lines) + len(self.events.events)):
            self._violated(f"I9: the process is {self.grown >> 20} MiB larger")
        for line in [*self._log.lines, *map(str, self.events.events), *map(repr, self.events.events)]:
            if any(secret in line for secret in self.secrets):
                self._violated(f"a log line or an event tells too much: {line}")


def _visible() -> set[Path]:
    return {path for path in Path.cwd().iterdir() if not path.name.startswith((".", "_"))}
