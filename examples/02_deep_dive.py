"""A deep dive into toolcache in seven demonstrations, on the tools that this machine has.

    python examples/02_deep_dive.py                    memory and files, no server (also: make demo)
    USE_REDIS=true python examples/02_deep_dive.py     with Redis: yours (REDIS_URL), or one started for the demo

Every figure is measured in the run that prints it.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from stage import (
    PACKAGES,
    USD_PER_EMBEDDING,
    Server,
    Tool,
    Vector,
    discover,
    embed,
    fresh_namespace,
    heading,
    requests,
    row,
    run,
    say,
    search,
    server_program,
    span,
    where,
)

from toolcache import AgentTask, CircuitBreaker, CircuitOpenError, Durability, Settings, ToolCache, dispatch_agents
from toolcache.events import BreakerChanged, Event


async def demo(settings: Settings, server: Server | None) -> None:
    """All seven demonstrations, in order."""
    say(f"toolcache, a deep dive. {where(settings, server)}")
    tools = discover()
    async with await initialisation(settings) as cache:
        await basic_operations(cache)
        await time_to_live(cache)
        await complex_data(cache, tools)
        await domains(cache, tools)
        await speed_up(cache, tools)
    heading("7  The breaker")
    if settings.redis_url is None:
        await breaker_alone()
    elif server is not None:
        await breaker_with_redis(server, str(settings.directory))
    else:
        await breaker_with_a_server_of_ones_own(str(settings.directory))
    print()
    say("Beside this demo: 01_basics.py, 03_what_how_when.py for what is kept, how, and when, and 04_dispatch.py.")


async def initialisation(settings: Settings) -> ToolCache:
    heading("1  Opening a cache, and asking how it is")
    began = time.perf_counter()
    cache = ToolCache(settings, costs={"search": USD_PER_EMBEDDING})
    row("made, its modules loaded, no disk and no network touched", span(time.perf_counter() - began))
    began = time.perf_counter()
    health = await cache.health()
    row("asked every layer for its health", span(time.perf_counter() - began))
    row("status", health.status)
    for name, layer in (("Redis", health.redis), ("files", health.files)):
        if layer is None:
            row(name, "not configured" + (" (USE_REDIS is not true)" if name == "Redis" else ""))
        else:
            row(name, "reachable" if layer.usable else f"not usable: {layer.last_fault}")
            row(f"{name}: where", layer.where)
            row(f"{name}: breaker", layer.breaker.upper())
            row(f"{name}: entries", "0" if layer.entries == 0 else str(layer.entries))
    row("files stand in for Redis", "yes" if health.fallback else "no: there is no Redis to stand in for")
    row("entries in memory", str(health.memory_entries))
    return cache


async def basic_operations(cache: ToolCache) -> None:
    heading("2  Basic operations")
    user = {"name": "Ada", "plan": "pro", "tools": ["search", "calendar"]}
    safe: list[Durability] = []

    async def store() -> None:
        safe.append(await cache.set("user:123", user))

    await timed("set user:123", store, lambda: f"safe in {safe[-1].name}")
    await timed("get user:123", lambda: cache.get("user:123"), lambda: "a hit, in memory")
    await timed("get user:999", lambda: cache.get("user:999"), lambda: "a miss, in every layer")
    many = {f"user:{number}": user for number in range(100)}
    await timed("set_many of 100", lambda: cache.set_many(many), lambda: "at one go", repeat=5)
    await timed("get_many of 100", lambda: cache.get_many(many), lambda: "each a copy of one's own", repeat=5)
    row("add user:123 (only if absent)", "stored" if await cache.add("user:123", {}) else "refused: it is there")
    row("exists user:123", "yes" if await cache.exists("user:123") else "no")
    row("delete user:123", "it was there" if await cache.delete("user:123") else "nothing there")
    row("get user:123", str(await cache.get("user:123")))
    entry = await cache.get_entry("user:7")
    if entry:
        row(
            "get_entry user:7",
            f"{entry.size} bytes, {entry.age * 1000:.0f} ms old, expires in {entry.ttl / 60:.0f} min",
        )


async def timed(name: str, call: Callable[[], Awaitable[object]], note: Callable[[], str], repeat: int = 50) -> None:
    """Print the median time of a call, and what came of it."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    row(f"{name} ({note()})", span(statistics.median(times)))


async def time_to_live(cache: ToolCache) -> None:
    heading("3  Time to live")
    await cache.set("temp:data", "here for one second", ttl="1s")
    await cache.set("kept:data", "here for ever", ttl=None)
    row("get temp:data, at once", repr(await cache.get("temp:data")))
    row("ttl temp:data", span(await cache.ttl("temp:data") or 0.0))
    await asyncio.sleep(1.05)
    row("get temp:data, 1.05 s later", repr(await cache.get("temp:data")))
    row("ttl kept:data", f"{await cache.ttl('kept:data')}: it stays")


async def complex_data(cache: ToolCache, tools: list[Tool]) -> None:
    heading("4  Complex data")
    order = {
        "id": UUID(int=7),
        "placed": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        "total": Decimal("19.90"),
        "tags": {"new", "gift"},
        "position": (59.91, 10.75),
        "photo": bytes(range(16)),
        ("a", 1): {"nested": [None, True, 1, 1.0, "text"]},
    }
    await cache.set("order", order)
    found = await cache.get("order")
    row("dates, decimals, sets, tuples, bytes, UUIDs", "came back equal" if found == order else "CHANGED")
    row("types", ", ".join(sorted({type(value).__name__ for value in found.values()})))
    found["tags"].add("spoilt")
    row("changed what I got; what others get", "is unharmed" if await cache.get("order") == order else "IS SPOILT")
    await cache.set("catalog", tools)
    entry = await cache.get_entry("catalog")
    if entry:
        row(f"a catalog of {len(tools)} tools, as text", f"{len(repr(tools)):,} characters")
        row("the same, as it is kept", f"{entry.size:,} bytes")
    try:
        await cache.set("server", socket.socket)
    except Exception as error:  # noqa: BLE001 - it is to be shown, whatever it is
        row("a class, which no store could bring back", type(error).__name__)


async def domains(cache: ToolCache, tools: list[Tool]) -> None:
    heading("5  What agents keep: five domains, each with its own time to live")
    names = [tool["name"] for tool in tools]
    texts = [tool["description"].split("\n")[0] for tool in tools[:40]]
    batches: list[int] = []

    def embed_all(missing: list[str]) -> list[Vector]:
        batches.append(len(missing))
        return [embed(text) for text in missing]

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get_catalog, 24 h": lambda: cache.get_catalog({"packages": PACKAGES}, compute=discover),
        "get_embedding, 7 d": lambda: cache.get_embedding(texts[0], "ngrams-256", compute=lambda: embed(texts[0])),
        "get_embeddings of 40, 7 d": lambda: cache.get_embeddings(texts, "ngrams-256", compute=embed_all),
        "get_search_results, 1 h": lambda: cache.get_search_results(
            "split a text", top_k=3, compute=lambda: search(embed("split a text"), tools, [embed(n) for n in names])
        ),
        "get_metadata, 24 h": lambda: cache.get_metadata(names[0], compute=lambda: tools[0]),
    }
    for name, call in calls.items():
        began = time.perf_counter()
        first = await call()
        between = time.perf_counter()
        again = await call()
        ended = time.perf_counter()
        same = "" if first == again else ", DIFFERENT"
        row(name, f"computed {span(between - began)}, again {span(ended - between)}{same}")
    row("the batch computed", f"{batches[0]} of 40 texts: one was there, each of the others once")
    task = AgentTask(agent="summariser", template="Summarise {tool}", args={"tool": names[0]}, model="small")
    prompts: list[str] = []

    def summarise(prompt: str, _task: AgentTask) -> dict[str, str]:
        prompts.append(prompt)
        return {"summary": f"{texts[0]} ({len(prompts)})"}

    results = [*await dispatch_agents([task] * 3, summarise, cache=cache)]
    results += await dispatch_agents([task], summarise, cache=cache)
    row("dispatch_agents of one task, four times, 1 h", f"run {len(prompts)} time")
    kept = await cache.get_result(task)
    row("its answer", "kept, and the same for all" if all(one.output == kept for one in results) else "DIFFERENT")


async def speed_up(cache: ToolCache, tools: list[Tool]) -> None:
    heading("6  Speed-up: 300 questions, a few asked often and most seldom")
    questions = requests(tools, count=300, distinct=50)
    vectors = [embed(tool["description"]) for tool in tools]

    def answer(question: str) -> list[str]:
        return search(embed(question), tools, vectors)

    began = time.perf_counter()
    expected = [answer(question) for question in questions]
    without = time.perf_counter() - began
    before = cache.stats().domains["search"]
    times: list[float] = []
    answers: list[list[str]] = []
    seen: set[str] = set()
    for number, question in enumerate(questions, 1):
        began = time.perf_counter()
        answers.append(
            await cache.get_search_results(
                question, top_k=3, catalog_version="v3", compute=lambda q=question: answer(q)
            )
        )
        times.append(time.perf_counter() - began)
        if number <= 6:  # noqa: PLR2004 - enough to see the difference
            row(f"request {number}: {'a hit' if question in seen else 'a miss'}", span(times[-1]))
        seen.add(question)
    after = cache.stats().domains["search"]
    hits = after.hits - before.hits
    row("same answers", "yes" if answers == expected else "NO")
    row("hits", f"{hits} of {len(questions)} ({hits / len(questions):.1%})")
    row("median hit", span(statistics.median(sorted(times)[:hits])))
    row("all requests, without the cache", span(without))
    row("all requests, with it", span(sum(times)))
    row("speed-up", f"{without / sum(times):.1f} times")
    row("computing time saved, by the cache's own count", span(after.seconds_saved - before.seconds_saved))
    row(f"saved, assuming ${USD_PER_EMBEDDING} a question", f"${after.dollars_saved - before.dollars_saved:.4f}")


# The seventh comes in two forms: with a Redis that is really stopped and started, or with the breaker alone.


async def breaker_with_redis(server: Server, folder: str) -> None:
    say("Redis is killed, and comes back. Not one call fails; what Redis missed is safe on file meanwhile.")
    options = {"namespace": fresh_namespace(), "directory": folder, "failure_threshold": 3, "recovery_time": "0.5s"}
    async with ToolCache(redis_url=server.url, **options) as cache:  # type: ignore[arg-type]  # the types are right
        start = time.perf_counter()

        def tell(event: Event) -> None:
            if isinstance(event, BreakerChanged):
                row(f"  {time.perf_counter() - start:5.2f} s: breaker {event.before.upper()} to", event.after.upper())

        cache.subscribe(tell)
        await one_write(cache, "before")
        await asyncio.to_thread(server.stop)
        row("Redis", "killed")
        for number in range(1, 6):
            await one_write(cache, f"during {number}")
        row("read back during the outage", str(await cache.get("during 1")))
        health = await cache.health(probe=False)
        row("health", health.status)
        await asyncio.to_thread(server.start)
        restarted = time.perf_counter()
        row("Redis", "started again, empty")
        for _ in range(500):
            if await cache.set("after", "?") is Durability.REDIS:
                break
            await asyncio.sleep(0.02)
        row("first write that is safe in Redis again, after", span(time.perf_counter() - restarted))
        await one_write(cache, "after")


async def one_write(cache: ToolCache, key: str) -> None:
    began = time.perf_counter()
    safe = await cache.set(key, f"written {key}")
    row(f"set {key!r}", f"safe in {safe.name}, {span(time.perf_counter() - began)}")


async def breaker_with_a_server_of_ones_own(folder: str) -> None:
    """Yours is left alone; if another can be started here, that one is stopped."""
    program = server_program()
    if program is None:
        say("Your Redis is not for a demo to stop, and no other can be started here: the breaker by itself, then.")
        return await breaker_alone()
    server = Server(program, folder)
    say("Your Redis is not for a demo to stop: this one was started for it.")
    try:
        await asyncio.to_thread(server.start)
        return await breaker_with_redis(server, folder)
    finally:
        server.stop()


async def breaker_alone() -> None:
    say("Without Redis, the breaker by itself: it guards a small service that this demo stops and starts again.")
    service = Service()
    await service.start()
    breaker = CircuitBreaker(name="service", failure_threshold=3, recovery_time="0.5s")

    async def ask() -> str:
        try:
            return f"answered {await breaker.call(service.ask)!r}"
        except CircuitOpenError as refusal:
            return f"refused, without trying; next try in {refusal.retry_after:.2f} s"
        except OSError as error:
            return type(error).__name__

    async def show(name: str) -> None:
        began = time.perf_counter()
        outcome = await ask()
        row(f"{name}: {outcome}", f"{span(time.perf_counter() - began)}, then {breaker.state.upper()}")

    await show("call 1")
    await service.stop()
    row("the service", "stopped")
    for number in range(2, 7):
        await show(f"call {number}")
    await service.start()
    row("the service", "started again")
    restarted = time.perf_counter()
    for _ in range(500):
        if (await ask()).startswith("answered"):
            break
        await asyncio.sleep(0.02)
    row("closed again after", span(time.perf_counter() - restarted))
    await show("call 7")
    await service.stop()


class Service:
    """Something that may be down: it greets whoever connects to a port of this machine."""

    def __init__(self) -> None:
        self._port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening: callers are refused."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def ask(self) -> str:
        """What a caller does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()

    @staticmethod
    async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()


if __name__ == "__main__":
    sys.exit(run(demo))
