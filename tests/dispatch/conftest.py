"""Caches over every layering, with a clock to move; a slow machine is no fault."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rig import LAYERINGS, Rig, SteadyClock

from toolcache import ToolCache
from toolcache.cache import Cache


@pytest.fixture
def clock() -> SteadyClock:
    """Begins at the present, as the server's."""
    return SteadyClock(time.time())


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
async def rig(layering: str, clock: SteadyClock, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Makes caches of the layering."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    rig = Rig(layering, clock, tmp_path / "files", server)
    yield rig
    await rig.aclose()


@pytest.fixture
async def cache(rig: Rig) -> Cache:
    """A cache of the layering."""
    return await rig.open()


@pytest.fixture
async def host(clock: SteadyClock, tmp_path: Path) -> AsyncIterator[Rig]:
    """Makes caches over the files of one host, whose leases go by the test's clock."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    yield rig
    await rig.aclose()


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
