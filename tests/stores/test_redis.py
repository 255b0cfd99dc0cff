"""The Redis store against a real server."""

from collections.abc import AsyncIterator

import pytest
from servers import RedisServer

from toolcache.events import Event
from toolcache.protocols import Store
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import StoreContract


@pytest.fixture
def events() -> list[Event]:
    """What the store announced."""
    return []


@pytest.fixture
async def store(redis_server: RedisServer, clock: FakeClock, events: list[Event]) -> AsyncIterator[RedisStore]:
    """A store on the shared server."""
    store = RedisStore(redis_server.url, clock=clock, announce=events.append, op_timeout=5.0)
    yield store
    await store.aclose()


class TestRedisStore(StoreContract):
    """Redis keeps the contract of stores."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    async def damage(self, store: Store, key: str) -> None:
        """Overwrite the value with bytes of another program."""
        self.server.command("SET", key, b"\x80\x04garbage of somebody else, longer than a header is" * 3)
