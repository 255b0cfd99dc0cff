"""The oracle finds what it is there to find."""

import json
import os
import time

import pytest
from faults.automaton import Automaton
from faults.endings import missing
from faults.oracle import Act, Oracle
from faults.telling import Telling
from faults.values import KEYS, number_of, value_of

from toolcache.entry import MISSING, Durability
from toolcache.events import BreakerChanged

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


def test_what_a_clock_that_jumps_may_do_to_a_life(oracle: Oracle) -> None:
    """I8: the life may be counted from the read, and is no longer than it was."""
    oracle.steady = False
    act = write(oracle)
    oracle.found(KEY, act.number, act.gone_at + 0.01, "another process")
    assert oracle.violations == []
    oracle.found(KEY, act.number, act.gone_at + 1.0, "another process")
    assert kinds(oracle) == ["I8"]


def test_what_another_process_told_is_known(oracle: Oracle) -> None:
    """I5: a write whose end was told was promised; of one that was cut short both values may be read."""
    reading, writing = os.pipe()
    telling = Telling(pipe=writing)
    first, second = write(telling), telling.begin("set", KEY)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        for line in pipe:
            key, *told = json.loads(line)
            oracle.hear(key, *told)
    assert oracle.acts[KEY] == [first, second]
    assert oracle.acknowledged == {"REDIS": 1}
    for number in (first.number, second.number):
        oracle.found(KEY, number, 0.0, "another process")
    assert oracle.violations == []
    oracle.found(KEY, None, 0.0, "another process")
    assert kinds(oracle) == ["I5"]


SET, DELETE = ("promised", "set", 1), ("promised", "delete", 1)


@pytest.mark.parametrize(
    ("found", "acks", "right"),
    [
        (None, [], True),
        (1, [SET], True),
        (None, [SET], False),
        (2, [SET, ("begun", "set", 2)], True),
        (1, [SET, ("begun", "set", 2), ("promised", "set", 2)], False),
        (None, [SET, ("begun", "delete", 2)], True),
        (None, [DELETE], True),
        (1, [SET, ("begun", "delete", 2), ("promised", "delete", 2)], False),
        (7, [SET], False),
    ],
)
def test_what_a_power_cut_may_leave(found: int | None, acks: list[tuple[str, str, int]], *, right: bool) -> None:
    """F-17: the last that was promised, or what was begun after it."""
    assert (missing(found, acks) is None) is right


def changes(*path: tuple[str, str, str, float]) -> list[str]:
    automaton = Automaton((1.0, 4.0), threshold=5)
    told = [(BreakerChanged("redis.conn", before, after, why), at) for before, after, why, at in path]
    return [wrong for change, at in told if (wrong := automaton.follow(change, at))]


OPENED = ("closed", "open", "5 failures in a row", 0.0)


def test_a_breaker_that_does_as_the_table_says() -> None:
    """I10: it opens, rests for twice as long each time, probes, and closes."""
    assert not changes(
        OPENED,
        ("open", "half_open", "the wait is over", 0.9),
        ("half_open", "open", "a probe failed", 1.0),
        ("open", "half_open", "it may be back", 1.1),
        ("half_open", "open", "a probe outlived its deadline", 3.0),
        ("open", "half_open", "the wait is over", 6.5),
        ("half_open", "closed", "probes succeeded", 6.6),
        ("closed", "open", "access denied", 7.0),
        ("open", "half_open", "the wait is over", 10.3),
    )


@pytest.mark.parametrize(
    "path",
    [
        [("closed", "half_open", "the wait is over", 0.0)],
        [("closed", "open", "4 failures in a row", 0.0)],
        [("closed", "open", "probes succeeded", 0.0)],
        [OPENED, ("open", "closed", "probes succeeded", 2.0)],
        [OPENED, ("open", "half_open", "the wait is over", 0.3)],
        [OPENED, ("half_open", "closed", "probes succeeded", 2.0)],
        [OPENED, OPENED],
    ],
)
def test_a_breaker_that_does_otherwise_is_found(path: list[tuple[str, str, str, float]]) -> None:
    """I10: a state left out, a wrong reason, too few failures, too short a rest."""
    assert len(changes(*path)) == 1
