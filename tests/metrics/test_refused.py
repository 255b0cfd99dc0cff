"""A Redis whose user may not keep statistics: it does everything else as ever, and is left alone with them for a while."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache.events import StoreFault
from toolcache.groups import Grouped


@pytest.fixture
async def rig(own_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Rig]:
    """Makes caches over a server of the test's own."""
    rig = Rig("memory+redis", SteadyClock(time.time()), tmp_path, own_redis)
    yield rig
    await rig.aclose()


@pytest.mark.parametrize("denied", ["-hset", "-@hash"])
async def test_the_statistics_alone_are_missing(
    rig: Rig, own_redis: RedisServer, denied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BUG-25: no fault is counted or told of, no breaker knows; it is asked again a minute later, and then has all of it."""
    own_redis.command("ACL", "SETUSER", "default", denied)
    cache = await rig.open()
    recorder = cache._machine.recorder
    assert recorder is not None
    store: Any = recorder._shelves["redis"][1]
    asked: list[list[Grouped]] = []
    put_grouped = store.put_grouped

    async def noted(records: list[Grouped]) -> None:
        asked.append(records)
        await put_grouped(records)

    monkeypatch.setattr(store, "put_grouped", noted)
    for n in range(5):
        await cache.set("k", n)
        await recorder.look()
        await recorder.flush()
    layer = cache._parts.redis
    assert layer is not None
    assert len(asked) == 1
    assert (layer.tally.faults, layer.guard.last_fault) == (0, "")
    assert not [event for event in rig.recorder.events if isinstance(event, StoreFault)]
    assert (await cache.health()).status == "ok"
    own_redis.command("ACL", "SETUSER", "default", "+@all")
    await recorder.flush()
    assert len(asked) == 1
    rig.clock.advance(60.0)
    await recorder.flush()
    assert len(asked) > 1
    assert own_redis.command("KEYS", "tc1:s:*")
