"""Caches over each layering, by a clock that the tests move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import Rig, SteadyClock
from rigged import layering, rig
from servers import RedisServer

__all__ = ["layering", "rig"]


@pytest.fixture
def clock() -> SteadyClock:
    """Begins at the full hour, 10 s before which the tests would have little to tell."""
    return SteadyClock(1_800_000_000.0)


@pytest.fixture
async def fleet(clock: SteadyClock, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Rig]:
    """Makes caches over Redis and files, with a server to mistreat."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", own_redis)
    yield rig
    await rig.aclose()
