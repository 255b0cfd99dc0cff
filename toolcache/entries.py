"""How an entry is made: its key text, its version, its life, its bytes."""

import sys
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, Final

from msgpack import unpackb

from toolcache.aside import LARGE, Lengthy, Pace, aside, is_much
from toolcache.blob import NEVER, CorruptBlobError
from toolcache.codec.coder import CONTAINERS, IMMUTABLE
from toolcache.codec.envelope import Blob
from toolcache.domains import Domain
from toolcache.drafts import Draft
from toolcache.durations import Duration, seconds
from toolcache.encoded import Encoded
from toolcache.entry import MEMORY, MISSING, Aging, Held, Missing, remaining
from toolcache.epochs import Epochs
from toolcache.events import BlobRejected, ClockAnomaly
from toolcache.freshness import DEFAULT, UNSAID, Freshness, Life, Policy
from toolcache.keys.text import key_digest, store_key
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.tags import UNTAGGED, shared
from toolcache.tallies import Tally
from toolcache.versions import ZERO, split

_EMPTY: Final = Encoded(b"", "")


class Entries:
    """Makes the entries of one cache.

    ``trust`` is how long, in seconds, memory may answer from what Redis said before it asks again. ``ages`` says whether
    any entry has been more than fresh or gone so far. Below ``floor`` no version is believed of files.
    """

    def __init__(self, parts: Parts, epochs: Epochs) -> None:
        self._parts = parts
        self._epochs = epochs
        self._values = store_key("v", parts.namespace, "")
        self.floor = ZERO
        self._memory = parts.memory
        self._coder = parts.coder
        self._flat = parts.coder.flat
        self._hybrid = parts.hybrid
        self._mint = parts.hybrid.next
        self._one_clock = parts.hybrid.clock is parts.clock
        self._time = parts.clock.time
        self._now = parts.clock.monotonic
        self._unpack = parts.envelope.at_once
        self._most = parts.envelope.max_entry
        self._quick = min(self._most, LARGE)
        self._redis = None if parts.redis is None else parts.redis.name
        self._trust = self.trust = parts.trust
        self._freshness = parts.freshness
        self.ages = False
        self._span = (inf, NEVER)

    def name(self, place: str) -> str:
        """The store key of a place."""
        return self._values + place

    def lifetime(self, ttl: Duration | Missing | None, domain: Domain) -> float:
        """Seconds; infinite for None."""
        if ttl is MISSING:
            known = self._parts.default_ttl if domain.ttl is None else domain.ttl
            return inf if known is None else known
        return inf if ttl is None else seconds(ttl)

    def policy(self, domain: Domain, said: Freshness = UNSAID) -> Policy:
        """What is done about values of a domain that near their end, where the caller has ``said`` so much."""
        if said is UNSAID and domain.freshness is UNSAID and self._freshness is UNSAID:
            return DEFAULT
        return Policy.of(said, domain.freshness, self._freshness)

    def life(
        self, ttl: Duration | Missing | None, domain: Domain, policy: Policy | None = None, *, computed: bool = False
    ) -> Life:
        """The ages of a value that is stored now, under the domain's policy unless another one is given."""
        lifetime = self.lifetime(ttl, domain)
        policy = policy or self.policy(domain)
        return Life(lifetime, lifetime) if policy is DEFAULT else policy.life(lifetime, computed=computed)

    def version(self, place: str | None = None, *, above: bytes = ZERO, tags: tuple[str, ...] = ()) -> bytes:
        """One above what is known of the place and of every epoch that applies."""
        epoch = self._epochs.newest(tags)
        above = max(above, epoch)
        held = None if place is None else self._parts.memory.find(place)
        if held is not None and held.version > above:
            above = held.version
        return self._parts.hybrid.next(above)

    def kept(self, value: Any, domain: Domain) -> tuple[Any, Callable[[Any], Any] | None, int]:
        """A value without tags as memory keeps it where there is nothing else: its ``form``. Raises as ``encode`` does."""
        kind = type(value)
        if (kind is dict or kind is list) and not (domain.shared or domain.vector):
            body = self._flat(value)
            if body is not None:
                size = len(body)
                if size <= self._quick:
                    return body, unpackb, size
        return self.form(value, self.encode(value, domain, UNTAGGED), domain)

    def encode(self, value: Any, domain: Domain, tags: tuple[str, ...]) -> Encoded:
        """The value's bytes. Raises SerializationError and ValueError before anything was changed; Lengthy for ``encode_all``."""
        return self._checked(self._coder.at_once(value, vector=domain.vector), tags)

    def encode_all(self, values: Iterable[Any], domain: Domain, tags: tuple[str, ...]) -> list[Encoded]:
        """The bytes of several values, however long it takes; for a thread."""
        return [self._checked(self._coder.encode(value, vector=domain.vector), tags) for value in values]

    def _checked(self, encoded: Encoded, tags: tuple[str, ...]) -> Encoded:
        if tags or len(encoded.body) > self._most:
            self._parts.envelope.check(encoded, tags)
        return encoded

    def draft(self, name: str, version: bytes, lifetime: float, tags: tuple[str, ...] = (), *, flags: int = 0) -> Draft:
        """A write without a value under a store key, created now: of a tombstone or an epoch."""
        now_ms = int(self._parts.clock.time() * 1000)
        return Draft(
            name=name,
            version=version,
            created_ms=now_ms,
            gone_ms=NEVER if lifetime == inf else now_ms + self.span_ms(lifetime),
            tags=tags,
            flags=flags,
            dead=self._epochs.newest(),
        )

    def draft_of(
        self, place: str, held: Held, encoded: Encoded, *, live: bool = True, once: bool = False, dead: bytes = ZERO
    ) -> Draft:
        """The write of an entry that was just made."""
        return Draft(
            name=self.name(place),
            version=held.version,
            created_ms=held.created_ms,
            gone_ms=held.gone_ms,
            fresh_until_ms=held.fresh_until_ms,
            encoded=encoded,
            cost_ms=int(held.seconds * 1000),
            tags=held.tags,
            live=live,
            once=once,
            dead=max(dead, self._epochs.newest()),
        )

    def copy_of(self, name: str, blob: Blob) -> Draft:
        """A write of what was read, which takes the place of whatever is older."""
        header, tags, encoded = blob
        return Draft(
            name=name,
            version=header.version,
            created_ms=header.created_ms,
            gone_ms=header.gone_ms,
            fresh_until_ms=header.fresh_until_ms,
            encoded=encoded,
            cost_ms=header.cost_ms,
            tags=tags,
            flags=header.flags,
            live=False,
        )

    async def read_each(self, names: Sequence[str], raws: Sequence[bytes | None], layer: Layer) -> list[Blob | None]:
        """``read`` for several, whatever a store holds there; what takes time is found out aside."""
        found: list[Blob | None] = []
        if not is_much(raws):
            read = self.read
            try:
                for name, raw in zip(names, raws, strict=True):
                    found.append(None if raw is None else read(name, raw, layer))
            except Lengthy:
                pass
        done = len(found)
        return found if done == len(names) else found + await self._read_aside(names[done:], raws[done:], layer)

    async def _read_aside(self, names: Sequence[str], raws: Sequence[bytes | None], layer: Layer) -> list[Blob | None]:
        """The same aside; values are opened, too."""
        parts = self._parts

        def unpack(name: str, raw: bytes, pace: Pace) -> Blob | CorruptBlobError:
            try:
                blob = parts.envelope.unpack(raw, key_digest(name))
            except CorruptBlobError as fault:
                return fault
            pace.breathe()
            return blob if blob.encoded is None else blob._replace(encoded=parts.coder.opened(blob.encoded))

        def unpack_all() -> list[Blob | CorruptBlobError | None]:
            pace = Pace()
            return [None if raw is None else unpack(name, raw, pace) for name, raw in zip(names, raws, strict=True)]

        blobs = await aside(unpack_all)
        return [
            None if blob is None else self.read(name, b"", layer, blob) for name, blob in zip(names, blobs, strict=True)
        ]

    def read(self, name: str, raw: bytes, layer: Layer, known: Blob | CorruptBlobError | None = None) -> Blob | None:
        """What a layer's blob says: without ``encoded`` where no value lives. None for a blob that cannot be used.

        Args:
            name: the store key.
            raw: the blob.
            layer: where it was.
            known: what was unpacked of it already.

        Raises:
            Lengthy: there is too much to be unpacked; ``read_each`` does it.
        """
        digest = key_digest(name)
        try:
            if isinstance(known, CorruptBlobError):
                raise known
            blob = known or self._unpack(raw, digest)
        except CorruptBlobError as fault:
            layer.tally.rejected += 1
            self._parts.announce(BlobRejected(layer.name, fault.reason, digest[:4].hex()))
            return None
        header, tags, encoded = blob
        now = self._time()
        if not self._hybrid.observe(header.version):
            self._parts.announce(ClockAnomaly(layer.name, round(split(header.version)[0] / 1000 - now)))
        if encoded is None or (
            header.alive(int(now * 1000))
            and not self._epochs.covers(header.version, tags)
            and not (header.version < self.floor and layer is self._parts.files)
        ):
            return blob
        return Blob(header, tags, None)

    def shun(self, version: bytes) -> None:
        """Take from the files no value that is older than ``version``: they could not be told of a delete or a clear."""
        self.floor = max(self.floor, version)

    def fresh(
        self,
        place: str,
        value: Any,
        encoded: Encoded,
        domain: Domain,
        tally: Tally,
        life: Life,
        tags: tuple[str, ...],
        above: bytes = ZERO,
    ) -> Held:
        """The entry of a live write: above all that is known of the place and of every epoch that applies."""
        kept, thaw, size = self.form(value, encoded, domain)
        span_ms = self.span_ms(life.gone)
        held = self.live(kept, thaw, size, tally, life.gone, span_ms, tags, self._memory.find(place), above)
        if life.plain and not encoded.etag:
            return held
        return self._aged(held, life, self._ms(life.fresh), encoded.etag)

    def live(
        self,
        kept: Any,
        thaw: Callable[[Any], Any] | None,
        size: int,
        tally: Tally,
        lifetime: float,
        span_ms: int,
        tags: tuple[str, ...],
        old: Held | None,
        above: bytes = ZERO,
    ) -> Held:
        """The same of a value in its ``form``, with the entry ``old`` that memory has in its place."""
        era = self._memory.era  # before the epochs: one that comes now has the entry looked at once more
        now_ms = int(self._time() * 1000)
        epoch = self._epochs.newest(tags)
        if above is ZERO or epoch > above:
            above = epoch
        if old is not None and old.version > above:
            above = old.version
        version = self._mint(above, now_ms if self._one_clock else None)
        now, trust = self._now(), self._trust
        gone_until = now + lifetime
        settled_until = gone_until if trust is None or lifetime <= trust else now + trust
        return Held.of(
            kept, thaw, settled_until, size, version, now_ms, span_ms, tally, era, 0.0, tags, MEMORY, gone_until
        )  # fmt: skip

    def made(
        self,
        value: Any,
        encoded: Encoded,
        domain: Domain,
        tally: Tally,
        *,
        version: bytes,
        era: int,
        life: Life,
        tags: tuple[str, ...],
        took: float = 0.0,
    ) -> Held:
        """An entry of a version, created now; ``era`` is memory's at a time when no epoch lay above that."""
        now_ms = int(self._time() * 1000)
        held = self._hold(
            value, encoded, None, domain, tally, version, now_ms, self.span_ms(life.gone), era, life.gone, took, tags, MEMORY
        )  # fmt: skip
        if life.plain and not encoded.etag:
            return held
        return self._aged(held, life, self._ms(life.fresh), encoded.etag)

    def hold(
        self, blob: Blob, value: Any, thaw: Callable[[bytes], Any], domain: Domain, tally: Tally, layer: str, era: int
    ) -> Held:
        """An entry for memory of what a layer held.

        ``era`` is memory's before the blob was looked at: an epoch that has come since has the entry looked at once more.
        """
        (_, version, created_ms, fresh_until_ms, gone_ms, cost_ms, *_), tags, encoded = blob
        tags = shared(tags)
        if gone_ms == NEVER:
            left, span_ms = inf, NEVER
        else:
            left, span_ms = remaining(created_ms, gone_ms, self._time()), gone_ms - created_ms
        held = self._hold(
            value, encoded or _EMPTY, thaw, domain, tally, version, created_ms, span_ms, era, left, cost_ms / 1000, tags, layer
        )  # fmt: skip
        policy = self.policy(domain)
        etag = "" if encoded is None else encoded.etag
        if fresh_until_ms == gone_ms and policy.refresh_ahead is None and not etag:
            return held
        fresh_ms = NEVER if fresh_until_ms == NEVER else fresh_until_ms - created_ms
        fresh = remaining(created_ms, fresh_until_ms, self._time())
        ripe = policy.life(fresh_ms / 1000).ripe - fresh_ms / 1000 + fresh if fresh < inf else inf
        return self._aged(held, Life(fresh, left, ripe), fresh_ms, etag)

    def _aged(self, held: Held, life: Life, fresh_ms: int, etag: str) -> Aging:
        """The entry with its ages, of which so much is left."""
        self.ages = True
        now, trust = self._now(), self.trust if held.layer == self._redis else self._trust
        return Aging.aged(
            held,
            fresh_ms=fresh_ms,
            fresh_until=now + life.fresh,
            ripe_at=now + life.ripe,
            trusted_until=inf if trust is None else now + trust,
            etag=etag,
        )

    @staticmethod
    def _ms(lifetime: float) -> int:
        return NEVER if lifetime == inf else int(lifetime * 1000) or int(lifetime > 0)

    def time_anew(self, held: Held) -> None:
        """Say once more when an entry ends: to write it to Redis may have set the clock."""
        left = remaining(held.created_ms, held.gone_ms, self._time())
        held.settled_until = min(held.settled_until, self._now() + left)
        held.gone_until = inf  # for memory to say

    def span_ms(self, lifetime: float) -> int:
        """A lifetime in whole milliseconds; those of one lifetime share the number."""
        known, span_ms = self._span
        if lifetime != known:
            span_ms = int(lifetime * 1000) or 1 if lifetime < inf else NEVER
            self._span = (lifetime, span_ms)
        return span_ms

    def _hold(
        self,
        value: Any,
        encoded: Encoded,
        thaw: Callable[[bytes], Any] | None,
        domain: Domain,
        tally: Tally,
        version: bytes,
        created_ms: int,
        span_ms: int,
        era: int,
        left: float,
        took: float,
        tags: tuple[str, ...],
        layer: str,
    ) -> Held:
        # What Redis has not been told, it tells nobody: there no word can come that it has changed.
        trust = self.trust if layer == self._redis else self._trust
        now = self._now()
        gone_until = now + left
        settled_until = gone_until if trust is None or left <= trust else now + trust
        kept, thaw, size = self.form(value, encoded, domain, thaw)
        return Held.of(
            kept, thaw, settled_until, size, version, created_ms, span_ms, tally, era, took, tags, layer, gone_until
        )  # fmt: skip

    def form(
        self, value: Any, encoded: Encoded, domain: Domain, thaw: Callable[[Any], Any] | None = None
    ) -> tuple[Any, Callable[[Any], Any] | None, int]:
        """The live value where nobody can spoil it, else its encoded form and what makes a copy of that; and its size."""
        body = encoded.body
        kind = type(value)
        if domain.shared or kind in IMMUTABLE or (kind not in CONTAINERS and self._coder.is_immutable(value)):
            return value, None, max(len(body), sys.getsizeof(value))
        return body, thaw or self._coder.copier(encoded), len(body)
