"""What all file stores of one directory in this process share, and the table that finds it by real path."""

import os
import threading
from collections.abc import Callable
from typing import Final

from toolcache.forks import watch
from toolcache.protocols import Clock
from toolcache.stores.log.compaction import Budget, Compactor
from toolcache.stores.log.log import Log
from toolcache.stores.log.ops import FileOps, close_all
from toolcache.stores.log.pace import pool
from toolcache.stores.log.post import Post
from toolcache.stores.log.reader import Reader
from toolcache.stores.log.writer import Writer
from toolcache.versions import HybridClock

_READERS: Final = 2


class Shared:
    """One log with its writer, its compactor and their threads; pools of its own, as the loop's resolves host names."""

    def __init__(self, root: str, clock: Clock, hybrid: HybridClock, ops: FileOps) -> None:
        self.root = root
        self.users = 0
        self.log = Log(root, clock, hybrid, ops)
        self.reader = Reader(self.log)
        self.disowned: dict[str, bytes] = {}
        """Keys whose pending records Redis has overtaken up to a version, while the disk takes no mark that says so."""
        self._start(Budget())

    def _start(self, budget: Budget) -> None:
        self.compactor = Compactor(self.log, budget)
        self.writer = Writer(self.log, self.compactor)
        self.readers = pool(_READERS, "toolcache-read")

    def drain(self) -> None:
        """Wait until nothing is under way."""
        self.writer.drain()

    def close(self) -> None:
        """Wait for every job, end the threads, let go of the files."""
        self.compactor.closing = True
        self.writer.close()
        for threads in (self.compactor.pool, self.readers):
            threads.shutdown()
        self.log.close()

    def forked(self) -> None:
        """In a child: the parent's descriptors are closed, its threads are not here, its locks may be held for ever."""
        self.log.forked()
        self._start(self.compactor.budget)


class Table:
    """The shared parts of this process, by the real path of their directory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[str, Shared] = {}

    def attach(self, root: str, make: Callable[[str], Shared], post: Post, budget: Budget) -> Shared:
        """The shared part of a directory, made by the first that asks; the smallest budget holds for all. Blocks."""
        real = os.path.realpath(root)
        with self._lock:
            watch(self)
            shared = self._shared.get(real)
            if shared is None:
                shared = self._shared[real] = make(real)
            shared.users += 1
            shared.compactor.budget.tighten(budget)
            shared.log.posts.append(post)
            return shared

    def detach(self, shared: Shared, post: Post) -> threading.Thread:
        """Leave; the thread ends when what was begun has ended and, for the last to leave, everything is released."""
        with self._lock:
            shared.users -= 1
            last = shared.users == 0
            if last and self._shared.get(shared.root) is shared:
                del self._shared[shared.root]

        def close() -> None:
            if last:
                shared.close()
            else:
                shared.drain()
            shared.log.posts.remove(post)

        thread = threading.Thread(target=close, name="toolcache-close")
        thread.start()
        return thread

    def forked(self) -> None:
        """In a child."""
        self._lock = threading.Lock()
        close_all()
        for shared in self._shared.values():
            shared.forked()


TABLE: Final = Table()
