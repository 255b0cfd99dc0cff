"""Calls as users write them, checked by mypy --strict and never run."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import numpy as np

from toolcache import (
    MISSING,
    AgentResult,
    AgentTask,
    BlockingToolCache,
    Cache,
    CircuitBreaker,
    Context,
    Digest,
    Domain,
    Durability,
    Entry,
    Health,
    Invalidation,
    Progress,
    RunContext,
    RunStatus,
    Session,
    Settings,
    SettingsError,
    Stage,
    Stats,
    StoredAgentError,
    TaskError,
    TemplateError,
    ToolCache,
    ToolCacheError,
    ToolPolicy,
    Transfer,
    WarmPlan,
    WarmReport,
    __version__,
    cached,
    dispatch_agents,
    file_digest,
    get_cache,
    idempotent,
    make_key,
    make_tag,
    scope,
    stage,
)
from toolcache.entry import Held
from toolcache.memories import Preloaded
from toolcache.reactions import Emitted


def moving(step: Transfer) -> None:
    assert_type(step.total, int | None)


class Longest:
    """A strategy of one's own."""

    touch = None

    def admit(self, key: str, entry: Held, /) -> None: ...
    def replace(self, key: str, entry: Held, old: Held, /) -> None: ...
    def evict(self) -> str:
        return ""

    def forget(self, key: str, entry: Held, /) -> None: ...
    def clear(self) -> None: ...


async def embed_all(texts: list[str]) -> list[list[float]]:
    return [[float(len(text))] for text in texts]


def embed_arrays(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.zeros((len(texts), 3))


async def embed_one() -> list[float]:
    return [0.5]


async def embed_text(text: str) -> list[float]:
    return [float(len(text))]


async def discover() -> dict[str, Any]:
    return {"tools": []}


def discover_now() -> dict[str, Any]:
    return {"tools": []}


async def with_context(context: Context) -> str:
    context.ttl = "5m"
    context.tags = ("a",)
    context.skip()
    return ""


async def opening() -> None:
    async with ToolCache() as cache:
        assert_type(cache, ToolCache)
    async with ToolCache.from_env() as cache:
        assert_type(cache, ToolCache)
    async with ToolCache.from_env({"USE_REDIS": "false"}, dotenv=None, namespace="shop") as cache:
        assert_type(cache.settings, Settings)
    async with ToolCache.from_url("redis://localhost", max_memory="100MB") as cache:
        assert_type(cache.closed, bool)
    ToolCache(
        Settings(namespace="shop"),
        redis_url="redis://localhost:6379",
        directory="/tmp/cache",
        max_memory="100MB",
        default_ttl=timedelta(hours=1),
        ttls={"search": "30m"},
        costs={"embedding": 0.0001},
        recovery_time=("1s", 60),
        mirror=["catalog"],
        secret=b"0123456789abcdef",
    )
    assert_type(get_cache(), ToolCache)
    assert_type(Settings().replace(strict=True), Settings)
    ToolCache(namespase="shop")  # type: ignore[call-arg]  # misspelt: known before it runs
    ToolCache(max_memory=1.5)  # type: ignore[arg-type]  # neither bytes nor text
    ToolCache(strategy="best")  # type: ignore[arg-type]  # none of the strategies
    ToolCache(strategy=Longest, tiers=None)
    ToolCache(tiers={"hot": ("16MB", "5m"), "warm": (2**24, timedelta(hours=1)), "cold": ("32MB", None)})


async def any_value(cache: Cache) -> None:
    assert_type(await cache.get("key"), Any)
    assert_type(await cache.get("key", MISSING), Any)
    assert_type(await cache.get_entry("key"), Entry | None)
    assert_type(await cache.set("key", {"any": ["value"]}, ttl="1h", tags=("products:phones",)), Durability)
    assert_type(await cache.set("key", 1, None), Durability)
    assert_type(await cache.get_or_set("key", discover, ttl=60), Any)
    assert_type(await cache.get_or_set("key", with_context), Any)
    assert_type(await cache.get_or_set("key", lambda: 42), Any)
    assert_type(await cache.get_many(["a", "b"]), dict[str, Any])
    assert_type(await cache.set_many({"a": 1}, ttl=timedelta(days=1)), dict[str, Durability])
    assert_type(await cache.delete_many(["a"]), dict[str, bool])
    assert_type(await cache.add("key", 1), bool)
    assert_type(await cache.delete("key"), bool)
    assert_type(await cache.exists("key"), bool)
    assert_type(await cache.ttl("key"), float | None)
    assert_type(await cache.clear(), Invalidation)
    assert_type(cache.stats(), Stats)
    assert_type((await cache.savings(period="30d")).by("agent")["faq"].cost_saved, float)
    assert_type(await cache.health(), Health)
    assert_type(await cache.health(probe=False), Health)
    assert_type(await cache.export("file", rate=100, on_progress=moving), Transfer)
    assert_type(await cache.import_(Path("file"), keep_newer=True), Transfer)
    assert_type(await cache.copy_to(cache), Transfer)
    await cache.aclose(drain=1.0)


async def domains(cache: ToolCache) -> None:
    assert_type(await cache.get_catalog("https://tools.example.org"), Any | None)
    assert_type(await cache.get_catalog({"servers": ["a", "b"]}, version="v3", compute=discover), Any)
    assert_type(await cache.get_catalog(Digest("0" * 64), compute=discover_now), Any)
    assert_type(await cache.set_catalog("source", [], version="v3", ttl="2d", tags=["tools"]), Durability)
    assert_type(await cache.delete_catalog("source", version="v3"), bool)

    assert_type(await cache.get_embedding("text", "model"), list[float] | None)
    assert_type(await cache.get_embedding("text", "model", variant="256d", compute=embed_one), list[float])
    assert_type(await cache.set_embedding("text", "model", [0.5]), Durability)
    assert_type(await cache.set_embedding("text", "model", np.zeros(3), ttl=None), Durability)
    assert_type(await cache.delete_embedding("text", "model"), bool)
    assert_type(await cache.get_embeddings(["a", "b"], "model"), list[list[float] | None])
    assert_type(await cache.get_embeddings(["a"], "model", compute=embed_all, batch_size=100), list[list[float]])
    assert_type(await cache.get_embeddings(("a",), "model", compute=embed_arrays), list[list[float]])
    assert_type(await cache.set_embeddings(["a"], "model", np.zeros((1, 3))), list[Durability])
    assert_type(await cache.set_embeddings(["a"], "model", [[0.5]], tags=["docs"]), list[Durability])

    assert_type(await cache.get_search_results("query", catalog_version="v3", top_k=5), Any | None)
    assert_type(await cache.get_search_results("query", compute=discover), Any)
    assert_type(await cache.set_search_results("query", [], top_k=5, ttl=60), Durability)
    assert_type(await cache.delete_search_results("query", top_k=5), bool)

    assert_type(await cache.get_metadata("tool"), Any | None)
    assert_type(await cache.get_metadata("tool", version="2", compute=discover), Any)
    assert_type(await cache.set_metadata("tool", {}, version="2"), Durability)
    assert_type(await cache.delete_metadata("tool"), bool)

    task = AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small", timeout="30s")
    assert_type(task.args, dict[str, Any])
    assert_type(task.digest(namespace="shop"), Digest)
    assert_type(task.prompt, str)
    assert_type(await cache.get_result(task), Any)
    assert_type(await cache.get_result(task, MISSING), Any)
    assert_type(await cache.set_result(task, {"label": "greeting"}, ttl="2h", tags=["news"]), Durability)
    assert_type(await cache.delete_result(task), bool)


def answers(result: AgentResult, progress: Progress, stats: Stats) -> None:
    assert_type(result.ok, bool)
    assert_type(result.unwrap(), Any)
    assert_type(result.error, TaskError | None)
    assert_type(progress.result, AgentResult | None)
    assert_type(stats.dispatch.cost_usd_saved, float)
    if result.status == "timeout":
        assert_type(result.exception, BaseException | None)
    result.attempts = 2  # type: ignore[misc]  # frozen
    assert_type(StoredAgentError("ValueError", "no").type, str)
    assert_type(TemplateError("no").position, int | None)


@cached(ttl="1h", key_params=["query"], tags=["kb"], normalize=str.casefold)
async def search(query: str, trace_id: str = "") -> list[str]:
    return [query, trace_id]


class Shelf:
    """A cache that blocks."""

    def get_or_set(self, key: str, compute: Callable[[], Any], **options: Any) -> Any:
        return compute()

    def set(self, key: str, value: Any, **options: Any) -> None: ...

    def delete(self, key: str) -> bool:
        return False


@cached("1h", cache=Shelf(), key_params=["text"])
def count(text: str, times: int = 1) -> int:
    return len(text) * times


def plain_functions() -> None:
    assert_type(count("a", times=2), int)
    assert_type(count.refresh("a"), int)
    assert_type(count.invalidate("a"), bool)
    count(7)  # type: ignore[arg-type]  # the function's own types are kept


KB = cached(vary=["tenant"], strict_scope=True, condition=len, domain="search", grace="1h", cache_errors=[LookupError])


@cached(ttl=len, normalize={"query": str.casefold}, tags=["user:{user}"], cache_errors={LookupError: KeyError})
async def dynamic(query: str, user: int) -> dict[str, int]:
    return {query: user}


async def functions(cache: ToolCache) -> None:
    assert_type(await dynamic("q", user=7), dict[str, int])
    assert_type(await dynamic.cache_clear(), Invalidation)
    again = cache.cached("1h", key_params=["text"], soft_timeout=0.2)(embed_text)
    assert_type(await again("text"), list[float])
    assert_type(again.cache_info().hits, int)
    await again(7)  # type: ignore[arg-type]  # the function's own types are kept
    cached(grase="1h")  # type: ignore[call-overload]  # misspelt: known before it runs
    cache.cached(grase="1h")  # type: ignore[call-arg]  # the same
    with scope(tenant="acme", locale="no"):
        assert_type(await file_digest("report.pdf"), Digest)
    assert_type(make_tag("user", 7), str)
    assert_type(await search("red shoes", trace_id="7f"), list[str])
    assert_type(await search.refresh("red shoes"), list[str])
    assert_type(await search.invalidate("red shoes"), bool)
    assert_type(search.cache_key("red shoes"), str)
    await search(7)  # type: ignore[arg-type]  # the function's own types are kept


@idempotent(key_params=["order"], ignore_params=["trace"], key="pay", timeout="30s", on_error=(ValueError,))
async def pay(order: str, cents: int, trace: str = "") -> list[str]:
    context = RunContext.current()
    context.cost(usd=0.5, tokens=7)
    return [order, context.idempotency_key]


async def run_task(prompt: str, task: AgentTask, context: RunContext) -> str:
    return f"{prompt} {task.agent} {context.attempt}"


def tell(progress: Progress) -> None:
    assert_type(progress.done, int)


async def tools(cache: ToolCache) -> None:
    cache.tools["search"] = ToolPolicy("exact", ttl="5m", key_params=["query"], grace="1h")
    cache.tools["notes", "find"] = ToolPolicy("once", timeout=3)
    ToolPolicy("exact", tll="5m")  # type: ignore[call-arg]  # misspelt
    cache.tools["search"] = "exact"  # type: ignore[assignment]  # no policy
    assert_type(cache.tools["search"], ToolPolicy)
    assert_type(cache.tools.verdict(("notes", "find")).why, str)
    assert_type((await cache.tools.learn([{"name": "find"}], server="notes", trusted=True)).known, tuple[str, ...])
    assert_type(await cache.tools.changed(server="notes"), Invalidation)
    assert_type(await cache.call_tool("search", discover_now), Any)
    assert_type(await cache.call_tool(("notes", "find"), discover, query="x"), Any)


async def requests(cache: ToolCache) -> None:
    assert_type(await pay("4711", 1999, trace="7f"), list[str])
    assert_type(await pay.forget("4711", 1999), bool)
    assert_type(await pay.status("4711", 1999), RunStatus)
    assert_type(pay.key("4711", cents=1999), str)
    await pay(4711, 1999)  # type: ignore[arg-type]  # the function's own types are kept
    idempotent(timout=3)  # type: ignore[call-arg]  # misspelt
    assert_type(await cache.once("key", discover, fingerprint={"a": 1}, wait="raise", retention="1d"), Any)
    assert_type(await cache.once("key", discover_now), Any)
    assert_type((await cache.status("key")).lapsed, bool)
    assert_type(await cache.forget(AgentTask("a", "t")), bool)
    done = await dispatch_agents([AgentTask("a", "t")], run_task, cache=cache, on_progress=tell, on_error="store")
    assert_type(done, list[AgentResult])
    await cache.once("key", discover, on_error="keep")  # type: ignore[arg-type]  # none of the choices


async def told(cache: ToolCache) -> None:
    @cache.on("data.updated", once=True, max_parallel=1)
    async def forget(event: Emitted) -> int:
        return len(event.name) + event.number  # type: ignore[no-any-return]  # what it says is anything

    assert_type(await forget(Emitted("a", {})), int)
    emission = await cache.emit("data.updated", data_type="products", name="also")
    assert_type(emission.redis, str | None)
    assert_type(emission.forgotten, Invalidation | None)
    assert_type(cache.off(forget), bool)
    cache.react("price.changed", tags=["prices:{sku}"])
    cache.react("price.changed", tag="prices")  # type: ignore[call-arg]  # misspelt
    plan = WarmPlan(domain="search", queries=["a"], compute=embed_text, per_second=5, max_seconds="10m")
    WarmPlan(query=["a"])  # type: ignore[call-arg]  # misspelt
    assert_type(await cache.warm(plan, on_progress=tell), WarmReport)
    scheduled = cache.schedule(plan, cron="0 3 * * *", timezone="Europe/Berlin", jitter=timedelta(minutes=5))
    assert_type(scheduled.next_at, float)
    scheduled.cancel()
    cache.schedule(discover, every="1h")
    assert_type(cache.requested.top(5, "search"), list[tuple[Any, int]])


def blocking() -> None:
    with BlockingToolCache(namespace="a", files=False) as cache:
        assert_type(cache.get("k", 0), Any)
        assert_type(cache.set("k", 1, "1h", tags=["t"]), Durability)
        assert_type(cache.get_or_set("k", lambda: 1, ttl="1h", grace="1d"), Any)
        assert_type(cache.get_or_set("k", discover), Any)
        assert_type(cache.get_embedding("t", "m", compute=lambda: [0.5]), list[float])
        assert_type(cache.get_embedding("t", "m"), list[float] | None)
        assert_type(cache.get_embeddings(["t"], "m", compute=embed_all, batch_size=2), list[list[float]])
        assert_type(cache.health(), Health)
        assert_type(cache.delete_many(["k"]), dict[str, bool])
        assert_type([info.key for info in cache.scan("k*")], list[str])
        with cache.bypass():
            cache.for_agent("faq", response_ttl="1h").get("k")

        @cache.cached(ttl="1h")
        def half(number: int) -> float:
            return number / 2

        assert_type(half(1), float)
        cache.get(7)  # type: ignore[arg-type]  # keys are text
        cache.sett("k", 1)  # type: ignore[attr-defined]  # there is no such method


async def pipelines() -> None:
    def length(vector: list[float]) -> int:
        return len(vector)

    pipeline = stage(embed_text, ttl="1h", grace="1d") | length
    assert_type(pipeline, Stage[str, int])
    assert_type(await pipeline.collect(["a"]), list[int])
    assert_type(stage(embed_all, batch_size=64), Stage[str, list[float]])
    async for vector in stage(embed_all, batch_size=64, max_parallel=2)(["a"]):
        assert_type(vector, list[float])
    stage(embed_text, tll=1)  # type: ignore[call-overload]  # there is no such option


def web(cache: ToolCache) -> None:
    from toolcache.integrations.asgi import CacheMiddleware, page_tag

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    CacheMiddleware(app, cache=cache, ttl="1m", query=["page"], group=lambda scope: str(scope["path"]))
    CacheMiddleware(app, tll="1m")  # type: ignore[call-arg]  # there is no such option
    assert_type(page_tag("/"), str)


def the_rest() -> None:
    assert_type(__version__, str)
    assert_type(make_key("search", "red shoes", top_k=10), str)
    assert_type(Domain("weather", ttl="5m", key=("location",), cost_usd=0.002).ttl, float | None)
    CircuitBreaker(name="search", failure_threshold=3, recovery_time=("1s", "30s"))
    try:
        Settings(namespace="a b")
    except SettingsError as error:
        root: ToolCacheError = error
        assert_type(root.args, tuple[Any, ...])


async def agents(cache: ToolCache, session: Session) -> None:
    faq = cache.for_agent(
        "faq", response_ttl="1h", tool_cache=True, memory_cache=False, grace=timedelta(days=1), ttls={"search": 5}
    )
    as_cache: ToolCache = faq
    cache.for_agent("faq", respones_ttl="1h")  # type: ignore[call-arg]  # no such option
    cache.for_agent("faq", tool_cache="1h")  # type: ignore[arg-type]  # a switch
    assert_type(await as_cache.clear(), Invalidation)

    assert_type(await faq.sessions.resume("chat", touch=True), Session | None)
    assert_type(await cache.sessions.save(session, ttl="7d", merge=lambda mine, theirs: theirs), Session)
    assert_type(await cache.sessions.append("chat", {"role": "user"}, pinned=True, turn_id="7"), Session)
    assert_type(await cache.sessions.limited(max_turns=5, max_size="64kB", measure=len).update("chat", print), Session)
    async with cache.sessions.edit("chat") as edited:
        assert_type(edited, Session)
    assert_type(await cache.sessions.forget("chat"), bool)

    assert_type(await cache.memories.preload("faq", ["q"], str.upper, max_parallel=2), Preloaded)
    assert_type(await cache.memories.forget("faq"), Invalidation)
    assert_type(await cache.memories.forget("faq", "q"), bool)
