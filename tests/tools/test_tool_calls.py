"""Calls of tools on every layering: what they are kept under, for how long, and for whom."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rig import SteadyClock
from tenacity import AsyncRetrying, stop_after_attempt
from tools.toolbox import AGAIN, READS, Tool, defined, later, settle

from toolcache import RunContext, ToolCache, ToolPolicy
from toolcache.errors import (
    AlreadyInProgressError,
    CacheClosedError,
    MissingScopeError,
    RunTimeoutError,
    StoredAgentError,
    TaskMismatchError,
    UnsupportedKeyError,
)
from toolcache.events import Event, StaleServed, ValueNotStored
from toolcache.freshness import Freshness
from toolcache.keys.canonical import digest
from toolcache.keys.scopes import scope
from toolcache.normalize import casefold

Open = Callable[..., Awaitable[ToolCache]]
MINUTE = 60.0
HOUR = 3600.0


class TestKeepsResults:
    async def test_a_result_is_kept(self, open_cache: Open) -> None:
        """C6: a call with the same parameters is answered with the kept result, in another process too; others are not."""
        tool, cache, other = Tool(), await open_cache(), await open_cache()
        for one in (cache, other):
            one.tools["search"] = ToolPolicy("exact")
        assert [await cache.call_tool("search", tool, query="a", top=1) for _ in range(2)] == [1, 1]
        assert await cache.call_tool("search", tool, top=1, query="a") == 1, "the order does not matter"
        assert await cache.call_tool("search", tool, query="a", top=2) == 2
        assert await cache.call_tool("other", tool, query="a", top=1) == 3
        await settle(cache, other)
        shared = other._parts.redis is not None or other._parts.files is not None
        assert await other.call_tool("search", tool, query="a", top=1) == (1 if shared else 4)
        assert tool.params[0] == {"query": "a", "top": 1}

    async def test_the_key_is_that_of_the_table(self, local: ToolCache) -> None:
        """C6: the key is the tool, and a digest of the parameters that decide; of a server's tool, the server before it."""
        local.tools["search"] = ToolPolicy("exact", key_params=["query"])
        local.tools["kb", "search"] = ToolPolicy("exact", key_params=["query"])
        for name in ("search", ("kb", "search")):
            await local.call_tool(name, Tool(name), query="a", trace="7f")
        asked = digest({"query": "a"})
        assert await local.get(f"tool:search:{asked}") == "search"
        assert await local.get(f"tool:kb:search:{asked}") == ("kb", "search")

    async def test_five_minutes_unless_said(self, cache: ToolCache, clock: SteadyClock) -> None:
        """C6: a result is kept for five minutes, or as long as its policy says."""
        for name, policy in {
            "a": ToolPolicy("exact"),
            "b": ToolPolicy("exact", ttl="1h"),
            "c": ToolPolicy("exact", ttl=None),
        }.items():
            cache.tools[name] = policy
        tools = {name: Tool() for name in "abc"}
        for after, runs in ((0.0, [1, 1, 1]), (5 * MINUTE - 1, [1, 1, 1]), (2.0, [2, 1, 1]), (HOUR, [3, 2, 1])):
            await later(cache, clock, after)
            assert [await cache.call_tool(name, tool) for name, tool in tools.items()] == runs

    async def test_a_setting_is_another_time(self, open_cache: Open, clock: SteadyClock) -> None:
        """C6: ``ttls={"tool": …}`` holds where a policy says nothing."""
        cache, tool = await open_cache(ttls={"tool": "1m"}), Tool()
        cache.tools["a"] = ToolPolicy("exact")
        assert await cache.call_tool("a", tool) == 1
        await later(cache, clock, MINUTE + 1)
        assert await cache.call_tool("a", tool) == 2

    async def test_callers_at_once_share_a_run(self, cache: ToolCache) -> None:
        """C6: fifty callers at once have the tool run once, and get copies of their own."""
        cache.tools["a"] = ToolPolicy("exact")
        tool = Tool({"hits": []})
        answers = await asyncio.gather(*(cache.call_tool("a", tool, query="x") for _ in range(50)))
        answers[0]["hits"].append("mine")
        assert (tool.runs, answers[1], await cache.call_tool("a", tool, query="x")) == (1, {"hits": []}, {"hits": []})

    async def test_a_plain_function_does(self, local: ToolCache) -> None:
        """C6: a tool may be sync, and a parameter may have any name."""
        local.tools["a"] = ToolPolicy("exact")
        assert await local.call_tool("a", lambda name, run, self: [name, run, self], name=1, run=2, self=3) == [1, 2, 3]

    async def test_passing_it_by(self, local: ToolCache) -> None:
        """C6: within ``bypass()`` a tool is run and its result goes past the cache, whatever it is; ``refreshing()`` keeps it."""
        local.tools["a"] = ToolPolicy("exact", dump=lambda result: [result], load=lambda data: data[0])
        tool = Tool()
        assert await local.call_tool("a", tool) == 1
        with local.bypass():
            assert await local.call_tool("a", tool) == 2
            assert await local.call_tool("a", Tool({"isError": True})) == {"isError": True}
        assert await local.call_tool("a", tool) == 1
        with local.refreshing():
            assert await local.call_tool("a", tool) == 3
        assert await local.call_tool("a", tool) == 3

    async def test_a_closed_cache_runs_nothing(self, local: ToolCache) -> None:
        """C6: a call by way of a closed cache is refused, and the tool not run."""
        await local.aclose()
        tool = Tool()
        with pytest.raises(CacheClosedError):
            await local.call_tool("a", tool)
        assert tool.runs == 0


class TestOptions:
    """Each option of a policy does what it says."""

    async def test_key_params_and_ignore(self, local: ToolCache) -> None:
        """BUG-106: ``key_params`` are those that decide; ``ignore`` those that do not."""
        local.tools["a"] = ToolPolicy("exact", key_params=["query"])
        local.tools["b"] = ToolPolicy("exact", ignore=["trace"])
        for name in "ab":
            tool = Tool()
            assert await local.call_tool(name, tool, query="x", trace="1") == 1
            assert await local.call_tool(name, tool, query="x", trace="2") == 1
            assert await local.call_tool(name, tool, query="y", trace="1") == 2
        tool = Tool()
        assert [await local.call_tool("a", tool, top=top) for top in (1, 2)] == [1, 1], (
            "one that is left out is left out"
        )

    async def test_normalize_and_paths(self, local: ToolCache) -> None:
        """BUG-106: ``normalize`` is for the key alone, of all texts or by name; ``key_params`` may be paths, and left out."""
        policies = [
            ToolPolicy("exact", normalize=casefold),
            ToolPolicy("exact", normalize={"query": casefold}),
            ToolPolicy("exact", key_params=["query", "filters.lang"], normalize={"query": casefold}),
        ]
        for policy in policies:
            await local.clear()
            local.tools["a"] = policy
            tool = Tool()
            for query, lang, runs in (("Oslo", "no", 1), ("OSLO", "no", 1), ("Oslo", "en", 2)):
                assert await local.call_tool("a", tool, query=query, filters={"lang": lang}) == runs
            assert tool.params[0]["query"] == "Oslo"
            assert await local.call_tool("a", tool) == 3

    @pytest.mark.parametrize("name", ["a.b", "@user", "@", "", "a..b"])
    @pytest.mark.parametrize(
        "policy",
        [ToolPolicy("exact"), ToolPolicy("exact", vary=["user"]), ToolPolicy("exact", normalize=casefold)],
        ids=["plain", "vary", "normalize"],
    )
    async def test_parameters_of_any_name(self, local: ToolCache, name: str, policy: ToolPolicy) -> None:
        """BUG-68: parameters of whatever name decide: one with a dot in it is no path, one that begins with ``@`` no scope."""
        local.tools["a"], tool = policy, Tool()
        with scope(user="ada"):
            for value, runs in (("x", 1), ("y", 2), ("x", 1)):
                assert await local.call_tool("a", tool, **{name: value}) == runs
            for params in ({"@": {name: "x"}}, {name: "x", "a": {"b": "y"}}, {}):
                assert await local.call_tool("a", tool, **params) == tool.runs
            assert tool.runs == 5

    async def test_key_params_with_dots_in_them(self, local: ToolCache) -> None:
        """BUG-68: a parameter that is called like a path is the one that is meant."""
        local.tools["a"], tool = ToolPolicy("exact", key_params=["user.name"]), Tool()
        for user, runs in (("ada", 1), ("bob", 2), ("ada", 1)):
            assert await local.call_tool("a", tool, **{"user.name": user}, trace=tool.runs) == runs

    async def test_no_key_params(self, local: ToolCache) -> None:
        """BUG-106: of a tool of which no parameter decides all calls are one."""
        local.tools["a"], tool = ToolPolicy("exact", key_params=[]), Tool()
        assert [await local.call_tool("a", tool, trace=trace) for trace in "xy"] == [1, 1]

    async def test_vary_and_strict_scope(self, local: ToolCache) -> None:
        """BUG-111: ``vary`` keeps results of scopes apart; with ``strict_scope`` one that is missing is an error."""
        for kind in ("exact", "once"):
            local.tools[kind] = ToolPolicy(kind, vary=["user"], strict_scope=True)
            tool = Tool()
            for user, runs in (("ada", 1), ("bob", 2), ("ada", 1)):
                with scope(user=user):
                    assert await local.call_tool(kind, tool, query="x") == runs
            with pytest.raises(MissingScopeError, match="user"):
                await local.call_tool(kind, tool, query="x")
            assert tool.runs == 2
        local.tools["exact"] = ToolPolicy("exact", vary={"user": lambda: None})
        assert await local.call_tool("exact", Tool(), query="x") == 1

    async def test_what_has_no_canonical_form(self, local: ToolCache) -> None:
        """BUG-71: a parameter that cannot be part of a key is refused by name, unless it decides nothing."""
        local.tools["a"] = ToolPolicy("exact")
        local.tools["b"] = ToolPolicy("exact", key_params=["query"])
        session = object()
        with pytest.raises(UnsupportedKeyError, match=r"session.*key_params") as refused:
            await local.call_tool("a", Tool(), query="hush", session=session)
        assert "hush" not in str(refused.value)
        assert await local.call_tool("b", Tool(), query="hush", session=session) == 1

    async def test_error_ttl(self, cache: ToolCache, clock: SteadyClock) -> None:
        """BUG-108: with ``error_ttl`` a result that says ``isError`` is kept for that long; parts and exceptions are not."""
        cache.tools["a"] = ToolPolicy("exact", ttl="1h", error_ttl="10s")
        tool = Tool({"isError": True}, {"content": []})
        for after, runs in ((0.0, 1), (9.0, 1), (2.0, 2), (HOUR - 1, 2)):
            await later(cache, clock, after)
            await cache.call_tool("a", tool)
            assert tool.runs == runs
        for comes in ({"isPartial": True}, OSError("away")):
            tool = Tool(comes)
            for _ in range(2):
                try:
                    await cache.call_tool("a", tool, query=str(comes))
                except OSError:
                    assert isinstance(comes, OSError)
            assert tool.runs == 2

    async def test_condition(self, local: ToolCache) -> None:
        """BUG-106: ``condition`` says which results are kept."""
        local.tools["a"] = ToolPolicy("exact", condition=lambda result: "error" not in result)
        tool = Tool({"error": "no such page"}, {"page": "x"})
        answers = [await local.call_tool("a", tool) for _ in range(3)]
        assert answers == [{"error": "no such page"}, {"page": "x"}, {"page": "x"}]

    async def test_version(self, local: ToolCache) -> None:
        """BUG-110: with another ``version`` nothing is found of what was kept before."""
        tool = Tool()
        for version, runs in (("1", 1), ("1", 1), ("2", 2), ("1", 1)):
            local.tools["a"] = ToolPolicy("exact", version=version)
            assert await local.call_tool("a", tool) == runs

    async def test_tags(self, cache: ToolCache) -> None:
        """BUG-106: ``tags`` are those of what is kept."""
        cache.tools["a"] = ToolPolicy("exact", tags=["kb:pages"])
        tool = Tool()
        assert await cache.call_tool("a", tool) == 1
        await cache.invalidate(tags=["kb"])
        assert await cache.call_tool("a", tool) == 2

    async def test_dump_and_load(self, open_cache: Open) -> None:
        """BUG-106: ``dump`` makes data of a result, ``load`` a result of data, for hits as for runs and in every process."""
        tool = Tool(lambda: complex(1, 2))
        policy = ToolPolicy("exact", dump=lambda z: [z.real, z.imag], load=lambda data: complex(*data))
        for _ in range(2):
            cache = await open_cache()
            cache.tools["a"] = policy
            assert [await cache.call_tool("a", tool) for _ in range(2)] == [complex(1, 2)] * 2
            await settle(cache)
        assert tool.runs == (1 if cache._parts.redis or cache._parts.files else 2)

    async def test_what_cannot_be_dumped_or_loaded(self, local: ToolCache) -> None:
        """BUG-108: a result that ``dump`` breaks on goes to its caller; kept data that ``load`` breaks on is made anew."""
        told: list[Event] = []
        local.subscribe(told.append)
        local.tools["a"] = ToolPolicy("exact", dump=lambda result: result.text)
        tool = Tool()
        assert [await local.call_tool("a", tool) for _ in range(2)] == [1, 2]
        assert [type(event) for event in told] == [ValueNotStored] * 2
        local.tools["b"] = ToolPolicy("exact")
        tool = Tool("old", {"text": "new"})
        assert await local.call_tool("b", tool) == "old"
        local.tools["b"] = ToolPolicy("exact", load=lambda data: data["text"])
        assert [await local.call_tool("b", tool) for _ in range(2)] == ["new", "new"]
        assert tool.runs == 2

    async def test_freshness(self, cache: ToolCache, clock: SteadyClock) -> None:
        """BUG-106: with ``grace`` an old result stands in for a tool that fails, also one that says so in its result."""
        told: list[Event] = []
        cache.subscribe(told.append)
        cache.tools["a"] = ToolPolicy("exact", ttl="1m", grace="1h", error_ttl="5m", grace_retry="1s")
        tool = Tool("good", OSError("away"), {"isError": True}, "better")
        for after, answer in ((0.0, "good"), (2 * MINUTE, "good"), (MINUTE, "good"), (MINUTE, "better")):
            await later(cache, clock, after)
            assert await cache.call_tool("a", tool) == answer
        assert [type(event) for event in told].count(StaleServed) == 2
        assert tool.runs == 4

    @pytest.mark.parametrize(
        ("answer", "options"),
        [
            ("bad", {"condition": lambda answer: answer != "bad"}),
            (
                "bad",
                {"dump": lambda answer: {"good": 1, "better": 2}[answer], "load": ["", "good", "better"].__getitem__},
            ),
            ({"isPartial": True}, {}),
            (iter("bad"), {}),
        ],
        ids=["condition", "dump", "partial", "stream"],
    )
    async def test_nothing_stands_in_for_what_a_tool_says(
        self, cache: ToolCache, clock: SteadyClock, answer: Any, options: dict[str, Any]
    ) -> None:
        """BUG-108: with ``grace`` too whoever called gets the result, where that is no failure, but not to be kept either."""
        cache.tools["a"] = ToolPolicy("exact", ttl="1m", grace="1h", **options)
        tool = Tool("good", answer, "better")
        for after, said in ((0.0, "good"), (2 * MINUTE, answer), (0.0, "better"), (0.0, "better")):
            await later(cache, clock, after)
            assert await cache.call_tool("a", tool) == said
        assert tool.runs == 3

    async def test_semantic_is_exact_as_yet(self, local: ToolCache) -> None:
        """C6: under "semantic" the same parameters share a result, and those alone, until there is an engine."""
        local.tools["a"] = ToolPolicy("semantic", threshold=0.5)
        tool = Tool()
        for query, runs in (("What is the capital of Norway?", 1), ("What's the capital of Norway?", 2)):
            assert [await local.call_tool("a", tool, query=query) for _ in range(2)] == [runs, runs]
        assert "only the same parameters" in local.tools.verdict("a").why

    @pytest.mark.parametrize(
        ("kind", "field", "option", "value"),
        [
            *[("exact", "freshness", name, 0.5) for name in Freshness._fields],
            *[("once", "terms", name, 0.5) for name in ("timeout", "wait_timeout", "error_ttl", "lease")],
            ("once", "terms", "max_attempts", 7),
            ("once", "terms", "wait", "raise"),
            ("once", "terms", "on_abandon", "cancel"),
            ("once", "terms", "on_store_down", "run"),
            ("once", "terms", "on_error", (ValueError,)),
        ],
    )
    def test_each_option_arrives(self, kind: str, field: str, option: str, value: Any) -> None:
        """BUG-106: what ``Freshness`` and ``Terms`` know, a policy passes on."""
        told, plain = ToolPolicy(kind, **{option: value}), ToolPolicy(kind)
        assert getattr(getattr(told, field), option) == value
        assert getattr(getattr(plain, field), option) != value

    @pytest.mark.parametrize(
        ("kind", "options", "error", "told"),
        [
            ("exct", {}, ValueError, "did you mean 'exact'"),
            ("exact", {"tll": 1}, TypeError, "did you mean 'ttl'"),
            ("exact", {"threshold": 0.9}, TypeError, "no use for threshold: it is for 'semantic'"),
            ("exact", {"timeout": 1}, TypeError, "no use for timeout: it is for 'once'"),
            ("none", {"ttl": 1}, TypeError, "no use for ttl"),
            ("once", {"grace": 1}, TypeError, "no use for grace"),
            ("once", {"retention": 1}, TypeError, "no option 'retention'"),
            ("semantic", {"threshold": 0}, ValueError, "above 0, at most 1"),
            ("semantic", {"threshold": 1.01}, ValueError, "above 0, at most 1"),
            ("semantic", {"threshold": True}, ValueError, "above 0, at most 1"),
            ("exact", {"ttl": -1}, ValueError, "ttl"),
            ("exact", {"ttl": "soon"}, ValueError, "ttl"),
            ("exact", {"error_ttl": "soon"}, ValueError, "error_ttl"),
            ("exact", {"key_params": "query"}, TypeError, "list of parameters"),
            ("exact", {"ignore": [1]}, TypeError, "all of them texts"),
            ("exact", {"key_params": ["a..b"]}, ValueError, "no path"),
            ("exact", {"key_params": ["a"], "ignore": ["a"]}, ValueError, "cannot be in the key and be ignored"),
            (
                "exact",
                {"normalize": {"a": casefold}, "key_params": ["b"]},
                ValueError,
                "normalize of the tool names 'a'",
            ),
            ("exact", {"normalize": "casefold"}, ValueError, "normalize of the tool is a function"),
            ("exact", {"vary": "user"}, ValueError, "list of names of scopes"),
            ("exact", {"strict_scope": True}, ValueError, "needs names of scopes"),
            ("exact", {"strict_scope": "perhaps", "vary": ["user"]}, ValueError, "strict_scope is a switch"),
            ("exact", {"condition": True}, TypeError, "condition is a function"),
            ("exact", {"dump": "json"}, TypeError, "dump is a function"),
            ("exact", {"version": ""}, ValueError, "version"),
            ("exact", {"tags": "kb"}, ValueError, "list of texts"),
            ("exact", {"grace": "soon"}, ValueError, "grace"),
            ("once", {"timeout": "soon"}, ValueError, "timeout"),
        ],
    )
    def test_what_cannot_be(self, kind: str, options: dict[str, Any], error: type[Exception], told: str) -> None:
        """BUG-106: an option that is unknown, of no use or out of range is refused, with the nearest name."""
        with pytest.raises(error, match=told):
            ToolPolicy(kind, **options)

    def test_thresholds(self) -> None:
        """C6: a threshold is above 0, at most 1, and kept as it is."""
        assert [ToolPolicy("semantic", threshold=given).threshold for given in (1, 0.92)] == [1.0, 0.92]

    @pytest.mark.parametrize("name", ["", ("a",), ("a", "b", "c"), ("", "b"), ("a", ""), 1, None, ["a", "b"]])
    async def test_names_that_cannot_be(self, local: ToolCache, name: Any) -> None:
        """BUG-106: what names no tool is refused wherever it is given."""
        with pytest.raises(TypeError, match="by its name"):
            local.tools[name] = ToolPolicy("exact")
        with pytest.raises(TypeError, match="by its name"):
            await local.call_tool(name, Tool())

    def test_policies_are_a_dict(self, local: ToolCache) -> None:
        """C6: policies are kept by name, listed and taken away again."""
        local.tools.update({"a": ToolPolicy("exact"), ("s", "a"): ToolPolicy("none")})
        assert dict(local.tools) == {"a": ToolPolicy("exact"), ("s", "a"): ToolPolicy("none")}
        assert "b" not in local.tools
        del local.tools["a"]
        assert (len(local.tools), local.tools.get("a"), "1 policies" in repr(local.tools)) == (1, None, True)
        with pytest.raises(TypeError, match="ToolPolicy"):
            local.tools["a"] = "exact"  # type: ignore[assignment]  # the slip that is tested
        assert local.tools is local.tools


class TestRunsOnce:
    async def test_once_in_all_processes(self, open_cache: Open) -> None:
        """C6: what is dispatched once runs once, whoever calls at once or later, in the same process or another."""
        tool, caches = Tool(), [await open_cache(), await open_cache()]
        for cache in caches:
            cache.tools["pay"] = ToolPolicy("once")
        far = caches[0]._parts.redis or caches[0]._parts.files
        some = caches if far else caches[:1]
        answers = await asyncio.gather(*(cache.call_tool("pay", tool, order="7") for cache in some for _ in range(5)))
        answers += [await cache.call_tool("pay", tool, order="7") for cache in some]
        assert set(answers) == {1}
        assert await some[-1].call_tool("pay", tool, order="8") == 2

    async def test_key_params_say_which_and_the_others_must_agree(self, local: ToolCache) -> None:
        """C6: the parameters that are not in ``key_params`` must be the same when a call is repeated, unless ignored."""
        local.tools["pay"] = ToolPolicy("once", key_params=["order"], ignore=["trace"])
        tool = Tool()
        assert await local.call_tool("pay", tool, order="7", cents=100, trace="1") == 1
        assert await local.call_tool("pay", tool, order="7", cents=100, trace="2") == 1
        with pytest.raises(TaskMismatchError):
            await local.call_tool("pay", tool, order="7", cents=200, trace="1")
        assert tool.runs == 1

    async def test_an_error_result_is_no_failure_to_keep(self, local: ToolCache) -> None:
        """BUG-108: with ``on_error="store"``, too, a tool whose result says ``isError`` is run again by the next call."""
        local.tools["a"] = ToolPolicy("once", on_error="store")
        tool = Tool({"isError": True}, "done")
        assert [await local.call_tool("a", tool) for _ in range(3)] == [{"isError": True}, "done", "done"]

    async def test_a_run_knows_itself(self, local: ToolCache) -> None:
        """C6: a tool that is dispatched once may ask for the key under which to do it outside, and tell what it has cost."""
        local.tools["pay"] = ToolPolicy("once")

        def pay(order: str) -> str:
            RunContext.current().cost(usd=0.01)
            return f"{order} {len(RunContext.current().idempotency_key)}"

        assert [await local.call_tool("pay", pay, order="7") for _ in range(2)] == ["7 32"] * 2
        assert local.stats().dispatch.cost_usd_saved == 0.01

    async def test_an_answer_is_kept_for_an_hour(self, local: ToolCache, clock: SteadyClock) -> None:
        """BUG-106: the answer of what is dispatched once is kept for an hour, or as ``ttl`` says."""
        local.tools["a"], local.tools["b"] = ToolPolicy("once"), ToolPolicy("once", ttl="2h")
        tools = Tool(), Tool()
        for after, runs in ((0.0, [1, 1]), (HOUR - 1, [1, 1]), (2.0, [2, 1]), (HOUR, [3, 2])):
            clock.advance(after)
            assert [await local.call_tool(name, tool) for name, tool in zip("ab", tools, strict=True)] == runs

    async def test_terms(self, local: ToolCache) -> None:
        """BUG-106: what ``once`` may be told, a policy may."""
        never = asyncio.Event()
        local.tools["slow"] = ToolPolicy("once", timeout=0.001)
        with pytest.raises(RunTimeoutError):
            await local.call_tool("slow", never.wait)
        local.tools["kept"] = ToolPolicy("once", on_error="store", error_ttl="1m")
        tool = Tool(OSError("away"))
        for error in (OSError, StoredAgentError):
            with pytest.raises(error):
                await local.call_tool("kept", tool)
        assert tool.runs == 1
        local.tools["again"] = ToolPolicy("once", retry=AsyncRetrying(stop=stop_after_attempt(2)))
        assert await local.call_tool("again", Tool(OSError("away"), "there")) == "there"
        local.tools["busy"] = ToolPolicy("once", wait="raise", on_abandon="cancel")
        first = asyncio.ensure_future(local.call_tool("busy", never.wait))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(AlreadyInProgressError):
            await local.call_tool("busy", never.wait)
        first.cancel()
        await asyncio.wait([first])

    async def test_dump_and_load(self, local: ToolCache) -> None:
        """BUG-106: ``dump`` and ``load`` are for what is dispatched once, too; what ``dump`` breaks on is not run again."""
        local.tools["a"] = ToolPolicy("once", dump=lambda z: [z.real, z.imag], load=lambda data: complex(*data))
        tool = Tool(complex(1, 2))
        assert [await local.call_tool("a", tool) for _ in range(2)] == [complex(1, 2)] * 2
        broken = Tool("text")
        assert await local.call_tool("a", broken, query="x") == "text"
        with pytest.raises(StoredAgentError):
            await local.call_tool("a", broken, query="x")
        assert (tool.runs, broken.runs) == (1, 1)

    async def test_an_error_result_elsewhere_is_not_the_answer(self, open_cache: Open) -> None:
        """BUG-108: who waits in another process for a run whose result says ``isError`` has it run again."""
        caches = [await open_cache(), await open_cache()]
        for cache in caches:
            cache.tools["a"] = ToolPolicy("once")
        tool = Tool({"isError": True}, "done")
        going, gone = asyncio.Event(), asyncio.Event()

        async def slow() -> Any:
            going.set()
            await gone.wait()
            return await tool()

        first = asyncio.ensure_future(caches[0].call_tool("a", slow))
        await going.wait()
        second = asyncio.ensure_future(caches[1].call_tool("a", tool))
        await asyncio.sleep(0)
        gone.set()
        answers = [await first, await second]
        assert "done" in answers
        assert {"isError": True} in answers


class TestWrites:
    """A call that may change something ends what was kept of its server's tools."""

    async def test_reads_see_what_was_written(self, open_cache: Open) -> None:
        """BUG-109: after a tool that may write, whatever it comes to, what its server's tools have said is asked for anew."""
        cache = await open_cache()
        hints = [defined("get", server_says=READS), defined("put", server_says=AGAIN), defined("add")]
        for server in ("kv", "other"):
            await cache.tools.learn(hints, server=server, trusted=True)
        reads, others = Tool(), Tool()

        async def seen() -> list[int]:
            return [await cache.call_tool(("kv", "get"), reads), await cache.call_tool(("other", "get"), others)]

        assert [await seen(), await seen()] == [[1, 1]] * 2
        for runs, (name, writes) in enumerate(
            [("put", Tool()), ("add", Tool()), ("unknown", Tool()), ("add", Tool({"isError": True}))], start=2
        ):
            await cache.call_tool(("kv", name), writes)
            assert [await seen(), await seen()] == [[runs, 1]] * 2
        with pytest.raises(OSError, match="away"):
            await cache.call_tool(("kv", "add"), Tool(OSError("away")))
        assert await seen() == [6, 1]

    async def test_a_read_that_was_under_way_is_not_kept(self, local: ToolCache) -> None:
        """BUG-109: what a tool was asked for before a write has ended goes to its caller, and is not kept."""
        await local.tools.learn([defined("get", server_says=READS), defined("add")], server="kv", trusted=True)
        begun, go, tool = asyncio.Event(), asyncio.Event(), Tool()

        async def slow() -> Any:
            value = await tool()
            begun.set()
            await go.wait()
            return value

        reading = asyncio.ensure_future(local.call_tool(("kv", "get"), slow))
        await begun.wait()
        await local.call_tool(("kv", "add"), Tool())
        go.set()
        assert await reading == 1
        assert await local.call_tool(("kv", "get"), tool) == 2

    async def test_a_policy_of_ones_own_is_heeded_too(self, local: ToolCache) -> None:
        """BUG-109: what is kept by your own policy of a server that is not trusted is ended by any other of its tools."""
        local.tools["kv", "get"] = ToolPolicy("exact")
        local.tools["get"] = ToolPolicy("exact")
        reads, own = Tool(), Tool()
        for runs in (1, 2):
            assert await local.call_tool(("kv", "get"), reads) == runs
            await local.call_tool(("kv", "add"), Tool())
            assert await local.call_tool("get", own) == 1, "tools of no server have nothing to do with one another"
            await local.call_tool("add", Tool())

    async def test_what_another_agent_writes(self, local: ToolCache) -> None:
        """BUG-109: what an agent keeps by a policy of its own is ended by whoever calls another tool of the server."""
        faq, sales = local.for_agent("faq"), local.for_agent("sales")
        faq.tools["kv", "get"] = ToolPolicy("exact")
        reads = Tool()
        for runs, writer in ((1, sales), (2, local), (3, faq), (4, local.for_agent("later"))):
            assert [await faq.call_tool(("kv", "get"), reads) for _ in range(2)] == [runs, runs]
            await writer.call_tool(("kv", "add"), Tool())

    async def test_what_is_replayed_writes_nothing(self, local: ToolCache) -> None:
        """BUG-109: a call that is answered without a run changes nothing, and ends nothing."""
        await local.tools.learn(
            [defined("get", server_says=READS), defined("put", server_says=AGAIN)], server="kv", trusted=True
        )
        reads, puts = Tool(), Tool()
        await local.call_tool(("kv", "put"), puts, text="a")
        assert await local.call_tool(("kv", "get"), reads) == 1
        await local.call_tool(("kv", "put"), puts, text="a")
        assert (await local.call_tool(("kv", "get"), reads), puts.runs) == (1, 1)

    async def test_again_is_in_a_row(self, open_cache: Open) -> None:
        """BUG-109: what is idempotent by a hint is run again once another write of its server came between, anywhere."""
        caches = [await open_cache(), await open_cache()]
        hints = [defined("put", server_says=AGAIN), defined("add"), defined("get", server_says=READS)]
        for cache in caches:
            await cache.tools.learn(hints, server="kv", trusted=True)
        far = caches[0]._parts.redis or caches[0]._parts.files
        here, there = caches if far else caches[:1] * 2
        puts = Tool()
        for runs, cache, name, text in (
            (1, here, "put", "on"),
            (1, here, "put", "on"),
            (1, there, "put", "on"),
            (2, there, "put", "off"),
            (3, here, "put", "on"),
            (3, there, "get", ""),
            (3, here, "put", "on"),
            (3, there, "add", ""),
            (4, here, "put", "on"),
            (4, there, "put", "on"),
        ):
            await cache.call_tool(("kv", name), puts if name == "put" else Tool(), text=text)
            assert puts.runs == runs
            await settle(*caches)
            for one in caches:  # Redis tells of changes by and by, and nobody waits for that here
                one._parts.memory.clear()

    async def test_a_write_past_the_cache_is_one(self, open_cache: Open) -> None:
        """BUG-109: whoever calls a tool while bypassing the cache has done so for all processes."""
        here, there = await open_cache(), await open_cache()
        if here._parts.redis is None and here._parts.files is None:
            there = here
        for cache in (here, there):
            await cache.tools.learn([defined("put", server_says=AGAIN)], server="kv", trusted=True)
        puts = Tool()
        await here.call_tool(("kv", "put"), puts, text="on")
        await settle(here, there)
        with here.bypass():
            await here.call_tool(("kv", "put"), puts, text="off")
        await settle(here, there)
        there._parts.memory.clear()
        assert await there.call_tool(("kv", "put"), puts, text="on") == 3

    async def test_my_own_once_is_once(self, local: ToolCache) -> None:
        """C6: under a "once" of one's own a call is not run again, whatever came between."""
        await local.tools.learn([defined("pay"), defined("add")], server="bank", trusted=True)
        local.tools["bank", "pay"] = ToolPolicy("once")
        tool = Tool()
        for _ in range(2):
            assert await local.call_tool(("bank", "pay"), tool, order="7") == 1
            await local.call_tool(("bank", "add"), Tool())


class TestScopes:
    async def test_tenants_share_nothing(self, open_cache: Open) -> None:
        """BUG-111: no tenant is given what a tool has said to another, kept or dispatched once, by policy or by hints."""
        caches = [await open_cache(tenant=tenant) for tenant in ("a", "b", None)]
        names = [("exact", ""), ("once", ""), ("kv", "get"), ("kv", "put")]
        tool = Tool()
        for turn in range(2):
            answers = []
            for cache in caches:
                hints = [defined("get", server_says=READS), defined("put", server_says=AGAIN)]
                await cache.tools.learn(hints, server="kv", trusted=True)
                cache.tools["exact"], cache.tools["once"] = ToolPolicy("exact"), ToolPolicy("once")
                answers.append([await cache.call_tool(name if name[1] else name[0], tool, query="x") for name in names])
            flat = [answer for some in answers for answer in some]
            assert len(set(flat)) == len(flat), "each has its own"
            if turn:
                assert flat[0] == 1, "and keeps it"

    async def test_servers_share_nothing(self, local: ToolCache) -> None:
        """BUG-111: tools of one name of two servers, and one of none, are three."""
        tool = Tool()
        for name in ("a:b", ("a", "b"), ("a:b", "b"), ("a", ":b"), "b"):
            local.tools[name] = ToolPolicy("exact")
        names = list(local.tools)
        for _ in range(2):
            assert [await local.call_tool(name, tool, query="x") for name in names] == [1, 2, 3, 4, 5]

    async def test_nothing_is_told(self, local: ToolCache, caplog: pytest.LogCaptureFixture) -> None:
        """BUG-107: no parameter and no result of a tool is in events, logs, verdicts or errors."""
        caplog.set_level(logging.DEBUG)
        told: list[Event] = []
        local.subscribe(told.append)
        local.tools["a"] = ToolPolicy("exact", dump=lambda result: result.hush)
        local.tools["b"] = ToolPolicy("once", dump=lambda result: result.hush)
        for name in "ab":
            await local.call_tool(name, Tool("hush"), query="hush")
        with pytest.raises(StoredAgentError) as raised:
            await local.call_tool("b", Tool("hush"), query="hush")
        seen = [*map(str, told), *map(repr, told), caplog.text, str(raised.value), repr(local.tools)]
        assert not [text for text in seen if "hush" in text]
