"""Processes of their own that lack one value."""

from pathlib import Path

import pytest
from crowds import measure
from servers import RedisServer

_SOONER = 0.7
"""Seconds in which nobody looks who has not been told."""


@pytest.mark.parametrize("layering", ["redis", "files", "redis+files"])
def test_one_process_computes_for_all(layering: str, own_redis: RedisServer, tmp_path: Path) -> None:
    """LK-01, LK-08, BUG-18, BUG-19: two processes with 50 callers each; those who wait are told, and ask a few times at most."""
    found = measure(
        3,
        url=own_redis.url if "redis" in layering else "",
        directory=str(tmp_path / "files") if "files" in layering else "",
        lock_timeout=300,
    )
    assert found["runs"] == [1, 1, 1]
    assert found["most commands of who waits"] <= 8
    assert found["most seconds until it has the value"] < _SOONER


def test_who_is_not_told_looks_now_and_then(own_redis: RedisServer) -> None:
    """BUG-19: where nobody tells, a waiter asks at growing intervals, not without end."""
    found = measure(1, url=own_redis.url, coherence=False, seconds=1.0, lock_timeout=300)
    assert found["runs"] == [1]
    assert found["most commands of who waits"] <= 30  # without growing intervals it would be more than 40
