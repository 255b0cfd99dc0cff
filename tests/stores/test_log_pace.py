"""Long work of the file store's threads lets others go on."""

import time
from collections.abc import Callable

import pytest

from toolcache.stores.log.pace import STEP, paced


@pytest.mark.parametrize("count", [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP])
def test_all_come_in_order_with_a_pause_behind_each_step(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Fact: a loop that waits for the interpreter waits for a step, however much there is to do."""
    pauses: list[float] = []
    sleep: Callable[[float], None] = pauses.append
    monkeypatch.setattr(time, "sleep", sleep)
    assert list(paced(range(count))) == list(range(count))
    assert len(pauses) == count // STEP
    assert all(0 < pause < 0.001 for pause in pauses)
