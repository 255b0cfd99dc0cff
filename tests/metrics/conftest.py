"""Caches over each layering, by a clock that the tests move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import LAYERINGS, Rig, SteadyClock
from servers import RedisServer


@pytest.fixture
def clock() -> SteadyClock:
    """Begins at the full hour, 10 s before which the tests would have little to tell."""
    return SteadyClock(1_800_000_000.0)


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
async def fleet(clock: SteadyClock, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Rig]:
    """Makes caches over Redis and files, with a server to mistreat."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", own_redis)
    yield rig
    await rig.aclose()
