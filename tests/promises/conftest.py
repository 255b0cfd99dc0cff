"""Caches over every layering, with a clock to move; a slow machine is no fault."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import LAYERINGS, Rig, SteadyClock

from toolcache.cache import Cache


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
async def rig(layering: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Makes caches of the layering."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    rig = Rig(layering, SteadyClock(time.time()), tmp_path / "files", server)
    yield rig
    await rig.aclose()


@pytest.fixture
async def cache(rig: Rig) -> Cache:
    """A cache of the layering."""
    return await rig.open()
