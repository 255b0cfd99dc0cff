"""How long one process serves what another has overwritten.

    PYTHONPATH=.:tests python tests/staleness.py --writes 10000 --kill

A process writes numbers, one after another; this one reads all the time. A number is stale from the moment at which the
write of a later one was acknowledged until the last read that did not see that. All processes of a machine read the
same monotonic clock.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from servers import RedisServer

from toolcache import ToolCache

_KILL_EVERY = 0.5
_TESTS = Path(__file__).parent
_ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{_TESTS.parent}{os.pathsep}{_TESTS}"}


def cache_at(url: str, *, coherence: bool) -> ToolCache:
    """One of the two processes' caches."""
    return ToolCache(redis_url=url, files=False, coherence=coherence, op_timeout=5)


async def write(url: str, writes: int, pause: float) -> list[float]:
    """When each number was acknowledged."""
    acknowledged = []
    async with cache_at(url, coherence=True) as cache:
        for number in range(1, writes + 1):
            await cache.set("number", number)
            acknowledged.append(time.monotonic())
            await asyncio.sleep(pause)
    return acknowledged


async def read(url: str, ended: asyncio.Event, writes: int, *, coherence: bool) -> tuple[list[float], int]:
    """When each number was last read, if only because no later one was seen; how many reads there were."""
    last = [0.0] * (writes + 1)
    reads = 0
    async with cache_at(url, coherence=coherence) as cache:
        number = 0
        while not (ended.is_set() and number == writes):
            number = await cache.get("number", 0)
            last[number] = time.monotonic()
            reads += 1
            await asyncio.sleep(0)
    for number in range(1, writes + 1):
        last[number] = max(last[number], last[number - 1])
    return last, reads


async def kill(server: RedisServer, ended: asyncio.Event) -> int:
    """Kill the listeners' connections, again and again; how often."""
    kills = 0
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _KILL_EVERY)
        kills += await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "pubsub")
    return kills


async def measure(writes: int, pause: float, *, killing: bool = False, coherence: bool = True) -> dict[str, Any]:
    """Seconds of staleness: p50, p99, max; and what happened meanwhile."""
    ended = asyncio.Event()
    with RedisServer() as server:
        reading = asyncio.create_task(read(server.url, ended, writes, coherence=coherence))
        killed = asyncio.create_task(kill(server, ended)) if killing else None
        words = [sys.executable, __file__, "--write", server.url, "--writes", str(writes), "--pause", str(pause)]
        writer = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, env=_ENVIRONMENT)
        out, _ = await writer.communicate()
        ended.set()
        acknowledged = json.loads(out)
        last, reads = await reading
        kills = await killed if killed else 0
    stale = sorted(max(0.0, last[number] - at) for number, at in enumerate(acknowledged))
    return {
        "p50": stale[len(stale) // 2],
        "p99": stale[len(stale) * 99 // 100],
        "max": stale[-1],
        "writes": writes,
        "reads": reads,
        "killed": kills,
    }


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=10_000)
    parser.add_argument("--pause", type=float, default=0.002, help="seconds between two writes")
    parser.add_argument("--kill", action="store_true", help="kill the listeners' connections twice a second")
    parser.add_argument("--timed", action="store_true", help="without tracking: memory asks every 5 s")
    parser.add_argument("--write", metavar="URL", help="be the process that writes")
    options = parser.parse_args()
    if options.write:
        sys.stdout.write(json.dumps(asyncio.run(write(options.write, options.writes, options.pause))))
        return
    found = asyncio.run(measure(options.writes, options.pause, killing=options.kill, coherence=not options.timed))
    times = "  ".join(f"{name} {found[name] * 1000:.2f} ms" for name in ("p50", "p99", "max"))
    sys.stdout.write(
        f"stale: {times}  ({found['writes']:,} writes, {found['reads']:,} reads, {found['killed']} killed)\n"
    )


if __name__ == "__main__":
    main()
