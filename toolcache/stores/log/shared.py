"""What all file stores of one directory in this process share, and the table that finds it by real path."""

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from toolcache.events import Event
from toolcache.protocols import Clock
from toolcache.stores.log.changes import Changes
from toolcache.stores.log.compaction import Compactor
from toolcache.stores.log.log import Log
from toolcache.stores.log.ops import FileOps
from toolcache.stores.log.writer import Writer
from toolcache.versions import HybridClock

_READERS: Final = 2


class Shared:
    """One log with its writer, its compactor and their threads; pools of its own, as the loop's resolves host names."""

    def __init__(self, root: str, clock: Clock, hybrid: HybridClock, ops: FileOps, max_disk: int) -> None:
        self.root = root
        self.users = 0
        self.log = Log(root, clock, hybrid, ops)
        self.compactor = Compactor(self.log, max_disk)
        self._start()

    def _start(self) -> None:
        self.writer = Writer(self.log, self.compactor)
        self.readers = ThreadPoolExecutor(_READERS, "toolcache-read")

    def drain(self) -> None:
        """Wait until nothing is under way."""
        self.writer.pool.submit(int).result()

    def close(self) -> None:
        """Wait for every job, end the threads, let go of the files."""
        self.compactor.closing = True
        for pool in (self.writer.pool, self.compactor.pool, self.readers):
            pool.shutdown()
        self.log.close()

    def forked(self) -> None:
        """In a child: the parent's descriptors are closed, its threads are not here, its locks may be held for ever."""
        self.log.lock = threading.RLock()
        self.log.close()
        self.compactor = Compactor(self.log, self.compactor.max_disk)
        self._start()


_lock = threading.Lock()
_table: dict[str, Shared] = {}
_hooked = False


def attach(
    root: str,
    clock: Clock,
    hybrid: HybridClock,
    ops: FileOps,
    max_disk: int,
    events: deque[Event],
    changes: Changes,
    *,
    syncs: bool,
) -> Shared:
    """The shared part of a directory, made by the first that asks; the smallest budget holds for all. Blocks."""
    global _hooked  # noqa: PLW0603 - a fork hook cannot be taken back, so it is set once
    real = os.path.realpath(root)
    with _lock:
        if not _hooked:
            os.register_at_fork(after_in_child=_forked)
            _hooked = True
        shared = _table.get(real)
        if shared is None:
            shared = _table[real] = Shared(real, clock, hybrid, ops, max_disk)
        shared.users += 1
        shared.compactor.max_disk = min(shared.compactor.max_disk, max_disk)
        shared.compactor.syncs |= syncs
        shared.log.listeners.append(events)
        shared.log.watchers.append(changes)
        return shared


def detach(shared: Shared, events: deque[Event], changes: Changes) -> Future[None]:
    """Leave; done when what was begun has ended and, for the last to leave, everything is released."""
    done: Future[None] = Future()
    with _lock:
        shared.users -= 1
        last = shared.users == 0
        if last and _table.get(shared.root) is shared:
            del _table[shared.root]

    def close() -> None:
        try:
            if last:
                shared.close()
            else:
                shared.drain()
            # by identity: two empty queues are equal
            shared.log.listeners[:] = [each for each in shared.log.listeners if each is not events]
            shared.log.watchers[:] = [each for each in shared.log.watchers if each is not changes]
        finally:
            done.set_result(None)

    threading.Thread(target=close, name="toolcache-close").start()
    return done


def _forked() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    for shared in _table.values():
        shared.forked()
