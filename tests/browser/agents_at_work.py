"""Agents that work through a cache, for pages to look at: an hour of it in a few seconds, all of it really called."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from toolcache import Context, ToolCache, ToolPolicy

TOOLS: Final = ("web_search", "weather", "get_order_details", "list_flights")
AGENTS: Final = {"faq": "small", "planner": "large", "returns": "small"}
CITIES: Final = ("Oslo", "Rome", "Lima", "Kyoto", "Quito", "Cairo", "Perth", "Turin")
_USD_PER_TOKEN: Final = {"small": 4e-7, "large": 6e-6}


class Hurried:
    """The machine's clock, which whoever drives it sets forward: what is measured is real, what is waited for need not be.

    Args:
        behind: seconds by which it begins behind the machine's.
    """

    def __init__(self, behind: float) -> None:
        self._ahead = -behind
        self._moved = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return time.monotonic() + self._moved

    boottime = monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait, in real time but not for long: what is waited for has come sooner."""
        await asyncio.sleep(min(seconds, 0.05))

    def align(self, now: float) -> None:
        """Stay: a server tells another time."""

    def forward(self, seconds: float) -> None:
        """Let so much time have passed, but never into the future."""
        step = min(seconds, -self._ahead)
        self._ahead += step
        self._moved += step


class Agents:
    """Three agents and what they ask for: a few things often, many things once.

    Args:
        cache: what they work through.
        seed: of their wishes.
    """

    def __init__(self, cache: ToolCache, seed: int = 7) -> None:
        self._cache = cache
        self._chance = random.Random(seed)
        self.calls = 0
        for tool in TOOLS:
            cache.tools[tool] = ToolPolicy("exact", ttl="10m")

    async def work(self, calls: int) -> None:
        """So many calls, eight at a time."""
        wishes = [self._wish() for _ in range(calls)]
        room = asyncio.Semaphore(8)

        async def one(wish: Callable[[], Any]) -> None:
            async with room:
                await wish()

        await asyncio.gather(*(one(wish) for wish in wishes))
        self.calls += calls

    def _wish(self) -> Callable[[], Any]:
        chance, cache = self._chance, self._cache
        which = min(int(chance.paretovariate(0.7)), 400)
        agent = chance.choice(tuple(AGENTS))
        model = AGENTS[agent]
        match chance.choices(
            ("tool", "response", "embedding", "search", "completion", "catalog"), (30, 20, 25, 15, 6, 4)
        )[0]:
            case "tool":
                tool = chance.choice(TOOLS)
                return lambda: cache.for_agent(agent).call_tool(tool, _called, city=CITIES[which % 8], about=which)
            case "response":
                goal = f"answer question {which}"
                return lambda: cache.get_response(agent, goal, model=model, compute=_asked(model, 600 + which))
            case "embedding":
                return lambda: cache.get_embedding(f"chunk {which}", "embed-3", compute=_embedded(which))
            case "search":
                return lambda: cache.get_search_results(f"tools for task {which}", compute=_found(which))
            case "completion":
                return lambda: cache.get_completion(model, [f"summarise {which}"], compute=_asked(model, 900))
            case _:
                return lambda: cache.get_catalog(f"https://tools.example.org/{which % 5}", compute=_found(90))


async def _called(**params: Any) -> dict[str, Any]:
    await asyncio.sleep(0.004)
    return {**params, "answer": "all is well", "details": ["…"] * 12}


def _asked(model: str, tokens: int) -> Callable[[Context], Any]:
    async def compute(context: Context) -> str:
        await asyncio.sleep(0.012 if model == "small" else 0.035)
        context.cost(usd=tokens * _USD_PER_TOKEN[model], tokens=tokens)
        return "An answer of some length. " * (tokens // 40)

    return compute


def _embedded(which: int) -> Callable[[], Any]:
    async def compute() -> list[float]:
        await asyncio.sleep(0.006)
        return [((which * 37 + at) % 101) / 101 - 0.5 for at in range(256)]

    return compute


def _found(which: int) -> Callable[[], Any]:
    async def compute() -> list[dict[str, Any]]:
        await asyncio.sleep(0.008)
        return [{"name": f"tool_{which}_{at}", "score": 1 / (at + 1)} for at in range(10)]

    return compute
