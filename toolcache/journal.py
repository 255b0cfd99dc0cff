"""Tells Redis what it missed: the pending records of the log, once Redis takes writes again.

One process of a host does it at a time, also for processes that have died. Tombstones and epochs go first, then
results, then values; each with the version it was written with, so that repeating it, or being late, changes nothing. A
Redis that has come back as another server, perhaps empty, or has been flushed, is told again of everything that must
outlive it.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from toolcache.blob import TOMBSTONE
from toolcache.events import JournalReplayed, StoreFault
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import Debt, PutResult, PutStatus, SupportsIdentity, SupportsJournal, Turn, Write
from toolcache.versions import split

_EVERY: Final = 1.0
_BATCH: Final = 100
_RATE: Final = 2_000


class Journal:
    """Replays for one cache; the log is that of all caches on its directory.

    Args:
        parts: the cache's parts.
        catch_up: makes known what is owed.
    """

    def __init__(self, parts: Parts, catch_up: Callable[[], Awaitable[None]]) -> None:
        self._catch_up = catch_up
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
        self._asserted: str | None = None
        self._emptied = False

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

    def emptied(self) -> None:
        """Redis was flushed: what has to outlive that is to be told again, although it is the same server."""
        self._emptied = True

    async def run(self) -> None:
        """Replay whenever there is something to replay, until cancelled."""
        while True:
            try:
                await self.replay()
            except Exception as fault:  # noqa: BLE001 - what is owed stays owed, and the next round tries again
                self._announce(StoreFault("redis", "replay", "local", type(fault).__name__))
            # Not all hosts at once, nor all caches.
            await self._clock.sleep(_EVERY * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def replay(self) -> None:
        """Tell Redis what it is owed, as far as it takes it. Whatever interrupts this, it can be begun anew."""
        if self._store is None or self._files is None or self._redis is None:
            return
        await self._catch_up()
        if self._redis.guard.refuses(mutation=True) or not (self._store.owing or self._is_another()):
            return
        turn = await self._files.ask(self._store.take_turn)
        if turn is None:
            return
        try:
            if self._is_another():
                await self._assert_anew(self._redis, self._files, self._store, turn)
            if self._store.owing:
                await self._pay_all(self._redis, self._files, self._store, lasting=False)
        finally:
            turn.close()

    def _is_another(self) -> bool:
        """Whether Redis may not know what this host has told the one before it."""
        return self._emptied or ((run_id := self._run_id()) is not None and run_id != self._asserted)

    def _run_id(self) -> str | None:
        store = None if self._redis is None else self._redis.store
        return store.run_id if isinstance(store, SupportsIdentity) else None

    async def _assert_anew(self, redis: Layer, files: Layer, store: SupportsJournal, turn: Turn) -> None:
        """Redis is a server that this host may not have told of its tombstones, epochs and results."""
        run_id, emptied = self._run_id() or "", self._emptied
        if emptied or turn.noted != run_id:
            self._emptied = False
            if not await self._pay_all(redis, files, store, lasting=True):
                self._emptied |= emptied
                return
            await files.ask(partial(store.note, turn, run_id), mutation=True)
        self._asserted = run_id

    async def _pay_all(self, redis: Layer, files: Layer, store: SupportsJournal, *, lasting: bool) -> bool:
        """Go through all that is owed, or all that lasts; False where Redis, or the disk, did not go along to the end."""
        handles = await files.ask(partial(store.owed, lasting=lasting))
        if handles is None:
            return False
        before = self.replayed, self.dropped
        whole = True
        for start in range(0, len(handles), _BATCH):
            if start:
                await self._clock.sleep(_BATCH / _RATE)
            debts = await files.ask(partial(store.debts, handles[start : start + _BATCH]))
            if debts is None or not await self._pay(redis, files, store, debts):
                whole = False
                break
        replayed, dropped = self.replayed - before[0], self.dropped - before[1]
        if replayed or dropped:
            self._announce(JournalReplayed(replayed, dropped, store.owing))
        return whole

    async def _pay(self, redis: Layer, files: Layer, store: SupportsJournal, debts: Sequence[Debt]) -> bool:
        """Tell Redis of some; what it has then, it is no longer owed. False where it takes nothing any more."""
        results = await self._offer(redis, debts)
        marks = []
        for debt, result in zip(debts, results, strict=False):
            # What it will not have stays owed, and is offered again another time; nothing waits for it.
            if result is not None and result.status is not PutStatus.FOREIGN:
                obsolete = result.status is PutStatus.NEWER or not self._worth(debt)
                self.dropped += obsolete
                self.replayed += not obsolete and result.status is PutStatus.STORED
                marks.append((debt.key, debt.version))
        if marks:
            await files.ask(partial(store.settle, marks), mutation=True)
        return len(results) == len(debts)

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
            return Write(debt.key, debt.blob, once=debt.once)
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
            if redis.guard.refuses(mutation=True):
                break
            alone = await redis.write([write])
            results.append(None if alone is None else alone[0])
        return results
