"""What every test of the project runs under, and the servers they share."""

import asyncio
import inspect
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings
from servers import RedisServer

from toolcache.testing import FakeClock

# A busy machine is no failure: no example has a deadline.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Where the package may block its loop: file, functions, and why that is right.
_MAY_BLOCK: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("toolcache/versions.py", ("next",)),  # another thread mints a version, for a fraction of a microsecond
    ("toolcache/memory/store.py", ("put",)),  # another thread puts an entry, for a few microseconds
    ("toolcache/sources.py", ("_read_dotenv",)),  # one small file, once, while a cache is being made
    ("toolcache/alerts/toml.py", ("load",)),  # one small file, when alerts are declared
    ("toolcache/schedule.py", ("__init__",)),  # the library for cron and a time zone, once, while a schedule is made
    ("toolcache/stores/redis/wire.py", ("__init__",)),  # the scripts, when their module is imported
    ("toolcache/stores/redis/driver.py", ("<module>",)),  # redis-py's version, when it is imported
)


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail the test in which the package makes a blocking call on the event loop."""
    with blockbuster_ctx("toolcache", excluded_modules=["toolcache.testing"]) as guard:
        for file, functions in _MAY_BLOCK:
            for guarded in guard.functions.values():
                guarded.can_block_in(file, functions)
        yield guard


@pytest.fixture(autouse=True)
def no_task_outlives_its_test(request: pytest.FixtureRequest) -> None:
    """Fail the asynchronous test that leaves a task behind, once all its fixtures are torn down."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_task_is_left")


@pytest.fixture
async def _no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # tasks that are ending may end
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {sorted(task.get_name() for task in left if task)}"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves when the test says so."""
    return FakeClock()


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """The session's server, empty. For tests that neither kill nor reconfigure it."""
    _shared_redis.command("FLUSHALL")
    return _shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, to be killed, frozen and reconfigured."""
    with RedisServer() as server:
        yield server


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority (ca), a server for 127.0.0.1, and a client."""
    at = tmp_path_factory.mktemp("tls")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl(at, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    (at / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        _openssl(at, "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
        _openssl(at, "x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.pem")
    return at
