"""How an entry is made: its key text, its version, its life, its bytes."""

import sys
from typing import Any

from toolcache.blob import NEVER, CorruptBlobError, Header
from toolcache.domains import Domain
from toolcache.durations import Duration, seconds
from toolcache.entry import MEMORY, MISSING, Held, Missing
from toolcache.epochs import Epochs
from toolcache.events import BlobRejected, ClockAnomaly
from toolcache.keys.text import key_digest, store_key
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import Encoded
from toolcache.stats import Tally
from toolcache.versions import ZERO, split
from toolcache.writer import Draft


class Entries:
    """Makes the entries of one cache.

    ``trust`` is how long, in seconds, memory may answer from what Redis said before it asks again.
    """

    def __init__(self, parts: Parts, epochs: Epochs) -> None:
        self._parts = parts
        self._epochs = epochs
        self._floor = ZERO
        self.trust = parts.trust

    def name(self, place: str) -> str:
        """The store key of a place."""
        return store_key("v", self._parts.namespace, place)

    def lifetime(self, ttl: Duration | Missing | None, domain: Domain) -> float:
        """Seconds; infinite for None."""
        if ttl is MISSING:
            ttl = self._parts.default_ttl if domain.ttl is None else domain.ttl
        return float("inf") if ttl is None else seconds(ttl)

    def version(self, place: str | None = None, *, above: bytes = ZERO, tags: tuple[str, ...] = ()) -> bytes:
        """One above what is known of the place and of every epoch that applies."""
        held = None if place is None else self._parts.memory.find(place)
        return self._parts.hybrid.next(max(above, self._epochs.newest(tags), ZERO if held is None else held.version))

    def encode(self, value: Any, domain: Domain, tags: tuple[str, ...]) -> Encoded:
        """The value's bytes. Raises SerializationError and ValueError before anything was changed."""
        encoded = self._parts.coder.encode(value, vector=domain.vector)
        self._parts.envelope.check(encoded, tags)
        return encoded

    def draft(
        self,
        name: str,
        version: bytes,
        lifetime: float,
        encoded: Encoded | None,
        tags: tuple[str, ...],
        *,
        flags: int = 0,
        took: float = 0.0,
        live: bool = True,
        once: bool = False,
        dead: bytes = ZERO,
    ) -> Draft:
        """A write under a store key, created now."""
        now_ms = int(self._parts.clock.time() * 1000)
        return Draft(
            name=name,
            version=version,
            created_ms=now_ms,
            gone_ms=NEVER if lifetime == float("inf") else now_ms + max(1, int(lifetime * 1000)),
            encoded=encoded,
            cost_ms=int(took * 1000),
            tags=tags,
            flags=flags,
            live=live,
            once=once,
            dead=max(dead, self._epochs.newest()),
        )

    def read(self, name: str, blob: bytes, layer: Layer) -> Draft | None:
        """What a layer's blob says: without ``encoded`` where no value lives. None for a blob that cannot be used."""
        digest = key_digest(name)
        parts = self._parts
        try:
            header, tags, encoded = parts.envelope.unpack(blob, digest)
        except CorruptBlobError as fault:
            layer.tally.rejected += 1
            parts.announce(BlobRejected(layer.name, fault.reason, digest[:4].hex()))
            return None
        now = parts.clock.time()
        if not parts.hybrid.observe(header.version):
            parts.announce(ClockAnomaly(layer.name, round(split(header.version)[0] / 1000 - now)))
        dead = self._epochs.covers(header.version, tags) or self._shunned(header, layer)
        lives = header.alive(int(now * 1000)) and not dead
        return Draft(
            name=name,
            version=header.version,
            created_ms=header.created_ms,
            gone_ms=header.gone_ms,
            encoded=encoded if lives else None,
            cost_ms=header.cost_ms,
            tags=tags,
            flags=header.flags,
            live=False,
            once=True,
        )

    def shun(self, version: bytes) -> None:
        """Take from the files no value that is older than ``version``: they could not be told of a delete or a clear."""
        self._floor = max(self._floor, version)

    def _shunned(self, header: Header, layer: Layer) -> bool:
        return layer is self._parts.files and header.version < self._floor

    def hold(
        self, draft: Draft, value: Any, domain: Domain, tally: Tally, *, took: float = 0.0, layer: str = MEMORY
    ) -> Held:
        """An entry for memory: the live value where nobody can spoil it, else its encoded form."""
        parts, encoded = self._parts, draft.encoded or Encoded(b"", "")
        live = domain.shared or parts.coder.is_immutable(value)
        # An epoch that came since the blob was looked at: an older era has the entry looked at once more.
        era = parts.memory.era - self._epochs.covers(draft.version, draft.tags)
        ends_in = remaining(draft.created_ms, draft.gone_ms, parts.clock.time())
        # What Redis has not been told, it tells nobody: there no word can come that it has changed.
        trust = self.trust if parts.redis is not None and layer == parts.redis.name else parts.trust
        return Held(
            value if live else encoded.body,
            None if live else parts.coder.thaw(encoded),
            settled_until=parts.clock.monotonic() + (ends_in if trust is None else min(trust, ends_in)),
            size=max(len(encoded.body), sys.getsizeof(value)) if live else len(encoded.body),
            version=draft.version,
            created_ms=draft.created_ms,
            gone_ms=draft.gone_ms,
            tally=tally,
            era=era,
            seconds=took or draft.cost_ms / 1000,
            tags=draft.tags,
            layer=layer,
        )


def remaining(created_ms: int, gone_ms: int, now: float) -> float:
    """Seconds an entry has left; a clock set back never lengthens a life, counted from the read."""
    if gone_ms == NEVER:
        return float("inf")
    return min(gone_ms - int(now * 1000), gone_ms - created_ms) / 1000
