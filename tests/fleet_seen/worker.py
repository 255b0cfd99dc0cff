"""One process of a fleet: works calls off until its standard input ends, and counts for itself what became of each.

    python -m fleet_seen.worker '{"url": …, "directory": …, "notes": …, "seed": 1}'

It knows that a call was a hit because what computes was not run. What it counted it appends to a file, a line for each call,
so that a process that is killed has told of all that it had done.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from fleet_seen.calls import Call, calls

from toolcache import Context, RunContext, ToolCache, ToolPolicy

OPTIONS: Final[dict[str, Any]] = {
    "namespace": "fleet",
    "costs": {"tool": 0.002},
    "prices": {"small": 2.5},
    "ttls": {"search": 2, "response": 2},
    "op_timeout": 10,
    "file_timeout": 20,
}
"""What all caches of the fleet are told; on a machine that is busy, nobody is to take a store for a sick one."""

READ_USD: Final = 0.002
SEARCH_USD: Final = 0.005
SEARCH_TOKENS: Final = 100
ANSWER_TOKENS: Final = 1_200
ANSWER_USD: Final = ANSWER_TOKENS * 2.5 / 1e6
WRITE_USD: Final = 0.01
WRITE_TOKENS: Final = 50

AGENTS: Final = 4
"""Calls that are under way at a time."""

_PAUSE: Final = 0.01
_WORK: Final = 0.004


class Worker:
    """Works calls off.

    Args:
        cache: by way of which.
        note: is told of each call: its domain, its tool, and what became of it.
        seed: decides the order.
    """

    def __init__(self, cache: ToolCache, note: Callable[[str, str, str], None], seed: int) -> None:
        self._cache = cache
        self._note = note
        self._dice = random.Random(seed)
        self._writing = asyncio.Lock()
        self._calls = calls()
        self.over = False
        for call in self._calls:
            if call.kind == "read":
                cache.tools[call.name] = ToolPolicy("exact", ttl=2)
            elif call.kind == "write":
                cache.tools[call.name] = ToolPolicy("once")

    async def work(self) -> None:
        """Until it is over: several at a time, as agents do."""
        start = self._dice.randrange(len(self._calls))
        numbers = count(start)
        async with asyncio.TaskGroup() as group:
            for _ in range(AGENTS):
                group.create_task(self._agent(numbers))

    async def _agent(self, numbers: "count[int]") -> None:
        while not self.over:
            call = self._calls[next(numbers) % len(self._calls)]
            await getattr(self, f"_{call.kind}")(call)
            await asyncio.sleep(self._dice.uniform(0, 2 * _PAUSE))

    async def _read(self, call: Call) -> None:
        ran = []

        async def run(**params: Any) -> dict[str, Any]:
            ran.append(1)
            await asyncio.sleep(_WORK)
            return {"of": params}

        await self._cache.call_tool(call.name, run, **call.params)
        self._note("tool", call.name, "computed" if ran else "hit")

    async def _write(self, call: Call) -> None:
        ran = []

        async def run(**params: Any) -> dict[str, Any]:
            ran.append(1)
            RunContext.current().cost(usd=WRITE_USD, tokens=WRITE_TOKENS)
            await asyncio.sleep(_WORK)
            return {"done": params}

        async with self._writing:  # who waits for a run of this process neither runs nor replays it
            await self._cache.call_tool(call.name, run, **call.params)
        self._note("tool", call.name, "ran" if ran else "replayed")

    async def _search(self, call: Call) -> None:
        ran = []

        async def compute(context: Context) -> list[str]:
            ran.append(1)
            context.cost(usd=SEARCH_USD, tokens=SEARCH_TOKENS)
            await asyncio.sleep(_WORK)
            return [call.params["query"]]

        await self._cache.get_search_results(call.params["query"], compute=compute)
        self._note("search", "", "computed" if ran else "hit")

    async def _answer(self, call: Call) -> None:
        ran = []

        async def compute(context: Context) -> str:
            ran.append(1)
            context.cost(tokens=ANSWER_TOKENS)
            await asyncio.sleep(_WORK)
            return "an answer"

        await self._cache.get_response("airline", call.params, model="small", compute=compute)
        self._note("response", "", "computed" if ran else "hit")


async def main(url: str, directory: str, notes: str, seed: int) -> None:
    """Work until standard input ends."""
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(*words: str) -> None:
        os.write(file, (json.dumps([time.time(), *words]) + "\n").encode())

    async with ToolCache(redis_url=url, directory=directory, **OPTIONS) as cache:
        worker = Worker(cache, note, seed)
        working = asyncio.create_task(worker.work())
        ending = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        while (
            not worker.over
        ):  # until Redis is well again: else it is told of the rest by the next process of this host
            health = await cache.health(probe=False)
            worker.over = health.redis is None or health.redis.breaker == "closed"
            await asyncio.sleep(_PAUSE)
        await working
    os.close(file)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
