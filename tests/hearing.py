"""What a test wants to know of a cache that Redis tells what others write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from toolcache.cache import Cache

Open = Callable[..., Awaitable[Any]]


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for something that comes by itself; fail if it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it is anything at all
            await asyncio.sleep(0.001)


def state(cache: Cache) -> str:
    """How the cache's memory learns what others write."""
    return cache._machine.bus.state


def settled(cache: Cache, key: str) -> bool:
    """Whether memory would answer for the key by itself."""
    return cache._machine._reader.look(key).held is not None


async def fill(cache: Cache, key: str) -> Any:
    """The value, once memory holds it: the echo of an own write may keep a first read out."""
    async with asyncio.timeout(20):
        while True:
            value = await cache.get(key)
            if settled(cache, key):
                return value
            await asyncio.sleep(0.001)


async def aboard(cache: Cache, count: int) -> None:
    """Wait until so many callers wait for the one run that is under way."""
    runs = cache._machine.homes.here().runs
    await until(lambda: [flight.waiters for flight in runs._by_key.values()] == [count])
