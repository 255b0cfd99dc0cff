"""Caches that share their stores as processes do, with alerts that read counts made by hand."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alerting import Fleet, Open, Watcher
from rig import Rig
from rigged import clock, layering

from toolcache.testing import FakeClock

__all__ = ["clock", "layering"]


@pytest.fixture
async def rig(layering: str, clock: FakeClock, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Makes caches of the layering."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    rig = Rig(layering, clock, tmp_path / "files", server, replays=False)
    yield rig
    await rig.aclose()


@pytest.fixture
def fleet() -> Fleet:
    """What all of them read."""
    return Fleet()


@pytest.fixture
async def opened(rig: Rig, fleet: Fleet) -> Open:
    """Opens processes."""

    async def open_one(**options: Any) -> Watcher:
        return Watcher(await rig.open(**options), fleet)

    return open_one
