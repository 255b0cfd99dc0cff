"""Views of a cache for agents, on every layering: keys, lifetimes and switches of their own."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import SteadyClock
from sessions.conftest import BOTH, MEMORY, Open
from sessions.conftest import written as layers_have_it

from toolcache import MISSING, AgentTask, Domain, Freshness, ToolCache, ToolPolicy, cached
from toolcache.domains import DOMAINS, SEARCH
from toolcache.keys.globs import written
from toolcache.keys.text import KeyText, key_text
from toolcache.machine import Machine
from toolcache.scoped import Door, Scope
from toolcache.views import AgentOptions, terms_of

WEATHER = Domain("weather", ttl="5m", key=("location",))
TASK = AgentTask("faq", "answer {q}", {"q": "why"})

Get = Callable[[ToolCache, Any], Awaitable[Any]]

GETTERS: dict[str, Get] = {
    "general": lambda cache, compute: cache.get_or_set("k", compute),
    "catalog": lambda cache, compute: cache.get_catalog("source", compute=compute),
    "search": lambda cache, compute: cache.get_search_results("query", compute=compute),
    "metadata": lambda cache, compute: cache.get_metadata("tool", compute=compute),
    "response": lambda cache, compute: cache.get_response("faq", "goal", model="m", compute=compute),
    "model": lambda cache, compute: cache.get_completion("m", ["hi"], compute=compute),
    "memory": lambda cache, compute: cache.memories.recall("faq", "query", compute),
    "weather": lambda cache, compute: cache[WEATHER].get(location="Oslo", compute=compute),
}


class Counter:
    """A computation whose values tell how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> int:
        self.runs += 1
        return self.runs


class TestScope:
    async def test_keys_are_the_agents_own(self, cache: ToolCache) -> None:
        """C5, BUG-111: under one key the cache and each agent have a value of their own, by whatever method."""
        faq, shop = cache.for_agent("faq"), cache.for_agent("shop")
        for number, one in enumerate((cache, faq, shop)):
            await one.set("k", number)
            await one.set_many({"a": [number], "ü": number, "x" * 300: number})
            assert await one.add("added", number)
        for number, one in enumerate((cache, faq, shop)):
            assert await one.get("k") == number
            assert await one.get_many(["ü", "k", "a", "none", "x" * 300]) == {
                "ü": number,
                "k": number,
                "a": [number],
                "x" * 300: number,
            }
            assert await one.get("added") == number
            assert await one.exists("a")
            assert 0 < (await one.ttl("a") or 0) <= 3600
            assert await one.touch("a", "2h")
            assert 3600 < (await one.ttl("a") or 0) <= 7200
            entry = await one.get_entry("a")
            assert entry is not None
            assert (entry.value, entry.tags) == ([number], ())
        assert await faq.delete("k") is True
        assert await faq.delete_many(["a", "none"]) == {"a": True, "none": False}
        assert await faq.expire("ü")
        assert [await faq.get(key) for key in ("k", "a", "ü")] == [None] * 3
        assert [await shop.get(key) for key in ("k", "a", "ü")] == [2, [2], 2]

    @BOTH
    @pytest.mark.parametrize("domain", GETTERS)
    async def test_domains_are_the_agents_own(self, cache: ToolCache, domain: str) -> None:
        """C5, BUG-111: what one agent has computed in a domain no other is given, nor the cache."""
        get, compute = GETTERS[domain], Counter()
        faq = cache.for_agent("faq")
        assert [await get(one, compute) for one in (faq, cache.for_agent("shop"), cache, faq)] == [1, 2, 3, 1]

    async def test_vectors_sessions_and_results(self, cache: ToolCache) -> None:
        """C5, BUG-111: the same of vectors, of sessions, and of what is run once."""
        faq = cache.for_agent("faq")
        await faq.set_embeddings(["a", "b"], "m", [[1.0], [2.0]])
        assert await faq.get_embeddings(["b", "a"], "m") == [[2.0], [1.0]]
        assert await cache.get_embeddings(["b", "a"], "m") == [None, None]
        assert await faq.get_embeddings(["b", "c"], "m", compute=lambda texts: [[3.0] for _ in texts]) == [[2.0], [3.0]]
        await faq.sessions.append("chat", "hello")
        assert await cache.sessions.resume("chat") is None
        await faq.set_result(TASK, "done")
        assert [await one.get_result(TASK) for one in (faq, cache)] == ["done", None]
        compute = Counter()
        assert [await one.once("pay", compute) for one in (faq, cache, faq)] == [1, 2, 1]

    async def test_the_same_agent_twice(self, open_cache: Open) -> None:
        """C5: two views of one agent have the same keys, in whatever cache."""
        here = open_cache()
        await here.for_agent("faq").set("k", 1)
        assert await here.for_agent("faq").get("k") == 1
        if here._parts.redis or here._parts.files:
            assert await open_cache().for_agent("faq").get("k") == 1

    async def test_one_computation_for_all_who_ask(self, cache: ToolCache) -> None:
        """C5, C2: callers of one view, or of two of the same agent, share a computation; another agent's does not wait."""
        ours, theirs = Counter(), Counter()
        asked = [("faq", ours), ("faq", ours), ("shop", theirs)] * 3
        await asyncio.gather(*(cache.for_agent(agent).get_or_set("k", compute) for agent, compute in asked))
        assert (ours.runs, theirs.runs) == (1, 1)

    @given(
        first=st.text(max_size=4),
        second=st.text(max_size=4),
        agents=st.tuples(*[st.text("a:%~@", min_size=1, max_size=3) | st.text(min_size=60, max_size=80)] * 2),
    )
    def test_no_two_share_a_key(self, first: str, second: str, agents: tuple[str, str]) -> None:
        """BUG-72, BUG-111: whatever agents and keys are made of, two of them are one only if they are equal, decoded or not."""
        one, other = (key_of(agent, key) for agent, key in zip(agents, (first, second), strict=True))
        same = agents[0] == agents[1] and key_text(first) == key_text(second)
        assert (one == other) == same
        assert key_text(one) == one
        assert (written(one) == written(other)) == same

    def test_keys_that_are_encoded_stay_apart(self) -> None:
        """BUG-72: a key that is encoded already, and a plain one of the same letters, are two for agents as well."""
        assert key_of("faq", KeyText("a%20b")) != key_of("faq", "a%20b")
        assert key_of("faq", KeyText("a%20b")) == key_of("faq", "a b")


def key_of(agent: str, key: str) -> str:
    return Door(ToolCache(files=False)._machine.entrance, agent).key(key)


class TestForgetting:
    async def test_what_an_agent_has_kept(self, open_cache: Open) -> None:
        """C5, C11: ``clear()`` of a view forgets all that the agent has kept, in every cache, and nothing of others."""
        here = open_cache()
        there = open_cache() if here._parts.redis or here._parts.files else here
        computed = {name: Counter() for name in GETTERS}
        for agent in ("faq", "shop"):
            for name, get in GETTERS.items():
                await get(here.for_agent(agent), computed[name])
            await here.for_agent(agent).set("set", 1, tags=["kb"])
            await here.for_agent(agent).add("added", 1)
            await here.for_agent(agent).set_many({"many": 1})
        receipt = await here.for_agent("faq").clear()
        assert (receipt.scope, receipt.memory) == ("agent", "done")
        for cache in (here, there):
            faq, shop = cache.for_agent("faq"), cache.for_agent("shop")
            assert await faq.get_many(["set", "added", "many", "k"]) == {}
            assert await shop.get_many(["set", "added", "many"]) == {"set": 1, "added": 1, "many": 1}
        for name, get in GETTERS.items():
            assert await get(here.for_agent("shop"), computed[name]) == (3 if name in {"response", "memory"} else 2)

    @BOTH
    async def test_labels_are_carried_once(self, cache: ToolCache) -> None:
        """C5: what a view of an agent keeps for that agent carries the label once."""
        faq = cache.for_agent("faq")
        await faq.memories.remember("faq", "q", 1)
        found = await faq._machine.lookups.find_one(faq._keys.memory("faq", "q"), faq.domains["memory"])
        assert found.held is not None
        assert found.held.tags == ("@d:memory", "@a:faq", "@d:memory/faq")

    async def test_sessions_and_what_was_run_once_stay(self, cache: ToolCache) -> None:
        """C5: what nobody can compute again is not forgotten with the agent's values."""
        faq = cache.for_agent("faq")
        await faq.sessions.append("chat", "hello")
        await faq.once("pay", lambda: "paid")
        await faq.clear()
        session = await faq.sessions.resume("chat")
        assert session is not None
        assert await faq.once("pay", lambda: "paid twice") == "paid"

    async def test_by_its_name(self, open_cache: Open) -> None:
        """C5, C11: ``invalidate(agent=...)`` of the cache, or of any view, forgets what the agent has kept."""
        cache = open_cache()
        for teller in (cache, cache.for_agent("faq"), cache.for_agent("shop")):
            for agent in ("faq", "shop"):
                await cache.for_agent(agent).set("k", agent)
            await cache.set("k", "cache")
            receipt = await teller.invalidate(agent="faq")
            assert (receipt.scope, receipt.memory) == ("agent", "done")
            found = [await one.get("k") for one in (cache.for_agent("faq"), cache.for_agent("shop"), cache)]
            assert found == [None, "shop", "cache"]

    @pytest.mark.parametrize("kind", ["key", "agent", "domain", "tags", "namespace"])
    async def test_what_is_being_computed(self, cache: ToolCache, kind: str) -> None:
        """C5, C11: what is computed for an agent while it is forgotten, by whatever kind, is not kept."""
        faq, begun, go_on = cache.for_agent("faq"), asyncio.Event(), asyncio.Event()

        async def compute() -> str:
            begun.set()
            await go_on.wait()
            return "old"

        computing = asyncio.ensure_future(faq.get_search_results("q", compute=compute))
        if kind in {"key", "tags"}:
            computing.cancel()
            begun.clear()
            computing = asyncio.ensure_future(faq.get_or_set("k", compute, tags=["kb"]))
        await begun.wait()
        match kind:
            case "key":
                await faq.delete("k")
            case "agent":
                await cache.invalidate(agent="faq")
            case "domain":
                await cache.invalidate(domain="search")
            case "tags":
                await cache.invalidate(tags=["kb"])
            case _:
                await cache.clear()
        go_on.set()
        assert await computing == "old"
        assert await faq.get_search_results("q") is None
        assert await faq.get("k") is None

    async def test_patterns_mean_its_own_keys(self, open_cache: Open) -> None:
        """C5, C11, BUG-111: to list by a pattern, or to remove by one or by a predicate, is after the agent's keys alone."""
        cache = open_cache()
        faq, other, nested = (cache.for_agent(agent) for agent in ("a", "b", "a:b"))
        long = "page:" + "x" * 300
        for one in (cache, faq, other, nested):
            await one.set_many({"page:1": 1, "page:ü": 2, "user:1": 3, "b:page:1": 4, long: 5})
        keys = {info.key async for info in faq.scan()}
        assert {key for key in keys if "~" not in key} == {"page:1", "page:ü", "user:1", "b:page:1"}
        (cut,) = {key for key in keys if "~" in key}
        assert await faq.get(cut) == 5
        assert {info.key async for info in nested.scan("page:?")} == {"page:1", "page:ü"}
        endless = cache.for_agent("n*" * 150)
        await endless.set("page:1", 1)
        for one in (endless, other):
            await one.memories.remember("n" * 300, "q", 1)
        assert len([info.key async for info in endless.scan()]) == 2
        assert len([info.key async for info in other.scan("memory:*")]) == 1
        assert [info.key async for info in endless.scan("page*")] == ["page:1"]
        assert (await faq.invalidate(pattern="page:[!1]")).removed == 1
        assert (await faq.invalidate(where=lambda info: info.key == "user:1")).removed == 1
        assert (await faq.invalidate(where=lambda info: info.key == "page:1", pattern="page*")).removed == 1
        assert {info.key async for info in faq.scan() if "~" not in info.key} == {"b:page:1"}
        for one in (cache, other, nested):
            assert len(await one.get_many(["page:1", "page:ü", "user:1", "b:page:1", long])) == 5
        for wrong in ({"pattern": 7}, {"pattern": ""}, {"where": 7}, {"pattern": "[a"}, {"patern": "*"}):
            with pytest.raises((TypeError, ValueError)):
                await faq.invalidate(**wrong)
        with pytest.raises(ValueError, match="pattern"):
            faq.scan("[a")

    @BOTH
    async def test_tags_are_of_the_whole_cache(self, cache: ToolCache) -> None:
        """C5, C12: what is invalidated by a tag is gone for all, whoever says so."""
        faq = cache.for_agent("faq")
        for one in (cache, faq):
            await one.set("k", 1, tags=["kb"])
        await faq.invalidate(tags=["kb"])
        assert [await one.get("k") for one in (cache, faq)] == [None, None]


class TestSettings:
    @BOTH
    @pytest.mark.parametrize("domain", GETTERS)
    async def test_lifetimes(self, open_cache: Open, clock: SteadyClock, domain: str) -> None:
        """C5, BUG-106: each domain has the lifetime that the agent is told for it, and others keep theirs."""
        cache = open_cache()
        cache[WEATHER]  # known from now on
        faq = cache.for_agent("faq", **({"default_ttl": "1s"} if domain == "general" else {"ttls": {domain: "1s"}}))
        get, compute = GETTERS[domain], Counter()
        for one in (faq, cache):
            await get(one, compute)
        await layers_have_it(cache)
        clock.advance(1.5)
        assert [await get(one, compute) for one in (faq, cache)] == [3, 2]

    @MEMORY
    @pytest.mark.parametrize("domain", [name for name in DOMAINS if name != "general"])
    async def test_a_lifetime_by_its_own_name(self, cache: ToolCache, domain: str) -> None:
        """C5, BUG-106: ``response_ttl`` is the same as ``ttls={"response": …}``, and so for each domain; shown in ``domains``."""
        faq = cache.for_agent("faq", **{f"{domain}_ttl": "7s"})  # type: ignore[arg-type]
        assert faq.domains[domain].ttl == 7
        assert cache.domains[domain].ttl == DOMAINS[domain].ttl

    @MEMORY
    async def test_of_sessions_and_requests(self, open_cache: Open, clock: SteadyClock) -> None:
        """C5, BUG-106: the agent's lifetimes hold for sessions and for what is run once as well."""
        faq = open_cache().for_agent("faq", session_ttl="5s", idempotency_ttl="5s")
        compute = Counter()
        await faq.sessions.append("chat", 1)
        await faq.once("pay", compute)
        clock.advance(6)
        assert await faq.sessions.resume("chat") is None
        assert await faq.once("pay", compute) == 2

    @BOTH
    @pytest.mark.parametrize("domain", [name for name in GETTERS if name != "general"])
    async def test_switches(self, cache: ToolCache, domain: str) -> None:
        """C5, BUG-106: a domain that is switched off for an agent is computed always, and nothing of it is looked up or kept."""
        cache[WEATHER]
        faq = cache.for_agent("faq")
        without = cache.for_agent("faq", **{f"{domain}_cache": False})  # type: ignore[arg-type]
        get, compute = GETTERS[domain], Counter()
        assert [await get(without, compute) for _ in range(2)] == [1, 2]
        assert await get(faq, compute) == 3
        assert await get(without, compute) == 4
        assert await get(without, None) is None
        assert await get(faq, None) == 3

    @BOTH
    async def test_a_switch_of_vectors(self, cache: ToolCache) -> None:
        """C5, BUG-106: the same of vectors, one by one and many at a time, set or computed."""
        without = cache.for_agent("faq", embedding_cache=False)
        seen: list[list[str]] = []

        def embed(texts: list[str]) -> list[list[float]]:
            seen.append(texts)
            return [[1.0] for _ in texts]

        for _ in range(2):
            assert await without.get_embeddings(["a", "b"], "m", compute=embed) == [[1.0], [1.0]]
        assert seen == [["a", "b"]] * 2
        await without.set_embedding("a", "m", [1.0])
        await without.set_embeddings(["b"], "m", [[1.0]])
        assert await cache.for_agent("faq").get_embeddings(["a", "b"], "m") == [None, None]
        await cache.for_agent("faq").set_embeddings(["a", "b"], "m", [[1.0], [2.0]])
        assert await without.get_embeddings(["a", "b"], "m") == [None, None]
        cache._parts.memory.clear()
        assert await without.get_embeddings(["a", "b"], "m") == [None, None]

    @BOTH
    async def test_a_switch_of_functions(self, cache: ToolCache) -> None:
        """C5, BUG-106: the same of what ``@cached`` keeps in a domain."""
        runs = Counter()

        async def find(query: str) -> str:
            runs()
            return query

        views = cache.for_agent("faq"), cache.for_agent("faq", search_cache=False)
        found, without = (cached(ttl="1h", cache=view, domain=SEARCH)(find) for view in views)
        for function in (found, found, without, without):
            assert await function("q") == "q"
        assert runs.runs == 3

    @BOTH
    async def test_touching_lasts_as_long_as_the_agent_is_told(self, cache: ToolCache) -> None:
        """C5, BUG-106: ``touch`` without a ttl is for the agent's own."""
        faq = cache.for_agent("faq", default_ttl="10s")
        await faq.set("k", 1, ttl="1h")
        assert await faq.touch("k")
        assert 0 < (await faq.ttl("k") or 0) <= 10

    @BOTH
    async def test_others_are_not_switched_off(self, cache: ToolCache) -> None:
        """C5: a switch is of its domain alone."""
        faq = cache.for_agent("faq", response_cache=False, memory_cache=False)
        for name in ("general", "search", "model"):
            compute = Counter()
            assert [await GETTERS[name](faq, compute) for _ in range(2)] == [1, 1]

    async def test_freshness_is_merged_in_order(self, open_cache: Open, clock: SteadyClock) -> None:
        """C4, C5: of grace the call decides, then the domain, then the agent, then the cache."""
        cache = open_cache(grace="1m")
        kept = Domain("kept", ttl="5m", key=("x",), freshness=Freshness(grace=120.0))
        plain = Domain("plain", ttl="5m", key=("x",))
        faq = cache.for_agent("faq", grace="1h", default_ttl="5m")

        async def fail() -> Any:
            raise LookupError

        async def stands_in(call: Callable[..., Awaitable[Any]]) -> bool:
            await call(lambda: 1)
            await layers_have_it(cache)
            clock.advance(300 + 90)
            try:
                return bool(await call(fail) == 1)
            except LookupError:
                return False

        assert not await stands_in(lambda run: cache[plain].get(x=1, compute=run))  # the cache: a minute
        assert await stands_in(lambda run: faq[plain].get(x=1, compute=run))  # the agent: an hour
        assert await stands_in(lambda run: cache[kept].get(x=2, compute=run))  # the domain: two minutes
        assert not await stands_in(lambda run: faq.get_or_set("a", run, grace="1m"))  # the call
        assert await stands_in(lambda run: faq.get_or_set("b", run))
        clock.advance(3600)
        await faq[kept].get(x=3, compute=lambda: 1)
        await layers_have_it(cache)
        clock.advance(300 + 130)
        with pytest.raises(LookupError):
            await faq[kept].get(x=3, compute=fail)

    @pytest.mark.parametrize(
        ("options", "error", "told"),
        [
            ({"respones_ttl": "1h"}, TypeError, "no option 'respones_ttl'; did you mean 'response_ttl'"),
            ({"tool_cach": False}, TypeError, "did you mean 'tool_cache'"),
            ({"session_cache": False}, TypeError, "no option 'session_cache'"),
            ({"general_ttl": 1}, TypeError, "no option 'general_ttl'"),
            ({"gracee": 1}, TypeError, "did you mean 'grace'"),
            ({"ttls": {"respones": 1}}, ValueError, "did you mean 'response'"),
            ({"ttls": {"response": 1}, "response_ttl": 2}, ValueError, "response_ttl is said twice"),
            ({"ttls": "response=1"}, TypeError, "ttls takes a lifetime for each"),
            ({"response_ttl": "soon"}, ValueError, "response_ttl"),
            ({"default_ttl": -1}, ValueError, "default_ttl"),
            ({"memory_cache": "maybe"}, ValueError, "memory_cache is a switch"),
            ({"refresh_ahead": 2}, ValueError, "refresh_ahead"),
        ],
    )
    def test_options_that_are_none(self, options: dict[str, Any], error: type[Exception], told: str) -> None:
        """BUG-106: an option that is unknown, or cannot be, is refused, with the nearest name."""
        with pytest.raises(error, match=told):
            terms_of(options, DOMAINS)

    @pytest.mark.parametrize("agent", ["", None, 7])
    def test_an_agent_has_a_name(self, agent: Any) -> None:
        """C5: a view is of an agent that has a name."""
        cache = ToolCache(files=False)
        with pytest.raises(ValueError, match="name of an agent"):
            cache.for_agent(agent)

    def test_checkers_know_each_option(self) -> None:
        """BUG-106: what is taken at run time is what type checkers are told."""
        spans = {f"{name}_ttl" for name in DOMAINS if name != "general"}
        switches = {f"{name}_cache" for name in DOMAINS} - {"general_cache", "session_cache", "idempotency_cache"}
        own = set(AgentOptions.__annotations__) - set(Freshness._fields)
        assert own == spans | switches | {"default_ttl", "ttls"}


class TestTools:
    async def test_results_are_the_agents_own(self, cache: ToolCache) -> None:
        """C5, C6: what the cache is told of a tool holds for its agents, each of which has results of its own."""
        cache.tools["find"] = ToolPolicy("exact")
        faq, shop, find = cache.for_agent("faq"), cache.for_agent("shop"), Counter()
        called = [await one.call_tool("find", find) for one in (faq, faq, shop, cache, cache)]
        assert called == [1, 1, 2, 3, 3]
        await cache.invalidate(agent="faq")
        assert [await one.call_tool("find", find) for one in (faq, shop)] == [4, 2]

    @BOTH
    async def test_policies_of_its_own(self, cache: ToolCache) -> None:
        """C5, C6: an agent may be told another policy, and others hear nothing of it; it may take it back."""
        cache.tools["find"] = ToolPolicy("exact")
        faq, find = cache.for_agent("faq"), Counter()
        faq.tools["find"] = ToolPolicy("none")
        assert [await one.call_tool("find", find) for one in (faq, faq, cache, cache)] == [1, 2, 3, 3]
        del faq.tools["find"]
        assert [await faq.call_tool("find", find) for _ in range(2)] == [4, 4]
        cache.tools["late"] = ToolPolicy("exact")
        assert faq.tools["late"] == ToolPolicy("exact")

    @BOTH
    async def test_without(self, cache: ToolCache) -> None:
        """C5, BUG-106: with ``tool_cache=False`` tools are called always, also where another view has kept a result."""
        cache.tools["find"] = ToolPolicy("exact")
        without, find = cache.for_agent("faq", tool_cache=False), Counter()
        assert [await without.call_tool("find", find) for _ in range(2)] == [1, 2]
        assert await cache.for_agent("faq").call_tool("find", find) == 3
        assert await without.call_tool("find", find) == 4

    async def test_for_how_long(self, open_cache: Open, clock: SteadyClock) -> None:
        """C5, BUG-106: ``tool_ttl`` holds where the policy says nothing."""
        cache = open_cache()
        cache.tools["find"], cache.tools["told"] = ToolPolicy("exact"), ToolPolicy("exact", ttl="1h")
        faq, find = cache.for_agent("faq", tool_ttl="10s"), Counter()
        for tool in ("find", "told"):
            await faq.call_tool(tool, find)
        await layers_have_it(cache)
        clock.advance(11)
        assert [await faq.call_tool(tool, find) for tool in ("find", "told")] == [3, 2]

    @BOTH
    async def test_what_is_learned_is_so_for_all(self, cache: ToolCache) -> None:
        """C5, C6: what a server says of its tools holds for every agent; what a write changes, it changes for all."""
        tools = [
            {"name": "read", "annotations": {"readOnlyHint": True}},
            {"name": "write", "annotations": {"readOnlyHint": False}},
        ]
        await cache.tools.learn(tools, server="files", trusted=True)
        faq, shop, read = cache.for_agent("faq"), cache.for_agent("shop"), Counter()
        assert [await one.call_tool(("files", "read"), read) for one in (faq, faq, shop)] == [1, 1, 2]
        await shop.call_tool(("files", "write"), lambda: None)
        assert await faq.call_tool(("files", "read"), read) == 3


class TestEvents:
    async def test_events_are_of_the_cache(self, cache: ToolCache) -> None:
        """C5, C13: whoever tells an event, handlers of the cache and of its views are called, and the agent forgotten."""
        faq, heard = cache.for_agent("faq"), list[str]()

        @cache.on("agent.updated")
        def by_cache(_: object) -> None:
            heard.append("cache")

        @faq.on("agent.updated")
        def by_view(_: object) -> None:
            heard.append("view")

        for teller in (cache, faq):
            await faq.set("k", 1)
            await (await teller.emit("agent.updated", agent="faq")).handled()
            assert await faq.get("k") is None
        assert sorted(heard) == ["cache", "cache", "view", "view"]
        assert faq.reactions == cache.reactions
        faq.react("price.changed", tags=["prices"])
        await cache.set("k", 1, tags=["prices"])
        await cache.emit("price.changed")
        assert await cache.get("k") is None
        assert faq.off(by_cache)

    @BOTH
    async def test_functions(self, cache: ToolCache) -> None:
        """C5, C3: what ``@cached`` keeps in a view is the agent's."""
        runs = Counter()

        async def double(number: int) -> int:
            runs()
            return 2 * number

        faq, shop = (cached(ttl="1h", cache=cache.for_agent(agent))(double) for agent in ("faq", "shop"))
        assert [await one(2) for one in (faq, faq, shop)] == [4, 4, 4]
        assert runs.runs == 2
        await cache.invalidate(agent="faq")
        assert [await one(2) for one in (faq, shop)] == [4, 4]
        assert runs.runs == 3


class TestView:
    async def test_it_is_a_cache(self, cache: ToolCache) -> None:
        """C5: a view is a ToolCache, of the same statistics and health; to close it closes nothing."""
        faq = cache.for_agent("faq")
        assert isinstance(faq, ToolCache)
        assert faq.agent == "faq"
        async with faq:
            await faq.set("k", 1)
        await faq.aclose()
        assert not faq.closed
        assert await faq.get("k") == 1
        assert faq.stats() == cache.stats()
        assert (await faq.health(probe=False)).status == (await cache.health(probe=False)).status
        assert faq.for_agent("shop").agent == "shop"
        await faq.for_agent("shop").set("k", 2)
        assert await cache.for_agent("shop").get("k") == 2
        assert repr(faq).startswith("<AgentView 'faq' of <ToolCache")

    async def test_after_the_cache_is_closed(self, open_cache: Open) -> None:
        """C5: a view is closed with its cache."""
        cache = open_cache()
        faq = cache.for_agent("faq")
        await faq.set("k", 1)
        await cache.aclose()
        assert faq.closed

    async def test_bypass_is_of_who_says_so(self, cache: ToolCache) -> None:
        """C5, C4: within ``faq.bypass()`` the agent is computed for, and the cache is not; within ``cache.bypass()`` both."""
        faq = cache.for_agent("faq")
        ours, theirs = Counter(), Counter()
        for one, compute in ((faq, ours), (cache, theirs)):
            await one.get_or_set("k", compute)
        with faq.bypass():
            assert (await faq.get_or_set("k", ours), await cache.get_or_set("k", theirs)) == (2, 1)
            assert (await faq.get("k"), await cache.get("k")) == (None, 1)
        with cache.bypass():
            assert (await faq.get_or_set("k", ours), await cache.get_or_set("k", theirs)) == (3, 2)
        with faq.refreshing():
            assert (await faq.get_or_set("k", ours), await cache.get_or_set("k", theirs)) == (4, 1)
        assert await faq.get("k") == 4

    @BOTH
    async def test_keys_that_are_no_text(self, cache: ToolCache) -> None:
        """C5: a view refuses what a cache refuses."""
        for key in (7, None, ["k"]):
            with pytest.raises(TypeError):
                await cache.for_agent("faq").get(key, MISSING)  # type: ignore[arg-type]

    async def test_a_hit_of_memory_is_a_hit(self, cache: ToolCache) -> None:
        """C5: a view's hits come from memory as others do, and are counted there."""
        faq = cache.for_agent("faq")
        await faq.get_or_set("k", lambda: {"v": 1})
        before = cache.stats().layers["memory"].hits
        assert await faq.get_or_set("k", lambda: None) == {"v": 1}
        assert await faq.get_many(["k"]) == {"k": {"v": 1}}
        assert cache.stats().layers["memory"].hits == before + 2

    def test_each_way_into_the_machine_is_the_agents(self) -> None:
        """BUG-111: whatever the machine does with keys, it does by way of its entrance, which a scope replaces."""
        ways = {
            name: inspect.signature(way).parameters for name, way in vars(Machine).items() if inspect.isfunction(way)
        }
        taking = {name for name, asked in ways.items() if {"key", "keys", "mapping"} & asked.keys()}
        assert taking - set(vars(Scope)) == {"expire"}
