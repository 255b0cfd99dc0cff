"""Credentials that a provider gives: rotated under a running cache, late, wrong, or not at all."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from deployments import RedisCluster
from proxy import FaultProxy
from redis.credentials import CredentialProvider
from servers import RedisServer

from toolcache import Durability, Settings, SettingsError, ToolCache
from toolcache.events import BreakerChanged, RedisAvailable, RedisUnavailable
from toolcache.layer import Layer
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard, Unusable
from toolcache.resilience.renewal import Renewal
from toolcache.stores.redis.credentials import Credentials, CredentialsError
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import FakeClock, Recorder

_OLD, _NEW = "hunter2-of-spring", "hunter2-of-autumn"


class Vault:
    """Gives what it holds, or does what it is told to; counts how often it was asked."""

    def __init__(self, *words: str) -> None:
        self.says: Any = words
        self.asked = 0

    async def get_credentials_async(self) -> Any:
        """Answer."""
        self.asked += 1
        return await self.says() if callable(self.says) else self.says


class Blocking:
    """The same, but it blocks."""

    def __init__(self, *words: str) -> None:
        self.says: Any = words
        self.asked = 0

    def get_credentials(self) -> Any:
        """Answer."""
        self.asked += 1
        assert threading.current_thread() is not threading.main_thread()
        return self.says() if callable(self.says) else self.says


class OfRedis(CredentialProvider):
    """One of redis-py's kind that has no asynchronous method of its own."""

    def get_credentials(self) -> tuple[str]:
        """Answer."""
        assert threading.current_thread() is not threading.main_thread()
        return (_OLD,)


@pytest.fixture
def locked(own_redis: RedisServer) -> RedisServer:
    """A server that wants the old password."""
    own_redis.config(requirepass=_OLD)
    return own_redis


@asynccontextmanager
async def opened(url: str, directory: Path, **options: Any) -> AsyncIterator[tuple[ToolCache, Recorder]]:
    """A cache whose breaker would rest for a minute."""
    chosen = {"op_timeout": 2.0, "recovery_time": ("0.1s", "60s")}
    async with ToolCache(redis_url=url, directory=directory, **{**chosen, **options}) as cache:
        recorder = Recorder()
        cache.subscribe(recorder)
        yield cache, recorder


async def until(holds: Callable[[], bool], *, within: float = 8.0) -> None:
    """Wait until it does."""
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.001)


async def recovered(cache: ToolCache, *, within: float = 8.0) -> None:
    """Wait until writes come to Redis."""
    give_up = time.monotonic() + within
    while await cache.set("probe", 1) is not Durability.REDIS:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("provider", [Vault(_OLD), Vault("default", _OLD), Blocking(_OLD), OfRedis()])
async def test_a_cache_logs_in_with_what_it_is_given(locked: RedisServer, provider: Any) -> None:
    """EC-15: ``credentials=``, by whichever door the cache is opened."""
    for cache in (
        ToolCache(redis_url=locked.url, files=False, credentials=provider),
        ToolCache(Settings(redis_url=locked.url, files=False), credentials=provider),
        ToolCache.from_url(locked.url, files=False, credentials=provider),
        ToolCache.from_env({"REDIS_URL": locked.url}, None, files=False, credentials=provider),
    ):
        async with cache:
            assert await cache.set("key", 1) is Durability.REDIS


def test_what_cannot_be_a_provider_is_refused() -> None:
    """BUG-105: when the cache is opened, with a text that says what would do, and no word of the secret."""
    wrong: list[Any] = [_OLD, (_OLD,), object(), Vault, lambda: (_OLD,)]
    for one in wrong:
        with pytest.raises(SettingsError, match="get_credentials_async") as refused:
            ToolCache(redis_url="redis://h", files=False, credentials=one)
        assert _OLD not in str(refused.value)
    with pytest.raises(SettingsError, match="give one of them"):
        ToolCache(redis_url=f"redis://:{_OLD}@h", files=False, credentials=Vault(_OLD))
    with pytest.raises(SettingsError, match="give one of them"):
        ToolCache(redis_url="redis://h", redis_password=_OLD, files=False, credentials=Vault(_OLD))


async def test_a_rotated_password(locked: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F-08: files stand in until the provider gives the new one, which is tried at once although the breaker rests.

    One warning tells of it, one of the end of it, and neither password is in a log line or an event.
    """
    caplog.set_level(logging.DEBUG)
    vault = Vault(_OLD)
    async with opened(locked.url, tmp_path, credentials=vault) as (cache, recorder):
        assert await cache.set("key", 1) is Durability.REDIS
        locked.command("CONFIG", "SET", "requirepass", _NEW, password=_OLD)
        locked.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password=_NEW)
        await asyncio.sleep(0.05)
        for number in range(20):
            assert await cache.set("key", number) is Durability.FILE
            assert await cache.get("key") == number
            await asyncio.sleep(0.01)
        guard = cache._parts.redis.guard  # type: ignore[union-attr]  # configured
        refused = guard.breaker.stats()
        assert (refused.reason, refused.failures) == ("access denied", 1)
        assert refused.retry_after is not None
        assert refused.retry_after > 40
        vault.says = (_NEW,)
        await recovered(cache)
        await until(lambda: cache._machine.journal.pending == 0)
        assert (await cache.health()).status == "ok"
    states = [event.after for event in recorder.of(BreakerChanged) if event.name == "redis.conn"]
    assert states == ["open", "half_open", "closed"]
    assert [event.reason for event in recorder.of(RedisUnavailable)] == ["access denied"]
    assert len(recorder.of(RedisAvailable)) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["access denied" in text for text in warnings if "-> closed" not in text] == [True], warnings
    assert "hunter2" not in caplog.text + repr(recorder.events)


async def _raises() -> Any:
    raise ValueError(f"no token for {_OLD}")


async def _cancels() -> Any:
    raise asyncio.CancelledError(_OLD)


async def _hangs() -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "said",
    [None, _OLD, _OLD.encode(), (), ("",), ("app", _OLD, "x"), (_OLD, 7), ("\ud800" + _OLD,), {_OLD: _OLD}],
    ids=lambda said: ascii(said)[:12],
)
async def test_what_is_no_password(said: Any) -> None:
    """EC-15: a provider that returns anything else than one or two texts is told so, without them."""
    vault = Vault()
    vault.says = said
    with pytest.raises(CredentialsError, match="returned no tuple") as refused:
        await Credentials(vault, timeout=5).give()
    assert "hunter2" not in repr(refused.value)
    assert not await Credentials(vault, timeout=5).changed()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (_raises, "raised ValueError"),
        (_cancels, "raised CancelledError"),
        (_hangs, "has not answered yet"),
        (_OLD, "returned no tuple"),
    ],
)
async def test_a_provider_that_fails(
    locked: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, says: Any, told: str
) -> None:
    """EC-15: the cache goes on without Redis, says why once and no secret, and logs in when the provider is well."""
    caplog.set_level(logging.DEBUG)
    vault = Vault()
    vault.says = says
    timeouts = {"op_timeout": 0.1, "connect_timeout": 0.5, "failure_threshold": 2} if says is _hangs else {}
    async with opened(locked.url, tmp_path, credentials=vault, **timeouts) as (cache, recorder):
        for number in range(3):
            assert await cache.set("key", number) is Durability.FILE
        (unavailable,) = recorder.of(RedisUnavailable)
        assert told in unavailable.reason
        assert "credentials" in str(unavailable).partition(";")[2]
        vault.says = (_OLD,)
        await recovered(cache)
    assert "hunter2" not in caplog.text + repr(recorder.events)


async def test_a_provider_that_blocks_for_ever_has_one_thread() -> None:
    """EC-15: who waits leaves after a while; further questions wait for the same answer."""
    let_go = threading.Event()
    provider = Blocking()

    def hang() -> tuple[str]:
        let_go.wait(30)
        return (_OLD,)

    provider.says = hang
    credentials = Credentials(provider, timeout=0.1)
    for _ in range(3):
        with pytest.raises(CredentialsError, match=r"did not answer within 0\.09 s"):
            await credentials.give()
        assert not await credentials.changed()
    assert (provider.asked, credentials.asking) == (1, 0)
    let_go.set()
    while not await credentials.changed():  # noqa: ASYNC110 - the thread is asked
        await asyncio.sleep(0.01)
    provider.says = (_NEW,)
    assert await credentials.give() == (_NEW,)


async def test_a_caller_that_leaves_is_no_failure_of_the_provider() -> None:
    """EC-15: a cancellation from outside passes through."""
    vault = Vault()
    vault.says = _hangs
    waiting = asyncio.create_task(Credentials(vault, timeout=30).give())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


class TestRenewal:
    @pytest.fixture
    def guard(self, clock: FakeClock) -> Guard:
        def breaker() -> CircuitBreaker:
            return CircuitBreaker(failure_threshold=1, recovery_time=60, jitter=0, clock=clock)

        return Guard(breaker=breaker(), write_breaker=breaker(), timeout=5.0, clock=clock)

    @pytest.fixture
    def trip(self, guard: Guard) -> Callable[[Exception], Any]:
        async def trip(fault: Exception) -> None:
            async def operation() -> None:
                raise fault

            with pytest.raises(Unusable):
                await guard.run(operation, mutation=False, name="get")

        return trip

    async def test_it_asks_now_and_then(self, guard: Guard, trip: Callable[[Exception], Any], clock: FakeClock) -> None:
        """F-08: at most once a second; the breaker stays open for the same credentials, and not for others."""
        asked = []

        async def renewed() -> bool:
            asked.append(clock.monotonic())
            return len(asked) == 3

        renewal = Renewal(guard, renewed, clock)
        await trip(CredentialsTestError())
        assert guard.denied
        for second in range(3):
            assert guard.refuses()
            for _ in range(10):
                renewal.look()
                await asyncio.sleep(0)
            assert len(asked) == second + 1
            clock.advance(1)
        assert not guard.refuses()
        await renewal.aclose()

    async def test_a_server_that_is_away_is_no_reason(
        self, guard: Guard, trip: Callable[[Exception], Any], clock: FakeClock
    ) -> None:
        """F-08: a breaker that is open for another reason leaves the provider in peace."""

        async def renewed() -> bool:
            raise AssertionError

        renewal = Renewal(guard, renewed, clock)
        await trip(ConnectionRefusedError())
        assert guard.refuses()
        assert not guard.denied
        renewal.look()
        await asyncio.sleep(0)
        assert guard.refuses()

    async def test_closing_does_not_wait_for_an_answer(
        self, guard: Guard, trip: Callable[[Exception], Any], clock: FakeClock
    ) -> None:
        """F-08: a provider that hangs does not hold up the end."""

        async def renewed() -> bool:
            await asyncio.Event().wait()
            return True

        renewal = Renewal(guard, renewed, clock)
        await trip(CredentialsTestError())
        renewal.look()
        await asyncio.sleep(0)
        await renewal.aclose()
        assert guard.refuses()


class CredentialsTestError(Exception):
    """Denied access, as the guard knows it."""


CredentialsTestError.__module__ = "redis.exceptions"
CredentialsTestError.__name__ = "AuthenticationError"


async def test_the_same_credentials_are_not_tried_again(own_redis: RedisServer, clock: FakeClock) -> None:
    """EC-08: refused ones cost one connection however often the provider repeats them."""
    own_redis.config(requirepass=_NEW)
    vault = Vault(_OLD)
    async with FaultProxy(own_redis.port) as proxy:
        store = RedisStore(proxy.url, op_timeout=5.0, credentials=vault)
        layer = Layer(store, Guard(breaker=CircuitBreaker(clock=clock), timeout=5.0, clock=clock), clock=clock)
        for asked in range(1, 5):
            assert await layer.read(["key"]) is None
            await until(lambda: vault.asked >= asked)  # noqa: B023 - called within the round
            clock.advance(1)
        assert proxy.accepted == 1
        vault.says = (_NEW,)
        assert await layer.read(["key"]) is None
        await until(lambda: not layer.guard.refuses())
        assert await layer.read(["key"]) == [None]
        assert proxy.accepted == 2
        await layer.aclose()


async def test_the_nodes_of_a_cluster(tmp_path: Path) -> None:
    """EC-15: each node is logged in to with what the provider gives."""
    vault = Vault(_OLD)
    with RedisCluster("--requirepass", _OLD, "--masterauth", _OLD, password=_OLD) as cluster:
        async with opened(cluster.url, tmp_path, credentials=vault) as (cache, _):
            assert set(await cache.set_many({f"k{n}": n for n in range(20)})) == {f"k{n}" for n in range(20)}
            assert await cache.set("key", 1) is Durability.REDIS
            assert vault.asked >= 3
