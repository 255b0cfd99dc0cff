"""Claims in every store that keeps them: the contract, and what each has of its own."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from logs import log_of, make, quiet
from redis.exceptions import ResponseError
from servers import RedisServer

from toolcache.blob import RECORD
from toolcache.claim import Verdict
from toolcache.memory.claims import MemoryClaims
from toolcache.protocols import StoreRestingError
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.log import claims
from toolcache.stores.log.frame import CLAIM, RESULT
from toolcache.stores.log.index import digest
from toolcache.stores.log.log import encode
from toolcache.stores.log.store import LogStore
from toolcache.stores.redis.store import RedisStore
from toolcache.swaps import SupportsClaim
from toolcache.testing import ClaimContract, FakeClock
from toolcache.testing.claims import Holder
from toolcache.testing.stores import blob_of
from toolcache.versions import HybridClock

KEY = "tc1:c:contract:k"
LEASE = 600.0


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
    lease = 0.3

    @pytest.fixture
    async def store(self, redis_server: RedisServer) -> AsyncIterator[RedisStore]:
        store = RedisStore(redis_server.url, op_timeout=5.0)
        yield store
        await store.aclose()

    async def let_pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def holder(store: SupportsClaim, key: str = KEY) -> Holder:
    """Somebody who claims, and is patient."""
    return Holder(store, key, LEASE)


# In memory


async def test_memory_forgets_what_nobody_asks_for_again(clock: FakeClock) -> None:
    """BUG-11: claims that were never released are swept."""
    store = MemoryClaims(clock)
    for number in range(3000):
        await holder(store, f"tc1:c:contract:{number}").claim()
        clock.advance(10 * LEASE)
    assert len(store) < 1100


# On files


@pytest.fixture
async def files(tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
    """A file store."""
    store = make(tmp_path / "log", clock)
    yield store
    await store.aclose()


async def test_who_has_gone_holds_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: a holder whose slot is free is dead, however long its lease."""
    gone = make(tmp_path / "log", clock)
    assert await holder(gone).claim() is Verdict.OURS
    await gone.aclose()
    store = make(tmp_path / "log", clock)
    assert await holder(store).claim() is Verdict.OURS
    await store.aclose()


async def test_who_took_the_slot_of_another_does_not_hold_its_claims(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: a slot that another node has taken says as well that its former holder is dead."""
    gone = make(tmp_path / "log", clock)
    assert await holder(gone).claim() is Verdict.OURS
    await gone.aclose()
    store = make(tmp_path / "log", clock)  # of another node, which takes the same slot
    assert await holder(store, "tc1:c:contract:other").claim() is Verdict.OURS
    assert await holder(store).claim() is Verdict.OURS
    await store.aclose()


async def test_another_boot_holds_nothing(files: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 2: boot clocks of two boots say nothing of each other, and nobody lived through it."""
    assert await holder(files).claim() is Verdict.OURS
    assert await holder(files).claim() is Verdict.BUSY
    monkeypatch.setattr(claims, "boot_id", lambda: b"another boot id.")
    assert await holder(files).claim() is Verdict.OURS


async def test_who_waits_learns_of_a_death(files: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 9: whoever waits looks now and then whether the holder is alive."""
    one, two = holder(files), holder(files)
    await one.claim()
    await two.claim()
    waiting = asyncio.create_task(files.until_ended(KEY, two.standing))
    await asyncio.sleep(0.2)  # it has looked meanwhile, and found the holder alive
    assert not waiting.done()
    monkeypatch.setattr(claims, "boot_id", lambda: b"another boot id.")
    async with asyncio.timeout(10):
        await waiting


async def test_where_others_do_not_let_go_a_claim_fails(files: LogStore, clock: FakeClock, tmp_path: Path) -> None:
    """SPEC 9: the lock of claims is asked for without waiting, for two seconds; then nobody may conclude anything."""
    await holder(files, "tc1:c:contract:first").claim()
    fd = os.open(tmp_path / "log" / "locks" / "claims", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    asking = asyncio.create_task(holder(files).claim())
    await asyncio.sleep(0.05)
    assert not asking.done()
    clock.advance(3.0)
    with pytest.raises(TimeoutError):
        await asking
    os.close(fd)
    assert await holder(files).claim() is Verdict.OURS


async def test_others_are_waited_for_as_long_as_was_said(clock: FakeClock, tmp_path: Path) -> None:
    """SPEC 9: whoever decides may have been stopped at that; ``patience`` says how long a swap waits for it."""
    files = LogStore(tmp_path / "log", clock=clock, hybrid=HybridClock(), patience=9)
    await holder(files, "tc1:c:contract:first").claim()
    fd = os.open(tmp_path / "log" / "locks" / "claims", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    asking = asyncio.create_task(holder(files).claim())
    await asyncio.sleep(0.05)
    clock.advance(8.0)
    await asyncio.sleep(0.05)
    assert not asking.done()
    os.close(fd)
    assert await asking is Verdict.OURS
    await files.aclose()


async def test_claims_stand_through_compaction_and_what_has_ended_goes(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: the log's cleaning keeps a claim that stands, and nothing of those that ended."""
    files = make(tmp_path / "log", clock)
    await quiet(files)
    log = log_of(files)
    standing = holder(files)
    await standing.claim()
    for number in range(200):
        one = holder(files, f"tc1:c:contract:{number}")
        await one.claim()
        await one.release()
    assert await files.count() == 1
    before = log.disk()
    assert files._shared is not None
    files._shared.writer._seal()
    assert await files.compact() > 0.9 * before
    assert await holder(files).claim() is Verdict.BUSY
    assert await standing.renew() is Verdict.OURS
    await files.aclose()


async def test_redis_is_owed_no_claims(files: LogStore) -> None:
    """A Redis that comes back empty is told of deletes, clears and results, and not who computes what on this host."""
    one, two = holder(files), holder(files, "tc1:c:contract:other")
    await one.claim()
    await two.claim()
    await two.release()
    assert await files.owed(lasting=True) == []
    assert files.owing == 0


async def test_a_record_is_a_whole_blob(files: LogStore) -> None:
    """What is none is refused before anything is written."""
    whole = blob_of(KEY, now=1.0)
    for wrong in (b"no blob", whole[:-1], whole + b"more"):
        with pytest.raises(ValueError, match="whole blob"):
            await files.swap(KEY, b"", wrong, ttl=1.0)
    assert await holder(files).claim() is Verdict.OURS


async def test_files_follow_one_another(tmp_path: Path, clock: FakeClock) -> None:
    """What one store of the directory claims and ends, another one sees, after a restart too."""
    one, two = make(tmp_path / "log", clock), make(tmp_path / "log", clock)
    first, second = holder(one), holder(two)
    for _ in range(3):
        assert await first.claim() is Verdict.OURS
        assert await second.claim() is Verdict.BUSY
        await first.release()
        assert await second.claim() is Verdict.OURS
        await second.release()
    await one.aclose()
    await two.aclose()


# In Redis


@pytest.fixture
async def store(own_redis: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on a server of its own."""
    store = RedisStore(own_redis.url, op_timeout=5.0)
    yield store
    await store.aclose()


async def test_the_end_is_published(store: RedisStore, own_redis: RedisServer) -> None:
    """DECISIONS Redis scripts: on the channel of the namespace, when a claim ends; not when it is taken or renewed."""
    async with redis.asyncio.Redis(port=own_redis.port) as client, client.pubsub() as listening:
        await listening.subscribe("tc1:w:contract")
        await listening.get_message(timeout=5)
        one = holder(store)
        await one.claim()
        await one.renew()
        await one.release()
        await holder(store).release(knowing=False)
        await store.swap("no key of ours", b"", blob_of(KEY, now=1.0), ttl=10.0)
        await client.publish("tc1:w:contract", "the last")
        heard: list[bytes] = []
        while not heard or heard[-1] != b"the last":
            message = await listening.get_message(ignore_subscribe_messages=True, timeout=5)
            heard += [message["data"]] if message else []
    assert heard == [KEY.encode(), b"the last"]


async def test_the_lease_goes_by_the_clock_of_redis(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-34: clients whose clocks are hours apart agree on who holds it."""
    one, two = holder(store), holder(store)
    await one.claim()
    for hours in (-5, 5):
        monkeypatch.setattr(store._clock, "time", lambda hours=hours: 1_800_000_000.0 + hours * 3600)
        assert await two.claim() is Verdict.BUSY
        assert 0.9 * LEASE < two.standing.left <= LEASE


async def test_a_record_may_stay_for_ever(store: RedisStore, own_redis: RedisServer) -> None:
    """Without an end, it has none."""
    await store.swap(KEY, b"", blob_of(KEY, now=1.0), ttl=float("inf"))
    assert await asyncio.to_thread(own_redis.command, "TTL", KEY) == -1


async def test_a_value_of_another_type_is_left_alone(store: RedisStore, own_redis: RedisServer) -> None:
    """EC-11: whose key it is, nobody can say; the store is of no use for this claim."""
    await asyncio.to_thread(own_redis.command, "RPUSH", KEY, "theirs")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await holder(store).claim()
    assert await asyncio.to_thread(own_redis.command, "LRANGE", KEY, 0, -1) == [b"theirs"]


async def test_a_user_who_may_not_claim_can_write(store: RedisStore, own_redis: RedisServer) -> None:
    """BUG-25: that claims are denied says nothing of writes; Redis is not asked again for a while."""
    one = holder(store)
    await one.claim()
    await asyncio.to_thread(own_redis.command, "ACL", "SETUSER", "default", "-get")
    for _ in range(2):
        with pytest.raises(StoreRestingError) as told:
            await holder(store).claim()
        assert classify(told.value, mutation=True) is FaultKind.LOCAL
    calls = await asyncio.to_thread(own_redis.command, "INFO", "commandstats")
    assert b"cmdstat_evalsha:calls=2," in calls  # the first claim, and the one that was denied


async def test_a_user_who_may_again_can_claim_soon(
    store: RedisStore, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I11: records that Redis is owed are swaps too, and it is told of them within 5 s."""
    await asyncio.to_thread(own_redis.command, "ACL", "SETUSER", "default", "-get")
    with pytest.raises(StoreRestingError):
        await holder(store).claim()
    await asyncio.to_thread(own_redis.command, "ACL", "SETUSER", "default", "+get")
    with pytest.raises(StoreRestingError):
        await holder(store).claim()
    later = store._clock.monotonic() + 4
    monkeypatch.setattr(store._clock, "monotonic", lambda: later)
    assert await holder(store).claim() is Verdict.OURS


async def test_a_user_who_may_not_publish_can_claim(store: RedisStore, own_redis: RedisServer) -> None:
    """Those who wait have to look, then."""
    await asyncio.to_thread(own_redis.command, "ACL", "SETUSER", "default", "resetchannels", "-publish")
    one = holder(store)
    assert await one.claim() is Verdict.OURS
    assert await one.release() is Verdict.OVER
    assert await holder(store).claim() is Verdict.OURS


async def test_a_full_server_ends_claims_and_takes_none(store: RedisStore, own_redis: RedisServer) -> None:
    """Out of memory, a claim can be ended; a new one is refused, as a write is."""
    one = holder(store)
    await one.claim()
    await asyncio.to_thread(own_redis.config, maxmemory=1)
    with pytest.raises(Exception, match="maxmemory") as told:
        await holder(store, "tc1:c:contract:other").claim()
    assert classify(told.value, mutation=True) is FaultKind.WRITE_REFUSED
    assert await one.release() is Verdict.OVER


def test_children_wait_for_nothing_of_their_parents(clock: FakeClock) -> None:
    """LC: a forked child has neither the claims nor the waiters of its parent."""
    store = MemoryClaims(clock)

    async def claim() -> Any:
        return await holder(store).claim()

    assert asyncio.run(claim()) is Verdict.OURS
    pid = os.fork()
    if pid == 0:
        os._exit(0 if len(store) == 0 else 1)
    assert os.waitpid(pid, 0)[1] == 0


async def test_a_record_that_is_a_result_is_read_as_one(tmp_path: Path, clock: FakeClock) -> None:
    """A claim that is taken over by a result, synced, is that result to whoever reads the key, after a restart too."""
    store = make(tmp_path / "log", clock)
    one = holder(store)
    await one.claim()
    result = blob_of(KEY, b"the output", version=2, now=clock.time(), flags=RECORD)
    done, stands = await store.swap(KEY, one.standing.raw, result, ttl=600.0, durable=True)
    assert done
    assert await store.get_many([KEY]) == [stands.blob]
    await store.aclose()
    again = make(tmp_path / "log", clock)
    assert await again.get_many([KEY]) == [stands.blob]
    assert stands.blob[-14:-4] == b"the output"
    assert await holder(again).claim() is Verdict.BUSY
    entry = log_of(again).index.get(digest(encode(KEY)))
    assert entry is not None
    assert entry.flags & (RESULT | CLAIM) == RESULT
    await again.aclose()
