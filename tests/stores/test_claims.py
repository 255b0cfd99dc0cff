"""Claims in every store that keeps them: the contract, and what each has of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from logs import make
from servers import RedisServer

from toolcache.memory.claims import MemoryClaims
from toolcache.stores.log.store import LogStore
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import ClaimContract, FakeClock

KEY = "tc1:c:contract:k"


class TestMemoryClaims(ClaimContract):
    @pytest.fixture
    def store(self, clock: FakeClock) -> MemoryClaims:
        self.clock = clock
        return MemoryClaims(clock)

    async def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestFileClaims(ClaimContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
        self.clock = clock
        store = make(tmp_path / "log", clock)
        yield store
        await store.aclose()

    async def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestRedisClaims(ClaimContract):
    lease = 0.2

    @pytest.fixture
    async def store(self, redis_server: RedisServer) -> AsyncIterator[RedisStore]:
        store = RedisStore(redis_server.url, op_timeout=5.0)
        yield store
        await store.aclose()

    async def let_pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
