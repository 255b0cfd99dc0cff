"""ToolCaches over every layering, as programs make them."""

from pathlib import Path
from typing import Any

import pytest

LAYERINGS = ("memory", "memory+file", "memory+redis", "memory+redis+file")


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    """Which layers there are."""
    return str(request.param)


@pytest.fixture
def options(layering: str, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``ToolCache`` is told for the layering; deadlines that a slow machine keeps."""
    url = request.getfixturevalue("own_redis").url if "redis" in layering else None
    return {
        "redis_url": url,
        "directory": tmp_path / "files",
        "files": "file" in layering,
        "op_timeout": 10,
        "file_timeout": 20,
    }
