"""What is done to many entries: listed, forgotten by whatever they have in common, swept."""

from collections.abc import Collection, Mapping
from typing import Any

from toolcache.catalogue import Catalogue, KeyInfo, Scan
from toolcache.changes import Changes
from toolcache.cleanup import Cleaned, Cleanup
from toolcache.entrance import Entrance
from toolcache.entry import Invalidation
from toolcache.home import Homes
from toolcache.invalidator import Invalidator
from toolcache.keys.globs import Glob
from toolcache.parts import Parts
from toolcache.removals import Removals
from toolcache.risk import Risk
from toolcache.scanner import Scanner
from toolcache.targets import target


class Upkeep:
    """Looks after what one cache holds.

    Args:
        parts: the cache's parts.
        entrance: the way in.
        scanner: lists a layer.
        changes: deletes.
        invalidator: raises epochs.
        homes: whose flights are told.
        risk: says what may be served again.
        cleanup: gives back what has ended.

    Attributes:
        catalogue: lists what the cache holds.
    """

    def __init__(
        self,
        parts: Parts,
        entrance: Entrance,
        scanner: Scanner,
        changes: Changes,
        invalidator: Invalidator,
        homes: Homes,
        risk: Risk,
        cleanup: Cleanup,
    ) -> None:
        self._entrance = entrance
        self._changes = changes
        self._invalidator = invalidator
        self.catalogue = Catalogue(parts, scanner)
        self._cleanup = cleanup
        self._removals = Removals(parts, scanner, self.catalogue, changes, homes, risk)

    def scan(self, pattern: str) -> Scan[KeyInfo]:
        """Of the entries whose keys match a pattern."""
        glob = Glob(pattern)
        self._entrance.pass_through()
        return self.catalogue.scan(glob)

    async def invalidate(self, options: Mapping[str, Any], domains: Collection[str]) -> Invalidation:
        """Forget what the options mean; see ``Targets``."""
        meant = target(options, domains)
        self._entrance.pass_through()
        if meant.glob is not None:
            return await self._removals.remove(meant.scope, meant.glob, meant.where)
        return await self._invalidator.invalidate(meant.scope, meant.labels, await self._changes.come())

    async def cleanup(self) -> Cleaned:
        """Give back what has ended."""
        self._entrance.pass_through()
        return await self._cleanup.run()
