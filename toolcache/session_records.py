"""How sessions stand in a store: one record each, in the place of the very one that was read.

The store is the most widely shared one that is configured. It alone says what stands there: no copy nearer by is asked.
"""

import os
from functools import partial
from typing import NamedTuple

from toolcache.aside import LARGE, Lengthy, aside
from toolcache.blob import CorruptBlobError
from toolcache.encoded import Encoded
from toolcache.errors import SessionError, SessionUnavailableError
from toolcache.ledger import Answer
from toolcache.machine import Machine
from toolcache.record import Put, Record, Seen, State, Verdict
from toolcache.session import Session, body_of, session_of
from toolcache.swaps import UNKNOWN, Standing
from toolcache.versions import ZERO


class Found(NamedTuple):
    """What stands there: the session, if there is one, and what is to be expected in its place."""

    session: Session | None
    record: Record | None
    standing: Standing


class SessionRecords:
    """The records of one cache's sessions.

    Args:
        machine: the cache's.
        labels: what all of them carry.
    """

    def __init__(self, machine: Machine, labels: tuple[str, ...]) -> None:
        self._parts = machine.parts
        self._ledger = machine.ledger
        self._homes = machine.homes
        self._place = self._ledger.redis or self._ledger.files or self._ledger.memory
        self._labels = labels

    async def look(self, name: str, session_id: str) -> Found:
        """What stands there, by the word of the store.

        Raises:
            SessionUnavailableError: it gives none.
            SessionError: what stands there is no session that can be read.
        """
        await self._ledger.heed(self._place, tags=self._labels)
        return await self._found(session_id, await self._ledger.settle(self._place, name, _only_look, UNKNOWN))

    async def base(self, session: Session) -> Session | None:
        """A session as it was when it was read or saved; None if it never was."""
        return None if session.record is None else await self._read(session.id, session.record)

    async def replace(self, name: str, session: Session, found: Found, owner: bytes) -> Found:
        """Put a session in the place of what was found; what stands there now, that one or another's.

        Args:
            name: the store key.
            session: as it is to stand there.
            found: what is expected to.
            owner: 16 bytes that nobody else has.

        Raises:
            SerializationError: it could not come back equal, or takes too much room.
            SessionUnavailableError, SessionError: as ``look``.
        """
        record = await self._record(session, owner, found.record)
        answer = await self._swap(name, record, found)
        if answer is None or answer.verdict is not Verdict.OURS:
            return await self._found(session.id, answer)
        session.record = record
        return Found(session, record, answer.standing)

    async def prolong(self, name: str, session: Session, found: Found) -> Found:
        """Have what was found be kept for as long as if it had been saved now; what others have saved meanwhile is."""
        assert found.record is not None  # noqa: S101 - there is a session
        record = found.record._replace(
            owner=os.urandom(16),
            fence=self._ledger.version(above=found.record.fence, tags=self._labels),
            expires_at=self._parts.clock.time() + session.ttl,
        )
        answer = await self._swap(name, record, found)
        if answer is None or answer.verdict is not Verdict.OURS:
            return await self._found(session.id, answer)
        session.expires_at, session.record = record.expires_at, record
        return found

    async def remove(self, name: str) -> bool:
        """Have nothing stand there, whatever did; whether a session was there."""
        was = False

        def decide(seen: Seen) -> Put | Verdict:
            nonlocal was
            was = was or self._stands(seen.record)
            return Put(None, Verdict.OURS)

        # What cannot be read may be forgotten all the same: there is no other way out of it.
        settling = self._ledger.settle(self._place, name, decide, UNKNOWN, blindly=True)
        if await self._homes.here().see_through(settling) is None:
            raise self._unavailable()
        return was

    def _unavailable(self) -> SessionUnavailableError:
        return SessionUnavailableError(self._place.name, self._place.fault)

    def _stands(self, record: Record | None) -> bool:
        return record is not None and self._parts.clock.time() < record.expires_at

    async def _found(self, session_id: str, answer: Answer | None) -> Found:
        if answer is None:
            raise self._unavailable()
        record = answer.record
        if record is None or not self._stands(record):
            return Found(None, record, answer.standing)
        return Found(await self._read(session_id, record), record, answer.standing)

    async def _read(self, session_id: str, record: Record) -> Session:
        output = record.output or Encoded(b"", "")
        decode = partial(self._parts.coder.decode, output)
        try:
            body = await aside(decode) if len(output.body) > LARGE else decode()
            session = session_of(session_id, body, updated_at=record.finished_at, expires_at=record.expires_at)
        except CorruptBlobError:
            raise SessionError(
                "this session was saved in a form that this cache cannot read: use the version and the codecs that saved it, "
                "or forget() it"
            ) from None
        session.record = record
        return session

    async def _record(self, session: Session, owner: bytes, before: Record | None) -> Record:
        """The record of a session that is to take the place of another."""
        try:
            encoded = self._parts.coder.at_once(body_of(session))
        except Lengthy as lengthy:
            encoded = await lengthy.aside()
        self._ledger.check(encoded)
        return Record(
            state=State.COMPLETED,
            owner=owner,
            fence=self._ledger.version(above=ZERO if before is None else before.fence, tags=self._labels),
            expires_at=session.expires_at,
            started_at=session.created_at,
            finished_at=session.updated_at,
            output=encoded,
            tags=self._labels,
        )

    async def _swap(self, name: str, record: Record, found: Found) -> Answer | None:
        """Have a record stand in the place of what was found there; goes on even when the caller is cancelled."""
        expected = None if found.record is None else found.record.owner

        def decide(seen: Seen) -> Put | Verdict:
            owner = None if seen.record is None else seen.record.owner
            left = record.expires_at - self._parts.clock.time()
            return Put(record, Verdict.OURS, left) if owner == expected else Verdict.LOST

        settling = self._ledger.settle(self._place, name, decide, found.standing, durable=True)
        return await self._homes.here().see_through(settling)


def _only_look(_: Seen) -> Verdict:
    return Verdict.KEPT
