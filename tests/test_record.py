"""The record of a request: what each event makes of what stands there, and that no order of events breaks a rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from toolcache.encoded import Encoded
from toolcache.record import (
    RAISED,
    TAKEOVERS,
    Attempt,
    Decide,
    Failure,
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
from toolcache.testing.stores import version_of
from toolcache.versions import ZERO

NOW = 1_800_000_000.0
LEASE = 10.0
RETENTION = 3600.0
OURS, THEIRS, DEAD = b"o" * 16, b"t" * 16, b"d" * 16


def attempt(owner: bytes = OURS, fence: int = 50, **more: object) -> Attempt:
    """Somebody who wants the request answered."""
    options = {"retention": RETENTION, "now": lambda: NOW, "rise": after, **more}
    return Attempt(owner=owner, fence=version_of(fence), fingerprint="asked", **options)  # type: ignore[arg-type]  # of many kinds


def after(version: bytes) -> bytes:
    """The next version."""
    return (int.from_bytes(version, "big") + 1).to_bytes(16, "big")


def record(state: str, owner: bytes = THEIRS, fence: int = 40, **more: object) -> Record:
    """What stands there."""
    options = {"fingerprint": "asked", "expires_at": NOW + 100, "finished_at": NOW, **more}
    if state == "C":
        options["output"] = Encoded(b"theirs", "msgpack", "")
    if state in "FX":
        options["failure"] = Failure(RAISED, "ValueError", "no")
    if state in "IT":
        options["expires_at"] = float("inf")
    return Record(state=State(state), owner=owner, fence=version_of(fence), **options)  # type: ignore[arg-type]  # as above


def claim(one: Attempt, seen: Seen) -> Put | Verdict:
    """It wants it."""
    return one.claim(seen, lease=LEASE)


def heartbeat(one: Attempt, seen: Seen) -> Put | Verdict:
    """It is at it."""
    return one.renew(seen, lease=LEASE)


def commit(one: Attempt, seen: Seen) -> Put | Verdict:
    """It has an output."""
    return one.commit(seen, answer=one.completed(Encoded(b"ours", "msgpack", "")))


def fail(one: Attempt, seen: Seen) -> Put | Verdict:
    """It has failed."""
    return one.fail(seen, failure=one.failed(Failure(RAISED, "ValueError", "no"), kept=False), lease=LEASE)


def commit_failure(one: Attempt, seen: Seen) -> Put | Verdict:
    """It has failed, and that is the answer."""
    return one.commit(seen, answer=one.failed(Failure(RAISED, "ValueError", "no"), kept=True))


def give_up(one: Attempt, seen: Seen) -> Put | Verdict:
    """Too many have died at it, and that is the answer."""
    return one.commit(seen, answer=one.given_up())


def abandon(one: Attempt, seen: Seen) -> Put | Verdict:
    """It was cancelled."""
    return one.abandon(seen, told=True, lease=LEASE)


def forget(one: Attempt, seen: Seen) -> Put | Verdict:
    """Somebody wants it forgotten."""
    return erase(seen, forgotten(version_of(60), DEAD), ttl=1000.0)


NOTHING = Seen()
BUSY = Seen(record("I", attempts=2, dead=(DEAD,)), 5.0)
LAPSED = BUSY._replace(left=0.0)
MINE = Seen(record("I", OURS, 50), 5.0)
MINE_LAPSED = MINE._replace(left=-1.0)
MINE_FORGOTTEN = Seen(record("I", OURS, 50, floor=version_of(50)), 5.0)
DONE = Seen(record("C"))
MY_DONE = Seen(record("C", OURS, 50))
REFUSED = Seen(record("X"))
FAILED = Seen(record("F"))
TOMB = Seen(record("T", fence=45))
TOMB_ABOVE = Seen(record("T", fence=55))
EXPIRED = Seen(record("C", expires_at=NOW))
OTHER = Seen(record("I", fingerprint="else"), 5.0)
OTHER_LAPSED = OTHER._replace(left=0.0)
OTHER_DONE = Seen(record("C", fingerprint="else"))


class Row(NamedTuple):
    """What an event makes of what stands there: the state of what is put, "" for nothing, None if it stays."""

    seen: Seen
    event: Callable[[Attempt, Seen], Put | Verdict]
    state: str | None
    verdict: Verdict


TABLE = {
    "nothing, claim": Row(NOTHING, claim, "I", Verdict.OURS),
    "expired, claim": Row(EXPIRED, claim, "I", Verdict.OURS),
    "forgotten, claim": Row(TOMB, claim, "I", Verdict.OURS),
    "failed, claim": Row(FAILED, claim, "I", Verdict.OURS),
    "claimed by the same, claim": Row(MINE, claim, None, Verdict.OURS),
    "claimed by another, claim": Row(BUSY, claim, None, Verdict.BUSY),
    "lapsed, claim": Row(LAPSED, claim, "I", Verdict.OURS),
    "completed, claim": Row(DONE, claim, None, Verdict.KEPT),
    "a kept failure, claim": Row(REFUSED, claim, None, Verdict.KEPT),
    "another's question, claim": Row(OTHER, claim, None, Verdict.MISMATCH),
    "another's lapsed question, claim": Row(OTHER_LAPSED, claim, None, Verdict.MISMATCH),
    "another's answer, claim": Row(OTHER_DONE, claim, None, Verdict.MISMATCH),
    "claimed, heartbeat": Row(MINE, heartbeat, "I", Verdict.OURS),
    "lapsed unnoticed, heartbeat": Row(MINE_LAPSED, heartbeat, "I", Verdict.OURS),
    "lost, heartbeat": Row(NOTHING, heartbeat, "I", Verdict.OURS),
    "another's, heartbeat": Row(BUSY, heartbeat, None, Verdict.LOST),
    "another's lapsed, heartbeat": Row(LAPSED, heartbeat, None, Verdict.LOST),
    "completed, heartbeat": Row(DONE, heartbeat, None, Verdict.LOST),
    "a kept failure, heartbeat": Row(REFUSED, heartbeat, None, Verdict.LOST),
    "failed, heartbeat": Row(FAILED, heartbeat, None, Verdict.LOST),
    "forgotten, heartbeat": Row(TOMB_ABOVE, heartbeat, None, Verdict.LOST),
    "nothing, commit": Row(NOTHING, commit, "C", Verdict.OURS),
    "claimed, commit": Row(MINE, commit, "C", Verdict.OURS),
    "another's, commit": Row(BUSY, commit, "C", Verdict.OURS),
    "another's lapsed, commit": Row(LAPSED, commit, "C", Verdict.OURS),
    "failed, commit": Row(FAILED, commit, "C", Verdict.OURS),
    "completed, commit": Row(DONE, commit, None, Verdict.KEPT),
    "its own answer, commit": Row(MY_DONE, commit, None, Verdict.KEPT),
    "a kept failure, commit": Row(REFUSED, commit, None, Verdict.KEPT),
    "expired, commit": Row(EXPIRED, commit, "C", Verdict.OURS),
    "forgotten before, commit": Row(TOMB, commit, "C", Verdict.OURS),
    "forgotten since, commit": Row(TOMB_ABOVE, commit, None, Verdict.FORGOTTEN),
    "another's question, commit": Row(OTHER, commit, None, Verdict.MISMATCH),
    "claimed, a failure that is kept": Row(MINE, commit_failure, "X", Verdict.OURS),
    "completed, a failure that is kept": Row(DONE, commit_failure, None, Verdict.KEPT),
    "another's, a failure that is kept": Row(BUSY, commit_failure, None, Verdict.LOST),
    "claimed, given up": Row(MINE, give_up, "X", Verdict.OURS),
    "completed, given up": Row(DONE, give_up, None, Verdict.KEPT),
    "claimed, fail": Row(MINE, fail, "F", Verdict.OURS),
    "lapsed unnoticed, fail": Row(MINE_LAPSED, fail, "F", Verdict.OURS),
    "nothing, fail": Row(NOTHING, fail, None, Verdict.LOST),
    "another's, fail": Row(BUSY, fail, None, Verdict.LOST),
    "another's lapsed, fail": Row(LAPSED, fail, None, Verdict.LOST),
    "completed, fail": Row(DONE, fail, None, Verdict.LOST),
    "its own answer, fail": Row(MY_DONE, fail, None, Verdict.LOST),
    "forgotten, fail": Row(TOMB, fail, None, Verdict.LOST),
    "claimed, abandon": Row(MINE, abandon, "", Verdict.LOST),
    "claimed and forgotten, abandon": Row(MINE_FORGOTTEN, abandon, "T", Verdict.LOST),
    "nothing, abandon": Row(NOTHING, abandon, None, Verdict.LOST),
    "another's, abandon": Row(BUSY, abandon, None, Verdict.LOST),
    "completed, abandon": Row(DONE, abandon, None, Verdict.LOST),
    "its own answer, abandon": Row(MY_DONE, abandon, None, Verdict.LOST),
    "a kept failure, abandon": Row(REFUSED, abandon, None, Verdict.LOST),
    "failed, abandon": Row(FAILED, abandon, None, Verdict.LOST),
    "forgotten, abandon": Row(TOMB, abandon, None, Verdict.LOST),
    "nothing, forget": Row(NOTHING, forget, "T", Verdict.OURS),
    "claimed, forget": Row(BUSY, forget, "T", Verdict.OURS),
    "completed, forget": Row(DONE, forget, "T", Verdict.OURS),
    "a kept failure, forget": Row(REFUSED, forget, "T", Verdict.OURS),
    "forgotten before, forget": Row(TOMB, forget, "T", Verdict.OURS),
    "forgotten since, forget": Row(Seen(record("T", fence=70)), forget, None, Verdict.OURS),
    "claimed since, forget": Row(Seen(record("I", fence=70), 5.0), forget, None, Verdict.KEPT),
    "completed since, forget": Row(Seen(record("C", fence=70)), forget, None, Verdict.KEPT),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_event_makes_of_a_record_what_is_specified(name: str) -> None:
    """SPEC 8.4: the table of transitions, row by row."""
    seen, event, state, verdict = TABLE[name]
    done = event(attempt(), seen)
    if state is None:
        assert done is verdict
        return
    assert isinstance(done, Put)
    assert (done.record.state.value if done.record else "", done.then) == (state, verdict)
    assert done.ttl > 0 or done.record is None


def test_who_takes_over_names_the_dead_and_counts() -> None:
    """SPEC 8.4, ID-24: one attempt more, and all that have died before, so that Redis frees their claims at once."""
    one = attempt()
    taken = claim(one, LAPSED)
    assert isinstance(taken, Put)
    assert taken.record is not None
    assert (taken.record.attempts, taken.record.dead, taken.lease) == (3, (DEAD, THEIRS), LEASE)
    assert not one.exhausted
    # The same claim in Redis has a lease of its own, which goes on: it is passed over.
    assert isinstance(claim(one, BUSY), Put)
    assert claim(attempt(), BUSY) is Verdict.BUSY


def test_too_many_takeovers_are_answered_by_a_failure() -> None:
    """SPEC 8.4, ID-24: who finds that as many have died as may, does not begin once more."""
    one = attempt(max_attempts=2)
    assert isinstance(claim(one, LAPSED), Put)
    assert one.exhausted
    answer = one.given_up()
    assert (answer.state, answer.attempts) == (State.REFUSED, 2)
    assert answer.failure is not None
    assert answer.failure.kind == TAKEOVERS


def test_a_failure_is_heard_by_those_who_waited_for_it() -> None:
    """SPEC 8.5: they do not run it in turn; whoever comes new does."""
    waiting, new = attempt(), attempt()
    waiting.awaited.add(THEIRS)
    assert claim(waiting, FAILED) is Verdict.FAILED
    assert isinstance(claim(new, FAILED), Put)
    waiting.awaited = {DEAD}
    assert isinstance(claim(waiting, FAILED), Put)


def test_a_floor_goes_on_in_whatever_takes_its_place() -> None:
    """ID-33: a claim, an answer, a failure and what an abandoned claim leaves keep the version of a forget."""
    one = attempt(fence=30)
    claimed = claim(one, TOMB)
    assert isinstance(claimed, Put)
    assert claimed.record is not None
    assert claimed.record.floor == version_of(45) < claimed.record.fence, "it takes a fence above what was forgotten"
    seen = Seen(claimed.record, 5.0)
    for event in (commit, commit_failure, fail, heartbeat, abandon):
        put = event(one, seen)
        assert isinstance(put, Put)
        assert put.record is not None
        assert floor_of(put.record) == version_of(45), event.__name__


def test_what_was_forgotten_is_ended_where_it_is_claimed() -> None:
    """ID-33: one that Redis told to have been forgotten gives its host's claim up, and leaves word of that there."""
    for event in (abandon, fail):
        one = attempt()
        assert commit(one, TOMB_ABOVE) is Verdict.FORGOTTEN
        put = event(one, MINE)
        assert isinstance(put, Put), f"{event.__name__}: the next one waits for a claim that nobody holds"
        assert put.record is not None
        assert floor_of(put.record) == version_of(55)


def test_what_is_kept_is_kept_for_its_time_from_now() -> None:
    """SPEC 8.4: a retention from the end of the run, however long that took, and no longer when it is told later."""
    answer = attempt().completed(Encoded(b"", "msgpack", ""))
    assert answer.expires_at == NOW + RETENTION
    late = keep(NOTHING, answer, now=NOW + 1000)
    assert isinstance(late, Put)
    assert late.ttl == RETENTION - 1000
    assert keep(NOTHING, answer, now=NOW + RETENTION) is Verdict.FORGOTTEN
    back = keep(NOTHING, answer, now=NOW - 1000)
    assert isinstance(back, Put)
    assert back.ttl == RETENTION, "a clock set back lengthens nothing"


# -- any order of events ---------------------------------------------------------------------------------------------------

STORES, OWNERS = 2, 4


class Store:
    """A record, a serial that says which one it is, 0 for none, and until when it is leased."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self.serial = 0
        self.leased_until = 0.0


class Requests(RuleBasedStateMachine):
    """Several attempts at one request in several stores; replies get lost, and what somebody believes may be out of date."""

    where, who, lost = st.integers(0, STORES - 1), st.integers(0, OWNERS - 1), st.booleans()

    @initialize()
    def begin(self) -> None:
        """Nothing stands."""
        self.now = NOW
        self.versions, self.serials = 100, 0
        self.stores = [Store() for _ in range(STORES)]
        self.believed: dict[tuple[int, int], tuple[int, Seen]] = {}
        self.attempts = [self.newcomer(who) for who in range(OWNERS)]
        self.forgets: list[bytes] = [ZERO] * STORES
        """The newest that each store was told of."""
        self.named = 0

    def newcomer(self, who: int) -> Attempt:
        """A new attempt, in the place of one that is no more."""
        self.versions += 1
        self.named = getattr(self, "named", 0) + 1
        self.believed = {key: value for key, value in self.believed.items() if key[0] != who}
        return Attempt(
            owner=bytes([who]) * 8 + self.named.to_bytes(8, "big"),
            fence=version_of(self.versions),
            fingerprint="asked",
            now=lambda: self.now,
            rise=after,
            max_attempts=2,
            retention=RETENTION,
        )

    def seen(self, at: int) -> Seen:
        """What a store says."""
        store = self.stores[at]
        return Seen(store.record, store.leased_until - self.now if store.leased_until else float("inf"))

    def settle(self, who: int, at: int, decide: Decide, *, lost: bool) -> Verdict | None:
        """Decide on what is believed, try, decide again; None if the reply was lost."""
        serial, seen = self.believed.get((who, at), (0, Seen()))
        while isinstance(put := decide(seen), Put):
            store = self.stores[at]
            if store.serial != serial:
                serial, seen = store.serial, self.seen(at)
                continue
            self.swap(who, at, put)
            if lost:
                return None
            self.believed[who, at] = (store.serial, self.seen(at))
            return put.then
        return put

    def swap(self, who: int, at: int, put: Put) -> None:
        """One takes the other's place; the rules of the module are looked after here."""
        store, one = self.stores[at], self.attempts[who]
        old, new = store.record, put.record
        known = max(self.forgets[at], floor_of(new) if new else ZERO)
        before = standing(Seen(old), known, self.now)
        if before is not None and before.answers:
            assert new is not None
            assert floor_of(new) >= before.fence, "an answer is changed by a forget alone"
        if new is None or new.state is State.FAILED:
            assert old is not None
            assert old.owner == one.owner, "what destroys, needs ownership"
        if new is not None and new.answers:
            assert new.fence > self.forgets[at], "what was forgotten is stored"
        if new is not None and new.state is State.RUNNING:
            assert new.attempts <= one.max_attempts or one.exhausted
            if before is not None and before.state is State.RUNNING and before.owner != one.owner:
                assert {before.owner, *before.dead} <= {*new.dead}, "the dead are passed on"
                gone = before.owner in one.dead
                assert gone or self.seen(at).left <= 0, "a claim is taken whose lease goes on"
        self.serials += 1
        store.record, store.serial = new, 0 if new is None else self.serials
        store.leased_until = 0.0 if put.lease is None else self.now + put.lease
        if new is not None:
            self.forgets[at] = max(self.forgets[at], floor_of(new))

    @rule(who=who, at=where, lost=lost, fresh=st.booleans())
    def claim(self, who: int, at: int, lost: bool, fresh: bool) -> None:
        """Somebody wants it, whether or not they know what stands there."""
        one = self.attempts[who]
        if fresh:
            self.believed.pop((who, at), None)
        verdict = self.settle(who, at, lambda seen: one.claim(seen, lease=LEASE), lost=lost)
        if verdict is Verdict.KEPT and (there := self.stores[at].record) is not None and there.answers:
            assert there.fence > one.floor or there.expires_at <= self.now, "what was forgotten is answered"

    @rule(who=who, at=where, lost=lost)
    def heartbeat(self, who: int, at: int, lost: bool) -> None:
        """Somebody is at it, or believes so."""
        before = self.stores[at].record
        verdict = self.settle(who, at, lambda seen: self.attempts[who].renew(seen, lease=LEASE), lost=lost)
        if verdict is Verdict.LOST:
            assert self.stores[at].record is before

    @rule(who=who, at=where, lost=lost, kept=st.sampled_from(["C", "X", "limit"]))
    def commit(self, who: int, at: int, lost: bool, kept: str) -> None:
        """Somebody has come to an answer, whoever has the claim by now."""
        one = self.attempts[who]
        answer = one.completed(Encoded(one.owner, "msgpack", ""))
        if kept == "X":
            answer = one.failed(Failure(RAISED, "ValueError", "no"), kept=True)
        elif kept == "limit" and one.exhausted:
            answer = one.given_up()
        verdict = self.settle(who, at, lambda seen: one.commit(seen, answer=answer), lost=lost)
        there = self.stores[at].record
        if verdict in (Verdict.OURS, Verdict.KEPT) and there is not None:
            assert there.answers or (who, at) in self.believed

    @rule(who=who, at=where, lost=lost, fails=st.booleans())
    def give_up(self, who: int, at: int, lost: bool, fails: bool) -> None:
        """Somebody fails or leaves, whether or not the claim is theirs."""
        one, there = self.attempts[who], self.stores[at].record
        if fails:
            failure = one.failed(Failure(RAISED, "ValueError", "no"), kept=False)
            self.settle(who, at, lambda seen: one.fail(seen, failure=failure, lease=LEASE), lost=lost)
        else:
            self.settle(who, at, lambda seen: one.abandon(seen, told=True, lease=LEASE), lost=lost)
        if there is None or there.owner != one.owner or there.state is not State.RUNNING:
            assert self.stores[at].record is there, "what destroys, needs ownership"

    @rule(at=where, who=who)
    def forget(self, at: int, who: int) -> None:
        """It is forgotten in one store; what was claimed later stays."""
        self.versions += 1
        tombstone = forgotten(version_of(self.versions), bytes(16))
        there = self.stores[at].record
        put = erase(self.seen(at), tombstone, ttl=1e6)
        if isinstance(put, Put):
            assert there is None or there.fence <= tombstone.fence
            self.forgets[at] = max(self.forgets[at], tombstone.fence)
            self.swap(who, at, put)

    @rule(at=where, other=where, who=who)
    def tell(self, at: int, other: int, who: int) -> None:
        """An answer of one store is told to the other."""
        answer = self.stores[other].record
        if answer is None or not answer.answers:
            return
        put = keep(self.seen(at), answer, now=self.now)
        if isinstance(put, Put):
            self.swap(who, at, put)

    @rule(seconds=st.sampled_from([1.0, 4.0, 11.0, RETENTION + 1]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(who=who)
    def die(self, who: int) -> None:
        """One is killed, and another comes."""
        self.attempts[who] = self.newcomer(who)

    @rule(at=where)
    def lose(self, at: int) -> None:
        """A store loses all that it holds, its tombstones too."""
        store = self.stores[at]
        store.record, store.serial, store.leased_until = None, 0, 0.0
        self.forgets[at] = ZERO


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_machine_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that overwrites the answer of another is found at once: the check can fail."""
    monkeypatch.setattr("test_record.standing", lambda seen, _floor, _now: seen.record)
    machine = Requests()
    machine.begin()
    machine.commit(who=0, at=0, lost=False, kept="C")
    with pytest.raises(AssertionError, match="an answer is changed"):
        machine.swap(1, 0, Put(replace(record("C"), floor=ZERO), Verdict.OURS, 1.0))
