"""Files as keys: by what is in them."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from toolcache.errors import UnsupportedKeyError
from toolcache.keys import files
from toolcache.keys.canonical import Digest
from toolcache.keys.files import file_digest


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_known", files._Known())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of all reads."""
    sizes: list[int] = []
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        chunk = real(descriptor, size)
        sizes.append(len(chunk))
        return chunk

    monkeypatch.setattr("toolcache.keys.files.os.read", read)
    return iter([sizes])


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files were written a while ago."""
    monkeypatch.setattr(files, "_SETTLED_S", -1e9)


@pytest.mark.parametrize("content", [b"", b"report", b"x" * (2 * files._CHUNK + 7)], ids=len)
async def test_a_file_is_its_content(tmp_path: Path, content: bytes) -> None:
    """BUG-76: two names of the same bytes are one digest, that of sha256sum; other bytes are another."""
    one, two, link = tmp_path / "a.pdf", tmp_path / "b.txt", tmp_path / "link"
    one.write_bytes(content)
    two.write_bytes(content)
    link.symlink_to(one)
    digests = {await file_digest(one), await file_digest(str(two)), await file_digest(link)}
    assert digests == {Digest(sha256(content).hexdigest())}
    two.write_bytes(content + b"!")
    assert await file_digest(two) not in digests


async def test_a_file_is_read_again_only_when_it_has_changed(
    tmp_path: Path, reads: Iterator[list[int]], settled: None
) -> None:
    """BUG-76: the digest is remembered by device, inode, size and times; also when the time is set back."""
    sizes = next(reads)
    path = tmp_path / "file"
    path.write_bytes(b"old!")
    first = await file_digest(path)
    assert await file_digest(path) == await file_digest(str(path)) == first
    assert sum(sizes) == 4
    path.rename(tmp_path / "renamed")
    assert await file_digest(tmp_path / "renamed") == await file_digest(tmp_path / "renamed")
    (tmp_path / "renamed").rename(path)
    sizes.clear()
    assert await file_digest(path) == first
    before = path.stat()
    await asyncio.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(b"new!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await file_digest(path) == sha256(b"new!").hexdigest() != first


async def test_a_file_of_this_moment_is_not_remembered(tmp_path: Path, reads: Iterator[list[int]]) -> None:
    """BUG-76: another change within one tick of the file system's clock would show nowhere."""
    sizes = next(reads)
    path = tmp_path / "file"
    path.write_bytes(b"old!")
    await file_digest(path)
    await file_digest(path)
    assert sum(sizes) == 8


@pytest.mark.parametrize("change", [b"longer than before", b"shorts", b"as long!"])
async def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    """BUG-76: what is half old and half new is no content of a file: it is read anew, and refused if that goes on."""
    path = tmp_path / "file"
    path.write_bytes(b"at first")
    monkeypatch.setattr(files, "_CHUNK", 4)
    real, writes = os.read, [1]

    def read(descriptor: int, size: int) -> bytes:
        chunk = real(descriptor, size)
        if writes[0] > 0:
            writes[0] -= 1
            path.write_bytes(change)
            os.utime(path, ns=(0, writes[0]))
        return chunk

    monkeypatch.setattr("toolcache.keys.files.os.read", read)
    assert await file_digest(path) == sha256(change).hexdigest()
    path.write_bytes(b"at first")
    writes[0] = 1_000
    with pytest.raises(UnsupportedKeyError, match="changes while it is read"):
        await file_digest(path)


async def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """BUG-76: a folder, a pipe without a writer (which would wait for ever), a missing file; none is told by its name."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UnsupportedKeyError, match="regular file"):
            await asyncio.wait_for(file_digest(path), 5)
    with pytest.raises(FileNotFoundError):
        await file_digest(tmp_path / "missing")


async def test_the_loop_goes_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-76, BUG-15: a read that hangs holds up nobody else."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    release, threads = threading.Event(), list[threading.Thread]()
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        threads.append(threading.current_thread())
        release.wait(10)
        return real(descriptor, size)

    monkeypatch.setattr("toolcache.keys.files.os.read", read)
    waiting = asyncio.ensure_future(file_digest(path))
    turns = 0
    while not threads or turns < 100:
        await asyncio.sleep(0)
        turns += 1
    assert not waiting.done()
    release.set()
    assert await waiting == sha256(b"content").hexdigest()
    assert threading.main_thread() not in threads


async def test_the_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: None) -> None:
    """BUG-97: the oldest of too many digests is forgotten."""
    monkeypatch.setattr(files, "_REMEMBERED", 3)
    for number in range(7):
        path = tmp_path / str(number)
        path.write_bytes(b"%d" % number)
        await file_digest(path)
    assert len(files._known._digests) == 3
    assert list(files._known._digests.values())[-1] == sha256(b"6").hexdigest()


def test_the_digests_of_many_threads(tmp_path: Path, settled: None) -> None:
    """BUG-76: several loops at once."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    found: list[Any] = []
    work: Callable[[], None] = lambda: found.append(asyncio.run(file_digest(path)))  # noqa: E731 - named for the threads
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {sha256(b"content").hexdigest()}
