"""Caches that share what they share as processes and hosts do, with a clock to move."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jobs import Open
from rig import LAYERINGS, SteadyClock
from servers import RedisServer

from toolcache import ToolCache
from toolcache.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Begins at the present, as the server's."""
    return SteadyClock(time.time())


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
def places(layering: str, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options that make the layering."""
    server: RedisServer | None = request.getfixturevalue("redis_server") if "redis" in layering else None
    return {
        "redis_url": None if server is None else server.url,
        "files": "file" in layering,
        "directory": tmp_path / "files",
        "op_timeout": 5,
        "file_timeout": 10,
    }


@pytest.fixture
async def open_cache(places: dict[str, Any], clock: FakeClock) -> AsyncIterator[Open]:
    """Opens caches of the layering: each is a process of the host, or with another ``directory`` another host."""
    opened: list[ToolCache] = []

    async def open_one(**options: Any) -> ToolCache:
        cache = ToolCache(**{"clock": clock} | places | options)
        opened.append(cache)
        return cache

    yield open_one
    for cache in opened:
        await cache.aclose()


@pytest.fixture
async def cache(open_cache: Open) -> ToolCache:
    """One of the layering."""
    return await open_cache()


@pytest.fixture
async def other(open_cache: Open, cache: ToolCache, layering: str) -> ToolCache:
    """Who shares the stores with the first; where nothing is shared, the first itself."""
    return cache if layering == "memory" else await open_cache()
