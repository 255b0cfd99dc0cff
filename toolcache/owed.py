"""What this host still owes Redis, as its reads see it: newer than what Redis has, and not to be brought back by it."""

import asyncio
from typing import Any

from toolcache.found import Found
from toolcache.horizon import Horizon
from toolcache.loops import PerLoop
from toolcache.parts import Parts
from toolcache.protocols import SupportsOverlay


class _Opening:
    """One loop's task that brings what is owed up to date: one for all who wait, so that they go on together."""

    task: "asyncio.Task[Any] | None" = None


class Owed:
    """The records of this host's log that Redis has not taken, for one cache.

    Args:
        parts: the cache's parts.
        horizon: takes note of epochs that are owed.

    Attributes:
        possible: whether anything can be owed: where Redis and files are configured.
    """

    def __init__(self, parts: Parts, horizon: Horizon) -> None:
        self._files = parts.files
        self._memory = parts.memory
        self._hybrid = parts.hybrid
        self._horizon = horizon
        self._openings = PerLoop(_Opening)
        overlay = parts.files.store if parts.files and parts.redis else None
        self._overlay = overlay if isinstance(overlay, SupportsOverlay) else None
        self.possible = self._overlay is not None

    async def catch_up(self, until: float | None = None) -> None:
        """Know all that this host owes Redis; by that instant, or what is known then has to do."""
        files, overlay = self._files, self._overlay
        if files is None or overlay is None:
            return
        opening = self._openings.here()
        under_way = opening.task is not None and not opening.task.done()
        if not under_way and not overlay.ready:
            work = files.ask(overlay.open, until=until, counted=False)
            opening.task, under_way = asyncio.get_running_loop().create_task(work), True
        # Also who comes when a thread has done it already, so that all who came in one tick go on in one.
        if under_way and opening.task is not None:
            await asyncio.shield(opening.task)

    async def among(self, names: dict[str, str], until: float) -> dict[str, bytes]:
        """The keys whose newest record Redis is owed, with its version; an epoch that it is owed is taken note of."""
        files, overlay = self._files, self._overlay
        if overlay is None or files is None:
            return {}
        # A disk that fails takes nothing back: what was known to be owed still is.
        if not files.guard.refuses():
            await self.catch_up(until)
        self._horizon.know()
        return {key: version for key, name in names.items() if (version := overlay.pending(name)) is not None}

    def insist(self, names: dict[str, str], answer: dict[str, Found], *, asked: bool) -> None:
        """What this host knows to be gone is: a Redis that has forgotten it, and memory, cannot bring it back.

        What is computed instead gets a version above that, or nobody here would ever find it. A clock that was far ahead
        does not hide what Redis holds: what has been written since then may have lower versions.
        """
        if self._overlay is None:
            return
        for key, found in answer.items():
            newest = self._overlay.newest(names[key])
            if newest is None or not newest.ended or newest.version < found.version:
                continue
            if not asked or found.held is None or self._hybrid.believes(newest.version):
                answer[key] = Found(None, newest.version)
                held = self._memory.find(key)
                if held is not None and held.version < newest.version:
                    self._memory.remove(key)
