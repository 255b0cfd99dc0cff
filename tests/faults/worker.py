"""A process that has requests run: ``python -m faults.worker NAME DOOR URL DIRECTORY ACCOUNTS OPTIONS``.

Each line of stdin is a step: requests to be asked for together. It ends when they end, and all is answered.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from faults.accounts import Account, Run
from faults.doors import STAND_INS, Door

_TICK: Final = 0.02
_STILL: Final = 0.2
"""Seconds without a tick from which on it is noted."""


@dataclass(frozen=True)
class Step:
    """Ask for some requests at once.

    Args:
        requests: their names; a name may come more than once.
        seconds: what running one takes, if this process runs it.
        end: how a run ends: "return", "raise", or "die" with its process.
        at: when, at the earliest: a monotonic instant.
    """

    requests: tuple[str, ...]
    seconds: float = 0.05
    end: str = "return"
    at: float = 0.0

    def line(self) -> str:
        """For a worker's stdin."""
        return json.dumps(asdict(self)) + "\n"


class AgentError(Exception):
    """What a run raises that is to raise."""


class Worker:
    """Plays steps, and keeps account.

    Args:
        door: has the requests run.
        account: what is done and told is noted there.
        parallel: how many steps are played at the same time.
    """

    def __init__(self, door: Door, account: Account, parallel: int) -> None:
        self._door = door
        self._account = account
        self._free = asyncio.Semaphore(parallel)
        self._numbers = itertools.count()
        self._playing: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Play what stdin tells, until its end."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(self._play(Step(**json.loads(line))))
            self._playing.add(task)
        await asyncio.gather(*self._playing)

    async def _play(self, step: Step) -> None:
        await asyncio.sleep(step.at - time.monotonic())
        async with self._free:
            waiting: dict[str, list[int]] = {}
            for request in step.requests:
                waiting.setdefault(request, []).append(number := next(self._numbers))
                self._account.note("asked", number, request, time.monotonic())

            async def act(request: str, attempt: int, token: str) -> Any:
                return await self._act(step, request, attempt, token)

            def told(request: str, output: Any, error: str | None) -> None:
                run = str(output["run"]) if error is None else None
                for number in waiting.pop(request, ()):
                    self._account.note("told", number, time.monotonic(), run, error)

            await self._door.ask(step.requests, act, told)

    async def _act(self, step: Step, request: str, attempt: int, token: str) -> Any:
        name = f"{self._account.worker}:{next(self._numbers)}"
        self._account.begin(Run(request, self._account.worker, name, time.monotonic(), attempt, token))
        await asyncio.sleep(step.seconds)
        if step.end == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raises = step.end == "raise"
        self._account.note("ended", name, time.monotonic(), raises)
        if raises:
            raise AgentError(request)
        return {"request": request, "run": name}


async def _keep_time(account: Account) -> None:
    """Note when this process stood still."""
    before = time.monotonic()
    while True:
        await asyncio.sleep(_TICK)
        now = time.monotonic()
        if now - before > _STILL:
            account.note("stood still", before, now)
        before = now


def _open(door: str, url: str, directory: str, account: Account, options: dict[str, Any]) -> Door:
    if door in STAND_INS:
        return STAND_INS[door](directory)
    from faults.cached import Cached

    return Cached(url, directory, lambda event: account.note("event", type(event).__name__, str(event)), **options)


async def work(name: str, door: str, url: str, directory: str, accounts: str, options: dict[str, Any]) -> None:
    """Work."""
    logging.getLogger("toolcache").addHandler(logging.NullHandler())  # stderr is for what nobody expected
    parallel = options.pop("parallel")
    account = Account(Path(accounts), name)
    keeping_time = asyncio.create_task(_keep_time(account))
    async with _open(door, url, directory, account, options) as opened:
        await Worker(opened, account, parallel).work()
    keeping_time.cancel()
    account.close()


def main(name: str, door: str, url: str, directory: str, accounts: str, options: str) -> None:
    """Work until stdin ends."""
    asyncio.run(work(name, door, url, directory, accounts, json.loads(options)))


if __name__ == "__main__":
    main(*sys.argv[1:7])
