"""What a session is by itself: limits and pins, merging, and bodies that are no sessions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from toolcache.blob import CorruptBlobError
from toolcache.codec.coder import Coder
from toolcache.session import Session, Turn, body_of, merged, session_of, trim

CODER = Coder()


class Histories(RuleBasedStateMachine):
    """A history that is added to, pinned and limited, beside the plainest list that keeps to the same rules."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session("chat")
        self.model: list[tuple[int, int, bool]] = []  # number, size, pinned
        self.added = 0

    @rule(
        size=st.integers(0, 9),
        pinned=st.booleans(),
        most=st.none() | st.integers(1, 6),
        room=st.none() | st.integers(1, 30),
    )
    def add(self, size: int, pinned: bool, most: int | None, room: int | None) -> None:
        self.session.add([self.added, size], pinned=pinned, turn_id=str(self.added))
        self.model.append((self.added, size, pinned))
        self.added += 1
        self.session.turns = trim(self.session.turns, most=most, room=room, measure=lambda value: value[1])
        while self.too_long(most, room):
            free = [one for one in self.model[:-1] if not one[2]]
            if not free:
                break
            self.model.remove(free[0])

    def too_long(self, most: int | None, room: int | None) -> bool:
        size = sum(size for _, size, _ in self.model)
        return (most is not None and len(self.model) > most) or (room is not None and size > room)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), pinned=st.booleans())
    def pin(self, data: st.DataObject, pinned: bool) -> None:
        at = data.draw(st.integers(0, len(self.model) - 1))
        number, size, _ = self.model[at]
        self.session.pin(str(number), pinned=pinned)
        self.model[at] = (number, size, pinned)

    @rule()
    def store(self) -> None:
        self.session.ttl, self.session.lineage = 60.0, ("1-0a",)
        body = CODER.decode(CODER.encode(body_of(self.session)))
        self.session = session_of("chat", body, updated_at=1.0, expires_at=2.0)

    @invariant()
    def agrees(self) -> None:
        assert [(value[0], value[1]) for value in self.session.history] == [(one, size) for one, size, _ in self.model]
        assert [turn.pinned for turn in self.session.turns] == [pinned for *_, pinned in self.model]


TestHistories = Histories.TestCase
TestHistories.__doc__ = """C8: the oldest turns leave first, and no more than must; pinned ones and the newest stay."""


def version_of(turns: dict[str, bool], state: dict[str, int]) -> Session:
    session = Session("chat", state=dict(state))
    session.turns = [Turn(name, name, pinned=pinned) for name, pinned in turns.items()]
    return session


TURNS = st.dictionaries(st.sampled_from("abcdef"), st.booleans(), max_size=5)
STATES = st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2), max_size=3)


class TestMerging:
    @given(base=TURNS, mine=TURNS, theirs=TURNS, state=STATES)
    def test_turns_of_both(
        self, base: dict[str, bool], mine: dict[str, bool], theirs: dict[str, bool], state: dict[str, int]
    ) -> None:
        """C8: a turn is there after a merge if either has added it, or it was there and neither has removed it; each once."""
        own, others = version_of(mine, state), version_of(theirs, state)
        own.base = version_of(base, state)
        made = [turn.id for turn in merged(own, others).turns]
        assert len(made) == len(set(made))
        added = (mine.keys() | theirs.keys()) - base.keys()
        assert set(made) == added | (base.keys() & mine.keys() & theirs.keys())
        assert [one for one in made if one in theirs] == [one for one in theirs if one in made]

    @given(base=STATES, mine=STATES)
    def test_who_alone_has_changed_it_wins(self, base: dict[str, int], mine: dict[str, int]) -> None:
        """C8: of a state that only one has changed the merge is that one's, whichever it is."""
        own, others = version_of({}, mine), version_of({}, base)
        own.base = version_of({}, base)
        assert merged(own, others).state == mine
        own, others = version_of({}, base), version_of({}, mine)
        own.base = version_of({}, base)
        assert merged(own, others).state == mine


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda some: st.lists(some, max_size=5) | st.dictionaries(st.text(max_size=3), some, max_size=3),
    max_leaves=8,
)


class TestBodies:
    @given(body=BODIES)
    def test_what_is_no_session(self, body: Any) -> None:
        """BUG-82: of a body that none of ours has comes one error, whatever it is."""
        with pytest.raises(CorruptBlobError):
            session_of("chat", body, updated_at=1.0, expires_at=2.0)

    @given(
        name=st.sampled_from(["form", "lineage", "created_at", "ttl", "turns"]),
        value=BODIES.filter(lambda value: type(value) not in (float, list)),
    )
    def test_what_is_almost_one(self, name: str, value: Any) -> None:
        """BUG-82: the same of one in which a single field is of another kind."""
        session = Session("chat", history=["a"])
        session.ttl, session.lineage = 60.0, ("1-0a",)
        body = body_of(session)
        assert session_of("chat", body, updated_at=1.0, expires_at=2.0).history == ["a"]
        if name == "form" and value == 1:
            value = 2
        with pytest.raises(CorruptBlobError):
            session_of("chat", body | {name: value}, updated_at=1.0, expires_at=2.0)

    def test_pinning_what_is_not_there(self) -> None:
        """C8: to pin a turn that has left is told, not ignored."""
        with pytest.raises(LookupError, match="made room"):
            Session("chat").pin("gone")
