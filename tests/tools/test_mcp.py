"""A session with a server of tools by way of the cache, on every layering."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, Field
from tools.toolbox import AGAIN, READS, defined, settle

from toolcache import ToolCache, ToolPolicy
from toolcache.integrations.mcp import LIST_CHANGED, CachedSession

Open = Callable[..., Awaitable[ToolCache]]


class Result(BaseModel):
    """As SDKs have it."""

    content: list[dict[str, str]]
    is_error: bool = Field(default=False, alias="isError")


class Server:
    """A server of three tools, in pages of one; counts what it is asked."""

    def __init__(self) -> None:
        self.tools = [defined("get", server_says=READS), defined("put", server_says=AGAIN), defined("add")]
        self.pages = 0
        self.calls: list[str] = []
        self.fails = False

    async def list_tools(self, cursor: str | None = None) -> Any:
        await asyncio.sleep(0)
        self.pages += 1
        at = int(cursor or 0)
        return {"tools": self.tools[at : at + 1], "nextCursor": str(at + 1) if at + 1 < len(self.tools) else None}

    async def call_tool(self, name: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        self.calls.append(name)
        text = f"{name} {sorted((arguments or {}).items())} {len(self.calls)} {sorted(options)}"
        return Result(content=[{"type": "text", "text": text}], isError=self.fails)


def text_of(result: Any) -> str:
    return str(result["content"][0]["text"])


class TestSession:
    async def test_the_whole_list_is_kept(self, open_cache: Open) -> None:
        """C6: the list of tools is asked for page by page, once for all who ask, and kept as a whole."""
        server, cache = Server(), await open_cache()
        session = CachedSession(server, cache, server="kv")
        lists = await asyncio.gather(*(session.list_tools() for _ in range(5)))
        assert [[tool["name"] for tool in tools] for tools in lists] == [["get", "put", "add"]] * 5
        assert server.pages == 3
        assert await cache.get_catalog("kv") == server.tools
        await settle(cache)
        other = CachedSession(server, await open_cache(), server="kv")
        assert await other.list_tools() == server.tools
        assert server.pages == (3 if cache._parts.redis or cache._parts.files else 6)

    async def test_calls_go_by_the_hints(self, cache: ToolCache) -> None:
        """BUG-109: calls are kept, dispatched once or run as a trusted server's hints say, without a list being asked for first."""
        server = Server()
        session = CachedSession(server, cache, server="kv", trusted=True)
        for name in ("get", "get", "put", "put", "add", "add"):
            await session.call_tool(name, {"key": "a"})
        assert server.calls == ["get", "put", "add", "add"]

    async def test_an_untrusted_server_is_asked_each_time(self, local: ToolCache) -> None:
        """BUG-109: unless it is trusted, a server's hints count for nothing; a policy of one's own does."""
        server = Server()
        session = CachedSession(server, local, server="kv")
        local.tools["kv", "add"] = ToolPolicy("exact")
        for name in ("get", "get", "add", "add"):
            await session.call_tool(name)
        assert server.calls == ["get", "get", "add"]

    async def test_results_are_data_or_what_load_makes(self, open_cache: Open) -> None:
        """C6: a result is the same whether it was kept or not: plain data, or what ``load`` makes of them."""
        server = Server()
        plain = CachedSession(server, await open_cache(), server="kv", trusted=True)
        assert [await plain.call_tool("get", {"key": "a"}) for _ in range(2)] == [
            {"content": [{"type": "text", "text": "get [('key', 'a')] 1 []"}], "isError": False}
        ] * 2
        loaded = CachedSession(server, await open_cache(), server="other", load=Result.model_validate)
        result = await loaded.call_tool("add")
        assert isinstance(result, Result)

    async def test_options_are_the_sessions(self, local: ToolCache) -> None:
        """BUG-106: what else a call is told goes to the session, and is no part of the key."""
        session = CachedSession(Server(), local, server="kv", trusted=True)
        first = await session.call_tool("get", {"key": "a"}, progress_callback=print)
        assert text_of(first) == "get [('key', 'a')] 1 ['progress_callback']"
        assert await session.call_tool("get", {"key": "a"}) == first

    async def test_errors_are_not_kept(self, local: ToolCache) -> None:
        """BUG-108: a result of an SDK that says ``isError`` is not kept."""
        server = Server()
        session = CachedSession(server, local, server="kv", trusted=True)
        server.fails = True
        assert (await session.call_tool("get"))["isError"]
        server.fails = False
        assert not (await session.call_tool("get"))["isError"]
        assert server.calls == ["get", "get"]

    @pytest.mark.parametrize(
        "notice",
        [
            {"method": LIST_CHANGED},
            SimpleNamespace(method=LIST_CHANGED),
            SimpleNamespace(root=SimpleNamespace(method=LIST_CHANGED)),
        ],
    )
    async def test_a_notice_ends_all_that_was_kept(self, local: ToolCache, notice: object) -> None:
        """BUG-110: ``tools/list_changed`` has the list asked for anew, and what the tools said, and a hint is believed anew."""
        server = Server()
        session = CachedSession(server, local, server="kv", trusted=True)
        assert text_of(await session.call_tool("get")).startswith("get [] 1")
        server.tools = [defined("get", server_says=READS, inputSchema={}), defined("find")]
        assert text_of(await session.call_tool("get")).startswith("get [] 1"), "nobody has said so yet"
        assert not await session.hear({"method": "notifications/message"})
        assert not await session.hear(OSError("a session hands on what went wrong, too"))
        assert await session.hear(notice)
        for _ in range(2):
            assert text_of(await session.call_tool("get")).startswith("get [] 2")
            assert [tool["name"] for tool in await session.list_tools()] == ["get", "find"]
        assert server.pages == 3 + 2, "and the new list is kept"

    @pytest.mark.parametrize("first", [True, False], ids=["first list", "another list"])
    async def test_a_notice_while_the_list_is_asked_for(self, local: ToolCache, *, first: bool) -> None:
        """BUG-110: a list that was under way when the server said that it has changed is neither believed nor kept."""
        server = Server()
        session = CachedSession(server, local, server="kv", trusted=True)
        if not first:
            await session.list_tools()
            await session.hear({"method": LIST_CHANGED})
        listing, old, new = server.list_tools, server.tools, [defined("get")]

        async def changes(cursor: str | None = None) -> Any:
            page = await listing(cursor)
            if cursor == "2" and server.tools is old:
                server.tools = new
                await session.hear({"method": LIST_CHANGED})
            return page

        server.list_tools = changes  # type: ignore[method-assign]  # it changes meanwhile
        assert await session.list_tools() == new
        assert await local.get_catalog("kv") == new
        assert [text_of(await session.call_tool("get")) for _ in "12"] == ["get [] 1 []", "get [] 2 []"]

    async def test_a_notice_with_every_list(self, local: ToolCache) -> None:
        """BUG-110: of a server whose list changes whenever it is asked for nothing is believed, and nothing kept."""
        server = Server()
        session = CachedSession(server, local, server="kv", trusted=True)
        listing = server.list_tools

        async def changes(cursor: str | None = None) -> Any:
            await session.hear({"method": LIST_CHANGED})
            return await listing(cursor)

        server.list_tools = changes  # type: ignore[method-assign]  # it changes all the time
        assert await session.list_tools() == server.tools
        assert await local.get_catalog("kv") is None
        assert [text_of(await session.call_tool("get")) for _ in "12"] == ["get [] 1 []", "get [] 2 []"]

    async def test_a_list_that_fails_is_not_kept(self, local: ToolCache) -> None:
        """BUG-108: a list of which a page is missing, or which has no end, is no list."""
        server = Server()
        session = CachedSession(server, local, server="kv")
        pages = iter([{"tools": [{"name": "a"}], "nextCursor": "1"}])

        async def breaks(**_: Any) -> Any:
            for page in pages:
                return page
            raise OSError("away")

        async def endless(**_: Any) -> Any:
            return SimpleNamespace(tools=[], next_cursor="again")

        for listing, error in ((breaks, OSError), (endless, ValueError)):
            server.list_tools = listing  # type: ignore[assignment, method-assign]  # another server
            with pytest.raises(error):
                await session.list_tools()
            assert await local.get_catalog("kv") is None

    async def test_a_session_that_has_no_pages(self, local: ToolCache) -> None:
        """C6: a session that returns the list itself does as well, of objects or of dicts."""

        async def whole() -> Any:
            return [SimpleNamespace(model_dump=lambda **_: defined("get")), defined("add")]

        session = CachedSession(SimpleNamespace(list_tools=whole, call_tool=None), local, server="kv")
        assert await session.list_tools() == [defined("get"), defined("add")]

    async def test_a_tool_is_called_without_a_list(self, local: ToolCache) -> None:
        """C6: where the list cannot be had, nothing is known of a tool, which is run."""
        server = Server()
        session = CachedSession(server, local, server="kv", trusted=True)
        listing = server.list_tools

        async def breaks(cursor: str | None = None) -> Any:
            raise OSError(cursor)

        server.list_tools = breaks  # type: ignore[method-assign]  # for a while
        for _ in range(2):
            await session.call_tool("get")
        server.list_tools = listing  # type: ignore[method-assign]  # it is back
        for _ in range(2):
            await session.call_tool("get")
        assert server.calls == ["get"] * 3
