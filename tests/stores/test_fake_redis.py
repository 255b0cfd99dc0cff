"""The Redis in memory against a real one: what walks rely on is what happens."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator

import pytest
from fake_redis import FakeRedis, FakeRedisStore, OtherType, State
from redis import exceptions as replies
from servers import RedisServer

from toolcache.blob import TOMBSTONE
from toolcache.groups import SupportsGroups
from toolcache.protocols import Store, Write
from toolcache.stores.redis.store import RedisStore
from toolcache.swaps import NOTHING, UNKNOWN, Standing
from toolcache.testing import FakeClock
from toolcache.testing.claims import ClaimContract
from toolcache.testing.groups import GroupsContract
from toolcache.testing.stores import StoreContract, blob_of, version_of
from toolcache.versions import ZERO

KEYS = ["a", "b", "c"]


class TestFakeRedisStore(StoreContract):
    """It keeps the contract of stores."""

    @pytest.fixture
    def server(self, clock: FakeClock) -> FakeRedis:
        return FakeRedis(clock.time)

    @pytest.fixture
    def store(self, server: FakeRedis, clock: FakeClock) -> FakeRedisStore:
        self.fake = server
        return FakeRedisStore(server, clock)

    async def damage(self, store: Store, key: str) -> None:
        """Overwrite the value with bytes of another program."""
        self.fake.data[key] = (b"\x80\x04garbage of somebody else, longer than a header is" * 3, float("inf"))


class TestFakeRedisClaims(ClaimContract):
    """Claims too, but for those who wait: nobody tells them."""

    @pytest.fixture
    def store(self, clock: FakeClock) -> FakeRedisStore:
        self.clock = clock
        return FakeRedisStore(FakeRedis(clock.time), clock)

    async def let_pass(self, seconds: float) -> None:
        """Time passes on the server's clock."""
        self.clock.advance(seconds)


class TestFakeRedisGroups(GroupsContract):
    """And that of groups."""

    @pytest.fixture
    def grouping(self, clock: FakeClock) -> FakeRedisStore:
        self.fake = FakeRedis(clock.time)
        return FakeRedisStore(self.fake, clock)

    async def damage(self, store: SupportsGroups, group: str, name: str) -> None:
        """Another program has written there."""
        self.fake.groups[group][name] = b"garbage" * 50


def write(chance: random.Random) -> Write:
    """Any write."""
    key, number = chance.choice(KEYS), chance.randrange(1, 12)
    flags, ttl = chance.choice([0, 0, TOMBSTONE]), chance.choice([600.0, 600.0, None, -1.0])
    blob = blob_of(key, b"%d" % number, version=number, now=time.time(), ttl=ttl, flags=flags)
    dead = chance.choice([ZERO, version_of(chance.randrange(12))])
    return Write(key, blob, once=chance.random() < 0.3, dead=dead)


def damaged(chance: random.Random, key: str) -> bytes:
    """What somebody else may have put there."""
    blob = blob_of(key, b"body", version=chance.randrange(1, 12), now=time.time())
    at = chance.randrange(len(blob))
    flipped = blob[:at] + bytes([blob[at] ^ 1 << chance.randrange(8)]) + blob[at + 1 :]
    return chance.choice([flipped, flipped, b"short", blob[:60], blob_of("other", version=5, now=time.time())])


@pytest.fixture
async def real(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on the real server."""
    store = RedisStore(redis_server.url, op_timeout=5.0)
    yield store
    await store.aclose()


@pytest.mark.parametrize("seed", range(4))
async def test_does_what_a_real_server_does(real: RedisStore, redis_server: RedisServer, seed: int) -> None:
    """SPEC 4: the same writes, tombstones, write-once writes and foreign bytes have the same outcomes in both."""
    chance, fake = random.Random(seed), FakeRedis(time.time)
    double = FakeRedisStore(fake, FakeClock())
    for _ in range(100):
        if chance.random() < 0.2:
            key = chance.choice(KEYS)
            foreign = damaged(chance, key)
            redis_server.command("SET", key, foreign)
            fake.data[key] = (foreign, float("inf"))
        elif chance.random() < 0.05:
            key = chance.choice(KEYS)
            redis_server.command("DEL", key)
            redis_server.command("RPUSH", key, b"1")
            fake.data[key] = (OtherType(), float("inf"))
        elif chance.random() < 0.05:
            redis_server.command("FLUSHALL")
            fake.data.clear()
        writes = [write(chance) for _ in range(chance.randrange(1, 5))]
        assert await double.put_many(writes) == await real.put_many(writes), f"seed {seed}"
        await asyncio.sleep(0.003)  # what had ended before it came is kept for a millisecond
        assert await double.get_many(KEYS) == await real.get_many(KEYS), f"seed {seed}"


@pytest.mark.parametrize("seed", range(2))
async def test_swaps_as_a_real_server_does(real: RedisStore, redis_server: RedisServer, seed: int) -> None:
    """SPEC 8.3: the same records take one another's place in both, leased or not; what stands there is told alike."""
    chance, fake = random.Random(seed), FakeRedis(time.time)
    double = FakeRedisStore(fake, FakeClock())
    seen: dict[str, tuple[Standing, Standing]] = dict.fromkeys(KEYS, (NOTHING, NOTHING))
    for number in range(1, 100):
        key = chance.choice(KEYS)
        standings = seen[key]
        if chance.random() < 0.2:
            standings = (chance.choice([NOTHING, UNKNOWN]),) * 2
        new = None if chance.random() < 0.2 else blob_of(key, version=number, now=time.time())
        ttl, lease = chance.choice([600.0, math.inf]), chance.choice([None, 300.0])
        said = (
            await real.swap(key, standings[0].raw, new, ttl=ttl, lease=lease),
            await double.swap(key, standings[1].raw, new, ttl=ttl, lease=lease),
        )
        assert said[0].done == said[1].done, f"seed {seed}"
        assert said[0].standing.blob == said[1].standing.blob, f"seed {seed}"
        assert abs(said[0].standing.left - said[1].standing.left) < 60 or said[0].standing.left == math.inf
        assert (said[0].standing.left == math.inf) == (said[1].standing.left == math.inf), f"seed {seed}"
        seen[key] = (said[0].standing, said[1].standing)


async def test_fails_as_a_real_server_fails(real: RedisStore, redis_server: RedisServer) -> None:
    """R-OOM, R-STOP: a full one takes what changes nothing; a frozen one does what it was told once it is thawed."""
    fake = FakeRedis(time.time)
    double = FakeRedisStore(fake, FakeClock())
    old, new = (Write("a", blob_of("a", version=n, now=time.time())) for n in (1, 2))
    for store in (real, double):
        await store.put_many([new])
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    fake.state = State.FULL
    try:
        for store in (real, double):
            assert (await store.put_many([old, new]))[0].version == version_of(2)
            assert (await store.get_many(["a"])) == [new.blob]
            with pytest.raises(replies.OutOfMemoryError):
                await store.put_many([Write("b", blob_of("b", now=time.time()))])
    finally:
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
    fake.state = State.FROZEN
    with pytest.raises(replies.TimeoutError):
        await double.put_many([Write("b", blob_of("b", now=time.time()))])
    fake.thaw()
    assert None not in await double.get_many(["a", "b"])
