"""What it takes that several processes, each with many callers, compute a cold key once.

    PYTHONPATH=.:tests python tests/crowds.py --rounds 50

Processes of their own get the name of a key at the same moment. Each has its callers ask for it, and tells how often it
computed, how many commands it sent to Redis until all had the value, and when that was. The one that computed is told apart
from those that waited; of these, the time from the end of the computation until all their callers had the value counts.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from typing import Any

from hearing import state, until
from programs import start
from servers import RedisServer

_CHILD = "import sys, asyncio, crowds; asyncio.run(crowds.serve(*sys.argv[1:]))"


async def serve(url: str, directory: str, callers: str, seconds: str, options: str = "{}") -> None:
    """One of the processes: a line of stdin names a key, a line of stdout says how it went."""
    from toolcache import ToolCache
    from toolcache.stores.redis.connection import Connection

    sent = runs = 0
    ended_at = 0.0
    call = Connection.call

    def counted(self: Connection, command: bytes, replies: int = 1) -> asyncio.Future[list[Any]]:
        nonlocal sent
        sent += replies
        return call(self, command, replies)

    setattr(Connection, "call", counted)  # noqa: B010 - a checker would not let it be assigned

    async def compute() -> str:
        nonlocal runs, ended_at
        runs += 1
        await asyncio.sleep(float(seconds))
        ended_at = time.monotonic()
        return "x" * 100

    places: dict[str, Any] = {"redis_url": url or None, "directory": directory or None, "files": bool(directory)}
    told = {
        "op_timeout": 5,
        "file_timeout": 10,
        "metrics": False,
        **json.loads(options),
    }  # whose writes are counted apart
    async with ToolCache(**places, **told) as cache:
        await cache.get("warm")
        if json.loads(options).get("coherence", True) and url:
            await until(lambda: state(cache) == "tracking")
        _say("ready")
        while key := (await asyncio.to_thread(sys.stdin.readline)).strip():
            sent = runs = 0
            ended_at = 0.0
            values = await asyncio.gather(*(cache.get_or_set(key, compute) for _ in range(int(callers))))
            done_at = time.monotonic()
            assert set(values) == {"x" * 100}
            told = {"runs": runs, "sent": sent, "ended_at": ended_at, "done_at": done_at}
            await asyncio.sleep(0.05)  # what is done behind the callers' backs
            _say(json.dumps({**told, "behind": sent - told["sent"]}))


def measure(
    rounds: int,
    *,
    url: str = "",
    directory: str = "",
    processes: int = 2,
    callers: int = 50,
    seconds: float = 0.3,
    **options: Any,
) -> dict[str, Any]:
    """Computations for each key; commands of whoever computed and of those who waited; seconds until those had the value."""
    children = [start(_CHILD, url, directory, callers, seconds, json.dumps(options)) for _ in range(processes)]
    runs: list[int] = []
    computing: list[int] = []
    waiting: list[int] = []
    late: list[float] = []
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.communicate()[1]
        for number in range(rounds):
            for child in children:
                assert child.stdin is not None
                child.stdin.write(f"key-{number}\n")
                child.stdin.flush()
            told = [json.loads(child.stdout.readline()) for child in children if child.stdout is not None]
            runs.append(sum(one["runs"] for one in told))
            ended_at = max(one["ended_at"] for one in told)
            for one in told:
                (computing if one["runs"] else waiting).append(one["sent"] + one["behind"])
                if not one["runs"]:
                    late.append(one["done_at"] - ended_at)
    finally:
        for child in children:
            child.communicate()
    return {
        "runs": runs,
        "commands of who computes": statistics.mean(computing),
        "commands of who waits": statistics.mean(waiting),
        "most commands of who waits": max(waiting),
        "median seconds until it has the value": statistics.median(late),
        "most seconds until it has the value": max(late),
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=0.3)
    asked = vars(parser.parse_args())
    with RedisServer() as server, tempfile.TemporaryDirectory() as directory:
        layerings: dict[str, dict[str, Any]] = {
            "Redis, listening": {"url": server.url},
            "Redis, not listening": {"url": server.url, "namespace": "timed", "coherence": False},
            "Redis and files": {"url": server.url, "namespace": "both", "directory": directory + "/both"},
            "files": {"directory": directory + "/files"},
        }
        for name, places in layerings.items():
            found = measure(**asked, **places)
            found["runs"] = f"{sum(found['runs'])} for {len(found['runs'])} keys"
            _say(f"{name}: {json.dumps(found, indent=2)}")


if __name__ == "__main__":
    main()
