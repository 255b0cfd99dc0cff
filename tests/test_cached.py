"""@cached beyond the plain case: options, other caches, plain functions."""

import asyncio
import functools
import inspect
import subprocess
import sys
import textwrap
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolcache import (
    MISSING,
    Domain,
    MissingScopeError,
    SettingsError,
    StoredCallError,
    ToolCache,
    UnsupportedKeyError,
    cached,
    scope,
)
from toolcache.decorator import CacheInfo
from toolcache.keys.canonical import canonical
from toolcache.normalize import casefold, rounded
from toolcache.testing import FakeClock


@pytest.fixture
async def cache(clock: FakeClock) -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, clock=clock) as cache:
        yield cache


class Shelf:
    """A cache that blocks, as far as the decorator knows one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.told: dict[str, dict[str, Any]] = {}

    def get_or_set(self, key: str, compute: Callable[[], Any], **options: Any) -> Any:
        if key not in self.values:
            self.set(key, compute(), **options)
        return self.values[key]

    def set(self, key: str, value: Any, **options: Any) -> None:
        self.values[key] = value
        self.told[key] = options

    def delete(self, key: str) -> bool:
        return self.values.pop(key, MISSING) is not MISSING


class Watched(ToolCache):
    """A cache with a way of its own to answer."""

    asked = 0
    told: dict[str, Any]

    async def get_or_set(self, key: str, compute: Any, **options: Any) -> Any:
        self.asked += 1
        self.told = options
        return await super().get_or_set(key, compute, **options)


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"timeout": 3}, TypeError, "no option 'timeout'; did you mean 'soft_timeout'"),
        ({"tag": ["a"]}, TypeError, "no option 'tag'; did you mean 'tags'"),
        ({"grace": "soon"}, ValueError, "grace"),
        ({"condition": True}, TypeError, "condition is a function of the result"),
        ({"cache_errors": (BaseException,)}, TypeError, "classes of errors"),
        ({"cache_errors": ("KeyError",)}, TypeError, "classes of errors"),
        ({"cache_errors": {KeyError: "KeyError"}}, TypeError, "KeyError nothing that makes one"),
        ({"error_ttl": 3}, SettingsError, "none are"),
        ({"cache_errors": (KeyError,), "error_ttl": 0}, ValueError, "error_ttl"),
        ({"domain": "serch"}, SettingsError, "did you mean 'search'"),
        ({"domain": 7}, SettingsError, "a int"),
        ({"cahce": None}, TypeError, "did you mean 'cache'"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any], error: type[Exception], told: str) -> None:
    """BUG-106, BUG-71: when the module is loaded, with the nearest name."""
    with pytest.raises(error, match=told):
        cached(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ignore": ["trce"]}, "ignore of .* names 'trce'"),
        ({"key_params": ["user.id"]}, "names 'user.id'"),
        ({"tags": ["user:{user}"]}, "names 'user'"),
        ({"normalize": {"qery": casefold}}, "names 'qery'"),
        ({"strict_scope": True}, "needs names of scopes"),
        ({"vary": "tenant"}, "list of names"),
    ],
)
def test_what_names_no_parameter_is_refused_at_once(cache: ToolCache, options: dict[str, Any], told: str) -> None:
    """BUG-71: when the function is decorated."""

    async def find(query: str, trace: str = "") -> None: ...

    with pytest.raises(SettingsError, match=told):
        cache.cached(**options)(find)


async def test_every_option_of_keys_counts(cache: ToolCache) -> None:
    """BUG-106: each makes equal what it is about, and nothing else; methods of the cache know it by the same key."""
    runs: list[Any] = []

    async def find(query: str, near: float = 0.0, trace: object = "") -> str:
        runs.append(query)
        return query

    async def run(call: Any, *queries: str) -> int:
        runs.clear()
        for query in queries:
            await call(query, 0.1 + 0.2, object())
            await call(query, 0.3, object())
        return len(runs)

    plain: dict[str, Any] = {"key_prefix": "plain", "normalize": rounded(2), "ignore": ["trace"]}
    assert await run(cache.cached(**plain)(find), "a", "A") == 2
    folded = cache.cached(key_prefix="folded", ignore=["trace"], normalize={"query": casefold, "near": rounded(2)})(
        find
    )
    assert await run(folded, "a", "A") == 1
    chosen = cache.cached(key_prefix="chosen", key_params=["query"])(find)
    assert await run(chosen, "a", "A") == 2
    assert await cache.get(chosen.cache_key("a")) == "a"
    assert (await cache.get_entry(chosen.cache_key("a"))) is not None


async def test_one_decorator_above_several_functions(cache: ToolCache) -> None:
    """BUG-68: what names things for one of them names them for the next; classes of errors come in any collection."""
    names: dict[str, Any] = {"key_params": iter(["query"]), "tags": iter(["kb"]), "vary": iter(["user"])}
    decorate = cache.cached(cache_errors={LookupError}, **names)

    def made() -> Any:
        @decorate
        async def find(query: str) -> str:
            return query

        return find

    first, second = made(), made()
    for function in (first, second):
        assert [await function("a"), await function("b")] == ["a", "b"]
        with scope(user="ada"):
            assert function.cache_key("a") != first.cache_key("b")
    with scope(user="ada"):
        scoped = second.cache_key("a")
    assert scoped != second.cache_key("a")
    assert cache.cached(cache_errors=LookupError, key_prefix="one")(first.__wrapped__) is not None


async def test_a_normaliser_of_ones_own_has_a_say_each_time(cache: ToolCache) -> None:
    """BUG-106: what it makes of a text may change; that of the package's own never does."""
    alias = {"oslo": "oslo", "kristiania": "kristiania"}
    runs: list[str] = []

    @cache.cached(normalize=lambda text: alias[text])
    async def find(place: str) -> str:
        runs.append(place)
        return place

    for _ in range(2):
        assert [await find("oslo"), await find("kristiania")] == ["oslo", "kristiania"]
    alias["kristiania"] = "oslo"
    assert await find("kristiania") == "oslo"
    assert len(runs) == 2


async def test_a_missing_scope_is_found_before_anything_is_done(cache: ToolCache) -> None:
    """BUG-111: nothing is computed, looked for or forgotten; only what is passed by needs none."""
    tenant: ContextVar[str] = ContextVar("tenant")

    @cache.cached(vary={"tenant": tenant.get}, strict_scope=True)
    async def ask(question: str) -> str:
        return question

    for verb in (ask, ask.refresh, ask.invalidate):
        with pytest.raises(MissingScopeError, match="tenant"):
            await verb("?")
    with pytest.raises(MissingScopeError):
        ask.cache_key("?")
    assert ask.cache_info() == (0, 0)
    assert await ask.bypass("?") == "?"
    tenant.set("acme")
    assert await ask("?") == "?"
    assert ask.cache_info() == (0, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 1)), max_size=12))
async def test_nobody_gets_what_is_anothers(calls: list[tuple[str, str, int]]) -> None:
    """BUG-111: over any calls of tenants and users, one after another and at once, each gets what was made for him."""
    async with ToolCache(files=False) as cache:

        @cache.cached(vary=["tenant", "user"])
        async def ask(number: int) -> tuple[str, str, int]:
            await asyncio.sleep(0)
            return (*who.get(), number)

        who: ContextVar[tuple[str, str]] = ContextVar("who")

        async def one(tenant: str, user: str, number: int) -> None:
            who.set((tenant, user))
            with scope(tenant=tenant, user=user):
                assert await ask(number) == (tenant, user, number)

        for call in calls:
            await asyncio.create_task(one(*call))
        await asyncio.gather(*(one(*call) for call in calls))


async def test_tenants_of_caches_share_no_result(clock: FakeClock, redis_server: Any) -> None:
    """BUG-111: two caches with one store and one namespace, each on behalf of somebody else."""
    runs: list[str] = []

    async def ask(question: str) -> str:
        runs.append(question)
        return str(len(runs))

    answers = []
    for tenant in ("ours", "theirs", None, "ours"):
        async with ToolCache(redis_url=redis_server.url, files=False, tenant=tenant, clock=clock) as cache:
            answers.append(await cache.cached()(ask)("?"))
    assert answers == ["1", "2", "3", "1"]


async def test_the_tenant_of_the_default_cache_of_the_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """BUG-111: calls known under one tenant's keys are not found under these for another, nor those of one scope for another."""
    at: list[Any] = [0, "ada"]
    caches = [ToolCache(directory=tmp_path, tenant=tenant) for tenant in ("ours", "theirs")]
    monkeypatch.setattr("toolcache.tool_cache.get_cache", lambda: caches[at[0]])

    @cached()
    async def ask(question: str) -> Any:
        return at[0]

    @cached(vary=["user"])
    async def tell(question: str) -> Any:
        return list(at)

    keys = set()
    for turn in (0, 1, 0, 1):
        for user in ("ada", "bob"):
            at[:] = [turn, user]
            with scope(user=user):
                assert await ask("?") == await ask("?") == turn
                assert await tell("?") == await tell("?") == [turn, user]
                keys |= {ask.cache_key("?"), tell.cache_key("?")}
    assert len(keys) == 6
    for cache in caches:
        await cache.aclose()


@pytest.mark.parametrize("prefix", ["p" * 180, "ü" * 20, "p" * 130])
async def test_long_names(cache: ToolCache, prefix: str) -> None:
    """BUG-73: verbs mean the result that calls find, in an agent's view too, however long the function's name is."""
    for who in (cache, cache.for_agent("faq")):
        runs: list[int] = []

        @who.cached(key_prefix=prefix)
        async def count(step: int) -> int:
            runs.append(step)  # noqa: B023 - of this turn
            return len(runs)  # noqa: B023 - likewise

        assert [await count(1), await count(1), await count.refresh(1), await count(1)] == [1, 1, 2, 2]
        assert await count.invalidate(1) is True
        assert [await count(1), await who.get(count.cache_key(1))] == [3, 3]


async def test_agents_share_no_result(cache: ToolCache) -> None:
    """BUG-111: what a function keeps in one agent's view is neither another's nor the whole cache's, and goes with the agent."""
    runs: list[str] = []

    def asker(view: ToolCache, name: str) -> Any:
        @view.cached(key_prefix="ask", cache_errors=(LookupError,))
        async def ask(question: str) -> str:
            runs.append(name)
            if question == "gone":
                raise LookupError(question)
            return name

        return ask

    askers = [asker(cache, "all"), asker(cache.for_agent("a"), "a"), asker(cache.for_agent("b"), "b")]
    for _ in range(2):
        assert [await ask("?") for ask in askers] == ["all", "a", "b"]
        for ask in askers:
            with pytest.raises((LookupError, StoredCallError)):
                await ask("gone")
    assert len(runs) == 6
    assert await askers[1].invalidate("?") is True
    assert [await ask("?") for ask in askers] == ["all", "a", "b"]
    assert runs[6:] == ["a"]
    await cache.invalidate(agent="b")
    assert [await ask("?") for ask in askers] == ["all", "a", "b"]
    with pytest.raises(LookupError):
        await askers[2]("gone")
    assert runs[7:] == ["b", "b"]


async def test_a_domains_row_is_that_of_the_cache() -> None:
    """BUG-101: what the settings say of a domain holds for results in it; a user's own is listed."""
    weather = Domain("weather", ttl="5m")
    async with ToolCache(files=False, ttls={"search": "7s"}) as cache:

        @cache.cached(domain="search")
        async def search(query: str) -> str:
            return query

        @cache.cached(domain=weather)
        async def forecast(place: str) -> str:
            return place

        assert "weather" in cache.domains
        await search("q")
        await forecast("Oslo")
        assert await cache.ttl(search.cache_key("q")) == pytest.approx(7, abs=1)
        assert await cache.ttl(forecast.cache_key("Oslo")) == pytest.approx(300, abs=1)


async def test_the_version_of_a_domain_is_in_the_key(clock: FakeClock, tmp_path: Any) -> None:
    """A3: what was kept under another version is not found."""
    runs: list[str] = []

    async def forecast(place: str) -> int:
        runs.append(place)
        return len(runs)

    answers = []
    for version in (None, "1", "2", "1"):
        async with ToolCache(directory=tmp_path, clock=clock) as cache:
            decorate = cache.cached(domain=Domain("weather", ttl="5m", version=version))
            answers.append(await decorate(forecast)("Oslo"))
    assert answers == [1, 2, 3, 2]


async def test_the_caches_own_lifetime_holds_for_results() -> None:
    """BUG-101: ``default_ttl`` where nothing is said, for computed, refreshed and unsteady ones; a ttl of the function wins."""
    async with ToolCache(files=False, default_ttl="7s") as cache:

        async def find(query: str) -> str:
            return query

        each: list[Any] = [{}, {"normalize": str.casefold}, {"vary": ["user"]}, {"domain": "general"}]
        for number, options in enumerate(each):
            call = cache.cached(key_prefix=f"f{number}", **options)(find)
            for ask in (call, call.refresh):
                await ask("q")
                assert await cache.ttl(call.cache_key("q")) == pytest.approx(7, abs=1)
        longer = cache.cached(60, key_prefix="longer")(find)
        await longer("q")
        assert await cache.ttl(longer.cache_key("q")) == pytest.approx(60, abs=1)
        forever = cache.cached(None, key_prefix="forever")(find)
        await forever("q")
        assert await cache.ttl(forever.cache_key("q")) == float("inf")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0])
    | st.sampled_from(["", "a", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, st.sampled_from([None, "x", 1])), max_size=10))
async def test_different_calls_differ_and_equal_ones_agree(calls: list[tuple[Any, Any, Any]]) -> None:
    """BUG-68, BUG-69: over any calls, by position and by name, in any scope: each answer is that of its own arguments."""
    async with ToolCache(files=False) as cache:
        runs: list[str] = []

        @cache.cached(vary=["user"])
        async def told(first: Any, second: Any = None) -> bytes:
            runs.append("")
            return canonical((first, second))

        for first, second, user in calls + calls:
            with scope(**({} if user is None else {"user": user})):
                assert await told(first, second) == canonical((first, second))
                assert await told(second=second, first=first) == canonical((first, second))
        assert len(runs) == len({canonical(call) for call in calls})


async def test_what_is_said_of_the_call_holds_for_results(cache: ToolCache) -> None:
    """B13: what is passed by computes and keeps nothing, also where calls are known; what is filled anew is kept."""
    runs: list[int] = []

    @cache.cached()
    async def count() -> int:
        runs.append(0)
        return len(runs)

    assert [await count(), await count()] == [1, 1]
    with cache.bypass():
        assert [await count(), await count()] == [2, 3]
    assert await count() == 1
    with cache.refreshing():
        assert await count() == 4
    assert await count() == 4


async def test_a_kept_error_never_stands_in(clock: FakeClock) -> None:
    """BUG-108: where old values stand in for failures, an old failure does not stand in for another one."""
    errors: list[Exception] = [KeyError("gone"), ValueError("broken"), ValueError("broken")]
    async with ToolCache(files=False, clock=clock, grace="1h") as cache:

        @cache.cached(cache_errors=(KeyError,), error_ttl="10s")
        async def find() -> None:
            raise errors.pop(0)

        with pytest.raises(KeyError):
            await find()
        clock.advance(20)
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                await find()


async def test_an_error_is_kept_after_a_result_too(cache: ToolCache, clock: FakeClock) -> None:
    """BUG-108: a success leaves nothing behind where failures are kept; and of a long text, its beginning is."""
    outcomes: list[Any] = ["found", LookupError("x" * 10_000)]

    @cache.cached(ttl="10s", cache_errors=(LookupError,))
    async def find() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    assert await find() == "found"
    clock.advance(20)
    with pytest.raises(LookupError):
        await find()
    with pytest.raises(StoredCallError) as caught:
        await find()
    assert caught.value.message == "x" * 4_096


async def test_a_success_on_demand_ends_a_failure(cache: ToolCache) -> None:
    """BUG-108: once a call has been made anew and has not failed, its failure of before is not told any more."""
    outcomes: list[Any] = []

    @cache.cached(cache_errors=(LookupError,), error_ttl="1h", condition=lambda _: False)
    async def find() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    async def refreshing() -> str:
        with cache.refreshing():
            return await find()

    for anew in (find.refresh, refreshing):
        outcomes[:] = [LookupError("gone"), "found", "found again"]
        for error in (LookupError, StoredCallError):
            with pytest.raises(error):
                await find()
        assert [await anew(), await find()] == ["found", "found again"]


async def test_what_an_agent_does_without_is_not_kept_as_a_failure_either(cache: ToolCache) -> None:
    """BUG-106: a function of a domain that an agent does without is called each time, though it has failed of late."""
    runs: list[str] = []

    @cache.for_agent("faq", tool_cache=False).cached(domain="tool", cache_errors=(LookupError,))
    async def find(name: str) -> str:
        runs.append(name)
        raise LookupError(name)

    for _ in range(2):
        with pytest.raises(LookupError):
            await find("x")
    assert runs == ["x", "x"]


class Store:
    def __init__(self, cache: ToolCache, base: str) -> None:
        self.base = base

    @cached(key_params=["self.base", "path"], key_prefix="Store.read", tags=["base:{self.base}", "path:{path}"])
    async def read(self, path: str) -> str:
        return f"{self.base}{path}"


async def test_a_part_of_the_instance_may_tell_it_from_others(
    cache: ToolCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BUG-71: as ``self`` may, but the rest of it need have no canonical form."""
    monkeypatch.setattr("toolcache.tool_cache._default", cache)
    one, other = Store(cache, "a"), Store(cache, "b")
    assert [await one.read("/"), await other.read("/"), await Store(cache, "a").read("/")] == ["a/", "b/", "a/"]
    assert one.read.cache_info() == (1, 2)
    assert one.read.cache_key("/") != other.read.cache_key("/")
    await cache.invalidate(tags=["base:a"])
    assert [await one.read("/"), await other.read("/")] == ["a/", "b/"]
    assert one.read.cache_info() == (2, 3)
    entry = await cache.get_entry(one.read.cache_key("/"))
    assert entry is not None
    assert entry.tags == ("base:a", "path:/")


# -- other caches ---------------------------------------------------------------------------------------------------


async def test_a_subclass_with_a_way_of_its_own_is_asked_each_time() -> None:
    """A3: only the very class's own way is short-cut; and all verbs work, with a tag for a label."""
    async with Watched(files=False) as cache:
        runs: list[str] = []

        @cache.cached(
            tags=["kb"], condition=len, ttl=lambda _: "1m", cache_errors=(LookupError,), grace="1h", lock=False
        )
        async def find(query: str) -> str:
            runs.append(query)
            return query

        assert [await find("a"), await find("a"), await find.refresh("a")] == ["a", "a", "a"]
        assert runs == ["a", "a"]
        assert cache.asked == 4  # once more for what may have failed
        assert (cache.told["refresh"], cache.told["lock"], cache.told["grace"]) == (True, False, "1h")
        assert await cache.ttl(find.cache_key("a")) == pytest.approx(60, abs=1)
        await find.cache_clear()
        await find("a")
        await find("")
        await find("")
        assert runs == ["a", "a", "a", "", ""]
        assert await find.invalidate("a")
        entry = await cache.get_entry(find.cache_key("a"))
        assert entry is None
        with pytest.raises(SettingsError, match="Watched has a get_or_set of its own"):
            cache.cached(domain="search")(find.__wrapped__)


async def test_what_only_ours_can_be_told_is_refused_elsewhere() -> None:
    """BUG-106: an option that a cache of somebody else would not be told is no option there."""

    class Other:
        async def get_or_set(self, key: str, compute: Any, **options: Any) -> Any:
            return await compute()

        async def set(self, key: str, value: Any, **options: Any) -> None: ...

        async def delete(self, key: str) -> bool:
            return False

    async def find(query: str) -> str:
        return query

    for options in (
        {"condition": len},
        {"domain": "search"},
        {"grace": 3},
        {"lock": False},
        {"cache_errors": [KeyError]},
    ):
        many: dict[str, Any] = options
        with pytest.raises(SettingsError, match="Other is told"):
            cached(cache=Other(), **many)(find)
    with pytest.raises(TypeError, match="Other cannot tell"):
        await cached(cache=Other())(find).cache_clear()
    assert await cached(cache=Other(), key_params=["query"])(find).refresh("q") == "q"


# -- plain functions ------------------------------------------------------------------------------------------------


def test_a_plain_function_over_a_cache_that_blocks() -> None:
    """C5: the same verbs, without await; key, tags and ttl as of async ones."""
    shelf, runs = Shelf(), list[str]()

    @cached(ttl="1h", tags=["kb:{query}"], cache=shelf, normalize=str.casefold)
    def find(query: str, top_k: int = 10) -> str:
        """Find."""
        runs.append(query)
        return query * top_k

    assert find("a", 2) == find(query="A", top_k=2) == "aa"
    assert shelf.told[find.cache_key("a", 2)] == {"ttl": 3600.0, "tags": ("kb:a",)}
    assert find.refresh("a", 2) == "aa"
    assert find.bypass("a", 3) == "aaa"
    assert runs == ["a", "a", "a"]
    assert find.invalidate("a", 2) is True
    assert find.invalidate("a", 2) is False
    assert find.cache_info() == CacheInfo(hits=1, misses=1)
    function: Any = find
    assert (function.__name__, function.__doc__) == ("find", "Find.")
    assert inspect.isfunction(function)
    assert not inspect.iscoroutinefunction(function)
    assert find.__wrapped__("b", 1) == "b"
    with pytest.raises(TypeError, match="Shelf cannot tell"):
        find.cache_clear()
    with pytest.raises(SettingsError, match="Shelf is told"):
        cached(cache=shelf, condition=bool)(find.__wrapped__)
    with pytest.raises(UnsupportedKeyError, match="argument 'query'"):
        find(object())  # type: ignore[arg-type]  # what a caller may do


SHELF = Shelf()


class Client:
    @cached(cache=SHELF)
    def fetch(self, path: str) -> str:
        return path

    @classmethod
    @cached(cache=SHELF)
    def make(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @staticmethod
    @cached(cache=SHELF)
    def tidy(path: str) -> str:
        return path.strip("/")


def test_plain_methods() -> None:
    """BUG-70, BUG-71: instances share results, classes do not."""
    special: Any = type("Special", (Client,), {})
    untyped: Any = Client
    assert Client().fetch("x") == Client.fetch(Client(), "x") == "x"
    assert Client().fetch.cache_info() == (1, 1)
    assert Client().fetch.invalidate("x") is True
    assert [untyped.make("n"), special.make("n"), untyped.tidy("/x/")] == ["Client n", "Special n", "x"]


def test_verbs_of_a_class_method_that_is_not_bound() -> None:
    """BUG-70: where Python binds calls of a class method alone, its verbs take the class, and nothing else in its place."""
    function: Any = vars(Client)["make"].__func__
    bounds: list[Any] = [types.MethodType(function, Client), function]
    for bound in bounds:
        for verb in (bound.cache_key, bound.refresh, bound.invalidate, bound.bypass):
            with pytest.raises(TypeError, match=r"class method.*invalidate\(Client"):
                verb("n")
    assert types.MethodType(function, Client)("n") == function.bypass(Client, "n") == "Client n"
    assert function.invalidate(Client, "n") is True


def test_what_cannot_be_kept_is_refused_with_what_to_do() -> None:
    """BUG-71: plain functions without a cache for them, generators of both kinds, classes, and the wrong kind of cache."""

    def plain() -> int:
        return 7

    def many() -> Iterator[int]:
        yield 1

    async def stream() -> AsyncIterator[int]:
        yield 1

    decorators: list[Any] = [cached(), cached(cache=Shelf())]
    over_async, over_blocking = decorators
    for wrong, told in ((plain, "BlockingToolCache"), (many, "collects"), (stream, "collects"), (int, "int is none")):
        with pytest.raises(TypeError, match=told):
            over_async(wrong)
    others: tuple[Any, ...] = ((many, "many yields"), (stream, "stream yields"), (int, "int is no"), (7, "int is no"))
    for other, told in others:
        with pytest.raises(TypeError, match=told):
            over_blocking(other)
    for decorate in decorators:
        with pytest.raises(TypeError, match="beneath @staticmethod"):
            decorate(staticmethod(plain))
    partial = functools.partial(plain)
    assert cached(key_prefix="seven", cache=Shelf())(partial)() == 7


# -- across processes -----------------------------------------------------------------------------------------------


def test_keys_are_the_same_in_every_process() -> None:
    """BUG-69: whatever the seed of hashes: sets, dicts, parts, scopes, tools, tags and names."""
    program = textwrap.dedent("""
        import asyncio
        from toolcache import ToolCache, make_key, make_tag, scope
        from toolcache.domain_keys import DomainKeys
        from toolcache.normalize import chain, each, casefold, unordered

        cache = ToolCache(files=False)

        @cache.cached(key_params=["query", "filters.langs"], normalize={"filters.langs": unordered}, vary=["tenant"])
        async def find(query, filters): ...

        keys = DomainKeys("shop", "acme")
        with scope(tenant="acme"):
            print(find.cache_key({"b", "a", "c"}, {"langs": [*{"x", "y", "z"}]}))
        print(make_key({"q": {"b", "a"}}, top_k=10), make_tag("user", "x" * 100))
        print(keys.response("faq", {"b": 1, "a": {"x", "y"}}, model="m", temperature=0, tools={"p", "q", "r"}))
        print(keys.completion("m", [{"role": "user", "content": "x"}], {"stop": frozenset({"a", "b"})}))
    """)
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(printed) == 1
    assert len(printed.pop().split()) == 5
