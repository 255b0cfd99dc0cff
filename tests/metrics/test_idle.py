"""Caches that count nothing write nothing, also beside others of their host that do."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock

from toolcache.cache import Cache
from toolcache.stores.log.shared import Shared


@pytest.fixture(params=["memory+file", "memory+redis+file"])
async def rig(clock: SteadyClock, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Makes caches over files, that replay when they are told to."""
    server = request.getfixturevalue("redis_server") if "redis" in request.param else None
    rig = Rig(request.param, clock, tmp_path, server, replays=False)
    yield rig
    await rig.aclose()


async def apart(rig: Rig) -> tuple[Cache, Any]:
    """A cache whose log is another process's, as far as it can tell, and its store."""
    cache = await rig.open()
    store: Any = cache._parts.files.store if cache._parts.files else None
    log = store._store
    log._shared = Shared(log._root, log._clock, log._hybrid, log._ops)
    log._shared.users = 1
    log._shared.log.posts.append(log._post)
    return cache, store


async def test_hearing_of_another_is_nothing_to_write_down(rig: Rig, clock: SteadyClock) -> None:
    """What each writes the other hears; to hear is not to be used, or two would keep one another writing for ever."""
    caches = [await apart(rig), await apart(rig)]
    for cache, _ in caches:
        await cache.set("k", 1)
    written: list[int] = []
    for _ in range(8):
        for cache, _ in caches:
            await cache._machine.journal.replay()
            await cache._machine._follower.catch_up()
            assert cache._machine.recorder is not None
            await cache._machine.recorder.look()
            await cache._machine.recorder.flush()
        written.append(sum(store.calls["put_grouped"] for _, store in caches))
        clock.advance(1.0)
    assert written[0] == 2
    assert written[-1] == written[4]
