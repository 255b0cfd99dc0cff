"""The methods of ``Sessions``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Callable
from typing import Any

from toolcache.blocking.face import Face
from toolcache.blocking.portal import Portal
from toolcache.durations import Duration
from toolcache.entry import MISSING, Missing
from toolcache.session import Merge, Session
from toolcache.sessions import Sessions


class BlockingSessions(Face):
    """See ``Sessions``."""

    _cache: Sessions

    def __init__(self, room: Sessions, portal: Portal) -> None:
        super().__init__(portal)
        self._cache = room

    def resume(self, session_id: str, *, touch: bool = False) -> Session | None:
        """The session as it was last saved, or None where there is none.

        Args:
            session_id: names it.
            touch: have it be kept from now on as if it had been saved.

        Raises:
            SessionUnavailableError: the store that keeps it does not answer.
        """
        return self._call(self._cache.resume, session_id, touch=touch)

    def save(
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
        return self._call(self._cache.save, session, ttl=ttl, merge=merge)

    def append(
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
        return self._call(self._cache.append, session_id, value, pinned=pinned, turn_id=turn_id, ttl=ttl)

    def update(
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
            >>> session = cache.sessions.update("chat-42", next_step)
        """
        return self._with(change, lambda made: self._cache.update(session_id, made, ttl=ttl))

    def forget(self, session_id: str) -> bool:
        """Forget a session; whether one was there.

        Raises:
            SessionUnavailableError: the store that keeps it does not answer; it may have been forgotten or not.
        """
        return self._call(self._cache.forget, session_id)
