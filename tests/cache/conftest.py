"""Caches over every layering, with a clock to move and real stores beneath."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from rig import LAYERINGS, Rig, SteadyClock
from servers import RedisServer

from toolcache.cache import Cache
from toolcache.parts import Parts
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
async def hosts(clock: SteadyClock, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Rig]:
    """Makes caches over Redis and files that replay when they are told to, with a server to mistreat."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", own_redis, replays=False)
    yield rig
    await rig.aclose()


@pytest.fixture
def rig_parts(layering: str, clock: FakeClock, tmp_path: Path, request: pytest.FixtureRequest) -> Parts:
    """The parts of a cache, for tests that bring their own event loops."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    return Rig(layering, clock, tmp_path / "files", server).parts()


@pytest.fixture
async def cache(rig: Rig) -> Cache:
    """A cache of the layering."""
    return await rig.open()


@pytest.fixture
def counted() -> Callable[..., Any]:
    """Wraps a computation so that ``.runs`` tells how often it ran."""

    def wrap(value: Any) -> Any:
        async def compute() -> Any:
            compute.runs += 1  # type: ignore[attr-defined]  # counted on the function itself
            return value() if callable(value) else value

        compute.runs = 0  # type: ignore[attr-defined]  # counted on the function itself
        return compute

    return wrap
