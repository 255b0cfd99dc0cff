"""Hosts that share a Redis, and what befalls it."""

import asyncio
from pathlib import Path
from typing import Any

from rig import Rig

from toolcache.cache import Cache


def redis(cache: Cache) -> Any:
    """The cache's Redis, to be made to fail."""
    assert cache._parts.redis is not None
    return cache._parts.redis.store


async def elsewhere(rig: Rig, tmp_path: Path) -> Cache:
    """A cache of another host: the same Redis, files of its own."""
    return await rig.open(directory=tmp_path / "elsewhere")


async def replay(rig: Rig, *caches: Cache) -> None:
    """Have caches replay; the clock goes on meanwhile, since they pace themselves by it."""
    running = [asyncio.ensure_future(cache._machine.journal.replay()) for cache in caches]
    while not all(task.done() for task in running):
        rig.clock.advance(0.01)
        await asyncio.sleep(0.001)
    await asyncio.gather(*running)


async def paid(rig: Rig, cache: Cache) -> None:
    """Wait until Redis is owed nothing, by a cache that replays by itself too."""
    while cache._machine.journal.pending:
        await replay(rig, cache)


def out(cache: Cache) -> None:
    """Redis cannot be reached from now on."""
    redis(cache).fail_with(ConnectionResetError)


async def back(rig: Rig, *caches: Cache) -> None:
    """Redis can be reached again, and its breakers may find out."""
    for cache in caches:
        redis(cache).heal()
    rig.clock.advance(61)


def files(cache: Cache) -> Any:
    """The cache's files, to be made to fail."""
    assert cache._parts.files is not None
    return cache._parts.files.store


async def until_told(rig: Rig, *caches: Cache) -> None:
    """Redis can be reached again, and caches have told it all that they know of."""
    await back(rig, *caches)
    await replay(rig, *caches)
    assert [cache._machine.journal.pending for cache in caches] == [0] * len(caches)
