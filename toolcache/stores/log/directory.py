"""The directory that the processes of a host share.

root/FORMAT            "toolcache-log 1"; another major number is not touched
root/tails             the bell
root/seg/<n>-<writer>.log
root/locks/w<slot>     held by a writer while it lives, its node id inside
root/locks/claims      held while a write-once write or a claim is decided
root/locks/compact     held while segments are rewritten
root/locks/replay      held while Redis is told what it missed; the run id of the server told last inside
root/locks/<name>.tmp  a segment not yet in its place
"""

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from toolcache.stores.log.bell import SIZE, SLOTS
from toolcache.stores.log.ops import File, FileOps
from toolcache.stores.log.segment import name_of, order_of

_FORMAT: Final = b"toolcache-log 1"
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OWN: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
_ATTEMPTS: Final = 5
_NOTE: Final = 64
_NODE: Final = 8


class LockedNote:
    """A lock file that is held; ``noted`` is the short text that was in it when it was locked."""

    def __init__(self, ops: FileOps, file: File) -> None:
        self._ops = ops
        self._file = file
        self.noted = ops.pread(file.fd, _NOTE, 0).decode("ascii", "replace").strip()

    def note(self, text: str) -> None:
        """Leave word to those who lock it later."""
        self._ops.pwrite(self._file.fd, text.ljust(_NOTE).encode("ascii", "replace")[:_NOTE], 0)

    def close(self) -> None:
        """Let others have the lock."""
        self._file.release()


class Directory:
    """Names, checks and locks under one root.

    Args:
        ops: the system calls.
        root: its real path.
    """

    def __init__(self, ops: FileOps, root: str) -> None:
        self.root = root
        self._format_path = f"{root}/FORMAT"
        self.tails = f"{root}/tails"
        self.segments = f"{root}/seg"
        self._locks = f"{root}/locks"
        self._last = 0
        self._ops = ops

    def prepare(self) -> None:
        """Make what is missing, and refuse what is not ours alone or of another format.

        Raises:
            OSError: the root cannot be used; the text says why.
        """
        self._own(self.root)
        formatted = self._known_format()
        self._own(self.segments)
        self._own(self._locks)
        if not formatted:
            held = File(self._ops, self._lock_path("init"), os.O_RDWR | os.O_CREAT)
            self._ops.flock(held.fd, wait=True)
            if not self._known_format():
                self._format()
            held.release()
        for name in self._ops.listdir(self._locks):
            if name.endswith(".tmp"):
                self._sweep(name)

    def list(self) -> list[str]:
        """The names of the segments, oldest first."""
        found = {name: order for name in self._ops.listdir(self.segments) if (order := order_of(name))}
        return sorted(found, key=found.__getitem__)

    def open(self, name: str) -> File:
        """A segment, for reading."""
        return File(self._ops, f"{self.segments}/{name}", os.O_RDONLY)

    def create(self, writer: bytes) -> tuple[str, File]:
        """A new segment of this process, numbered above all others, locked before anybody can see it.

        Above those too that it made and that are gone: others may not have noticed yet, and would take a second one of
        that name for the first.
        """
        for _ in range(_ATTEMPTS):
            last = order_of(names[-1]) if (names := self.list()) else None
            self._last = max(self._last, last[0] if last else 0) + 1
            name = name_of(self._last, writer)
            path = self._lock_path(name + ".tmp")
            try:
                file = File(self._ops, path, _OWN)
            except FileExistsError:
                # begun by this very writer, and given up
                self._sweep(f"{name}.tmp")
                continue
            try:
                self._ops.flock(file.fd)
                self._ops.rename(path, f"{self.segments}/{name}")
            except OSError as fault:
                file.close()
                with suppress(OSError):
                    self._ops.unlink(path)
                # another process, sweeping, took it for a dead one's
                if not isinstance(fault, BlockingIOError | FileNotFoundError):
                    raise
            else:
                return name, file
        raise FileNotFoundError(errno.ENOENT, "no segment could be put in place", self.segments)

    def remove(self, name: str) -> None:
        """Remove a segment; those who have it open can go on reading."""
        with suppress(FileNotFoundError):
            self._ops.unlink(f"{self.segments}/{name}")

    def anchor(self) -> None:
        """Wait until the segments' names are on the disk."""
        self._ops.fsync_dir(self.segments)

    def take_slot(self, node: bytes) -> tuple[int, File]:
        """The first free writer's slot, and the lock that holds it."""
        for slot in range(SLOTS):
            try:
                file = self.lock(f"w{slot}")
            except OSError as fault:
                # held by another, or a planted link
                if fault.errno not in {errno.EAGAIN, errno.ELOOP}:
                    raise
                continue
            self._ops.pwrite(file.fd, node.hex().encode(), 0)
            return slot, file
        raise OSError(errno.EAGAIN, f"{SLOTS} processes write here already", self.root)

    def holder(self, slot: int) -> bytes | None:
        """The node of the writer that holds a slot; None if it is free."""
        try:
            file = File(self._ops, self._lock_path(f"w{slot}"), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            self._ops.flock(file.fd, shared=True)
        except BlockingIOError:
            text = self._ops.pread(file.fd, 2 * _NODE, 0)
            return bytes.fromhex(text.decode("ascii")) if len(text) == 2 * _NODE else b""
        finally:
            file.release()
        return None

    def take_turn(self) -> LockedNote | None:
        """The lock of those who replay; None where another process holds it."""
        try:
            return LockedNote(self._ops, self.lock("replay"))
        except BlockingIOError:
            return None

    def lock(self, name: str) -> File:
        """A lock file, held until it is closed; BlockingIOError where another holds it."""
        file = File(self._ops, self._lock_path(name), os.O_RDWR | os.O_CREAT)
        try:
            self._ops.flock(file.fd)
        except BaseException:
            file.close()
            raise
        return file

    def _lock_path(self, name: str) -> str:
        return f"{self._locks}/{name}"

    def _own(self, path: str) -> None:
        self._ops.makedirs(path)
        file = File(self._ops, path, os.O_RDONLY | os.O_DIRECTORY)
        status = self._ops.fstat(file.fd)
        file.close()
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "belongs to another user: choose another directory", path)
        if status.st_mode & _OTHERS_WRITE:
            raise PermissionError(errno.EPERM, "others may write here: chmod go-w", path)

    def _known_format(self) -> bool:
        try:
            file = File(self._ops, self._format_path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        found = self._ops.pread(file.fd, 2 * len(_FORMAT), 0)
        file.close()
        if found and found.rstrip(b"\n").split(b".")[0] != _FORMAT:
            raise OSError(errno.EPROTONOSUPPORT, "written by a version that this one cannot read", self._format_path)
        return bool(found)

    def _format(self) -> None:
        """FORMAT comes last: where it says something, everything is there."""
        tails = File(self._ops, self.tails, os.O_RDWR | os.O_CREAT)
        self._ops.pwrite(tails.fd, bytes(SIZE), 0)
        tails.close()
        file = File(self._ops, self._format_path, os.O_RDWR | os.O_CREAT)
        self._ops.pwrite(file.fd, _FORMAT + b"\n", 0)
        self._ops.fdatasync(file.fd)
        file.close()
        self._ops.fsync_dir(self.root)

    def _sweep(self, name: str) -> None:
        """Remove an unfinished segment, unless its writer is alive."""
        with suppress(OSError):
            file = self.lock(name)
            self._ops.unlink(self._lock_path(name))
            file.release()
