"""@cached: one computation for equal calls, and a function that looks as before."""

import asyncio
import functools
import inspect
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type, cast

import pytest

from toolcache.decorator import CachedFunction, CacheInfo, cached
from toolcache.durations import Duration
from toolcache.entry import MISSING, Missing
from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.tool_cache import ToolCache


class Shelf:
    """A cache as far as the decorator knows one: one computation per key, no end of life."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.options: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self.flights: dict[str, asyncio.Task[Any]] = {}

    async def get_or_set(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Sequence[str] = (),
    ) -> Any:
        if key in self.values:
            return self.values[key]
        if key not in self.flights:
            self.flights[key] = asyncio.ensure_future(compute())
        try:
            value = await self.flights[key]
        finally:
            self.flights.pop(key, None)
        await self.set(key, value, ttl=ttl, tags=tags)
        return value

    async def set(
        self, key: str, value: Any, *, ttl: Duration | Missing | None = MISSING, tags: Sequence[str] = ()
    ) -> None:
        self.values[key] = value
        self.options[key] = (ttl, tuple(tags))

    async def delete(self, key: str) -> bool:
        return self.values.pop(key, MISSING) is not MISSING


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def search(shelf: Shelf, calls: list[Any]) -> CachedFunction[..., list[str]]:
    @cached(cache=shelf)
    async def search(query: str, top_k: int = 10, *, trace_id: str = "") -> list[str]:
        """Find."""
        calls.append((query, top_k, trace_id))
        return [query] * top_k

    return search


async def test_equal_calls_compute_once(search: CachedFunction[..., list[str]], calls: list[Any]) -> None:
    """KY-02, BUG-69: by position, by name, with the default said or not: one entry, one value."""
    first = await search("q", 2)
    assert await search(query="q", top_k=2) == await search("q", trace_id="", top_k=2) == first == ["q", "q"]
    assert calls == [("q", 2, "")]


async def test_other_arguments_compute_again(search: CachedFunction[..., list[str]], calls: list[Any]) -> None:
    """BUG-68: another value of any parameter is another entry."""
    for args, kwargs in ((("q", 1), {}), (("q", 2), {}), (("p", 1), {}), (("q", 1), {"trace_id": "t"})):
        await search(*args, **kwargs)
    assert len(calls) == 4
    assert search.cache_key("q", 1) != search.cache_key("q", True)


async def test_concurrent_calls_compute_once(shelf: Shelf) -> None:
    """KY-02: callers of one moment share one run of the function."""
    ready, runs = asyncio.Event(), []

    @cached(cache=shelf)
    async def slow(number: int) -> int:
        runs.append(number)
        await ready.wait()
        return number

    waiting = [asyncio.ensure_future(slow(number % 2)) for number in range(10)]
    await asyncio.sleep(0)
    ready.set()
    assert await asyncio.gather(*waiting) == [0, 1] * 5
    assert sorted(runs) == [0, 1]
    assert slow.cache_info() == CacheInfo(hits=8, misses=2)


async def test_what_raises_is_not_kept(shelf: Shelf) -> None:
    """BUG-71: the function's own exception reaches the caller, and the next call tries again."""
    outcomes: list[Any] = [ValueError("no"), None, 0]

    @cached(cache=shelf)
    async def flaky() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(ValueError, match="no"):
        await flaky()
    assert await flaky() is None
    assert await flaky() is None
    assert flaky.cache_info() == CacheInfo(hits=1, misses=2)


async def test_key_params(shelf: Shelf, calls: list[Any]) -> None:
    """BUG-71: what key_params leaves out may be anything, and does not count."""

    @cached(key_params=["query"], cache=shelf)
    async def find(query: str, session: object) -> str:
        calls.append(session)
        return query

    assert await find("q", object()) == await find("q", object()) == "q"
    assert len(calls) == 1


def test_wrong_key_params_are_refused_at_once(shelf: Shelf) -> None:
    """BUG-71: a misspelt parameter is found when the module is loaded."""
    with pytest.raises(SettingsError, match="its parameters are: query"):

        @cached(key_params=["qeury"], cache=shelf)
        async def find(query: str) -> str:
            return query


async def test_unsupported_arguments_are_refused(search: CachedFunction[..., Any], calls: list[Any]) -> None:
    """KY-03, BUG-71: an argument that has no canonical form is an error, not a call without a cache."""
    for use in (search, search.refresh, search.invalidate):
        with pytest.raises(UnsupportedKeyError, match="argument 'query'"):
            await use(object())
    assert calls == []


async def test_key_prefix(shelf: Shelf) -> None:
    """KY-12: an explicit name keeps the entries of a renamed function; without one, a new name is a new key."""

    @cached(key_prefix="kb.search", cache=shelf)
    async def old(query: str) -> str:
        return "old " + query

    @cached(key_prefix="kb.search", cache=shelf)
    async def new(query: str) -> str:
        return "new " + query

    @cached(cache=shelf)
    async def plain(query: str) -> str:
        return "plain " + query

    assert await old("q") == await new("q") == "old q"
    assert await plain("q") == "plain q"
    assert new.cache_key("q").startswith("kb.search:")
    assert plain.cache_key("q").startswith(f"{__name__}.test_key_prefix.<locals>.plain:")


async def test_normalize(shelf: Shelf, calls: list[Any]) -> None:
    """KY-02: texts that normalise alike share an entry; the function gets what was passed."""

    @cached(normalize=lambda text: text.casefold().strip(), cache=shelf)
    async def find(query: str) -> str:
        calls.append(query)
        return query

    assert await find(" Red") == await find("red ") == " Red"
    assert calls == [" Red"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [({}, MISSING), ({"ttl": None}, None), ({"ttl": "1h"}, 3600.0), ({"ttl": timedelta(1)}, 86_400.0)],
)
async def test_ttl_and_tags_reach_the_cache(shelf: Shelf, given: dict[str, Any], stored: Any) -> None:
    """BUG-69: lifetime and labels are stored with each result, the computed and the refreshed."""

    @cached(**given, tags=["kb", "kb:faq"], cache=shelf)
    async def find(query: str) -> str:
        return query

    await find("q")
    assert shelf.options.pop(find.cache_key("q")) == (stored, ("kb", "kb:faq"))
    await find.refresh("q")
    assert shelf.options.pop(find.cache_key("q")) == (stored, ("kb", "kb:faq"))


@pytest.mark.parametrize("ttl", [0, -1, "soon", float("nan"), True])
def test_a_wrong_ttl_is_refused_at_once(shelf: Shelf, ttl: Any) -> None:
    """BUG-71: a lifetime that is none is found when the module is loaded."""
    with pytest.raises(ValueError, match="ttl"):
        cached(ttl, cache=shelf)


@pytest.mark.parametrize(
    ("tags", "told"), [("kb", "list of texts"), (["@d:search"], "cache's own"), (["x" * 129], "129")]
)
def test_wrong_tags_are_refused_at_once(shelf: Shelf, tags: Any, told: str) -> None:
    """BUG-85: labels that cannot be stored are found when the module is loaded, not when the first result is kept."""
    with pytest.raises(ValueError, match=told):
        cached(tags=tags, cache=shelf)


def test_wrong_uses_are_refused_at_once(shelf: Shelf) -> None:
    """BUG-71: options left out, sync functions, generators, the wrong order: each says what to write."""

    async def stream() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="with parentheses"):
        cached(stream)  # type: ignore[arg-type]  # what a caller may do
    decorate: Callable[[Any], Any] = cached(cache=shelf)
    for wrong, name in ((len, "len"), (lambda: 1, "<lambda>"), (stream, "stream"), (Shelf, "Shelf"), (7, "int")):
        with pytest.raises(TypeError, match=f"{name} is none"):
            decorate(wrong)
    for order in (classmethod, staticmethod):
        with pytest.raises(TypeError, match=f"beneath @{order.__name__}"):
            decorate(order(decorate))


async def test_the_verbs(search: CachedFunction[..., list[str]], shelf: Shelf, calls: list[Any]) -> None:
    """BUG-69: key, refresh, invalidate and bypass take the function's arguments in any form."""
    assert search.cache_key("q") == search.cache_key(query="q", top_k=10)
    assert await search.bypass("q", 1) == ["q"]
    assert shelf.values == {}
    assert await search.refresh("q", 1) == ["q"]
    assert await search.refresh(query="q", top_k=1) == ["q"]
    assert list(shelf.values) == [search.cache_key("q", 1)]
    assert len(calls) == 3
    assert await search("q", 1) == ["q"]
    assert len(calls) == 3
    assert await search.invalidate(top_k=1, query="q")
    assert not await search.invalidate("q", 1)
    await search("q", 1)
    assert len(calls) == 4


async def test_a_failing_refresh_leaves_the_old_result(shelf: Shelf) -> None:
    """BUG-69: refresh replaces a result by a better one or not at all."""
    answers: list[Any] = ["old"]

    @cached(cache=shelf)
    async def find() -> str:
        return str(answers.pop())

    await find()
    with pytest.raises(IndexError):
        await find.refresh()
    assert await find() == "old"


async def test_cache_info_counts_answers(search: CachedFunction[..., list[str]]) -> None:
    """BUG-69: misses are the function's runs to answer a call; refresh, bypass and invalidate count as nothing."""
    assert search.cache_info() == (0, 0)
    for query in "aab":
        await search(query)
    await search.refresh("c")
    await search.bypass("a")
    await search.invalidate("b")
    assert search.cache_info() == CacheInfo(hits=1, misses=2)


def test_a_decorated_function_looks_as_before(search: CachedFunction[..., list[str]]) -> None:
    """BUG-70: name, docstring and signature are kept, and frameworks see an async function."""
    function: Any = search
    assert (function.__name__, function.__doc__, function.__module__) == ("search", "Find.", __name__)
    assert list(inspect.signature(function).parameters) == ["query", "top_k", "trace_id"]
    assert inspect.iscoroutinefunction(function)
    assert inspect.isfunction(function)


async def test_arguments_named_as_ours(shelf: Shelf) -> None:
    """BUG-68: parameters may be called self, key, args, ttl or compute."""

    @cached(cache=shelf)
    async def odd(self: int, key: int, args: int, ttl: int, compute: int, cls: int = 0) -> int:
        return self + key + args + ttl + compute + cls

    assert await odd(self=1, key=2, args=3, ttl=4, compute=5) == await odd(1, 2, 3, 4, 5, 0) == 15
    assert odd.cache_info() == (1, 1)


async def test_a_partial_function(shelf: Shelf) -> None:
    """KY-12: a partial has no name of its own, and works with one."""

    async def find(query: str, top_k: int) -> str:
        return query * top_k

    three = functools.partial(find, top_k=3)
    with pytest.raises(SettingsError, match="key_prefix"):
        cached(cache=shelf)(three)
    assert await cached(key_prefix="three", cache=shelf)(three)("q") == "qqq"


SHELF = Shelf()


class Client:
    def __init__(self, base: str, calls: list[Any]) -> None:
        self.base = base
        self.calls = calls

    @cached(ttl="1h", cache=SHELF)
    async def fetch(self, path: str, *, retries: int = 0) -> str:
        """Fetch."""
        self.calls.append(path)
        return f"{self.base}/{path}"

    @classmethod
    @cached(cache=SHELF)
    async def make(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @staticmethod
    @cached(cache=SHELF)
    async def tidy(path: str) -> str:
        return path.strip("/")


class Special(Client):
    pass


class Other:
    @cached(cache=SHELF)
    async def fetch(self, path: str, *, retries: int = 0) -> str:
        return "other"


@pytest.fixture
def client(calls: list[Any]) -> Client:
    SHELF.values.clear()
    return Client("a", calls)


async def test_methods(client: Client, calls: list[Any]) -> None:
    """BUG-71: instances of one class share results; their state and address are in no key."""
    assert await client.fetch("x") == await Client("b", calls).fetch(path="x", retries=0) == "a/x"
    assert await Client.fetch(client, "x") == "a/x"
    assert calls == ["x"]
    assert client.fetch.cache_key("x") == Client("b", calls).fetch.cache_key("x") == Client.fetch.cache_key(client, "x")


async def test_methods_of_two_classes(client: Client, calls: list[Any]) -> None:
    """BUG-70: methods of one name do not collide, nor does an inherited one with its parent's."""
    assert await client.fetch("x") == "a/x"
    assert await Other().fetch("x") == "other"
    assert await Special("s", calls).fetch("x") == "s/x"


async def test_verbs_of_methods(client: Client, calls: list[Any]) -> None:
    """BUG-71: the verbs of a bound method know their instance."""
    before = client.fetch.cache_info()
    assert await client.fetch.bypass("x") == "a/x"
    assert await Client("b", calls).fetch.refresh("x") == "b/x"
    assert await client.fetch("x") == "b/x"
    assert await client.fetch.invalidate("x")
    assert await client.fetch("x") == "a/x"
    assert client.fetch.cache_info() == (before.hits + 1, before.misses + 1) == Client.fetch.cache_info()
    assert client.fetch.__doc__ == "Fetch."
    assert list(inspect.signature(client.fetch).parameters) == ["path", "retries"]
    assert repr(client.fetch) == f"<cached {__name__}.Client.fetch>"


async def test_class_and_static_methods(client: Client) -> None:
    """BUG-70: beneath @classmethod and @staticmethod; a subclass has its own entries of a classmethod."""
    untyped, special, instance = (cast("Any", each) for each in (Client, Special, client))
    assert await untyped.make("n") == await instance.make("n") == "Client n"
    assert await special.make("n") == "Special n"
    assert await untyped.tidy("/x/") == await instance.tidy("/x/") == "x"
    assert untyped.tidy.cache_info().misses == 1


async def test_the_default_cache_is_found_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-69: without a cache, the process's own is asked for when it is needed, each time anew."""
    shelves: list[Shelf] = []

    def get_cache() -> Shelf:
        return shelves[-1]

    module = types.ModuleType("toolcache.tool_cache")
    module.get_cache = get_cache  # type: ignore[attr-defined]  # a module made by hand
    monkeypatch.setitem(sys.modules, "toolcache.tool_cache", module)

    @cached()
    async def answer() -> int:
        return len(shelves)

    shelves.append(Shelf())
    assert [await answer(), await answer()] == [1, 1]
    shelves.append(Shelf())
    assert [await answer(), await answer()] == [2, 2]
    assert all(list(shelf.values) == [answer.cache_key()] for shelf in shelves)


async def test_checkers_see_the_function(client: Client, shelf: Shelf) -> None:
    """BUG-69: parameters and result keep their types, for the function, its verbs and methods."""

    @cached(cache=shelf)
    async def count(text: str, *, times: int = 1) -> int:
        return len(text) * times

    unchanged: Callable[[str], Coroutine[Any, Any, int]] = count
    assert_type(await unchanged("ab"), int)
    assert_type(await count("ab", times=2), int)
    assert_type(await count.refresh("ab"), int)
    assert_type(await count.invalidate("ab", times=2), bool)
    assert_type(count.cache_key("ab"), str)
    assert_type(await client.fetch("x", retries=1), str)
    assert_type(await client.fetch.refresh("x"), str)
    with pytest.raises(TypeError):
        await count("a", 2)  # type: ignore[call-arg]  # times is keyword-only
    with pytest.raises(TypeError):
        await count("a", tims=1)  # type: ignore[call-arg]  # misspelt
    with pytest.raises(TypeError):
        await client.fetch()  # type: ignore[call-arg]  # the path is missing
    assert await client.fetch(7) == "a/7"  # type: ignore[arg-type]  # paths are text


@pytest.mark.parametrize("value", [None, 0, "", (1, (2.5,)), {"a": [1, {2}]}, b"x", [float("inf")]])
async def test_a_hit_returns_what_the_miss_did(tmp_path: Path, value: Any) -> None:
    """BUG-69: over a real cache, a hit is equal to the miss, type for type, and nobody's copy is another's."""
    async with ToolCache(directory=tmp_path) as cache:
        runs = []

        @cached(ttl="1h", cache=cache)
        async def find(query: str) -> Any:
            runs.append(query)
            return value

        answers = [await find("q") for _ in range(3)]
        assert answers == [value] * 3
        assert len({repr(answer) for answer in answers}) == 1
        assert len(runs) == 1
        assert await cache.get(find.cache_key("q"), MISSING) == value
        assert await find.invalidate("q")
        await find("q")
        assert len(runs) == 2
        assert find.cache_info() == CacheInfo(hits=2, misses=2)


async def test_calls_are_told_apart_by_type() -> None:
    """KY-02: equal arguments of different types have results of their own, also where calls like them are known."""
    async with ToolCache(files=False) as cache:

        @cached(cache=cache)
        async def told(value: object, *, again: object = None) -> str:
            return repr((value, again))

        values: list[Any] = [1, True, 1.0, "1", b"1", 0.0, -0.0, 0, False, None, (1,), (True,), [1], [True]]
        for _ in range(3):
            for value in values:
                assert await told(value) == repr((value, None))
                assert await told(1, again=value) == repr((1, value))
                assert await told(again=value, value=1) == repr((1, value))
        assert told.cache_info() == (len(values) * 9 - len(values) * 2 + 1, len(values) * 2 - 1)


async def test_normalizing_is_asked_each_time() -> None:
    """What a function of the caller's own makes of an argument is not remembered."""
    asked: list[str] = []

    def fold(text: str) -> str:
        asked.append(text)
        return text.casefold()

    async with ToolCache(files=False) as cache:

        @cached(cache=cache, normalize=fold)
        async def echo(text: str) -> str:
            return text

        assert [await echo("a"), await echo("A"), await echo("A")] == ["a", "a", "a"]
        assert asked == ["a", "A", "A"]


async def test_an_empty_cache_is_not_taken_for_none() -> None:
    """The cache that was given is the one that is used, even if it is false as a bool."""

    class Empty(Shelf):
        def __len__(self) -> int:
            return 0

    shelf = Empty()

    @cached(cache=shelf)
    async def answer(question: str) -> str:
        return question

    assert await answer("why") == "why"
    assert list(shelf.values.values()) == ["why"]
