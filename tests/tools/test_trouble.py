"""Calls of tools while tools change, stores are away, or an agent looks at the cache in its own way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig import SteadyClock
from tools.toolbox import AGAIN, READS, Tool, defined

from toolcache import ToolCache, ToolPolicy
from toolcache.errors import CacheWriteError, StoresUnavailableError

Open = Callable[..., Awaitable[ToolCache]]
LISTED = [defined("get", server_says=READS), defined("put", server_says=AGAIN), defined("add")]


@pytest.fixture
async def lost(clock: SteadyClock) -> AsyncIterator[ToolCache]:
    """A cache that never gets through to its Redis, and has no files."""
    async with ToolCache(clock=clock, redis_url="redis://127.0.0.1:1", files=False, op_timeout=0.2) as cache:
        yield cache


class TestStoresAway:
    async def test_what_may_be_run_is_run(self, lost: ToolCache) -> None:
        """BUG-109: with no store, reads and writes by hints go on; only what you have said runs once is refused."""
        await lost.tools.learn(LISTED, server="kv", trusted=True)
        for name, runs in (("get", [1, 1]), ("put", [1, 1]), ("add", [1, 2])):
            tool = Tool()
            assert [await lost.call_tool(("kv", name), tool, key="a") for _ in range(2)] == runs
        lost.tools["pay"] = ToolPolicy("once")
        tool = Tool()
        with pytest.raises(StoresUnavailableError):
            await lost.call_tool("pay", tool)
        lost.tools["pay"] = ToolPolicy("once", on_store_down="run")
        assert await lost.call_tool("pay", tool) == 1

    async def test_a_change_that_cannot_be_told_is_an_error(self, lost: ToolCache) -> None:
        """BUG-110: what could not be forgotten where others read it is said so, and tried again when it is learned again."""
        await lost.tools.learn(LISTED, server="kv", trusted=True)
        other = [{**LISTED[0], "inputSchema": {}}]
        for _ in range(2):
            with pytest.raises(CacheWriteError):
                await lost.tools.learn(other, server="kv", trusted=True)
        with pytest.raises(CacheWriteError):
            await lost.tools.changed(server="kv")

    async def test_strict(self, clock: SteadyClock) -> None:
        """BUG-109: notes that no store takes are no error of a call, with ``strict`` either."""
        options: dict[str, Any] = {
            "redis_url": "redis://127.0.0.1:1",
            "files": False,
            "op_timeout": 0.2,
            "strict": True,
        }
        async with ToolCache(clock=clock, **options) as cache:
            await cache.tools.learn(LISTED, server="kv", trusted=True)
            assert await cache.call_tool(("kv", "put"), Tool(), key="a") == 1


class TestNotes:
    @pytest.mark.parametrize("junk", [None, 7, "text", [], ["a"], ["a", "b"], ["a", 1, 2], {"get": 7}, {7: "get"}])
    async def test_what_no_process_of_ours_wrote(self, local: ToolCache, junk: Any) -> None:
        """BUG-109: a note that says nothing is no error of a call; what it was about is as if it had changed."""
        for what in ("list", "turn"):
            await local.set(local._keys.tools(what, "kv"), junk)
        await local.tools.learn(LISTED, server="kv", trusted=True)
        tool = Tool()
        assert [await local.call_tool(("kv", "put"), tool, text="on") for _ in range(2)] == [1, 1]
        assert await local.call_tool(("kv", "put"), tool, text="off") == 2


class TestChangesMeanwhile:
    @pytest.mark.parametrize("by", ["notice", "list", "name", "write", "clear"])
    async def test_what_was_being_asked_is_not_kept(self, open_cache: Open, by: str) -> None:
        """BUG-110: a result that was being waited for when its tool changed goes to who waits, and is kept nowhere."""
        cache = await open_cache()
        await cache.tools.learn(LISTED, server="kv", trusted=True)
        cache.tools["kv", "get"] = ToolPolicy("exact")
        begun, go, tool = asyncio.Event(), asyncio.Event(), Tool()

        async def slow(**_: Any) -> Any:
            value = await tool()
            begun.set()
            await go.wait()
            return value

        calling = asyncio.ensure_future(cache.call_tool(("kv", "get"), slow))
        await begun.wait()
        if by == "notice":
            await cache.tools.changed(server="kv")
            await cache.tools.learn(LISTED, server="kv", trusted=True)
        elif by == "list":
            await cache.tools.learn([{**LISTED[0], "version": "2"}], server="kv", trusted=True)
            await cache.tools.learn(LISTED, server="kv", trusted=True)
        elif by == "name":
            await cache.invalidate(tool="get")
        elif by == "write":
            await cache.call_tool(("kv", "add"), Tool())
        else:
            await cache.clear()
        go.set()
        assert await calling == 1
        assert await cache.call_tool(("kv", "get"), tool) == 2

    async def test_a_caller_that_leaves_a_write(self, local: ToolCache) -> None:
        """BUG-109: a write whose caller has left may have been done: what was kept is forgotten all the same."""
        await local.tools.learn(LISTED, server="kv", trusted=True)
        reads, begun = Tool(), asyncio.Event()
        assert await local.call_tool(("kv", "get"), reads) == 1

        async def never() -> None:
            begun.set()
            await asyncio.Event().wait()

        writing = asyncio.ensure_future(local.call_tool(("kv", "add"), never))
        await begun.wait()
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        assert await local.call_tool(("kv", "get"), reads) == 2


class TestViews:
    async def test_an_agent_has_its_own(self, open_cache: Open) -> None:
        """C6: an agent's view keeps results apart; the cache's policies and what it has learned hold there, and it may have its own."""
        cache = await open_cache()
        await cache.tools.learn(LISTED, server="kv", trusted=True)
        cache.tools["search"] = ToolPolicy("exact")
        faq, ops = cache.for_agent("faq"), cache.for_agent("ops")
        ops.tools["search"] = ToolPolicy("none")
        tool = Tool()
        calls = [await one.call_tool("search", tool, query="x") for _ in range(2) for one in (cache, faq, ops)]
        assert calls == [1, 2, 3, 1, 2, 4]
        reads = Tool()
        assert [await one.call_tool(("kv", "get"), reads) for _ in range(2) for one in (cache, faq)] == [1, 2, 1, 2]
        assert "search" in cache.tools
        assert dict(ops.tools) == {"search": ToolPolicy("none")}

    async def test_one_agents_write_is_seen_by_all(self, local: ToolCache) -> None:
        """BUG-109: a write by one agent ends what others have kept of the server, and its turn of doing it again."""
        await local.tools.learn(LISTED, server="kv", trusted=True)
        faq, ops = local.for_agent("faq"), local.for_agent("ops")
        reads, puts = Tool(), Tool()
        assert await faq.call_tool(("kv", "get"), reads) == 1
        for one, text, runs in ((faq, "on", 1), (faq, "on", 1), (ops, "off", 2), (faq, "on", 3)):
            await one.call_tool(("kv", "put"), puts, text=text)
            assert puts.runs == runs
        assert await faq.call_tool(("kv", "get"), reads) == 2

    async def test_an_agent_may_do_without(self, local: ToolCache) -> None:
        """C6: with ``tool_cache=False`` an agent's tools are run each time, errors and streams too."""
        local.tools["search"] = ToolPolicy("exact")
        tool = Tool(1, {"isError": True}, 3)
        assert await local.call_tool("search", tool) == 1
        faq = local.for_agent("faq", tool_cache=False)
        assert [await faq.call_tool("search", tool) for _ in range(2)] == [{"isError": True}, 3]
        assert await local.call_tool("search", tool) == 1


class World:
    """A server whose one value can be read and set: what a call of its tools should see and do."""

    def __init__(self) -> None:
        self.value = 0

    def get(self) -> int:
        return self.value

    def put(self, value: int) -> int:
        self.value = value
        return value

    def add(self) -> int:
        self.value += 1
        return self.value


@settings(max_examples=80, deadline=None)
@example(steps=[("put", 0), ("changed",), ("add",), ("learn", True), ("put", 0)])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("get")),
            st.tuples(st.just("put"), st.integers(0, 2)),
            st.tuples(st.just("add")),
            st.tuples(st.just("changed")),
            st.tuples(st.just("learn"), st.booleans()),
        ),
        max_size=20,
    )
)
def test_a_cached_server_is_the_server(steps: list[tuple[Any, ...]]) -> None:
    """BUG-109: whatever is read, written, written again and learned, an agent sees what it would see without a cache."""

    async def go() -> None:
        async with ToolCache(files=False) as cache:
            world, truth = World(), World()
            await cache.tools.learn(LISTED, server="kv", trusted=True)
            for name, *args in steps:
                if name == "changed":
                    await cache.tools.changed(server="kv")
                elif name == "learn":
                    await cache.tools.learn(LISTED, server="kv", trusted=args[0])
                else:
                    params = {"value": args[0]} if args else {}
                    said = await cache.call_tool(("kv", name), getattr(world, name), **params)
                    assert said == getattr(truth, name)(**params)
                    assert world.value == truth.value

    asyncio.run(go())


class SlowWorld:
    """The same, whose tools take their time before and after what they do; remembers when the value was what."""

    def __init__(self) -> None:
        self.value = 0
        self.now = 0
        self.history = [(0, 0)]

    async def wait(self, ticks: int) -> None:
        for _ in range(ticks):
            await asyncio.sleep(0)

    async def get(self, before: int, after: int) -> int:
        await self.wait(before)
        value = self.value
        await self.wait(after)
        return value

    async def put(self, value: int, before: int, after: int) -> int:
        await self.wait(before)
        self.become(value)
        await self.wait(after)
        return value

    def become(self, value: int) -> None:
        self.now += 1
        self.value = value
        self.history.append((self.now, value))

    def was(self, value: int, since: int) -> bool:
        """Whether it was that at any time since."""
        at_first = max(one for one in self.history if one[0] <= since)
        return value in {at_first[1], *(told for when, told in self.history if when > since)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["get", "put", "put"]),
            st.integers(0, 1),
            st.integers(0, 12),
            st.integers(0, 30),
            st.integers(0, 30),
        ),
        max_size=12,
    )
)
def test_calls_at_once_see_and_do_what_they_say(calls: list[tuple[str, int, int, int, int]]) -> None:
    """BUG-109: however calls overlap, they have been done one after another: no answer is older than a write that has one."""

    async def go() -> None:
        async with ToolCache(files=False) as cache:
            world, writing = SlowWorld(), list[int]()
            await cache.tools.learn(LISTED, server="kv", trusted=True)

            async def one(name: str, value: int, later: int, before: int, after: int) -> None:
                await world.wait(later * 8)
                run = partial(getattr(world, name), before=before, after=after)
                params = {"value": value} if name == "put" else {}
                since = min([world.now, *writing])  # a write that has no answer yet may be done before, or after
                writing.extend([world.now] if params else [])
                begun = world.now
                said = await cache.call_tool(("kv", name), run, **params)
                assert world.was(said, since)
                if params:
                    writing.remove(begun)

            await asyncio.gather(*(one(*call) for call in calls))

    asyncio.run(go())
