"""Writes that no configured layer took: told, and raised where a caller is to know."""

from collections.abc import Sequence

from toolcache.entries import Entries
from toolcache.errors import CacheWriteError
from toolcache.events import DataAtRisk
from toolcache.keys.text import key_digest
from toolcache.parts import Parts
from toolcache.writer import Draft, Outcome, Writer


class Risk:
    """Looks at what became of one cache's writes."""

    def __init__(self, parts: Parts, entries: Entries, writer: Writer) -> None:
        self._parts = parts
        self._entries = entries
        self._writer = writer

    def report(self, operation: str, drafts: Sequence[Draft], outcomes: Sequence[Outcome], *, raising: bool) -> None:
        """Announce each write that memory alone holds.

        Raises:
            CacheWriteError: there is one, and ``raising`` asks for it.
        """
        unsafe = [
            (draft, outcome) for draft, outcome in zip(drafts, outcomes, strict=True) if not self._writer.safe(outcome)
        ]
        if not unsafe:
            return
        told = all(self._parts.announce.explained(layer.name) for layer in self._writer.layers)
        for draft, outcome in unsafe:
            digest = key_digest(draft.name)[:4].hex()
            self._parts.announce(DataAtRisk(operation, digest, self._writer.why(outcome), told))
        if not raising:
            return
        if operation in {"delete", "clear", "invalidate"} and self._writer.shut_out and not self._parts.strict:
            # Nothing was read from the directory, and what is older will not be, should it be mended.
            self._entries.shun(max(draft.version for draft, _ in unsafe))
            return
        raise CacheWriteError(operation, f"{len(unsafe)} of {len(drafts)} keys")
