"""How a cache begins: without I/O, with dead stores, and with what a process left that did not say goodbye."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from programs import run, start
from servers import RedisServer, free_port

from toolcache import MISSING, Durability, ToolCache
from toolcache.stores.log.store import LogStore


@pytest.fixture(params=["in the way", "of another"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory that no file can be put into, whoever asks, root included."""
    if request.param == "in the way":
        (tmp_path / "file").write_text("not a directory")
        return tmp_path / "file" / "cache"
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    return tmp_path / "open"


def test_a_platform_without_posix_clocks_has_memory(tmp_path: Path) -> None:
    """LC-11: where the module ``time`` has none of them, as on Windows, and there are no locks for files, memory works."""
    out, _ = run(
        """
        import sys, time
        for name in [name for name in dir(time) if name.startswith("CLOCK_")]:
            delattr(time, name)
        del time.clock_gettime
        sys.modules["fcntl"] = None
        import asyncio
        from toolcache import ToolCache
        async def main():
            async with ToolCache(files=False) as cache:
                await cache.set("key", 1, ttl=60)
                print(await cache.get("key"), 59 < await cache.ttl("key") <= 60)
        asyncio.run(main())
        """
    )
    assert out == "1 True\n"


def test_making_a_cache_touches_nothing(unusable: Path) -> None:
    """LC-11, BUG-105: no file, socket, name look-up, thread or process, with every store configured and none usable."""
    out, err = run(
        """
        import json, sys, threading
        import toolcache.stores.redis.store, toolcache.stores.log.store
        from toolcache import ToolCache
        ToolCache(redis_url="redis://127.0.0.1:1", directory="/tmp/never-made")  # whatever is imported once, is
        touched = []
        def watch(event, args):
            if event.split(".")[0] in {"open", "socket", "os", "subprocess", "shutil"} and event != "os.putenv":
                touched.append([event, str(args)])
        sys.addaudithook(watch)
        before = threading.active_count()
        cache = ToolCache(redis_url=sys.argv[1], directory=sys.argv[2], mirror=["catalog"], strict=True)
        repr(cache), cache.stats(), cache.closed
        made = [touched[:], threading.active_count() - before]
        print(json.dumps(made))
        """,
        f"redis://user:hunter2@localhost:{free_port()}",
        unusable,
    )
    assert json.loads(out) == [[], 0]
    assert err == ""


async def test_health_tells_of_stores_that_are_dead_from_the_start(unusable: Path) -> None:
    """LC-11: every call works on memory; health() names both layers, and says no password."""
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}"
    async with ToolCache(redis_url=url, directory=unusable) as cache:
        quiet = await cache.health(probe=False)
        assert quiet.redis is not None
        assert quiet.redis.usable is None
        assert await cache.get_or_set("key", lambda: [1]) == [1]
        assert await cache.get("key") == [1]
        assert await cache.get("absent", MISSING) is MISSING
        health = await cache.health()
        assert health.status == "degraded"
        for layer in (health.redis, health.files):
            assert layer is not None
            assert layer.usable is False or layer.breaker != "closed"
            assert layer.last_fault
        assert "hunter2" not in repr(health) + repr(cache)


async def test_a_store_that_comes_up_later_is_used(tmp_path: Path) -> None:
    """LC-11, BUG-105: Redis starts after the cache did; the cache takes it into use without being told."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    async with ToolCache(redis_url=url, directory=tmp_path, recovery_time=0.01, op_timeout=10) as cache:
        assert (await cache.set("key", 1)).name == "FILE"
        with await asyncio.to_thread(RedisServer, port=port) as server:
            for _ in range(2000):
                if (await cache.set("key", 2)).name == "REDIS":
                    break
                await asyncio.sleep(0.01)
            else:
                pytest.fail("Redis is not taken into use")
            async with ToolCache(redis_url=url, files=False, op_timeout=10) as other:
                assert await other.get("key") == 2
            assert (await cache.health()).status == "ok"
            await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("end", ["falls off the end", "os._exit", "SIGKILL"])
async def test_a_process_that_ends_in_an_outage_without_closing(tmp_path: Path, end: str) -> None:
    """LC-13, G2: whatever was acknowledged with FILE while Redis was away is found by the next start, deletes too."""
    url = f"redis://127.0.0.1:{free_port()}"
    code = """
        import asyncio, json, os, sys, warnings
        from toolcache import ToolCache
        warnings.simplefilter("ignore", ResourceWarning)
        url, directory, end = sys.argv[1:]
        cache = ToolCache(redis_url=url, directory=directory, file_timeout=30)
        async def main():
            kept = await cache.set_many({f"many{n}": [n] for n in range(100)})
            for n in range(20):
                kept[f"one{n}"] = await cache.set(f"one{n}", {"n": n}, ttl=None)
            await cache.set_many({"deleted": 1, "changed": 1})
            await cache.delete("deleted")
            await cache.set("changed", 2)
            print(json.dumps([{key: kept.name for key, kept in kept.items()}]), flush=True)
            if end != "falls off the end":
                os._exit(3) if end == "os._exit" else sys.stdin.read()
        asyncio.run(main())
    """
    with start(code, url, tmp_path / "files", end) as program:
        assert program.stdout is not None
        line = await asyncio.to_thread(program.stdout.readline)
        if end == "SIGKILL":
            program.kill()
        try:
            _, err = await asyncio.to_thread(program.communicate, None, 40)
        except BaseException:
            program.kill()
            raise
    assert "Traceback" not in err
    (acknowledged,) = json.loads(line)
    assert set(acknowledged.values()) == {"FILE"}
    async with ToolCache(redis_url=url, directory=tmp_path / "files", file_timeout=30) as cache:
        found: dict[str, Any] = await cache.get_many([*acknowledged, "deleted", "changed"])
        expected = {f"many{n}": [n] for n in range(100)} | {f"one{n}": {"n": n} for n in range(20)} | {"changed": 2}
        assert found == expected


async def test_a_process_that_ended_in_an_outage_and_redis_back(tmp_path: Path, own_redis: RedisServer) -> None:
    """LC-13, G3: the next start, with Redis back and holding what was before the outage, goes by what was acknowledged."""
    options: dict[str, Any] = {"redis_url": own_redis.url, "directory": tmp_path / "files", "op_timeout": 10}
    async with ToolCache(**options) as before:
        await before.set_many({"deleted": "old", "changed": "old", "same": "old"})
    code = """
        import asyncio, os, sys
        from toolcache import ToolCache
        async def main():
            cache = ToolCache(redis_url=sys.argv[1], directory=sys.argv[2], file_timeout=30, op_timeout=0.3)
            await cache.set("changed", "new")
            await cache.delete("deleted")
            os._exit(0)
        asyncio.run(main())
    """
    with own_redis.frozen():
        await asyncio.to_thread(run, code, own_redis.url, tmp_path / "files")
    async with ToolCache(**options) as cache:
        assert await cache.get_many(["deleted", "changed", "same"]) == {"changed": "new", "same": "old"}


@pytest.mark.parametrize("seconds", [0.5, 60.0])
async def test_a_log_that_is_slow_to_open_is_not_held_against_redis(
    own_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Reads wait for the index up to ``file_timeout``, then Redis answers; what it takes is safe there."""

    async def slow(store: LogStore) -> None:
        await asyncio.sleep(seconds)
        await opened(store)

    opened = LogStore.open
    async with ToolCache(redis_url=own_redis.url, files=False) as other:
        for key in ("read", "deleted"):
            await other.set(key, "value")
    monkeypatch.setattr(LogStore, "open", slow)
    options: dict[str, Any] = {"redis_url": own_redis.url, "op_timeout": 0.3, "file_timeout": 1.0}
    for call in ("get", "delete", "set"):
        async with ToolCache(**options, directory=tmp_path / call) as cache:
            begun = time.monotonic()
            if call == "get":
                assert await cache.get("read") == "value"
            elif call == "delete":
                assert await cache.delete("deleted")
            else:
                assert await cache.set("set", "value") is Durability.REDIS
            assert time.monotonic() - begun < 1.0 + 0.3 + 0.3
