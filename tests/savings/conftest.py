"""Caches whose clock the test moves, of every layering or of memory alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from rig import SteadyClock
from rigged import clock, host, layering, rig

from toolcache import ToolCache

__all__ = ["clock", "host", "layering", "rig"]


@pytest.fixture
async def tools(clock: SteadyClock, request: pytest.FixtureRequest) -> AsyncIterator[ToolCache]:
    """A cache of memory alone, with the options that the test gives."""
    options: dict[str, Any] = getattr(request, "param", {})
    async with ToolCache(files=False, clock=clock, **options) as cache:
        yield cache
