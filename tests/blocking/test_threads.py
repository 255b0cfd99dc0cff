"""Many threads, one blocking cache."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from toolcache import BlockingToolCache, CacheClosedError, ReentrantFlightError

KEYS = 20


@pytest.mark.parametrize("threads", [5, 50])
def test_threads_hammer_one_cache(threads: int, options: dict[str, Any]) -> None:
    """B13: each key is computed once among all threads, no write is lost, and each reads what it wrote."""
    runs: Counter[str] = Counter()
    together = threading.Barrier(threads)

    def compute(key: str) -> Callable[[], dict[str, str]]:
        def made() -> dict[str, str]:
            runs[key] += 1  # one at a time for each key, or the test fails
            return {"key": key}

        return made

    def work(cache: BlockingToolCache, name: int) -> None:
        together.wait(20)
        for number in range(KEYS):
            key = f"shared{(number + name) % KEYS}"
            assert cache.get_or_set(key, compute(key)) == {"key": key}
        cache.set(f"own{name}", [name])
        assert cache.get(f"own{name}") == [name]
        assert cache.get_many([f"own{name}", "absent"]) == {f"own{name}": [name]}

    with BlockingToolCache(**options) as cache, ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, cache, name) for name in range(threads)]:
            done.result(40)
        assert runs == {f"shared{number}": 1 for number in range(KEYS)}
        assert cache.get_many([f"own{name}" for name in range(threads)]) == {f"own{n}": [n] for n in range(threads)}


def test_computations_that_wait_for_one_another_never_use_up_the_threads(cache: BlockingToolCache) -> None:
    """B13: fifty computations, each of which asks for another key, twenty deep, all come to an end."""

    def deep(name: int, depth: int) -> int:
        if not depth:
            return name
        return int(cache.get_or_set(f"{name}:{depth}", lambda: deep(name, depth - 1) + 1))

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda name: deep(name, 20), range(50))) == [name + 20 for name in range(50)]


def test_a_circle_through_threads_is_refused(cache: BlockingToolCache) -> None:
    """B13: a computation that asks for its own key, or for one that waits for it, raises instead of waiting for ever."""
    with pytest.raises(ReentrantFlightError):
        cache.get_or_set("own", lambda: cache.get_or_set("own", int))

    both = threading.Barrier(2)

    def ask(mine: str, other: str) -> Any:
        def made() -> Any:
            both.wait(20)
            return cache.get_or_set(other, lambda: "never reached by both")

        try:
            return cache.get_or_set(mine, made)
        except ReentrantFlightError:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        assert "refused" in set(pool.map(ask, ("a", "b"), ("b", "a")))


def test_waiting_threads_learn_that_the_cache_was_closed() -> None:
    """B13: whoever is inside when another thread closes the cache meets CacheClosedError, be it computing or waiting."""
    cache = BlockingToolCache(files=False)
    computing, closed = threading.Event(), threading.Event()

    def slow() -> str:
        computing.set()
        closed.wait(20)
        return "too late"

    def ask() -> str:
        try:
            return str(cache.get_or_set("key", slow))
        except CacheClosedError:
            return "closed"

    with ThreadPoolExecutor(10) as pool:
        asking = [pool.submit(ask) for _ in range(10)]
        assert computing.wait(20)
        cache.close(drain=0)
        closed.set()
        assert {one.result(20) for one in asking} == {"closed"}
    with pytest.raises(CacheClosedError):
        cache.get("key")
    with pytest.raises(CacheClosedError):
        cache.set("key", 1)
    cache.close()
    assert cache.closed


def test_closing_waits_for_what_is_under_way() -> None:
    """B13: a computation that ends within ``drain`` is answered, and no thread of the cache outlives it."""
    before = {thread.name for thread in threading.enumerate()}
    cache = BlockingToolCache(files=False)
    computing, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        computing.set()
        go_on.wait(20)
        return "in time"

    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(cache.get_or_set, "key", slow)
        assert computing.wait(20)
        closing = pool.submit(cache.close, 20.0)
        while not cache._cache.closed:
            time.sleep(0.001)
        go_on.set()
        assert asking.result(20) == "in time"
        closing.result(20)
    assert {thread.name for thread in threading.enumerate()} <= before


def test_many_threads_close_it_at_once() -> None:
    """B13: closing is harmless however often, and whoever does it."""
    cache = BlockingToolCache(files=False)
    cache.set("key", 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.close(), range(16)))
    assert cache.closed
