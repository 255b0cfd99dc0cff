"""One test for each public option: each fails if the option is ignored."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hearing import state, until
from servers import RedisServer

from toolcache import MISSING, AgentTask, Durability, Settings, ToolCache
from toolcache.entry import Held
from toolcache.errors import CacheWriteError, ComputeTimeoutError, SettingsError, ValueTooLargeError
from toolcache.events import StrategyFailed
from toolcache.settings import Options
from toolcache.stores.log.ops import FileOps
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import FakeClock

TASK = AgentTask("a", "t")
Open = Callable[..., ToolCache]
_TESTED: set[str] = set()


def proves(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Says which options a test is for."""
    _TESTED.update(names)
    return lambda test: test


@pytest.fixture
async def open_cache(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens caches without Redis, on the test's own directory, unless told otherwise."""
    opened: list[ToolCache] = []

    def open_one(**options: Any) -> ToolCache:
        opened.append(ToolCache(**{"directory": tmp_path / "files", **options}))
        return opened[-1]

    yield open_one
    for cache in opened:
        await cache.aclose()


@pytest.fixture
def nowhere() -> str:
    """The URL of a Redis that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"redis://127.0.0.1:{closed.getsockname()[1]}"


def test_no_option_is_without_a_test() -> None:
    """BUG-106: every option of the cache is named by one of the tests of this file."""
    assert set(Options.__annotations__) == _TESTED


# -- whose entries -------------------------------------------------------------------------------------------------


@proves("enabled")
async def test_enabled(open_cache: Open) -> None:
    """``enabled=False`` computes always, and stores no value anywhere; a result is none, and is kept."""
    cache = open_cache(enabled=False)
    runs = []

    def compute() -> str:
        runs.append("tool")
        return "computed"

    def embed(texts: list[str]) -> list[list[float]]:
        runs.extend(texts)
        return [[1.0] for _ in texts]

    for _ in range(2):
        assert await cache.get_metadata("t", compute=compute) == "computed"
        assert await cache.get_embeddings(["a"], "m", compute=embed) == [[1.0]]
    assert runs == ["tool", "a", "tool", "a"]
    await cache.set_catalog("a", [1])
    await cache.set_result(TASK, 1)
    assert await cache.get_catalog("a") is None
    assert await cache.get_result(TASK) == 1
    assert (await cache.health()).enabled is False
    assert await open_cache().get_catalog("a") is None


@proves("namespace")
async def test_namespace(open_cache: Open) -> None:
    """Caches of two namespaces on one directory do not meet."""
    await open_cache(namespace="shop").set("k", "shop's")
    assert await open_cache(namespace="bank").get("k") is None
    assert await open_cache(namespace="shop").get("k") == "shop's"


@proves("tenant")
async def test_tenant(open_cache: Open) -> None:
    """Caches of two tenants in one namespace do not meet."""
    await open_cache(tenant="ours").set_metadata("tool", "ours")
    await open_cache(tenant="ours").set_result(TASK, "ours")
    assert await open_cache(tenant="theirs").get_metadata("tool") is None
    assert await open_cache(tenant="theirs").get_result(TASK) is None
    assert await open_cache(tenant="ours").get_metadata("tool") == "ours"
    assert await open_cache(tenant="ours").get_result(TASK) == "ours"


# -- Redis ---------------------------------------------------------------------------------------------------------


@proves("redis_url")
async def test_redis_url(open_cache: Open, redis_server: RedisServer) -> None:
    """The server at that address is used."""
    assert await open_cache(redis_url=redis_server.url).set("k", 1) is Durability.REDIS
    assert len(redis_server.command("KEYS", "tc1:v:*")) == 1


@proves("redis_username", "redis_password")
async def test_redis_username_and_password(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-104: the ACL user and the password of the options win over those of the URL; wrong ones are refused there."""
    own_redis.command("ACL", "SETUSER", "app", "on", ">sesame-of-the-app", "~*", "+@all")
    own_redis.command("ACL", "SETUSER", "default", "resetpass", ">sesame")
    url = own_redis.url.replace("redis://", "redis://nobody:wrong@")
    right = {"redis_username": "app", "redis_password": "sesame-of-the-app"}
    assert await open_cache(redis_url=url, **right).set("k", 1) is Durability.REDIS
    assert await open_cache(redis_url=url).set("k", 2) is Durability.FILE
    assert await open_cache(redis_url=url, redis_password="sesame-of-the-app").set("k", 2) is Durability.FILE
    assert await open_cache(redis_url=url, redis_username="app").set("k", 2) is Durability.FILE


@proves("op_timeout", "connect_timeout", "file_timeout")
def test_timeouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each deadline reaches what keeps it: the guards of both layers, and the connection."""
    asked: dict[str, Any] = {}
    made = RedisStore.__init__

    def listen(store: RedisStore, *args: Any, **options: Any) -> None:
        asked.update(options)
        made(store, *args, **options)

    monkeypatch.setattr(RedisStore, "__init__", listen)
    options: dict[str, Any] = {"op_timeout": "50ms", "connect_timeout": "7s", "file_timeout": "3s"}
    cache = ToolCache(redis_url="redis://h", directory=tmp_path, **options)
    redis, files = cache._parts.redis, cache._parts.files
    assert redis is not None
    assert files is not None
    assert (redis.guard.timeout, files.guard.timeout) == (0.05, 3.0)
    assert (asked["op_timeout"], asked["connect_timeout"]) == (0.05, 7.0)


@proves("failure_threshold")
async def test_failure_threshold(open_cache: Open, nowhere: str) -> None:
    """The breaker opens at that number of failures in a row, not before."""
    cache = open_cache(redis_url=nowhere, files=False, failure_threshold=3, recovery_time="1h")
    states = []
    for _ in range(3):
        await cache.get("k")
        health = await cache.health(probe=False)
        assert health.redis is not None
        states.append(health.redis.breaker)
    assert states == ["closed", "closed", "open"]


@proves("recovery_time")
async def test_recovery_time(open_cache: Open, nowhere: str) -> None:
    """An open breaker rests as long as it was told: 100 s, give or take a fifth."""
    clock = FakeClock()
    cache = open_cache(redis_url=nowhere, files=False, failure_threshold=1, recovery_time=("100s", "1h"), clock=clock)
    assert cache._parts.redis is not None
    guard = cache._parts.redis.guard
    await cache.get("k")
    clock.advance(79)
    assert guard.refuses() is True
    clock.advance(42)
    assert guard.refuses() is False


@proves("journal_max_age")
async def test_journal_max_age(open_cache: Open, redis_server: RedisServer) -> None:
    """The mark of a delete stays in Redis as long as older writes may be owed to it, and ten minutes more; how old these
    may be, the replay is told.
    """  # noqa: D205 - one sentence
    cache = open_cache(redis_url=redis_server.url, journal_max_age="1h", metrics=False)
    assert cache._machine.journal._max_age == 3600
    await cache.delete("k")
    (name,) = redis_server.command("KEYS", "*")
    assert 4_100_000 < redis_server.command("PTTL", name) <= 4_200_000


# -- files ---------------------------------------------------------------------------------------------------------


@proves("directory")
async def test_directory(open_cache: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files lie where the option says, else in the user's cache directory."""
    await open_cache(directory=tmp_path / "chosen").set("k", 1)
    assert (tmp_path / "chosen").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache = open_cache(directory=None)
    await cache.set("k", 1)
    health = await cache.health()
    assert health.files is not None
    assert health.files.where.startswith(str(tmp_path))
    assert await asyncio.to_thread(Path(health.files.where).is_dir)


@proves("directory")
async def test_each_redis_has_files_of_its_own(
    open_cache: Open, nowhere: str, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2, I2: unless a directory is given, what one Redis is owed is not told to another; who logs in is no matter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    owing = open_cache(redis_url=nowhere, directory=None)
    assert await owing.set("k", 1) is Durability.FILE
    other = open_cache(redis_url=redis_server.url, directory=None)
    assert await other.get("k") is None
    await other._machine.journal.replay()
    assert (owing.stats().pending, other.stats().pending) == (1, 0)
    assert redis_server.command("KEYS", "tc1:v:*") == []
    user = open_cache(redis_url=nowhere.replace("//", "//app:s3cret@"), directory=None)
    await user.get("k")
    assert user.stats().pending == 1


@proves("files")
async def test_files(open_cache: Open, tmp_path: Path) -> None:
    """``files=False`` keeps nothing on disk."""
    assert await open_cache(files=False).set("k", 1) is Durability.MEMORY
    assert not (tmp_path / "files").exists()
    assert await open_cache(files=True).set("k", 1) is Durability.FILE


@proves("fallback")
async def test_fallback(open_cache: Open, nowhere: str, tmp_path: Path) -> None:
    """``fallback=False`` keeps files out of it where Redis is configured, and only there."""
    assert await open_cache(redis_url=nowhere).set("k", 1) is Durability.FILE
    assert (
        await open_cache(redis_url=nowhere, fallback=False, directory=tmp_path / "b").set("k", 1) is Durability.MEMORY
    )
    assert not (tmp_path / "b").exists()
    assert await open_cache(fallback=False).set("k", 1) is Durability.FILE


@proves("mirror")
async def test_mirror(open_cache: Open, own_redis: RedisServer) -> None:
    """Values of mirrored domains are on files too, and answer while Redis is gone; others do not."""
    first = open_cache(redis_url=own_redis.url, mirror=["catalog"])
    assert await first.set_catalog("a", [1]) is Durability.REDIS
    assert await first.set_metadata("a", [2]) is Durability.REDIS
    await first.aclose()
    await asyncio.to_thread(own_redis.stop)
    second = open_cache(redis_url=own_redis.url, mirror=["catalog"])
    assert await second.get_catalog("a") == [1]
    assert await second.get_metadata("a") is None
    assert await open_cache(redis_url=own_redis.url).get_catalog("a") is None


@proves("max_disk")
async def test_max_disk(open_cache: Open, tmp_path: Path) -> None:
    """The files stay about within the bound, however much is written."""

    async def written(name: str, **options: Any) -> int:
        cache = open_cache(directory=tmp_path / name, **options)
        for start in range(0, 400, 20):
            await cache.set_many({f"k{i}": bytes([i % 256]) * 5_000 for i in range(start, start + 20)})
        await cache.aclose()
        return sum(file.stat().st_size for file in (tmp_path / name).rglob("*") if file.is_file())

    assert await written("free") > 1_900_000
    assert await written("bound", max_disk=500_000) < 1_000_000


@proves("coherence")
@pytest.mark.parametrize("coherence", [True, False])
async def test_coherence(open_cache: Open, redis_server: RedisServer, coherence: bool) -> None:
    """Listens for what other processes write; without, it opens no connection for that."""
    cache = open_cache(redis_url=redis_server.url, coherence=coherence)
    await cache.get("k")
    if coherence:
        await until(lambda: state(cache) == "tracking")
    assert (await cache.health(probe=False)).coherence == ("tracking" if coherence else "timed")
    assert (b" sub=3 " in redis_server.command("CLIENT", "LIST")) is coherence


async def computing(one: ToolCache, two: ToolCache, *, patience: float = 0.3, **options: Any) -> int:
    """How often two caches compute a value that both lack; the first goes on for as long as the second may need to begin."""
    begun, both = asyncio.Event(), asyncio.Event()
    runs = 0

    async def compute() -> int:
        nonlocal runs
        runs += 1
        begun.set()
        if runs == 2:
            both.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(both.wait(), patience)
        return runs

    first = asyncio.create_task(one.get_or_set("k", compute))
    await begun.wait()
    await two.get_or_set("k", compute, **options)
    await first
    return runs


# -- values that near their end ------------------------------------------------------------------------------------


async def fails() -> Any:
    """A source that is down."""
    raise OSError("down")


@proves("grace", "grace_retry")
async def test_grace(open_cache: Open) -> None:
    """Within it an old value stands in, and after ``grace_retry`` it is tried again; without it, the failure is told."""
    clock, runs = FakeClock(), []

    async def source() -> Any:
        runs.append("try")
        raise OSError("down")

    cache = open_cache(clock=clock, files=False, grace="1m", grace_retry="5s")
    await cache.get_or_set("k", lambda: [1], ttl=10)
    clock.advance(11)
    assert [await cache.get_or_set("k", source, ttl=10) for _ in range(3)] == [[1]] * 3
    clock.advance(4)
    assert await cache.get_or_set("k", source, ttl=10) == [1]
    assert runs == ["try"]
    clock.advance(2)
    assert await cache.get_or_set("k", source, ttl=10) == [1]
    assert runs == ["try", "try"]
    other = open_cache(clock=clock, files=False)
    await other.get_or_set("k", lambda: [1], ttl=10)
    clock.advance(11)
    with pytest.raises(OSError, match="down"):
        await other.get_or_set("k", fails, ttl=10)


@proves("refresh_ahead")
async def test_refresh_ahead(open_cache: Open) -> None:
    """What is ripe is computed anew while it still answers."""
    clock = FakeClock()
    cache = open_cache(clock=clock, files=False, refresh_ahead=0.5)
    await cache.get_or_set("k", lambda: [1], ttl=100)
    clock.advance(80)
    assert await cache.get_or_set("k", lambda: [2], ttl=100) == [1]
    await until(lambda: not cache._machine.homes.here()._tasks)
    assert await cache.get("k") == [2]


@proves("soft_timeout", "hard_timeout")
async def test_patience(open_cache: Open) -> None:
    """Who has an old value waits no longer than the one, nobody longer than the other."""

    async def hangs() -> Any:
        await asyncio.Event().wait()

    clock = FakeClock()
    soft = open_cache(clock=clock, files=False, grace=100, soft_timeout=0.01)
    await soft.get_or_set("k", lambda: [1], ttl=10)
    clock.advance(11)
    assert await soft.get_or_set("k", hangs, ttl=10) == [1]
    await soft.aclose(drain=0.01)
    with pytest.raises(ComputeTimeoutError):
        await open_cache(files=False, hard_timeout=0.01).get_or_set("k", hangs)


@proves("negative_ttl")
async def test_negative_ttl(open_cache: Open) -> None:
    """It is how long a computed None is good."""
    cache = open_cache(files=False, negative_ttl=3)
    await cache.get_or_set("k", lambda: None, ttl=100)
    assert await cache.ttl("k") == pytest.approx(3, abs=0.5)


@proves("jitter")
async def test_jitter(open_cache: Open) -> None:
    """What was computed at once ends by and by."""
    cache = open_cache(files=False, jitter=0.5)
    for number in range(20):
        await cache.get_or_set(str(number), lambda: 1, ttl=1000)
    spans = [await cache.ttl(str(number)) or 0 for number in range(20)]
    assert max(spans) - min(spans) > 50
    assert min(spans) > 490


@proves("lock")
async def test_lock(open_cache: Open) -> None:
    """Of two caches that lack a value one computes it; without, both do; a call may say otherwise."""
    assert await computing(open_cache(namespace="a"), open_cache(namespace="a")) == 1
    assert await computing(open_cache(namespace="b"), open_cache(namespace="b", lock=False), patience=20) == 2
    assert await computing(open_cache(namespace="c"), open_cache(namespace="c"), lock=False, patience=20) == 2
    assert await computing(open_cache(namespace="d"), open_cache(namespace="d", lock=False), lock=True) == 1


@proves("lock_timeout")
async def test_lock_timeout(open_cache: Open) -> None:
    """Who has waited that long computes itself, although the other is alive."""
    assert await computing(open_cache(namespace="a"), open_cache(namespace="a", lock_timeout=0.05), patience=20) == 2
    assert await computing(open_cache(namespace="b"), open_cache(namespace="b", lock_timeout=30)) == 1


@proves("lease")
async def test_lease(open_cache: Open, redis_server: RedisServer) -> None:
    """It is what the claim in Redis is leased for."""
    cache = open_cache(redis_url=redis_server.url, files=False, lease="40s", op_timeout=30)
    ended = []

    async def compute() -> None:
        ended.append(await asyncio.to_thread(redis_server.command, "PTTL", "tc1:c:default:k"))

    await cache.get_or_set("k", compute)
    assert 70_000 < ended[0] <= 80_000


@proves("fsync")
async def test_fsync(open_cache: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``always`` waits for the disk with each write, ``promised`` with results, ``never`` with none."""
    synced: list[int] = []
    monkeypatch.setattr(FileOps, "fdatasync", lambda _self, fd: synced.append(fd))
    counts = {}
    for policy in ("always", "promised", "never"):
        cache = open_cache(fsync=policy, directory=tmp_path / policy)
        await cache.set("warm", 1)  # makes the directory and a segment
        before = len(synced)
        await cache.set("k", 1)
        values = len(synced) - before
        before = len(synced)
        await cache.set_result(TASK, 1)
        counts[policy] = (values > 0, len(synced) - before > 0)
    assert counts == {"always": (True, True), "promised": (False, True), "never": (False, False)}


# -- memory --------------------------------------------------------------------------------------------------------


@proves("strategy")
async def test_strategy(open_cache: Open) -> None:
    """LRU and FIFO let a scan of new keys push everything out; the others keep what was hit."""
    kept = {}
    for strategy in ("adaptive", "fifo", "lfu", "lru", "s3fifo", "tiered", "ttl"):
        cache = open_cache(strategy=strategy, max_entries=20, files=False)
        for i in range(10):
            await cache.set(f"hot{i}", i)
        for _ in range(3):
            for i in range(10):
                await cache.get(f"hot{i}")
        for i in range(100):
            await cache.set(f"scan{i}", i)
        kept[strategy] = len(await cache.get_many(f"hot{i}" for i in range(10)))
    assert kept == {"adaptive": 10, "fifo": 0, "lfu": 10, "lru": 0, "s3fifo": 10, "tiered": 10, "ttl": 0}


@proves("strategy")
async def test_strategy_tells_all_apart(open_cache: Open) -> None:
    """Of the same reads and writes, each strategy lets something else go; none is another one under its name."""
    left = {}
    for strategy in ("adaptive", "fifo", "lfu", "lru", "s3fifo", "tiered", "ttl"):
        cache = open_cache(strategy=strategy, max_entries=20, max_memory="12kB", files=False)
        dice = random.Random(7)
        for i in range(1_000):
            key = f"k{int(dice.paretovariate(0.7)) % 100}"
            if await cache.get(key, MISSING) is MISSING:
                await cache.set(key, i, ttl=3_600 * (1 + i * 5 % 7))
        left[strategy] = frozenset(await cache.get_many(f"k{i}" for i in range(100)))
    assert len(set(left.values())) == len(left)


class Newest:
    """Lets go of what came last: no strategy that anybody has."""

    touch = None

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def admit(self, key: str, _entry: Held, /) -> None:
        self._keys[key] = None

    def replace(self, key: str, entry: Held, old: Held, /) -> None:
        """Nothing changes."""

    def evict(self) -> str:
        return self._keys.popitem()[0]

    def forget(self, key: str, _entry: Held, /) -> None:
        del self._keys[key]

    def clear(self) -> None:
        self._keys.clear()


@proves("strategy")
async def test_strategy_of_ones_own(open_cache: Open) -> None:
    """B2: a class, or what makes a policy, decides what leaves; statistics tell its name."""
    for strategy in (Newest, lambda: Newest()):  # noqa: PLW0108 - a function is what is tried
        cache = open_cache(strategy=strategy, max_entries=3, files=False)
        await cache.set_many({f"k{i}": i for i in range(9)})
        assert list(await cache.get_many(f"k{i}" for i in range(9))) == ["k0", "k1", "k8"]
        assert cache.stats().strategy == "Newest"
    with pytest.raises(SettingsError, match="the dict that it made is no MemoryPolicy: it lacks admit"):
        open_cache(strategy=lambda: {"no": "policy"}, files=False)


@proves("strategy")
async def test_strategy_of_ones_own_that_fails(open_cache: Open) -> None:
    """B2: it is told as an event, when memory is free again to answer, and the default takes its place."""

    class Wrong(Newest):
        def evict(self) -> str:
            return "anything"

    cache = open_cache(strategy=Wrong, max_entries=3, files=False)
    seen: list[object] = []
    cache.subscribe(lambda event: seen.append((event, cache.stats().entries)))
    await cache.set_many({f"k{i}": i for i in range(9)})
    assert cache.stats().entries == 3
    await asyncio.sleep(0)
    assert seen == [(StrategyFailed("Wrong", "evict", "named a key that is not held"), 3)]
    assert cache.stats().strategy == "adaptive"
    assert len(await cache.get_many(f"k{i}" for i in range(9))) == 3


@proves("tiers")
async def test_tiers(open_cache: Open) -> None:
    """B2: sizes and times are those of the option, and statistics tell what came up, went down and lies where."""
    tiers = {"hot": ("10kB", "1m"), "warm": ("20kB", "2m"), "cold": ("30kB", None)}
    cache = open_cache(tiers=tiers, files=False)
    for i in range(100):
        await cache.set(f"k{i}", b"x" * 500)
    for i in range(90, 100):
        assert await cache.get(f"k{i}") is not None
    stats = cache.stats()
    assert (stats.strategy, list(stats.tiers)) == ("tiered", ["hot", "warm", "cold"])
    assert [(tier.max_bytes, tier.ttl) for tier in stats.tiers.values()] == [(10_000, 60), (20_000, 120), (30_000, inf)]
    assert all(0 < tier.bytes <= tier.max_bytes for tier in stats.tiers.values())
    assert sum(tier.entries for tier in stats.tiers.values()) == stats.entries
    assert (stats.tiers["hot"].promotions, stats.tiers["hot"].demotions) == (10, 10 - stats.tiers["hot"].entries)
    assert stats.bytes <= 60_000
    whole = open_cache(strategy="tiered", max_memory="40kB", files=False).stats().tiers
    assert [tier.max_bytes for tier in whole.values()] == [10_000, 10_000, 20_000]
    assert open_cache().stats().tiers == {}


@proves("max_memory")
async def test_max_memory(open_cache: Open) -> None:
    """Memory holds no more bytes than that."""
    cache = open_cache(max_memory="100kB", files=False)
    for i in range(100):
        await cache.set(f"k{i}", bytes([i]) * 2_000)
    assert 50_000 < cache.stats().bytes <= 100_000
    assert cache.stats().evictions > 50


@proves("max_entries")
async def test_max_entries(open_cache: Open) -> None:
    """Memory holds no more entries than that."""
    cache = open_cache(max_entries=10, files=False)
    for i in range(100):
        await cache.set(f"k{i}", i)
    assert (cache.stats().entries, cache.stats().evictions) == (10, 90)


# -- values --------------------------------------------------------------------------------------------------------


@proves("default_ttl")
async def test_default_ttl(open_cache: Open) -> None:
    """BUG-101: what has no lifetime of its own lives that long, set or computed; None is for ever."""
    cache = open_cache(default_ttl="5m")
    await cache.set("a", 1)
    await cache.set_many({"b": 1})
    await cache.get_or_set("c", lambda: 1)
    await cache.add("d", 1)
    for key in "abcd":
        left = await cache.ttl(key)
        assert left is not None
        assert 290 < left <= 300
    forever = open_cache(default_ttl=None)
    await forever.set("e", 1)
    assert await forever.ttl("e") == float("inf")


@proves("ttls")
async def test_ttls(open_cache: Open) -> None:
    """BUG-101: a domain's own lifetime, for what is set, computed and embedded by the batch; other domains keep theirs."""
    clock = FakeClock()
    ttls = {"metadata": "5m", "embedding": "5m", "idempotency": "5m"}
    cache = open_cache(ttls=ttls, clock=clock, files=False)

    async def fill() -> None:
        await cache.set_metadata("a", 1)
        await cache.get_metadata("b", compute=lambda: 1)
        await cache.get_embeddings(["c"], "m", compute=lambda _texts: [[1.0]])
        await cache.set_embeddings(["d"], "m", [[1.0]])
        await cache.set_result(TASK, 1)
        await cache.set_catalog("e", 1)

    async def found() -> list[bool]:
        found = [await cache.get_metadata("a"), await cache.get_metadata("b"), await cache.get_result(TASK)]
        found += await cache.get_embeddings(["c", "d"], "m")
        return [one is not None for one in [*found, await cache.get_catalog("e")]]

    await fill()
    clock.advance(299)
    assert await found() == [True] * 6
    clock.advance(2)
    assert await found() == [False] * 5 + [True]


@proves("costs")
async def test_costs(open_cache: Open) -> None:
    """A hit saves what computing one value of its domain costs; other domains save nothing."""
    cache = open_cache(costs={"embedding": 0.002}, files=False)
    await cache.set_embedding("a", "m", [1.0])
    await cache.set_metadata("a", 1)
    for _ in range(3):
        await cache.get_embedding("a", "m")
        await cache.get_metadata("a")
    stats = cache.stats()
    assert stats.dollars_saved == pytest.approx(0.006)
    assert stats.domains["embedding"].dollars_saved == pytest.approx(0.006)
    assert stats.domains["metadata"].dollars_saved == 0.0


@proves("prices")
async def test_prices(open_cache: Open) -> None:
    """A hit saves what the tokens of a computation cost at the price of its model; without a price nothing is known."""
    for prices, saved in (({"small": 2.0}, 0.004), ({}, 0.0)):
        cache = open_cache(prices=prices, files=False)
        for _ in range(3):
            await cache.get_completion("small", "hi", compute=lambda context: context.cost(tokens=1_000))
        assert cache.stats().dollars_saved == pytest.approx(saved)
        assert (await cache.savings("1h")).cost_saved == pytest.approx(saved)


@proves("max_entry")
async def test_max_entry(open_cache: Open) -> None:
    """A larger value is refused by a setter, and goes to its caller alone when it was computed."""
    cache = open_cache(max_entry="1kB")
    await cache.set("k", b"x" * 900)
    with pytest.raises(ValueTooLargeError):
        await cache.set("k", b"x" * 1_100)
    assert await cache.get("k") == b"x" * 900
    assert await cache.get_metadata("large", compute=lambda: "x" * 1_100) == "x" * 1_100
    assert await cache.get_metadata("large") is None


@pytest.fixture
def stored(redis_server: RedisServer) -> Callable[[], bytes]:
    """The one value that Redis holds."""

    def read() -> bytes:
        (name,) = redis_server.command("KEYS", "tc1:v:*")
        blob: bytes = redis_server.command("GET", name)
        return blob

    return read


@proves("compress_above")
async def test_compress_above(open_cache: Open, redis_server: RedisServer, stored: Callable[[], bytes]) -> None:
    """Values above that size are stored compressed, others as they are; None is never."""
    for above, small in ((1_000, True), ("1MB", False), (None, False)):
        cache = open_cache(redis_url=redis_server.url, compress_above=above)
        await cache.set("k", "a" * 10_000)
        assert (len(stored()) < 1_000) is small
        assert await open_cache(redis_url=redis_server.url).get("k") == "a" * 10_000


@proves("compressor")
async def test_compressor(open_cache: Open, redis_server: RedisServer, stored: Callable[[], bytes]) -> None:
    """The compressor named is the one used; whatever it was, others read it."""
    frame = b"\x28\xb5\x2f\xfd"  # what every zstd frame begins with
    for name in ("zlib", "zstd"):
        cache = open_cache(redis_url=redis_server.url, compressor=name, compress_above=1_000)
        await cache.set("k", "a" * 10_000)
        assert (frame in stored()) is (name == "zstd")
        assert await open_cache(redis_url=redis_server.url).get("k") == "a" * 10_000


@proves("vector_precision")
async def test_vector_precision(open_cache: Open) -> None:
    """Exact vectors come back to the last bit; half ones lose what they were allowed to lose."""
    vector = [0.1, 2.0]
    for precision, expected in (("exact", 0.1), ("float32", 0.10000000149011612), ("float16", 0.0999755859375)):
        cache = open_cache(vector_precision=precision, files=False)
        await cache.set_embedding("a", "m", vector)
        assert await cache.get_embedding("a", "m") == [expected, 2.0]
        assert await cache.get_embedding("b", "m", compute=lambda: vector) == [expected, 2.0]


@proves("secret")
async def test_secret(open_cache: Open) -> None:
    """What was stored with another secret, or with none, is a miss."""
    ours, theirs = b"0123456789abcdef-ours", b"0123456789abcdef-theirs"
    await open_cache(secret=ours).set("k", 1)
    assert await open_cache(secret=theirs).get("k") is None
    assert await open_cache().get("k") is None
    assert await open_cache(secret=ours).get("k") == 1
    await open_cache().set("plain", 1)
    assert await open_cache(secret=ours).get("plain") is None


# -- the rest ------------------------------------------------------------------------------------------------------


@proves("strict")
async def test_strict(open_cache: Open, nowhere: str) -> None:
    """With ``strict`` a write that no configured store took raises; without, it says that memory alone has it."""
    assert await open_cache(redis_url=nowhere, files=False).set("k", 1) is Durability.MEMORY
    with pytest.raises(CacheWriteError):
        await open_cache(redis_url=nowhere, files=False, strict=True).set("k", 1)
    assert await open_cache(files=False, strict=True).set("k", 1) is Durability.MEMORY


@proves("metrics")
async def test_metrics(open_cache: Open, tmp_path: Path) -> None:
    """With ``metrics=False`` a cache writes nothing down of what it counts; it reads what others have."""
    for metrics, seen in ((False, 0), (True, 1), (False, 1)):
        cache = open_cache(directory=tmp_path, metrics=metrics)
        await cache.set("key", 1)
        assert (await cache.metrics("1h")).total.sets == seen
        await cache.aclose()


def test_settings_alone_open_nothing(tmp_path: Path) -> None:
    """BUG-105: making settings and a cache of them touches no disk."""
    ToolCache(Settings(directory=tmp_path / "none", mirror=["catalog"]))
    assert list(tmp_path.iterdir()) == []
