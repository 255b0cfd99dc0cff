"""Blocking caches, as programs make them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolcache import BlockingToolCache


@pytest.fixture(params=("memory", "memory+file", "memory+redis+file"))
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
def options(layering: str, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a cache is told for the layering; deadlines that a slow machine keeps."""
    return {
        "redis_url": request.getfixturevalue("redis_server").url if "redis" in layering else None,
        "directory": tmp_path / "files",
        "files": "file" in layering,
        "op_timeout": 10,
        "file_timeout": 20,
    }


@pytest.fixture
def cache() -> Iterator[BlockingToolCache]:
    """One in memory alone."""
    with BlockingToolCache(files=False) as made:
        yield made
