"""Calls of a blocking cache: where computations run, what comes back, and what is refused."""

import asyncio
import inspect
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from toolcache import (
    MISSING,
    AgentTask,
    BlockingToolCache,
    CacheClosedError,
    Context,
    Domain,
    RunContext,
    Settings,
    SettingsError,
    ToolCache,
    ToolPolicy,
    UnsupportedEventLoopError,
    UnsupportedKeyError,
    WarmPlan,
    cached,
)
from toolcache.blocking.declared_methods import BlockingDeclared
from toolcache.blocking.rooms import BlockingMemories, BlockingSessions, BlockingTools
from toolcache.declared import Declared
from toolcache.errors import ComputeTimeoutError, RunTimeoutError
from toolcache.memories import Memories
from toolcache.reactions import Emitted
from toolcache.sessions import Sessions
from toolcache.testing import FakeClock
from toolcache.tools import Tools

WHO: ContextVar[str] = ContextVar("who")


class MistakeError(Exception):
    """What a computation raises."""


def test_a_computation_runs_where_it_is_wanted(cache: BlockingToolCache) -> None:
    """B13: a plain function computes in the thread that asks, with what is bound to it; a coroutine function on the loop."""
    database = sqlite3.connect(":memory:")  # refuses other threads
    assert cache.get_or_set("row", lambda: database.execute("SELECT 42").fetchone()[0]) == 42
    database.close()

    async def elsewhere() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert cache.get_or_set("async", elsewhere) == "toolcache-blocking"
    plain = partial(lambda made: made(), elsewhere)
    assert cache.get_or_set("returns a coroutine", plain) == "toolcache-blocking"


def test_a_computation_may_take_a_context(cache: BlockingToolCache) -> None:
    """B13: it can be told, and say, what it can elsewhere."""

    def compute(context: Context) -> str:
        context.ttl = 5
        context.tags = ("news",)
        return "value"

    def skip(context: Context) -> str:
        context.skip()
        return "skipped"

    assert cache.get_or_set("key", compute, ttl="1h") == "value"
    entry = cache.get_entry("key")
    assert entry is not None
    assert (entry.tags, round(entry.ttl)) == (("news",), 5)
    assert cache.get_or_set("other", skip) == "skipped"
    assert cache.get("other", MISSING) is MISSING


def test_the_variables_of_the_caller_are_seen_and_not_changed(cache: BlockingToolCache) -> None:
    """BUG-17: a computation sees the context of who asks, in whatever thread it runs, and what it sets stays its own."""

    def compute() -> str:
        seen = WHO.get()
        WHO.set("the computation")
        return seen

    async def compute_there() -> str:
        return compute()

    def ask() -> list[str]:
        WHO.set("the caller")
        seen = [
            cache.get_or_set("here", compute),
            cache.get_or_set("there", compute_there),
            cache.get_or_set("aside", compute, hard_timeout=30),
        ]
        return [*seen, WHO.get()]

    assert copy_context().run(ask) == ["the caller"] * 4
    assert WHO.get("nobody") == "nobody"


@pytest.mark.parametrize("error", [MistakeError("spilt"), KeyError("k"), StopAsyncIteration(), asyncio.QueueEmpty()])
def test_errors_come_back_as_they_were(cache: BlockingToolCache, error: Exception) -> None:
    """B13: the caller gets the very exception, whose traceback leads to where it was raised."""

    def failing() -> None:
        raise error

    async def failing_there() -> None:
        raise error

    for compute in (failing, failing_there):
        with pytest.raises(type(error)) as caught:
            cache.get_or_set("key", compute)
        assert caught.value is error
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert compute.__name__ in names
        assert names[0] == "test_errors_come_back_as_they_were"
    with pytest.raises(UnsupportedKeyError):
        cache.get(7)  # type: ignore[arg-type]  # the mistake
    assert cache.get_or_set("key", lambda: "fine") == "fine"


def test_stop_iteration_is_no_way_out(cache: BlockingToolCache) -> None:
    """B13: a computation that runs off the end of an iterator fails, as a generator would."""
    nothing: Iterator[int] = iter(())
    with pytest.raises(RuntimeError, match="StopIteration"):
        cache.get_or_set("key", lambda: next(nothing))


@pytest.mark.parametrize("abrupt", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_ends_no_cache(cache: BlockingToolCache, abrupt: type[BaseException]) -> None:
    """B13: KeyboardInterrupt and SystemExit in a computation reach who asked, and the cache serves on."""

    def quits() -> None:
        raise abrupt

    async def quits_there() -> None:
        raise abrupt

    for compute in (quits, quits_there):
        with pytest.raises(abrupt):
            cache.get_or_set("key", compute)
        assert cache.get_or_set("next", lambda: 1) == 1
    assert cache.get_or_set("key", lambda: "fine") == "fine"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_was_ended_is_followed_by_another(cache: BlockingToolCache) -> None:
    """B13: where something ends the loop, by SystemExit, the next call has a new one."""
    cache.set("key", 1)

    async def end() -> None:
        asyncio.get_running_loop().call_soon(sys.exit)
        await asyncio.sleep(20)

    with pytest.raises(CacheClosedError):
        cache.get_or_set("other", end)
    assert cache.get("key") == 1
    until = time.monotonic() + 20
    while cache._portal._thread is not None and cache._portal._thread.is_alive() and time.monotonic() < until:
        time.sleep(0.001)
    cache.set("key", 2)
    assert cache.get("key") == 2


def test_it_refuses_to_stop_an_event_loop(cache: BlockingToolCache) -> None:
    """B13: in the thread of an event loop it says what to do instead, for a hit no less than for a miss."""
    cache.set("key", 1)

    async def on_a_loop() -> None:
        for call in (lambda: cache.get("key"), lambda: cache.get("absent"), lambda: cache.set("key", 2), cache.close):
            with pytest.raises(UnsupportedEventLoopError, match=r"await a ToolCache here.*asyncio\.to_thread"):
                call()
        assert await asyncio.to_thread(cache.get, "key") == 1

    asyncio.run(on_a_loop())


def test_a_limit_holds_for_functions_that_wait_for_something(cache: BlockingToolCache) -> None:
    """B13: with ``hard_timeout`` or ``timeout`` the caller is let go in time, whatever the function still does."""
    go_on = threading.Event()
    try:
        with pytest.raises(ComputeTimeoutError):
            cache.get_or_set("key", lambda: go_on.wait(20), hard_timeout=0.01)
        with pytest.raises(RunTimeoutError):
            cache.once("request", lambda: go_on.wait(20), timeout=0.01)
    finally:
        go_on.set()


def test_old_values_stand_in_here_too() -> None:
    """B13: with ``soft_timeout`` an old value comes at once while a plain function computes the new one aside."""
    clock = FakeClock()
    go_on = threading.Event()
    with BlockingToolCache(files=False, clock=clock) as cache:
        assert cache.get_or_set("key", lambda: "old", ttl=10, grace=100) == "old"
        clock.advance(11)

        def slow() -> str:
            go_on.wait(20)
            return "new"

        assert cache.get_or_set("key", slow, ttl=10, grace=100, soft_timeout=0.01) == "old"
        go_on.set()
        assert cache.get_or_set("key", lambda: "never asked for", ttl=10, grace=100) == "new"


def test_what_ripens_is_computed_in_the_background() -> None:
    """B13: with ``refresh_ahead`` the caller has the value at once; the next one is computed in another thread."""
    clock, computed = FakeClock(), threading.Event()
    with BlockingToolCache(files=False, clock=clock) as cache:
        assert cache.get_or_set("key", lambda: "first", ttl=100, refresh_ahead=0.5) == "first"
        clock.advance(99)
        names: list[str] = []

        def second() -> str:
            names.append(threading.current_thread().name)
            computed.set()
            return "second"

        assert cache.get_or_set("key", second, ttl=100, refresh_ahead=0.5) == "first"
        assert computed.wait(20)
        assert names == ["toolcache-compute"]


def test_requests_run_once(cache: BlockingToolCache) -> None:
    """B13: ``once`` runs a plain function in the thread that asks, one time for all."""
    ran: list[int] = []

    def pay(context: RunContext) -> str:
        ran.append(threading.get_ident())
        assert context.attempt == 1
        return "receipt"

    assert [cache.once("payment:1", pay) for _ in range(3)] == ["receipt"] * 3
    assert ran == [threading.get_ident()]
    assert cache.status("payment:1").state == "completed"
    assert cache.forget("payment:1")


def test_domains_have_their_methods(cache: BlockingToolCache) -> None:
    """B13: the typed methods of the domains are there, and their computations get what they get elsewhere."""
    assert cache.get_catalog("source") is None
    assert cache.get_catalog("source", compute=lambda: ["tool"]) == ["tool"]
    assert cache.get_catalog("source", version="v3") is None
    assert cache.get_embedding("a", "m", compute=lambda: [0.5, 0.25]) == [0.5, 0.25]
    asked: list[list[Any]] = []

    def embed(texts: list[str]) -> list[list[float]]:
        asked.append(texts)
        return [[float(len(text)), 0.0] for text in texts]

    assert cache.get_embeddings(["a", "bb", "ccc"], "m") == [[0.5, 0.25], None, None]
    vectors = cache.get_embeddings(iter(["a", "bb", "ccc", "bb"]), "m", compute=embed, batch_size=1)
    assert vectors == [[0.5, 0.25], [2.0, 0.0], [3.0, 0.0], [2.0, 0.0]]
    assert asked == [["bb"], ["ccc"]]


def test_domains_of_ones_own_have_theirs(cache: BlockingToolCache) -> None:
    """B13: ``cache[WEATHER]`` has its methods, whatever the fields are called."""
    weather: Domain[str] = Domain("weather", ttl="5m", key=("method", "made"))
    assert cache[weather].get(method="a", made="b") is None
    assert cache[weather].get(method="a", made="b", compute=lambda: "rain") == "rain"
    assert cache[weather].get(method="a", made="b", compute=lambda: "sun") == "rain"
    cache[weather].set("snow", method="a", made="b")
    assert cache[weather].get(method="a", made="b") == "snow"
    assert cache[weather].delete(method="a", made="b")
    assert "weather" in cache.domains


def test_a_thread_passes_it_by_or_fills_it_anew(cache: BlockingToolCache) -> None:
    """B13: ``bypass()`` and ``refreshing()`` hold for the thread that is within, and for no other."""
    cache.set("key", "old")

    async def there() -> str:
        await asyncio.sleep(0)
        return "new"

    with ThreadPoolExecutor(1) as other, cache.bypass():
        assert cache.get("key") is None
        assert cache.get_or_set("key", lambda: "new") == "new"
        assert cache.get_or_set("key", there) == "new"
        assert other.submit(cache.get, "key").result() == "old"
    with cache.refreshing():
        assert cache.get_or_set("key", lambda: "new") == "new"
    assert cache.get("key") == "new"
    assert cache.get_or_set("key", lambda: "newer", bypass=True) == "newer"
    assert cache.get_or_set("key", lambda: "newest", refresh=True) == "newest"
    assert cache.get("key") == "newest"


def test_tags_that_can_be_gone_through_once_are_kept(cache: BlockingToolCache) -> None:
    """B13: nothing of a call is used up by the look at memory."""
    cache.set("warm", 1)
    cache.get_or_set("key", lambda: 1, tags=(tag for tag in ("a", "b")))
    entry = cache.get_entry("key")
    assert entry is not None
    assert entry.tags == ("a", "b")


def test_hits_and_misses_count_once(options: dict[str, Any]) -> None:
    """B13: what memory answers by itself, and what it does not, counts as it does elsewhere."""
    with BlockingToolCache(**options) as cache, ToolCacheRun(options) as awaited:
        for ask in (cache, awaited):
            ask.get("absent")
            ask.get("absent", MISSING)
            ask.get_or_set("key", lambda: 1)
            ask.get_or_set("key", lambda: 2)
            ask.get("key")
        mine, theirs = cache.stats(), awaited.stats()
        assert (mine.hits, mine.misses, mine.computed) == (theirs.hits, theirs.misses, theirs.computed) == (2, 3, 1)


class ToolCacheRun:
    """A ToolCache of its own files and namespace, each call of which has a loop of its own."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._cache = ToolCache(**options | {"namespace": "other", "directory": options["directory"] / "other"})
        self.stats = self._cache.stats
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._cache.aclose())
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self._runner.run(getattr(self._cache, name)(*args))


def test_one_is_made_as_a_tool_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-106: settings, environment and URL count, unknown options are refused with the nearest."""
    with BlockingToolCache(Settings(files=False, namespace="a"), namespace="b") as cache:
        assert cache.settings.namespace == "b"
        assert repr(cache).startswith("<BlockingToolCache 'b' over memory")
    monkeypatch.setenv("TOOLCACHE_NAMESPACE", "from the environment")
    with BlockingToolCache.from_env({"TOOLCACHE_NAMESPACE": "shop"}, None, files=False) as cache:
        assert cache.settings.namespace == "shop"
    with BlockingToolCache.from_url("redis://localhost:1/0?namespace=url", files=False) as cache:
        assert (cache.settings.namespace, cache.settings.redis_url) == ("url", "redis://localhost:1/0")
    with pytest.raises(SettingsError, match="did you mean 'namespace'"):
        BlockingToolCache(namespce="x")  # type: ignore[call-arg]  # the mistake
    with pytest.raises(SettingsError, match="ToolCache"):
        BlockingToolCache.over("redis://")  # type: ignore[arg-type]  # the mistake


async def test_threads_and_loops_share_one_cache() -> None:
    """B13, BUG-102: a face over a cache that others await reads and writes the same, and leaves it open."""
    async with ToolCache(files=False) as cache:
        face = BlockingToolCache.over(cache)
        assert await asyncio.to_thread(face.get_or_set, "key", lambda: "computed in a thread") == "computed in a thread"
        assert await cache.get("key") == "computed in a thread"
        await cache.set("other", 2)
        assert await asyncio.to_thread(face.get, "other") == 2
        await asyncio.to_thread(face.close)
        with pytest.raises(CacheClosedError):
            await asyncio.to_thread(face.get, "key")
        assert await cache.get("key") == "computed in a thread"


def test_every_public_member_is_there() -> None:
    """B13: same names, same parameters, but nothing to await; so for what the cache hands out."""
    rooms = [(Sessions, BlockingSessions), (Memories, BlockingMemories), (Tools, BlockingTools)]
    for awaited, blocking in [(ToolCache, BlockingToolCache), (Declared, BlockingDeclared), *rooms]:
        for name, member in inspect.getmembers(awaited):
            if name.startswith("_") or name == "aclose":
                continue
            mine = inspect.getattr_static(blocking, name)
            if inspect.isfunction(member):
                assert not inspect.iscoroutinefunction(mine), name
                assert inspect.signature(mine).parameters.keys() == inspect.signature(member).parameters.keys(), name
                assert "await " not in str(mine.__doc__), name


def test_what_a_cache_holds_is_told_piece_by_piece(options: dict[str, Any]) -> None:
    """B13: ``scan`` is a plain iterator, which may be left in the middle."""
    with BlockingToolCache(**options) as cache:
        cache.set_many({f"user:{number}": number for number in range(150)})
        cache.set("page", 1)
        assert sorted(info.key for info in cache.scan("user:*")) == sorted(f"user:{number}" for number in range(150))
        assert next(iter(cache.scan("user:*"))).key.startswith("user:")
        assert cache.invalidate(pattern="user:*").removed == 150


def test_plain_functions_are_kept(cache: BlockingToolCache) -> None:
    """B13: ``@cached`` stands above a plain function whose cache is a blocking one, by either way."""
    asked: list[str] = []

    @cache.cached(ttl="1h")
    def search(query: str) -> str:
        asked.append(query)
        return query.upper()

    @cached(cache=cache, key_prefix="other")
    def other(query: str) -> str:
        asked.append(query)
        return query

    assert [search("a"), search("a"), other("a"), other("a")] == ["A", "A", "a", "a"]
    assert asked == ["a", "a"]
    assert search.invalidate("a")
    assert search.cache_info().hits == 1


def test_sessions_and_memories_are_there(cache: BlockingToolCache) -> None:
    """B13: the rooms of the cache are its own, without await."""
    with cache.sessions.edit("s") as session:
        session.state["step"] = 1
    cache.sessions.append("s", "hello")
    cache.sessions.update("s", lambda session: session.state.update(step=session.state["step"] + 1))
    resumed = cache.sessions.limited(max_turns=1).resume("s")
    assert resumed is not None
    assert (resumed.state["step"], [turn.value for turn in resumed.turns]) == (2, ["hello"])
    with pytest.raises(MistakeError), cache.sessions.edit("s"):
        raise MistakeError
    assert cache.sessions.forget("s")

    memories = cache.memories.normalized(str.casefold)
    assert memories.recall("faq", "Returns", lambda: "30 days") == "30 days"
    assert memories.recall("faq", "RETURNS") == "30 days"
    assert memories.preload("faq", ["a", "b"], lambda query: query * 2).computed == 2
    assert memories.recall("faq", "b") == "bb"


def test_tools_are_called_under_their_policies(cache: BlockingToolCache) -> None:
    """B13: ``call_tool`` runs a plain tool in the thread that asks, or finds what it said."""
    cache.tools["search"] = ToolPolicy("exact", key_params=["query"])
    ran: list[int] = []

    def search(query: str, trace: str) -> str:
        ran.append(threading.get_ident())
        return query + trace

    said = [cache.call_tool("search", search, query="q", trace=trace) for trace in ("1", "2")]
    assert said == ["q1", "q1"]
    assert ran == [threading.get_ident()]
    assert "search" in list(cache.tools)


def test_tasks_are_dispatched(cache: BlockingToolCache) -> None:
    """B13: ``dispatch_agents`` runs plain functions beside one another, each task once."""
    together = threading.Barrier(3)
    tasks = [AgentTask("greeter", "greet {name}", {"name": name}) for name in ("Ada", "Eve", "Max", "Ada")]

    def run(prompt: str, task: AgentTask) -> str:
        together.wait(20)
        return prompt.upper()

    for _ in range(2):
        results = cache.dispatch_agents(tasks, run, max_parallel=3)
        assert [result.output for result in results] == ["GREET ADA", "GREET EVE", "GREET MAX", "GREET ADA"]
    assert results[0].replayed


def test_an_agent_has_a_view(cache: BlockingToolCache) -> None:
    """B13: ``for_agent`` is a blocking cache too, on the same loop, which closing leaves alone."""
    with cache.for_agent("faq", response_ttl="1h") as faq:
        faq.set("key", 1)
        assert faq.get_or_set("key", lambda: 2) == 1
        assert cache.get("key") is None
    assert faq.get("key") == 1
    assert cache.invalidate(agent="faq").memory == "done"
    assert faq.get("key") is None


def test_handlers_are_plain_functions(cache: BlockingToolCache) -> None:
    """B13: a handler may wait, and ask the cache: it has a thread of its own; and ``off`` knows it."""
    heard, done = [], threading.Event()

    @cache.on("data.*")
    def handler(event: Emitted) -> None:
        heard.append(cache.get_or_set("made", lambda: event.data_type))
        done.set()

    cache.emit("data.updated", data_type="products")
    assert done.wait(20)
    assert heard == ["products"]
    assert cache.off(handler)
    assert not cache.off(handler)
    assert cache.emit("data.updated", data_type="products").handlers == 0


def test_handlers_can_be_waited_for(cache: BlockingToolCache) -> None:
    """B13: ``handled`` waits here as well; what became of the event can be asked as of any other."""
    heard: list[int] = []

    @cache.on("x")
    def handler(event: Emitted) -> None:
        time.sleep(0.05)  # long enough that nobody could have seen it by chance
        heard.append(event.number)

    emission = cache.emit("x", number=7)
    emission.handled()
    assert heard == [7]
    assert (emission.handlers, emission.redis, emission.files, emission.forgotten) == (1, None, None, None)
    assert emission.event["number"] == 7


def test_what_is_asked_for_once_is_counted_once(cache: BlockingToolCache) -> None:
    """C14: a miss, for which the cache is asked twice, counts as a hit does."""
    requested = cache.requested
    for _ in range(3):
        cache.get_search_results("missing")
        cache.get("none")
        cache.get_or_set("made", lambda: 1)
    assert requested.top(5, "search") == [("missing", 3)]
    assert dict(requested.top(5)) == {"none": 3, "made": 3}


def test_jobs_are_plain_functions(cache: BlockingToolCache) -> None:
    """B13: what is scheduled runs in a thread of its own, and is ended by its handle."""
    done = threading.Event()

    def job() -> None:
        cache.set("job", 1)
        done.set()

    scheduled = cache.schedule(job, every="1h", at_start=True)
    assert done.wait(20)
    assert cache.get("job") == 1
    assert "job.every" in scheduled.name
    scheduled.cancel()


def test_a_cache_is_copied_to_another(cache: BlockingToolCache, tmp_path: Path) -> None:
    """B13: export, import and copy are there, from and to blocking caches."""
    cache.set("key", [1])
    with BlockingToolCache(files=False) as other, BlockingToolCache(files=False) as third:
        cache.copy_to(other)
        assert other.get("key") == [1]
        other.export(tmp_path / "backup")
        third.import_(tmp_path / "backup")
        assert third.get("key") == [1]


def test_a_plan_warms_it(cache: BlockingToolCache) -> None:
    """B13: ``warm`` waits until what a plan names is there."""
    report = cache.warm(WarmPlan(items={"a": lambda: 1, "b": lambda: 2}))
    assert report.computed == 2
    assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}


class Told:
    """Stands where the cache is, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def on(self, name: str, **options: Any) -> Any:
        """A decorator."""
        self.told.append((name, options))
        return lambda handler: handler

    def schedule(self, job: Any, **options: Any) -> Any:
        """A handle."""
        self.told.append((job.__qualname__, options))

    async def copy_to(self, other: Any, **options: Any) -> Any:
        """A report."""
        self.told.append((other.settings.namespace, options))


def test_options_are_passed_on(cache: BlockingToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-106: what is said to methods that are written by hand reaches the cache."""
    told, real = Told(), cache._cache
    cache._cache = told  # type: ignore[assignment]  # it has the methods
    cache.on("a", once=True, max_parallel=3)(print)
    when: dict[str, Any] = {"every": 5, "cron": None, "at_start": True, "jitter": 1, "timezone": "UTC", "name": "n"}
    cache.schedule(print, **when)
    how: dict[str, Any] = {"keep_newer": True, "rate": 5.0, "on_progress": print}
    with BlockingToolCache(files=False, namespace="other") as other:
        cache.copy_to(other, **how)
    cache._cache = real
    assert told.told == [
        ("a", {"once": True, "max_parallel": 3}),
        ("print", when),
        ("other", how),
    ]

    made: list[dict[str, Any]] = []

    def make(*_: object, **options: Any) -> ToolCache:
        made.append(options)
        return ToolCache(files=False)

    monkeypatch.setattr("toolcache.blocking.tool_cache.ToolCache", make)
    provider: Any = object()
    BlockingToolCache(credentials=provider)
    BlockingToolCache.from_env({}, None, credentials=provider)
    BlockingToolCache.from_url("redis://localhost", credentials=provider)
    assert [options["credentials"] for options in made] == [provider] * 3
