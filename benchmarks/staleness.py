"""How long one process serves what another has overwritten.

A process writes numbers, one after another; this one reads all the time. A number is stale from the moment at which the
write of a later one was acknowledged until the last read that did not see that. All processes of a machine read the
same monotonic clock.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

from redis.asyncio import Redis

from toolcache import ToolCache

_KILL_EVERY: Final = 0.5
_CHANNEL: Final = "numbers"
_ROOT: Final = Path(__file__).parents[1]


class Seen(NamedTuple):
    """What was seen: seconds for which each number was served when it was stale, reads, and connections killed."""

    stale: list[float]
    reads: int
    killed: int


async def measure(
    url: str, writes: int, pause: float, *, killing: bool = False, coherence: bool = True, plain: bool = False
) -> Seen:
    """Have another process write, and read meanwhile.

    Args:
        url: of the Redis in between.
        writes: how many.
        pause: seconds between two of them.
        killing: whether the connections over which memory is told are killed twice a second.
        coherence: of the process that reads.
        plain: without any cache: the numbers themselves are published, which says how promptly the machine runs who waits.
    """
    ended = asyncio.Event()
    reader = _listen(url, ended, writes) if plain else _read(url, ended, writes, coherence=coherence)
    reading = asyncio.create_task(reader)
    killed = asyncio.create_task(_kill(url, ended)) if killing else None
    command = [sys.executable, "-m", "benchmarks.staleness", url, str(writes), str(pause), *["--plain"] * plain]
    writer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=_ROOT)
    out, _ = await writer.communicate()
    ended.set()
    acknowledged = json.loads(out)
    last, reads = await reading
    stale = [max(0.0, last[number] - at) for number, at in enumerate(acknowledged)]
    return Seen(stale, reads, await killed if killed else 0)


async def _write(url: str, writes: int, pause: float) -> list[float]:
    """When each number was acknowledged."""
    acknowledged = []
    async with _cache(url, coherence=True) as cache:
        for number in range(1, writes + 1):
            await cache.set("number", number)
            acknowledged.append(time.monotonic())
            await asyncio.sleep(pause)
    return acknowledged


async def _publish(url: str, writes: int, pause: float) -> list[float]:
    """As ``_write``, with Redis' own commands."""
    acknowledged = []
    async with Redis.from_url(url) as client:
        for number in range(1, writes + 1):
            await client.publish(_CHANNEL, number)
            acknowledged.append(time.monotonic())
            await asyncio.sleep(pause)
    return acknowledged


async def _read(url: str, ended: asyncio.Event, writes: int, *, coherence: bool) -> tuple[list[float], int]:
    """When each number was last read; how many reads there were."""
    last = [0.0] * (writes + 1)
    reads = number = 0
    async with _cache(url, coherence=coherence) as cache:
        while not (ended.is_set() and number == writes):
            number = await cache.get("number", 0)
            last[number] = time.monotonic()
            reads += 1
            await asyncio.sleep(0)
    return _at_least(last), reads


async def _listen(url: str, ended: asyncio.Event, writes: int) -> tuple[list[float], int]:
    """As ``_read``, of what is published."""
    last = [0.0] * (writes + 1)
    reads = number = 0

    async def hear() -> None:
        nonlocal number
        async for message in channel.listen():
            number = int(message["data"])

    async with Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(_CHANNEL)
        hearing = asyncio.create_task(hear())
        while not (ended.is_set() and number == writes):
            last[number] = time.monotonic()
            reads += 1
            await asyncio.sleep(0)
        hearing.cancel()
        await asyncio.wait([hearing])
    return _at_least(last), reads


def _at_least(last: list[float]) -> list[float]:
    """When each number was last read, if only because no later one was seen."""
    return list(accumulate(last, max))


async def _kill(url: str, ended: asyncio.Event) -> int:
    """Kill the listeners' connections, again and again; how often."""
    kills = 0
    async with Redis.from_url(url) as client:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _KILL_EVERY)
            kills += await client.client_kill_filter(_type="pubsub")
    return kills


def _cache(url: str, *, coherence: bool) -> ToolCache:
    return ToolCache(redis_url=url, files=False, coherence=coherence, op_timeout=5)


def main() -> None:
    """Be the process that writes: print when each number was acknowledged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("writes", type=int)
    parser.add_argument("pause", type=float, help="seconds between two writes")
    parser.add_argument("--plain", action="store_true", help="publish instead")
    options = parser.parse_args()
    write = _publish if options.plain else _write
    sys.stdout.write(json.dumps(asyncio.run(write(options.url, options.writes, options.pause))))


if __name__ == "__main__":
    main()
