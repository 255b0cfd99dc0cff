"""The record of one request, and what may become of it. Pure: of what stands in a store, it says what is to stand there next.

    nothing, F, T      claim → I      heartbeat → I (of nothing)      commit → C                   forget → T
    I, its own         claim → I      heartbeat → I      commit → C      fail → F, X      abandon → nothing      forget → T
    I, another's       claim waits; once it has lapsed → I, one attempt more                  commit → C      forget → T
    C, X               claim and commit find the answer                                                       forget → T

I in progress, C completed, F failed a moment ago, X a failure that is kept, T forgotten. Two rules are the whole of the fencing:
a commit is written once, and needs no ownership; what destroys, needs it. What stands at or beneath a *floor*, the version at
which a request was last forgotten, is gone, wherever it turns up; who was at it then may answer its callers, and stores nothing.
"""

import math
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from toolcache.encoded import Encoded
from toolcache.fields import Fields, Frozen, each
from toolcache.versions import ZERO

_HEIRS: Final = 64
"""Dead owners that a claim can name: more attempts than may be."""

_TOLD_FOR: Final = 5.0
"""Seconds that a failure is told to those who waited for it."""
_CLAIMED_FOR: Final = 86_400.0
"""Seconds at least that a claim stands, lapsed or not: a clock that is set forward by less ends none."""
_LONGEST_LEASE: Final = 4.0
"""More leases than a claim is good for in any store."""


class State(Enum):
    """What a record says of its request."""

    RUNNING = "I"
    COMPLETED = "C"
    FAILED = "F"
    REFUSED = "X"
    FORGOTTEN = "T"


class Failure(NamedTuple):
    """Why there is no output: ``kind`` is RAISED, TIMEOUT, TAKEOVERS or UNSTORABLE."""

    kind: str
    type: str
    message: str


RAISED: Final = "raised"
TIMEOUT: Final = "timeout"
TAKEOVERS: Final = "takeovers"
UNSTORABLE: Final = "unstorable"


class Record(Frozen):
    """What stands in a store for one request; instants in seconds since the epoch.

    Attributes:
        owner: 16 random bytes of the attempt it is of.
        fence: the version at which it was claimed, or forgotten.
        floor: the version at which the request was forgotten last, before that.
        fingerprint: what was asked; another one under the same key is a mistake of the caller.
        attempts: how often it was begun.
        dead: of a claim, the owners that have died at it before.
        expires_at: until when it says anything.
    """

    state: State
    owner: bytes
    fence: bytes
    floor: bytes = ZERO
    fingerprint: str = ""
    attempts: int = 1
    dead: tuple[bytes, ...] = ()
    expires_at: float = math.inf
    started_at: float = 0.0
    finished_at: float = 0.0
    cost_usd: float | None = None
    tokens: int | None = None
    failure: Failure | None = None
    output: Encoded | None = None
    tags: tuple[str, ...] = ()

    @property
    def answers(self) -> bool:
        """Whether it is the end of its request."""
        return self.state is State.COMPLETED or self.state is State.REFUSED


class Seen(NamedTuple):
    """What stands in a store, and for how long its lease goes on, in seconds."""

    record: Record | None = None
    left: float = math.inf


class Verdict(Enum):
    """What is so."""

    OURS = "ours"
    """What was to stand there, does."""
    BUSY = "busy"
    """Another's, and its lease goes on."""
    KEPT = "kept"
    """An answer is there: the first one, which stays."""
    FAILED = "failed"
    """The attempt that was waited for has failed."""
    MISMATCH = "mismatch"
    """Something else was asked under this key."""
    LOST = "lost"
    """Not ours, or not any more."""
    FORGOTTEN = "forgotten"
    """What was to stand there has been forgotten meanwhile."""


class Put(NamedTuple):
    """A record to be put in the place of what was seen; None for nothing. ``then`` is the verdict if that is done.

    ``ttl`` is how long it stays, ``lease`` how long it is its owner's; seconds.
    """

    record: Record | None
    then: Verdict
    ttl: float = 0.0
    lease: float | None = None


Decide: TypeAlias = Callable[[Seen], Put | Verdict]


class Attempt(Fields):
    """One who wants a request answered, and runs it if nobody else does.

    Args:
        owner: 16 random bytes that nobody else has.
        fence: a version above all that is known of the request.
        fingerprint: what is asked.
        now: tells the seconds since the epoch.
        rise: gives a version above another.
        max_attempts: how many may die at it.
        retention: seconds that an answer is kept, from when it is there.
        error_ttl: the same of a failure that is kept.
        floor: what is at or beneath this version was forgotten.
        cleared: how much of that was forgotten with all of the namespace, which every store tells of by itself.

    Attributes:
        attempts: how often the request was begun, this one included.
        dead: owners that are known to be dead.
        ended: owners of this process that are at nothing any more, which a store could not be told.
        past: owners that have said themselves that they are at it no more.
        awaited: owners whose end is being waited for.
    """

    owner: bytes
    fence: bytes
    fingerprint: str
    now: Callable[[], float]
    rise: Callable[[bytes], bytes]
    max_attempts: int = 3
    retention: float = 3600.0
    error_ttl: float = 60.0
    floor: bytes = ZERO
    cleared: bytes = ZERO
    attempts: int = 1
    started_at: float = 0.0
    dead: set[bytes] = each(factory=set)
    ended: set[bytes] = each(factory=set)
    past: set[bytes] = each(factory=set)
    awaited: set[bytes] = each(factory=set)

    def heed(self, epoch: bytes) -> None:
        """All of the namespace has been cleared up to a version."""
        self.floor, self.cleared = max(self.floor, epoch), max(self.cleared, epoch)

    def claim(self, seen: Seen, *, lease: float) -> Put | Verdict:
        """Take it, if it is free."""
        if seen.record is not None and seen.record.state is State.FAILED:
            self.past.update((seen.record.owner, *seen.record.dead))
        record = self._standing(seen)
        if record is None or record.state is State.FORGOTTEN:
            return self._begin(lease)
        if record.fingerprint != self.fingerprint:
            return Verdict.MISMATCH
        if record.answers:
            return Verdict.KEPT
        if record.state is State.FAILED:
            return Verdict.FAILED if record.owner in self.awaited else self._begin(lease)
        return self._claim_running(record, seen.left, lease)

    def _claim_running(self, record: Record, left: float, lease: float) -> Put | Verdict:
        if record.owner == self.owner:  # the reply was lost
            self.attempts = max(self.attempts, record.attempts)
            return Verdict.OURS
        if record.owner in self.ended or record.owner in self.past:  # which another store could not be told
            self.past.add(record.owner)  # and by name to the next store
            return self._begin(lease)
        if left > 0 and record.owner not in self.dead:
            return Verdict.BUSY
        self.dead.update((record.owner, *record.dead))
        self.attempts = max(self.attempts, record.attempts + 1)
        return self._begin(lease)

    def renew(self, seen: Seen, *, lease: float) -> Put | Verdict:
        """Lease it for longer, if it is ours, or if the store has lost it. One that lapsed unnoticed is still ours."""
        record = self._standing(seen)
        if self.is_forgotten:  # whoever asks now is to wait for a new run, and not for this one
            return self.abandon(seen, told=True, lease=lease)
        return self._running(lease) if record is None or self._owns(record) else Verdict.LOST

    def commit(self, seen: Seen, *, answer: Record) -> Put | Verdict:
        """Put an answer there, unless one is there, or it has been forgotten.

        Whose claim stands there does not matter to what has been done; a failure of this attempt ends no claim of another's.
        """
        record = self._standing(seen)
        undone = answer.owner == self.owner and answer.failure is not None and answer.failure.kind in (RAISED, TIMEOUT)
        if undone and record is not None and record.state is State.RUNNING and record.owner != self.owner:
            return Verdict.LOST
        return keep(seen, answer, floor=self.floor, now=self.now())

    def fail(self, seen: Seen, *, failure: Record, lease: float) -> Put | Verdict:
        """Tell those who wait that there will be no output; for a while, or for long if ``failure`` answers."""
        record = self._claimed(seen)
        if record is None or self.is_forgotten:
            return self.abandon(seen, told=True, lease=lease)
        failure = failure._replace(floor=record.floor, dead=record.dead)
        left = failure.expires_at - self.now()
        return Put(failure, Verdict.OURS, left if failure.answers else self._lingering(failure, lease))

    def abandon(self, seen: Seen, *, told: bool, lease: float) -> Put | Verdict:
        """Let the next one have it; where Redis could not be ``told``, with word that this one is at it no more."""
        record = self._claimed(seen)
        if record is None:
            return Verdict.LOST
        floor = self.floor if self.is_forgotten else record.floor
        if not told:
            over = record._replace(state=State.FAILED, floor=floor, expires_at=0.0)
            return Put(over, Verdict.LOST, self._lingering(over, lease))
        return Put(None if floor <= self.cleared else forgotten(floor, self.owner), Verdict.LOST, self.retention)

    @property
    def is_forgotten(self) -> bool:
        """Whether it has been forgotten since it was begun."""
        return self.floor >= self.fence

    @property
    def exhausted(self) -> bool:
        """Whether too many have died at it for it to be begun once more: it is to be answered by a failure."""
        return self.attempts > self.max_attempts

    def _lingering(self, record: Record, lease: float) -> float:
        """How long the word of one who has ended stands, although nobody waits for it by then.

        Until its claim has lapsed wherever that could not be told; and as long as what it stands for, that it was forgotten before.
        """
        return max(_TOLD_FOR, _LONGEST_LEASE * lease) if record.floor <= self.cleared else self.retention

    def completed(self, output: Encoded, *, cost_usd: float | None = None, tokens: int | None = None) -> Record:
        """The answer that this attempt has come to."""
        return self._answer(State.COMPLETED, self.retention, output=output, cost_usd=cost_usd, tokens=tokens)

    def failed(
        self, failure: Failure, *, kept: bool, cost_usd: float | None = None, tokens: int | None = None
    ) -> Record:
        """Its failure: ``kept``, or told only to those who wait."""
        if not kept:
            return self._answer(State.FAILED, _TOLD_FOR, failure=failure, cost_usd=cost_usd, tokens=tokens)
        ttl = self.error_ttl if failure.kind in (RAISED, TIMEOUT) else self.retention
        return self._answer(State.REFUSED, ttl, failure=failure, cost_usd=cost_usd, tokens=tokens)

    def given_up(self) -> Record:
        """The answer where too many have died at it."""
        before = self.attempts - 1
        failure = Failure(TAKEOVERS, "TakeoverLimitError", f"{before} attempts have died at it")
        return self.failed(failure, kept=True)._replace(attempts=before)

    def _answer(
        self,
        state: State,
        ttl: float,
        *,
        output: Encoded | None = None,
        failure: Failure | None = None,
        cost_usd: float | None = None,
        tokens: int | None = None,
    ) -> Record:
        now = self.now()
        return Record(
            state=state,
            owner=self.owner,
            fence=self.fence,
            floor=self.floor,
            fingerprint=self.fingerprint,
            attempts=self.attempts,
            expires_at=now + ttl,
            started_at=self.started_at or now,
            finished_at=now,
            cost_usd=cost_usd,
            tokens=tokens,
            output=output,
            failure=failure,
        )

    def _standing(self, seen: Seen) -> Record | None:
        """What stands there and still says anything; what it says of the floor is taken note of."""
        if seen.record is not None:
            self.floor = max(self.floor, floor_of(seen.record))
        return standing(seen, self.floor, self.now())

    def _begin(self, lease: float) -> Put:
        if self.fence <= self.floor:
            self.fence = self.rise(self.floor)
        self.started_at = self.now()
        return self._running(lease)

    def _running(self, lease: float) -> Put:
        record = Record(
            state=State.RUNNING,
            owner=self.owner,
            fence=self.fence,
            floor=self.floor,
            fingerprint=self.fingerprint,
            attempts=self.attempts,
            dead=tuple(sorted(self.dead | self.past))[:_HEIRS],
            started_at=self.started_at,
        )
        return Put(record, Verdict.OURS, max(self.retention, _LONGEST_LEASE * lease, _CLAIMED_FOR), lease)

    def _claimed(self, seen: Seen) -> Record | None:
        """The claim that stands there, if it is ours: one that has been forgotten since is to be ended, too."""
        self._standing(seen)
        return seen.record if seen.record is not None and self._owns(seen.record) else None

    def _owns(self, record: Record) -> bool:
        return record.state is State.RUNNING and record.owner == self.owner


def standing(seen: Seen, floor: bytes, now: float) -> Record | None:
    """What stands there and still says anything."""
    record = seen.record
    if record is None or record.state is State.FORGOTTEN:
        return record
    if record.fence <= floor or now >= record.expires_at:
        return None
    return record


def floor_of(record: Record) -> bytes:
    """Up to which version a record says that its request was forgotten."""
    return record.fence if record.state is State.FORGOTTEN else record.floor


def forgotten(fence: bytes, owner: bytes) -> Record:
    """The record of what was forgotten at a version."""
    return Record(state=State.FORGOTTEN, owner=owner, fence=fence)


def keep(seen: Seen, answer: Record, *, floor: bytes = ZERO, now: float) -> Put | Verdict:
    """Have an answer stand there, whoever has come to it and wherever it was found: the first one stays.

    Only what is beneath the answer's own floor gives way to it, as it does to a later one's.
    """
    known = max(floor, floor_of(seen.record) if seen.record is not None else ZERO)
    if answer.fence <= known:
        return Verdict.FORGOTTEN
    record = standing(seen, max(known, answer.floor), now)
    if record is not None and record.answers:
        return Verdict.KEPT
    if record is not None and record.state is not State.FORGOTTEN and record.fingerprint != answer.fingerprint:
        return Verdict.MISMATCH
    left = min(answer.expires_at - now, answer.expires_at - answer.finished_at)
    if left <= 0:
        return Verdict.FORGOTTEN
    return Put(answer if answer.floor >= known else answer._replace(floor=known), Verdict.OURS, left)


def erase(seen: Seen, tombstone: Record, *, ttl: float) -> Put | Verdict:
    """Have it be forgotten up to the tombstone's version; what was claimed since then stays."""
    record = seen.record
    if record is not None and record.state is State.FORGOTTEN and record.fence >= tombstone.fence:
        return Verdict.OURS
    if record is not None and record.fence > tombstone.fence:
        return Verdict.KEPT
    return Put(tombstone, Verdict.OURS, ttl)
