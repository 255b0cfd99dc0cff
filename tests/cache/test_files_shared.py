"""Files shared by several processes of a host: what one writes, the others see."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, SteadyClock

from toolcache.entry import MISSING

BOUND = 5.0


@pytest.fixture
async def files(clock: SteadyClock, tmp_path: Path) -> Any:
    """Caches over memory and files, on one directory."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    yield rig
    await rig.aclose()


async def until(check: Any) -> None:
    """Wait until ``check()`` holds; it must within a bound far above the 20 ms that it takes."""
    end = time.monotonic() + BOUND
    while not await check():
        assert time.monotonic() < end, "not seen"
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("key", ["plain", "with space", "x" * 300])
async def test_a_hit_in_memory_follows_the_other_writers(files: Rig, key: str) -> None:
    """BUG-28, SPEC 9: a set, a delete and a clear by another cache reach a value that memory held."""
    one, two = await files.open(), await files.open()
    await one.set(key, "first")
    assert await two.get(key) == "first"

    async def sees(value: Any) -> bool:
        return bool(await two.get(key, MISSING) == value)

    await one.set(key, "second")
    await until(lambda: sees("second"))
    await one.delete(key)
    await until(lambda: sees(MISSING))
    await one.set(key, "third")
    await until(lambda: sees("third"))
    await one.clear()
    await until(lambda: sees(MISSING))


async def test_a_miss_sees_at_once_what_another_wrote(files: Rig) -> None:
    """SPEC 9: reading the log follows it first; no waiting on a miss."""
    one, two = await files.open(), await files.open()
    assert await two.get("key", MISSING) is MISSING
    await one.set("key", 1)
    assert await two.get("key") == 1


async def test_own_writes_stay_in_memory(files: Rig) -> None:
    """A cache does not drop from memory what it has just written itself."""
    cache = await files.open()
    await cache.set("key", {"a": 1})
    await cache._machine._follower.catch_up()
    held = cache._parts.memory.find("key")
    assert held is not None
    assert await cache.get("key") == {"a": 1}


async def test_a_write_by_another_detaches_the_flight(files: Rig) -> None:
    """BUG-08: a computation under way when another cache deletes the key is not stored."""
    one, two = await files.open(), await files.open()
    await two.get("key")
    started, gate = asyncio.Event(), asyncio.Event()

    async def compute() -> str:
        started.set()
        await gate.wait()
        return "computed"

    caller = asyncio.create_task(two.get_or_set("key", compute))
    await started.wait()
    files.clock.advance(0.01)
    await one.delete("key")
    gate.set()
    assert await caller == "computed"

    async def gone() -> bool:
        return await two.get("key", MISSING) is MISSING

    await until(gone)
    assert await (await files.open()).get("key", MISSING) is MISSING


async def test_too_many_changes_empty_memory(files: Rig) -> None:
    """What cannot be remembered key by key is forgotten as a whole: never stale."""
    one, two = await files.open(), await files.open()
    await one.set("key", "old")
    assert await two.get("key") == "old"
    store: Any = two._parts.files.store if two._parts.files else None
    store._post._lost = True
    await two._machine._follower.catch_up()
    assert two._parts.memory.find("key") is None
