"""Writes that no configured layer took: told, and raised where a caller is to know."""

from collections.abc import Sequence

from toolcache.drafts import Draft, Outcome
from toolcache.entries import Entries
from toolcache.errors import CacheWriteError
from toolcache.events import DataAtRisk
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import SupportsRefusal


class Risk:
    """Looks at what became of one cache's writes."""

    def __init__(self, parts: Parts, entries: Entries) -> None:
        self._parts = parts
        self._entries = entries

    def report(self, operation: str, drafts: Sequence[Draft], outcomes: Sequence[Outcome], *, raising: bool) -> None:
        """Announce each write that memory alone holds.

        Raises:
            CacheWriteError: there is one, and ``raising`` asks for it.
        """
        unsafe = [(draft, outcome) for draft, outcome in zip(drafts, outcomes, strict=True) if not outcome.safe]
        if not unsafe:
            return
        told = all(self._parts.announce.explained(layer.name) for layer in self._layers)
        for draft, outcome in unsafe:
            digest = key_digest(draft.name)[:4].hex()
            self._parts.announce(DataAtRisk(operation, digest, self._why(outcome), told))
        if not raising:
            return
        if operation in {"delete", "clear", "invalidate"} and self._shut_out and not self._parts.strict:
            # Nothing was read from the directory, and what is older will not be, should it be mended.
            self._entries.shun(max(draft.version for draft, _ in unsafe))
            return
        raise CacheWriteError(operation, f"{len(unsafe)} of {len(drafts)} keys")

    def unlisted(self, operation: str, layer: str, version: bytes) -> None:
        """What a layer holds could not be told, so it may be served again: up to ``version`` it is not to be.

        Raises:
            CacheWriteError: there is nothing that keeps it from being served.
        """
        if self._shut_out and not self._parts.strict:
            self._entries.shun(version)
            return
        raise CacheWriteError(operation, f"{layer} could not be listed")

    @property
    def _layers(self) -> list[Layer]:
        """Those that are configured."""
        return [layer for layer in (self._parts.redis, self._parts.files) if layer is not None]

    @property
    def _shut_out(self) -> bool:
        """Whether files are the only layer, and their directory has refused this process from the start."""
        files = self._parts.files
        if self._parts.redis is not None or files is None:
            return False
        return isinstance(files.store, SupportsRefusal) and files.store.refused

    def _why(self, outcome: Outcome) -> str:
        """What was the matter with each layer that did not take a write."""
        said = []
        for layer in self._layers:
            foreign = outcome.foreign and layer is self._parts.redis
            if fault := "a foreign value holds the key" if foreign else layer.guard.last_fault:
                said.append(f"{layer.name}: {fault}")
        return ", ".join(said)
