"""Memories of agents on every layering: recalled, preloaded, remembered, forgotten."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from rig import SteadyClock
from sessions.conftest import MEMORY, Open, written

from toolcache import ToolCache
from toolcache.keys.canonical import digest

MINUTE = 60.0


def counting(value: Any) -> Callable[[], Any]:
    """A computation that says how often it ran."""

    def compute() -> Any:
        compute.runs += 1  # type: ignore[attr-defined]  # counted on the function itself
        return value

    compute.runs = 0  # type: ignore[attr-defined]  # counted on the function itself
    return compute


async def shout(query: str) -> str:
    return query.upper()


class TestRecall:
    async def test_what_is_recalled_is_computed_once(self, open_cache: Open, clock: SteadyClock) -> None:
        """C9: a memory is computed when it is first asked for, and good for 15 minutes, in every cache."""
        here = open_cache()
        compute = counting({"hits": 3})
        assert await here.memories.recall("faq", "returns") is None
        for _ in range(2):
            assert await here.memories.recall("faq", "returns", compute) == {"hits": 3}
        assert await here.memories.recall("faq", "returns") == {"hits": 3}
        assert compute.runs == 1  # type: ignore[attr-defined]
        await written(here)
        clock.advance(15 * MINUTE + 1)
        assert await here.memories.recall("faq", "returns") is None
        assert here.stats().domains["memory"].hits >= 1

    async def test_the_key(self, cache: ToolCache) -> None:
        """C9: a memory stands under ``memory:{agent}:{digest of the query}``."""
        await cache.memories.remember("faq", {"q": "returns"}, 1)
        assert await cache.get(f"memory:faq:{digest({'q': 'returns'})}") == 1

    async def test_agents_remember_for_themselves(self, cache: ToolCache) -> None:
        """BUG-111: what one agent remembers no other does, whatever it is called."""
        await cache.memories.remember("a", "q", 1)
        await cache.memories.remember("a:b", "q", 2)
        assert [await cache.memories.recall(agent, "q") for agent in ("a", "a:b", "b")] == [1, 2, None]

    async def test_queries_that_mean_the_same(self, cache: ToolCache) -> None:
        """C9: a normaliser makes one query of many; what is computed, is computed of the one that was asked."""
        memories = cache.memories.normalized(lambda query: " ".join(query.casefold().split()))
        await memories.preload("faq", ["Return  Policy"], shout)
        assert await memories.recall("faq", "return policy") == "RETURN  POLICY"
        assert await cache.memories.recall("faq", "Return  Policy") is None

    async def test_remember(self, open_cache: Open, clock: SteadyClock) -> None:
        """C9: what is told is remembered, for ``ttl`` if that is given, and gone with its tags."""
        cache = open_cache()
        await cache.memories.remember("faq", "short", 1, ttl="1m")
        await cache.memories.remember("faq", "tagged", 2, tags=["kb"])
        await cache.invalidate(tags=["kb"])
        assert await cache.memories.recall("faq", "tagged") is None
        clock.advance(61)
        assert await cache.memories.recall("faq", "short") is None


class TestForget:
    async def test_one(self, cache: ToolCache) -> None:
        """C9: one query is forgotten, and it is told whether there was something."""
        await cache.memories.remember("faq", "a", 1)
        await cache.memories.remember("faq", "b", 2)
        assert await cache.memories.forget("faq", "a") is True
        assert await cache.memories.forget("faq", "a") is False
        assert await cache.memories.recall("faq", "b") == 2

    async def test_all_of_an_agent(self, open_cache: Open) -> None:
        """C9: all memories of an agent are forgotten at once, and nothing else: not its answers, nor others' memories."""
        cache = open_cache()
        for at in range(5):
            await cache.memories.remember("faq", at, at)
        await cache.memories.remember("faq2", 0, "other")
        await cache.set_response("faq", "goal", "answer", model="m")
        receipt = await cache.memories.forget("faq")
        assert (receipt.scope, receipt.memory) == ("memories", "done")
        assert [await cache.memories.recall("faq", at) for at in range(5)] == [None] * 5
        assert await cache.memories.recall("faq2", 0) == "other"
        assert await cache.get_response("faq", "goal", model="m") == "answer"

    async def test_what_is_being_computed(self, cache: ToolCache) -> None:
        """C9: what is computed while all is forgotten goes to who waits, and is not kept."""
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def compute() -> str:
            begun.set()
            await go_on.wait()
            return "old"

        recalling = asyncio.ensure_future(cache.memories.recall("faq", "q", compute))
        await begun.wait()
        await cache.memories.forget("faq")
        go_on.set()
        assert await recalling == "old"
        assert await cache.memories.recall("faq", "q") is None


class TestPreload:
    async def test_what_is_missing_is_computed(self, open_cache: Open) -> None:
        """C9: of the queries given, those that are not remembered are computed, each once; a report says how many."""
        cache = open_cache()
        await cache.memories.remember("faq", "there", "kept")
        report = await cache.memories.preload("faq", ["there", "a", "b", "a"], shout)
        assert cache.stats().domains["memory"].misses == 2
        assert (report.asked, report.found, report.computed, report.failed, report.errors) == (3, 1, 2, 0, ())
        assert [await cache.memories.recall("faq", query) for query in ("there", "a", "b")] == ["kept", "A", "B"]
        again = await cache.memories.preload("faq", ["a", "b"], shout)
        assert (again.found, again.computed) == (2, 0)

    async def test_one_that_fails(self, cache: ToolCache) -> None:
        """C9: a computation that fails is in the report, and does not keep the others."""

        def compute(query: str) -> str:
            if query == "bad":
                raise LookupError(query)
            return query

        report = await cache.memories.preload("faq", ["a", "bad", "b"], compute)
        assert (report.computed, report.failed) == (2, 1)
        assert isinstance(report.errors[0], LookupError)
        assert await cache.memories.recall("faq", "b") == "b"
        assert "bad" not in repr(report)

    @MEMORY
    @pytest.mark.parametrize(("most", "seen"), [(3, 3), (None, 5)])
    async def test_not_all_at_once(self, cache: ToolCache, most: int | None, seen: int) -> None:
        """C9: as many are computed at a time as ``max_parallel`` says, five unless told."""
        running, highest = 0, 0

        async def compute(query: int) -> int:
            nonlocal running, highest
            running += 1
            highest = max(highest, running)
            for _ in range(5):
                await asyncio.sleep(0)
            running -= 1
            return query

        options: Any = {} if most is None else {"max_parallel": most}
        report = await cache.memories.preload("faq", range(20), compute, **options)
        assert (report.computed, highest) == (20, seen)

    async def test_for_how_long(self, open_cache: Open, clock: SteadyClock) -> None:
        """C9: what is preloaded is remembered for ``ttl``."""
        cache = open_cache()
        await cache.memories.preload("faq", ["a"], shout, ttl="1h")
        await written(cache)
        clock.advance(30 * MINUTE)
        assert await cache.memories.recall("faq", "a") == "A"

    @MEMORY
    @pytest.mark.parametrize("most", [0, -1, True, 1.5])
    async def test_a_limit_that_is_none(self, cache: ToolCache, most: Any) -> None:
        """BUG-106: a limit that cannot be is refused, by its name."""
        with pytest.raises(ValueError, match="max_parallel"):
            await cache.memories.preload("faq", [], shout, max_parallel=most)

    @MEMORY
    async def test_one_text(self, cache: ToolCache) -> None:
        """C9: one text is no list of queries."""
        with pytest.raises(TypeError, match=r"write \['returns'\]"):
            await cache.memories.preload("faq", "returns", shout)
