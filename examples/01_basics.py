"""The basics of toolcache in five steps, on the tools that this machine has.

    python examples/01_basics.py                    memory and files, no server
    USE_REDIS=true python examples/01_basics.py     with Redis: yours (REDIS_URL), or one started for the demo

Every figure is measured in the run that prints it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import pairwise
from typing import Any

from stage import (
    BLOCK,
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
    requests,
    row,
    run,
    say,
    search,
    span,
    where,
)

from toolcache import Settings, ToolCache


async def demo(settings: Settings, server: Server | None) -> None:
    """All five steps, in order."""
    say(f"toolcache, the basics. {where(settings, server)}")
    async with ToolCache(settings) as cache:
        tools = await a_miss_and_a_hit(cache)
        await least_recently_used()
        await time_to_live(cache)
        questions = requests(tools, count=400, distinct=60)
        await the_same_work_twice(cache, tools, questions)
    async with ToolCache(settings) as reopened:
        await what_is_left_after_closing(reopened, settings, questions[0])


async def a_miss_and_a_hit(cache: ToolCache) -> list[Tool]:
    heading("1  A miss, then a hit")
    say("An agent needs to know its tools. Finding them takes time, so the answer is kept for 24 hours.")
    source = {"packages": PACKAGES}
    for attempt in ("first call, computed", "second call, from the cache"):
        began = time.perf_counter()
        catalog = await cache.get_catalog(source, compute=lambda: {"tools": discover()})
        row(attempt, span(time.perf_counter() - began))
    row("tools found on this machine", f"{len(catalog['tools']):,}")
    row("one of them", catalog["tools"][0]["name"])
    return list(catalog["tools"])


async def least_recently_used() -> None:
    heading("2  A full memory: the least recently used leaves")
    async with ToolCache(files=False, strategy="lru", max_entries=3) as small:
        for key in ("red", "green", "blue"):
            await small.set(key, f"the colour {key}")
        await small.get("red")
        await small.set("white", "the colour white")
        row("room for", "3 entries")
        row("stored", "red, green, blue")
        row("read again", "red")
        row("then stored", "white")
        for key in ("red", "green", "blue", "white"):
            row(f"is {key} still there?", "yes" if await small.exists(key) else "no: unused for the longest time")


async def time_to_live(cache: ToolCache) -> None:
    heading("3  Time to live")
    await cache.set("weather", "sunny", ttl="1s")
    row("at once", repr(await cache.get("weather")))
    row("it has left", span(await cache.ttl("weather") or 0.0))
    await asyncio.sleep(1.05)
    row("1.05 seconds later", repr(await cache.get("weather")))


async def the_same_work_twice(cache: ToolCache, tools: list[Tool], questions: list[str]) -> None:
    heading("4  Four hundred questions, without the cache and with it")
    say("Which tool does this? Answering takes an embedding and a search over all tools.")
    vectors = [embed(tool["description"]) for tool in tools]
    embeddings = 0

    def embedding(text: str) -> Vector:
        nonlocal embeddings
        embeddings += 1
        return embed(text)

    began = time.perf_counter()
    expected = [search(embedding(question), tools, vectors) for question in questions]
    without, embeddings = time.perf_counter() - began, 0

    async def find(question: str) -> list[str]:
        vector = await cache.get_embedding(question, "ngrams-256", compute=lambda: embedding(question))
        return search(vector, tools, vectors)

    async def answer(question: str) -> Any:
        return await cache.get_search_results(question, top_k=3, compute=lambda: find(question))

    began, hits, answers = time.perf_counter(), [0], []
    for number, question in enumerate(questions, 1):
        answers.append(await answer(question))
        if number % (len(questions) // 8) == 0:
            hits.append(number - embeddings)
    with_cache = time.perf_counter() - began

    for part, (before, after) in enumerate(pairwise(hits), 1):
        share = (after - before) / (len(questions) // 8)
        bar = BLOCK * round(share * (WIDTH - 38))
        print(f"  hit rate, requests {part * 50 - 49:>3}-{part * 50:<3} {share:>4.0%} {paint('32', bar)}")
    saved = len(questions) - embeddings
    row("same answers", "yes" if answers == expected else "NO")
    row("hit rate over all", f"{saved / len(questions):.1%}")
    row("without the cache", span(without))
    row("with it", span(with_cache))
    row("speed-up", f"{without / with_cache:.1f} times")
    row("embeddings made", f"{embeddings} instead of {len(questions)}")
    row(f"saved, assuming ${USD_PER_EMBEDDING} an embedding", f"${saved * USD_PER_EMBEDDING:.4f}")


async def what_is_left_after_closing(reopened: ToolCache, settings: Settings, question: str) -> None:
    heading("5  Closed, and opened again")
    began = time.perf_counter()
    found = await reopened.get_search_results(question, top_k=3)
    row("asked once more", question[: WIDTH // 2])
    row("the answer", found[0] if found else "lost")
    row("it took", span(time.perf_counter() - began))
    row("it came from", "Redis" if settings.redis_url else "the files")


if __name__ == "__main__":
    sys.exit(run(demo))
