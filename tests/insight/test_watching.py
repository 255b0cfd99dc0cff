"""Watching takes nothing away: hits are counted whoever looks on, and a day may end while others count."""

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from followed import Followed

from toolcache.entry import Held


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*jobs: Callable[[], None]) -> list[BaseException]:
    """Each in a thread of its own; what they raised."""
    raised: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - told
            raised.append(error)

    crew = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for one in crew:
        one.start()
    for one in crew:
        one.join(30)
    return raised


def test_threads_lose_no_hit_of_a_followed_entry() -> None:
    """Two threads that have read the same count, of which each writes the next, have hit twice."""
    followed = Followed().run(["hot"])
    held = followed.memory.held["hot"]
    assert type(held) is not Held
    read = held.hits
    held.hits = read + 1
    held.hits = read + 1
    assert held.hits == read + 2
    held.hits += 1
    assert held.hits == read + 3
    assert followed.sketch().samples == 4


def test_a_hit_is_counted_though_another_thread_lays_the_entry_to_rest() -> None:
    """Between the look at its class and the count it may have become an ordinary entry."""
    followed = Followed().run(["hot"])
    held = followed.memory.held["hot"]
    count = vars(type(held))["hits"].fset
    held.__class__ = Held
    count(held, 1)
    count(held, 1)
    assert held.hits == 2


def test_a_day_ends_while_others_count() -> None:
    """Keys come and go in one thread while another begins anew: nothing breaks."""
    followed = Followed(keys=512, step=0.001).run(range(400))
    done = threading.Event()

    def ask() -> None:
        followed.run(range(400, 12_000))
        done.set()

    def begin() -> None:
        while not done.is_set():
            followed.sampler.begin()
            followed.sampler.settle()

    assert together(ask, begin) == []
    assert followed.sampler.keys <= 512
