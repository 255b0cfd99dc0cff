"""A Redis that cannot be reached: one warning says where, why and what to check, and the cache goes on."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import RedisServer, free_port

from toolcache import ToolCache
from toolcache.events import BreakerChanged, RedisAvailable, RedisUnavailable
from toolcache.testing import Recorder

SECRET = "hunter2"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What an operator is told."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def locked() -> Iterator[RedisServer]:
    """A server that wants a password."""
    with RedisServer("--requirepass", "another") as server:
        yield server


@pytest.fixture(
    params=["unknown host", "connection refused", "no answer", "no such database", "access denied", "no password"]
)
def wrong(request: pytest.FixtureRequest, redis_server: RedisServer, locked: RedisServer) -> tuple[str, str]:
    """A URL, and the cause that is to be told."""
    user = f"app:{SECRET}@"
    return {
        "unknown host": (f"redis://{user}no-such-host.invalid:6379", "unknown host"),
        "connection refused": (f"redis://{user}127.0.0.1:{free_port()}", "connection refused"),
        "no answer": (f"rediss://{user}127.0.0.1:{redis_server.port}", "no answer"),
        "no such database": (f"redis://127.0.0.1:{redis_server.port}/99", "no such database"),
        "access denied": (f"redis://:{SECRET}@127.0.0.1:{locked.port}", "access denied"),
        "no password": (f"redis://127.0.0.1:{locked.port}", "access denied"),
    }[request.param]


@pytest.mark.parametrize("files", [True, False])
async def test_a_wrong_url_is_one_clear_warning(
    wrong: tuple[str, str], files: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """EC-04, EC-08: address, cause and advice, once, and no password; the breaker opens, and health() is degraded."""
    url, cause = wrong
    caplog.set_level(logging.DEBUG, "toolcache")
    recorder = Recorder()
    op_timeout, connect_timeout = (0.3, 2) if cause == "no answer" else (20, 20)  # who answers late says something else
    async with ToolCache(
        redis_url=url, directory=tmp_path, files=files, op_timeout=op_timeout, connect_timeout=connect_timeout
    ) as cache:
        cache.subscribe(recorder)
        for number in range(8):
            await cache.set(f"key{number}", number)
            assert await cache.get(f"key{number}") == number
        health = await cache.health(probe=False)
    assert health.status == "degraded"
    assert health.redis is not None
    assert health.redis.breaker == "open"
    (said,) = warnings(caplog)
    assert cause in said
    assert "; check " in said
    assert url.rpartition("@")[2].removeprefix("redis://").split("/")[0] in said
    assert SECRET not in caplog.text + repr(recorder.events)
    assert len(recorder.of(RedisUnavailable)) == 1
    assert all(event.detail for event in recorder.of(BreakerChanged) if event.after == "open")


async def test_each_outage_is_told_once(own_redis: RedisServer) -> None:
    """EC-04: the first failure after a connection that worked is told again, and so is the connection after it."""
    recorder = Recorder()
    async with ToolCache(
        redis_url=own_redis.url,
        files=False,
        coherence=False,
        op_timeout=10,
        recovery_time=0.001,
        failure_threshold=1,
    ) as cache:
        cache.subscribe(recorder)
        await cache.set("key", 1)
        assert recorder.events == []
        for outage in (1, 2):
            await asyncio.to_thread(own_redis.stop)
            for _ in range(3):
                await cache.set("key", 2)
                await asyncio.sleep(0.01)
            assert [event.reason for event in recorder.of(RedisUnavailable)] == ["connection refused"] * outage
            await asyncio.to_thread(own_redis.start)
            for _ in range(2000):
                if (await cache.set("key", 3)).name == "REDIS":
                    break
                await asyncio.sleep(0.005)
            assert recorder.of(RedisAvailable) == [RedisAvailable(own_redis.url)] * outage
