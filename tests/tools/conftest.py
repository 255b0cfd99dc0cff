"""Caches over every layering."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from rig import LAYERINGS, SteadyClock

from toolcache import ToolCache

Open = Callable[..., Any]


@pytest.fixture
def clock() -> SteadyClock:
    """Begins at the present, as the server's."""
    return SteadyClock(time.time())


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
async def open_cache(
    layering: str, clock: SteadyClock, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Open]:
    """Opens caches of the layering that share their stores."""
    url = request.getfixturevalue("redis_server").url if "redis" in layering else None
    files = {"directory": tmp_path / "files"} if "file" in layering else {"files": False}
    patience = {"op_timeout": 10, "file_timeout": 20}
    async with AsyncExitStack() as stack:

        async def opened(**options: Any) -> ToolCache:
            cache = ToolCache(clock=clock, redis_url=url, **{**files, **patience, **options})
            return await stack.enter_async_context(cache)

        yield opened


@pytest.fixture
async def cache(open_cache: Open) -> ToolCache:
    """A cache of the layering."""
    opened: ToolCache = await open_cache()
    return opened


@pytest.fixture
async def local(clock: SteadyClock) -> AsyncIterator[ToolCache]:
    """A cache of memory alone."""
    async with ToolCache(clock=clock, files=False) as cache:
        yield cache
