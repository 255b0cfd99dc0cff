"""Periods, and the minutes, hours and days they are read from."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.metrics.spans import DAY, HOUR, MINUTE, SPANS, reach_of


@pytest.mark.parametrize(
    ("period", "letter", "number"),
    [
        ("1m", "m", 1),
        ("1h", "m", 60),
        ("90s", "m", 2),
        ("6h", "m", 360),
        ("7h", "h", 7),
        ("1d", "h", 24),
        ("8d", "h", 192),
        ("9d", "d", 9),
        ("30d", "d", 30),
        ("400d", "d", 400),
    ],
)
def test_a_period_is_read_from_the_finest_spans_that_are_kept(period: str, letter: str, number: int) -> None:
    assert (reach_of(period).span.letter, reach_of(period).number) == (letter, number)


def test_a_step_asks_for_other_points() -> None:
    assert reach_of("1d", "1d") == (DAY, 1)
    assert reach_of("2h", "1h") == (HOUR, 2)


@pytest.mark.parametrize(
    ("period", "step", "told"), [("401d", None, "400 days"), ("7h", "1m", "6 hours"), ("1h", "5m", "step is")]
)
def test_what_is_not_kept_is_refused(period: str, step: str | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        reach_of(period, step)


@given(at=st.floats(0, 4e9), period=st.integers(1, 400 * 86_400))
def test_spans_of_a_period_follow_one_another_up_to_now(at: float, period: int) -> None:
    reach = reach_of(period)
    begun = reach.beginnings(at)
    assert begun[-1] <= at < begun[-1] + reach.span.seconds
    assert all(later - one == reach.span.seconds for one, later in itertools.pairwise(begun))
    assert len(begun) * reach.span.seconds >= period


def test_groups_differ() -> None:
    names = {span.group(space, at) for span in SPANS for space in ("a", "b") for at in (0, 86_400)}
    assert len(names) == len(SPANS) * 4
    assert all(name.startswith("tc1:s:") for name in names)
    assert MINUTE.group("a", 60) == "tc1:s:a:m:60"
