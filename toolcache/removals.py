"""Removes what is found: by a pattern of keys, or by a predicate. As long as it takes to list every layer.

Each entry found goes as by ``delete``: with a tombstone in every layer, journalled in an outage, told to other processes.
That is of the version of the beginning: what is written after it is left alone, also under a key that was found before,
so it ends however much is added meanwhile. What is being computed in
this process under a key that matches is not stored; of what others compute, nobody here knows.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import TypeAlias

from toolcache.catalogue import Catalogue, KeyInfo
from toolcache.changes import Changes
from toolcache.domains import GENERAL
from toolcache.entry import Durability, Held, Invalidation
from toolcache.errors import CacheWriteError
from toolcache.fields import Fields, each
from toolcache.home import Homes
from toolcache.keys.globs import Glob
from toolcache.keys.text import KeyText
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.risk import Risk
from toolcache.scanner import Scanned, Scanner, UnlistedError
from toolcache.versions import just_above

Predicate: TypeAlias = Callable[[KeyInfo], bool]


class Removals:
    """Removes for one cache.

    Args:
        parts: the cache's parts.
        scanner: lists a layer.
        catalogue: tells of an entry what a predicate is to judge.
        changes: deletes.
        homes: whose flights are told.
        risk: says what may be served again.
    """

    def __init__(
        self, parts: Parts, scanner: Scanner, catalogue: Catalogue, changes: Changes, homes: Homes, risk: Risk
    ) -> None:
        self._parts = parts
        self._scanner = scanner
        self._catalogue = catalogue
        self._changes = changes
        self._homes = homes
        self._risk = risk

    async def remove(self, scope: str, glob: Glob, where: Predicate | None = None) -> Invalidation:
        """Remove the entries whose keys match, and of which the predicate says so.

        Raises:
            CacheWriteError: a layer could not be listed, or an entry found not be removed, and may be served again.
            Exception: whatever the predicate raised; what had been found until then is gone.
        """
        await self._changes.come()
        run = _Run(self._parts.hybrid.epoch(), glob, where)
        flying = [key for key in self._homes.keys_flying() if glob.matches(key)]
        for key in flying:
            self._homes.detach(key)
        if self._parts.enabled:
            async for helds in self._scanner.memory(glob.prefix):
                await self._take(run, [(held.key, held.version, held) for held in helds])
            for layer in self._layers:
                await self._list(run, layer)
        self._report(run)
        redis, files = (self._said(run, layer) for layer in (self._parts.redis, self._parts.files))
        return Invalidation(scope, "done", redis, files, run.removed, run.cut, len(flying))

    @property
    def _layers(self) -> list[Layer]:
        """Those below memory."""
        return [layer for layer in (self._parts.redis, self._parts.files) if layer is not None]

    async def _list(self, run: "_Run", layer: Layer) -> None:
        try:
            async for some in self._scanner.layer(layer, run.glob.prefix):
                left = [one for one in some if not self._catalogue.has_ended(one)]
                await self._take(run, [(one.place, one.header.version, one) for one in left])
        except UnlistedError:
            run.unlisted.append(layer)

    async def _take(self, run: "_Run", found: Iterable[tuple[str, bytes, Held | Scanned]]) -> None:
        """Remove those that are meant."""
        believes = self._parts.hybrid.believes
        places = {
            place: run.start if version <= run.start else just_above(version)
            for place, version, one in found
            # What is newer than the beginning is not meant; a version of a clock far ahead tells nothing.
            if (version <= run.start or not believes(version)) and run.glob.matches(place) and self._meant(run, one)
        }
        if not places:
            return
        try:
            _, outcomes = await self._changes.remove(places, GENERAL)
        except CacheWriteError:
            run.unsafe = True
            return
        kept = {place for place, outcome in zip(places, outcomes, strict=False) if outcome.superseded}
        gone = places.keys() - kept
        run.removed += len(gone)
        run.cut += sum(type(place) is KeyText and "~" in place for place in gone)
        run.queued |= any(not outcome.superseded and outcome.durability < Durability.REDIS for outcome in outcomes)
        run.off_file |= not all(outcome.on_file or outcome.superseded for outcome in outcomes)

    def _meant(self, run: "_Run", one: Held | Scanned) -> bool:
        if run.where is None:
            return True
        said = run.where(self._catalogue.info(one))
        if isinstance(said, Coroutine):
            said.close()
            raise TypeError(
                "the predicate of an invalidation is a plain function: one that is awaited says nothing yet"
            )
        return bool(said)

    def _said(self, run: "_Run", layer: Layer | None) -> str | None:
        """What has become of it in a layer."""
        if layer is None:
            return None
        if layer in run.unlisted:
            return "failed"
        if layer is self._parts.redis:
            return "queued" if run.queued else "done"
        return "failed" if run.off_file else "done"

    def _report(self, run: "_Run") -> None:
        """Raise, where what was to go may be served again; files beneath a Redis that was listed answer nobody."""
        if run.unsafe:
            raise CacheWriteError("invalidate", "entries that were found could not be deleted")
        if self._layers and self._layers[0] in run.unlisted:
            self._risk.unlisted("invalidate", self._layers[0].name, run.start)


class _Run(Fields):
    """One removal, as it goes on: what is meant, and what has become of it."""

    start: bytes
    glob: Glob
    where: Predicate | None
    removed: int = 0
    cut: int = 0
    unsafe: bool = False
    queued: bool = False
    off_file: bool = False
    unlisted: list[Layer] = each(factory=list)
