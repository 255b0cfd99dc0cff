"""What a call has waited for Redis is not taken off the time that files have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache.cache import Cache
from toolcache.entry import Durability


@pytest.fixture
async def patient(clock: SteadyClock, tmp_path: Path, redis_server: RedisServer) -> Any:
    """A rig whose Redis may take longer than its files may."""
    rig = Rig("memory+redis+file", clock, tmp_path / "files", redis_server, replays=False)
    yield rig
    await rig.aclose()


def gives_up(cache: Cache, clock: SteadyClock) -> None:
    """From now on Redis takes all the time it may, longer than files may, and has not answered then."""
    redis, files = cache._parts.redis, cache._parts.files
    assert redis is not None
    assert files is not None
    redis.guard.timeout = files.guard.timeout * 2

    async def late(*_: object, **__: object) -> Any:
        clock.advance(redis.guard.timeout)
        raise TimeoutError

    for name in ("get_many", "put_many"):
        setattr(redis.store, name, late)


async def test_files_take_what_redis_has_not_taken_in_a_long_time(patient: Rig, clock: SteadyClock) -> None:
    """SPEC 6.3: op_timeout may be longer than file_timeout, and what Redis does not take is on the files all the same."""
    cache = await patient.open()
    gives_up(cache, clock)
    assert await cache.set("first", 1) is Durability.FILE
    again = await patient.open()
    await again.get("warm")
    gives_up(again, clock)
    receipt = await again.invalidate(tags=["colour"])
    assert (receipt.redis, receipt.files) == ("queued", "done")
    assert (await again.clear()).files == "done"


async def test_copies_on_files_answer_when_redis_has_not_in_a_long_time(
    patient: Rig, clock: SteadyClock, counted: Callable[..., Any]
) -> None:
    """B6: a mirrored value is found on the files, however long Redis was waited for."""
    mirror: dict[str, Any] = {"mirror": frozenset({"general"})}
    await (await patient.open(**mirror)).set("key", "kept")
    cache = await patient.open(**mirror)
    gives_up(cache, clock)
    cache._parts.files._peeks = False  # type: ignore[union-attr]  # what is not at hand needs time
    compute = counted("computed")
    assert await cache.get_or_set("key", compute) == "kept"
    assert compute.runs == 0
