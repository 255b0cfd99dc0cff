"""What every method of a file store begins with: attaching to its directory, opening it, following the others; and its end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final, Literal, TypeVar

import aiofiles.os

from toolcache.errors import CacheClosedError
from toolcache.events import Event
from toolcache.forks import watch
from toolcache.protocols import Clock, PutResult
from toolcache.stores.log.batch import Batch
from toolcache.stores.log.compaction import Budget
from toolcache.stores.log.ops import FileOps
from toolcache.stores.log.post import Post
from toolcache.stores.log.shared import TABLE, Shared
from toolcache.versions import HybridClock

T = TypeVar("T")

_OPS: Final = FileOps()
_SYNC: Final = ("promised", "always", "never")
_GLANCE: Final = 0.001
_CLOSED: Final = "this file store is closed: open a new one"


class Attached:
    """A store's share in the log of its directory; the arguments are those of ``LogStore``."""

    def __init__(
        self,
        root: Path | str,
        *,
        clock: Clock,
        hybrid: HybridClock,
        max_disk: int = 2**30,
        fsync: Literal["promised", "always", "never"] = "promised",
        patience: float = 2.0,
        announce: Callable[[Event], None] | None = None,
        ops: FileOps = _OPS,
    ) -> None:
        if fsync not in _SYNC:
            raise ValueError(f"fsync is one of {', '.join(map(repr, _SYNC))}, not {fsync!r}")
        self._root = str(root)
        self._clock = clock
        self._hybrid = hybrid
        self._budget = Budget(max_disk, syncs=fsync != "never")
        self._fsync = fsync
        self._patience = patience
        self._announce = announce
        self._ops = ops
        self._post = Post()
        self._shared: Shared | None = None
        self._opening: Future[Shared] | None = None
        self._closed = False
        self._threads: list[Thread] = []
        self._starting = Lock()
        watch(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._shared and self._shared.log.ready else "not opened"
        return f"<LogStore {self._root} {state}>"

    def forked(self) -> None:
        """The thread that was opening for the parent is not here, nor the one that may have held the lock."""
        self._opening = None
        self._starting = Lock()

    async def open(self) -> None:
        """Open the directory, build the index or bring it up to date. Reads and writes do it; ``pending`` does not."""
        await self._followed()

    async def aclose(self) -> None:
        """Wait for what was begun; the last store of the directory in this process ends the threads and closes the files."""
        self._closed = True
        if self._opening is not None:
            await asyncio.shield(asyncio.wrap_future(self._opening))
        shared, self._shared = self._shared, None
        if shared is not None:
            self._threads.append(TABLE.detach(shared, self._post))
        # no future tells that a thread has ended, only that it is about to; and callers may be on several loops
        while any(thread.is_alive() for thread in self._threads):  # noqa: ASYNC110
            await asyncio.sleep(_GLANCE)
        self._tell()

    async def _attached(self) -> Shared:
        if self._closed:
            raise CacheClosedError(_CLOSED)
        if self._shared is None:
            return await asyncio.shield(asyncio.wrap_future(self._begin()))
        return self._shared

    def _begin(self) -> "Future[Shared]":
        """Attach, once for the callers of all loops."""
        with self._starting:
            if self._opening is None:
                # finding the real path reads the disk, and the threads for that come with it: one of its own, this once
                self._opening = Future()
                thread = Thread(target=_work, args=(self._opening, self._attach), name="toolcache-open")
                self._threads.append(thread)
                thread.start()
            return self._opening

    def _attach(self) -> Shared:
        def make(real: str) -> Shared:
            return Shared(real, self._clock, self._hybrid, self._ops)

        self._shared = TABLE.attach(self._root, make, self._post, self._budget)
        return self._shared

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)

    async def _followed(self) -> Shared:
        """The shared part, opened and in step with the other processes."""
        shared = await self._attached()
        if not shared.log.ready:
            shared.log.check()
            await self._job(shared, shared.log.ensure_open)
        # also behind an opening that another began: what was written since it read the segments is to be seen
        if shared.log.rang():
            await self._job(shared, shared.log.follow)
        return shared

    async def _written(self, batch: Batch) -> list[PutResult]:
        shared = self._shared
        if shared is None or self._closed:
            shared = await self._attached()
        shared.log.check()
        batch.patience = self._patience
        shared.writer.submit(batch)
        try:
            return await batch.future
        finally:
            self._tell()

    async def _job(
        self, shared: Shared, call: Callable[..., T], *args: Any, pool: ThreadPoolExecutor | None = None
    ) -> T:
        try:
            result: T = await aiofiles.os.wrap(call)(*args, executor=pool or shared.readers)
        except RuntimeError:
            if not self._closed:
                raise
            raise CacheClosedError(_CLOSED) from None
        finally:
            self._tell()
        return result

    def _tell(self) -> None:
        while self._post.events:
            event = self._post.events.popleft()
            if self._announce is not None:
                self._announce(event)


def _work(future: "Future[T]", call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as fault:  # noqa: BLE001 - it belongs to who waits
        future.set_exception(fault)
