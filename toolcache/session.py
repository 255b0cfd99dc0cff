"""A session: what an agent knows of one conversation, and how two versions of it become one. Pure: nothing here is stored."""

import os
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from toolcache.blob import CorruptBlobError
from toolcache.errors import SessionConflictError

_FORM: Final = 1
_TOKEN: Final = 8
"""Random bytes that tell a turn from all others."""
_REMEMBERED: Final = 16
"""Revisions that a session remembers of itself: so many others may have saved before one hears that it did."""


class Turn(NamedTuple):
    """One turn of a history. Its value and its id are not shown by ``repr``.

    Attributes:
        value: what was said or done, such as ``{"role": "user", "content": "…"}``; any value that the cache takes.
        id: tells it from all other turns of the session. A turn whose id is there already is not added once more.
        at: when it was added, in seconds since the epoch; 0.0 until it is saved.
        pinned: whether it stays, however long the history becomes.
        size: what it counts for, where the history is limited by size; None where nobody has measured it.
    """

    value: Any
    id: str
    at: float = 0.0
    pinned: bool = False
    size: int | None = None

    def __repr__(self) -> str:
        return f"<Turn{', pinned' if self.pinned else ''}>"


class Session:
    """What an agent knows of one conversation: its state, its context and its history. Yours to change, then to save.

    Args:
        id: names it.
        state: how far the agent is; plain data.
        context: what it knows beside the history; plain data.
        history: the values of its turns, oldest first.

    Attributes:
        turns: the history, with what is known of each turn.
        revision: names what was last saved or resumed; None for one that never was.
        created_at: when it was first saved, in seconds since the epoch; 0.0 for one that never was.
        updated_at: when it was last saved.
        expires_at: until when it is kept.
        ttl: for how many seconds it is kept after each save; 0.0 before the first.
        base: while it is being merged, what it was when it was last read or saved.
        lineage: the last revisions, oldest first.
        record: what stands for it in the store.

    Examples:
        >>> session = Session("chat-42", state={"step": 1})
        >>> session.add({"role": "user", "content": "Hello"})
        >>> session.history
        [{'role': 'user', 'content': 'Hello'}]
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - what everybody calls it
        *,
        state: Any = None,
        context: Any = None,
        history: Iterable[Any] = (),
    ) -> None:
        self.id = id
        self.state: Any = {} if state is None else state
        self.context: Any = {} if context is None else context
        self.turns: list[Turn] = [Turn(value, token()) for value in history]
        self.revision: str | None = None
        self.created_at = 0.0
        self.updated_at = 0.0
        self.expires_at = 0.0
        self.ttl: float = 0.0
        self.base: Session | None = None
        self.record: Any = None
        self.lineage: tuple[str, ...] = ()

    @property
    def history(self) -> list[Any]:
        """The values of the turns, oldest first, in a list of your own."""
        return [turn.value for turn in self.turns]

    def add(self, value: Any, *, pinned: bool = False, turn_id: str | None = None) -> None:
        """Add a turn.

        Args:
            value: what was said or done.
            pinned: it stays, however long the history becomes.
            turn_id: names it, so that it is added once however often this is tried.

        Raises:
            TypeError: ``turn_id`` is no text.
        """
        if turn_id is not None and not isinstance(turn_id, str):
            raise TypeError(f"turn_id is a text, not {type(turn_id).__name__}: write turn_id=str(...)")
        turn = Turn(value, str(turn_id) if turn_id else token(), pinned=bool(pinned))
        if all(turn.id != other.id for other in self.turns):
            self.turns.append(turn)

    def pin(self, turn_id: str, *, pinned: bool = True) -> None:
        """Have a turn stay, or no longer.

        Raises:
            LookupError: there is no such turn.
        """
        for at, turn in enumerate(self.turns):
            if turn.id == turn_id:
                self.turns[at] = turn._replace(pinned=bool(pinned))
                return
        raise LookupError("no turn of this session has that id: it may have made room for later ones")

    def become(self, other: "Session", taken: Collection[str]) -> None:
        """Be what another one is, which was made of these turns of this one; any that were added since stay, to be saved."""
        late = [turn for turn in self.turns if turn.id not in taken]
        vars(self).update(vars(other))
        self.turns = self.turns + late

    def __repr__(self) -> str:
        return f"<Session at revision {self.revision}, {len(self.turns)} turns>"


Merge: TypeAlias = Callable[[Session, Session], Session]
"""Makes one session of the caller's and of what others have saved meanwhile, in this order."""


def merged(mine: Session, theirs: Session) -> Session:
    """Both: what either has changed since ``mine`` was read.

    Turns that either has added are there, theirs first; turns that either has removed are not. Of state and context each
    key is as whoever changed it says.

    Raises:
        SessionConflictError: both have changed the same, to different values.
    """
    base = mine.base or Session(mine.id)
    made = Session(mine.id)
    made.state = _either("state", base.state, mine.state, theirs.state)
    made.context = _either("context", base.context, mine.context, theirs.context)
    made.turns = _turns(base.turns, mine.turns, theirs.turns)
    return made


def _turns(base: list[Turn], mine: list[Turn], theirs: list[Turn]) -> list[Turn]:
    known, own, others = ({turn.id: turn for turn in turns} for turns in (base, mine, theirs))
    kept = [
        own[turn.id] if turn.id in own and own[turn.id] != known.get(turn.id) else turn
        for turn in theirs
        if turn.id in own or turn.id not in known
    ]
    return kept + [turn for turn in mine if turn.id not in known and turn.id not in others]


def _either(what: str, base: Any, mine: Any, theirs: Any, *, whole: bool = True) -> Any:
    """Whichever of two has changed; where both have, and are dicts, key by key."""
    if _same(mine, theirs) or _same(mine, base):
        return theirs
    if _same(theirs, base):
        return mine
    if not whole or not type(base) is type(mine) is type(theirs) is dict:
        raise SessionConflictError(
            f"the {what} of this session was changed here and elsewhere at once, to different values: "
            "resume it and change it again, or pass merge="
        )
    found = {
        key: _either(what, *(one.get(key, _ABSENT) for one in (base, mine, theirs)), whole=False)
        for key in {**theirs, **mine}
    }
    return {key: value for key, value in found.items() if value is not _ABSENT}


_ABSENT: Final = object()


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; those that cannot tell are not."""
    try:
        return type(one) is type(other) and bool(one == other)
    except ValueError:  # arrays
        return False


def trim(turns: list[Turn], *, most: int | None, room: int | None, measure: Callable[[Any], int]) -> list[Turn]:
    """The turns that a limited history keeps: the oldest leave first, pinned ones and the newest stay.

    Args:
        turns: oldest first.
        most: how many are kept; None for any number.
        room: what they may count for together; None for any amount.
        measure: what a value counts for, where the turn does not say.
    """
    sized = turns if room is None else [_sized(turn, measure) for turn in turns]
    count, size = len(sized), sum(turn.size or 0 for turn in sized)
    kept = []
    for at, turn in enumerate(sized):
        over = (most is not None and count > most) or (room is not None and size > room)
        if over and not turn.pinned and at < len(sized) - 1:
            count, size = count - 1, size - (turn.size or 0)
        else:
            kept.append(turn)
    return kept


def _sized(turn: Turn, measure: Callable[[Any], int]) -> Turn:
    return turn if turn.size is not None else turn._replace(size=measure(turn.value))


def check(turns: Iterable[Turn]) -> None:
    """Raises TypeError for turns that could not be read again: whoever writes to ``turns`` may have written anything."""
    if not all(map(_is_whole, turns)):
        raise TypeError(
            "a turn of this session is none that could be read again: leave them as they are, and use add() and pin()"
        )


def token() -> str:
    """A text that nobody else has."""
    return os.urandom(_TOKEN).hex()


def body_of(session: Session) -> dict[str, Any]:
    """What is stored of a session."""
    turns = [[turn.id, turn.at, turn.pinned, turn.size, turn.value] for turn in session.turns]
    return {
        "form": _FORM,
        "lineage": list(session.lineage[-_REMEMBERED:]),
        "created_at": session.created_at,
        "ttl": session.ttl,
        "state": session.state,
        "context": session.context,
        "turns": turns,
    }


def session_of(id_: str, body: Any, *, updated_at: float, expires_at: float) -> Session:
    """The session that was stored; CorruptBlobError for a body that none of ours has."""
    try:
        form, lineage, created_at, ttl = (body[name] for name in ("form", "lineage", "created_at", "ttl"))
        rows, state, context = body["turns"], body["state"], body["context"]
        turns = [Turn(value, id=name, at=at, pinned=pinned, size=size) for name, at, pinned, size, value in rows]
    except (TypeError, ValueError, LookupError):
        raise CorruptBlobError("session") from None
    kinds = [type(one) for one in (form, lineage, created_at, ttl, rows)]
    whole = kinds == [int, list, float, float, list] and form == _FORM
    if not (whole and lineage and all(map(_is_revision, lineage)) and all(map(_is_whole, turns))):
        raise CorruptBlobError("session")
    session = Session(id_)
    session.state, session.context, session.turns = state, context, turns
    session.lineage, session.revision = tuple(lineage), lineage[-1]
    session.created_at, session.updated_at, session.expires_at, session.ttl = created_at, updated_at, expires_at, ttl
    return session


def _is_revision(text: Any) -> bool:
    return type(text) is str and text.partition("-")[0].isdecimal()


def _is_whole(turn: Turn) -> bool:
    size = turn.size
    return (type(turn.id), type(turn.at), type(turn.pinned)) == (str, float, bool) and (
        size is None or (type(size) is int and size >= 0)
    )
