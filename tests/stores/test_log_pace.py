"""Long work of the file store's threads lets others go on."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from toolcache.stores.log.pace import STEP, paced, pool


@pytest.mark.parametrize("count", [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP])
def test_all_come_in_order_with_a_pause_behind_each_step(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Fact: a loop that waits for the interpreter waits for a step, however much there is to do."""
    pauses: list[float] = []
    sleep: Callable[[float], None] = pauses.append
    monkeypatch.setattr(time, "sleep", sleep)
    assert list(paced(range(count))) == list(range(count))
    assert len(pauses) == count // STEP
    assert all(0 < pause < 0.001 for pause in pauses)


@pytest.mark.parametrize("obstacle", ["none", "forbidden", "unknown"])
def test_threads_give_way_where_the_system_lets_them(monkeypatch: pytest.MonkeyPatch, obstacle: str) -> None:
    """Fact: a thread that is woken does not push aside who woke it; where that cannot be had, it works all the same."""
    asked: list[tuple[int, int]] = []

    def set_scheduler(pid: int, policy: int, _param: object) -> None:
        asked.append((pid, policy))
        if obstacle == "forbidden":
            raise PermissionError

    monkeypatch.setattr(os, "SCHED_BATCH", 3, raising=False)
    monkeypatch.setattr(os, "sched_param", lambda priority: priority, raising=False)
    monkeypatch.setattr(os, "sched_setscheduler", set_scheduler, raising=False)
    if obstacle == "unknown":
        monkeypatch.delattr(os, "sched_setscheduler")
    with pool(1, "toolcache-test") as threads:
        assert threads.submit(threading.current_thread).result().name.startswith("toolcache-test")
    assert asked == ([] if obstacle == "unknown" else [(0, 3)])
