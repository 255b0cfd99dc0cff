"""Two processes, and connections that are killed meanwhile."""

import pytest
from staleness import measure

BOUND = 2.5


@pytest.mark.parametrize("killing", [False, True])
async def test_no_read_is_staler_than_the_bound(killing: bool) -> None:
    """BUG-28, BUG-30, LR-15: what another process has overwritten is not served for longer than two seconds and some."""
    found = await measure(300, 0.005, killing=killing)
    assert found["max"] < BOUND
    assert found["reads"] > 300
    assert bool(found["killed"]) is killing
