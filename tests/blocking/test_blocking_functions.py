"""Plain functions whose results are kept by a cache that blocks."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from toolcache import (
    BlockingToolCache,
    CacheClosedError,
    Domain,
    MissingScopeError,
    StoredCallError,
    UnsupportedEventLoopError,
    UnsupportedKeyError,
    cached,
    scope,
)
from toolcache.testing import FakeClock


@pytest.fixture
def cache(clock: FakeClock) -> Iterator[BlockingToolCache]:
    with BlockingToolCache(files=False, clock=clock) as cache:
        yield cache


def test_a_plain_function(cache: BlockingToolCache) -> None:
    """C5: called as before, in the thread that asks; and all verbs, without await."""
    threads: list[threading.Thread] = []

    @cached(ttl="1h", key_params=["query"], cache=cache)
    def find(query: str, session: object = None) -> str:
        threads.append(threading.current_thread())
        return query * 2

    assert [find("a", object()), find(query="a"), find.refresh("a"), find.bypass("a")] == ["aa"] * 4
    assert threads == [threading.current_thread()] * 3
    assert find.cache_info() == (1, 1)
    assert cache.get(find.cache_key("a")) == "aa"
    assert find.invalidate("a") is True
    assert find.invalidate("a") is False
    find("a")
    find("b")
    assert find.cache_clear().scope == "function"
    find("a")
    assert len(threads) == 6
    with pytest.raises(UnsupportedKeyError, match="argument 'query'"):
        find(object())  # type: ignore[arg-type]  # what a caller may do


WEATHER = Domain("weather", ttl="10s", cost_usd=0.5)


def test_every_option_counts(cache: BlockingToolCache, clock: FakeClock) -> None:
    """BUG-106: domain, ttl and condition that look at the result, tags of arguments, grace, scopes."""
    runs: list[str] = []
    failing = [False]

    @cache.cached(domain=WEATHER, tags=["place:{place}"], condition=bool, vary=["user"], strict_scope=True, grace="1m")
    def forecast(place: str) -> str:
        runs.append(place)
        if failing[0]:
            raise OSError("down")
        return place

    with pytest.raises(MissingScopeError):
        forecast("Oslo")
    for user in ("ada", "bob"):
        with scope(user=user):
            for place in ("Oslo", "Oslo", "", ""):
                assert forecast(place) == place
    assert runs == ["Oslo", "", ""] * 2
    assert cache.stats().domains["weather"].dollars_saved == 1.0
    with scope(user="ada"):
        cache.invalidate(tags=["place:Oslo"])
        forecast("Oslo")
        assert len(runs) == 7
        clock.advance(11)
        failing[0] = True
        assert forecast("Oslo") == "Oslo"
        assert len(runs) == 8

    @cache.cached(ttl=lambda seconds: seconds, key_prefix="ages")
    def age(seconds: int) -> int:
        runs.append("age")
        return seconds

    runs.clear()
    for _ in range(2):
        age(5)
        age(50)
        clock.advance(10)
    assert len(runs) == 3


def test_errors_are_kept_where_that_is_asked_for(cache: BlockingToolCache, clock: FakeClock) -> None:
    """BUG-108: as for async ones; and what is raised is the function's own error, once."""
    runs: list[str] = []

    @cache.cached(cache_errors=(LookupError,), error_ttl="10s")
    def find(name: str) -> str:
        runs.append(name)
        if len(runs) < 2:
            raise KeyError(name)
        return name

    with pytest.raises(KeyError):
        find("a")
    with pytest.raises(StoredCallError, match="KeyError"):
        find("a")
    clock.advance(11)
    assert [find("a"), find("a")] == ["a", "a"]
    assert len(runs) == 2


def test_bypassing_is_told_to_functions_of_any_options(cache: BlockingToolCache) -> None:
    """A3: within ``bypass()`` a function is called each time, with options that judge its results or keep its errors too."""
    options: tuple[dict[str, Any], ...] = (
        {},
        {"condition": bool},
        {"ttl": lambda _: 60},
        {"cache_errors": (LookupError,)},
        {"cache_errors": (Exception,), "condition": bool},
    )
    for index, some in enumerate(options):
        runs: list[int] = []

        def count(runs: list[int] = runs) -> int:
            runs.append(1)
            return len(runs)

        counted: Any = cache.cached(key_prefix=f"count {index}", ignore=["runs"], **some)(count)
        with cache.bypass():
            assert [counted(), counted()] == [1, 2]
        assert [counted(), counted()] == [3, 3]
        with cache.bypass():
            assert counted() == 4


def test_threads_compute_once(cache: BlockingToolCache) -> None:
    """C5, BUG-1: whoever asks while it is computed waits for the one result; and each has his own scope."""
    runs: list[Any] = []
    together = threading.Barrier(10)

    @cache.cached(vary=["user"])
    def find(query: str) -> tuple[str, str]:
        runs.append(query)
        return query, current.user

    current = threading.local()

    def ask(number: int) -> tuple[str, str]:
        current.user = f"user {number % 2}"
        together.wait()
        with scope(user=current.user):
            return find("q")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(10)))
    assert answers == [("q", f"user {number % 2}") for number in range(10)]
    assert len(runs) == 2


def test_scopes_hold_in_what_a_computation_calls(cache: BlockingToolCache) -> None:
    """BUG-111: in the thread that asks, and in the thread that computes for one that waits no longer than it must."""

    @cache.cached(vary=["user"], strict_scope=True)
    def inner(query: str) -> str:
        return query

    @cache.cached(vary=["user"], strict_scope=True)
    def outer(query: str) -> str:
        return inner(query)

    @cache.cached(vary=["user"], strict_scope=True, hard_timeout=5)
    def aside(query: str) -> str:
        return inner(query)

    for user in ("ada", "bob"):
        with scope(user=user):
            assert [outer("q"), aside("q"), inner("q")] == ["q", "q", "q"]
    assert inner.cache_info() == (4, 2)


async def test_an_event_loop_is_not_stopped(cache: BlockingToolCache) -> None:
    """C5: not by a hit either, which would not stop it: the next call may be none."""

    @cache.cached()
    def find(query: str) -> str:
        return query

    await asyncio.to_thread(find, "q")
    for call in (find, find.refresh, find.invalidate):
        with pytest.raises(UnsupportedEventLoopError):
            call("q")
    await asyncio.to_thread(cache.close)
    with pytest.raises(CacheClosedError):
        await asyncio.to_thread(find, "q")


def test_the_wrong_kind_of_cache_is_refused(cache: BlockingToolCache) -> None:
    """BUG-71: an async function would stop its loop there."""

    async def find(query: str) -> str:
        return query

    with pytest.raises(TypeError, match="find is async, and a BlockingToolCache blocks"):
        cached(cache=cache)(find)
