"""Calls whose keys are known: found again by equal arguments of equal types, and by no others."""

import math
from collections import UserString
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.keys import calls
from toolcache.keys.calls import KnownCalls
from toolcache.keys.canonical import canonical

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, math.nan, math.inf]),
    st.sampled_from(["", "a", "1"]),
    st.sampled_from([b"", b"a", b"1"]),
)
CALLS = st.tuples(st.lists(ATOMS, max_size=3), st.dictionaries(st.sampled_from("xyz"), ATOMS, max_size=2))


@given(st.lists(CALLS, max_size=30), CALLS)
def test_a_key_is_that_of_the_call(learnt: list[tuple[list[Any], dict[str, Any]]], asked: Any) -> None:
    """KY-02, BUG-69: whatever was learnt, a key that is found is that of a call with the same canonical form."""
    known = KnownCalls()
    for args, kwargs in learnt:
        known.learn(tuple(args), kwargs, str(canonical([args, kwargs])))
    args, kwargs = asked
    assert known.find(tuple(args), kwargs) in {None, str(canonical([args, kwargs]))}


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "text", b"bytes"])
def test_what_was_learnt_is_found(value: object) -> None:
    """By position, by name, and not one for the other."""
    known = KnownCalls()
    known.learn((value,), {"b": value}, "key")
    assert known.find((value,), {"b": value}) == "key"
    assert known.find((value, value), {}) is None
    assert known.find((value,), {"c": value}) is None


@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, (1,), UserString("x"), 0.0, -0.0, math.nan, "x" * 513, b"x" * 513, 1 << 64, -(1 << 64)]
)
def test_what_says_too_little_is_not_learnt(value: object) -> None:
    """What cannot be hashed, is equal to something else for a key, or takes much room, is not remembered."""
    known = KnownCalls()
    known.learn((value,), {}, "key")
    assert known.find((value,), {}) is None


def test_nothing_of_an_argument_is_called() -> None:
    """An argument that cannot be hashed, or compares as it likes, is no trouble."""

    class Odd:
        def __hash__(self) -> int:
            raise RuntimeError

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

    known = KnownCalls()
    known.learn(("a",), {}, "key")
    known.learn((Odd(),), {}, "odd")
    assert known.find((Odd(),), {}) is None
    assert known.find((), {"a": Odd()}) is None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When as many are known as may be, all are forgotten."""
    monkeypatch.setattr(calls, "_REMEMBERED", 10)
    known = KnownCalls()
    for number in range(25):
        known.learn((number,), {}, f"key{number}")
    assert [number for number in range(25) if known.find((number,), {})] == [20, 21, 22, 23, 24]
