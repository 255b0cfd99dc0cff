"""W in a process that ends when it is told to, while calls are made: ``python -m faults.serving URL DIRECTORY SEED FIRST DRAIN``.

It says on stdout what it promised, and last what closing took, what it left behind and what was wrong.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import signal
import sys
import time
from typing import Final

from faults.telling import Telling
from faults.values import KEYS
from faults.workload import LagMeter, Workload
from programs import descriptors, tasks, threads

from toolcache.errors import CacheClosedError, FlightAbortedError
from toolcache.tool_cache import ToolCache

WORKING: Final = "working"
_PAUSE: Final = 0.01


async def errands(cache: ToolCache, oracle: Telling, seed: str) -> None:
    """Have one request after the other run, and say what each was answered, until the cache is closed."""
    with contextlib.suppress(CacheClosedError, FlightAbortedError):
        for number in itertools.count():
            output = await cache.once(f"{seed} {number}", lambda number=number: number)
            oracle.say({"request": f"{seed} {number}", "output": output})
            await asyncio.sleep(_PAUSE)


async def held(cache: ToolCache, oracle: Telling, seed: str) -> None:
    """Run a request that is not over when everything is, and say which, once it runs."""

    async def run() -> None:
        oracle.say({"held": f"{seed} held"})
        await asyncio.sleep(60)

    await cache.once(f"{seed} held", run)


async def serve(url: str, directory: str, seed: str, first: int, drain: float) -> None:
    """Work until SIGTERM; close while everybody goes on."""
    logging.getLogger("toolcache").addHandler(logging.NullHandler())  # stderr is for what nobody expected
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    meter, oracle = LagMeter(), Telling(pipe=1, _numbers=itertools.count(first))
    measuring = asyncio.create_task(meter.run(), name="lag")
    before = len(descriptors()), threads(), tasks()
    cache = ToolCache(redis_url=url, directory=directory, recovery_time=("0.2s", "1s"))
    work = Workload(cache, oracle, meter, seed)
    for key in KEYS:
        await work.delete(key)  # whoever was here before, from now on all is known of each key
    async with work.running():
        slow = [asyncio.create_task(cache.get_or_set(f"slow {each}", lambda: asyncio.sleep(60))) for each in range(3)]
        slow.append(asyncio.create_task(held(cache, oracle, seed)))
        running = asyncio.create_task(errands(cache, oracle, seed))
        oracle.say(WORKING)
        await told.wait()
        work.closing = True
        begun, late = time.monotonic(), meter.late()
        await cache.aclose(drain)
        took = time.monotonic() - begun - (meter.late() - late)
    await running
    ends = await asyncio.gather(*slow, return_exceptions=True)
    *values, request = ends
    if not all(isinstance(end, FlightAbortedError) for end in values) or not isinstance(request, CacheClosedError):
        oracle.violated(f"I1: computations that could not be waited for ended with {ends}")
    gc.collect()
    left = [len(descriptors()) - before[0], sorted(threads() - before[1]), sorted(tasks() - before[2])]
    measuring.cancel()
    oracle.say({"took": took, "drain": drain, "left": left, "violations": oracle.violations})


def main(url: str, directory: str, seed: str, first: str, drain: str) -> None:
    """Serve."""
    asyncio.run(serve(url, directory, seed, int(first), float(drain)))


if __name__ == "__main__":
    main(*sys.argv[1:6])
