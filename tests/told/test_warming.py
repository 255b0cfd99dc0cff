"""Warming: what a plan says is there afterwards, for what it may cost, and the report says what came of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hearing import Open
from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache import CacheClosedError, Context, Domain, Progress, ToolCache, WarmPlan, WarmReport
from toolcache.warm_items import MAX_LINE

WEATHER: Domain[str] = Domain("weather", ttl="5m", key=("city", "unit"), cost_usd=0.5)


@pytest.fixture
async def own(clock: Any) -> AsyncIterator[ToolCache]:
    """A cache whose clock the test moves."""
    async with ToolCache(files=False, clock=clock) as cache:
        yield cache


def counts(report: WarmReport) -> tuple[int, int, int, dict[str, int], int]:
    assert report.asked == report.there + report.computed + sum(report.failed.values()) + report.skipped
    return report.asked, report.there, report.computed, dict(report.failed), report.skipped


async def test_items_of_ones_own(cache: ToolCache) -> None:
    """C14: keys, each with what computes it, sync or async, with or without a context; what is there is left alone."""
    await cache.set("there", "old")

    async def later() -> str:
        return "later"

    def told(context: Context) -> str:
        context.ttl = 5
        return "told"

    items: dict[str, Callable[..., Any]] = {"there": lambda: 1, "now": lambda: "now", "later": later, "told": told}
    report = await cache.warm(WarmPlan(items=items))
    assert counts(report) == (4, 1, 3, {}, 0)
    assert await cache.get_many(list(items)) == {"there": "old", "now": "now", "later": "later", "told": "told"}
    assert await cache.ttl("told") == pytest.approx(5, abs=1)
    assert counts(await cache.warm(WarmPlan(items=list(items.items())))) == (4, 4, 0, {}, 0)


async def test_queries_of_keys(cache: ToolCache) -> None:
    """BUG-106: ``compute`` is given the key; ``ttl`` and ``tags`` are those of the entries."""
    plan = WarmPlan(queries=["a", "bb"], compute=len, ttl="5m", tags=["words"])
    assert counts(await cache.warm(plan)) == (2, 0, 2, {}, 0)
    entry = await cache.get_entry("bb")
    assert entry is not None
    assert (entry.value, entry.tags) == (2, ("words",))
    assert entry.ttl == pytest.approx(300, abs=1)


DOMAINS: list[tuple[str, dict[str, Any], Callable[[ToolCache, Any], Any]]] = [
    ("catalog", {"version": "v3"}, lambda cache, query: cache.get_catalog(query, version="v3")),
    ("embedding", {"model": "small"}, lambda cache, query: cache.get_embedding(query, "small")),
    ("search", {"top_k": 3}, lambda cache, query: cache.get_search_results(query, top_k=3)),
    ("metadata", {}, lambda cache, query: cache.get_metadata(query)),
    ("response", {"agent": "faq", "model": "m"}, lambda cache, query: cache.get_response("faq", query, model="m")),
    ("model", {"model": "m"}, lambda cache, query: cache.get_completion("m", query)),
]


@pytest.mark.parametrize(("domain", "params", "get"), DOMAINS, ids=[row[0] for row in DOMAINS])
async def test_queries_of_a_domain(
    cache: ToolCache, domain: str, params: dict[str, Any], get: Callable[[ToolCache, Any], Any]
) -> None:
    """C14: what is warmed is what the domain's getter finds; ``params`` are the getter's."""
    plan = WarmPlan(domain=domain, queries=["a", "b", "a"], params=params, compute=lambda query: [float(len(query))])
    assert plan.name == domain
    report = await cache.warm(plan)
    assert counts(report) == (3, 1, 2, {}, 0)
    assert await get(cache, "b") == [1.0]


async def test_queries_of_a_domain_of_ones_own(cache: ToolCache) -> None:
    """C14: a query names the fields, or is the one that ``params`` leave open; the domain's unit cost counts."""
    compute = str
    report = await cache.warm(
        WarmPlan(domain=WEATHER, queries=["Oslo", "Rome"], params={"unit": "C"}, compute=compute, name="cities")
    )
    assert (report.name, report.computed, report.cost_usd) == ("cities", 2, 1.0)
    assert await cache[WEATHER].get(city="Oslo", unit="C") == "Oslo"
    both = [{"city": "Oslo", "unit": "C"}, {"city": "Oslo", "unit": "F"}, "Bern"]
    assert counts(await cache.warm(WarmPlan(domain=WEATHER, queries=both, compute=str))) == (
        3,
        1,
        1,
        {"TypeError": 1},
        0,
    )


async def test_queries_that_are_asked_for_at_each_run(cache: ToolCache) -> None:
    """C14: a function, sync or async, says what to warm when it is done; a list can be gone through again."""
    lists = [["a"], ["a", "b"]]

    async def ask() -> list[str]:
        return lists.pop(0)

    plan = WarmPlan(queries=ask, compute=len)
    assert [counts(await cache.warm(plan))[:3] for _ in range(2)] == [(1, 0, 1), (2, 1, 1)]
    plan = WarmPlan(queries=iter(["c", "d"]), compute=len)
    assert [counts(await cache.warm(plan))[:3] for _ in range(2)] == [(2, 0, 2), (2, 2, 0)]
    assert counts(await cache.warm(WarmPlan(queries=lambda: ["e"], compute=len))) == (1, 0, 1, {}, 0)
    assert counts(await cache.warm(WarmPlan(queries=[], compute=len))) == (0, 0, 0, {}, 0)

    async def rows() -> AsyncIterator[str]:
        for row in ("f", "g"):
            yield row

    assert counts(await cache.warm(WarmPlan(queries=rows, compute=len))) == (2, 0, 2, {}, 0)


async def test_statistics(cache: ToolCache) -> None:
    """C14: each item counts as one lookup, as if somebody had asked for it."""
    plan = WarmPlan(domain="search", queries=["a", "b"], compute=lambda query: [query])
    await cache.warm(plan)
    await cache.warm(plan)
    told = cache.stats().domains["search"]
    assert (told.hits, told.misses) == (2, 2)


async def test_the_loop_has_its_turn(cache: ToolCache) -> None:
    """C14: a long plan of what is there already does not hold up the event loop."""
    keys = [f"key {number}" for number in range(500)]
    await cache.set_many(dict.fromkeys(keys, 1))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    assert (await cache.warm(WarmPlan(queries=keys, compute=len))).there == 500
    task.cancel()
    assert turns >= 500 / 50


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_reports_add_up(data: st.DataObject) -> None:
    """C14: whatever is there, fails, is no key, or cannot be afforded: each item is counted once, no budget is exceeded."""
    kinds = data.draw(st.lists(st.sampled_from(["there", "missing", "fails", "none"]), max_size=30))
    afford = data.draw(st.none() | st.integers(0, 12))
    parallel = data.draw(st.integers(1, 9))
    ran: list[str] = []

    async def compute(key: str) -> int:
        ran.append(key)
        await asyncio.sleep(0)
        return 1 // (not key.startswith("fails"))

    async def run() -> WarmReport:
        async with ToolCache(files=False) as cache:
            names: list[Any] = [7 if kind == "none" else f"{kind} {at}" for at, kind in enumerate(kinds)]
            await cache.set_many({name: 1 for name in names if str(name).startswith("there")})
            options: dict[str, Any] = {} if afford is None else {"cost_usd": 1.0, "max_cost_usd": float(afford)}
            return await cache.warm(WarmPlan(queries=names, compute=compute, max_parallel=parallel, **options))

    report = asyncio.run(run())
    wanted = kinds.count("missing") + kinds.count("fails")
    assert len(ran) == len(set(ran)) == (wanted if afford is None else min(wanted, afford))
    assert report.asked == len(kinds) == report.there + report.computed + sum(report.failed.values()) + report.skipped
    assert report.failed.get("no key", 0) == kinds.count("none")
    assert report.there <= kinds.count("there")
    assert report.computed + report.failed.get("ZeroDivisionError", 0) == len(ran)
    assert (report.skipped > 0) is (report.stopped == "max_cost_usd")
    if afford is not None:
        assert report.cost_usd == len(ran)


async def test_what_fails(cache: ToolCache) -> None:
    """C14, BUG-107: what fails touches no other item and is stored nowhere; the report counts it by kind, without words."""

    def compute(key: str) -> int:
        if key.startswith("bad"):
            raise (KeyError if key == "bad0" else OSError)("s3cret")
        return 1

    report = await cache.warm(WarmPlan(queries=["a", "bad0", "bad1", "bad2", "b", 7], compute=compute))
    assert counts(report) == (6, 0, 2, {"KeyError": 1, "OSError": 2, "no key": 1}, 0)
    assert "s3cret" not in str(report)
    assert await cache.get("bad0") is None


async def test_refresh(cache: ToolCache) -> None:
    """BUG-106: ``refresh`` computes what is there, too."""
    await cache.set("a", "old")
    await cache.set_search_results("q", ["old"])
    plan = WarmPlan(queries=["a"], compute=str.upper, refresh=True)
    assert counts(await cache.warm(plan)) == (1, 0, 1, {}, 0)
    assert await cache.get("a") == "A"
    await cache.warm(WarmPlan(domain="search", queries=["q"], compute=lambda _: ["new"], refresh=True))
    assert await cache.get_search_results("q") == ["new"]


async def test_a_bound_on_how_many_at_once(cache: ToolCache) -> None:
    """BUG-106: ``max_parallel`` computations run at a time."""
    running = most = 0

    async def compute(_key: str) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return 1

    for bound in (1, 3):
        most = 0
        await cache.warm(WarmPlan(queries=[f"{bound}:{n}" for n in range(9)], compute=compute, max_parallel=bound))
        assert most == bound


async def test_a_rate(own: ToolCache, clock: Any) -> None:
    """C14: computations begin evenly, so many in a second; what is there does not count."""
    begun: list[float] = []

    def compute(_key: str) -> int:
        begun.append(clock.monotonic())
        return 1

    for there in ("k1", "k2"):
        await own.set(there, 0)
    start = clock.monotonic()
    plan = WarmPlan(queries=[f"k{number}" for number in range(7)], compute=compute, per_second=4)
    task = asyncio.create_task(own.warm(plan))
    while not task.done():
        await asyncio.sleep(0.001)
        if clock._sleepers:
            clock.advance(0.125)
    assert [round(at - start, 3) for at in begun] == [0, 0.25, 0.5, 0.75, 1.0]
    assert task.result().seconds == pytest.approx(1.0)


async def test_a_budget_of_money(cache: ToolCache) -> None:
    """C14: nothing is begun that the budget does not allow; what is there costs nothing."""
    await cache.set("k5", 0)
    plan = WarmPlan(queries=[f"k{n}" for n in range(9)], compute=len, cost_usd=0.1, max_cost_usd=0.3)
    report = await cache.warm(plan)
    assert counts(report) == (9, report.there, 3, {}, 6 - report.there)
    assert report.cost_usd == pytest.approx(0.3)
    assert report.stopped == "max_cost_usd"
    # a failure may have cost something, too
    failing = WarmPlan(queries=["x", "y"], compute=lambda _: 1 / 0, cost_usd=1, max_cost_usd=1, max_parallel=1)
    assert counts(await cache.warm(failing)) == (2, 0, 0, {"ZeroDivisionError": 1}, 1)
    with pytest.raises(ValueError, match="cost_usd"):
        await cache.warm(WarmPlan(queries=["x"], compute=len, max_cost_usd=1))
    async with ToolCache(files=False, costs={"search": 0.25}) as priced:
        plan = WarmPlan(domain="search", queries=["a", "b", "c"], compute=len, max_cost_usd=0.25)
        assert (await priced.warm(plan)).cost_usd == 0.25


async def test_a_budget_of_time(own: ToolCache, clock: Any) -> None:
    """C14: when the time is up nothing more is begun."""

    def compute(_key: str) -> int:
        clock.advance(10)
        return 1

    report = await own.warm(WarmPlan(queries=["a", "b", "c", "d"], compute=compute, max_seconds="25s", max_parallel=1))
    assert counts(report) == (4, 0, 3, {}, 1)
    assert (report.stopped, report.seconds) == ("max_seconds", 30)


async def test_nothing_waits_for_a_moment_past_the_budget(own: ToolCache, clock: Any) -> None:
    """C14: with a rate, too, nothing is begun once the time is up, and nobody waits for what would be."""
    begun, start = [], clock.monotonic()

    async def compute(_key: str) -> int:
        begun.append(round(clock.monotonic() - start, 3))
        return 1

    queries = [f"k{number}" for number in range(9)]
    plan = WarmPlan(queries=queries, compute=compute, per_second=1, max_seconds=2.5)
    task = asyncio.create_task(own.warm(plan))
    while not task.done():
        await asyncio.sleep(0.001)
        if clock._sleepers:
            clock.advance(0.5)
    assert begun == [0, 1, 2]
    report = task.result()
    assert (*counts(report), report.stopped, report.seconds) == (9, 0, 3, {}, 6, "max_seconds", 2)


async def test_a_function_that_returns_no_list_of_queries(cache: ToolCache) -> None:
    """BUG-106: a text is not taken for a list of its letters, nor a dict for one of its keys."""
    returned: list[Any] = ["refunds", b"refunds", {"refunds": 1}]
    for said in returned:
        with pytest.raises(TypeError, match="return a list of queries"):
            await cache.warm(WarmPlan(queries=partial(copy, said), compute=len))


async def test_a_bound_on_items(cache: ToolCache) -> None:
    """BUG-106: ``max_items`` are taken of a source that has no end."""

    def endless() -> Any:
        number = 0
        while True:
            number += 1
            yield f"key {number}"

    assert counts(await cache.warm(WarmPlan(queries=endless, compute=len, max_items=20))) == (20, 0, 20, {}, 0)


async def test_progress(cache: ToolCache) -> None:
    """C14: whoever wants to know is told how far it is; a listener's fault harms nothing."""
    await cache.set("a", 0)
    told: list[Progress] = []

    def listen(progress: Progress) -> None:
        told.append(progress)
        raise RuntimeError

    def compute(key: str) -> int:
        return 1 // (key != "c")

    report = await cache.warm(WarmPlan(queries=["a", "b", "c"], compute=compute, max_parallel=1), on_progress=listen)
    assert counts(report) == (3, 1, 1, {"ZeroDivisionError": 1}, 0)
    assert [str(one) for one in told] == [
        "0 of 1 done, 1 running",
        "1 of 1 done (1 replayed)",
        "1 of 2 done (1 replayed), 1 running",
        "2 of 2 done (1 replayed)",
        "2 of 3 done (1 replayed), 1 running",
        "3 of 3 done (1 replayed, 1 failed)",
    ]


async def test_the_report(cache: ToolCache) -> None:
    """C14: it can be printed, and is plain data for JSON."""
    report = await cache.warm(WarmPlan(queries=["a", "b", 7], compute=len, name="words", cost_usd=0.01))
    lines = str(report).splitlines()
    assert lines[0].startswith("warm-up words: 0.0 s, $0.0200")
    assert [line.split() for line in lines[1:]] == [
        ["asked", "for", "3"],
        ["already", "there", "0"],
        ["computed", "2"],
        ["failed:", "no", "key", "1"],
    ]
    assert json.loads(json.dumps(report.as_dict()))["failed"] == {"no key": 1}
    assert report == WarmReport(**report.as_dict())
    assert hash(report)


async def test_cancelled(cache: ToolCache) -> None:
    """BUG-13: a warm-up that is cancelled leaves nothing running."""
    started = asyncio.Event()
    ended: list[str] = []

    async def compute(key: str) -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)
        return 1

    before = asyncio.all_tasks()
    task = asyncio.create_task(cache.warm(WarmPlan(queries=["a", "b", "c"], compute=compute, max_parallel=2)))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert sorted(ended) == ["a", "b"]
    assert asyncio.all_tasks() == before


async def test_a_closed_cache() -> None:
    """C14: a closed cache is not warmed, and one that is closed meanwhile says so."""
    cache = ToolCache(files=False)

    async def compute(_key: str) -> int:
        await cache.aclose(0.01)
        return 1

    with pytest.raises(CacheClosedError):
        await cache.warm(WarmPlan(queries=["a", "b", "c"], compute=compute, max_parallel=1))
    with pytest.raises(CacheClosedError):
        await cache.warm(WarmPlan(queries=["a"], compute=len))


async def test_one_computation_for_all_processes(hearing: Open) -> None:
    """C14: two processes with the same plan compute each item once between them; both have it."""
    one, two = await hearing(), await hearing()
    ran: list[str] = []

    async def compute(key: str) -> str:
        ran.append(key)
        await asyncio.sleep(0.02)
        return key

    plan = WarmPlan(queries=[f"key{number}" for number in range(6)], compute=compute)
    reports = await asyncio.gather(one.warm(plan), two.warm(plan))
    assert sorted(ran) == sorted(set(ran))
    assert sum(report.computed for report in reports) == 6
    assert all(report.there + report.computed == 6 for report in reports)
    search = WarmPlan(domain="search", queries=["q"], compute=compute)
    reports = await asyncio.gather(one.warm(search), two.warm(search))
    assert [sorted((report.computed, report.there)) for report in reports] == [[0, 1]] * 2
    assert ran.count("q") == 1


# -- files ----------------------------------------------------------------------------------------------------------------


async def test_a_file_of_keys(cache: ToolCache, tmp_path: Path) -> None:
    """C14: one a line, whatever the ends of lines; empty ones are none."""
    file = tmp_path / "keys.txt"
    file.write_bytes('a\r\n\n  b c  \nçé\n\n{"not": json}'.encode())
    assert counts(await cache.warm(WarmPlan(file=file, compute=len))) == (4, 0, 4, {}, 0)
    assert set(await cache.get_many(["a", "b c", "çé", '{"not": json}'])) == {"a", "b c", "çé", '{"not": json}'}


async def test_a_file_of_json(cache: ToolCache, tmp_path: Path) -> None:
    """C14: one JSON value a line, which is the query."""
    file = tmp_path / "queries.jsonl"
    queries = ["plain", {"text": "phones", "limit": 3}, ["a", 1], 7]
    file.write_text("".join(json.dumps(query) + "\n" for query in queries))
    plan = WarmPlan(domain="search", file=str(file), compute=lambda query: [query])
    assert counts(await cache.warm(plan)) == (4, 0, 4, {}, 0)
    assert await cache.get_search_results({"limit": 3, "text": "phones"}) == [{"text": "phones", "limit": 3}]
    # keys of one's own are text
    assert counts(await cache.warm(WarmPlan(file=file, compute=len))) == (4, 0, 1, {"no key": 3}, 0)


async def test_a_hostile_file(cache: ToolCache, tmp_path: Path) -> None:
    """BUG-32: lines that are none are counted and passed over, whatever is in them; those around them are not harmed."""
    file = tmp_path / "queries.jsonl"
    bad: list[tuple[bytes, str]] = [
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 50_000, "no JSON"),
        (b"1" * 10_000, "no JSON"),
        (b"NaN", "no JSON"),
        (b'"' + b"x" * MAX_LINE * 3 + b'"', "line too long"),
        (b"null", "null"),
        (b"\x00" * 100, "no JSON"),
    ]
    file.write_bytes(b"".join(b'"good%d"\n%s\n' % (at, line) for at, (line, _) in enumerate(bad)) + b'"last"')
    report = await cache.warm(WarmPlan(file=file, compute=len))
    assert report.computed == len(bad) + 1
    assert dict(report.failed) == {"no JSON": 6, "line too long": 1, "null": 1}
    text = tmp_path / "keys.txt"
    text.write_bytes(b"good1\n\xff\n" + b"x" * MAX_LINE * 2 + b"\nend\n")
    assert counts(await cache.warm(WarmPlan(file=text, compute=len))) == (
        4,
        1,
        1,
        {"no UTF-8": 1, "line too long": 1},
        0,
    )
    assert counts(await cache.warm(WarmPlan(file=text, compute=len, max_items=3))) == (
        *(3, 1, 0),
        *({"no UTF-8": 1, "line too long": 1}, 0),
    )


async def test_what_is_no_file(cache: ToolCache, tmp_path: Path) -> None:
    """C14: a file that is not there, a directory and a pipe are refused at once, before anything is computed."""
    os.mkfifo(tmp_path / "pipe")
    for name, error in (("missing", FileNotFoundError), ("", (ValueError, IsADirectoryError)), ("pipe", ValueError)):
        with pytest.raises(error):
            await asyncio.wait_for(cache.warm(WarmPlan(file=tmp_path / name, compute=len)), 5)


# -- what was asked for ---------------------------------------------------------------------------------------------------


async def test_what_was_asked_for_most(own: ToolCache, clock: Any) -> None:
    """C14: from when somebody wants to know, lookups are counted: of keys, of domains with all that their getter takes."""
    requested = own.requested
    assert requested is own.requested
    for times, key in ((3, "often"), (1, "once"), (2, "twice")):
        for _ in range(times):
            await own.get(key)
            await own.get_search_results(key, top_k=times)
            await own[WEATHER].get(city=key, unit="C")
    assert requested.top(2) == [("often", 3), ("twice", 2)]
    assert requested.top(1, "search") == [("often", 3)]
    assert requested.top(1, WEATHER) == [({"city": "often", "unit": "C"}, 3)]
    assert counts(await own.warm(WarmPlan(top=2, compute=str.upper))) == (2, 0, 2, {}, 0)
    assert await own.get_many(["often", "twice", "once"]) == {"often": "OFTEN", "twice": "TWICE"}
    assert counts(await own.warm(WarmPlan(top=1, domain="search", compute=len))) == (1, 0, 1, {}, 0)
    assert await own.get_search_results("often", top_k=3) == 5
    assert counts(await own.warm(WarmPlan(top=5, domain=WEATHER, compute=str))) == (3, 0, 3, {}, 0)
    assert requested.top(1) == [("often", 3)]  # what warming asks for does not count

    clock.advance(86_400)  # the counts of a day are there for one more
    await own.get("new")
    assert requested.top(9) == [("often", 3), ("twice", 2), ("once", 1), ("new", 1)]
    clock.advance(86_400)
    assert requested.top(9) == [("new", 1)]
    clock.advance(3 * 86_400)
    assert requested.top(9) == []


async def test_counting_has_its_bounds(own: ToolCache) -> None:
    """C14: whatever is asked for, what is frequent is known and the room is bounded; what is long is not kept."""
    requested = own.requested
    for number in range(20_000):
        requested.note("", f"rare {number}", f"rare {number}")
        if number % 100 == 0:
            requested.note("", "frequent", "frequent")
    requested.note("", "x" * 5_000, "x" * 5_000)
    assert len(requested._today[""]) <= 2_000
    assert requested.top(1) == [("frequent", 200)]
    asked: dict[str, Any] = {"text": ["a"]}
    await own.get_search_results(asked)
    asked["text"].append("b")
    assert requested.top(1, "search") == [({"text": ["a"]}, 1)]


@pytest.mark.parametrize("domain", ["catalog", "embedding", "search", "metadata", "response", "model"])
async def test_counted_keys_are_the_same_keys(cache: ToolCache, domain: str) -> None:
    """C14: counting changes no key, and what was asked for can be asked for again."""
    (params, get) = next((row[1], row[2]) for row in DOMAINS if row[0] == domain)
    await cache.warm(WarmPlan(domain=domain, queries=["a"], params=params, compute=lambda _: [1.0]))
    _ = cache.requested
    assert await get(cache, "a") == [1.0]
    await get(cache, "b")
    assert counts(await cache.warm(WarmPlan(domain=domain, top=9, compute=lambda _: [2.0]))) == (2, 1, 1, {}, 0)
    assert await get(cache, "b") == [2.0]


# -- plans that cannot be -----------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "a plan has one of items, queries, file, top"),
    ({"queries": ["a"], "file": "b", "compute": len}, "queries and file"),
    ({"queries": ["a"]}, "need compute"),
    ({"items": {"a": len}, "compute": len}, "items bring what computes"),
    ({"items": {"a": 1}}, "items are keys"),
    ({"items": [("a",)]}, "items are keys"),
    ({"items": {"a": len}, "domain": "search"}, "keys of your own"),
    ({"queries": "abc", "compute": len}, "list of queries"),
    ({"queries": 7, "compute": len}, "list of queries"),
    ({"queries": ["a"], "compute": 7}, "function of a query"),
    ({"queries": ["a"], "compute": len, "params": {"a": 1}}, "name it"),
    ({"queries": ["a"], "compute": len, "domain": "search", "params": 7}, "dict of what else"),
    ({"queries": ["a"], "compute": len, "domain": "serach"}, "did you mean 'search'"),
    ({"queries": ["a"], "compute": len, "domain": 7}, "Domain"),
    ({"queries": ["a"], "compute": len, "max_parallel": 0}, "max_parallel"),
    ({"queries": ["a"], "compute": len, "max_items": 0}, "max_items"),
    ({"queries": ["a"], "compute": len, "per_second": 0}, "per_second"),
    ({"queries": ["a"], "compute": len, "max_seconds": 0}, "max_seconds"),
    ({"queries": ["a"], "compute": len, "max_cost_usd": -1}, "max_cost_usd"),
    ({"queries": ["a"], "compute": len, "ttl": -1}, "ttl"),
    ({"queries": ["a"], "compute": len, "tags": ["@a"]}, "cache's own"),
    ({"queries": ["a"], "compute": len, "name": "a b"}, "name"),
    ({"top": 0, "compute": len}, "top"),
    ({"queries": ["a"], "compute": len, "refresh": "maybe"}, "refresh"),
    ({"querys": ["a"]}, "did you mean 'queries'"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=[row[1] for row in REFUSED])
def test_plans_that_cannot_be(options: dict[str, Any], words: str) -> None:
    """BUG-106: an option that is unknown or cannot be is refused when the plan is made, with words that say which."""
    with pytest.raises((TypeError, ValueError), match=words):
        WarmPlan(**options)
