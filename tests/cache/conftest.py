"""Caches over every layering, with a clock to move and real stores beneath."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock
from rigged import cache, clock, layering, rig
from servers import RedisServer

from toolcache.parts import Parts
from toolcache.testing import FakeClock

__all__ = ["cache", "clock", "layering", "rig"]


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
def counted() -> Callable[..., Any]:
    """Wraps a computation so that ``.runs`` tells how often it ran."""

    def wrap(value: Any) -> Any:
        async def compute() -> Any:
            compute.runs += 1  # type: ignore[attr-defined]  # counted on the function itself
            return value() if callable(value) else value

        compute.runs = 0  # type: ignore[attr-defined]  # counted on the function itself
        return compute

    return wrap
