"""Spans of time and sizes as people write them."""

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.durations import seconds, size

UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
SIZES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (90, 90.0),
        (0.5, 0.5),
        (timedelta(days=1), 86_400.0),
        (timedelta(days=1, seconds=1, microseconds=1), 86_401.000001),
        ("90", 90.0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("90s", 90.0),
        ("250ms", 0.25),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h30m", 9000.0),
        ("2H 30M", 9000.0),
        (" 7d ", 604_800.0),
        ("1w", 604_800.0),
        ("1.5h", 5400.0),
        ("1w1d1h1m1s1ms", 694_861.001),
    ],
)
def test_spans(value: Any, expected: float) -> None:
    """A span is seconds, a timedelta (whole days included) or text of numbers with units."""
    assert seconds(value) == expected
    assert type(seconds(value)) is float


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "1x",
        "h",
        "1h2",
        "1 2h",
        "-5s",
        "+5s",
        "1,5h",
        ".5h",
        "5.h",
        "0x10",
        "1h-2m",
        "P1D",
        "1 month",
        "1h;",
        "never",
        "1" * 500,
        "1h" * 500,
    ],
)
def test_texts_that_are_no_spans(value: str) -> None:
    """Text that is no span of time says which setting it is, and how spans look."""
    with pytest.raises(ValueError, match=r"lease=.* is no span of time: write seconds, or text such as") as caught:
        seconds(value, name="lease")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        timedelta(0),
        timedelta(-1),
        "0",
        "0s",
        "-1",
        "nan",
        "inf",
        "1e400",
        10**400,
        -(10**400),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_spans_of_nothing_and_without_end(value: Any) -> None:
    """Zero, negative, infinite and NaN are no spans; numbers too large for a float are infinite."""
    with pytest.raises(ValueError, match="lease must be longer than nothing and finite, not "):
        seconds(value, name="lease")


@pytest.mark.parametrize("value", [True, False])
def test_a_bool_is_no_span(value: bool) -> None:
    """SPEC 5.2: true is not a second; it is refused like any other number that is no span, by name."""
    with pytest.raises(ValueError, match="lease takes seconds, a timedelta or text such as '2h30m', not bool"):
        seconds(value, name="lease")


@pytest.mark.parametrize("value", [None, b"1h", [1], Decimal(1), 1j, object()])
def test_other_types_are_no_spans(value: Any) -> None:
    """Other types are refused by name."""
    with pytest.raises(TypeError, match=f"ttl takes seconds, a timedelta or text .* not {type(value).__name__}"):
        seconds(value)


@given(st.lists(st.tuples(st.integers(1, 999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5))
def test_written_spans_read_back(parts: list[tuple[int, str]]) -> None:
    """What is written with units is their sum, with or without spaces, in any case."""
    expected = sum(count * UNITS[unit] for count, unit in parts)
    for joint in ("", " "):
        text = joint.join(f"{count}{joint}{unit}" for count, unit in parts)
        assert seconds(text) == seconds(text.upper()) == pytest.approx(expected, rel=1e-12)


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_numbers_are_seconds(value: float) -> None:
    """A number, or its text, is seconds exactly."""
    assert seconds(value) == seconds(repr(value)) == value


@given(st.timedeltas(min_value=timedelta(microseconds=1)))
def test_timedeltas_keep_their_days(value: timedelta) -> None:
    """A timedelta is all of its seconds."""
    assert seconds(value) == value.total_seconds()


@given(st.text(max_size=80))
def test_any_text_is_a_span_or_an_error(text: str) -> None:
    """Whatever is written, the answer is a finite span or a ValueError."""
    try:
        assert 0 < seconds(text) < math.inf
    except ValueError as error:
        assert "ttl" in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (10**400, 10**400),
        ("1", 1),
        ("100b", 100),
        ("8MB", 8_000_000),
        ("8MiB", 2**23),
        ("1.5kb", 1500),
        ("1.001kb", 1001),
        ("1.1 GB", 1_100_000_000),
        (" 64 mib ", 2**26),
        ("9007199254740993", 9_007_199_254_740_993),
        ("1" * 60, int("1" * 60)),
        ("2TiB", 2**41),
    ],
)
def test_sizes(value: Any, expected: int) -> None:
    """A size is bytes, or text with a decimal or binary unit; exact where it is whole."""
    assert size(value) == expected
    assert type(size(value)) is int


@pytest.mark.parametrize(
    "value",
    [
        "",
        "MB",
        "1XB",
        "-1MB",
        "1e3",
        "1,5MB",
        "1MB2",
        "1 MB 2 KB",
        "0x10",
        "1_000",
        ".5kb",
        "inf",
        "nan",
        "9" * 400,
        "1" * 5000,
    ],
)
def test_texts_that_are_no_sizes(value: str) -> None:
    """Text that is no size says which setting it is, and how sizes look."""
    with pytest.raises(ValueError, match=r"max_disk=.* is no size: write bytes, or text such as '64MB'") as caught:
        size(value, name="max_disk")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [0, -1, "0", "0MB", "0.4b"])
def test_sizes_below_one(value: Any) -> None:
    """A size is at least one byte."""
    with pytest.raises(ValueError, match="max_disk must be at least 1 byte"):
        size(value, name="max_disk")


@pytest.mark.parametrize("value", [None, True, 1.5, b"1MB", timedelta(1)])
def test_other_types_are_no_sizes(value: Any) -> None:
    """Other types are refused by name; a part of a byte is none."""
    with pytest.raises(TypeError, match=f"size takes bytes or text .* not {type(value).__name__}"):
        size(value)


@given(st.integers(1, 10**9), st.sampled_from(sorted(SIZES)))
def test_written_sizes_read_back(count: int, unit: str) -> None:
    """Whole numbers with units are exact, in any case."""
    assert size(f"{count}{unit}") == size(f"{count} {unit.upper()}") == count * SIZES[unit]


@given(st.text(max_size=80))
def test_any_text_is_a_size_or_an_error(text: str) -> None:
    """Whatever is written, the answer is a whole number from 1 up or a ValueError."""
    try:
        assert size(text) >= 1
    except ValueError as error:
        assert "size" in str(error)  # noqa: PT017 - either outcome is right
