"""The file store: the contract, and what one process sees of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from toolcache.protocols import Store
from toolcache.stores.log.frame import HEAD_SIZE
from toolcache.stores.log.index import digest
from toolcache.stores.log.log import encode
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import StoreContract
from toolcache.versions import HybridClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def overwrite(store: LogStore, key: str, at: int, data: bytes) -> None:
    """Change bytes of the record of a key, ``at`` bytes behind its frame's begin."""
    shared = store._shared
    assert shared is not None
    entry = shared.log.index.get(digest(encode(key)))
    assert entry is not None
    path = Path(shared.log.directory.segments) / shared.log.segments[entry.segment].name
    with path.open("r+b") as file:
        file.seek(entry.offset + at)
        file.write(data)


class TestLogStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
        store = LogStore(tmp_path / "log", clock=clock, hybrid=HybridClock(clock))
        yield store
        await store.aclose()

    async def damage(self, store: Store, key: str) -> None:
        assert isinstance(store, LogStore)
        overwrite(store, key, HEAD_SIZE + len(key) + 30, b"garbage")
