"""What the log of this host can answer at once."""

from pathlib import Path
from typing import Any

import pytest
from rig import Rig

from toolcache.cache import Cache
from toolcache.testing import FakeClock


@pytest.fixture
async def cache(clock: FakeClock, tmp_path: Path) -> Any:
    """Files alone, and a memory that keeps nothing."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    yield await rig.open(max_entries=0)
    await rig.aclose()


def files(cache: Cache) -> Any:
    """Counts what it is asked for."""
    assert cache._parts.files is not None
    return cache._parts.files.store


async def test_what_is_in_the_page_cache_is_asked_for_once(cache: Cache) -> None:
    """A hit, a miss and a batch take one glance each, and no read that could wait."""
    await cache.set_many({"a": 1, "b": [2]})
    reads = files(cache).calls["get_many"]
    glances = files(cache).calls["peek"]
    assert [await cache.get("a"), await cache.get("b"), await cache.get("c", "none")] == [1, [2], "none"]
    assert await cache.get_many(["a", "b", "c"]) == {"a": 1, "b": [2]}
    assert files(cache).calls["peek"] == glances + 4
    assert files(cache).calls["get_many"] == reads


async def test_a_store_that_is_watched_is_not_glanced_at(cache: Cache) -> None:
    """While the breaker is anything but closed, reads go the guarded way, or nowhere."""
    await cache.set("a", 1)
    assert cache._parts.files is not None
    cache._parts.files.guard.breaker.force_open()
    glances = files(cache).calls["peek"]
    assert await cache.get("a", "refused") == "refused"
    assert files(cache).calls["peek"] == glances
    cache._parts.files.guard.breaker.reset()
    assert await cache.get("a") == 1


async def test_what_was_cleared_is_gone_at_a_glance(cache: Cache) -> None:
    """Epochs of the namespace and of tags hold, although nothing but the index was asked for them."""
    await cache.set("tagged", 1, tags=["t"])
    await cache.set("plain", 2)
    await cache.invalidate(tags=["t"])
    assert [await cache.get(key, "gone") for key in ("tagged", "plain")] == ["gone", 2]
    await cache.clear()
    assert await cache.get("plain", "gone") == "gone"
