"""The bell: how a process learns that another has written.

``tails`` holds one 8-byte counter per writer's slot. A writer raises its own after every append, new segment and
removal, before it acknowledges; everybody compares the whole with what stood there before they last followed. It is
read and written by calls, never mapped: a store into a mapped file on a full disk kills the process.
"""

import errno
import os
from typing import Final

from toolcache.stores.log.ops import File, FileOps

SLOTS: Final = 256
SIZE: Final = 4096
_WIDTH: Final = 8
_CANNOT: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_READ: Final = SLOTS * _WIDTH


class Bell:
    """The counters of one root.

    Args:
        ops: the system calls.
        path: of ``tails``.

    Attributes:
        nowait: whether the file system here can say what is in the page cache.
    """

    def __init__(self, ops: FileOps, path: str) -> None:
        self._ops = ops
        self._peek = ops.peek
        self._file = File(ops, path, os.O_RDWR)
        self._heard = b""
        self._buffer = bytearray(_READ)
        self._at = -1
        self._count = 0
        self.nowait = self._can_peek()

    def _can_peek(self) -> bool:
        try:
            self._ops.peek(self._file.fd, bytearray(1), 0)
        except OSError as fault:
            return fault.errno not in _CANNOT
        return True

    def take(self, slot: int) -> None:
        """Ring as the writer in this slot from now on."""
        raw = self._ops.pread(self._file.fd, _WIDTH, slot * _WIDTH)
        self._at, self._count = slot * _WIDTH, int.from_bytes(raw, "big")

    def rang(self) -> bool:
        """Whether another process has written since ``heard``.

        True where that cannot be told without the disk, or at all: who follows then, in a thread, meets the fault.
        """
        # a buffer of its own per call would cost more than the call; threads that share it hear at worst a false alarm
        buffer = self._buffer
        try:
            if not self.nowait:
                return self._ops.pread(self._file.fd, _READ, 0) != self._heard
            return self._peek(self._file.fd, buffer, 0) != _READ or buffer != self._heard
        except OSError:
            return True

    def listen(self) -> bytes:
        """What the counters say now: to be taken before following, and given to ``heard`` after it."""
        return self._ops.pread(self._file.fd, _READ, 0)

    def heard(self, counters: bytes) -> None:
        """All that was written before these counters were taken is known here."""
        self._heard = counters

    def ring(self) -> None:
        """Tell the others. The caller holds the log's lock."""
        self._count += 1
        raw = (self._count & (1 << 64) - 1).to_bytes(_WIDTH, "big")
        self._ops.pwrite(self._file.fd, raw, self._at)
        self._heard = self._heard[: self._at] + raw + self._heard[self._at + _WIDTH :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
