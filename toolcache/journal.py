"""Tells Redis what it missed: the pending records of the log, once Redis takes writes again.

One process of a host does it at a time, also for processes that have died. Tombstones and epochs go first, then
results, then values; each with the version it was written with, so that repeating it, or being late, changes nothing. A
Redis that has come back as another server, perhaps empty, or has been flushed, is told again of everything that must
outlive it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from toolcache.blob import TOMBSTONE, CorruptBlobError
from toolcache.epochs import NAMESPACE
from toolcache.events import JournalReplayed, StoreFault
from toolcache.home import Homes
from toolcache.keys.text import RECORD, key_digest, kind_of, store_key
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import Debt, PutResult, PutStatus, SupportsIdentity, SupportsJournal, Turn, Write
from toolcache.versions import ZERO, split

_EVERY: Final = 1.0
_FEEL_EVERY: Final = 3.0
_RATE: Final = 2_000


Replay: TypeAlias = Callable[[str, bytes, bytes], Awaitable[PutResult | None]]


class Journal:
    """Replays for one cache; the log is that of all caches on its directory.

    Args:
        parts: the cache's parts.
        catch_up: makes known what is owed.
        replay: tells Redis of a record, given its store key, its blob, and up to which version its namespace has been cleared.
        homes: whether the cache is closed.
    """

    def __init__(self, parts: Parts, catch_up: Callable[[], Awaitable[None]], replay: Replay, homes: Homes) -> None:
        self._catch_up = catch_up
        self._replay = replay
        self._homes = homes
        self.replayed = 0
        self.dropped = 0
        self._clock = parts.clock
        self._announce = parts.announce
        self._envelope = parts.envelope
        self._max_age = parts.journal_max_age
        self._tombstone_ttl = parts.tombstone_ttl
        self._redis, self._files = parts.redis, parts.files
        store = parts.files.store if parts.files and parts.redis else None
        self._store = store if isinstance(store, SupportsJournal) else None
        self._asserted: tuple[str | None, int] = (None, 0)
        self._flushes = 0
        self._owed = False
        self._feel_at = 0.0
        self._feels = False

    @property
    def needed(self) -> bool:
        """Whether there is one who may owe, and one who may be owed."""
        return self._store is not None

    @property
    def pending(self) -> int:
        """Keys with a write that Redis has not taken, as far as is known."""
        return 0 if self._store is None else self._store.owing

    def oldest(self) -> float | None:
        """When the oldest of these was written, in seconds since the epoch."""
        return None if self._store is None else self._store.oldest()

    def flushed(self) -> None:
        """Redis was flushed: what has to outlive that is to be told again, although it is the same server."""
        self._flushes += 1

    async def run(self) -> None:
        """Replay whenever there is something to replay, until cancelled; or closed, from another loop."""
        from random import uniform

        while not self._homes.closed:
            try:
                await self.replay()
            except Exception as fault:  # noqa: BLE001 - what is owed stays owed, and the next round tries again
                self._announce(StoreFault("redis", "replay", "local", type(fault).__name__))
            # Not all hosts at once, nor all caches.
            await self._clock.sleep(_EVERY * uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def replay(self) -> None:
        """Tell Redis what it is owed, as far as it takes it. Whatever interrupts this, it can be begun anew."""
        if self._store is None or self._files is None or self._redis is None:
            return
        await self._catch_up()
        refused = self._redis.refuses(mutation=True)
        owed, self._owed = self._owed, self._store.owing > 0
        if refused and owed and not self._owed:  # another process of the host has told it all: Redis is back
            self._redis.guard.allow_probe()
        if not (self._may_feel(self._redis) if refused else self._owed or self._is_another()):
            return
        turn = await self._files.ask(self._store.take_turn, counted=False)
        if turn is None:
            return
        try:
            self._feels = refused
            if self._is_another():
                await self._assert_anew(self._redis, self._files, self._store, turn)
            if self._store.owing:
                await self._pay_all(self._redis, self._files, self._store, lasting=False)
        finally:
            turn.close()

    def _may_feel(self, redis: Layer) -> bool:
        """Whether to try a Redis that still rests: who is owed something is not left alone until the longest wait is over.

        One who is denied access is: nothing that Redis may do by itself would change that.
        """
        if not self.pending or redis.guard.denied or (now := self._clock.monotonic()) < self._feel_at:
            return False
        self._feel_at = now + _FEEL_EVERY
        return True

    def _is_another(self) -> bool:
        """Whether Redis may not know what this host has told the one before it, or has been flushed since."""
        return (run_id := self._run_id()) is not None and self._asserted != (run_id, self._flushes)

    def _run_id(self) -> str | None:
        store = None if self._redis is None else self._redis.store
        return store.run_id if isinstance(store, SupportsIdentity) else None

    async def _assert_anew(self, redis: Layer, files: Layer, store: SupportsJournal, turn: Turn) -> None:
        """Redis is a server that this host may not have told of its tombstones, epochs and results."""
        run_id, flushes = self._run_id() or "", self._flushes
        if turn.noted != run_id or flushes != self._asserted[1]:
            if not await self._pay_all(redis, files, store, lasting=True):
                return
            await files.ask(partial(store.note, turn, run_id), mutation=True, counted=False)
        self._asserted = run_id, flushes

    async def _pay_all(self, redis: Layer, files: Layer, store: SupportsJournal, *, lasting: bool) -> bool:
        """Go through all that is owed, or all that lasts; whether Redis has heard of every one of them."""
        portions = await files.ask(partial(store.owed, lasting=lasting), counted=False)
        if portions is None:
            return False
        before = self.replayed, self.dropped
        whole = True
        for number, handles in enumerate(portions):
            if number:
                await self._clock.sleep(len(handles) / _RATE)
            read = await files.ask(partial(store.debts, handles), counted=False)
            # No cache made a key of other letters, or can tell of it.
            debts = None if read is None else [debt for debt in read if debt.key.isascii()]
            if self._feels:  # as late as can be, or a caller would be the one who tries, and waits
                self._feels = False
                redis.guard.allow_probe()
            results = [] if debts is None else await self._pay(redis, files, store, debts)
            whole = whole and None not in results
            if debts is None or len(results) < len(debts):
                whole = False
                break
        replayed, dropped = self.replayed - before[0], self.dropped - before[1]
        if replayed or dropped:
            self._announce(JournalReplayed(replayed, dropped, store.owing))
        return whole

    async def _pay(
        self, redis: Layer, files: Layer, store: SupportsJournal, debts: Sequence[Debt]
    ) -> list[PutResult | None]:
        """Tell Redis of some, as ``_offer`` does; what it has then, it is no longer owed."""
        plain = [debt for debt in debts if kind_of(debt.key) != RECORD]
        results = dict(zip(plain, await self._offer(redis, plain), strict=False))
        if len(results) == len(plain):
            results.update(await self._tell(redis, [debt for debt in debts if kind_of(debt.key) == RECORD]))
        marks = []
        for debt, result in results.items():
            # What it will not have stays owed, and is offered again another time; nothing waits for it.
            if result is not None and result.status is not PutStatus.FOREIGN:
                obsolete = result.status is PutStatus.NEWER or not self._worth(debt)
                self.dropped += obsolete
                self.replayed += not obsolete and result.status is PutStatus.STORED
                marks.append((debt.key, debt.version))
        if marks:
            await files.ask(partial(store.settle, marks), mutation=True)
        return list(results.values())

    def _worth(self, debt: Debt) -> bool:
        """Whether it still says anything: unexpired; if it is only a value, not overtaken, nor too old to be believed."""
        if debt.blob is None or debt.lasting or self._store is None:
            return debt.blob is not None
        if self._store.pending(debt.key) is None:
            return False
        return self._clock.time() - split(debt.version)[0] / 1000 <= self._max_age

    def _write(self, debt: Debt) -> Write:
        """The write, with its own version. Of a value whose time is over, that: or what it replaced would be back."""
        if debt.blob is not None and self._worth(debt):
            return Write(debt.key, debt.blob)
        now_ms = int(self._clock.time() * 1000)
        blob = self._envelope.pack(
            None,
            digest=key_digest(debt.key),
            version=debt.version,
            created_ms=now_ms,
            fresh_until_ms=(gone_ms := now_ms + int(self._tombstone_ttl * 1000)),
            gone_ms=gone_ms,
            flags=TOMBSTONE,
        )
        return Write(debt.key, blob)

    async def _offer(self, redis: Layer, due: Sequence[Debt]) -> list[PutResult | None]:
        """What became of each, None for what Redis refused alone; fewer than there are where it takes nothing any more."""
        writes = [self._write(debt) for debt in due]
        if not writes:
            return []
        together = await redis.write(writes)
        if together is not None:
            return list(together)
        results: list[PutResult | None] = []
        for write in writes:
            if redis.refuses(mutation=True):
                break
            alone = await redis.write([write])
            results.append(None if alone is None else alone[0])
        return results

    async def _tell(self, redis: Layer, records: Sequence[Debt]) -> dict[Debt, PutResult | None]:
        """What became of the records of requests, which take no place that something newer has; none where nobody knows."""
        cleared = await self._cleared(redis, records)
        if cleared is None:
            return {}

        async def tell(debt: Debt) -> PutResult | None:
            if debt.blob is None:  # its time is over
                return PutResult(PutStatus.NEWER, debt.version, False)
            return await self._replay(debt.key, debt.blob, cleared[_epoch_of(debt.key)])

        return dict(zip(records, await asyncio.gather(*map(tell, records)), strict=True))

    async def _cleared(self, redis: Layer, due: Sequence[Debt]) -> dict[str, bytes] | None:
        """By epoch, up to which version the requests of a namespace have been cleared; None where Redis cannot be asked."""
        names = list({_epoch_of(debt.key) for debt in due})
        blobs = await redis.read(names) if names else []
        if blobs is None:
            return None
        return {name: self._version(name, blob) for name, blob in zip(names, blobs, strict=True)}

    def _version(self, name: str, blob: bytes | None) -> bytes:
        try:
            return ZERO if blob is None else self._envelope.unpack(blob, key_digest(name))[0].version
        except CorruptBlobError:
            return ZERO


def _epoch_of(name: str) -> str:
    """The store key of the epoch of a store key's namespace."""
    return store_key("e", "".join(name.split(":", 3)[2:3]), NAMESPACE)
