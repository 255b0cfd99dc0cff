"""What toolcache keeps, how, and when: five demonstrations, on the tools that this machine has.

    python examples/03_what_how_when.py                    memory and files, no server
    USE_REDIS=true python examples/03_what_how_when.py     with Redis: yours (REDIS_URL), or one started for the demo

Every figure is measured in the run that prints it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from stage import (
    PACKAGES,
    USD_PER_EMBEDDING,
    WIDTH,
    Server,
    Tool,
    Vector,
    discover,
    embed,
    heading,
    paint,
    row,
    run,
    say,
    search,
    span,
    where,
)

from toolcache import AgentTask, Settings, ToolCache, dispatch_agents, make_key


async def demo(settings: Settings, server: Server | None) -> None:
    """All five demonstrations, in order."""
    say(f"toolcache: what, how, when. {where(settings, server)}")
    tools = discover()
    async with ToolCache(settings) as cache:
        await what(cache, tools)
        await how(cache, settings)
    async with ToolCache(settings) as cache:
        await read_path(cache)
        await when(cache, tools)
        await invalidation(cache)
        await comparison(cache, tools)


async def what(cache: ToolCache, tools: list[Tool]) -> None:
    heading("1  WHAT is kept: five kinds of value, each for its own time")
    tool = tools[0]
    question = first_line(tool)
    vectors = [embed(first_line(each)) for each in tools]
    task = AgentTask(agent="summariser", template="Summarise {tool}", args={"tool": tool["name"]}, model="small")

    async def result() -> object:
        (result,) = await dispatch_agents([task], lambda _task: {"summary": first_line(tool)}, cache=cache)
        return result.unwrap()

    kinds: tuple[tuple[str, str, str, Callable[[], Awaitable[Any]]], ...] = (
        ("catalog", "24 h", "tools change seldom, and finding them is slow", lambda: cache.get_catalog({"packages": PACKAGES}, compute=discover)),
        ("embedding", "7 d", "the same text always gives the same vector, and each costs money", lambda: cache.get_embedding(question, "ngrams-256", compute=lambda: embed(question))),
        ("search", "1 h", "agents ask alike, and what was found is soon out of date", lambda: cache.get_search_results(question, top_k=3, compute=lambda: search(embed(question), tools, vectors))),
        ("metadata", "24 h", "one tool's definition, asked for again and again", lambda: cache.get_metadata(tool["name"], compute=lambda: tool)),
        ("result", "1 h", "a run costs dollars, and may act outside: a retry gets the first answer instead of a second run", result),
    )  # fmt: skip
    for name, lifetime, why, make in kinds:
        began = time.perf_counter()
        value = await make()
        took = time.perf_counter() - began
        print(f"  {paint('1', name)}")
        row("  kept for", lifetime)
        row("  why", why)
        row("  an example", shortened(value))
        row("  made and stored in", span(took))


def first_line(tool: Tool) -> str:
    return str(tool["description"]).split("\n", 1)[0][:80]


def shortened(value: Any) -> str:
    """A value in a few words."""
    match value:
        case [dict(), *_]:
            return f"{len(value)} tools, such as {value[0]['name']}"
        case [float(), *_]:
            return f"{len(value)} floats: {value[0]:.3f}, {value[1]:.3f} ..."
        case [str(), *_]:
            return ", ".join(value)
    text = str(value)
    return text if len(text) < WIDTH // 2 else f"{text[: WIDTH // 2]} ..."


async def how(cache: ToolCache, settings: Settings) -> None:
    heading("2  HOW: keys, the way of a write, the way of a read")
    key = make_key("search", {"query": "split a text", "top_k": 3})
    row("a key", f"{key[:24]}... (SHA-256 of the typed input)")
    same = key == make_key("search", {"top_k": 3, "query": "split a text"})
    row("the same dict, filled in another order", "the same key" if same else "ANOTHER KEY")
    apart = {make_key("search", one) for one in (1, 1.0, "1", True, b"1", [1], (1,))}
    row("1, 1.0, '1', True, b'1', [1] and (1,)", f"{len(apart)} different keys")
    apart = {make_key("search", one) for one in (["a", "b"], ["ab"], ["a,b"], ["a", ["b"]])}
    row("['a', 'b'], ['ab'], ['a,b'], ['a', ['b']]", f"{len(apart)} different keys")

    say("A write goes to memory, and then as far as it can:")
    began = time.perf_counter()
    safe = await cache.set("how:greeting", {"text": "hello"})
    row("set, until it was safe", span(time.perf_counter() - began))
    row("safe in", {"MEMORY": "memory", "FILE": "the files", "REDIS": "Redis"}[safe.name])
    for name, layer in cache.stats().layers.items():
        if name != "memory":
            row(f"{name}: writes so far", str(layer.writes))
    row(
        "if Redis refused it",
        "the files would take it" if settings.redis_url else "there is none: the files are the store",
    )


async def read_path(cache: ToolCache) -> None:
    say("A read asks memory first. This cache was just opened, so its memory is empty:")
    for attempt in ("first", "second"):
        began = time.perf_counter()
        await cache.get("how:greeting")
        took = time.perf_counter() - began
        entry = await cache.get_entry("how:greeting")
        row(
            f"{attempt} read, found in {'memory' if attempt == 'second' else entry.layer if entry else 'nothing'}",
            span(took),
        )
    began = time.perf_counter()
    missing = await cache.get("how:nothing")
    row(f"a key that is nowhere: {missing}, after asking all", span(time.perf_counter() - began))


async def when(cache: ToolCache, tools: list[Tool]) -> None:
    heading("3  WHEN: three requests, each made twice")
    vectors = [embed(first_line(tool)) for tool in tools]
    question = "join the lines of a paragraph into one"

    async def tool_discovery(log: Callable[[str], None]) -> None:
        def compute() -> list[Tool]:
            log("catalog: nowhere; looking through the packages")
            return discover()

        catalog = await cache.get_catalog("when", compute=compute)
        log(f"catalog of {len(catalog)} tools")

    async def semantic_search(log: Callable[[str], None]) -> None:
        def make_vector() -> Vector:
            log("embedding: nowhere; computing it")
            return embed(question)

        async def find() -> list[str]:
            log("search result: nowhere")
            vector = await cache.get_embedding(question, "ngrams-256", compute=make_vector)
            log("embedding is there; comparing it with all tools")
            return search(vector, tools, vectors)

        names = await cache.get_search_results(question, top_k=3, compute=find)
        log(f"found {names[0]}")

    async def agent_task(log: Callable[[str], None]) -> None:
        task = AgentTask(agent="chooser", template="Choose a tool for {goal}", args={"goal": question}, model="small")

        def choose(prompt: str, task: AgentTask) -> dict[str, str]:
            log(f"result: nowhere; running {task.agent!r}, {len(prompt)} characters")
            return {"tool": search(embed(question), tools, vectors)[0]}

        (result,) = await dispatch_agents([task], choose, cache=cache)
        log(f"result: {result.unwrap()['tool']}{', of the first run' if result.replayed else ', stored'}")

    for name, request in (
        ("discover the tools", tool_discovery),
        ("search by meaning", semantic_search),
        ("run an agent's task", agent_task),
    ):
        for attempt in ("first", "second"):
            print(f"  {paint('1', name)}, {attempt} time")
            await request(timeline())


def timeline() -> Callable[[str], None]:
    """Prints what happens, and when, from now on."""
    began = time.perf_counter()

    def log(what: str) -> None:
        row(f"  {what}", f"{(time.perf_counter() - began) * 1000:8.2f} ms")

    return log


async def invalidation(cache: ToolCache) -> None:
    heading("4  How an entry ends")

    async def there(key: str) -> str:
        return "there" if await cache.exists(key) else "gone"

    await cache.set("inv:brief", 1, ttl="1s")
    before = await there("inv:brief")
    await asyncio.sleep(1.05)
    row("its time is over (1 s)", f"{before}, then {await there('inv:brief')}")

    await cache.set_search_results("cheap flights", ["old tool"], catalog_version="v2", top_k=3)
    old = await cache.get_search_results("cheap flights", catalog_version="v2", top_k=3)
    new = await cache.get_search_results("cheap flights", catalog_version="v3", top_k=3)
    row("the catalog has a new version", f"v2 finds {old}, v3 finds {new}")

    await cache.set("inv:one", 1)
    before = await there("inv:one")
    await cache.delete("inv:one")
    row("it is deleted", f"{before}, then {await there('inv:one')}")

    await cache.set_many({f"inv:{number}": number for number in range(500)})
    count = len(await cache.get_many(f"inv:{number}" for number in range(500)))
    began = time.perf_counter()
    await cache.clear()
    took = time.perf_counter() - began
    left = len(await cache.get_many(f"inv:{number}" for number in range(500)))
    row("the namespace is cleared", f"{count} there, then {left}, in {span(took)}")
    say("Clearing writes one record, whatever the number of entries: older ones do not count any more.")


async def comparison(cache: ToolCache, tools: list[Tool]) -> None:
    heading("5  Measured: what one answer costs, and what repetition saves")
    vectors = [embed(first_line(tool)) for tool in tools]
    question = first_line(tools[-1])

    def compute() -> list[str]:
        return search(embed(question), tools, vectors)

    row("to compute one answer", span(await median(lambda: asyncio.sleep(0, compute()), 7)))
    await cache.get_search_results(question, top_k=3, compute=compute)
    hit = await median(lambda: cache.get_search_results(question, top_k=3), 200)
    row("to find it in memory", span(hit))
    for share in (0, 50, 90):
        await repetition(cache, tools, vectors, share)


async def repetition(cache: ToolCache, tools: list[Tool], vectors: list[Vector], share: int, count: int = 100) -> None:
    """Ask as many questions as ``count``; ``share`` percent of them repeat an earlier one."""
    distinct = max(1, count * (100 - share) // 100)
    questions = [f"{first_line(tools[number % distinct])} {number % distinct} of {share}" for number in range(count)]
    began = time.perf_counter()
    for question in questions:
        search(embed(question), tools, vectors)
    without = time.perf_counter() - began
    before = cache.stats().domains["search"]
    began = time.perf_counter()
    for question in questions:
        await cache.get_search_results(
            question,
            top_k=3,
            compute=lambda q=question: search(embed(q), tools, vectors),
        )
    taken = time.perf_counter() - began
    hits = cache.stats().domains["search"].hits - before.hits
    say(f"{count} questions, {share} % of them repeated:")
    row("  hits", f"{hits / count:.0%}")
    row("  without the cache, and with it", f"{span(without)}, {span(taken)}")
    row("  speed-up", f"{without / taken:.1f} times")
    row(
        f"  dollars, assuming ${USD_PER_EMBEDDING} a question",
        f"${count * USD_PER_EMBEDDING:.4f} without, ${(count - hits) * USD_PER_EMBEDDING:.4f} with",
    )


async def median(call: Callable[[], Awaitable[object]], repeat: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(run(demo))
