"""Fixtures of caches over every layering; a conftest imports those that its tests need, and may have others in their place."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import LAYERINGS, Rig, SteadyClock

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
