"""The methods of ``Moves``, for callers that wait.

Written by tests/blocking_face.py.
"""

import os
from collections.abc import Callable

from toolcache.blocking.face import Face
from toolcache.tool_cache import ToolCache
from toolcache.transfer import Transfer


class BlockingMoves(Face):
    """See ``Moves``."""

    _cache: ToolCache

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        resume: bool = True,
        rate: float | None = None,
        on_progress: Callable[[Transfer], None] | None = None,
    ) -> Transfer:
        """Write every entry of the namespace to a file: of each key what a read would answer with, whichever layer has it.

        Nothing stops meanwhile: an entry is told as it was when it was come by. Neither sessions are among them nor what runs once, and
        its results.
        The file is for this user alone, and under ``secret`` only those who have it can write or read one. Until it is whole it lies
        beside its place, as ``path`` and ``.part``; an export that was ended, even by kill -9, goes on there when it is called again.

        Args:
            path: where it is to be; what lies there is replaced at the end.
            resume: False begins anew; so does a day since the first call, or what was left by a cache over other stores.
            rate: entries a second at most.
            on_progress: told with each step how far it is; must not block. Its faults are counted, not feared.

        Raises:
            BackupError: it cannot be written, or a layer cannot be asked.

        Examples:
            >>> print(cache.export("shop.backup"))
            3 of 3 entries, 0.0 MB
        """
        return self._call(self._cache.export, path, resume=resume, rate=rate, on_progress=on_progress)

    def import_(
        self,
        path: str | os.PathLike[str],
        *,
        keep_newer: bool = False,
        rate: float | None = None,
        on_progress: Callable[[Transfer], None] | None = None,
    ) -> Transfer:
        """Take in every entry of a file that ``export`` wrote, in this or another namespace, for as long as each has left to live.

        The whole file is looked through first: one that is damaged, cut off or of another secret changes nothing. Each entry is
        written as ``set`` would, now: it takes the place of what is there, and comes back where it was deleted or invalidated
        since. To import a file once more does the same once more, so one that was ended is simply called again.

        Args:
            path: the file.
            keep_newer: take only what is newer than what is there; deletes and invalidations since then hold, as far as the stores
                remember them.
            rate: entries a second at most.
            on_progress: as for ``export``.

        Raises:
            BackupError: the file cannot be read or believed; or no configured layer takes what comes.
        """
        return self._call(self._cache.import_, path, keep_newer=keep_newer, rate=rate, on_progress=on_progress)
