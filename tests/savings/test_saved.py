"""``cache.savings()``: what calls of a cache come to in the ledger."""

import asyncio
from typing import Any

import pytest
from agents import Agent
from hearing import aboard, until
from rig import Rig, SteadyClock

from toolcache import AgentTask, Context, Domain, RunContext, ToolCache, ToolPolicy
from toolcache.cache import Cache
from toolcache.savings import savings_of

DAY = 86_400.0


def told(clock: SteadyClock | None = None, *, seconds: float = 0.0, **cost: Any) -> Any:
    """A computation that takes a while, and says what it has cost."""

    def compute(context: Context) -> str:
        if clock is not None:
            clock.advance(seconds)
        context.cost(**cost)
        return "value"

    return compute


async def test_hits_of_every_layer(rig: Rig, clock: SteadyClock) -> None:
    """D4: what memory and the layers below answer saves what the computation has reported; also for other processes."""
    one = await rig.open()
    compute = told(clock, seconds=4.0, usd=0.5, tokens=100)
    for _ in range(3):
        assert await one.get_or_set("key", compute, lock=False) == "value"
    savings = await one.savings("1h")
    (line,) = savings.ledger
    assert (line.series.domain, line.computations_avoided, line.cost_saved, line.cost_spent) == ("general", 2, 1.0, 0.5)
    assert (line.tokens_saved, line.tokens_spent) == (200, 100)
    assert line.seconds_saved == pytest.approx(8.0, abs=0.1)
    assert line.why == "mean of 1 computation, as reported"


class TestRequestsThatRunOnce:
    """Their replays."""

    async def test_a_replay_is_counted_once(self, rig: Rig, clock: SteadyClock) -> None:
        """D4: each replay is one response and one run avoided, at what the run reported; its series does not count it again."""
        cache = await rig.open()
        agent = Agent()

        async def work(context: RunContext) -> Any:
            context.cost(usd=0.75, tokens=120)
            clock.advance(8)
            return await agent.run(context)

        for _ in range(4):
            assert await cache.once("pay", work) == "done"
        savings = await cache.savings("1h")
        (line,) = savings.ledger
        assert line.what == "replays"
        assert (savings.cached_responses, savings.computations_avoided) == (3, 3)
        assert (savings.cost_saved, savings.tokens_saved, savings.cost_spent, savings.tokens_spent) == (
            2.25,
            360,
            0.75,
            120,
        )
        assert savings.seconds_saved == pytest.approx(24, abs=0.5)
        stats = cache.stats()
        assert (stats.hits, stats.dispatch.replays, stats.dispatch.cost_usd_saved) == (3, 3, 2.25)
        assert (stats.dollars_saved, stats.seconds_saved) == (0.0, 0.0)

    async def test_each_of_those_who_ask_at_a_time_is_spared_a_run(self, rig: Rig, clock: SteadyClock) -> None:
        """D4: calls that share one look at a record are a replay each; those that share the run itself are not."""
        cache = await rig.open()
        agent = Agent()

        async def work(context: RunContext) -> Any:
            await aboard(cache, 3)
            context.cost(usd=0.5)
            return await agent.run(context)

        assert await asyncio.gather(*(cache.once("pay", work) for _ in range(3))) == ["done"] * 3
        assert (cache.stats().dispatch.replays, cache.stats().dispatch.joins, agent.runs) == (0, 2, 1)
        other = await rig.open() if rig.far else cache
        assert await asyncio.gather(*(other.once("pay", work) for _ in range(4))) == ["done"] * 4
        assert agent.runs == 1
        assert other.totals().dispatch.replays == other.totals().total.hits_replayed == 4
        assert other.totals().dispatch.cost_usd_saved == 2.0

    @pytest.mark.parametrize("tools", [{"costs": {"tool": 5.0, "idempotency": 7.0}}], indirect=True)
    async def test_tools_and_results(self, tools: ToolCache) -> None:
        """D4: where their domain declares a cost, replays of a tool do not have it on top; a stored result that is read does."""
        tools.tools["pay"] = ToolPolicy("once")

        def pay() -> str:
            RunContext.current().cost(usd=0.25)
            return "paid"

        assert [await tools.call_tool("pay", pay) for _ in range(3)] == ["paid"] * 3
        task = AgentTask(agent="a", template="b")
        await tools.set_result(task, "stored")
        assert await tools.get_result(task) == "stored"
        savings = await tools.savings("1h")
        assert [(line.what, line.series.domain, line.cost_saved) for line in savings.ledger] == [
            ("hits", "idempotency", 7.0),
            ("replays", "idempotency", 0.5),
        ]
        assert (tools.stats().dollars_saved, tools.stats().domains["tool"].dollars_saved) == (7.0, 0.0)

    async def test_a_duplicate_saves_nothing(self, host: Rig, clock: SteadyClock) -> None:
        """D4: a run that ends after another's answer was kept has spent its own; what it was answered with saved nothing."""
        one, two = await host.open(), await host.open()
        slow = Agent(held=True)

        async def first(context: RunContext) -> Any:
            context.cost(usd=1.0, tokens=10)
            return await slow.run(context)

        async def second(context: RunContext) -> str:
            context.cost(usd=3.0, tokens=30)
            return "second"

        stalled = asyncio.create_task(one.once("pay", first))
        await slow.begun.wait()
        clock.advance(31)
        assert await two.once("pay", second) == "second"
        slow.let_go()
        assert await stalled == "second"
        await until(lambda: one.stats().dispatch.duplicates == 1)
        runs = one.stats().dispatch
        assert (runs.replays, runs.cost_usd, runs.cost_usd_saved, runs.tokens_saved) == (1, 1.0, 0.0, 0)
        savings = savings_of(one.totals())
        assert (savings.cached_responses, savings.computations_avoided, savings.cost_saved) == (1, 0, 0.0)


class TestPrices:
    """What tokens come to."""

    @pytest.mark.parametrize("tools", [{"prices": {"small": 2.0}}], indirect=True)
    async def test_of_a_model(self, tools: ToolCache) -> None:
        """D4: tokens of a model that has a price come to dollars, beside those that were told in dollars; of others they do not."""
        ask = {"a": told(tokens=1_000_000), "b": told(usd=4.0, tokens=1_000_000)}
        for _ in range(2):
            for goal, compute in ask.items():
                await tools.get_response("faq", goal, model="small", compute=compute)
                await tools.get_response("faq", goal, model="large", compute=told(tokens=10))
        by_model = (await tools.savings("1h")).by("model")
        assert (by_model["small"].cost_saved, by_model["small"].cost_spent) == (6.0, 6.0)
        assert (by_model["large"].cost_saved, by_model["large"].tokens_saved) == (0.0, 20)
        assert {name: row.cost_saved for name, row in (await tools.savings("1h")).by("agent").items()} == {"faq": 6.0}
        assert tools.stats().dollars_saved == 6.0

    async def test_without_one(self, tools: ToolCache) -> None:
        """D4: of computations that told dollars, and others that told tokens, each mean is that of those who told it."""
        for _ in range(2):
            await tools.get_response("faq", "a", model="small", compute=told(usd=4.0))
            await tools.get_response("faq", "b", model="small", compute=told(tokens=100))
        (line,) = (await tools.savings("1h")).ledger
        assert (line.unit_usd, line.unit_tokens) == (4.0, 100)
        assert (line.cost_saved, line.tokens_saved) == (8.0, 200)
        stats = tools.stats()
        assert (stats.dollars_saved, stats.tokens_saved) == (8.0, 200)

    @pytest.mark.parametrize("tools", [{"costs": {"response": 0.5}, "prices": {"small": 2.0}}], indirect=True)
    async def test_a_declared_cost_wins(self, tools: ToolCache) -> None:
        """D4: a domain whose cost is set saves that, whatever the price."""
        for _ in range(3):
            await tools.get_response("faq", "a", model="small", compute=told(tokens=1_000_000))
        savings = await tools.savings("1h")
        assert savings.cost_saved == tools.stats().dollars_saved == 1.0
        assert savings.ledger[0].why == "declared"

    async def test_a_failed_computation_has_cost_what_it_says(self, tools: ToolCache) -> None:
        """D4: what a computation has told before it failed was spent."""

        def fail(context: Context) -> None:
            context.cost(usd=2.0)
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await tools.get_or_set("key", fail)
        assert (await tools.savings("1h")).cost_spent == 2.0


class TestPeriods:
    """How far back."""

    async def test_the_mean_of_days_before(self, tools: ToolCache, clock: SteadyClock) -> None:
        """D4: of what nobody has computed in the period, the cost is known from the days before; the days before do not count."""
        await tools.get_or_set("key", told(usd=0.25), ttl=None)
        await tools.get("key")
        await tools.savings("1h")
        clock.advance(3 * DAY)
        for _ in range(4):
            await tools.get("key")
        (line,) = (await tools.savings("1d")).ledger
        assert (line.computations_avoided, line.cost_saved, line.cost_spent) == (4, 1.0, 0.0)
        assert line.why == "mean of 1 computation, as reported, of all days kept"
        (line,) = (await tools.savings()).ledger
        assert (line.computations_avoided, line.cost_saved, line.cost_spent) == (5, 1.25, 0.25)
        assert line.why == "mean of 1 computation, as reported"

    async def test_all_days_are_read_once(self, tools: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
        """D4: where the period is all that is kept, nothing more can be known of what values cost."""
        await tools.set("key", "value")
        await tools.get("key")
        history, periods = tools._machine.history, list[Any]()
        metrics = history.metrics

        async def noted(period: Any, step: Any = None) -> Any:
            periods.append(period)
            return await metrics(period, step)

        monkeypatch.setattr(history, "metrics", noted)
        assert [line.source for line in (await tools.savings("399d")).unknown] == ["unknown"]
        assert [line.source for line in (await tools.savings("400d")).unknown] == ["unknown"]
        assert periods == ["399d", 400 * 86_400, "400d"]

    async def test_one_that_is_not_kept(self, tools: ToolCache) -> None:
        """D4: a period that is longer than counts are kept is refused."""
        with pytest.raises(ValueError, match="longer than counts are kept"):
            await tools.savings("401d")


async def test_a_domain_of_ones_own(tools: ToolCache) -> None:
    """D4: what a declared domain says of its cost is used, in dollars and tokens."""
    weather = Domain[str]("weather", ttl="5m", key=("city",), cost_usd=0.25, cost_tokens=7)
    for _ in range(3):
        await tools[weather].get(city="Oslo", compute=lambda: "rain")
    savings = await tools.savings("1h")
    assert (savings.cost_saved, savings.tokens_saved, savings.cost_spent, savings.tokens_spent) == (0.5, 14, 0.25, 7)
    assert savings.by("domain").keys() == {"weather"}


async def test_stale_answers(host: Rig, clock: SteadyClock) -> None:
    """D4: a value past its time that stands in for one that failed is a response, and avoids no computation."""
    cache: Cache = await host.open()
    await cache.get_or_set("key", told(usd=1.0), ttl=10, grace="1h")
    clock.advance(11)

    def fail() -> None:
        raise ValueError("no")

    assert await cache.get_or_set("key", fail, ttl=10, grace="1h") == "value"
    savings = await cache.savings("1h")
    assert (savings.cached_responses, savings.computations_avoided, savings.cost_saved) == (1, 0, 0.0)
