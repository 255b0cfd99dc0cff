"""Caches over every layering that share their stores, as processes would, with a clock to move."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from rig import LAYERINGS, SteadyClock

from toolcache import ToolCache

BOTH: Final = pytest.mark.parametrize("layering", ["memory", "memory+redis+file"], indirect=True)
"""For what is so whatever the layers, as far as there are any."""
MEMORY: Final = pytest.mark.parametrize("layering", ["memory"], indirect=True)
"""For what no layer has to do with."""

Open: TypeAlias = Callable[..., ToolCache]


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
    """Opens caches of the layering that share its stores."""
    url = request.getfixturevalue("redis_server").url if "redis" in layering else None
    told: dict[str, Any] = {
        "clock": clock,
        "redis_url": url,
        "directory": tmp_path / "files",
        "files": "file" in layering,
        "op_timeout": 10,
        "file_timeout": 20,
    }
    async with AsyncExitStack() as stack:
        opened: list[ToolCache] = []

        def open_one(**options: Any) -> ToolCache:
            cache = ToolCache(**(told | options))
            opened.append(cache)
            stack.push_async_callback(cache.aclose)
            return cache

        yield open_one


async def written(cache: ToolCache) -> None:
    """Wait until what was computed is in the layers: a clock that is set on meanwhile would have it come too late."""
    while tasks := cache._machine.homes.here()._tasks:
        await asyncio.wait(tasks)


@pytest.fixture
def cache(open_cache: Open) -> ToolCache:
    """A cache of the layering."""
    return open_cache()
