"""The ghost remembers what left lately, forgets the rest, and grows with what it is to remember only."""

from toolcache.memory.ghost import Ghost


def recalled(ghost: Ghost, *keys: str) -> int:
    return sum(ghost.recall(key) is not None for key in keys)


def test_remembers_most_that_left_lately() -> None:
    """Of the last 1,000 departures most are remembered, of those before them none."""
    ghost = Ghost()
    for number in range(10_000):
        ghost.remember(str(number), 1_000)
    assert recalled(ghost, *map(str, range(9_000))) <= 1
    assert recalled(ghost, *map(str, range(9_001, 10_000))) > 750


def test_tells_how_long_ago() -> None:
    """A departure is told by the number of others since, once; one that is a whole span ago is forgotten."""
    ghost = Ghost()
    ghost.remember("a", 1_000)
    assert ghost.recall("a") == 0
    assert ghost.recall("a") is None
    told = set()
    for key in range(1_000):
        ghost.remember(f"key {key}", 1_000)
        for other in range(key % 20):
            ghost.remember(f"other {key} {other}", 1_000)
        told.add((key % 20, ghost.recall(f"key {key}")))
    assert {(since, since) for since in range(20)} <= told
    assert all(since == expected for expected, since in told if since is not None)
    ghost.remember("short", 2)
    ghost.remember("x", 2)
    ghost.remember("y", 2)
    assert ghost.recall("short") is None


def test_recalls_no_stranger() -> None:
    """Keys that never left are hardly ever taken for one that did."""
    ghost = Ghost()
    for number in range(1_000):
        ghost.remember(f"left {number}", 1_000)
    assert recalled(ghost, *(f"stranger {number}" for number in range(10_000))) <= 2


def test_its_table_follows_the_span() -> None:
    """The table has four to eight slots for each key to remember, however many leave."""
    ghost = Ghost()
    for number in range(5_000):
        ghost.remember(str(number), 100)
    assert 400 <= len(ghost) <= 800


def test_departures_wrap_around() -> None:
    """After four milliards of departures the numbers begin again, and nothing is lost by it."""
    ghost = Ghost()
    ghost.departures = (1 << 32) - 50
    for number in range(100):
        ghost.remember(str(number), 100)
    assert recalled(ghost, *map(str, range(100))) > 60
