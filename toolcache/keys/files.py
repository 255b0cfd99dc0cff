"""The content of files as keys: what is in a file decides, whatever it is called."""

import os
import stat
import time
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

from toolcache.aside import aside
from toolcache.errors import UnsupportedKeyError
from toolcache.keys.canonical import Digest

_CHUNK: Final = 1 << 20
_TRIES: Final = 3
_REMEMBERED: Final = 4_096
_SETTLED_S: Final = 2.0
"""Seconds after which another change is sure to show in a file's times; the coarsest clocks of file systems tick so slowly."""


class _State(NamedTuple):
    """What changes when a file does: also its inode's time, as that of its content can be set back."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class _Known:
    """Digests of files, by their states; bounded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._digests: dict[_State, Digest] = {}

    def get(self, state: _State) -> Digest | None:
        return self._digests.get(state)

    def put(self, state: _State, digest: Digest) -> None:
        with self._lock:
            while len(self._digests) >= _REMEMBERED:
                del self._digests[next(iter(self._digests))]
            self._digests[state] = digest


_known: Final = _Known()


async def file_digest(path: str | os.PathLike[str]) -> Digest:
    """The SHA-256 of a file's content, to stand for the file in keys: another name for the same bytes is the same key.

    It is read piece by piece in a thread, and not again while device, inode, size and times are as they were.

    Args:
        path: of a regular file; links are followed.

    Raises:
        OSError: it cannot be read.
        UnsupportedKeyError: it is no regular file, or was being written each time it was read.

    Examples:
        >>> vector = await embed_file(await file_digest("report.pdf"), "report.pdf")
    """
    return await aside(partial(_digest_of, os.fspath(path)))


def _digest_of(path: str) -> Digest:
    for _ in range(_TRIES):
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            state = _state(descriptor)
            known = _known.get(state)
            if known is not None:
                return known
            found = _read(descriptor, state.size)
            if found is not None and _state(descriptor) == state:
                if time.time() - max(state.mtime_ns, state.ctime_ns) / 1e9 > _SETTLED_S:
                    _known.put(state, found)
                return found
        finally:
            os.close(descriptor)
    raise UnsupportedKeyError("a file that changes while it is read has no digest: wait until it is written")


def _state(descriptor: int) -> _State:
    told = os.fstat(descriptor)
    if not stat.S_ISREG(told.st_mode):
        raise UnsupportedKeyError("only a regular file has a digest, and this is a folder, a pipe or a device")
    return _State(told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)


def _read(descriptor: int, size: int) -> Digest | None:
    """The digest of what is there; None if it is not as long as it was."""
    digest, read = sha256(), 0
    while read <= size and (chunk := os.read(descriptor, _CHUNK)):
        digest.update(chunk)
        read += len(chunk)
    return Digest(digest.hexdigest()) if read == size else None
