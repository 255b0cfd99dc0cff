"""Caches over every layering, with a clock to move; a slow machine is no fault."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rig import LAYERINGS, Rig, SteadyClock

from toolcache.cache import Cache


class PatientRig(Rig):
    """A rig whose deadlines no machine misses, since these tests are about other things."""

    async def open(self, **options: Any) -> Cache:
        """A cache, closed at the end of the test."""
        cache = await super().open(**options)
        for layer in (cache._parts.redis, cache._parts.files):
            if layer is not None:
                layer.guard.timeout = 60.0
        return cache


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
async def rig(layering: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Makes caches of the layering."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    rig = PatientRig(layering, SteadyClock(time.time()), tmp_path / "files", server)
    yield rig
    await rig.aclose()


@pytest.fixture
async def cache(rig: Rig) -> Cache:
    """A cache of the layering."""
    return await rig.open()
