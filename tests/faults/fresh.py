"""What a process that has just begun finds, on the host and on another: ``python -m faults.fresh URL DIRECTORY``."""

import asyncio
import json
import sys
import tempfile
import time
from typing import Any

from faults.values import KEYS, number_of

from toolcache.tool_cache import ToolCache

PATIENT: dict[str, Any] = {"op_timeout": 20, "file_timeout": 20}


async def look(url: str, directory: str) -> dict[str, tuple[int | None, float]]:
    """For each key the number of the write that is read, and when it is gone."""
    found: dict[str, tuple[int | None, float]] = {}
    async with ToolCache(redis_url=url, directory=directory, **PATIENT) as cache:
        for key in KEYS:
            entry = await cache.get_entry(key)
            if entry is None:
                found[key] = (None, 0.0)
            else:
                found[key] = (number_of(key, entry.value), min(entry.expires_at, time.time() + entry.ttl))
    return found


def main(url: str, directory: str) -> None:
    """Look as a process of the host, and as one of another host that has nothing but Redis."""
    with tempfile.TemporaryDirectory(prefix="toolcache-fresh-") as nothing:
        here, there = asyncio.run(look(url, directory)), asyncio.run(look(url, nothing))
    sys.stdout.write(json.dumps({"another process": here, "another host": there}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
