"""The file store keeps within its bounds, and what is dead stays dead."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from fileops import SlowOps
from logs import PREFIX, body, entry_of, log_of, make, put, quiet, segments, until, write

from toolcache.blob import EPOCH, RECORD, TOMBSTONE
from toolcache.protocols import PutStatus, Write
from toolcache.stores.log.frame import BARE, CLEAN, FIRST, PENDING
from toolcache.stores.log.shared import Shared
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import version_of

_MIB = 2**20


async def sealed(root: Path, clock: FakeClock, *writes: Write) -> None:
    """One more segment, written by a store that is closed again."""
    store = make(root, clock)
    await quiet(store)
    await put(store, *writes)
    await store.aclose()


def apart(store: LogStore) -> Shared:
    """Attach a store to a log of its own, which it shares with none of this process."""
    shared = Shared(store._root, store._clock, store._hybrid, store._ops)
    shared.users = 1
    shared.log.posts.append(store._post)
    store._shared = shared
    return shared


def disk(root: Path) -> int:
    """Bytes in the segments; one may be removed while they are counted."""
    total = 0
    for path in segments(root):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


async def test_what_was_overwritten_is_reclaimed(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-89, FS-20: a sealed segment that is half dead is rewritten; what is newest survives, across a restart too."""
    root = tmp_path / "log"
    for version in range(1, 6):
        await sealed(root, clock, *(write(clock, f"k{n}", version, b"%d" % version * 500) for n in range(20)))
    before = disk(root)
    store = make(root, clock)
    won = await store.compact()
    assert won > before // 2
    assert disk(root) == before - won
    assert [await body(store, f"k{n}") for n in range(20)] == [b"5" * 500] * 20
    await store.aclose()
    again = make(root, clock)
    assert [await body(again, f"k{n}") for n in range(20)] == [b"5" * 500] * 20
    await again.aclose()


async def test_who_needs_room_waits_for_another_process_that_makes_some(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer is not refused because another process compacts: it looks again for a while; the background does not."""
    store = make(tmp_path / "log", clock)
    await quiet(store)
    assert store._shared is not None
    compactor, held = store._shared.compactor, log_of(store).directory.lock("compact")
    waited: list[float] = []
    monkeypatch.setattr("toolcache.stores.log.compaction.time.sleep", waited.append)
    assert compactor.free() == compactor.free(1) == 0
    assert 0.1 < sum(waited) < 1.0
    looks = len(waited)
    monkeypatch.setattr("toolcache.stores.log.compaction.time.sleep", lambda _seconds: held.release())
    taken = compactor._take(patient=True)
    assert taken is not None
    assert compactor._take(patient=False) is None
    taken.release()
    assert len(waited) == looks
    await store.aclose()


async def test_what_expired_is_reclaimed_without_being_read(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-89: a segment of nothing but expired values is removed; the index forgets them."""
    root = tmp_path / "log"
    await sealed(root, clock, *(write(clock, f"k{n}", 1, bytes(500), ttl=10.0) for n in range(50)))
    clock.advance(11.0)
    store = make(root, clock)
    await store.compact()
    assert segments(root) == []
    assert await store.count() == 0
    await store.aclose()


async def test_a_write_during_the_rewriting_survives(tmp_path: Path, clock: FakeClock) -> None:
    """FS-20: the compaction has decided to copy a record; meanwhile a newer one is written, and stays the newest."""
    root = tmp_path / "log"
    await sealed(root, clock, write(clock, "k", 1, b"old"), *(write(clock, "j", n, bytes(500)) for n in range(1, 9)))
    ops = SlowOps(30.0, "fdatasync")
    ops.let_go.set()
    store = make(root, clock, ops=ops)
    await store.open()
    ops.let_go.clear()
    compacting = asyncio.ensure_future(store.compact())
    synced = ops.counts["fdatasync"]
    await until(lambda: ops.counts["fdatasync"] > synced)
    assert (await put(store, write(clock, "k", 2, b"new"))).status is PutStatus.STORED
    ops.let_go.set()
    await compacting
    assert await body(store) == b"new"
    await store.aclose()
    again = make(root, clock)
    assert await body(again) == b"new"
    await again.aclose()


async def test_an_older_value_with_a_longer_life_never_comes_back(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9 (!): the tombstone, or the shorter-lived value, that hid it leaves a bare header until it has expired."""
    root = tmp_path / "log"
    keep = [write(clock, f"live{n}", 1, bytes(500), ttl=5000.0) for n in range(8)]
    await sealed(
        root, clock, write(clock, "k", 1, b"long", ttl=1000.0), write(clock, "j", 1, b"long", ttl=1000.0), *keep
    )
    await sealed(
        root, clock, write(clock, "k", 2, b"", flags=TOMBSTONE, ttl=10.0), write(clock, "j", 2, bytes(500), ttl=10.0)
    )
    clock.advance(20.0)
    for _ in range(2):
        store = make(root, clock)
        await store.compact()
        assert [await body(store, text) for text in ("k", "j")] == [None, None]
        entry = entry_of(store, "k")
        assert entry is not None
        assert entry.flags & BARE
        assert entry.version == version_of(2)
        assert (await put(store, write(clock, "k", 1, b"late"))).status is PutStatus.NEWER
        await store.aclose()
    clock.advance(1000.0)
    store = make(root, clock)
    await store.compact()
    assert entry_of(store, "k") is None
    assert await body(store, "k") is None
    assert await body(store, "live1") == bytes(500)
    await store.aclose()


async def test_what_is_owed_stays_though_it_has_ended(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-61: a bare record, until Redis has been told: it hides there what this directory has never seen."""
    root = tmp_path / "log"
    await sealed(root, clock, write(clock, "k", 2, bytes(500), ttl=10.0, pending=True))
    clock.advance(20.0)
    for _ in range(2):
        store = make(root, clock)
        await store.compact()
        assert store.pending(PREFIX + "k") == version_of(2)
        ((handle,),) = await store.owed()
        (debt,) = await store.debts([handle])
        assert (debt.key, debt.version, debt.blob) == (PREFIX + "k", version_of(2), None)
        await store.aclose()
    assert disk(root) < 300
    store = make(root, clock)
    await store.settle([(PREFIX + "k", version_of(2))])
    await store.aclose()
    for _ in range(2):  # the record, and then its mark
        store = make(root, clock)
        await store.compact()
        await store.aclose()
    assert segments(root) == []


async def test_debts_come_in_portions(tmp_path: Path, clock: FakeClock) -> None:
    """OR-23: of a hundred, or about a MiB; a larger one comes alone, and the order goes on from one to the next."""
    store = make(tmp_path / "log", clock)
    await put(store, *(write(clock, f"k{n:03}", n + 1, pending=True) for n in range(205)))
    await put(store, *(write(clock, f"large{n}", 300 + n, bytes(_MIB // 2), pending=True) for n in range(4)))
    await put(store, write(clock, "huge", 400, bytes(3 * _MIB), pending=True), write(clock, "last", 401, pending=True))
    portions = await store.owed()
    assert list(map(len, portions)) == [100, 100, 6, 1, 1, 1, 1, 1]
    keys = [debt.key for portion in portions for debt in await store.debts(portion)]
    assert keys == [
        f"{PREFIX}{text}"
        for text in [*(f"k{n:03}" for n in range(205)), *(f"large{n}" for n in range(4)), "huge", "last"]
    ]
    await store.aclose()


async def test_two_writers_that_did_not_see_each_other_hide_nothing_too_early(tmp_path: Path, clock: FakeClock) -> None:
    """The index lengthens a winner's stay by any loser it meets, whoever wrote it, in whatever order."""
    root = tmp_path / "log"
    other = tmp_path / "other"
    await sealed(root, clock, write(clock, "k", 2, b"", flags=TOMBSTONE, ttl=10.0))
    await sealed(other, clock, write(clock, "k", 1, b"long", ttl=1000.0))
    segments(other)[0].rename(root / "seg" / "0000000002-00000000000000aa.log")
    clock.advance(20.0)
    store = make(root, clock)
    await store.open()
    log_of(store).segments[1].broken = True  # as if it could not be rewritten
    await store.compact()
    entry = entry_of(store, "k")
    assert entry is not None
    assert entry.keep == int((clock.time() - 20.0 + 1000.0) * 1000)
    await store.aclose()
    again = make(root, clock)
    assert await body(again) is None
    await again.aclose()


async def test_marks_live_as_long_as_what_they_mark(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: a record settled stays settled when the mark's segment, or the record's, is rewritten."""
    root = tmp_path / "log"
    await sealed(root, clock, *(write(clock, f"k{n}", 1, bytes(500), pending=True) for n in range(4)))
    store = make(root, clock)
    for number in range(4):
        await store.settle([(f"{PREFIX}k{number}", version_of(1))])
    await store.aclose()
    for _ in range(3):
        store = make(root, clock)
        await store.compact()
        assert not any(store.pending(f"{PREFIX}k{n}") for n in range(4))
        assert await body(store, "k1") == bytes(500)
        await store.aclose()
    await sealed(root, clock, *(write(clock, f"k{n}", 2, b"small") for n in range(3)))
    store = make(root, clock)
    await store.compact()
    entry = entry_of(store, "k3")
    assert entry is not None
    assert entry.flags & (PENDING | CLEAN) == CLEAN
    await store.aclose()


async def test_what_redis_is_owed_outlives_its_value(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 5.4: Redis may hold what a value replaced that has ended since: it is owed the end until it has heard of it."""
    root = tmp_path / "log"
    await sealed(root, clock, write(clock, "k", 2, bytes(500), ttl=3.0, pending=True), write(clock, "other", 1))
    clock.advance(4.0)
    store = make(root, clock)
    await quiet(store)
    await store.compact()
    await store.aclose()
    again = make(root, clock)
    await quiet(again)
    assert again.pending(PREFIX + "k") == version_of(2)
    (debt,) = await again.debts((await again.owed())[0])
    assert (debt.version, debt.blob) == (version_of(2), None)
    await again.settle([(PREFIX + "k", version_of(2))])
    await again.compact()
    assert again.owing == 0
    await again.aclose()


async def test_what_was_paid_and_removed_is_not_owed_by_those_who_look_later(tmp_path: Path, clock: FakeClock) -> None:
    """I10: a process that met neither the mark nor the removal of the record that it marked finds nothing pending."""
    root = tmp_path / "log"
    await sealed(root, clock, write(clock, "k", 1, ttl=3.0, pending=True))
    payer, other = make(root, clock), make(root, clock)
    await quiet(payer)
    other._attach = lambda: apart(other)  # type: ignore[method-assign]  # as in a process of its own
    await quiet(other)
    assert other.owing == 1
    await payer.settle([(PREFIX + "k", version_of(1))])
    clock.advance(4.0)
    await payer.aclose()
    payer = make(root, clock)
    for _ in range(2):  # first the record, then its mark
        await payer.compact()
    assert segments(root) == []
    await other.open()
    assert (other.owing, other.pending(PREFIX + "k")) == (0, None)
    await payer.aclose()
    await other.aclose()


async def test_many_small_segments_are_merged(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: processes that come and go leave one segment each; they do not pile up."""
    root = tmp_path / "log"
    for number in range(12):
        await sealed(root, clock, write(clock, f"k{number}", 1, b"%d" % number))
    assert len(segments(root)) == 12
    store = make(root, clock)
    await store.compact()
    assert len(segments(root)) == 1
    assert [await body(store, f"k{n}") for n in range(12)] == [b"%d" % n for n in range(12)]
    await store.aclose()


async def test_the_budget_holds_and_the_oldest_values_go_first(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-89, FS-21: whatever is written, the segments take no more than max_disk; what was written last is there."""
    root = tmp_path / "log"
    store = make(root, clock, max_disk=_MIB)
    for number in range(1, 60):
        await put(store, *(write(clock, f"k{number}-{n}", number, bytes(5000)) for n in range(10)))
        assert disk(root) <= _MIB
    assert await body(store, "k59-9") == bytes(5000)
    assert await body(store, "k1-1") is None
    await store.aclose()


async def test_what_was_given_up_for_the_budget_is_counted(tmp_path: Path, clock: FakeClock) -> None:
    """Of values that have not ended, each is there or was evicted; what expired, was replaced or deleted is not."""
    store = make(tmp_path / "log", clock, max_disk=_MIB)
    assert store.usage() is None
    await put(store, *(write(clock, f"short{n}", 1, bytes(5000), ttl=1.0) for n in range(20)))
    await put(store, write(clock, "gone", 1, bytes(5000)), write(clock, "gone", 2, b"", flags=TOMBSTONE))
    clock.advance(2.0)
    for number in range(1, 30):
        await put(store, *(write(clock, f"k{number}-{n}", number, bytes(5000)) for n in range(10)))
        await put(store, write(clock, "again", number, bytes(5000)))
    await store.compact()
    keys = [f"k{number}-{n}" for number in range(1, 30) for n in range(10)]
    there = [blob for blob in await store.get_many([PREFIX + key for key in keys]) if blob]
    usage = store.usage()
    assert usage is not None
    assert usage.evictions == len(keys) - len(there) > 50
    assert usage.entries == await store.count() >= len(there)
    assert usage.bytes == disk(tmp_path / "log")
    await store.aclose()
    assert store.usage() is None


async def test_the_budget_takes_no_promise_back(tmp_path: Path, clock: FakeClock) -> None:
    """FS-21: pending writes, tombstones within their time, epochs and results stay; clean copies go."""
    root = tmp_path / "log"
    store = make(root, clock, max_disk=_MIB)
    promised = {
        "pending": write(clock, "pending", 1, bytes(5000), pending=True),
        "tombstone": write(clock, "tombstone", 1, b"", flags=TOMBSTONE),
        "epoch": write(clock, "epoch", 1, b"", flags=EPOCH, ttl=None),
        "result": write(clock, "result", 1, bytes(5000), flags=RECORD),
    }
    await put(store, *promised.values())
    for number in range(1, 60):
        await put(store, *(write(clock, f"k{number}-{n}", number, bytes(5000)) for n in range(10)))
    assert await store.get_many([one.key for one in promised.values()]) == [one.blob for one in promised.values()]
    assert store.pending(PREFIX + "pending")
    assert disk(root) <= _MIB
    await store.aclose()


async def test_a_budget_full_of_promises_refuses_copies_and_takes_promises(tmp_path: Path, clock: FakeClock) -> None:
    """FS-21: with no room to be made, a clean copy is refused as by a full disk; what is promised is still taken."""
    store = make(tmp_path / "log", clock, max_disk=_MIB)
    for number in range(1, 60):
        writes = [write(clock, f"k{number}-{n}", number, bytes(5000), pending=True) for n in range(10)]
        assert (await put(store, *writes)).status is PutStatus.STORED
    with pytest.raises(OSError, match="max_disk"):
        await put(store, write(clock, "copy", 1, bytes(5000)))
    assert (await put(store, write(clock, "t", 1, b"", flags=TOMBSTONE))).status is PutStatus.STORED
    assert await body(store, "k1-1") == bytes(5000)
    await store.aclose()


async def test_an_evicted_copy_does_not_uncover_an_older_one(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9 (!): a value given up for the budget leaves its version behind where an older one might still stand."""
    root = tmp_path / "log"
    await sealed(root, clock, write(clock, "k", 1, b"older"), write(clock, "firm", 1, bytes(3000), pending=True))
    await sealed(root, clock, write(clock, "k", 2, bytes(3000)), write(clock, "alone", 1, bytes(3000)))
    await sealed(root, clock, write(clock, "last", 1, b"last"))
    store = make(root, clock)
    await store.open()
    assert store._shared is not None
    assert await asyncio.to_thread(store._shared.compactor.free, 8000) > 5000
    k, alone = entry_of(store, "k"), entry_of(store, "alone")
    assert k is not None
    assert k.flags & BARE
    assert not k.flags & FIRST
    assert alone is None
    assert [await body(store, text) for text in ("k", "last", "firm")] == [None, b"last", bytes(3000)]
    assert (await put(store, write(clock, "k", 1, b"late"))).status is PutStatus.NEWER
    await store.aclose()
    again = make(root, clock)
    assert await body(again) is None
    await again.aclose()


async def test_segments_are_sealed_by_size_and_by_age(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: at 16 MB, or an eighth of a smaller budget, or after an hour."""
    root = tmp_path / "log"
    store = make(root, clock, max_disk=80_000)
    await put(store, write(clock, "a", 1, bytes(10_000), ttl=None))  # what ends, compaction would remove meanwhile
    await put(store, write(clock, "b", 1, ttl=None))
    assert len(segments(root)) == 2
    clock.advance(3601.0)
    await put(store, write(clock, "c", 1))
    assert len(segments(root)) == 3
    await store.aclose()


async def test_compaction_comes_by_itself(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-89: nobody need ask for it; who goes on writing the same keys does not fill the budget."""
    root = tmp_path / "log"
    store = make(root, clock, max_disk=8 * _MIB)
    for version in range(1, 100):
        await put(store, *(write(clock, f"k{n}", version, bytes(5000)) for n in range(10)))
    for version in range(100, 5000):
        await put(store, write(clock, "k0", version, bytes(5000)))
        if disk(root) < 3 * _MIB:
            break
        await asyncio.sleep(0.001)
    assert disk(root) < 3 * _MIB
    assert await body(store, "k3") == bytes(5000)
    await store.aclose()


async def test_one_process_compacts_at_a_time(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: while another holds the lock, nothing is rewritten."""
    root = tmp_path / "log"
    for version in (1, 2):
        await sealed(root, clock, write(clock, "k", version, bytes(500)))
    store = make(root, clock)
    await store.open()
    held = log_of(store).directory.lock("compact")
    assert await store.compact() == 0
    held.close()
    assert await store.compact() > 500
    await store.aclose()


async def test_a_damaged_segment_is_left_where_it_is(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-82: what stands behind a frame that cannot be trusted may yet be wanted by somebody; it is counted once."""
    root = tmp_path / "log"
    await sealed(root, clock, write(clock, "a", 1, b"before"), write(clock, "b", 1, b"behind"))
    (path,) = segments(root)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 8] ^= 1
    path.write_bytes(data)
    await sealed(root, clock, write(clock, "a", 2, b"newer"))
    store = make(root, clock)
    await store.compact()
    assert path.exists()
    assert [await body(store, text) for text in "ab"] == [b"newer", None]
    assert log_of(store).rejected == 1
    await store.aclose()


async def test_epochs_that_nobody_needs_go_with_what_is_rewritten(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-37: those that are named, and that Redis is not owed; the others stay."""
    epochs = [write(clock, f"e{number}", 1, b"", ttl=None, flags=EPOCH, pending=number == 2) for number in range(3)]
    await sealed(tmp_path / "log", clock, *epochs, write(clock, "dead", 1, b"x" * 10_000, ttl=5))
    clock.advance(6)
    store = make(tmp_path / "log", clock)
    await quiet(store)
    asked: list[tuple[str, bytes]] = []

    def needless(key: str, version: bytes) -> bool:
        asked.append((key, version))
        return key != PREFIX + "e0"

    assert await store.compact(needless) > 9_000
    assert sorted(asked) == [(PREFIX + f"e{number}", version_of(1)) for number in (0, 1)]
    for text, there in (("e0", True), ("e1", False), ("e2", True)):
        assert (store.newest(PREFIX + text) is not None) == there
    await store.aclose()
    store = make(tmp_path / "log", clock)
    await store.open()
    assert [store.newest(PREFIX + f"e{number}") is not None for number in range(3)] == [True, False, True]
    await store.aclose()
