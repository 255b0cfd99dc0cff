"""Exports or imports a cache over files, and may die by SIGKILL in the middle: a program for ``test_backup_kill``.

python move_and_die.py export|import|fill|check DIRECTORY FILE ENTRIES DIE_AFTER
"""

import asyncio
import json
import os
import random
import resource
import signal
import sys
from typing import Any

from toolcache import ToolCache
from toolcache.transfer import Transfer

SIZE = 20_000


def value(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def most_memory() -> float:
    """Megabytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


async def main(what: str, directory: str, path: str, entries: int, die_after: int) -> None:
    def tell(step: Transfer) -> None:
        if die_after and step.entries - step.resumed >= die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    async with ToolCache(directory=directory, max_entries=10) as cache:
        await cache.get("anything")
        before = most_memory()
        if what == "fill":
            for at in range(0, entries, 100):
                await cache.set_many({f"k{number}": value(number) for number in range(at, at + 100)}, tags=["all"])
            sys.stdout.write("{}")
        elif what == "check":
            right = sum([await cache.get(f"k{number}") == value(number) for number in range(entries)])
            sys.stdout.write(json.dumps({"right": right}))
        else:
            move = cache.export if what == "export" else cache.import_
            report = await move(path, on_progress=tell)
            told: dict[str, Any] = {
                "entries": report.entries,
                "resumed": report.resumed,
                "skipped": dict(report.skipped),
            }
            told["grown"] = round(most_memory() - before)
            sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    what, directory, path, entries, die_after = sys.argv[1:]
    asyncio.run(main(what, directory, path, int(entries), int(die_after)))
