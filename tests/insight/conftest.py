"""Caches over every layering, whose clock the test alone moves."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import LAYERINGS, Rig, SteadyClock

from toolcache.cache import Cache
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
async def rig(layering: str, clock: FakeClock, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Makes caches of the layering."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    rig = Rig(layering, clock, tmp_path / "files", server)
    yield rig
    await rig.aclose()


@pytest.fixture
async def cache(rig: Rig) -> Cache:
    """A cache of the layering."""
    return await rig.open()
