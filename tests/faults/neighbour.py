"""W in another process, on some of the keys: ``python -m faults.neighbour URL DIRECTORY SEED FIRST KEYS``.

It says on stdout what it promised. Told to end, it waits until it owes Redis nothing, and says what was wrong.
"""

import asyncio
import itertools
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from faults.telling import Telling
from faults.values import KEYS
from faults.workload import LagMeter, Workload
from programs import start

from toolcache.tool_cache import ToolCache

_CODE: Final = "import sys; from faults.neighbour import main; main(*sys.argv[1:])"
_PATIENCE: Final = 10.0
_SLACK: Final = 0.3


class Neighbour:
    """A process that works beside this one.

    Args:
        url: of the Redis that both use.
        directory: this host's, or that of another.
        seed: decides its calls.
        keys: that it alone writes: a part of ``KEYS``.
    """

    def __init__(self, url: str, directory: Path, seed: str, keys: slice) -> None:
        self.keys = KEYS[keys]
        self.lives = 0
        self.said: list[Any] = []
        self._arguments = (url, directory, seed)
        self._span = f"{keys.start}:{keys.stop}"
        self._program: subprocess.Popen[str]
        self._heard: threading.Event
        self._listener: threading.Thread

    def start(self) -> None:
        """Begin a life."""
        self.lives += 1
        url, directory, seed = self._arguments
        self._program = start(_CODE, url, directory, f"{seed}/{self.lives}", self.lives * 1_000_000, self._span)
        self._heard = threading.Event()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def kill(self) -> None:
        """SIGKILL, if it lives."""
        if self.lives and self._program.poll() is None:
            self._program.kill()
            self._end()

    def stop(self) -> str:
        """Let it end; what it complains of, "" for nothing."""
        watchdog = threading.Timer(3 * _PATIENCE, self._program.kill)
        watchdog.start()
        self._heard.wait()  # it may have only just begun
        self._program.terminate()
        self._listener.join()
        watchdog.cancel()
        assert self._program.stderr is not None
        err = self._program.stderr.read()
        self._end()
        return err if self._program.returncode == 0 else f"{err}ended with {self._program.returncode}"

    def _listen(self) -> None:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            self._heard.set()
            if line.endswith("\n"):  # the last words of one that is killed may be cut short
                self.said.append(json.loads(line))
        self._heard.set()

    def _end(self) -> None:
        self._listener.join()
        with self._program:
            pass


async def work(url: str, directory: str, seed: str, first: int, keys: slice) -> None:
    """Work until SIGTERM, and until nothing is owed."""
    logging.getLogger("toolcache").addHandler(logging.NullHandler())  # stderr is for what nobody expected
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    meter, oracle = LagMeter(), Telling(pipe=1, _numbers=itertools.count(first))
    oracle.foreign = frozenset(KEYS) - frozenset(KEYS[keys])
    measuring = asyncio.create_task(meter.run())
    async with ToolCache(redis_url=url, directory=directory, recovery_time=("0.2s", "1s")) as cache:
        workload = Workload(cache, oracle, meter, seed, keys=KEYS[keys])
        for key in workload.keys:
            await workload.delete(key)  # whoever was here before, from now on all is known of each key
        async with workload.running():
            await told.wait()
        until = time.monotonic() + _PATIENCE
        while cache._machine.journal.pending and time.monotonic() < until:
            await workload.get(workload.keys[0])
            await asyncio.sleep(0.02)
        if pending := cache._machine.journal.pending:
            oracle.violated(f"I11: {pending} writes are pending after {_PATIENCE} s")
        limit = cache.settings.op_timeout + cache.settings.file_timeout + _SLACK
        for call in workload.calls:
            if call.took > limit:
                oracle.violated(f"I2: {call.kind} took {call.took:.3f} s, {limit:.3f} s at most")
    measuring.cancel()
    oracle.say({"violations": oracle.violations, "calls": len(workload.calls)})


def main(url: str, directory: str, seed: str, first: str, keys: str) -> None:
    """Work."""
    begin, end = map(int, keys.split(":"))
    asyncio.run(work(url, directory, seed, int(first), slice(begin, end)))


if __name__ == "__main__":
    main(*sys.argv[1:6])
