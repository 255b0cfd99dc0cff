"""Deciding about claims: whatever is asked, lost and late, nobody takes or ends what is another's."""

import os
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolcache.blob import CLAIM, end_of, read_header
from toolcache.claim import Claimant, Verdict, owner_of
from toolcache.keys.text import key_digest
from toolcache.memory.claims import MemoryClaims
from toolcache.swaps import NOTHING, UNKNOWN, Move, Standing, Swapped
from toolcache.testing import FakeClock
from toolcache.testing.stores import version_of

KEY = "tc1:c:test:k"
LEASE = 10.0


def claimant() -> Claimant:
    """One more who claims the key."""
    return Claimant(KEY, os.urandom(16), version_of(7), now=1_800_000_000.0, lease=LEASE)


def record_of(one: Claimant) -> bytes:
    """What it would have stand there."""
    move = one.claim(NOTHING)
    assert isinstance(move, Move)
    assert move.new is not None
    return move.new


def test_a_record_is_a_blob_that_says_whose_it_is() -> None:
    """Its header has the fence and the flag of claims; only its own key's digest and all its bytes make it readable."""
    one = claimant()
    record = record_of(one)
    header = read_header(record)
    assert header is not None
    assert (header.flags, header.version) == (CLAIM, version_of(7))
    assert end_of(record) == len(record)
    digest = key_digest(KEY)
    assert owner_of(record, digest) == one.owner
    assert owner_of(record, key_digest("another")) is None
    assert owner_of(record[:-1] + b"?", digest) is None
    assert owner_of(record[:-5] + b"?" + record[-4:], digest) is None
    assert owner_of(b"", digest) is None
    assert end_of(record[:-1]) is None
    assert end_of(record + b"stamp") == len(record)


def test_each_question_is_answered_by_what_stands_there() -> None:
    """The table of the module, row by row."""
    one, two = claimant(), claimant()
    ours, theirs = Standing(b"1", record_of(one), 5.0), Standing(b"2", record_of(two), 5.0)
    lapsed, unreadable = theirs._replace(left=0.0), Standing(b"3", b"?", float("inf"))
    taken = [one.claim(NOTHING), one.claim(lapsed)]
    assert [(move.expected, move.then) for move in taken if isinstance(move, Move)] == [
        (b"", Verdict.OURS),
        (b"2", Verdict.OURS),
    ]
    assert one.claim(ours) is Verdict.OURS
    assert one.claim(theirs) is one.claim(unreadable) is Verdict.BUSY
    renewed = [one.renew(NOTHING), one.renew(ours), one.renew(ours._replace(left=-1.0))]
    assert [move.expected for move in renewed if isinstance(move, Move)] == [b"", b"1", b"1"]
    assert one.renew(theirs) is one.renew(lapsed) is one.renew(unreadable) is Verdict.OVER
    released = [one.release(ours), one.release(UNKNOWN)]
    assert [(move.new, move.then) for move in released if isinstance(move, Move)] == [(None, Verdict.OVER)] * 2
    assert one.release(NOTHING) is one.release(theirs) is one.release(unreadable) is Verdict.OVER


class Claims(RuleBasedStateMachine):
    """Four claimants, a store, time; replies get lost, and what somebody believes may be long out of date."""

    who = st.integers(0, 3)

    @initialize()
    def begin(self) -> None:
        """Nothing stands, and nobody believes anything."""
        self.clock = FakeClock()
        self.store = MemoryClaims(self.clock)
        self.claimants = [claimant() for _ in range(4)]
        self.believed = [NOTHING] * 4
        self.until = [0.0] * 4
        """Until when each may believe that it holds the claim, by the store's clock."""

    def swap(self, move: Move[Verdict]) -> Swapped:
        """The store's answer; it never waits."""
        asked = self.store.swap(KEY, move.expected, move.new, ttl=move.ttl, lease=move.lease)
        try:
            asked.send(None)
        except StopIteration as answer:
            return Swapped(*answer.value)
        raise AssertionError

    def ask(self, who: int, decide: Callable[[Standing], Move[Verdict] | Verdict], *, lost: int) -> Verdict | None:
        """Decide and try until there is a verdict, unless a reply is lost."""
        while not isinstance(move := decide(self.believed[who]), Verdict):
            said = self.swap(move)
            lost -= 1
            if lost == 0:
                return None
            self.believed[who] = said.standing
            if said.done:
                return move.then
        return move

    @rule(who=who, lost=st.integers(-1, 3), fresh=st.booleans())
    def claim(self, who: int, lost: int, fresh: bool) -> None:
        """Somebody wants it, with or without knowing what stands there."""
        if fresh or self.believed[who].left > 0:
            self.believed[who] = NOTHING
        if self.ask(who, self.claimants[who].claim, lost=lost) is Verdict.OURS:
            self.until[who] = self.clock.monotonic() + self.left(who)

    @rule(who=who, lost=st.integers(-1, 3))
    def renew(self, who: int, lost: int) -> None:
        """Somebody who holds it, or did, leases it for longer."""
        if not self.until[who]:
            return
        verdict = self.ask(who, self.claimants[who].renew, lost=lost)
        if verdict is Verdict.OURS:
            self.until[who] = self.clock.monotonic() + LEASE
        elif verdict is Verdict.OVER:
            self.until[who] = 0.0

    @rule(who=who, lost=st.integers(-1, 3), knowing=st.booleans())
    def release(self, who: int, lost: int, knowing: bool) -> None:
        """Somebody ends it, whether or not it is theirs."""
        self.until[who] = 0.0
        if not knowing:
            self.believed[who] = UNKNOWN
        self.ask(who, self.claimants[who].release, lost=lost)

    @rule(seconds=st.sampled_from([1.0, 4.0, 11.0, 30.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    def left(self, who: int) -> float:
        """What is left of the lease that it was told of."""
        return max(0.0, min(self.believed[who].left, LEASE))

    @invariant()
    def one_holds_it(self) -> None:
        """Of all who were told that it is theirs, and whose lease goes on, there is one; and it stands there."""
        if not hasattr(self, "clock"):
            return
        now = self.clock.monotonic()
        holders = [who for who in range(4) if self.until[who] > now]
        assert len(holders) <= 1
        for who in holders:
            standing = self.swap(Move(UNKNOWN.raw, None, Verdict.OVER)).standing
            assert owner_of(standing.blob, key_digest(KEY)) == self.claimants[who].owner


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
