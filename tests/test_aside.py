"""Work aside from the event loop."""

import asyncio
import threading
import time

import pytest

from toolcache import aside as module
from toolcache.aside import LARGE, Lengthy, Pace, aside, is_much


async def test_work_is_done_in_another_thread_and_raises_what_it_raises() -> None:
    """The loop has its turn meanwhile: it is what lets the work end."""
    go_on = threading.Event()

    def work() -> int:
        assert go_on.wait(30)
        return threading.get_ident()

    working = asyncio.create_task(Lengthy(work).aside())
    await asyncio.sleep(0)
    go_on.set()
    assert await working != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)
    assert await Lengthy().aside() is None


async def test_work_in_a_thread_pauses_after_each_step_and_on_a_loop_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause lets others go on. On the loop there is nobody to be let."""
    pauses: list[float] = []
    now = 0.0

    def later(seconds: float) -> None:
        pauses.append(seconds)

    def tick() -> float:
        nonlocal now
        now += 0.000_2
        return now

    monkeypatch.setattr(module, "time", type("Time", (), {"sleep": later, "perf_counter": tick}))

    def work() -> None:
        pace = Pace()
        for _ in range(30):
            pace.breathe()

    work()
    assert not pauses
    await aside(work)
    assert len(pauses) == 10
    assert time.perf_counter is not tick


def test_much_is_one_that_is_large_or_several_that_are_together() -> None:
    """Up to that a thread would cost more than it saves."""
    large, less = bytes(LARGE + 1), bytes(LARGE)
    assert [is_much(bodies) for bodies in ([], [None], [less], [None, less, less], [less] * 4)] == [False] * 5
    assert [is_much(bodies) for bodies in ([large], [None, large], [b"", large, None], [less] * 4 + [b"x"])] == [
        True
    ] * 4
