"""W in a process and in two that it forks meanwhile: ``python -m faults.forked URL DIRECTORY SEED SECONDS``."""

import asyncio
import json
import os
import signal
import sys
import warnings
from typing import Any

from faults.oracle import Oracle
from faults.values import KEYS
from faults.workload import LagMeter, Workload

from toolcache.tool_cache import ToolCache

NAMES = ("the parent", "one child", "another child")


async def work(cache: ToolCache, oracle: Oracle, seed: str, number: int, seconds: float) -> dict[str, Any]:
    """W on a third of the keys; what it came to."""
    oracle.foreign = frozenset(KEYS) - frozenset(KEYS[number::3])
    meter = LagMeter()
    workload = Workload(cache, oracle, meter, f"{seed}/{number}", keys=KEYS[number::3])
    measuring = asyncio.create_task(meter.run())
    async with workload.running():
        await asyncio.sleep(seconds)
    measuring.cancel()
    return {
        "name": NAMES[number],
        "violations": oracle.violations,
        "counts": workload.counts,
        "acknowledged": oracle.acknowledged,
        "acts": {key: [act.told() for act in oracle.acts[key]] for key in KEYS[number::3]},
        "node": cache._parts.hybrid.node.hex(),
        "address": await address(cache),
    }


async def address(cache: ToolCache) -> Any:
    """Where this process's connection begins."""
    assert cache._parts.redis is not None
    store: Any = cache._parts.redis.store
    connection = await store._lanes.here().small.connection()
    return connection._raw._writer.get_extra_info("sockname")


def child(url: ToolCache, oracle: Oracle, seed: str, number: int, seconds: float) -> int:
    """Fork; the descriptor from which the child's account can be read."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return reading
    signal.alarm(40)  # a child that hangs is an error, not a wait for ever
    try:

        async def life() -> dict[str, Any]:
            told = await work(url, oracle, seed, number, seconds)
            await url.aclose()
            return told

        with os.fdopen(writing, "w") as pipe:
            json.dump(asyncio.run(life()), pipe)
    finally:
        os._exit(0)


async def parent(cache: ToolCache, seed: str, seconds: float) -> list[dict[str, Any]]:
    """Work, fork twice meanwhile, and gather the accounts."""
    oracle = Oracle()
    working = asyncio.create_task(work(cache, oracle, seed, 0, seconds))
    await asyncio.sleep(seconds / 4)
    pipes = [child(cache, Oracle(), seed, number, seconds) for number in (1, 2)]
    told = [await working]
    for pipe in pipes:
        with os.fdopen(pipe) as account:
            told.append(json.loads(await asyncio.to_thread(account.read)))
        await asyncio.to_thread(os.wait)
    await cache.aclose()
    return told


def main(url: str, directory: str, seed: str, seconds: str) -> None:
    """Print the accounts of all three."""
    warnings.simplefilter("ignore", ResourceWarning)
    warnings.filterwarnings("ignore", "This process", DeprecationWarning)
    cache = ToolCache(redis_url=url, directory=directory, op_timeout=5, file_timeout=10)
    sys.stdout.write(json.dumps(asyncio.run(parent(cache, seed, float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:5])
