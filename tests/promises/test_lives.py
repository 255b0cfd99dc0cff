"""How long entries live, whoever reads them and however often."""

import pytest
from rig import Rig, far

from toolcache.cache import Cache
from toolcache.entry import MISSING


async def test_reading_lengthens_no_life(rig: Rig, cache: Cache) -> None:
    """BUG-100: an entry of 60 s that is read every 5 s, near and far, one by one and in batches, is gone after 60 s."""
    await cache.set("key", {"a": 1}, ttl=60)
    other = await rig.open() if rig.far else cache
    for _ in range(11):
        rig.clock.advance(5)
        for reader in (cache, other):
            assert await reader.get("key") == {"a": 1}
            assert await reader.get_or_set("key", lambda: "anew", ttl=60) == {"a": 1}
            assert await reader.get_many(["key"]) == {"key": {"a": 1}}
            assert await reader.exists("key")
            assert await reader.get_entry("key") is not None
    assert await other.ttl("key") == pytest.approx(5, abs=0.1)
    rig.clock.advance(5.1)
    for reader in (cache, other):
        assert await reader.get("key", MISSING) is MISSING


@far
async def test_what_comes_from_afar_has_the_rest_of_its_life(rig: Rig, cache: Cache) -> None:
    """BUG-93: 60 s after an entry of 100 s was set, a memory filled with it holds it for 40 s more."""
    await cache.set("key", [1], ttl=100)
    rig.clock.advance(60)
    reader = await rig.open()
    assert await reader.get("key") == [1]
    held = reader._parts.memory.find("key")
    assert held is not None
    assert held.gone_until - rig.clock.monotonic() == pytest.approx(40, abs=0.1)
    assert await reader.ttl("key") == pytest.approx(40, abs=0.1)
    rig.clock.advance(39)
    assert await reader.get("key") == [1]
    rig.clock.advance(1.1)
    assert await reader.get("key", MISSING) is MISSING


async def test_an_overwritten_life_is_over(rig: Rig, cache: Cache) -> None:
    """BUG-92: of an entry set for 10 s, then for 100 s, then for 10 s again, each time the last span counts, everywhere."""
    reader = await rig.open() if rig.far else cache
    for ttl, there_after_20 in ((10, False), (100, True), (10, False)):
        await cache.set("key", ttl, ttl=ttl)
        rig.clock.advance(6)
        await reader._machine._follower.catch_up()
        assert await reader.get("key") == ttl
        rig.clock.advance(14)
        assert await reader.exists("key") is there_after_20
        assert await cache.exists("key") is there_after_20
