"""Sessions: what agents know of their conversations, saved so that nobody's turn is lost.

A session stands in one place, the most widely shared store that is configured: Redis, else files, else the memory of the
cache. Whoever changes it puts a new version in the place of the very one that was read; where another stands there by then,
the change is made again on that. Nothing computes a session anew, so it fails closed: a store that does not answer is an
error, and neither "there is none" nor a copy that others do not see.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from operator import index
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex
from weakref import WeakValueDictionary

from toolcache.domains import SESSION
from toolcache.durations import Duration, Size, size
from toolcache.entry import MISSING, Missing
from toolcache.errors import SessionConflictError, UnsupportedKeyError
from toolcache.loops import PerLoop
from toolcache.session import Merge, Session, Turn, check, merged, token, trim
from toolcache.session_records import SessionRecords

if TYPE_CHECKING:
    from toolcache.domain_cache import DomainCache

_MOST: Final = 200
"""Turns of a history, unless another limit is given."""
_TRIES: Final = 256
"""Others may have saved first so often in a row: with eight at it all the time, less than once in 10¹⁴ saves."""
_SIZES: Final = 16_384
"""Turns of which it is remembered what they count for."""

_Change = Callable[[Session | None], Any]
"""Makes a session of the one that stands there: the session, or a coroutine that ends with it."""


class Sessions:
    """The sessions of a cache; ``cache.sessions``.

    What anybody saves is kept for the TTL of the domain ``session``, 24 hours unless told otherwise, from when it was
    saved last. It is no cached value: it is kept with ``enabled=False`` too.

    Args:
        cache: whose.
        max_turns: how long a history may become: then the oldest turns leave, but for pinned ones and the newest. None for
            any length.
        max_size: what its turns may count for together, as ``measure`` says; None for any amount.
        measure: what the value of a turn counts for, such as its tokens, in a whole number; the bytes that it takes unless given.

    Raises:
        ValueError: a limit is none.

    Examples:
        >>> async with cache.sessions.edit("chat-42") as session:
        ...     session.state["step"] = 2
        ...     session.add({"role": "user", "content": "And tomorrow?"})
    """

    def __init__(
        self,
        cache: "DomainCache",
        *,
        max_turns: int | None = _MOST,
        max_size: Size | None = None,
        measure: Callable[[Any], int] | None = None,
    ) -> None:
        if max_turns is not None and (type(max_turns) is not int or max_turns < 1):
            raise ValueError(f"max_turns is a whole number of at least 1, or None, not {max_turns!r}")
        self._cache = cache
        self._keys = cache._keys  # noqa: SLF001 - the same
        self._machine = cache._machine  # noqa: SLF001 - this is a room of the cache
        self._domain = cache.domains[SESSION.name]
        self._records = SessionRecords(self._machine, self._domain.labels)
        self._max_turns = max_turns
        self._max_size = None if max_size is None else size(max_size, name="max_size")
        self._measure = measure or self._bytes_of
        self._sizes: dict[tuple[str, str, float], int] = {}
        self._turns: PerLoop[WeakValueDictionary[str, asyncio.Lock]] = PerLoop(WeakValueDictionary)

    def limited(
        self,
        *,
        max_turns: int | None = _MOST,
        max_size: Size | None = None,
        measure: Callable[[Any], int] | None = None,
    ) -> Self:
        """The same sessions with other limits, for what is saved through the object that is returned.

        Examples:
            >>> chats = cache.sessions.limited(max_turns=50, max_size=8_000, measure=count_tokens)
        """
        return type(self)(self._cache, max_turns=max_turns, max_size=max_size, measure=measure)

    async def resume(self, session_id: str, *, touch: bool = False) -> Session | None:
        """The session as it was last saved, or None where there is none.

        Args:
            session_id: names it.
            touch: have it be kept from now on as if it had been saved.

        Raises:
            SessionUnavailableError: the store that keeps it does not answer.
        """
        name, now = self._name(session_id), self._machine.parts.clock.monotonic
        begun = now()
        found = await self._records.look(name, session_id)
        if touch and found.session is not None:
            found = await self._records.prolong(name, found.session, found)
        tally = self._machine.tallies.of(self._domain)
        tally.latency.add(now() - begun)
        tally.misses += found.session is None
        tally.far_hits += found.session is not None
        return found.session

    async def save(
        self, session: Session, *, ttl: Duration | Missing | None = MISSING, merge: Merge | None = None
    ) -> Session:
        """Save a session, if nobody else has since it was resumed; it is then at the new revision, and can be saved again.

        Args:
            session: one that was resumed, or a new one.
            ttl: for how long it is kept from now on after each save; as before unless given, None for ever.
            merge: makes one session of this one and of what others have saved meanwhile: ``merged`` does it turn by turn and
                key by key.

        Raises:
            SessionConflictError: others have saved or forgotten it meanwhile; nothing was saved.
            SessionUnavailableError: the store that keeps it does not answer; it may have been saved or not.
            SerializationError: something in it could not come back equal; nothing was saved.
            ValueTooLargeError: it takes more than ``max_entry``; nothing was saved.
        """
        own = session.revision
        taken: set[str] = set()

        async def change(theirs: Session | None) -> Session:
            revision = None if theirs is None else theirs.revision
            if revision == own:
                taken.update(turn.id for turn in session.turns)
                return session
            if theirs is None or merge is None:
                raise _outdated(own, revision)
            session.base = await self._records.base(session)
            taken.update(turn.id for turn in session.turns)
            return merge(session, theirs)

        saved = await self._write(session.id, change, ttl)
        session.become(saved, taken)
        return session

    async def append(
        self,
        session_id: str,
        value: Any,
        *,
        pinned: bool = False,
        turn_id: str | None = None,
        ttl: Duration | Missing | None = MISSING,
    ) -> Session:
        """Add a turn to the history of a session, whoever else does; begin the session if there is none.

        Args:
            session_id: names it.
            value: what was said or done.
            pinned: the turn stays, however long the history becomes.
            turn_id: names the turn, so that it is added once however often this is tried.
            ttl: as for ``save``.

        Returns:
            The session with the turn, as it was saved.

        Raises:
            SessionUnavailableError, SerializationError, ValueTooLargeError: as ``save``.
        """
        name = turn_id or token()

        def change(theirs: Session | None) -> Session:
            session = theirs or Session(session_id)
            session.add(value, pinned=pinned, turn_id=name)
            return session

        return await self._write(session_id, change, ttl)

    async def update(
        self, session_id: str, change: Callable[[Session], Any], *, ttl: Duration | Missing | None = MISSING
    ) -> Session:
        """Change a session by a function, which is run again where others have saved first; begin it if there is none.

        Args:
            session_id: names it.
            change: sync or async; changes the session that it is given, as it stands. What it raises is raised, and nothing
                saved.
            ttl: as for ``save``.

        Raises:
            SessionUnavailableError, SerializationError, ValueTooLargeError: as ``save``.

        Examples:
            >>> def next_step(session):
            ...     session.state["step"] = session.state.get("step", 0) + 1
            >>> session = await cache.sessions.update("chat-42", next_step)
        """

        async def changed(theirs: Session | None) -> Session:
            session = theirs or Session(session_id)
            done = change(session)
            if isawaitable(done):
                await done
            return session

        return await self._write(session_id, changed, ttl, alone=False)

    @asynccontextmanager
    async def edit(
        self, session_id: str, *, ttl: Duration | Missing | None = MISSING, merge: Merge = merged
    ) -> AsyncIterator[Session]:
        """A session to change within an ``async with``, saved at its end; a new one if there is none.

        What others save meanwhile is merged: turns of all are kept, and of state and context each key as whoever changed it
        says. Where the block raises, nothing is saved.

        Args:
            session_id: names it.
            ttl: as for ``save``.
            merge: makes one session of this one and of theirs.

        Raises:
            SessionConflictError: others have changed the same to other values, or have forgotten it; nothing was saved.
            SessionUnavailableError, SerializationError, ValueTooLargeError: as ``save``.
        """
        session = (await self._records.look(self._name(session_id), session_id)).session or Session(session_id)
        yield session
        await self.save(session, ttl=ttl, merge=merge)

    async def forget(self, session_id: str) -> bool:
        """Forget a session; whether one was there.

        Raises:
            SessionUnavailableError: the store that keeps it does not answer; it may have been forgotten or not.
        """
        name = self._name(session_id)
        self._machine.tallies.of(self._domain).deletes += 1
        return await self._records.remove(name)

    # -- how --------------------------------------------------------------------------------------------------------

    def _name(self, session_id: str) -> str:
        if not isinstance(session_id, str) or not session_id:
            raise UnsupportedKeyError("the id of a session is text of at least one character")
        (place,) = self._machine.enter((self._keys.session(session_id),))
        return self._machine.ledger.name(place)

    async def _write(
        self, session_id: str, change: _Change, ttl: Duration | Missing | None, *, alone: bool = True
    ) -> Session:
        """Put what ``change`` makes of a session in its place; ``alone``: one after the other, as far as this loop goes."""
        name, owner = self._name(session_id), os.urandom(16)
        self._machine.tallies.of(self._domain).sets += 1
        if not alone:
            return await self._try(name, owner, session_id, change, ttl)
        async with self._turns.here().setdefault(name, asyncio.Lock()):
            return await self._try(name, owner, session_id, change, ttl)

    async def _try(
        self, name: str, owner: bytes, session_id: str, change: _Change, ttl: Duration | Missing | None
    ) -> Session:
        found = await self._records.look(name, session_id)
        for _ in range(_TRIES):
            made = change(found.session)
            session = self._next(await made if isawaitable(made) else made, found.session, owner, ttl)
            found = await self._records.replace(name, session, found, owner)
            if found.session is not None and any(one.endswith(owner.hex()) for one in found.session.lineage):
                return found.session  # ours, or what others have made of it since a reply was lost
        raise SessionConflictError(
            f"others have saved this session {_TRIES} times in a row meanwhile: let fewer write to it at once"
        )

    def _next(self, session: Session, theirs: Session | None, owner: bytes, ttl: Duration | Missing | None) -> Session:
        """What a session is once it is saved in the place of theirs."""
        now, made = self._machine.parts.clock.time(), Session(session.id, state=session.state, context=session.context)
        number, before = 1, theirs.lineage if theirs is not None else ()
        made.created_at, made.updated_at = now, now
        if theirs is not None:
            made.created_at, number = theirs.created_at, int(before[-1].partition("-")[0]) + 1
        if ttl is MISSING and theirs is not None:
            made.ttl = theirs.ttl
        else:
            made.ttl = self._machine.lifetime(ttl, self._domain)
        made.expires_at = now + made.ttl
        turns = [turn if turn.at else turn._replace(at=now) for turn in session.turns]
        if self._max_size is not None:
            turns = [turn._replace(size=self._size(session.id, turn)) for turn in turns]
        made.turns = trim(turns, most=self._max_turns, room=self._max_size, measure=self._measure)
        check(made.turns)
        made.revision = f"{number}-{owner.hex()}"
        made.lineage = (*before, made.revision)
        return made

    def _size(self, session_id: str, turn: Turn) -> int:
        """What a turn counts for by our measure: what is stored with it may be by another one."""
        name = session_id, turn.id, turn.at
        size = self._sizes.get(name)
        if size is None:
            size = self._measure(turn.value)
            if not isinstance(size, SupportsIndex) or index(size) < 0:
                raise TypeError(f"measure gives a whole number of at least 0, not {type(size).__name__}: round it up")
            while len(self._sizes) >= _SIZES:
                del self._sizes[next(iter(self._sizes))]
            self._sizes[name] = size = index(size)
        return size

    def _bytes_of(self, value: Any) -> int:
        return len(self._machine.parts.coder.encode(value).body)


def _outdated(own: str | None, theirs: str | None) -> SessionConflictError:
    if own is None:
        what = "there is a session of this id already: resume it, or pass merge=merged"
    elif theirs is None:
        what = "this session was forgotten, or has expired, since it was resumed: save it as a new Session if it is to go on"
    else:
        what = (
            "this session was saved by others since it was resumed: resume it and change it again, pass merge=merged to keep "
            "both, or use append(), edit() or update(), which do so by themselves"
        )
    return SessionConflictError(what, revision=theirs)
