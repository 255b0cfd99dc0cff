"""Caches whose clock the test moves, of every layering or of memory alone."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rig import LAYERINGS, Rig, SteadyClock

from toolcache import ToolCache


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
async def host(clock: SteadyClock, tmp_path: Path) -> AsyncIterator[Rig]:
    """Makes caches over the files of one host, whose leases go by the test's clock."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    yield rig
    await rig.aclose()


@pytest.fixture
async def tools(clock: SteadyClock, request: pytest.FixtureRequest) -> AsyncIterator[ToolCache]:
    """A cache of memory alone, with the options that the test gives."""
    options: dict[str, Any] = getattr(request, "param", {})
    async with ToolCache(files=False, clock=clock, **options) as cache:
        yield cache
