"""The table of domains, and what a row accepts."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from toolcache.domains import DOMAINS, Domain

HOUR = 3600.0


@pytest.mark.parametrize(
    ("name", "ttl"),
    [
        ("general", None),
        ("catalog", 24 * HOUR),
        ("embedding", 7 * 24 * HOUR),
        ("search", HOUR),
        ("metadata", 24 * HOUR),
        ("idempotency", HOUR),
    ],
)
def test_the_built_in_rows_have_their_lifetimes(name: str, ttl: float | None) -> None:
    """A1: each built-in domain lives as long as the table says, costs nothing unless told and shares no objects."""
    row = DOMAINS[name]
    assert (row.name, row.ttl, row.cost_usd, row.shared) == (name, ttl, 0.0, False)


def test_only_embeddings_are_vectors() -> None:
    """The embedding row is the one whose values are checked as vectors."""
    assert [row.name for row in DOMAINS.values() if row.vector] == ["embedding"]


@pytest.mark.parametrize("ttl", [300, 300.0, "5m", timedelta(minutes=5)])
def test_a_lifetime_becomes_seconds(ttl: Any) -> None:
    """A declared TTL is seconds from then on, however it was written."""
    assert Domain("weather", ttl=ttl).ttl == 300.0


def test_a_row_cannot_be_changed_but_can_be_replaced() -> None:
    """A row is frozen; a changed copy keeps the rest."""
    weather = Domain("weather", ttl="5m", key=["location"], cost_usd=0.002)
    with pytest.raises(dataclasses.FrozenInstanceError):
        weather.ttl = 1.0  # type: ignore[misc]  # the point of the test
    changed = dataclasses.replace(weather, ttl=HOUR)
    assert (changed.ttl, changed.key, changed.cost_usd) == (HOUR, ("location",), 0.002)
    assert weather == Domain("weather", ttl=300, key=("location",), cost_usd=0.002)


@pytest.mark.parametrize("name", ["", "Weather", "9to5", "a b", "a:b", "a" * 33, "naïve", "x\n"])
def test_a_name_that_cannot_stand_in_a_key_is_refused(name: str) -> None:
    """A name takes part in keys and labels, so only plain ones are taken, and the error says which."""
    with pytest.raises(ValueError, match="cannot name a domain"):
        Domain(name, ttl=1)


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"ttl": 0}, ValueError, "ttl of the domain 'weather'"),
        ({"ttl": True}, ValueError, "ttl of the domain 'weather'"),
        ({"ttl": 1, "cost_usd": -1.0}, ValueError, "cost_usd"),
        ({"ttl": 1, "cost_usd": float("nan")}, ValueError, "cost_usd"),
        ({"ttl": 1, "cost_usd": float("inf")}, ValueError, "cost_usd"),
        ({"ttl": 1, "dimensions": 3}, ValueError, "vector=True"),
        ({"ttl": 1, "dimensions": 0, "vector": True}, ValueError, "at least 1"),
        ({"ttl": 1, "key": "location"}, TypeError, r"\('location',\)"),
    ],
)
def test_a_row_that_cannot_be_is_refused(wrong: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each field is checked when the row is declared, and the error names it."""
    with pytest.raises(error, match=text):
        Domain("weather", **wrong)
