"""The oracle finds what it is there to find."""

import time

import pytest
from faults.oracle import Act, Oracle
from faults.values import KEYS, number_of, value_of

from toolcache.entry import MISSING, Durability

KEY, OTHER = KEYS[:2]


@pytest.fixture
def oracle() -> Oracle:
    """One that knows of nothing yet."""
    return Oracle()


def write(oracle: Oracle, kind: str = "set", durability: Durability | None = Durability.REDIS) -> Act:
    act = oracle.begin(kind, KEY)
    oracle.end(act, durability, ttl=60)
    return act


def kinds(oracle: Oracle) -> list[str]:
    return [violation.split(":")[0] for violation in oracle.violations]


def test_the_last_value_or_nothing_may_be_read(oracle: Oracle) -> None:
    """I3: while a write is under way the old value may be read, and the new one."""
    first = write(oracle)
    begun = time.monotonic()
    second = write(oracle)
    for value in (value_of(KEY, first.number), value_of(KEY, second.number), MISSING):
        oracle.saw(KEY, value, begun)
    assert oracle.violations == []


@pytest.mark.parametrize(("kind", "expected"), [("set", "I3"), ("delete", "I4")])
def test_an_older_value_is_found(oracle: Oracle, kind: str, expected: str) -> None:
    """I3, I4: after an acknowledged write or delete the value before it may not come back."""
    first = write(oracle)
    write(oracle, kind, Durability.FILE)
    oracle.saw(KEY, value_of(KEY, first.number), time.monotonic())
    oracle.found(KEY, first.number, 0.0, "another process")
    assert kinds(oracle) == [expected, expected]


def test_what_promised_nothing_may_be_gone_or_there(oracle: Oracle) -> None:
    """I5: a write that only memory took, one that raised, and a computed value."""
    first = write(oracle)
    later = [write(oracle, "set", Durability.MEMORY), write(oracle, "delete", None), write(oracle, "compute", None)]
    for act in (first, later[0], later[2]):
        oracle.saw(KEY, value_of(KEY, act.number), time.monotonic())
        oracle.found(KEY, act.number, 0.0, "another process")
    oracle.found(KEY, None, 0.0, "another process")
    assert oracle.violations == []


@pytest.mark.parametrize(
    "value", [value_of(OTHER, 1), value_of(KEY, 2), {**value_of(KEY, 1), "filler": b"x"}, {"number": 1}, None, 7]
)
def test_what_nobody_wrote_there_is_found(oracle: Oracle, value: object) -> None:
    """I12: another key's value, a write that there was not, a damaged one."""
    write(oracle)
    oracle.saw(KEY, value, time.monotonic())
    assert kinds(oracle) == ["I12"]


@pytest.mark.parametrize("durability", [Durability.FILE, Durability.REDIS])
def test_a_lost_write_is_found(oracle: Oracle, durability: Durability) -> None:
    """I5: unless Redis lost what it held since; what another key lost is no excuse."""
    oracle.lost()
    write(oracle, "set", durability)
    oracle.lost({OTHER})
    oracle.found(KEY, None, 0.0, "another process")
    assert kinds(oracle) == ["I5"]
    oracle.violations.clear()
    oracle.lost({KEY})
    oracle.found(KEY, None, 0.0, "another process")
    assert oracle.violations == []


def test_a_life_that_grew_longer_is_found(oracle: Oracle) -> None:
    """I8: the value may not be good for longer than it was when it was written."""
    act = write(oracle)
    oracle.found(KEY, act.number, act.gone_at, "another process")
    assert oracle.violations == []
    oracle.found(KEY, act.number, act.gone_at + 0.1, "another process")
    assert kinds(oracle) == ["I8"]


def test_values_tell_whose_they_are() -> None:
    """I12: from one bit of it."""
    value = value_of(KEY, 5)
    assert number_of(KEY, value) == 5
    assert number_of(OTHER, value) == -1
    assert number_of(KEY, MISSING) is None
    assert value_of(KEY, 6)["filler"] != value["filler"]
    assert 1_000 <= len(value["filler"]) <= 20_000
