"""A process of the fleet: one cache, and what it is told to do, a line of JSON for each.

It counts its own processor time, which others who use the machine do not lengthen as they do a wait.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from benchmarks.values import small
from toolcache import ToolCache

_FILL: Final = 1_000
_AT_ONCE: Final = 16


async def serve(settings: Mapping[str, Any]) -> None:
    """Do what the lines of stdin say, and answer each with a line of stdout, until there are no more."""
    async with ToolCache(**settings) as cache:
        await cache.get("warm")
        if settings.get("redis_url") and settings.get("coherence", True):
            while (await cache.health(probe=False)).coherence != "tracking":  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            done = await DUTIES[order.pop("do")](cache, **order)
            print(json.dumps(done), flush=True)


async def fill(cache: ToolCache, *, count: int, first: int = 0, tags: list[str] | None = None) -> dict[str, float]:
    """Store small values under the keys ``key:<first>`` and following; what each took."""
    before, grown = time.process_time(), _resident()
    for start in range(first, first + count, _FILL):
        values = {f"key:{number}": small(number) for number in range(start, min(start + _FILL, first + count))}
        await cache.set_many(values, ttl="1d", tags=tags or ())
    return {"cpu": (time.process_time() - before) / count, "resident": (_resident() - grown) / count}


async def read(
    cache: ToolCache, *, count: int, keys: int, at_once: int = 1, share: float = 1.0, seed: int = 1
) -> dict[str, float]:
    """Get keys, any of all or of a ``share`` of them; processor time and wall time of each."""
    chance = random.Random(seed)
    chosen = iter([f"key:{chance.randrange(max(1, int(keys * share)))}" for _ in range(count)])
    found = 0

    async def go_on() -> None:
        nonlocal found
        for key in chosen:
            found += await cache.get(key) is not None

    spent = await _timed(lambda: asyncio.gather(*(go_on() for _ in range(at_once))))
    return _each(spent, count) | {"found": found / count}


async def write(
    cache: ToolCache, *, count: int, keys: int, size: int = 0, at_once: int = 1, tags: list[str] | None = None
) -> dict[str, float]:
    """Set keys, in their order, again and again; processor time and wall time of each."""
    numbers = iter(range(count))

    async def go_on() -> None:
        for number in numbers:
            await cache.set(f"key:{number % keys}", value(number, size), ttl="1d", tags=tags or ())

    return _each(await _timed(lambda: asyncio.gather(*(go_on() for _ in range(at_once)))), count)


async def work(cache: ToolCache, *, count: int, keys: int, writes: float, seed: int) -> dict[str, float]:
    """What agents do: read by Zipf's law, and compute and store what is not there; now and then write."""
    chance = random.Random(seed)
    weights = list(_zipf(keys))
    chosen = iter(chance.choices(range(keys), cum_weights=weights, k=count))

    async def go_on() -> None:
        for number in chosen:
            if chance.random() < writes:
                await cache.set(f"key:{number}", small(number), ttl="1d")
            else:
                await cache.get_or_set(f"key:{number}", lambda number=number: small(number), ttl="1d", lock=False)

    spent = await _timed(lambda: asyncio.gather(*(go_on() for _ in range(_AT_ONCE))))
    memory = cache.stats().layers["memory"]
    asked = memory.hits + memory.misses
    return _each(spent, count) | {"hits": memory.hits / asked if asked else 0.0}


async def invalidate(cache: ToolCache, *, tags: list[str]) -> dict[str, float]:
    """Forget what carries a tag; how long it takes, and whether a read then finds nothing."""
    spent = await _timed(lambda: cache.invalidate(tags=tags))
    return spent | {"left": float(await cache.get("key:0") is not None)}


async def clock(cache: ToolCache) -> dict[str, float]:  # noqa: ARG001 - a duty like others
    """The processor time until now."""
    return {"cpu": time.process_time()}


DUTIES: Final[dict[str, Callable[..., Awaitable[dict[str, float]]]]] = {
    "fill": fill,
    "read": read,
    "write": write,
    "work": work,
    "invalidate": invalidate,
    "clock": clock,
}


def value(number: int, size: int) -> Any:
    """Bytes that nothing makes smaller, or a small dict."""
    return random.Random(number % 100).randbytes(size) if size else small(number)


async def _timed(work: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def _each(spent: dict[str, float], count: int) -> dict[str, float]:
    return {name: seconds / count for name, seconds in spent.items()} | {"count": count}


def _zipf(keys: int) -> Iterator[float]:
    total = 0.0
    for rank in range(1, keys + 1):
        total += 1 / rank
        yield total


def _resident() -> int:
    """Bytes of memory that the process has; at most it ever had, where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
