"""Caches that hear one another, as processes do."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hearing import Open, state, until
from servers import RedisServer

from toolcache import ToolCache


@pytest.fixture(params=["redis", "files", "redis+files"])
def between(request: pytest.FixtureRequest) -> str:
    """By what caches hear one another."""
    return str(request.param)


@pytest.fixture
async def hearing(between: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Opens caches that hear one another from then on."""
    options: dict[str, Any] = {"files": "files" in between, "directory": tmp_path / "files"}
    if "redis" in between:
        server: RedisServer = request.getfixturevalue("redis_server")
        options["redis_url"] = server.url
    opened: list[ToolCache] = []

    async def open_one(**more: Any) -> ToolCache:
        cache = ToolCache(**options | {"op_timeout": 10} | more)
        opened.append(cache)
        await cache.get("warm")
        if "redis" in between:
            await until(lambda: state(cache) == "tracking")
        return cache

    yield open_one
    for cache in opened:
        await cache.aclose()


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    """One by itself."""
    async with ToolCache(files=False) as cache:
        yield cache
