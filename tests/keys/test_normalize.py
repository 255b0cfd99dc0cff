"""Normalisers: what means the same is one key, and nothing else is."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.domains import Domain
from toolcache.keys.canonical import canonical
from toolcache.normalize import Normaliser, casefold, chain, each, nfc, nfkc, rounded, spaces, strip, unordered

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
ALL = [casefold, strip, spaces, nfc, nfkc, unordered, rounded(2), each(casefold), each(rounded(0)), chain(nfkc, strip)]


@pytest.mark.parametrize(
    ("normaliser", "value", "normal"),
    [
        (casefold, "Straße", "strasse"),
        (strip, " a\tb \n", "a\tb"),
        (spaces, " a \n\t b\u00a0c ", "a b c"),
        (nfc, "e\u0301", "\u00e9"),
        (nfkc, "\ufb01\u2460\uff32", "fi1R"),
        (unordered, ["b", 1, "a"], unordered(["a", "b", 1])),
        (unordered, ("b", "a"), ("a", "b")),
        (unordered, [1, 1], [1, 1]),
        (rounded(2), 0.1 + 0.2, 0.3),
        (rounded(0), 2, 2.0),
        (rounded(3), math.inf, math.inf),
        (each(casefold), ["A", ("B", {"C": "D"}), {"E"}, 7], ["a", ("b", {"C": "d"}), {"e"}, 7]),
        (chain(), "A", "A"),
        (chain(spaces, casefold, str.title), "A  b", "A B"),
    ],
)
def test_what_each_does(normaliser: Normaliser, value: Any, normal: Any) -> None:
    """A5: one value of each kind."""
    assert canonical(normaliser(value)) == canonical(normal)


@pytest.mark.parametrize("value", [-0.0, -0.001, 0, 0.001])
def test_rounding_knows_one_zero(value: float) -> None:
    """BUG-69: what is rounded to nothing from below is the same as from above."""
    assert canonical(rounded(1)(value)) == canonical(0.0)


@pytest.mark.parametrize("value", [True, 1 << 80, (1 << 53) + 1, "1.5", None])
def test_what_cannot_be_rounded_without_loss_stays(value: Any) -> None:
    """BUG-68: a switch is no number, and large whole numbers differ in their last digit."""
    assert rounded(2)(value) is value


@given(st.sampled_from(ALL), ANY)
def test_a_normal_form_is_one(normaliser: Normaliser, value: Any) -> None:
    """A5: each takes any value, keeps its type but for whole numbers, and is idempotent; what was passed is unchanged."""
    before = canonical(value)
    normal = normaliser(value)
    assert canonical(value) == before
    assert canonical(normaliser(normal)) == canonical(normal)
    assert type(normal) is type(value) or (type(value) is int and type(normal) is float)


@given(st.lists(st.integers(0, 3) | st.sampled_from("ab")), st.randoms())
def test_order_does_not_matter(value: list[Any], random: Any) -> None:
    """BUG-68, BUG-69: a shuffled list is the same, and one with another member, or one more often, is not."""
    shuffled = random.sample(value, len(value))
    assert unordered(shuffled) == unordered(value)
    assert canonical(unordered([*value, 0])) != canonical(unordered(value))
    assert canonical(unordered(tuple(value))) != canonical(unordered(value))


@pytest.mark.parametrize("digits", [-1, 1.5, True, "2"])
def test_a_wrong_precision_is_refused(digits: Any) -> None:
    """BUG-106: when the function is decorated."""
    with pytest.raises(ValueError, match="number of digits"):
        rounded(digits)


def test_they_say_what_they_take() -> None:
    """BUG-71: a chain with a function of texts is one of texts."""
    assert all(getattr(one, "takes_any", False) and getattr(one, "is_steady", False) for one in ALL)
    assert not getattr(chain(nfc, str.casefold), "takes_any", False)
    assert not getattr(each(str.upper), "is_steady", False)


def test_one_for_a_whole_domain() -> None:
    """A3, BUG-106: ``normalize=rounded(1)`` is no option that does nothing there either."""
    fields = {"near": 0.31, "place": "Oslo"}
    assert Domain("map", ttl=1, key=("near", "place"), normalize=rounded(1)).normal(fields) == {
        "near": 0.3,
        "place": "Oslo",
    }
    assert Domain("map", ttl=1, key=("near", "place"), normalize=str.upper).normal(fields) == {
        "near": 0.31,
        "place": "OSLO",
    }
