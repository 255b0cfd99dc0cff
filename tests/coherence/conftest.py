"""Caches that Redis tells what others write."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hearing import Open, state, until
from servers import RedisServer

from toolcache import ToolCache


@pytest.fixture
async def open_cache(own_redis: RedisServer) -> AsyncIterator[Open]:
    """Opens caches over the test's server; unless told otherwise, they are listening when they are returned."""
    opened: list[ToolCache] = []

    async def open_one(*, listening: bool = True, **options: Any) -> ToolCache:
        chosen: dict[str, Any] = {"redis_url": own_redis.url, "files": False, "op_timeout": 10}
        cache = ToolCache(**chosen | options)
        opened.append(cache)
        await cache.get("warm")
        if listening:
            await until(lambda: state(cache) == "tracking")
        return cache

    yield open_one
    for cache in opened:
        await cache.aclose()
