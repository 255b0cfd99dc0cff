"""The system calls of the log, behind one seam, so that tests can make any of them fail, stall or fall short."""

# ruff: noqa: PTH104, PTH108, PTH208, PTH103
# System calls under their own names, so that one sees which they are.

import errno
import os
from collections.abc import Sequence
from typing import Final
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows has neither flock nor what the log builds on it
    fcntl = None  # type: ignore[assignment]

VECTOR: Final = 1024
"""Parts that one call may be given, on Linux and macOS alike."""
_NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
_SAFE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class FileOps:
    """The real ones. Each raises OSError."""

    def open(self, path: str, flags: int) -> int:
        """A descriptor; never through a symbolic link, never inherited by a program; created for the owner alone."""
        return os.open(path, flags | _SAFE, 0o600)

    def close(self, fd: int) -> None:
        """Close a descriptor, and let go of its flock."""
        os.close(fd)

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        """Append, one behind the other; how many bytes were taken. At most ``VECTOR`` parts."""
        return os.writev(fd, parts)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """Write at an offset."""
        return os.pwrite(fd, data, offset)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read at an offset; fewer bytes at the end of the file. May wait for the disk."""
        return os.pread(fd, size, offset)

    def peek(self, fd: int, buffer: bytearray, offset: int) -> int:
        """Read what is in the page cache; BlockingIOError where that needs the disk, EOPNOTSUPP where it cannot be told."""
        if _NOWAIT is None:
            raise OSError(errno.EOPNOTSUPP, "no preadv with RWF_NOWAIT here")
        return os.preadv(fd, (buffer,), offset, _NOWAIT)

    def fstat(self, fd: int) -> os.stat_result:
        """Size, links, owner and mode."""
        return os.fstat(fd)

    def fdatasync(self, fd: int) -> None:
        """Wait until what was written is on the disk."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def fsync_dir(self, path: str) -> None:
        """Wait until the names in a directory are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """Give a file its other name."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def listdir(self, path: str) -> list[str]:
        """The names in a directory."""
        return os.listdir(path)

    def makedirs(self, path: str) -> None:
        """A directory for the owner alone, with its parents; there already is as good."""
        os.makedirs(path, mode=0o700, exist_ok=True)

    def flock(self, fd: int, *, shared: bool = False, wait: bool = False) -> None:
        """Lock a whole file; BlockingIOError where another holds it and ``wait`` is false.

        flock, not POSIX locks: those are lost when any descriptor of the file is closed.
        """
        if fcntl is None:
            raise OSError(errno.ENOSYS, "this platform has no flock")
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(fd, kind if wait else kind | fcntl.LOCK_NB)

    def unlock(self, fd: int) -> None:
        """Let go of a lock on every copy of the descriptor."""
        fcntl.flock(fd, fcntl.LOCK_UN)


class File:
    """A descriptor, closed when nobody holds it any more: a reader may still be at a file that others gave up."""

    __slots__ = ("__weakref__", "_ops", "fd")

    def __init__(self, ops: FileOps, path: str, flags: int) -> None:
        self.fd = -1
        self._ops = ops
        self.fd = ops.open(path, flags)
        _open.add(self)

    def close(self) -> None:
        """Close it now."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._ops.close(fd)

    def release(self) -> None:
        """Let go of its lock, and close it. A child that was forked while it was being opened has a copy, and keeps that."""
        if self.fd >= 0:
            self._ops.unlock(self.fd)
        self.close()

    def __del__(self) -> None:
        self.close()


_open: Final[WeakSet[File]] = WeakSet()


def close_all() -> None:
    """In a forked child: close what the parent had open, or its locks would be held for as long as the child lives."""
    for file in tuple(_open):
        file.close()
