"""What a cache can do with all that it holds: write it to a file, take it from one, hand it to another cache."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from toolcache.domains import Domain
from toolcache.machine import Machine

if TYPE_CHECKING:
    from toolcache.transfer import Transfer


class Moves:
    """The moves of a cache, which it inherits."""

    _machine: Machine
    _domains: Callable[[], Mapping[str, Domain[Any]]]

    async def export(
        self,
        path: str | os.PathLike[str],
        *,
        resume: bool = True,
        rate: float | None = None,
        on_progress: "Callable[[Transfer], None] | None" = None,
    ) -> "Transfer":
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
            >>> print(await cache.export("shop.backup"))
            3 of 3 entries, 0.0 MB
        """
        from toolcache.backup import export

        self._machine.entrance.pass_through()
        gatherer = self._machine.gatherer()
        return await export(self._machine.parts, gatherer, path, resume=resume, rate=rate, on_progress=on_progress)

    async def import_(
        self,
        path: str | os.PathLike[str],
        *,
        keep_newer: bool = False,
        rate: float | None = None,
        on_progress: "Callable[[Transfer], None] | None" = None,
    ) -> "Transfer":
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
        from toolcache.backup import import_

        self._machine.entrance.pass_through()
        restorer = self._machine.restorer(self._domains())
        return await import_(
            self._machine.parts, restorer, path, keep_newer=keep_newer, rate=rate, on_progress=on_progress
        )

    async def copy_to(
        self,
        other: "Moves",
        *,
        keep_newer: bool = False,
        rate: float | None = None,
        on_progress: "Callable[[Transfer], None] | None" = None,
    ) -> "Transfer":
        """Hand every entry to another open cache: ``export`` and ``import_`` without a file between.

        Args:
            other: a cache over other layers, or of another namespace.
            keep_newer: as for ``import_``.
            rate: entries a second at most.
            on_progress: as for ``export``.

        Raises:
            BackupError: a layer of this one cannot be asked, or none of the other takes what comes.
            ValueError: the other one is this one.
        """
        from toolcache.backup import check_enabled, copy

        machine = other._machine  # noqa: SLF001 - of another cache
        if machine.parts is self._machine.parts:
            raise ValueError("a cache is not copied to itself: copy_to takes another one")
        self._machine.entrance.pass_through()
        machine.entrance.pass_through()
        check_enabled(machine.parts)
        gatherer, restorer = self._machine.gatherer(), machine.restorer(other._domains())  # noqa: SLF001 - of another cache
        return await copy(
            self._machine.parts, gatherer, restorer, keep_newer=keep_newer, rate=rate, on_progress=on_progress
        )
