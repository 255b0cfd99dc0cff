"""What is learned of servers' tools, and what is forgotten when they change."""

import json
import lzma
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from rig import LAYERINGS
from tools.toolbox import AGAIN, READS, Tool, defined, settle

from toolcache import ToolCache, ToolPolicy
from toolcache.known_tools import Learned
from toolcache.tool_definitions import Hints, ToolDefinition
from toolcache.verdicts import Act

Open = Callable[..., Awaitable[ToolCache]]


class Page(BaseModel):
    """What an SDK gives for a page of definitions: it can be iterated over, and is no list of tools."""

    tools: list[Any]


LISTED: Final = [defined("get", server_says=READS), defined("put", server_says=AGAIN), defined("add")]
_DATA: Final = Path(os.environ.get("TOOLCACHE_DATA") or Path(__file__).parents[3] / "shared" / "data")


class TestDefinitions:
    """Reading what servers send."""

    def test_dicts_and_objects_say_the_same(self) -> None:
        """C6: a definition off the wire and an object of an SDK are one, whichever way its names are spelled."""
        wire = {
            "name": "get",
            "title": "Get",
            "description": "Gets.",
            "inputSchema": {"type": "object"},
            "outputSchema": None,
            "annotations": {"title": "Get", "readOnlyHint": True, "openWorldHint": False, "destructiveHint": None},
        }
        hints = SimpleNamespace(readOnlyHint=True, destructiveHint=None, idempotentHint=None, openWorldHint=False)
        thing = SimpleNamespace(
            name="get",
            description="Gets.",
            inputSchema={"type": "object"},
            outputSchema=None,
            annotations=hints,
            meta=None,
        )
        snakes = SimpleNamespace(
            name="get",
            description="Gets.",
            input_schema={"type": "object"},
            annotations=SimpleNamespace(read_only_hint=True, open_world_hint=False),
        )
        one = ToolDefinition.of(wire)
        assert one == ToolDefinition.of(thing) == ToolDefinition.of(snakes)
        assert one is not None
        assert one.hints == Hints(read_only=True, open_world=False)

    @pytest.mark.parametrize(
        "more",
        [
            {"inputSchema": {"type": "object", "properties": {"a": {}}}},
            {"outputSchema": {"type": "object"}},
            {"description": "Gets something else."},
            {"version": "2"},
            {"_meta": {"version": "2"}},
            {"annotations": {**READS, "openWorldHint": False}},
        ],
    )
    def test_what_makes_another_definition(self, more: dict[str, Any]) -> None:
        """BUG-110: schemas, description, version and hints tell a definition from another; title and icons do not."""
        first, second = ToolDefinition.of(LISTED[0]), ToolDefinition.of({**LISTED[0], **more})
        assert first is not None
        assert second is not None
        assert first.digest != second.digest
        assert first == ToolDefinition.of({**LISTED[0], "title": "Get", "icons": [{"src": "x"}]})

    def test_what_models_are_told(self) -> None:
        """C6: a definition as models are told of it is one: by its name, its parameters and its description."""
        told = {"name": "get", "description": "Gets.", "parameters": {"type": "object"}}
        one = ToolDefinition.of({"type": "function", "function": told})
        assert one == ToolDefinition.of(told)
        assert one == ToolDefinition.of({"name": "get", "description": "Gets.", "inputSchema": {"type": "object"}})

    @pytest.mark.parametrize("hint", ["true", 1, 0, "", [], {}, None])
    def test_a_hint_is_true_or_false(self, hint: object) -> None:
        """BUG-109: what is neither true nor false is not said, so that the protocol's default holds, which permits nothing."""
        assert Hints.of({"readOnlyHint": hint, "idempotentHint": hint}) == Hints()

    @settings(max_examples=50)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_nothing_breaks_it(self, junk: object) -> None:
        """BUG-109: whatever a server sends is read, or says nothing."""
        for tool in (junk, {"name": "a", "annotations": junk, "inputSchema": junk}, {"name": junk}):
            one = ToolDefinition.of(tool)
            assert one is None or one.name

    async def test_what_cannot_be_told_apart_is_unknown(self, local: ToolCache) -> None:
        """BUG-109: hints count for nothing in a definition without end, or where two tools have one name."""
        endless: dict[str, Any] = {}
        endless["properties"] = endless
        tools = [
            defined("endless", server_says=READS, inputSchema=endless),
            *[defined("twice", server_says=READS, description=text) for text in "ab"],
            *[defined("same", server_says=READS)] * 2,
            {"annotations": READS},
            "get",
        ]
        learned = await local.tools.learn(tools, server="kv", trusted=True)
        assert (learned.known, learned.unreadable) == (("endless", "same"), 4)
        acts = [local.tools.verdict(("kv", name)).act for name in ("endless", "twice", "same")]
        assert acts == [Act.RUN, Act.RUN, Act.CACHE]


class TestTrust:
    async def test_trust_is_by_server_and_can_be_taken_back(self, local: ToolCache) -> None:
        """BUG-109: hints of a server that is not trusted widen nothing, whatever was trusted before or elsewhere."""
        for server, trusted in (("a", True), ("b", False)):
            await local.tools.learn(LISTED, server=server, trusted=trusted)
        acts = {name: local.tools.verdict(name).act for name in (("a", "get"), ("b", "get"), ("c", "get"), "get")}
        assert list(acts.values()) == [Act.CACHE, Act.RUN, Act.RUN, Act.RUN]
        await local.tools.learn(LISTED, server="a")
        assert local.tools.verdict(("a", "get")).act is Act.RUN

    async def test_untrusted_hints_do_not_narrow_either(self, local: ToolCache) -> None:
        """BUG-109: a policy of one's own holds against all hints."""
        local.tools["b", "add"] = ToolPolicy("exact")
        await local.tools.learn([defined("add", server_says={"destructiveHint": True})], server="b")
        assert local.tools.verdict(("b", "add")).act is Act.CACHE

    @pytest.mark.parametrize("tools", ["get", b"get", {"tools": []}, None, 7, Page(tools=[])])
    async def test_what_is_no_list(self, local: ToolCache, tools: Any) -> None:
        """BUG-106: ``learn`` takes the list itself, and says so."""
        with pytest.raises(TypeError, match="list of a server's tools"):
            await local.tools.learn(tools, server="kv")

    async def test_what_names_nothing(self, local: ToolCache) -> None:
        """BUG-106: a server has a name; ``changed`` says of what."""
        with pytest.raises(TypeError, match="server is a name"):
            await local.tools.learn([], server="")
        with pytest.raises(TypeError, match="server is a name"):
            await local.tools.changed(server="")
        with pytest.raises(ValueError, match="which tools"):
            await local.tools.changed()
        for tools in ("find", [("kv", "find")], [""]):
            with pytest.raises(TypeError, match=r"tools=\['find'\]"):
                await local.tools.changed(server="kv", tools=tools)  # type: ignore[arg-type]  # the slip that is tested


class Everything:
    """All that is kept of two servers' tools, and of one of no server, by way of one cache."""

    def __init__(self, cache: ToolCache, tool: Tool | None = None) -> None:
        self.cache = cache
        self.tool = tool or Tool()

    async def look(self, listed: list[dict[str, Any]] = LISTED) -> dict[str, int]:
        """The number of the run that each answer is of: another one where it was forgotten."""
        cache, tool = self.cache, self.tool
        cache.tools["get"] = ToolPolicy("exact")
        seen = {}
        for server in ("kv", "other"):
            for name in ("get", "find"):
                cache.tools[server, name] = ToolPolicy("exact")
                seen[f"{server} {name}"] = await cache.call_tool((server, name), tool)
            seen[f"{server} list"] = await cache.get_catalog(server, compute=tool)
        seen["get"] = await cache.call_tool("get", tool)
        for name in ("get", "find"):
            seen[f"about {name}"] = await cache.get_metadata(name, compute=tool)
        seen["search"] = await cache.get_search_results("a tool that gets", compute=tool)
        seen["answer"] = await cache.get_or_set("answer", tool)
        return seen

    async def forgets(self, before: dict[str, int]) -> set[str]:
        """What was forgotten since."""
        now = await self.look()
        return {name for name, run in now.items() if run != before[name]}


FIND: Final = defined("find", server_says=READS)
ALL: Final = [*LISTED, FIND]
OF_GET: Final = {"kv get", "kv list", "about get", "search"}


class TestChanges:
    async def test_the_same_list_changes_nothing(self, open_cache: Open) -> None:
        """BUG-110: learning a list again forgets nothing, in the order of the list or in another."""
        cache = await open_cache()
        everything = Everything(cache)
        first = await cache.tools.learn(ALL, server="kv")
        before = await everything.look()
        names = ("get", "put", "add", "find")
        assert first == Learned(known=names, added=names)
        again = await cache.tools.learn(ALL[::-1], server="kv")
        assert (again.added, again.changed, again.removed) == ((), (), ())
        assert await everything.forgets(before) == set()

    @pytest.mark.parametrize(
        ("listed", "told", "forgotten"),
        [
            ([{**LISTED[0], "inputSchema": {}}, *ALL[1:]], {"changed": ("get",)}, OF_GET),
            ([{**LISTED[0], "version": "2"}, *ALL[1:]], {"changed": ("get",)}, OF_GET),
            (ALL[1:], {"removed": ("get",)}, OF_GET),
            ([*ALL, defined("new")], {"added": ("new",)}, {"kv list", "search"}),
        ],
        ids=["schema", "version", "gone", "new"],
    )
    async def test_what_changes_is_forgotten(
        self, open_cache: Open, listed: list[dict[str, Any]], told: dict[str, Any], forgotten: set[str]
    ) -> None:
        """BUG-110: what is kept of a tool that is another one now is forgotten, with the list: of that one, and no other."""
        cache = await open_cache()
        everything = Everything(cache)
        for server in ("kv", "other"):
            await cache.tools.learn(ALL, server=server)
        before = await everything.look()
        learned = await cache.tools.learn(listed, server="kv")
        assert {
            name: getattr(learned, name) for name in ("added", "changed", "removed") if getattr(learned, name)
        } == told
        assert await everything.forgets(before) == forgotten

    @pytest.mark.parametrize("layering", LAYERINGS[1:])
    async def test_another_process_has_learned_before(self, open_cache: Open) -> None:
        """BUG-110: a process that learns another list than its predecessor did forgets what that one kept."""
        first = await open_cache()
        await first.tools.learn(ALL, server="kv")
        before = await Everything(first).look()
        await settle(first)
        second = await open_cache()
        learned = await second.tools.learn([{**LISTED[0], "inputSchema": {}}, *ALL[1:]], server="kv")
        assert learned.changed == ("get",)
        assert await Everything(second).look() != before
        again = await (await open_cache()).tools.learn([{**LISTED[0], "inputSchema": {}}, *ALL[1:]], server="kv")
        assert again.changed == (), "and it is done once"

    @pytest.mark.parametrize("layering", LAYERINGS[1:])
    async def test_all_processes_forget(self, open_cache: Open) -> None:
        """BUG-110: a list that has changed is heard of in every process."""
        caches = [await open_cache(coherence=False), await open_cache(coherence=False)]
        tool = Tool()
        looks = []
        for cache in caches:
            looks.append(await Everything(cache, tool).look())
            await settle(*caches)
        assert looks[0] == looks[1]
        await caches[0].tools.changed(server="kv")
        caches[1]._parts.memory.clear()  # it asks the layers, as it would once it was told
        forgotten = await Everything(caches[1], tool).forgets(looks[1])
        assert forgotten == {"kv get", "kv find", "kv list", "search"}

    async def test_what_nobody_has_learned_may_be_of_others(self, open_cache: Open) -> None:
        """BUG-110: a list that is learned for the first time forgets what was kept of its server's tools until then."""
        cache = await open_cache()
        everything = Everything(cache)
        before = await everything.look()
        await cache.tools.learn(ALL, server="kv")
        assert await everything.forgets(before) == OF_GET | {"kv find", "about find"}

    @pytest.mark.parametrize(
        ("what", "forgotten"),
        [
            ({"server": "kv"}, OF_GET | {"kv find", "about find"}),
            ({"server": "kv", "tools": ["get"]}, OF_GET),
            ({"tools": ["get"]}, {"get", "about get", "search"}),
            ({"tools": ["unknown"]}, {"search"}),
        ],
        ids=["server", "tool of a server", "tool", "unknown"],
    )
    async def test_changed(self, open_cache: Open, what: dict[str, Any], forgotten: set[str]) -> None:
        """BUG-110: a notice that tools have changed forgets the list, what is said of them and what they said, at once."""
        cache = await open_cache()
        everything = Everything(cache)
        for server in ("kv", "other"):
            await cache.tools.learn(ALL, server=server)
        before = await everything.look()
        receipt = await cache.tools.changed(**what)
        assert (receipt.scope, receipt.memory) == ("tools", "done")
        assert await everything.forgets(before) == forgotten

    async def test_a_long_list_is_forgotten_as_a_whole(self, local: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
        """BUG-110: a server that describes thousands of tools anew each time does not fill the stores with epochs."""
        raised: list[str] = []
        forget = local._machine.forget

        async def counted(scope: str, labels: Any) -> Any:
            raised.extend(labels)
            return await forget(scope, labels)

        monkeypatch.setattr(local._machine, "forget", counted)
        everything = Everything(local)
        many = [defined(f"tool{number}") for number in range(300)]
        await local.tools.learn([*ALL, *many], server="kv")
        raised.clear()
        before = await everything.look()
        await local.tools.learn([{**tool, "version": "2"} for tool in [*ALL, *many]], server="kv")
        assert await everything.forgets(before) == OF_GET | {"kv find", "about find"}
        assert len(raised) == 4

    async def test_all_tools_of_a_name(self, cache: ToolCache) -> None:
        """BUG-110: ``invalidate(tool=...)`` forgets what all tools of that name have said, and what is said of them."""
        everything = Everything(cache)
        before = await everything.look()
        await cache.invalidate(tool="get")
        assert await everything.forgets(before) == {"kv get", "other get", "get", "about get"}

    async def test_a_notice_takes_belief_away(self, local: ToolCache) -> None:
        """BUG-110: after a notice hints count for nothing until the list is learned anew; then they do again."""
        for what in ({"server": "kv"}, {"server": "kv", "tools": ["get"]}):
            await local.tools.learn(ALL, server="kv", trusted=True)
            assert local.tools.verdict(("kv", "get")).act is Act.CACHE
            await local.tools.changed(**what)
            assert local.tools.verdict(("kv", "get")).act is Act.RUN
            assert (local.tools.verdict(("kv", "find")).act is Act.CACHE) == ("tools" in what)

    async def test_the_definition_is_part_of_the_key(self, local: ToolCache) -> None:
        """BUG-110: with another definition nothing is found of what was kept under the one before; with the old one, it is."""
        tool = Tool()
        other = [{**LISTED[0], "inputSchema": {}}]
        for listed, runs in ((LISTED, 1), (other, 2), (LISTED, 3)):
            await local.tools.learn(listed, server="kv", trusted=True)
            assert [await local.call_tool(("kv", "get"), tool) for _ in range(2)] == [runs] * 2

    async def test_an_answer_of_mine_outlives_its_definition(self, local: ToolCache) -> None:
        """BUG-110: what is dispatched once by one's own policy is not run again because its definition has changed."""
        local.tools["kv", "pay"] = ToolPolicy("once")
        tool = Tool()
        for schema in ({}, {"type": "object"}):
            await local.tools.learn([defined("pay", inputSchema=schema)], server="kv")
            assert await local.call_tool(("kv", "pay"), tool, order="7") == 1


def _catalogs() -> dict[str, list[dict[str, Any]]]:
    """Real definitions by server, where they are at hand."""
    path = _DATA / "agent" / "tools.jsonl.xz"
    servers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if path.is_file():
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                tool = json.loads(line)
                servers[tool.get("server") or tool["source"]].append(tool)
    return servers


def _calls() -> list[dict[str, Any]]:
    """Real calls of an agent's tools, session by session, where they are at hand."""
    path = _DATA / "agent" / "calls_tau_airline.jsonl.xz"
    if not path.is_file():
        return []
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


async def test_real_sessions(local: ToolCache) -> None:
    """BUG-109: in real sessions that read and write, each answer is the one that the tool gave, and hits are there to be had."""
    calls = _calls()
    tools = {
        call["tool"]: defined(call["tool"], server_says={"readOnlyHint": call["kind"] != "write"}) for call in calls
    }
    await local.tools.learn(tools.values(), server="airline", trusted=True)
    session, hits = None, 0
    for call in calls:
        if call["session"] != session:  # each begins with the same reservations
            session = call["session"]
            await local.clear()
        tool = Tool({"text": call["result_sha"], "isError": call["error"]})
        said = await local.call_tool(("airline", call["tool"]), tool, **call["args"])
        assert said["text"] == call["result_sha"]
        hits += call["kind"] == "read" and not tool.runs
    assert hits == (5 if calls else 0), "as many as there are with a cache that is emptied by each write"


async def test_real_catalogs(local: ToolCache) -> None:
    """BUG-109: every real definition is read; those whose hints say so are believed, and nothing else is."""
    for server, listed in _catalogs().items():
        tools = listed[:500]
        learned = await local.tools.learn(tools, server=server, trusted=True)
        once = {tool["name"] for tool in tools}
        assert set(learned.known) <= once
        again = await local.tools.learn(tools, server=server, trusted=True)
        assert (again.changed, again.added, again.removed) == ((), (), ())
        for tool in tools:
            reads = (tool.get("annotations") or {}).get("readOnlyHint") is True
            assert (local.tools.verdict((server, tool["name"])).act is Act.CACHE) == (
                reads and tool["name"] in learned.known
            )
