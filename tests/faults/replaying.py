"""Owes Redis fifty writes, says so, and tells it slowly, until killed: ``python -m faults.replaying URL DIRECTORY SEED BASE``."""

import asyncio
import json
import random
import sys
import time

from faults.values import KEYS, value_of
from faults.workload import TTL

from toolcache import journal
from toolcache.stores.log import reader
from toolcache.tool_cache import ToolCache


async def owe(url: str, directory: str, chance: random.Random, base: int) -> None:
    """Write while Redis is out of bounds; print what was acknowledged; let it be in bounds again."""
    reader._PORTION, journal._RATE, journal._EVERY = 5, 300, 0.01  # type: ignore[misc]  # slower, to be killed in between
    cache = ToolCache(redis_url=url, directory=directory, op_timeout=5, file_timeout=10)
    assert cache._parts.redis is not None
    breaker = cache._parts.redis.guard.breaker
    breaker.force_open()
    acts = []
    for number, key in enumerate(KEYS, base):
        begun = time.monotonic()
        if chance.random() < 0.3:
            await cache.delete(key)
            acts.append((key, "delete", number, begun, time.monotonic(), 2, 0.0))
        else:
            durability = await cache.set(key, value_of(key, number), ttl=TTL)
            acts.append((key, "set", number, begun, time.monotonic(), int(durability), time.time() + TTL))
    breaker.reset()
    sys.stdout.write(json.dumps(acts) + "\n")
    sys.stdout.flush()
    await asyncio.sleep(60)


def main(url: str, directory: str, seed: str, base: str) -> None:
    """Owe and pay."""
    asyncio.run(owe(url, directory, random.Random(f"{seed}/{base}"), int(base)))


if __name__ == "__main__":
    main(*sys.argv[1:5])
