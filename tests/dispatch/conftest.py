"""Caches over every layering, with a clock to move; a slow machine is no fault."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock
from rigged import cache, clock, host, layering, rig

from toolcache import ToolCache
from toolcache.cache import Cache

__all__ = ["cache", "clock", "host", "layering", "rig"]


@pytest.fixture
async def local(clock: SteadyClock, tmp_path: Path) -> AsyncIterator[Cache]:
    """A cache of memory alone."""
    rig = Rig("memory", clock, tmp_path / "files", None)
    yield await rig.open()
    await rig.aclose()


@pytest.fixture
def options(layering: str, clock: SteadyClock, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``ToolCache`` is told for the layering."""
    url = request.getfixturevalue("redis_server").url if "redis" in layering else None
    return {
        "clock": clock,
        "redis_url": url,
        "directory": tmp_path / "files",
        "files": "file" in layering,
        "op_timeout": 10,
        "file_timeout": 20,
    }


@pytest.fixture
async def tools(options: dict[str, Any]) -> AsyncIterator[ToolCache]:
    """A cache of the layering that knows tasks."""
    async with ToolCache(**options) as cache:
        yield cache
