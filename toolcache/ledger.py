"""The records of requests in the stores: how they are written, and how one takes the place of another.

    memory → files → Redis     the order in which a request is claimed
    Redis → files → memory     the order in which its answer is committed

What cannot be read, of a key, makes a store of no use for that key: nobody may conclude anything from it.
"""

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from toolcache.blob import CLAIM, NEVER, RECORD, CorruptBlobError, end_of
from toolcache.encoded import Encoded
from toolcache.entries import Entries
from toolcache.epochs import Epochs
from toolcache.events import BlobRejected, DuplicateExecution
from toolcache.horizon import Horizon
from toolcache.keys.text import key_digest, store_key
from toolcache.layer import Layer
from toolcache.memory.claims import MemoryClaims
from toolcache.parts import Parts
from toolcache.protocols import PutResult, PutStatus, SupportsUsage
from toolcache.record import Attempt, Decide, Record, Seen, State, Verdict, erase, keep
from toolcache.record_body import pack, record_of
from toolcache.swaps import NOTHING, UNKNOWN, Move, Standing, SupportsClaim
from toolcache.versions import ZERO

_SHARED: Final = 3.0
"""How many leases a claim of a host is good for in Redis."""
_REMEMBERED: Final = 256
"""Records without an output of which it is known what they say; and owners that have ended untold."""
_OPENING: Final = 10.0
"""Seconds that a claim waits for the directory to be read for the first time."""


class Answer(NamedTuple):
    """What has come of trying: the verdict, what stands there now, and as what to expect it."""

    verdict: Verdict
    record: Record | None
    standing: Standing


class Patience:
    """What one call has left to wait for each store, with all its steps.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._left: dict[Place, float] = {}

    def until(self, place: "Place") -> float:
        """When a step that begins now is to be done with a store."""
        if place not in self._left:
            self._left[place] = place.patience(self._now())
        return self._now() + self._left[place]

    def spend(self, place: "Place", until: float) -> None:
        """A step is over that was to be done by then."""
        self._left[place] = max(0.0, until - self._now())


class Place:
    """The records in one store.

    Args:
        store: where they are.
        layer: what makes it safe; None for memory, which cannot fail.
        leases: how many leases a claim is good for there.
    """

    def __init__(self, store: SupportsClaim, layer: Layer | None = None, *, leases: float = 1.0) -> None:
        self.store = store
        self.layer = layer
        self.leases = leases
        self.name = "memory" if layer is None else layer.name
        self._open = False
        self._usage = layer.store.usage if layer is not None and isinstance(layer.store, SupportsUsage) else None

    @property
    def fault(self) -> str:
        """Why it could not say, the last time."""
        return (self.layer is not None and self.layer.guard.last_fault) or "what it holds of the request cannot be read"

    @property
    def refuses(self) -> bool:
        """Whether a claim would be refused now."""
        return self.layer is not None and self.layer.refuses(mutation=True)

    def patience(self, now: float) -> float:
        """Seconds that a call may wait for the store."""
        if self.layer is None:
            return math.inf
        if not self._open:
            self._open = self._usage is None or self._usage() is not None
        return max(self.layer.budget() - now, 0.0 if self._open else _OPENING)


class Ledger:
    """The records of one cache's namespace.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared.
        entries: tells versions.
        horizon: asks what has been cleared.

    Attributes:
        places: near to far, as they are claimed.
        layers: those that outlive the process.
        ended: owners of this process who are at it no more, which a store could not be told.
    """

    def __init__(self, parts: Parts, epochs: Epochs, entries: Entries, horizon: Horizon) -> None:
        self._parts = parts
        self._epochs = epochs
        self._entries = entries
        self._horizon = horizon
        self.ended: set[bytes] = set()
        self._known: dict[tuple[str, bytes], Record] = {}
        self._here = MemoryClaims(parts.clock)
        self.memory = Place(self._here)
        self.files = _place(parts.files, 1.0)
        self.redis = _place(parts.redis, _SHARED if self.files else 1.0)
        self.layers = [place for place in (self.files, self.redis) if place is not None]
        self.places = [self.memory, *self.layers]

    def name(self, place: str) -> str:
        """The store key of the record of a request."""
        return store_key("i", self._parts.namespace, place)

    def version(self, above: bytes = ZERO, tags: tuple[str, ...] = ()) -> bytes:
        """A version above all that is known to have been cleared, also by one of these tags."""
        return self._entries.version(above=above, tags=tags)

    def floor(self) -> bytes:
        """Up to which version all of the namespace is known to have been cleared."""
        return self._epochs.newest()

    def attempt(self, fingerprint: str, *, retention: float, error_ttl: float = 60.0, max_attempts: int = 1) -> Attempt:
        """One who wants a request answered, and knows what is known here."""
        epoch = self.floor()
        return Attempt(
            owner=os.urandom(16),
            fence=self.version(),
            fingerprint=fingerprint,
            now=self._parts.clock.time,
            rise=self.version,
            max_attempts=max_attempts,
            retention=retention,
            error_ttl=error_ttl,
            floor=epoch,
            cleared=epoch,
            ended=set(self.ended),
        )

    def end(self, owner: bytes) -> None:
        """An owner of this process is at it no more, and a store could not be told: nobody here is to wait for it."""
        if len(self.ended) >= _REMEMBERED:
            self.ended.clear()
        self.ended.add(owner)

    def faults(self) -> str:
        """What was the matter with each layer, the last time it could not say."""
        return ", ".join(f"{place.name}: {place.fault}" for place in self.layers)

    def patience(self) -> Patience:
        """For a call that begins now."""
        return Patience(self._parts.clock.monotonic)

    async def heed(self, place: Place, patience: Patience | None = None, tags: tuple[str, ...] = ()) -> None:
        """Have a store say what has been cleared."""
        if place.layer is None:
            return
        names = (self._epochs.namespace, *self._epochs.names(tags))
        if self._horizon.know_of(names) if place is self.files else not self._epochs.unknown(names):
            return
        patience = patience or self.patience()
        until = patience.until(place)
        await self._horizon.ask(place.layer, names, until=until)
        patience.spend(place, until)

    async def current(self, place: Place, record: Record, patience: Patience | None = None) -> bool:
        """Whether a record that was found has not been cleared by one of its tags."""
        if record.tags:
            await self.heed(place, patience, record.tags)
        return record.state is State.FORGOTTEN or not self._epochs.covers(record.fence, record.tags)

    async def settle(
        self,
        place: Place,
        name: str,
        decide: Decide,
        standing: Standing = NOTHING,
        *,
        durable: bool = False,
        pending: bool = False,
        blindly: bool = False,
        patience: Patience | None = None,
    ) -> Answer | None:
        """Have a record take the place of another, as ``decide`` says of what stands there; None if nobody knows.

        Args:
            place: in which store.
            name: the store key.
            decide: of ``record``.
            standing: what is believed to stand there.
            durable: synced, before it is answered.
            pending: what is put there, Redis is owed.
            blindly: what cannot be read is taken for nothing, and gives way.
            patience: of the call that this is a step of.
        """
        if place.layer is None:
            return self._settle_here(name, decide)
        patience = patience or self.patience()
        until = patience.until(place)
        record: Record | None = None

        def move(stands: Standing) -> Move[Verdict] | Verdict:
            nonlocal record
            if stands is UNKNOWN:
                return Move(stands.raw, None, Verdict.LOST)
            try:
                seen = self._seen(place, name, stands)
            except CorruptBlobError:
                if not blindly:
                    raise
                seen = Seen()
            put = decide(seen)
            if isinstance(put, Verdict):
                record = seen.record
                return put
            record = put.record
            blob = None if put.record is None else self.pack(name, put.record, put.ttl)
            lease = None if put.lease is None else put.lease * place.leases
            return Move(stands.raw, blob, put.then, put.ttl, lease, durable, pending)

        try:
            answer = await place.layer.settle(name, move, standing, until=until)
        except CorruptBlobError:
            return None
        finally:
            patience.spend(place, until)
        if answer is None:
            return None
        verdict, stands = answer
        self._remember(name, stands.blob, record)
        if record is None or verdict is Verdict.OURS or await self.current(place, record, patience):
            return Answer(verdict, record, stands)
        # Of one of its tags nobody here had heard: now it is nothing.
        return await self.settle(
            place, name, decide, stands, durable=durable, pending=pending, blindly=blindly, patience=patience
        )

    def _settle_here(self, name: str, decide: Decide) -> Answer:
        """The same in memory, where a record is kept as it is: at once."""
        while True:
            row = self._here.find(name)
            seen = Seen() if row is None else self._uncleared(row.record, self._here.left(row))
            put = decide(seen)
            if isinstance(put, Verdict):
                return Answer(put, seen.record, NOTHING if row is None else Standing(row.raw, left=seen.left))
            done, row = self._here.replace(name, row, put.record, ttl=put.ttl, lease=put.lease)
            if done:
                return Answer(put.then, put.record, NOTHING if row is None else Standing(row.raw))

    def recall(self, name: str) -> Record | None:
        """What memory holds of a request."""
        row = self._here.find(name)
        return None if row is None else self._uncleared(row.record, 0.0).record

    async def read(self, place: Place, name: str, patience: Patience) -> Record | None:
        """What a store holds of a request, without asking for its lease; None also where it cannot be asked."""
        if place.layer is None:
            return self.recall(name)
        until = patience.until(place)
        answer = place.layer.peek([name]) or await place.layer.read([name], until=until)
        patience.spend(place, until)
        if answer is None:
            return None
        # Also where it holds nothing: it may have been cleared.
        await self.heed(place, patience)
        if (raw := answer[0]) is None:
            return None
        try:
            record = self._seen(place, name, Standing(raw, raw[: end_of(raw)])).record
        except CorruptBlobError:
            return None
        return record if record is not None and await self.current(place, record, patience) else None

    async def replay(self, name: str, blob: bytes, floor: bytes) -> PutResult | None:
        """Tell Redis of a record that it has missed; what became of it, None if nobody knows.

        Args:
            name: the store key, of whatever namespace.
            blob: the record.
            floor: up to which version its namespace has been cleared there.
        """
        try:
            record = self._read(name, blob)
        except CorruptBlobError:
            return PutResult(PutStatus.NEWER, ZERO, False)
        now = self._parts.clock.time()
        if record.state is State.FORGOTTEN:
            decide: Decide = partial(erase, tombstone=record, ttl=self._parts.tombstone_ttl)
        else:
            decide = lambda seen: keep(seen, record, floor=floor, now=now)  # noqa: E731 - as short as it is
        answer = None if self.redis is None else await self.settle(self.redis, name, decide)
        if answer is None:
            return None
        stands = answer.record
        if answer.verdict is Verdict.OURS:
            return PutResult(PutStatus.STORED, record.fence, False)
        if stands is not None and stands.owner == record.owner and stands.state is record.state:
            return PutResult(PutStatus.ALREADY, record.fence, True)
        if answer.verdict is Verdict.KEPT and stands is not None and stands.answers:
            self._parts.announce(DuplicateExecution(short(name), "redis"))
        return PutResult(PutStatus.NEWER, record.fence if stands is None else stands.fence, False)

    def check(self, output: Encoded) -> None:
        """Raises ValueTooLargeError for an output that no record can hold."""
        self._parts.envelope.check(output, ())

    def pack(self, name: str, record: Record, ttl: float) -> bytes:
        """The blob of a record.

        Raises:
            ValueTooLargeError: its output is larger than an entry may be.
        """
        now_ms = int(self._parts.clock.time() * 1000)
        gone_ms = NEVER if math.isinf(ttl) else now_ms + max(1, int(ttl * 1000))
        return self._parts.envelope.pack(
            pack(record),
            digest=key_digest(name),
            version=record.fence,
            created_ms=now_ms,
            fresh_until_ms=gone_ms,
            gone_ms=gone_ms,
            tags=record.tags,
            flags=CLAIM if record.state in (State.RUNNING, State.FAILED) else RECORD,
        )

    def _seen(self, place: Place, name: str, standing: Standing) -> Seen:
        """What a store's bytes say; nothing, where what they say has been cleared."""
        if not standing.blob:
            return Seen()
        try:
            record = self._read(name, standing.blob)
        except CorruptBlobError as fault:
            if place.layer is not None:
                place.layer.tally.rejected += 1
            self._parts.announce(BlobRejected(place.name, fault.reason, short(name)))
            raise
        return self._uncleared(record, standing.left)

    def _uncleared(self, record: Record, left: float) -> Seen:
        """A record that stands somewhere, unless it has been cleared."""
        cleared = record.state is not State.FORGOTTEN and self._epochs.covers(record.fence, record.tags)
        return Seen() if cleared else Seen(record, left)

    def _remember(self, name: str, blob: bytes, record: Record | None) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        if record is not None and record.output is None:
            self._known[name, blob] = record

    def _read(self, name: str, blob: bytes) -> Record:
        if (known := self._known.get((name, blob))) is not None:
            return known
        header, tags, encoded = self._parts.envelope.unpack(blob, key_digest(name))
        if encoded is None or not header.flags & (CLAIM | RECORD):
            raise CorruptBlobError("record")
        record = record_of(self._parts.coder.decode(encoded), tags)
        self._parts.hybrid.observe(record.fence)
        return record


def short(name: str) -> str:
    """What events and errors tell of a request: enough to find its record again."""
    return key_digest(name)[:4].hex()


def _place(layer: Layer | None, leases: float) -> Place | None:
    return None if layer is None or layer.claims is None else Place(layer.claims, layer, leases=leases)
