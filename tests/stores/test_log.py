"""The file store: the contract, and what one process sees of it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fileops import NoPeekOps, SlowOps
from logs import PREFIX, body, descriptors, entry_of, log_of, make, modes, names, overwrite, put, segments, write

from toolcache.blob import NEVER, RECORD, TOMBSTONE
from toolcache.errors import CacheClosedError
from toolcache.events import BlobRejected, ClockAnomaly, Event
from toolcache.peeks import SupportsPeek
from toolcache.protocols import PutStatus, Store, SupportsCount, SupportsOverlay, SupportsScan, SupportsUsage, Write
from toolcache.stores.log.frame import CLEAN, FIRST, HEAD_SIZE, PENDING, RESULT
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import StoreContract, blob_of, version_of
from toolcache.versions import HybridClock


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
    store = make(tmp_path / "log", clock)
    yield store
    await store.aclose()


class TestLogStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
        store = make(tmp_path / "log", clock)
        yield store
        await store.aclose()

    async def damage(self, store: Store, key: str) -> None:
        assert isinstance(store, LogStore)
        overwrite(store, key, HEAD_SIZE + len(key) + 30, b"garbage")


class TestLogStoreWithoutPeeking(TestLogStore):
    """The same where the file system cannot say what is in the page cache."""

    @pytest.fixture
    async def store(self, tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
        store = make(tmp_path / "log", clock, ops=NoPeekOps())
        yield store
        assert store._shared is None or not log_of(store).nowait
        await store.aclose()


async def reopened(store: LogStore, clock: FakeClock) -> LogStore:
    await store.aclose()
    again = make(Path(store._root), clock)
    await again.open()
    return again


def test_making_one_does_no_io(tmp_path: Path, clock: FakeClock) -> None:
    """LC-11: a directory appears at first use."""
    store = make(tmp_path / "log", clock)
    assert not (tmp_path / "log").exists()
    assert "not opened" in repr(store)


def test_says_what_it_can_do(tmp_path: Path, clock: FakeClock) -> None:
    """Overlay, count, usage and scan are what the cache asks it for beyond reads and writes."""
    store = make(tmp_path / "log", clock)
    assert isinstance(store, SupportsOverlay)
    assert isinstance(store, SupportsCount)
    assert isinstance(store, SupportsUsage)
    assert isinstance(store, SupportsPeek)
    assert isinstance(store, SupportsScan)


def test_refuses_an_unknown_policy(tmp_path: Path, clock: FakeClock) -> None:
    """The text names what there is."""
    with pytest.raises(ValueError, match="'promised', 'always', 'never', not 'sometimes'"):
        make(tmp_path, clock, fsync="sometimes")


async def test_what_was_written_is_there_after_a_restart(store: LogStore, clock: FakeClock) -> None:
    """LC-13: values, tombstones, versions and flags."""
    await put(store, write(clock, "a", 1, b"old"), write(clock, "a", 2, b"new"), write(clock, "b", 1))
    await put(store, write(clock, "b", 2, b"", flags=TOMBSTONE), write(clock, "owed", 3, pending=True, durable=True))
    await put(store, write(clock, "result", 4, flags=RECORD))
    again = await reopened(store, clock)
    try:
        assert await body(again, "a") == b"new"
        assert await body(again, "b") == b""
        assert again.pending(PREFIX + "owed")
        assert not again.pending(PREFIX + "a")
        result = entry_of(again, "result")
        assert result is not None
        assert result.flags == RESULT | FIRST
        assert (await put(again, write(clock, "b", 1))).status is PutStatus.NEWER
    finally:
        await again.aclose()


async def test_what_expired_is_not_returned(store: LogStore, clock: FakeClock) -> None:
    """A life ends by the clock the store was given."""
    await put(store, write(clock, "k", 1, ttl=10.0))
    clock.advance(9.0)
    assert await body(store) == b"body"
    clock.advance(1.5)
    assert await body(store) is None
    assert (await put(store, write(clock, "k", 2, once=True))).status is PutStatus.STORED


async def test_settling_marks_the_pending_record_clean(store: LogStore, clock: FakeClock) -> None:
    """OR-26, OR-27: the mark survives a restart; the value can still be read."""
    await put(store, write(clock, "k", 5, pending=True), write(clock, "j", 5, pending=True))
    assert store.pending(PREFIX + "k")
    await store.settle([(PREFIX + "k", version_of(6))])
    assert not store.pending(PREFIX + "k")
    again = await reopened(store, clock)
    try:
        assert not again.pending(PREFIX + "k")
        assert again.pending(PREFIX + "j")
        assert await body(again) == b"body"
        entry = entry_of(again, "k")
        assert entry is not None
        assert entry.flags & (CLEAN | PENDING) == CLEAN
    finally:
        await again.aclose()


async def test_a_mark_without_its_record_is_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """OR-26: the segment that held the record is gone; nothing is owed, nobody is told of damage, and the mark goes too."""
    root = tmp_path / "log"
    first = make(root, clock)
    await put(first, write(clock, "k", 5, pending=True))
    await first.aclose()
    second = make(root, clock)
    await second.settle([(PREFIX + "k", version_of(5))])
    await second.aclose()
    segments(root)[0].unlink()
    events: list[Event] = []
    third = make(root, clock, announce=events.append)
    await third.open()
    assert (third.pending(PREFIX + "k"), third.owing, await body(third)) == (None, 0, None)
    await third.compact()
    assert segments(root) == []
    assert await put(third, write(clock, "k", 4)) == (PutStatus.STORED, version_of(4), False)
    assert events == []
    await third.aclose()


async def test_disowning_is_heeded_at_once_and_forgotten_with_the_process(store: LogStore, clock: FakeClock) -> None:
    """F-28: nothing is written; what is older than the mark is owed no more, what is newer is."""
    await put(store, write(clock, "k", 5, pending=True))
    size = segments(Path(store._root))[0].stat().st_size
    store.disown([(PREFIX + "k", version_of(4)), (PREFIX + "other", version_of(4))])
    assert store.pending(PREFIX + "k") == version_of(5)
    store.disown([(PREFIX + "k", version_of(6))])
    store.disown([(PREFIX + "k", version_of(4))])
    assert store.pending(PREFIX + "k") is None
    assert store.owing == 1
    assert segments(Path(store._root))[0].stat().st_size == size
    again = await reopened(store, clock)
    try:
        assert again.pending(PREFIX + "k") == version_of(5)
        again.disown([(PREFIX + "k", version_of(6))])
        await put(again, write(clock, "k", 7, pending=True))
        assert again.pending(PREFIX + "k") == version_of(7)
        await again.settle([(PREFIX + "k", version_of(8))])
        assert again.owing == 0
        assert again._shared is not None
        assert again._shared.disowned == {}
    finally:
        await again.aclose()


async def test_settling_leaves_what_was_written_since(store: LogStore, clock: FakeClock) -> None:
    """A mark for an older version changes nothing, nor does one for a key that nothing is owed of."""
    await put(store, write(clock, "k", 5, pending=True))
    await store.settle([(PREFIX + "k", version_of(4))])
    assert store.pending(PREFIX + "k")
    await put(store, write(clock, "k", 7, pending=True))
    await store.settle([(PREFIX + "k", version_of(5))])
    assert store.pending(PREFIX + "k")
    size = segments(Path(store._root))[0].stat().st_size
    await store.settle([(PREFIX + "other", version_of(9))])
    assert segments(Path(store._root))[0].stat().st_size == size


async def test_keep_until_covers_what_was_superseded(store: LogStore, clock: FakeClock) -> None:
    """A short-lived value that hides a long-lived one says so in its record, over any number of overwrites."""
    await put(store, write(clock, "k", 1, ttl=1000.0), write(clock, "k", 2, ttl=10.0), write(clock, "k", 3, ttl=5.0))
    again = await reopened(store, clock)
    try:
        entry = entry_of(again, "k")
        assert entry is not None
        now_ms = int(clock.time() * 1000)
        assert (entry.gone, entry.keep, entry.flags & FIRST) == (now_ms + 5_000, now_ms + 1_000_000, 0)
    finally:
        await again.aclose()


@pytest.mark.parametrize("text", ["../../escape", "a/b", "nul\0byte", "x" * 5000, "Case", "case", "\ud800", "%", "ünï"])
async def test_any_text_is_a_key(store: LogStore, clock: FakeClock, tmp_path: Path, text: str) -> None:
    """BUG-90: keys name no files, so none leaves the root, and none is another in a different case."""
    await put(store, write(clock, text, 1, text.encode("utf-8", "surrogatepass")))
    await put(store, write(clock, "other", 1, b"other"))
    assert await body(store, text) == text.encode("utf-8", "surrogatepass")
    assert [key async for key in store.scan(PREFIX + text[:1])]
    assert names(tmp_path) == ["log"]
    again = await reopened(store, clock)
    try:
        assert await body(again, text) == text.encode("utf-8", "surrogatepass")
    finally:
        await again.aclose()


async def test_a_key_too_long_is_refused(store: LogStore, clock: FakeClock) -> None:
    """Before anything is written, as is a blob without a header."""
    with pytest.raises(ValueError, match="at most"):
        await put(store, write(clock, "x" * 70_000, 1))
    with pytest.raises(ValueError, match="whole blob"):
        await store.put_many([Write("k", b"no blob")])


async def test_files_are_for_the_owner_alone(store: LogStore, clock: FakeClock) -> None:
    """BUG-90: directories 0700, files 0600."""
    await put(store, write(clock, "k", 1))
    assert modes(Path(store._root)) == ({0o700}, {0o600})


async def test_a_damaged_record_is_a_miss_and_its_neighbours_are_not(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-82: counted, told once without the key's text, and forgotten; the others are read as before."""
    told: list[Event] = []
    store = make(tmp_path / "log", clock, announce=told.append)
    await put(store, *(write(clock, f"k{n}", 1, b"body %d" % n * 100) for n in range(3)))
    overwrite(store, PREFIX + "k1", 200, b"\xff")
    assert await body(store, "k1") is None
    assert await body(store, "k1") is None
    assert [await body(store, f"k{n}") for n in (0, 2)] == [b"body 0" * 100, b"body 2" * 100]
    assert [(event.layer, event.reason, len(event.key)) for event in told if isinstance(event, BlobRejected)] == [
        ("file", "damaged", 8)
    ]
    again = await reopened(store, clock)
    assert [await body(again, f"k{n}") for n in range(3)] == [b"body 0" * 100, None, b"body 2" * 100]
    assert log_of(again).rejected == 1
    await again.aclose()


@pytest.mark.parametrize("junk", [b"junk", b"\0" * 5000, os.urandom(3000), b"TL\x01\x00 half a frame"])
async def test_junk_behind_the_records_harms_nothing(store: LogStore, clock: FakeClock, junk: bytes) -> None:
    """FS-04: what was there is read, what comes later too."""
    await put(store, write(clock, "k", 1, b"good"))
    await store.aclose()
    with segments(Path(store._root))[0].open("ab") as file:
        file.write(junk)
    again = make(Path(store._root), clock)
    assert await body(again) == b"good"
    await put(again, write(clock, "k", 2, b"better"))
    third = await reopened(again, clock)
    assert await body(third) == b"better"
    await third.aclose()


async def test_a_segment_cut_short_loses_only_its_tail(store: LogStore, clock: FakeClock) -> None:
    """FS-12, BUG-87: a record that is not whole was never there; a file of no length neither. No event: it is normal."""
    await put(store, write(clock, "a", 1, b"whole"), write(clock, "b", 1, b"torn"))
    await store.aclose()
    (path,) = segments(Path(store._root))
    os.truncate(path, path.stat().st_size - 1)
    path.with_name("0000000009-00000000000000aa.log").touch()
    told: list[Event] = []
    again = make(Path(store._root), clock, announce=told.append)
    assert [await body(again, text) for text in ("a", "b")] == [b"whole", None]
    assert told == []
    await again.aclose()


async def test_swapped_records_are_misses(store: LogStore, clock: FakeClock) -> None:
    """BUG-82, I12: bytes of another key's record are never that key's value."""
    await put(store, write(clock, "a", 1, b"of a"), write(clock, "b", 1, b"of b"))
    (path,) = segments(Path(store._root))
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[half:] + data[:half])
    assert await body(store, "a") is None
    assert await body(store, "b") is None


async def test_a_version_ahead_of_the_clock_is_observed(store: LogStore, clock: FakeClock) -> None:
    """FS-23: with the clock set back, a live write comes after what is on disk, and is read after a restart."""
    now_ms = int(clock.time() * 1000)
    future = (now_ms + 30_000).to_bytes(6, "big") + bytes(10)
    key = PREFIX + "k"
    await store.put_many([Write(key, blob_of(key, b"future", version=future, now=clock.time()))])
    await store.aclose()
    hybrid = HybridClock(clock)
    again = make(Path(store._root), clock, hybrid=hybrid)
    await again.open()
    version = hybrid.next()
    assert version > future
    await again.put_many([Write(key, blob_of(key, b"live", version=version, now=clock.time()))])
    third = await reopened(again, clock)
    assert await body(third) == b"live"
    await third.aclose()


async def test_a_version_from_far_ahead_is_told_and_not_believed(store: LogStore, clock: FakeClock) -> None:
    """OR-11: a broken clock elsewhere does not poison this one."""
    future = (int(clock.time() * 1000) + 3_600_000).to_bytes(6, "big") + bytes(10)
    key = PREFIX + "k"
    await store.put_many([Write(key, blob_of(key, version=future, now=clock.time()))])
    await store.aclose()
    told: list[Event] = []
    hybrid = HybridClock(clock)
    again = make(Path(store._root), clock, hybrid=hybrid, announce=told.append)
    await again.open()
    assert hybrid.next() < future
    (event,) = told
    assert isinstance(event, ClockAnomaly)
    assert event.layer == "file"
    assert event.lead_seconds == pytest.approx(3600, abs=1)
    await again.aclose()


async def test_ten_thousand_operations_leave_no_descriptor(store: LogStore, clock: FakeClock) -> None:
    """FS-25: the number of open files does not grow with use, and closing gives all back, threads too."""
    threads = threading.active_count()
    before = descriptors()
    await put(store, write(clock, "k", 1))
    await body(store)
    opened = descriptors()
    for number in range(2, 102):
        await asyncio.gather(*(put(store, write(clock, f"k{n}", number)) for n in range(50)))
        await store.get_many([f"{PREFIX}k{n}" for n in range(50)])
    assert descriptors() <= opened
    await store.aclose()
    assert descriptors() == before
    assert threading.active_count() == threads


async def test_closing_waits_for_writes_and_refuses_new_ones(store: LogStore, clock: FakeClock) -> None:
    """SPEC 13: what was begun is finished; later calls say that the store is closed."""
    writing = asyncio.ensure_future(put(store, write(clock, "k", 1)))
    await asyncio.sleep(0)
    await put(store, write(clock, "j", 1))
    await store.aclose()
    assert (await writing).status is PutStatus.STORED
    with pytest.raises(CacheClosedError):
        await store.get_many(["k"])
    with pytest.raises(CacheClosedError):
        await put(store, write(clock, "k", 2))
    assert not store.pending("k")
    assert "closed" in repr(store)


async def test_closing_while_it_is_being_opened(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 13: whatever the opening has got by then is given back."""
    before = descriptors(), threading.active_count()
    store = make(tmp_path / "log", clock)
    opening = asyncio.ensure_future(store.open())
    await asyncio.sleep(0)
    await asyncio.gather(store.aclose(), store.aclose())
    (outcome,) = await asyncio.gather(opening, return_exceptions=True)
    assert outcome is None or isinstance(outcome, CacheClosedError)
    assert (descriptors(), threading.active_count()) == before


async def test_stores_of_one_directory_share_one_log(tmp_path: Path, clock: FakeClock) -> None:
    """By whatever path they name it: one segment, and closing one leaves the other at work."""
    (tmp_path / "link").symlink_to(tmp_path / "log")
    one, other = make(tmp_path / "log", clock), make(tmp_path / "link", clock)
    await put(one, write(clock, "k", 1, b"of one"))
    assert await body(other) == b"of one"
    await put(other, write(clock, "k", 2, b"of the other"))
    assert log_of(one) is log_of(other)
    await other.aclose()
    assert await body(one) == b"of the other"
    await put(one, write(clock, "k", 3))
    assert len(segments(tmp_path / "log")) == 1
    await one.aclose()


def test_loops_in_threads_share_one_log(tmp_path: Path, clock: FakeClock) -> None:
    """LC-02, SPEC 13.3: loop after loop, and several at once, on one store."""
    store = make(tmp_path / "log", clock)

    async def work(who: int) -> list[bytes | None]:
        for number in range(1, 101):
            await put(store, write(clock, f"{who}", number, b"%d of %d" % (number, who)))
        return [await body(store, f"{who}")]

    found: dict[int, list[bytes | None]] = {}
    threads = [threading.Thread(target=lambda who=who: found.update({who: asyncio.run(work(who))})) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {who: [b"100 of %d" % who] for who in range(4)}
    assert asyncio.run(body(store, "3")) == b"100 of 3"
    assert len(segments(tmp_path / "log")) == 1
    asyncio.run(store.aclose())


async def test_a_value_without_end_and_without_first(store: LogStore, clock: FakeClock) -> None:
    """NEVER stays what it is, in the frame too."""
    await put(store, write(clock, "k", 1, ttl=None), write(clock, "k", 2, ttl=5.0))
    entry = entry_of(store, "k")
    assert entry is not None
    assert entry.keep == NEVER


async def test_concurrent_reads_and_deletes(store: LogStore, clock: FakeClock) -> None:
    """BUG-88: a read beside a delete finds the one or the other, and never raises."""
    seen: set[bytes | None] = set()

    async def read() -> None:
        for _ in range(300):
            seen.add(await body(store))
            await asyncio.sleep(0)

    async def rewrite() -> None:
        for number in range(1, 101, 2):
            await put(store, write(clock, "k", number, b"value"))
            await put(store, write(clock, "k", number + 1, b"", flags=TOMBSTONE))

    await asyncio.gather(read(), read(), rewrite())
    assert seen <= {None, b"", b"value"}
    assert await body(store) == b""


async def test_a_peek_needs_neither_a_thread_nor_the_disk(tmp_path: Path, clock: FakeClock) -> None:
    """FS-18: what the page cache has is answered at once, though every thread hangs; before it is open, nothing is."""
    ops = SlowOps(30.0, "pread", "write")
    ops.let_go.set()
    store = make(tmp_path / "log", clock, ops=ops)
    keys = [PREFIX + text for text in ("a", "b", "never")]
    assert store.peek(keys) is None
    await put(store, write(clock, "a", 1, b"one"), write(clock, "b", 2, b"", flags=TOMBSTONE))
    read = await store.get_many(keys)
    ops.let_go.clear()
    assert store.peek(keys) == read
    assert read[0] is not None
    ops.let_go.set()
    await store.aclose()
    assert store.peek(keys) is None


async def test_a_peek_leaves_to_a_thread_what_would_hold_the_loop_up(store: LogStore, clock: FakeClock) -> None:
    """FS-18: large values, alone or together, and more keys than a millisecond takes; nothing is read of them."""
    await put(store, write(clock, "large", 1, bytes(100_000)))
    await put(store, *[write(clock, f"k{n}", 1, bytes(50_000)) for n in range(20)])
    keys = [f"{PREFIX}k{n}" for n in range(20)]
    assert store.peek([PREFIX + "large"]) is None
    assert store.peek(keys) is None
    assert store.peek(keys[:4]) == await store.get_many(keys[:4])
    assert None not in await store.get_many([*keys, PREFIX + "large"])
    assert store.peek([PREFIX + "none"] * 100) == [None] * 100
    assert store.peek([PREFIX + "none"] * 1000) is None


async def test_counts_and_scans_live_values(store: LogStore, clock: FakeClock) -> None:
    """A scan names no tombstones and nothing expired."""
    await put(store, *(write(clock, f"s{n}", 1) for n in range(100)), write(clock, "t", 1, b"", flags=TOMBSTONE))
    await put(store, write(clock, "old", 1, ttl=1.0), write(clock, "long" * 300, 1))
    clock.advance(2.0)
    assert {key async for key in store.scan(PREFIX)} == {
        *(f"{PREFIX}s{n}" for n in range(100)),
        PREFIX + "long" * 300,
    }
    assert await store.count() == 103
