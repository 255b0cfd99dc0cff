"""Tags made of values: one value is one level, and two are two tags."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.keys.tagging import Tagging, make_tag
from toolcache.tags import MAX_LENGTH, labels, scopes

PARAMETERS = ("user", "filters")
TEXTS = st.text(st.sampled_from(":%~@{}aé\n"), max_size=80) | st.text(max_size=80)


def tags(text: str, **bound: Any) -> tuple[str, ...]:
    return Tagging("f", PARAMETERS, [text]).of(bound)


@given(TEXTS, TEXTS)
def test_a_value_is_one_level_of_its_own(one: str, other: str) -> None:
    """BUG-72: whatever is written in it, it reaches no other level, and no two values have one tag."""
    tag = make_tag("user", one)
    assert (tag == make_tag("user", other)) is (one == other)
    assert scopes([tag]) == ("user", tag)
    assert labels([tag]) == (tag,)
    assert len(tag) <= MAX_LENGTH
    assert tags("user:{user}", user=one) == (tag,)
    assert len(labels(tags("{user}", user=one))) == 1


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("ada", "user:ada"),
        ("ada lovelace", "user:ada lovelace"),
        ("ada@example.org", "user:ada@example.org"),
        (7, "user:7"),
        (None, "user:None"),
        (True, "user:True"),
        (1.5, "user:1.5"),
        (Decimal("1.50"), "user:1.50"),
        (date(2026, 1, 2), "user:2026-01-02"),
        (uuid.UUID(int=7), "user:00000000-0000-0000-0000-000000000007"),
        ("", "user:%"),
        ("a:b%~", "user:a%3Ab%25%7E"),
    ],
)
def test_a_value_is_as_it_is_written(value: Any, tag: str) -> None:
    """C3: who writes the tag by hand writes the same, but for three signs."""
    assert make_tag("user", value) == tag
    assert tags("user:{filters.id}", filters={"id": value}) == (tag,)


def test_values_at_the_front_are_no_tags_of_the_caches_own() -> None:
    """BUG-111: no user can be named so that his entries carry a label of a domain."""
    assert make_tag("@d:search") == "%40d%3Asearch"
    assert tags("{user}", user="@n") == ("%40n",)


@pytest.mark.parametrize("value", [object(), [1], {"a": 1}, b"x", datetime(2026, 1, 2, 3, 4)])  # noqa: DTZ001 - any
def test_other_values_are_refused(value: Any) -> None:
    """BUG-71, BUG-107: by the argument's name and the type, without what is in it."""
    with pytest.raises(UnsupportedKeyError, match="argument 'user' of f"):
        tags("user:{user}", user=value)
    with pytest.raises(UnsupportedKeyError, match="level 1"):
        make_tag("user", value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user:{usr}", "names 'usr', but its parameters are: user, filters"),
        ("user:{}", "names nothing"),
        ("user:{filters.}", "names nothing"),
        ("user:{user", "names nothing"),
        ("user:user}", "names nothing"),
        ("user:{user!r}", "names 'user!r'"),
        ("user:{user:>3}", "names 'user:>3'"),
    ],
)
def test_what_names_no_argument_is_refused_at_once(text: str, told: str) -> None:
    """BUG-71: when the function is decorated."""
    with pytest.raises(SettingsError, match=told):
        Tagging("f", PARAMETERS, [text])


def test_braces_can_be_written() -> None:
    """C3: two of them are one."""
    assert Tagging("f", PARAMETERS, ["a{{b}}", "c"]).fixed == ("a{b}", "c")
    assert tags("{{{user}}}", user="x") == ("{x}",)
