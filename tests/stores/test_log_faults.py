"""The file store when the file system refuses, stalls, falls short or vanishes."""

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fileops import MUTATIONS, ErrnoOps, MeddlingOps, ShortWriteOps, SlowOps
from logs import PREFIX, body, descriptors, log_of, make, names, overwrite, put, quiet, segments, until, write

from toolcache.events import BlobRejected, Event, FilesUnavailable
from toolcache.protocols import PutResult, PutStatus, Write
from toolcache.stores.log.frame import HEAD_SIZE
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock

ERRNOS = (
    errno.ENOSPC,
    errno.EIO,
    errno.EACCES,
    errno.EROFS,
    errno.EMFILE,
    errno.ENOENT,
    errno.EDQUOT,
    errno.EFBIG,
)


async def bodies(root: Path, clock: FakeClock, *texts: str) -> list[bytes | None]:
    """What a process that starts now finds."""
    store = make(root, clock)
    try:
        return [await body(store, text) for text in texts]
    finally:
        await store.aclose()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_disk_is_tried_once_more_in_a_new_segment(tmp_path: Path, clock: FakeClock, number: int) -> None:
    """FS-07, R-ENOSPC: what was acknowledged stays readable, and the write arrives if room was found."""
    ops = ErrnoOps("write", number)
    store = make(tmp_path / "log", clock, ops=ops)
    await put(store, write(clock, "a", 1, b"before"))
    ops.arm()
    assert (await put(store, write(clock, "b", 1, b"after"))).status is PutStatus.STORED
    assert ops.failed == 1
    assert [await body(store, text) for text in "ab"] == [b"before", b"after"]
    assert len(segments(tmp_path / "log")) == 2
    await store.aclose()
    assert await bodies(tmp_path / "log", clock, "a", "b") == [b"before", b"after"]


async def test_a_disk_that_stays_full_is_said_and_later_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    """FS-07: the write raises, the old value stays, and once there is room the next write is stored."""
    ops = ErrnoOps("write", errno.ENOSPC, times=2)
    store = make(tmp_path / "log", clock, ops=ops)
    await put(store, write(clock, "k", 1, b"old"))
    ops.arm()
    with pytest.raises(OSError, match="No space left") as raised:
        await put(store, write(clock, "k", 2, b"new"))
    assert raised.value.errno == errno.ENOSPC
    assert await body(store) == b"old"
    assert (await put(store, write(clock, "k", 3, b"newer"))).status is PutStatus.STORED
    await store.aclose()
    assert await bodies(tmp_path / "log", clock, "k") == [b"newer"]
    assert not list((tmp_path / "log" / "locks").glob("*.tmp"))


async def test_short_writes_are_continued(tmp_path: Path, clock: FakeClock) -> None:
    """FS-10: however little the system takes at a time, the record is whole."""
    store = make(tmp_path / "log", clock, ops=ShortWriteOps(7))
    await put(store, write(clock, "k", 1, b"long " * 100))
    assert await body(store) == b"long " * 100
    await store.aclose()
    assert await bodies(tmp_path / "log", clock, "k") == [b"long " * 100]


async def test_a_great_many_records_are_appended_in_calls_that_the_system_takes(
    tmp_path: Path, clock: FakeClock
) -> None:
    """FS-10: more at once than one call may be given, and less taken of each than was given."""
    store = make(tmp_path / "log", clock, ops=ShortWriteOps(100_000))
    texts = [f"k{number}" for number in range(1_200)]
    results = await store.put_many([write(clock, text, 1, text.encode() * 50) for text in texts])
    assert {result.status for result in results} == {PutStatus.STORED}
    alone = await asyncio.gather(*[put(store, write(clock, text, 2, text.encode())) for text in texts])
    assert {result.status for result in alone} == {PutStatus.STORED}
    await store.aclose()
    assert await bodies(tmp_path / "log", clock, *texts) == [text.encode() for text in texts]


async def test_what_is_no_blob_is_refused_alone(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-82: what others write in the same moment is written."""
    store = make(tmp_path / "log", clock)
    bad, worse = Write(PREFIX + "bad", b"no blob"), Write(PREFIX + "worse", None)  # type: ignore[arg-type]  # so it is
    good, *refused = await asyncio.gather(
        put(store, write(clock, "k", 1)),
        store.put_many([write(clock, "with", 1), bad]),
        store.put_many([Write(bad.key, bad.blob, once=True)]),
        return_exceptions=True,
    )
    assert isinstance(good, PutResult)
    assert [type(fault) for fault in refused] == [ValueError, ValueError]
    with pytest.raises(TypeError):
        await store.put_many([worse])
    assert [await body(store), await body(store, "with")] == [b"body", None]
    await store.aclose()


async def test_a_failed_sync_is_never_repeated_on_its_file(tmp_path: Path, clock: FakeClock) -> None:
    """FS-09: after one failed fdatasync the batch is written to a new segment and synced there."""
    ops = ErrnoOps("fdatasync", errno.EIO)
    synced: list[int] = []
    real = ops.before

    def before(name: str, *args: int) -> None:
        if name == "fdatasync":
            synced.append(os.fstat(args[0]).st_ino)
        real(name, *args)

    ops.before = before  # type: ignore[method-assign]  # looks on as well
    store = make(tmp_path / "log", clock, ops=ops)
    await quiet(store)
    await put(store, write(clock, "a", 1, b"first"))
    synced.clear()
    ops.arm()
    assert (await put(store, write(clock, "b", 1, b"promised", durable=True))).status is PutStatus.STORED
    await put(store, write(clock, "c", 1, b"after", durable=True))
    assert synced == [segments(tmp_path / "log")[0].stat().st_ino] + [segments(tmp_path / "log")[1].stat().st_ino] * 2
    assert [await body(store, text) for text in "abc"] == [b"first", b"promised", b"after"]
    await store.aclose()


async def test_a_sync_that_fails_again_is_said(tmp_path: Path, clock: FakeClock) -> None:
    """FS-09: the second failure reaches the caller; nothing is claimed to be safe, and the store goes on."""
    ops = ErrnoOps("fdatasync", errno.EIO, times=2)
    store = make(tmp_path / "log", clock, ops=ops)
    await quiet(store)
    await put(store, write(clock, "a", 1))
    ops.arm()
    with pytest.raises(OSError, match="Input/output error"):
        await put(store, write(clock, "b", 1, durable=True))
    assert (await put(store, write(clock, "b", 2, b"again", durable=True))).status is PutStatus.STORED
    assert await body(store, "b") == b"again"
    await store.aclose()


@pytest.mark.parametrize(
    ("policy", "durable", "synced"),
    [
        ("promised", True, True),
        ("promised", False, False),
        ("always", True, True),
        ("always", False, True),
        ("never", True, False),
        ("never", False, False),
    ],
)
async def test_the_policy_says_what_waits_for_the_disk(
    tmp_path: Path, clock: FakeClock, policy: str, durable: bool, synced: bool
) -> None:
    """SPEC 9: fsync="promised" waits with durable writes, "always" with each, "never" with none."""
    ops = MeddlingOps()
    store = make(tmp_path / "log", clock, ops=ops, fsync=policy)
    await quiet(store)
    before = ops.counts["fdatasync"]
    await put(store, write(clock, "k", 1, durable=durable))
    assert (ops.counts["fdatasync"] > before) is synced
    await store.aclose()


async def test_concurrent_promises_share_one_sync(tmp_path: Path, clock: FakeClock) -> None:
    """SPEC 9: what arrives while a job is at work is the next job, synced once."""
    ops = SlowOps(0.02, "fdatasync")
    store = make(tmp_path / "log", clock, ops=ops)
    await quiet(store)
    before = ops.counts["fdatasync"]
    await asyncio.gather(*(put(store, write(clock, f"k{n}", 1, durable=True)) for n in range(50)))
    assert 1 <= ops.counts["fdatasync"] - before <= 5
    await store.aclose()


async def test_a_refused_directory_is_left_alone_for_a_while(tmp_path: Path, clock: FakeClock) -> None:
    """FS-08, LR-09: one event, each call raises at once without asking again; after 30 s it is tried again."""
    ops = ErrnoOps("makedirs", errno.EACCES, times=1000)
    ops.arm()
    told: list[Event] = []
    store = make(tmp_path / "log", clock, ops=ops, announce=told.append)
    for _ in range(5):
        with pytest.raises(OSError, match="Permission denied"):
            await body(store)
        with pytest.raises(OSError, match="Permission denied"):
            await put(store, write(clock, "k", 1))
    assert ops.failed == 1
    assert told == [FilesUnavailable(str((tmp_path / "log").resolve()), "Permission denied")]
    clock.advance(29.0)
    with pytest.raises(OSError, match="Permission denied"):
        await body(store)
    assert ops.failed == 1
    clock.advance(1.5)
    with pytest.raises(OSError, match="Permission denied"):
        await body(store)
    assert ops.failed == 2
    assert len(told) == 2
    await store.aclose()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
async def test_refused_writes_rest_while_reads_go_on(tmp_path: Path, clock: FakeClock, number: int) -> None:
    """SPEC 9: EACCES, EPERM and EROFS end file writes for 30 s, with one event."""
    ops = ErrnoOps("write", number, times=1)
    told: list[Event] = []
    store = make(tmp_path / "log", clock, ops=ops, announce=told.append)
    await put(store, write(clock, "k", 1, b"old"))
    ops.arm()
    for _ in range(3):
        with pytest.raises(OSError, match=os.strerror(number)):
            await put(store, write(clock, "k", 2))
    assert (ops.failed, len(told)) == (1, 1)
    assert await body(store) == b"old"
    clock.advance(31.0)
    assert (await put(store, write(clock, "k", 2, b"new"))).status is PutStatus.STORED
    assert await body(store) == b"new"
    await store.aclose()


def test_a_directory_that_this_user_may_not_enter(tmp_path: Path) -> None:
    """FS-08, R-EACCES: run as another user than the owner of a directory of mode 0700."""
    if os.geteuid() != 0:
        (tmp_path / "shut").mkdir(mode=0o000)
        root = tmp_path / "shut" / "log"
        demote = ""
    else:
        root = tmp_path / "log"
        root.mkdir(mode=0o700)
        demote = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    code = f"""
import asyncio
from toolcache.clock import SYSTEM
from toolcache.stores.log.frame import HEAD_SIZE
from toolcache.stores.log.store import LogStore
from toolcache.versions import HybridClock
import aiofiles.os
{demote}
async def main():
    told = []
    store = LogStore({str(root)!r}, clock=SYSTEM, hybrid=HybridClock(), announce=told.append)
    for _ in range(3):
        try:
            await store.get_many(["k"])
        except OSError as fault:
            print(type(fault).__name__)
    print(len(told))
    await store.aclose()
asyncio.run(main())
"""
    package = str(Path(sys.modules["toolcache"].__file__ or "").parent.parent)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": package},
    )
    assert ran.stdout.split() == ["PermissionError", *["StoreRestingError"] * 2, "1"]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
async def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, clock: FakeClock, mode: int) -> None:
    """FS-15: the event says what to mend, and nothing is put there."""
    root = tmp_path / "log"
    root.mkdir()
    root.chmod(mode)
    told: list[Event] = []
    store = make(root, clock, announce=told.append)
    with pytest.raises(PermissionError, match="chmod go-w"):
        await put(store, write(clock, "k", 1))
    (event,) = told
    assert isinstance(event, FilesUnavailable)
    assert "chmod go-w" in event.reason
    assert names(root) == []
    await store.aclose()


async def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FS-15: even where the modes would allow it."""
    (tmp_path / "log").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    store = make(tmp_path / "log", clock)
    with pytest.raises(PermissionError, match="another user"):
        await body(store)
    await store.aclose()


@pytest.mark.parametrize("text", ["toolcache-log 2\n", "toolcache-log 10\n", "something else", "toolcache-log 2.1\n"])
async def test_a_format_of_the_future_is_not_touched(tmp_path: Path, clock: FakeClock, text: str) -> None:
    """FS-22: nothing read, nothing written, one event."""
    root = tmp_path / "log"
    root.mkdir(mode=0o700)
    (root / "FORMAT").write_text(text)
    told: list[Event] = []
    store = make(root, clock, announce=told.append)
    for _ in range(2):
        with pytest.raises(OSError, match="cannot read"):
            await put(store, write(clock, "k", 1))
    assert len(told) == 1
    assert names(root) == ["FORMAT"]
    assert (root / "FORMAT").read_text() == text
    await store.aclose()


async def test_a_minor_format_is_read(tmp_path: Path, clock: FakeClock) -> None:
    """FS-22: only the major number shuts us out."""
    root = tmp_path / "log"
    root.mkdir(mode=0o700)
    store = make(root, clock)
    await put(store, write(clock, "k", 1))
    await store.aclose()
    (root / "FORMAT").write_text("toolcache-log 1.7\n")
    assert await bodies(root, clock, "k") == [b"body"]


async def test_links_are_not_followed(tmp_path: Path, clock: FakeClock) -> None:
    """FS-14, BUG-90: a symbolic link planted as a segment, a lock or the bell leads nowhere, its target is untouched."""
    root, target = tmp_path / "log", tmp_path / "target"
    target.write_bytes(b"precious")
    store = make(root, clock)
    await put(store, write(clock, "k", 1, b"good"))
    await store.aclose()
    (root / "seg" / "0000000007-00000000000000aa.log").symlink_to(target)
    (root / "locks" / "w0").unlink()
    (root / "locks" / "w0").symlink_to(target)
    again = make(root, clock)
    assert await body(again) == b"good"
    assert (await put(again, write(clock, "k", 2, b"better"))).status is PutStatus.STORED
    await again.aclose()
    assert target.read_bytes() == b"precious"
    (root / "tails").unlink()
    (root / "tails").symlink_to(target)
    third = make(root, clock)
    with pytest.raises(OSError, match="symbolic links"):
        await body(third)
    await third.aclose()
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("once", [False, True])
async def test_a_removed_tree_is_made_again(tmp_path: Path, clock: FakeClock, once: bool) -> None:
    """FS-19: the next write finds its segment gone, makes the directory anew and is stored there."""
    root = tmp_path / "log"
    store = make(root, clock)
    await put(store, write(clock, "k", 1, b"lost"), write(clock, "j", 1, b"lost"))
    shutil.rmtree(root)
    assert (await put(store, write(clock, "k", 2, b"kept", once=once))).status is PutStatus.STORED
    assert await body(store) == b"kept"
    assert await body(store, "j") is None
    await store.aclose()
    assert await bodies(root, clock, "k", "j") == [b"kept", None]


async def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_kept(tmp_path: Path, clock: FakeClock) -> None:
    """FS-24: unfinished segments that nobody holds go at start; one that is held stays."""
    root = tmp_path / "log"
    store = make(root, clock)
    await put(store, write(clock, "k", 1))
    await store.aclose()
    for number in range(300):
        (root / "locks" / f"{number:010d}-00000000000000aa.log.tmp").touch()
    held = (root / "locks" / f"{1:010d}-00000000000000bb.log.tmp").open("w")
    import fcntl

    fcntl.flock(held, fcntl.LOCK_EX)
    again = make(root, clock)
    assert await body(again) == b"body"
    assert [path.name for path in (root / "locks").glob("*.tmp")] == [f"{1:010d}-00000000000000bb.log.tmp"]
    await again.aclose()
    held.close()


async def test_a_hung_disk_blocks_neither_the_loop_nor_reads_from_the_page_cache(
    tmp_path: Path, clock: FakeClock
) -> None:
    """FS-18, LC-14: a write that hangs leaves its caller at its deadline; the loop and cached reads go on."""
    ops = SlowOps(30.0, "write")
    ops.let_go.set()
    store = make(tmp_path / "log", clock, ops=ops)
    await put(store, write(clock, "k", 1, b"cached"))
    ops.let_go.clear()
    hung = asyncio.ensure_future(put(store, write(clock, "k", 2, b"hung")))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await put(store, write(clock, "j", 2))
    assert await body(store) == b"cached"
    assert not hung.done()
    ops.let_go.set()
    assert (await hung).status is PutStatus.STORED
    assert await body(store, "j") == b"body", "a caller that left does not take its write with it"
    await store.aclose()


async def test_who_waits_while_it_is_opened_can_tell_that_from_a_disk_that_hangs(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Fact: it is ``opening`` while one portion after another is read; not where nothing has come for a second."""
    store = make(tmp_path / "log", clock)
    for number in range(3):
        await put(store, write(clock, f"k{number}", 1, bytes(1 << 20)))
    assert not store.opening
    await store.aclose()
    met, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def before(name: str, *args: int) -> None:
        if name == "pread" and args[1] > 1 << 16:
            met.release()
            go_on.acquire()

    ops = MeddlingOps()
    ops.before = before  # type: ignore[method-assign]  # for this one
    again = make(tmp_path / "log", clock, ops=ops)
    assert not again.opening
    reading = asyncio.ensure_future(body(again, "k2"))
    await asyncio.to_thread(met.acquire)
    go_on.release()
    await asyncio.to_thread(met.acquire)
    assert again.opening, "the first portion has been read"
    clock.advance(1.1)
    assert not again.opening, "nothing has come for a while"
    for _ in range(99):
        go_on.release()
    assert await reading == bytes(1 << 20)
    assert not again.opening
    await again.aclose()


async def test_a_hung_read_leaves_its_caller_at_its_deadline(tmp_path: Path, clock: FakeClock) -> None:
    """FS-18: a read that needs the disk is a job of its own; others are read meanwhile."""
    ops = SlowOps(30.0, "pread")
    ops.let_go.set()
    store = make(tmp_path / "log", clock, ops=ops)
    await put(store, write(clock, "large", 1, bytes(100_000)), write(clock, "small", 1, b"small"))
    ops.let_go.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await body(store, "large")
    assert await body(store, "small") == b"small"
    ops.let_go.set()
    assert await body(store, "large") == bytes(100_000)
    await store.aclose()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EIO])
async def test_a_peek_that_meets_a_fault_leaves_it_to_the_read(tmp_path: Path, clock: FakeClock, number: int) -> None:
    """FS-18: a page that is not cached, and a disk that fails, are met by ``get_many``, in a thread; damage too."""
    ops = ErrnoOps("peek", number, times=100)
    store = make(tmp_path / "log", clock, ops=ops)
    key = PREFIX + "k"
    await put(store, write(clock, "k", 1))
    cached = store.peek([key])
    assert cached is not None
    ops.arm()
    assert store.peek([key]) is None
    assert await store.get_many([key]) == cached, "the disk has it"
    assert ops.failed > 1
    await store.aclose()


async def test_a_peek_at_a_damaged_record_leaves_it_to_the_read(tmp_path: Path, clock: FakeClock) -> None:
    """FS-04: which counts it, says so, and forgets it."""
    events: list[Event] = []
    store = make(tmp_path / "log", clock, announce=events.append)
    key = PREFIX + "k"
    await put(store, write(clock, "k", 1))
    overwrite(store, key, -1 + HEAD_SIZE + len(key) + 40, b"?")
    assert store.peek([key]) is None
    assert (events, log_of(store).rejected) == ([], 0)
    assert await store.get_many([key]) == [None]
    assert [type(event) for event in events] == [BlobRejected]
    assert store.peek([key]) == [None]
    await store.aclose()


async def test_name_lookups_do_not_wait_for_the_disk(tmp_path: Path, clock: FakeClock) -> None:
    """FS-17: file jobs have threads of their own, so the loop's are free for looking up names."""
    ops = SlowOps(30.0, "write", "fdatasync")
    ops.let_go.set()
    store = make(tmp_path / "log", clock, ops=ops)
    await put(store, write(clock, "k", 1))
    ops.let_go.clear()
    hung = [asyncio.ensure_future(put(store, write(clock, f"k{n}", 1))) for n in range(50)]
    await until(lambda: ops.counts["write"] > 1)
    async with asyncio.timeout(5):
        found = await asyncio.gather(
            *(asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM) for _ in range(50))
        )
    assert all(found)
    ops.let_go.set()
    await asyncio.gather(*hung)
    await store.aclose()


async def test_more_than_the_disk_can_take_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    """OR-23: while the disk hangs, what waits in memory is bounded."""
    ops = SlowOps(30.0, "write")
    ops.let_go.set()
    store = make(tmp_path / "log", clock, ops=ops)
    await put(store, write(clock, "k", 1))
    ops.let_go.clear()
    waiting = [asyncio.ensure_future(put(store, write(clock, f"k{n}", 1, bytes(8 << 20)))) for n in range(12)]
    await until(lambda: any(task.done() for task in waiting))
    with pytest.raises(TimeoutError, match="keep up"):
        await next(task for task in waiting if task.done())
    ops.let_go.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(result, TimeoutError) for result in done) >= 2
    assert sum(not isinstance(result, BaseException) for result in done) >= 7
    await store.aclose()


async def _write_and_read(store: LogStore, clock: FakeClock, outcome: list[str]) -> None:
    steps: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("a1", lambda: put(store, write(clock, "a", 1, b"a1", durable=True))),
        ("b1", lambda: put(store, write(clock, "b", 1, b"b1", pending=True, durable=True))),
        ("a2", lambda: put(store, write(clock, "a", 2, b"a2", durable=True))),
        ("once", lambda: put(store, write(clock, "c", 1, b"c1", once=True, durable=True))),
        ("compact", store.compact),
    ]
    for name, step in steps:
        try:
            await step()
        except OSError:
            continue
        outcome.append(name)


@pytest.mark.parametrize("number", ERRNOS, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("name", MUTATIONS)
async def test_whichever_call_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, clock: FakeClock, name: str, number: int
) -> None:
    """FAULTS 4: for each system call and each n, failing exactly the n-th: only OSError is raised, no leftover stays,
    and a process that starts afterwards reads what was acknowledged or something newer.
    """  # noqa: D205 - one sentence
    before = descriptors(), threading.active_count()
    for nth in range(1, 40):
        root = tmp_path / f"{nth}"
        ops = ErrnoOps(name, number, nth=nth)
        ops.arm()
        store = make(root, clock, ops=ops)
        outcome: list[str] = []
        await _write_and_read(store, clock, outcome)
        await store.aclose()
        found = await bodies(root, clock, "a", "b", "c")
        allowed = {"a": {b"a1", b"a2", None}, "b": {b"b1", None}, "c": {b"c1", None}}
        if "a1" in outcome:
            allowed["a"] = {b"a1", b"a2"}
        if "a2" in outcome:
            allowed["a"] = {b"a2"}
        if "b1" in outcome:
            allowed["b"] = {b"b1"}
        if "once" in outcome:
            allowed["c"] = {b"c1"}
        assert all(value in allowed[text] for text, value in zip("abc", found, strict=True)), (nth, outcome, found)
        assert not list(root.glob("locks/*.tmp"))
        if not ops.failed:
            break
    else:
        pytest.fail("the store makes more calls than were looked at")
    assert (descriptors(), threading.active_count()) == before
