"""The file store among several processes of a host."""

import asyncio
import fcntl
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fileops import MeddlingOps
from logs import PREFIX, body, log_of, make, put, quiet, segments, write

from toolcache.clock import SYSTEM
from toolcache.protocols import PutStatus, Write
from toolcache.stores.log.directory import Directory
from toolcache.stores.log.ops import FileOps
from toolcache.stores.log.store import LogStore
from toolcache.testing.stores import version_of

_PACKAGE = Path(sys.modules["toolcache"].__file__ or "").parent.parent
_HEAD = """
import asyncio, os, sys
from pathlib import Path
from logs import PREFIX, body, log_of, make, put, segments, write
from toolcache.blob import RECORD
from toolcache.clock import SYSTEM
from toolcache.protocols import PutStatus, Write
from toolcache.stores.log.ops import FileOps
root = Path(sys.argv[1])

def tell(text):
    print(text, flush=True)

def wait():
    sys.stdin.readline()
"""


@contextmanager
def process(root: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Another interpreter at work on the directory; it and the test speak over pipes."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HEAD + textwrap.dedent(code), str(root)],
        env=os.environ | {"PYTHONPATH": f"{_PACKAGE}:{Path(__file__).parent}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def heard(child: "subprocess.Popen[str]") -> str:
    """The next line that a process tells."""
    assert child.stdout is not None
    return (await asyncio.to_thread(child.stdout.readline)).strip()


def tell(child: "subprocess.Popen[str]") -> None:
    """Let a process that waits go on."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


async def test_what_another_process_wrote_is_read_at_once(tmp_path: Path) -> None:
    """I3: after its acknowledgement, by whoever asks next; pending records too; and the other way round."""
    root = tmp_path / "log"
    store = make(root, SYSTEM)
    assert await body(store) is None
    code = """
    async def main():
        store = make(root, SYSTEM)
        await put(store, write(SYSTEM, "k", 1, b"of the child", pending=True))
        tell("written")
        wait()
        tell((await body(store)).decode())
        await store.aclose()
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        assert await body(store) == b"of the child"
        await put(store, write(SYSTEM, "k", 2, b"of the parent"))
        tell(child)
        assert await heard(child) == "of the parent"
    await store.aclose()


async def test_a_segment_takes_no_name_of_a_removed_one(tmp_path: Path) -> None:
    """I3: who has the removed one open still, and has not looked since, would never open the one in its place."""
    root = tmp_path / "log"
    store = make(root, SYSTEM)
    code = """
    async def main():
        store = make(root, SYSTEM)
        await put(store, write(SYSTEM, "k", 1, b"older"))
        tell("written")
        wait()
        log, segment = log_of(store), store._shared.writer._active
        store._shared.writer._seal()
        log.directory.remove(segment.name)
        log.drop(segment)
        await put(store, write(SYSTEM, "k", 2, b"newer"))
        tell("written")
        wait()

    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        assert await body(store) == b"older"
        tell(child)
        assert await heard(child) == "written"
        assert await body(store) == b"newer"
    await store.aclose()


async def test_pending_hears_the_bell(tmp_path: Path) -> None:
    """SPEC 5.1: a record that another process of the host owes Redis shadows Redis here too; ``ready`` hears of it."""
    root = tmp_path / "log"
    store = make(root, SYSTEM)
    await store.open()
    code = """
    async def main():
        store = make(root, SYSTEM)
        await put(store, write(SYSTEM, "k", 1, pending=True))
        tell("written")
        wait()
        await store.settle([(PREFIX + "k", (1).to_bytes(6, "big") + bytes(2) + b"contract")])
        tell("settled")
        wait()
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        assert not store.ready
        await store.open()
        assert store.ready
        assert store.pending(PREFIX + "k")
        tell(child)
        assert await heard(child) == "settled"
        assert not store.ready
        await store.open()
        assert not store.pending(PREFIX + "k")
        tell(child)
    await store.aclose()


async def test_of_write_once_writers_in_two_processes_one_wins(tmp_path: Path) -> None:
    """SPEC 9: they decide under one lock, after following, so never both store."""
    root = tmp_path / "log"
    store = make(root, SYSTEM)
    await store.open()
    code = """
    async def main():
        store = make(root, SYSTEM)
        await store.open()
        tell("ready")
        wait()
        done = await asyncio.gather(
            *(put(store, write(SYSTEM, f"k{n}", 2, b"child", once=True)) for n in range(200))
        )
        tell(" ".join(str(n) for n, result in enumerate(done) if result.status is PutStatus.STORED))
        wait()
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "ready"
        tell(child)
        here = []
        for n in range(199, -1, -1):
            result = await put(store, write(SYSTEM, f"k{n}", 1, b"parent", once=True))
            here += [n] if result.status is PutStatus.STORED else []
        there = [int(n) for n in (await heard(child)).split()]
        assert sorted(here + there) == list(range(200))
        assert [await body(store, f"k{n}") for n in there] == [b"child"] * len(there)
        tell(child)
    await store.aclose()


async def test_a_killed_process_leaves_what_it_acknowledged(tmp_path: Path) -> None:
    """LC-13: without aclose, without a goodbye; its slot and its segment are free for others."""
    root = tmp_path / "log"
    code = """
    async def main():
        store = make(root, SYSTEM)
        for n in range(50):
            await put(store, write(SYSTEM, f"k{n}", 1, b"%d" % n, pending=True))
        tell("written")
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        child.kill()
        child.wait()
    store = make(root, SYSTEM)
    assert [await body(store, f"k{n}") for n in range(50)] == [b"%d" % n for n in range(50)]
    assert all(store.pending(f"{PREFIX}k{n}") for n in range(50))
    await put(store, write(SYSTEM, "k", 1))
    assert (root / "locks" / "w0").read_bytes() == log_of(store).hybrid.node.hex().encode()
    assert not (root / "locks" / "w1").exists()
    await store.aclose()


async def test_a_process_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    """LC-13: and ends; idle threads keep nobody alive."""
    root = tmp_path / "log"
    code = """
    async def main():
        await put(make(root, SYSTEM), write(SYSTEM, "k", 1, b"kept"))
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await asyncio.to_thread(child.wait, 10) == 0
    store = make(root, SYSTEM)
    assert await body(store) == b"kept"
    await store.aclose()


async def test_a_live_segment_is_left_alone_by_compaction(tmp_path: Path) -> None:
    """SPEC 9: liveness is the lock; once its writer is dead, the segment is anybody's."""
    root = tmp_path / "log"
    code = """
    async def main():
        store = make(root, SYSTEM)
        for version in range(1, 20):
            await put(store, write(SYSTEM, "k", version, bytes(1000)))
        tell("written")
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        store = make(root, SYSTEM)
        await store.compact()
        assert sum(path.stat().st_size for path in segments(root)) > 15_000
        child.kill()
        child.wait()
        await store.compact()
        assert sum(path.stat().st_size for path in segments(root)) < 5_000
        assert await body(store) == bytes(1000)
        await store.aclose()


async def _in_slot(root: Path, slot: str) -> LogStore:
    """A store that has a slot, which nobody holds for longer than it takes to ask whose it is."""
    while True:
        store = make(root, SYSTEM)
        await put(store, write(SYSTEM, "k", 1))
        if (root / "locks" / slot).read_text() == log_of(store).hybrid.node.hex():
            return store
        await store.aclose()


async def test_fork(tmp_path: Path) -> None:
    """LC-09, LC-10: a child that goes on with its parent's store has a slot, a segment and descriptors of its own, and
    keeps none of the parent's locks.
    """  # noqa: D205 - one sentence
    root = tmp_path / "log"
    code = """
    store = make(root, SYSTEM)

    async def work(who, first):
        for n in range(first, first + 100):
            await put(store, write(SYSTEM, who, n, who.encode() + b"%d" % n))
            assert await body(store, who) == who.encode() + b"%d" % n
        assert await body(store, "before") == b"before"

    asyncio.run(put(store, write(SYSTEM, "before", 1, b"before")))
    claims = log_of(store).directory.lock("other")
    pid = os.fork()
    if pid == 0:
        asyncio.run(work("child", 1))
        os.write(1, b"child done\\n")
        sys.stdin.readline()
        asyncio.run(store.aclose())
        os._exit(0)
    asyncio.run(work("parent", 1))
    node = log_of(store).hybrid.node.hex()
    assert (root / "locks" / "w0").read_text() == node
    tell("parent done")
    os._exit(0)
    """
    with process(root, code) as child:
        assert {await heard(child), await heard(child)} == {"child done", "parent done"}
        assert await asyncio.to_thread(child.wait, 10) == 0
        store = await _in_slot(root, "w0")  # the dead parent's is free
        assert [await body(store, who) for who in ("child", "parent")] == [b"child100", b"parent100"]
        log_of(store).directory.lock("other").close()  # what the dead parent held, the child that lives does not keep
        held = {slot.name for slot in (root / "locks").glob("w*")}
        assert held >= {"w0", "w1"}
        tell(child)
        await store.aclose()


async def test_versions_decide_between_processes(tmp_path: Path) -> None:
    """OR-05: a write that meets a newer one of another process, not yet heard of, follows first and is told so."""
    root = tmp_path / "log"
    store = make(root, SYSTEM)
    await put(store, write(SYSTEM, "k", 1))
    code = """
    async def main():
        store = make(root, SYSTEM)
        await put(store, write(SYSTEM, "k", 5, b"newer"))
        tell("written")
        wait()
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        result = await put(store, write(SYSTEM, "k", 3, b"older"))
        assert (result.status, result.version, result.was_live) == (PutStatus.NEWER, version_of(5), True)
        assert await body(store) == b"newer"
        tell(child)
    await store.aclose()


class Elsewhere:
    """A segment that another process is writing, played by the test: alive until it is closed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = (root / "seg" / "0000000009-00000000000000aa.log").open("wb", buffering=0)
        self._count = 0
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def append(self, data: bytes, *, ring: bool = True) -> None:
        self._file.write(data)
        if ring:
            self._count += 1
            with (self._root / "tails").open("r+b") as bell:
                bell.seek(8 * 200)
                bell.write(self._count.to_bytes(8, "big"))

    def close(self) -> None:
        self._file.close()


async def records(tmp_path: Path, *writes: Write) -> bytes:
    """Records as a store writes them."""
    store = make(tmp_path / "elsewhere", SYSTEM)
    await quiet(store)
    await put(store, *writes)
    await store.aclose()
    return segments(tmp_path / "elsewhere")[-1].read_bytes()


async def test_a_half_written_record_of_a_live_segment_is_not_yet_there(tmp_path: Path) -> None:
    """SPEC 9: it is read once it is whole."""
    data = await records(tmp_path, write(SYSTEM, "k", 1, b"slowly"))
    reader = make(tmp_path / "log", SYSTEM)
    await put(reader, write(SYSTEM, "j", 1))
    elsewhere = Elsewhere(tmp_path / "log")
    for part, found in ((data[:20], None), (data[20:100], None), (data[100:], b"slowly")):
        elsewhere.append(part)
        assert await body(reader) == found
    assert log_of(reader).rejected == 0
    elsewhere.close()
    await reader.aclose()


async def test_what_is_added_before_a_segment_is_sealed_is_not_lost_by_compaction(tmp_path: Path) -> None:
    """FS-20: the compactor reads a segment to its end once nobody can add to it, whether or not a bell rang."""
    old = await records(tmp_path, write(SYSTEM, "k", 1, bytes(1000)))
    late = await records(tmp_path, write(SYSTEM, "k", 2, b"added late"))
    store = make(tmp_path / "log", SYSTEM)
    await quiet(store)
    elsewhere = Elsewhere(tmp_path / "log")
    elsewhere.append(old)
    assert await body(store) == bytes(1000)
    await put(store, write(SYSTEM, "j", 1))
    elsewhere.append(late, ring=False)
    elsewhere.close()
    await store.compact()
    assert await body(store) == b"added late"
    await store.aclose()


async def test_a_read_behind_an_opening_sees_what_was_written_since_it_began(tmp_path: Path) -> None:
    """I3: an index being built may have passed by what was acknowledged before this read was asked for."""
    data = await records(tmp_path, write(SYSTEM, "k", 1, b"meanwhile"))
    maker = make(tmp_path / "log", SYSTEM)
    await maker.open()
    await maker.aclose()
    listed, go_on = threading.Event(), threading.Event()

    class Waiting(FileOps):
        def listdir(self, path: str) -> list[str]:
            names = super().listdir(path)
            if path.endswith("seg") and not listed.is_set():
                listed.set()
                go_on.wait(10)
            return names

    store = make(tmp_path / "log", SYSTEM, ops=Waiting())
    opening = asyncio.ensure_future(store.open())
    await asyncio.to_thread(listed.wait, 10)
    elsewhere = Elsewhere(tmp_path / "log")
    elsewhere.append(data)
    reading = asyncio.ensure_future(body(store))
    await asyncio.sleep(0.01)
    go_on.set()
    assert await reading == b"meanwhile"
    await opening
    elsewhere.close()
    await store.aclose()


async def test_what_a_promise_finds_instead_is_synced_before_it_is_relied_on(tmp_path: Path) -> None:
    """DECISIONS, dispatch: a result in another's unsealed segment may not be on the disk yet; the answer waits for it."""
    root = tmp_path / "log"
    ops = MeddlingOps()
    store = make(root, SYSTEM, ops=ops)
    await quiet(store)
    code = """
    async def main():
        store = make(root, SYSTEM, fsync="never")
        await put(store, write(SYSTEM, "k", 1, b"first", once=True, durable=True))
        tell("written")
        wait()
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        before = ops.counts["fdatasync"]
        assert (await put(store, write(SYSTEM, "k", 2, once=True))).status is PutStatus.NEWER
        assert ops.counts["fdatasync"] == before
        assert (await put(store, write(SYSTEM, "k", 2, once=True, durable=True))).status is PutStatus.NEWER
        assert ops.counts["fdatasync"] == before + 1
        tell(child)
    await store.aclose()


async def test_a_peek_hears_the_bell_and_relies_on_nothing_unsynced(tmp_path: Path) -> None:
    """I3, FS-11: what another process has just written, and its results before they are on the disk, a read fetches."""
    root = tmp_path / "log"
    store = make(root, SYSTEM)
    await quiet(store)
    key = PREFIX + "k"
    assert store.peek([key]) == [None]
    code = """
    async def main():
        store = make(root, SYSTEM, fsync="never")
        await put(store, write(SYSTEM, "k", 1, b"of the child", flags=RECORD))
        tell("written")
        wait()
    asyncio.run(main())
    """
    with process(root, code) as child:
        assert await heard(child) == "written"
        assert store.peek([key]) is None
        await store.open()
        assert store.in_step() is False
        assert store.peek([key]) is None, "heard of, and not on the disk as far as is known"
        read = await store.get_many([key])
        assert read[0] is not None
        assert store.peek([key]) == read
        tell(child)
    await store.aclose()


def test_a_lock_is_let_go_of_although_a_child_has_a_copy(tmp_path: Path) -> None:
    """A child forked while a lock file was being opened has its descriptor: it waits for no lock that the parent has left."""
    directory = Directory(FileOps(), str(tmp_path / "log"))
    directory.prepare()
    held = directory.lock("replay")
    copy = os.dup(held.fd)
    with pytest.raises(BlockingIOError):
        directory.lock("replay")
    held.release()
    directory.lock("replay").release()
    os.close(copy)
