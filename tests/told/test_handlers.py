"""Handlers of events: which are called, with what, and what one of them cannot do to the others."""

import asyncio
import contextvars
from typing import Any

import pytest
from hearing import until

from toolcache import CacheWriteError, SerializationError, ToolCache, WarmPlan
from toolcache.domains import GENERAL
from toolcache.events import HandlerFailed
from toolcache.messages import MAX_MESSAGE
from toolcache.reactions import Emitted
from toolcache.tags import agent_label, catalog_label, domain_label, tool_label
from toolcache.testing import Recorder


async def test_names_and_patterns(cache: ToolCache) -> None:
    """C13: a handler gets the events of its name, or of its pattern, in which all but * and ? means itself."""
    wanted = ["data.updated", "data.*", "*.updated", "data.update?", "*", "datasupdated", "data"]
    seen: dict[str, list[str]] = {name: [] for name in wanted}

    def listen(name: str) -> None:
        cache.on(name)(lambda event: seen[name].append(event.name))

    for name in wanted:
        listen(name)
    for name in ("data.updated", "data.deleted", "dataXupdated"):
        await (await cache.emit(name, data_type="a")).handled()
    assert seen == {
        "data.updated": ["data.updated"],
        "data.*": ["data.updated", "data.deleted"],
        "*.updated": ["data.updated"],
        "data.update?": ["data.updated"],
        "*": ["data.updated", "data.deleted", "dataXupdated"],
        "datasupdated": [],
        "data": [],
    }


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "-first", "é", "a\n", "a.*", None, 7])
async def test_names_that_are_none(cache: ToolCache, name: Any) -> None:
    """BUG-106: what cannot be a name is refused, with a text that says what can."""
    with pytest.raises(ValueError, match=r"data\.updated"):
        await cache.emit(name)


async def test_other_things_that_are_refused(cache: ToolCache) -> None:
    """BUG-106: names of the cache's own, patterns, handlers and options that cannot be."""
    with pytest.raises(ValueError, match="cache's own"):
        await cache.emit("bus.gap")
    with pytest.raises(ValueError, match="name an event"):
        cache.on("[a]")
    with pytest.raises(ValueError, match="max_parallel"):
        cache.on("a", max_parallel=0)
    with pytest.raises(TypeError, match="function of an event"):
        cache.on("a")("no function")  # type: ignore[type-var]  # that is the point
    with pytest.raises(TypeError, match="onc"):
        cache.on("a", onc=True)  # type: ignore[call-arg]  # that is the point


async def test_on_and_off(cache: ToolCache) -> None:
    """C13: the decorated function stays what it is; ``off`` ends its calls, of one name or of all."""
    seen: list[str] = []

    @cache.on("a.*")
    @cache.on("a.b")
    def handler(event: Emitted) -> str:
        seen.append(event.name)
        return "itself"

    assert handler(Emitted("direct", {})) == "itself"
    assert (await cache.emit("a.b")).handlers == 2
    assert cache.off(handler, "a.b")
    assert not cache.off(handler, "a.b")
    assert (await cache.emit("a.b")).handlers == 1
    assert cache.off(handler)
    assert not cache.off(handler)
    assert (await cache.emit("a.b")).handlers == 0


async def test_once(cache: ToolCache) -> None:
    """BUG-106: ``once`` ends with the first event, however soon the next one comes."""
    seen: list[int] = []
    cache.on("a", once=True)(lambda event: seen.append(event.number))
    emissions = await asyncio.gather(*(cache.emit("a", number=number) for number in range(3)))
    for emission in emissions:
        await emission.handled()
    assert len(seen) == 1


async def test_the_event(cache: ToolCache) -> None:
    """C13: what an event says is there as attributes and as a mapping; its own fields win, and its text shows no value."""
    payload = {"data_type": "products", "name": "a name", "secret": "s3cret", "nested": {"list": [1, (2, None)]}}
    seen: list[Emitted] = []
    cache.on("a.b")(seen.append)
    await (await cache.emit("a.b", **payload)).handled()
    (event,) = seen
    assert (event.data_type, event["data_type"], event.get("missing")) == ("products", "products", None)
    assert (event.name, event["name"]) == ("a.b", "a name")
    assert dict(event) == payload
    assert event.nested == {"list": [1, (2, None)]}
    assert event.nested is not payload["nested"]
    assert "s3cret" not in repr(event)
    with pytest.raises(AttributeError, match="missing"):
        _ = event.missing


@pytest.mark.parametrize("payload", ["x" * MAX_MESSAGE, "x" * 10**7, [0.5] * MAX_MESSAGE])
async def test_too_large_a_payload(cache: ToolCache, payload: Any) -> None:
    """BUG-32: a payload above the limit is refused where it is emitted, and nobody is called."""
    seen: list[Emitted] = []
    cache.on("a")(seen.append)
    with pytest.raises(SerializationError, match="65,536 bytes"):
        await cache.emit("a", payload=payload)
    with pytest.raises(SerializationError, match="object"):
        await cache.emit("a", payload=object())
    await (await cache.emit("a", payload="x" * (MAX_MESSAGE - 100))).handled()
    assert len(seen) == 1


async def test_one_that_fails(cache: ToolCache) -> None:
    """C13, BUG-107: a handler's fault is counted and told without its words; others are called, and ``emit`` does not raise."""
    recorder, seen = Recorder(), list[str]()
    cache.subscribe(recorder)

    @cache.on("a")
    def fails(event: Emitted) -> None:
        raise RuntimeError(event.secret)

    @cache.on("a")
    async def fails_later(event: Emitted) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError(event.secret)

    @cache.on("a")
    async def works(event: Emitted) -> None:
        seen.append(event.name)

    for _ in range(2):
        await (await cache.emit("a", secret="s3cret")).handled()
    told = recorder.of(HandlerFailed)
    assert {(event.name, event.handler.rpartition(".")[2], event.reason) for event in told} == {
        ("a", "fails", "RuntimeError"),
        ("a", "fails_later", "CancelledError"),
    }
    assert "s3cret" not in str(told)
    assert seen == ["a", "a"]
    assert (cache.reactions.failed, cache.reactions.handled) == (4, 2)


async def test_a_slow_one_holds_up_nobody(cache: ToolCache) -> None:
    """C13: others are called meanwhile, and who emits does not wait; of one handler, so many run at once."""
    go, seen, at_once = asyncio.Event(), list[int](), 0

    @cache.on("a", max_parallel=3)
    async def slow(_event: Emitted) -> None:
        nonlocal at_once
        at_once += 1
        await go.wait()

    cache.on("a", max_parallel=1)(lambda event: seen.append(event.number))
    emissions = [await cache.emit("a", number=number) for number in range(10)]
    await until(lambda: len(seen) == 10)
    assert seen == list(range(10))  # one after another, in order
    assert at_once == 3
    go.set()
    for emission in emissions:
        await emission.handled()
    assert at_once == 10


async def test_a_flood(cache: ToolCache) -> None:
    """C13: what waits for one handler is bounded; what is too much is dropped, counted and told."""
    recorder = Recorder()
    cache.subscribe(recorder)
    go = asyncio.Event()
    cache.on("a", max_parallel=1)(lambda _event: go.wait())
    for _ in range(1_005):
        await cache.emit("a")
    assert 1 <= cache.reactions.dropped <= 5
    assert "dropped" in recorder.of(HandlerFailed)[0].reason
    go.set()


async def test_handlers_run_in_a_context_of_their_own(cache: ToolCache) -> None:
    """C13: a handler is no part of the call, or the computation, in which something was emitted."""
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []
    cache.on("a")(lambda _event: seen.append(variable.get()))

    @cache.on("a")
    async def asks_again(_event: Emitted) -> None:
        seen.append(await cache.get_or_set("other", lambda: "computed"))

    async def compute() -> str:
        variable.set("inside")
        await cache.emit("a")
        return "value"

    assert await cache.get_or_set("key", compute) == "value"
    await until(lambda: len(seen) == 2)
    assert seen == ["none", "computed"]


async def test_closing_waits_for_handlers() -> None:
    """BUG-13: handlers are tasks of the cache: it waits for those that have begun, which may use it meanwhile."""
    done: list[Any] = []
    async with ToolCache(files=False) as cache:

        @cache.on("a", max_parallel=1)
        async def slow(event: Emitted) -> None:
            await asyncio.sleep(0.01)
            await cache.set("key", event.number)
            done.append(await cache.get("key"))

        for number in range(3):
            await cache.emit("a", number=number)
    assert done == [0, 1, 2]


async def test_closing_does_not_wait_for_ever() -> None:
    """BUG-13: a handler that does not end is cancelled, those that wait are let go, and nothing is left behind."""
    cancelled: list[str] = []
    cache = ToolCache(files=False)

    @cache.on("a", max_parallel=1)
    async def endless(event: Emitted) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(event.name)

    emissions = [await cache.emit("a") for _ in range(3)]
    await asyncio.sleep(0)
    await cache.aclose(drain=0.01)
    for emission in emissions:
        await asyncio.wait_for(emission.handled(), 1)
    assert cancelled == ["a"]
    with pytest.raises(RuntimeError, match="closed"):
        await cache.emit("a")


async def keep(cache: ToolCache, **labels: str) -> None:
    """An entry for each label, under its name: a tag, or one of the cache's own."""
    for name, label in labels.items():
        own, tags = ((label,), ()) if label.startswith("@") else ((), (label,))
        await cache._machine.set(name, name, GENERAL, tags=tags, own=own)


REACTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("agent.updated", {"agent": "faq"}, "agent"),
    ("memory.updated", {"agent": "faq"}, "memory"),
    ("tool.updated", {"tool": "search"}, "tool"),
    ("catalog.updated", {"version": "v2"}, "catalog"),
    ("data.updated", {"data_type": "products"}, "tag"),
]


@pytest.mark.parametrize(("event", "payload", "gone"), REACTIONS, ids=[row[0] for row in REACTIONS])
async def test_what_is_forgotten_by_itself(cache: ToolCache, event: str, payload: dict[str, Any], gone: str) -> None:
    """C13: each of these events has the cache forget what it names, and nothing else; ``react`` switches that off."""
    entries = {
        "agent": "@a:faq",
        "tool": "@t:search",
        "catalog": "@c:v2",
        "tag": "products:phones",
        "other": "@a:other",
    }
    await keep(cache, **entries)
    emission = await cache.emit(event, **payload)
    assert emission.forgotten is not None
    assert emission.forgotten.scope == "event"
    assert set(await cache.get_many(list(entries))) == entries.keys() - {gone}

    await keep(cache, **entries)
    cache.react(event)
    assert (await cache.emit(event)).forgotten is None  # it need not say anything any more
    assert set(await cache.get_many(list(entries))) == entries.keys()


async def test_rules_of_ones_own(cache: ToolCache) -> None:
    """C13: ``react`` says what else is forgotten, at which event; a list stands for several."""
    entries = {"a": "prices:1:eu", "b": "prices:2", "c": "prices:3", "d": agent_label("faq"), "e": tool_label("search")}
    entries |= {"f": catalog_label("v1"), "g": domain_label("metadata")}
    cache.react("price.changed", tags=["prices:{sku}"])
    await keep(cache, **entries)
    await cache.emit("price.changed", sku=["1", "3"])
    assert list(await cache.get_many(list(entries))) == ["b", "d", "e", "f", "g"]
    cache.react("all", agent="faq", tool="search", catalog_version="v1", domain="metadata")
    await cache.emit("all")
    assert list(await cache.get_many(list(entries))) == ["b"]
    # another cache keeps its own
    async with ToolCache(files=False) as other:
        assert (await other.emit("all")).forgotten is None


async def test_an_event_may_name_more_than_an_entry_has_tags(cache: ToolCache) -> None:
    """C13: what an event makes wrong may carry more tags together than a single entry may."""
    entries = {f"key{number}": f"type{number}" for number in range(40)}
    await keep(cache, **entries)
    await cache.emit("data.updated", data_type=list(entries.values()))
    assert await cache.get_many(list(entries)) == {}


@pytest.mark.parametrize(
    ("rule", "error", "told"),
    [
        ({"tags": "prices"}, ValueError, "tags is a list of texts"),
        ({"tags": ["@a:faq"]}, ValueError, "begins with '@'"),
        ({"agent": 7}, TypeError, "agent is a text such as '{agent}', not int"),
        ({"tool": ["a", "b"]}, TypeError, "tool is a text"),
        ({"memory": ""}, ValueError, "memory is a name"),
        ({"domain": "idempotency"}, ValueError, "forgotten one by one"),
    ],
)
async def test_a_rule_that_cannot_be(cache: ToolCache, rule: dict[str, Any], error: type[Exception], told: str) -> None:
    """BUG-106: a rule that names nothing that can be forgotten is refused where it is given, and changes nothing."""
    with pytest.raises(error, match=told):
        cache.react("data.updated", **rule)
    await keep(cache, a="p")
    assert (await cache.emit("data.updated", data_type="p")).forgotten is not None


async def test_what_an_agent_remembers(cache: ToolCache) -> None:
    """C13: ``memory.updated`` forgets what that agent remembers; its answers, and what others remember, stay."""
    await cache.memories.remember("faq", "q", "old")
    await cache.memories.remember("other", "q", "kept")
    await cache.set_response("faq", "goal", "kept", model="m")
    await cache.emit("memory.updated", agent="faq")
    assert await cache.memories.recall("faq", "q") is None
    assert await cache.memories.recall("other", "q") == "kept"
    assert await cache.get_response("faq", "goal", model="m") == "kept"
    await cache.emit("agent.updated", agent="faq")
    assert await cache.get_response("faq", "goal", model="m") is None


async def test_an_agents_view(cache: ToolCache) -> None:
    """C13: events, rules and schedules of a view are the cache's; what a view warms is the agent's."""
    view, seen = cache.for_agent("faq"), list[str]()
    cache.on("a")(lambda event: seen.append(f"cache {event.name}"))
    view.on("a")(lambda event: seen.append(f"view {event.name}"))
    view.react("a", tags=["words"])
    await cache.set("word", 1, tags=["words"])
    for face in (cache, view):
        await (await face.emit("a")).handled()
    assert seen == ["cache a", "view a"] * 2
    assert await cache.get("word") is None
    assert view.reactions == cache.reactions
    await view.warm(WarmPlan(queries=["key"], compute=len))
    assert (await view.get("key"), await cache.get("key")) == (3, None)
    view.schedule(dict, every="1h", name="job")
    with pytest.raises(ValueError, match="already"):
        cache.schedule(dict, every="1h", name="job")


@pytest.mark.parametrize("payload", [{}, {"agent": 7}, {"agent": ""}, {"agent": []}, {"agent": ["a", None]}])
async def test_an_event_that_does_not_say_enough(cache: ToolCache, payload: dict[str, Any]) -> None:
    """C13: where the rule needs a field that the event lacks, ``emit`` says which, and tells nobody."""
    seen: list[Emitted] = []
    cache.on("*")(seen.append)
    with pytest.raises(ValueError, match="which agent"):
        await cache.emit("agent.updated", **payload)
    assert seen == []
    assert cache.reactions.emitted == 0


async def test_handlers_are_told_even_where_nothing_could_be_forgotten(cache: ToolCache) -> None:
    """C13: if the cache cannot forget for certain, the emitter is told by ``CacheWriteError``, and the handlers of the event."""
    seen: list[Emitted] = []

    async def fail(_scope: str, _labels: list[str]) -> Any:
        raise CacheWriteError("invalidate", reason="no layer took it")

    cache._machine.forget = fail  # type: ignore[method-assign, assignment]  # as in an outage of all layers
    cache.on("data.updated")(seen.append)
    with pytest.raises(CacheWriteError):
        await cache.emit("data.updated", data_type="a")
    await until(lambda: seen)
