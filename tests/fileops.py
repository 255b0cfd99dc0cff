"""System calls that fail, stall, fall short or are written down: doubles for the file store's one seam."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from toolcache.stores.log.ops import FileOps

CALLS = tuple(name for name in vars(FileOps) if not name.startswith("_"))
MUTATIONS = tuple(name for name in CALLS if name not in {"peek", "pread", "fstat", "listdir", "close", "unlock"})

Recorded: TypeAlias = tuple[Any, ...]


class MeddlingOps(FileOps):
    """The real calls, each announced to ``before`` with its name and arguments. ``counts`` says how often each was made."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def before(self, name: str, *args: Any) -> None:
        """Look on, wait, or raise."""

    def _meddle(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self.counts[name] += 1
        self.before(name, *args)
        return real(self, *args, **kwargs)


def _wrapped(name: str) -> Callable[..., Any]:
    real = getattr(FileOps, name)

    def call(self: MeddlingOps, *args: Any, **kwargs: Any) -> Any:
        return self._meddle(name, real, *args, **kwargs)

    return call


for _name in CALLS:
    setattr(MeddlingOps, _name, _wrapped(_name))


class ErrnoOps(MeddlingOps):
    """Fails the ``nth`` call of ``name`` from ``arm`` on, and ``times`` in all."""

    def __init__(self, name: str, number: int, *, nth: int = 1, times: int = 1) -> None:
        super().__init__()
        self.name = name
        self.number = number
        self.failed = 0
        self._first = nth
        self._last = nth + times - 1
        self._seen = 0
        self._armed = False

    def arm(self) -> None:
        """Fail from now on."""
        self._armed = True

    def before(self, name: str, *args: Any) -> None:
        if not self._armed or name != self.name:
            return
        self._seen += 1
        if self._first <= self._seen <= self._last:
            self.failed += 1
            raise OSError(self.number, os.strerror(self.number))


class ShortWriteOps(MeddlingOps):
    """Takes at most ``limit`` bytes per write."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        return os.write(fd, b"".join(parts)[: self.limit])


class SlowOps(MeddlingOps):
    """Each call that may wait for a disk takes ``seconds`` more, or until ``let_go`` is set."""

    def __init__(self, seconds: float, *names: str) -> None:
        super().__init__()
        self.seconds = seconds
        self.names = names or ("write", "pread", "fdatasync", "fsync_dir", "rename", "unlink")
        self.let_go = threading.Event()

    def before(self, name: str, *args: Any) -> None:
        if name in self.names:
            self.let_go.wait(self.seconds)


class NoPeekOps(FileOps):
    """A file system that cannot say what is in the page cache."""

    def peek(self, fd: int, buffer: bytearray, offset: int) -> int:
        raise OSError(95, "not supported")


class RecordOps(MeddlingOps):
    """Writes down what changes files, in the words of ``crash/crash_states``."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[Recorded] = []
        self._paths: dict[int, str] = {}

    def open(self, path: str, flags: int) -> int:
        existed = Path(path).exists()
        fd = super().open(path, flags)
        self._paths[fd] = path
        if not existed and flags & os.O_CREAT:
            self.recorded.append(("create", path))
        return fd

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        taken = super().write(fd, parts)
        self.recorded.append(("write", self._paths[fd], b"".join(parts)[:taken]))
        return taken

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        self.recorded.append(("fsync", self._paths[fd]))

    def fsync_dir(self, path: str) -> None:
        super().fsync_dir(path)
        self.recorded.append(("fsyncdir", path))

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        for fd, path in self._paths.items():
            if path == source:
                self._paths[fd] = target
        self.recorded.append(("rename", source, target))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self.recorded.append(("unlink", path))

    def acknowledge(self, token: Any) -> None:
        """A promise was made to a caller."""
        self.recorded.append(("ack", token))


def pause(seconds: float = 0.001) -> None:
    """Let other threads go on."""
    time.sleep(seconds)
