"""Work aside from the event loop."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from programs import run

from toolcache import aside as module
from toolcache.aside import LARGE, Lengthy, Pace, aside, is_much

_IN_CHILD = """
import asyncio, os, warnings
warnings.filterwarnings("ignore", "This process", DeprecationWarning)
from toolcache.aside import aside

asyncio.run(aside(int))
child = os.fork()
if not child:
    print(asyncio.run(aside(int)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


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


async def test_work_waits_for_no_thread_of_others() -> None:
    """SPEC 9: those of the loop's executor may all be waiting for a cache."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))

    def ask() -> str:
        return asyncio.run_coroutine_threadsafe(aside(lambda: "done"), loop).result(10)

    assert await asyncio.to_thread(ask) == "done"


async def test_a_child_has_threads_of_its_own() -> None:
    """Those of the parent do not run in it, and what they were doing would never be done."""
    out, _ = await asyncio.to_thread(run, _IN_CHILD)
    assert out.split() == ["0"]


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
