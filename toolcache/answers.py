"""What requests have come to: committed, looked up, forgotten.

An answer is committed to Redis first, then to the host's file, which is written once and synced, and whose content is the answer: so
no host ever changes an answer that it has given. One found in Redis reaches callers only through that file. Where no store below memory
takes it, memory keeps it.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from toolcache.encoded import Encoded
from toolcache.entry import Durability
from toolcache.errors import CacheWriteError
from toolcache.events import DataAtRisk, DuplicateExecution
from toolcache.fields import Frozen
from toolcache.ledger import Ledger, Patience, Place, short
from toolcache.parts import Parts
from toolcache.record import (
    Attempt,
    Put,
    Record,
    Seen,
    State,
    Verdict,
    erase,
    floor_of,
    forgotten,
    keep,
    standing,
)
from toolcache.swaps import NOTHING, UNKNOWN, Standing
from toolcache.versions import ZERO

_NEAR: Final = 600.0
"""Seconds that memory remembers what was forgotten, for what is being run here meanwhile; the stores do for longer."""


class Committed(NamedTuple):
    """The answer that stands, None for one that was forgotten meanwhile; where it is safe; and where nobody knows."""

    record: Record | None
    durability: Durability
    missed: tuple[Place, ...] = ()


class RunStatus(Frozen):
    """How far a request has come.

    Attributes:
        state: "absent" (never run, forgotten, or its time is over), "running", "completed", or "failed".
        attempts: how often it was begun.
        started_at: when, the last time; seconds since the epoch.
        finished_at: when it came to its end.
        expires_at: until when that is kept.
        lapsed: it is running, as far as anybody said, but its process is dead or has given no word for a whole lease.
        error: the type and text of its failure.
        cost_usd: what the run reported.
        tokens: the same in tokens.
    """

    state: Literal["absent", "running", "completed", "failed"]
    attempts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    lapsed: bool = False
    error: str | None = None
    cost_usd: float | None = None
    tokens: int | None = None


class Answers:
    """The answers of one cache's requests.

    Args:
        parts: the cache's parts.
        ledger: the records.
    """

    def __init__(self, parts: Parts, ledger: Ledger) -> None:
        self._parts = parts
        self._ledger = ledger
        self._safe = {ledger.files: Durability.FILE, ledger.redis: Durability.REDIS}

    async def commit(
        self,
        name: str,
        attempt: Attempt,
        record: Record,
        leave: Callable[[Place], Awaitable[Standing]] | None = None,
        *,
        ran: bool = True,
        again: bool = False,
        patience: Patience | None = None,
    ) -> Committed:
        """Have an answer stand, unless one does.

        Args:
            name: the store key of the request.
            attempt: who commits.
            record: its answer, or one that it has found.
            leave: has a claim in a place be renewed no more, and says what stands there.
            ran: whether it is the output of a run, so that another answer means two of these.
            again: whether memory has it, and that has been told of.
            patience: of the call that this is a step of.
        """
        own, durability, missed = record.owner, Durability.MEMORY, []
        patience = patience or self._ledger.patience()
        for place in reversed(self._ledger.places):
            if place is self._ledger.memory and (again or durability is not Durability.MEMORY):
                break
            await self._ledger.heed(place, patience, record.tags)
            attempt.heed(self._ledger.floor())
            put = partial(attempt.commit, answer=record)
            owed = place is self._ledger.files and self._ledger.redis in missed
            stands = await leave(place) if leave else NOTHING
            answer = await self._ledger.settle(place, name, put, stands, durable=True, pending=owed, patience=patience)
            if answer is None:
                missed.append(place)
                continue
            if answer.verdict not in (Verdict.OURS, Verdict.KEPT) or answer.record is None:
                return Committed(None, durability, tuple(missed))
            if ran and answer.record.owner not in (own, record.owner):
                self._parts.announce(DuplicateExecution(short(name), place.name))
            record = answer.record
            durability = max(durability, self._safe.get(place, Durability.MEMORY))
        if durability is Durability.MEMORY and not again:
            self._at_risk("commit", name)
        return Committed(record, durability, tuple(missed))

    async def put(
        self, name: str, output: Encoded, *, fingerprint: str, retention: float, tags: tuple[str, ...] = ()
    ) -> Durability:
        """Have an output be the answer of a request that was run elsewhere, unless one stands; where that is safe."""
        attempt = self._ledger.attempt(fingerprint, retention=retention)
        patience = self._ledger.patience()
        # What this host has forgotten, Redis may still hold.
        near = await self._look(
            name, patience, [place for place in self._ledger.places if place is not self._ledger.redis]
        )
        attempt.floor = max(attempt.floor, _floor(near))
        for _ in range(2):
            if attempt.fence <= attempt.floor:
                attempt.fence = self._ledger.version(attempt.floor)
            answer = attempt.completed(output)._replace(tags=tags)
            committed = await self.commit(name, attempt, answer, ran=False, patience=patience)
            if committed.record is not None:  # else it was forgotten before, elsewhere, by a clock that is ahead
                break
        return committed.durability

    async def kept(self, name: str, patience: Patience) -> Record | None:
        """What this host answers with, from its file: unless Redis says that it was forgotten since. Without files, what Redis has.

        Where there is neither, what memory has.
        """
        files, redis = self._ledger.files, self._ledger.redis
        record = await self._ledger.read(files or redis or self._ledger.memory, name, patience)
        # What Redis is owed, the files keep for longer.
        if record is None or not record.answers or self._parts.clock.time() >= record.expires_at:
            return None
        shared = await self._ledger.read(redis, name, patience) if files and redis else None
        floor = max(self._ledger.floor(), ZERO if shared is None else floor_of(shared))
        return None if record.fence <= floor else record

    async def get(self, name: str) -> Record | None:
        """The answer, wherever it stands; one that only Redis has, by way of the file."""
        patience = self._ledger.patience()
        if (record := await self.kept(name, patience)) is not None:
            return record
        seen = await self._look(name, patience)
        floor = max(self._ledger.floor(), _floor(seen))
        for place in (self._ledger.redis, self._ledger.memory):
            now = self._parts.clock.time()
            record = standing(seen.get(place, Seen()), floor, now) if place else None
            if record is None or not record.answers:
                continue
            files = self._ledger.files
            if files is None or place is self._ledger.memory:
                return record
            adopt = partial(keep, answer=record, floor=floor, now=now)
            answer = await self._ledger.settle(files, name, adopt, durable=True, patience=patience)
            if answer is None:
                return record
            return answer.record if answer.verdict in (Verdict.OURS, Verdict.KEPT) else None
        return None

    async def status(self, name: str) -> RunStatus:
        """How far a request has come."""
        seen = await self._look(name, self._ledger.patience())
        floor = max(self._ledger.floor(), _floor(seen))
        now = self._parts.clock.time()
        found = [(standing(one, floor, now), one.left) for one in seen.values()]
        there = [(record, left) for record, left in found if record is not None and record.state is not State.FORGOTTEN]
        if not there:
            return RunStatus("absent")
        # An answer says more than a claim, and what was claimed later more than what was before.
        record, left = max(there, key=lambda pair: (pair[0].answers, pair[0].fence, pair[1]))
        running, failure = record.state is State.RUNNING, record.failure
        return RunStatus(
            "running" if running else "completed" if failure is None else "failed",
            attempts=record.attempts,
            started_at=record.started_at,
            finished_at=None if running else record.finished_at,
            expires_at=None if running else record.expires_at,
            lapsed=running and left <= 0,
            error=None if failure is None else f"{failure.type}: {failure.message}",
            cost_usd=record.cost_usd,
            tokens=record.tokens,
        )

    async def forget(self, name: str) -> bool:
        """Forget a request, so that it runs again; whether an answer was there.

        Raises:
            CacheWriteError: a configured store may still hold it, and nothing durable says otherwise.
        """
        patience = self._ledger.patience()
        before = await self._look(name, patience)
        above = max([ZERO, *(one.record.fence for one in before.values() if one.record)])
        tombstone = forgotten(self._ledger.version(above), os.urandom(16))
        known, safe, owed = False, not self._ledger.layers, False

        def forget(seen: Seen, *, others: bool) -> Put | Verdict:
            nonlocal tombstone, known
            if seen.record is not None:
                known = known or (seen.record.answers and seen.record.failure is None)
                # What this process has claimed above it, it has claimed since.
                claimed = seen.record.state is not State.FORGOTTEN
                if others and claimed and seen.record.fence >= tombstone.fence:
                    tombstone = tombstone._replace(fence=self._ledger.version(seen.record.fence))
            return erase(seen, tombstone, ttl=self._parts.tombstone_ttl if others or not self._ledger.layers else _NEAR)

        told = None
        while told is not tombstone:  # what was claimed meanwhile is forgotten in every place, or in none
            told = tombstone
            for place in reversed(self._ledger.places):
                erasing = partial(forget, others=place is not self._ledger.memory)
                answer = await self._ledger.settle(
                    place, name, erasing, UNKNOWN, durable=True, pending=owed, blindly=True, patience=patience
                )
                if place is not self._ledger.memory:
                    owed = owed or answer is None
                    safe = safe or answer is not None
        if not safe:
            self._at_risk("delete_result", name)
            raise CacheWriteError("delete_result", "no store took it")
        return known

    async def _look(self, name: str, patience: Patience, places: Sequence[Place] | None = None) -> dict[Place, Seen]:
        """What stands in each place, or in some."""
        found = {}
        for place in self._ledger.places if places is None else places:
            await self._ledger.heed(place, patience)
            answer = await self._ledger.settle(place, name, lambda _seen: Verdict.LOST, UNKNOWN, patience=patience)
            if answer is not None:
                found[place] = Seen(answer.record, answer.standing.left)
        return found

    def _at_risk(self, operation: str, name: str) -> None:
        if self._ledger.layers:
            told = all(self._parts.announce.explained(place.name) for place in self._ledger.layers)
            self._parts.announce(DataAtRisk(operation, short(name), self._ledger.faults(), told))


def _floor(seen: Mapping[Place, Seen]) -> bytes:
    """Up to which version a request was forgotten, as far as what was seen says."""
    return max((floor_of(one.record) for one in seen.values() if one.record is not None), default=ZERO)
