"""The breaker against a second one, written from its state table as plainly as can be."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from toolcache.errors import CircuitOpenError
from toolcache.events import BreakerChanged
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.permit import Permit
from toolcache.testing import FakeClock, Recorder

THRESHOLD, FIRST, LONGEST, PROBES, SUCCESSES, PROBE_TIMEOUT = 3, 10, 60, 2, 2, 5
OUTCOMES = ("ok", "fail", "auth", "neutral")


@dataclass(eq=False)
class Ticket:
    """A permit of the reference."""

    generation: int
    deadline: float | None = None
    resolved: bool = False


@dataclass
class Reference:
    """The state table, row by row; instants in whole seconds."""

    threshold: int = THRESHOLD
    probes: int = PROBES
    successes_needed: int = SUCCESSES
    now: float = 0
    state: str = "closed"
    generation: int = 0
    consecutive: int = 0
    n: int = 0
    open_until: float = 0
    successes: int = 0
    slots: list[Ticket] = field(default_factory=list)
    events: list[tuple[str, str, bool]] = field(default_factory=list)

    def goto(self, state: str, *, manual: bool = False) -> None:
        if state != self.state:
            self.events.append((self.state, state, manual))
        self.state, self.generation = state, self.generation + 1
        self.consecutive, self.successes, self.slots = 0, 0, []
        if state == "closed":
            self.n = 0

    def open(self, *, longest: bool = False) -> None:
        self.n += 1
        self.open_until = self.now + (LONGEST if longest else min(LONGEST, FIRST * 2 ** (self.n - 1)))
        self.goto("open")

    def acquire(self) -> Ticket | float | None:
        """A ticket, or ``retry_after``."""
        if self.state in {"closed", "forced_closed"}:
            return Ticket(self.generation)
        if self.state == "forced_open":
            return None
        if self.state == "half_open" and any(self.now >= (slot.deadline or 0) for slot in self.slots):
            self.open()
        if self.state == "open":
            if self.now < self.open_until:
                return self.open_until - self.now
            self.goto("half_open")
        if len(self.slots) == self.probes:
            return min(slot.deadline or 0 for slot in self.slots) - self.now
        ticket = Ticket(self.generation, deadline=self.now + PROBE_TIMEOUT)
        self.slots.append(ticket)
        return ticket

    def resolve(self, ticket: Ticket, outcome: str) -> None:
        if ticket.resolved:
            return
        ticket.resolved = True
        if ticket.generation != self.generation:
            return
        if self.state == "closed":
            self.resolve_call(outcome)
        elif self.state == "half_open":
            self.slots.remove(ticket)
            self.resolve_probe(outcome)

    def resolve_call(self, outcome: str) -> None:
        if outcome == "ok":
            self.consecutive = 0
        elif outcome == "fail":
            self.consecutive += 1
            if self.consecutive == self.threshold:
                self.open()
        elif outcome == "auth":
            self.open(longest=True)

    def resolve_probe(self, outcome: str) -> None:
        if outcome == "ok":
            self.successes += 1
            if self.successes == self.successes_needed:
                self.goto("closed")
        elif outcome in {"fail", "auth"}:
            self.open(longest=outcome == "auth")

    def force(self, state: str) -> None:
        if state == "closed" or state != self.state:
            self.goto(state, manual=True)

    def allow_probe(self) -> None:
        if self.state == "open":
            self.open_until = min(self.open_until, self.now)


@dataclass(eq=False)
class Pair:
    """Breaker and reference, moved together."""

    reference: Reference
    clock: FakeClock = field(default_factory=FakeClock)
    recorder: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.breaker = CircuitBreaker(
            failure_threshold=self.reference.threshold,
            recovery_time=(FIRST, LONGEST),
            jitter=0,
            probes=self.reference.probes,
            success_threshold=self.reference.successes_needed,
            probe_timeout=PROBE_TIMEOUT,
            clock=self.clock,
            on_change=self.recorder,
        )

    def acquire(self) -> tuple[Permit, Ticket] | None:
        refused = self.breaker.refuses()
        expected = self.reference.acquire()
        if not isinstance(expected, Ticket):
            with pytest.raises(CircuitOpenError) as caught:
                self.breaker.acquire()
            assert caught.value.retry_after == expected
            # A hung probe is found out by the attempt; up to then nothing is known to refuse.
            assert refused or self.reference.events[-1][:2] == ("half_open", "open")
            return None
        permit = self.breaker.acquire()
        assert not refused
        assert permit.probe is (expected.deadline is not None)
        return permit, expected

    def resolve(self, pair: tuple[Permit, Ticket], outcome: str) -> None:
        permit, ticket = pair
        assert self.breaker.current(permit) is (ticket.generation == self.reference.generation)
        match outcome:
            case "ok":
                permit.ok()
            case "neutral":
                permit.neutral()
            case _:
                permit.fail(auth=outcome == "auth")
        self.reference.resolve(ticket, outcome)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.reference.now += seconds

    def agree(self) -> None:
        stats = self.breaker.stats()
        assert self.breaker.state == self.reference.state
        assert stats.failures_in_a_row == self.reference.consecutive
        assert stats.openings_in_a_row == self.reference.n
        told = [(event.before, event.after, event.manual) for event in self.recorder.of(BreakerChanged)]
        assert told == self.reference.events


class BreakerMachine(RuleBasedStateMachine):
    """Any sequence of calls, outcomes, pauses and interventions."""

    permits: Bundle[tuple[Permit, Ticket]] = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(Reference())
        self.given: list[tuple[Permit, Ticket]] = []

    @rule(target=permits)
    def acquire(self) -> tuple[Permit, Ticket] | MultipleResults[tuple[Permit, Ticket]]:
        pair = self.pair.acquire()
        if pair is None:
            return multiple()
        self.given.append(pair)
        return pair

    @rule(pair=permits, outcome=st.sampled_from(OUTCOMES))
    def resolve(self, pair: tuple[Permit, Ticket], outcome: str) -> None:
        self.pair.resolve(pair, outcome)

    @rule(pair=consumes(permits), outcome=st.sampled_from(OUTCOMES))
    def resolve_for_the_last_time(self, pair: tuple[Permit, Ticket], outcome: str) -> None:
        self.resolve(pair, outcome)

    @precondition(lambda self: self.pair.reference.state == "closed")
    @rule(times=st.integers(1, THRESHOLD), outcome=st.sampled_from(("ok", "fail")))
    def call(self, times: int, outcome: str) -> None:
        for _ in range(times):
            pair = self.pair.acquire()
            if pair is not None:
                self.pair.resolve(pair, outcome)

    @rule(seconds=st.sampled_from((1, 4, 5, 10, 20, 60)))
    def advance(self, seconds: int) -> None:
        self.pair.advance(seconds)

    @precondition(lambda self: self.pair.reference.state == "open")
    @rule()
    def wait(self) -> None:
        self.pair.advance(max(0, self.pair.reference.open_until - self.pair.reference.now))

    @rule(state=st.sampled_from(("closed", "forced_open", "forced_closed")))
    def force(self, state: str) -> None:
        breaker = self.pair.breaker
        {"closed": breaker.reset, "forced_open": breaker.force_open, "forced_closed": breaker.force_closed}[state]()
        self.pair.reference.force(state)

    @rule()
    def allow_probe(self) -> None:
        self.pair.breaker.allow_probe()
        self.pair.reference.allow_probe()

    @invariant()
    def agree(self) -> None:
        self.pair.agree()

    def teardown(self) -> None:
        for permit, _ in self.given:
            permit.neutral()


BreakerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class TestAnySequence(BreakerMachine.TestCase):  # type: ignore[misc, valid-type]  # made at run time
    """CB-01 to CB-33 in any order: breaker and reference agree on state, counts, refusals and events after each step."""


def interleavings(calls: int) -> Iterator[tuple[int, ...]]:
    """Every order in which ``calls`` calls can begin and end; a call's first mention is its beginning."""
    yield from set(itertools.permutations(sorted([*range(calls)] * 2)))


@pytest.mark.parametrize("opened", [False, True], ids=["from closed", "from open"])
@pytest.mark.parametrize(("probes", "successes_needed"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("threshold", [1, 2])
def test_three_calls_in_every_order(threshold: int, probes: int, successes_needed: int, opened: bool) -> None:
    """CB-15, CB-17, CB-21: three calls that begin and end in every order, with every outcome, follow the table.

    From an open breaker whose wait is over, no more than ``probes`` of them are under way at once.
    """
    seen = set()
    for order in interleavings(3):
        for outcomes in itertools.product(("ok", "fail", "neutral"), repeat=3):
            pair = Pair(Reference(threshold=threshold, probes=probes, successes_needed=successes_needed))
            if opened:
                for _ in range(threshold):
                    begun = pair.acquire()
                    assert begun is not None
                    pair.resolve(begun, "fail")
                pair.advance(FIRST)
            under_way: dict[int, tuple[Permit, Ticket] | None] = {}
            for call in order:
                if call not in under_way:
                    under_way[call] = pair.acquire()
                elif (begun := under_way[call]) is not None:
                    pair.resolve(begun, outcomes[call])
                pair.agree()
                assert len(pair.reference.slots) <= probes
            seen.add(pair.breaker.state.value)
    assert {"closed", "open"} <= seen
