"""From one judgement to the next: it fires once, resolves, and holds its tongue."""

from itertools import pairwise
from typing import Any

from alerting import rule
from hypothesis import given
from hypothesis import strategies as st

from toolcache.alerts import AlertState
from toolcache.alerts.judge import Judgement
from toolcache.alerts.state import step

YES, NO, UNKNOWN = Judgement(True, 0.1), Judgement(False, 0.9), Judgement(None, None, "too few")


def follow(judgements: list[Judgement], *, every: float = 15.0, **options: Any) -> list[tuple[float, str]]:
    """What is told, and when."""
    given_rule, state, told = rule(**options), AlertState("few hits"), list[tuple[float, str]]()
    for number, judgement in enumerate(judgements):
        state, change = step(given_rule, state, judgement, 1_000.0 + number * every)
        if change is not None:
            told.append((number * every, change))
    return told


def test_it_fires_once_and_resolves() -> None:
    """D3: however long the condition holds, it is told once; and once that it is over."""
    assert follow([NO, YES, YES, YES, NO, NO]) == [(15, "firing"), (60, "resolved")]


def test_it_must_hold_for_long_enough() -> None:
    """D3: ``for_`` counts from when the condition began to hold, and anew when it was interrupted."""
    assert follow([YES] * 5, for_=60) == [(60, "firing")]
    assert follow([YES, YES, NO, YES, YES, YES, YES, YES], for_=60) == [(105, "firing")]
    assert follow([YES, UNKNOWN, YES, UNKNOWN, YES], for_=60) == [(60, "firing")]


def test_flapping_is_told_once() -> None:
    """D3: what comes back within the cool-down is told when that is over, if it is still so."""
    assert follow([YES, NO] * 10, cooldown=900) == [(0, "firing"), (15, "resolved")]
    flapping = [YES, NO, *([YES] * 8)]
    assert follow(flapping, cooldown=100) == [(0, "firing"), (15, "resolved"), (105, "firing")]
    assert follow([YES, NO, YES, NO], cooldown=0) == [(0, "firing"), (15, "resolved"), (30, "firing"), (45, "resolved")]


def test_what_cannot_be_judged_stays_as_it_is() -> None:
    """D3: whether it fires or not; and the state says why it could not be judged."""
    assert follow([YES, UNKNOWN, UNKNOWN, YES, UNKNOWN, NO]) == [(0, "firing"), (75, "resolved")]
    state, _ = step(rule(), AlertState("few hits"), YES, 1_000.0)
    after, told = step(rule(), state, UNKNOWN, 1_015.0)
    assert told is None
    assert (after.status, after.since, after.unjudged, after.checked_at) == ("firing", 1_000.0, "too few", 1_015.0)
    assert step(rule(), after, YES, 1_030.0)[0].unjudged == ""


def test_what_a_state_tells() -> None:
    """D3: since when, what the value was, how often it fired."""
    state, _ = step(rule(cooldown=60), AlertState("few hits"), NO, 1_000.0)
    assert (state.status, state.since, state.value, state.fired) == ("ok", 1_000.0, 0.9, 0)
    state, _ = step(rule(cooldown=60), state, YES, 1_015.0)
    assert (state.status, state.since, state.fired_at, state.quiet_until, state.fired) == (
        *("firing", 1_015.0, 1_015.0, 1_075.0),
        1,
    )
    state, _ = step(rule(cooldown=60), state, NO, 1_030.0)
    assert (state.status, state.since, state.resolved_at) == ("ok", 1_030.0, 1_030.0)
    state, _ = step(rule(cooldown=60), state, YES, 1_045.0)
    assert (state.status, state.since) == ("pending", 1_045.0)
    state, _ = step(rule(cooldown=60), state, NO, 1_050.0)
    assert (state.status, state.since) == ("ok", 1_050.0)


@given(
    st.lists(st.tuples(st.sampled_from([YES, NO, UNKNOWN]), st.floats(0.1, 120)), max_size=60),
    st.sampled_from([0.0, 30.0, 90.0]),
    st.sampled_from([0.0, 60.0, 600.0]),
)
def test_whatever_is_judged(judgements: list[tuple[Judgement, float]], for_: float, cooldown: float) -> None:
    """D3: firing and resolved take turns; two firings are a cool-down apart.

    Each firing comes of a condition that held for long enough, without a break; the first judgement after it that the
    condition does not hold resolves it.
    """
    given_rule, state, now = rule(for_=for_, cooldown=cooldown), AlertState("few hits"), 1_000.0
    told: list[tuple[str, float]] = []
    held_since: float | None = None
    for judgement, passing in judgements:
        now += passing
        before = state
        state, change = step(given_rule, state, judgement, now)
        if judgement.holds is not None:
            held_since = (now if held_since is None else held_since) if judgement.holds else None
        if judgement.holds is None:
            assert (state.status, state.since, state.quiet_until) == (before.status, before.since, before.quiet_until)
        if judgement.holds is False:
            assert state.status == "ok"
            assert (change == "resolved") is (before.status == "firing")
        if change == "firing":
            assert held_since is not None
            assert now - held_since >= for_
        if change is None and judgement.holds and before.status != "firing":
            assert held_since is not None
            assert now - held_since < for_ or now < before.quiet_until
        if change is not None:
            assert change == ("resolved" if told and told[-1][0] == "firing" else "firing")
            told.append((change, now))
    fired = [at for change, at in told if change == "firing"]
    assert all(later - earlier >= cooldown for earlier, later in pairwise(fired))
    assert state.fired == len(fired)
