"""Each option of a request that is run once: what it changes, and what is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agents import Agent, ticks
from hearing import aboard
from rig import Rig, SteadyClock
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, retry_if_result, stop_after_attempt

from toolcache import (
    AlreadyInProgressError,
    RunContext,
    RunTimeoutError,
    StoredAgentError,
    StoresUnavailableError,
    TakeoverLimitError,
    WaitTimeoutError,
)
from toolcache.cache import Cache
from toolcache.events import DispatchDegraded
from toolcache.terms import Terms


class TestRunning:
    """How it is run."""

    async def test_timeout(self, cache: Cache) -> None:
        """ID-14: a run that takes longer is ended, and has failed: a TimeoutError for its callers, and the next call runs."""
        agent = Agent(held=True)
        with pytest.raises(RunTimeoutError, match=r"timeout=0\.01 s") as caught:
            await cache.once("pay", agent.run, timeout="10ms")
        assert isinstance(caught.value, TimeoutError)
        assert agent.ended == 1
        agent.let_go()
        assert await cache.once("pay", agent.run, timeout="60s") == "done"
        assert (cache.stats().dispatch.timeouts, cache.stats().dispatch.failures) == (1, 0)

    async def test_a_timeout_of_the_runs_own_is_a_failure(self, local: Cache) -> None:
        """ID-14: what the run raises of its own is given as it is, also where it has a timeout."""
        error = TimeoutError("mine")
        with pytest.raises(TimeoutError) as caught:
            await local.once("pay", Agent(error).run, timeout=60)
        assert caught.value is error
        assert (local.stats().dispatch.timeouts, local.stats().dispatch.failures) == (0, 1)

    async def test_retry(self, cache: Cache) -> None:
        """ID-14: tries within one claim, as often as it says; each has the same key, and the timeout for itself."""
        tries: list[tuple[int, int, str]] = []

        async def work(context: RunContext) -> str:
            tries.append((context.tries, context.attempt, context.idempotency_key))
            if len(tries) == 1:
                raise ConnectionError
            if len(tries) == 2:
                await asyncio.Event().wait()
            return "done"

        retry = AsyncRetrying(
            stop=stop_after_attempt(3), retry=retry_if_exception_type((ConnectionError, TimeoutError))
        )
        assert await cache.once("pay", work, retry=retry, timeout="20ms") == "done"
        assert [(number, attempt) for number, attempt, _ in tries] == [(1, 1), (2, 1), (3, 1)]
        assert len({key for *_, key in tries}) == 1
        assert cache.stats().dispatch.executions == 1
        assert (await cache.status("pay")).attempts == 3

    @pytest.mark.parametrize("reraise", [False, True])
    async def test_retries_that_come_to_nothing(self, local: Cache, reraise: bool) -> None:
        """ID-14: the last failure is the callers', not one about retrying."""
        agent = Agent(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await local.once("pay", agent.run, retry=AsyncRetrying(stop=stop_after_attempt(4), reraise=reraise))
        assert agent.runs == 4

    async def test_retries_because_of_outputs(self, local: Cache) -> None:
        """ID-14: where no try raised, but none came to what was wanted, there is nothing else to raise."""
        retry = AsyncRetrying(stop=stop_after_attempt(2), retry=retry_if_result(lambda output: output is None))
        with pytest.raises(RetryError):
            await local.once("pay", lambda: None, retry=retry)

    async def test_a_retry_may_be_used_by_many(self, local: Cache) -> None:
        """ID-14: one AsyncRetrying serves requests side by side; each has its own tries."""
        retry = AsyncRetrying(stop=stop_after_attempt(3))
        agents = [Agent(ValueError("no")) for _ in range(5)]
        outcomes = await asyncio.gather(
            *(local.once(f"pay {at}", agent.run, retry=retry) for at, agent in enumerate(agents)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [ValueError] * 5
        assert [agent.runs for agent in agents] == [3] * 5

    @pytest.mark.parametrize("how", ["finish", "cancel"])
    async def test_on_abandon(self, cache: Cache, how: Any) -> None:
        """ID-22: when the last caller has left, the run goes on, or ends and leaves the request as it was."""
        agent = Agent(held=True)
        callers = [asyncio.create_task(cache.once("pay", agent.run, on_abandon=how)) for _ in range(2)]
        await agent.begun.wait()
        await aboard(cache, 2)
        callers[0].cancel()
        await ticks()
        assert agent.ended == 0
        callers[1].cancel()
        await asyncio.wait(callers)
        await ticks()
        assert agent.ended == (how == "cancel")
        agent.let_go()
        assert await cache.once("pay", agent.run) == "done"
        assert agent.runs == (2 if how == "cancel" else 1)
        assert agent.contexts[-1].attempt == 1


class TestWaiting:
    """How long for another's run."""

    async def test_wait(self, cache: Cache) -> None:
        """ID-27: "join" has the answer of what runs, "raise" an error at once."""
        agent = Agent(held=True)
        first = asyncio.create_task(cache.once("pay", agent.run))
        await agent.begun.wait()
        joining = asyncio.create_task(cache.once("pay", agent.run, wait="join"))
        with pytest.raises(AlreadyInProgressError):
            await cache.once("pay", agent.run, wait="raise")
        agent.let_go()
        assert await first == await joining == "done"

    async def test_wait_timeout_is_not_for_the_own_run(self, local: Cache, clock: SteadyClock) -> None:
        """ID-28: who runs it waits to the end, however little it would wait for others."""
        agent = Agent(held=True)
        first = asyncio.create_task(local.once("pay", agent.run, wait_timeout="10ms"))
        await agent.begun.wait()
        clock.advance(10)
        done, _ = await asyncio.wait([first], timeout=0.03)
        assert not done
        waiting = asyncio.create_task(local.once("pay", agent.run, wait_timeout="10ms"))
        await ticks()
        clock.advance(10)
        with pytest.raises(WaitTimeoutError):
            await waiting
        agent.let_go()
        assert await first == "done"

    async def test_lease(self, host: Rig, clock: SteadyClock) -> None:
        """ID-12: others respect a claim for as long as it says, and no longer."""
        one, two = await host.open(), await host.open()
        agent = Agent(held=True)
        first = asyncio.create_task(one.once("pay", agent.run, lease="5s"))
        await agent.begun.wait()
        clock.advance(4.9)
        with pytest.raises(AlreadyInProgressError):
            await two.once("pay", lambda: "over", wait="raise")
        clock.advance(0.2)
        assert await two.once("pay", lambda: "over", wait="raise") == "over"
        agent.let_go()
        assert await first == "over"

    async def test_a_lease_is_renewed(self, host: Rig) -> None:
        """ID-03: every third of it: a run that lasts longer keeps its claim."""
        cache, agent = await host.open(), Agent(held=True)
        files: Any = cache._parts.files
        first = asyncio.create_task(cache.once("pay", agent.run, lease="30ms"))
        await agent.begun.wait()
        swaps = files.store.calls["swap"]
        async with asyncio.timeout(20):
            while files.store.calls["swap"] < swaps + 3:  # noqa: ASYNC110 - it is short
                await asyncio.sleep(0.005)
        agent.let_go()
        assert await first == "done"

    async def test_max_attempts(self, host: Rig, clock: SteadyClock) -> None:
        """ID-24: after so many that died at it it is given up, for everybody, until it is forgotten."""
        agents = [Agent(held=True) for _ in range(2)]
        runs = []
        for agent in agents:
            runs.append(asyncio.create_task((await host.open()).once("pay", agent.run, max_attempts=2)))
            await agent.begun.wait()
            clock.advance(31)
        last, agent = await host.open(), Agent()
        for _ in range(2):
            with pytest.raises(TakeoverLimitError) as caught:
                await last.once("pay", agent.run, max_attempts=2)
            assert caught.value.attempts == 2
        assert agent.runs == 0
        assert (await last.status("pay")).state == "failed"
        for one in agents:
            one.let_go()
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TakeoverLimitError] * 2
        await last.forget("pay")
        assert await last.once("pay", agent.run, max_attempts=2) == "done"
        assert agent.contexts[0].attempt == 1


class TestKeeping:
    """What is kept of it, and for how long."""

    async def test_retention(self, cache: Cache, clock: SteadyClock) -> None:
        """ID-03: an hour unless it says otherwise; for ever with None."""
        agents = {name: Agent(name) for name in ("hour", "minute", "ever")}
        spans: dict[str, Any] = {"hour": {}, "minute": {"retention": "1m"}, "ever": {"retention": None}}

        async def ask() -> list[int]:
            for name, agent in agents.items():
                await cache.once(name, agent.run, **spans[name])
            return [agent.runs for agent in agents.values()]

        assert await ask() == [1, 1, 1]
        clock.advance(59)
        assert await ask() == [1, 1, 1]
        clock.advance(2)
        assert await ask() == [1, 2, 1]
        clock.advance(3600 - 62)
        assert (await ask())[0] == 1
        clock.advance(2)
        assert (await ask())[0] == 2
        clock.advance(10 * 365 * 86_400)
        assert (await ask())[2] == 1
        assert (await cache.status("ever")).expires_at == float("inf")

    async def test_on_error_forget(self, cache: Cache, clock: SteadyClock) -> None:
        """ID-14: unless told otherwise, a failure is told for a moment to those who waited, and is nothing that is kept."""
        agent = Agent(ValueError("no"))
        for options in ({}, {"on_error": "forget"}):
            with pytest.raises(ValueError, match="no"):
                await cache.once("pay", agent.run, **options)  # type: ignore[arg-type]  # options of one kind
        assert agent.runs == 2
        assert (await cache.status("pay")).state == "failed"
        clock.advance(5)
        assert (await cache.status("pay")).state == "absent"

    async def test_on_error_store(self, rig: Rig, cache: Cache, clock: SteadyClock) -> None:
        """ID-15: a failure that is kept is told by its words for error_ttl, in every process, and then it runs again."""
        agent, other = Agent(LookupError("no such account")), await rig.open() if rig.far else cache
        with pytest.raises(LookupError):
            await cache.once("pay", agent.run, on_error="store", error_ttl=60)
        clock.advance(59)
        for asked in (cache, other):
            with pytest.raises(StoredAgentError, match="no such account") as caught:
                await asked.once("pay", agent.run)
            assert (caught.value.type, caught.value.message) == ("LookupError", "no such account")
        assert agent.runs == 1
        clock.advance(2)
        with pytest.raises(LookupError):
            await other.once("pay", agent.run)
        assert agent.runs == 2

    async def test_on_error_by_type(self, cache: Cache) -> None:
        """ID-15: of some exceptions only those, and what is derived of them, are kept."""
        kept, lost = Agent(KeyError("kept")), Agent(ValueError("lost"))
        for agent, error in ((kept, KeyError), (lost, ValueError)):
            for _ in range(2):
                with pytest.raises((error, StoredAgentError)):
                    await cache.once(str(error), agent.run, on_error=(LookupError, OSError))
        assert (kept.runs, lost.runs) == (1, 2)

    async def test_error_ttl(self, cache: Cache, clock: SteadyClock) -> None:
        """ID-15: it, and not the retention, says how long a failure is kept; a minute unless given."""
        agents = [Agent(ValueError("no")) for _ in range(2)]
        options: list[Any] = [{"error_ttl": "2s"}, {}]

        async def ask() -> list[int]:
            for at, (agent, option) in enumerate(zip(agents, options, strict=True)):
                with pytest.raises((ValueError, StoredAgentError)):
                    await cache.once(f"pay {at}", agent.run, on_error="store", **option)
            return [agent.runs for agent in agents]

        assert await ask() == [1, 1]
        clock.advance(1.9)
        assert await ask() == [1, 1]
        clock.advance(0.2)
        assert await ask() == [2, 1]
        clock.advance(59)
        assert (await ask())[1] == 2

    async def test_a_timeout_that_is_kept(self, local: Cache) -> None:
        """ID-15: a run that takes too long is a failure like any other."""
        agent = Agent(held=True)
        with pytest.raises(RunTimeoutError):
            await local.once("pay", agent.run, timeout=0.01, on_error=(TimeoutError,))
        with pytest.raises(StoredAgentError, match="RunTimeoutError"):
            await local.once("pay", agent.run)
        assert agent.runs == 1


class TestStoresDown:
    """Where no store can say anything."""

    @pytest.fixture
    async def broken(self, rig: Rig) -> Cache:
        """A cache whose stores all fail."""
        cache = await rig.open()
        for layer in (cache._parts.redis, cache._parts.files):
            if layer is not None:
                store: Any = layer.store
                store.fail_with(ConnectionResetError if layer.name == "redis" else OSError)
        return cache

    async def test_on_store_down(self, rig: Rig, broken: Cache) -> None:
        """ID-31: it is not run, or with "run" once in this process, and events tell; memory alone has none to lose."""
        agent = Agent()
        if rig.far:
            for options in ({}, {"on_store_down": "raise"}):
                with pytest.raises(StoresUnavailableError) as caught:
                    await broken.once("pay", agent.run, **options)  # type: ignore[arg-type]  # options of one kind
                assert caught.value.reason
            assert agent.runs == 0
        for _ in range(2):
            assert await broken.once("pay", agent.run, on_store_down="run") == "done"
        assert agent.runs == 1
        layers = rig.layering.split("+")[1:]
        assert {event.layer for event in rig.recorder.of(DispatchDegraded)} == set(layers)
        assert bool(broken.stats().dispatch.degraded) is rig.far


class TestSpelling:
    """What may be said."""

    @pytest.mark.parametrize(
        ("options", "error", "told"),
        [
            ({"timout": 1}, TypeError, "there is no option 'timout'; did you mean 'timeout'"),
            ({"ttl": 1}, TypeError, "there is no option 'ttl'"),
            ({"timeout": 0}, ValueError, "timeout"),
            ({"timeout": "soon"}, ValueError, "timeout"),
            ({"timeout": []}, TypeError, "timeout"),
            ({"retry": 3}, TypeError, "tenacity.AsyncRetrying"),
            ({"wait": "jion"}, ValueError, "did you mean 'join'"),
            ({"wait": True}, ValueError, "wait is one of"),
            ({"wait_timeout": -1}, ValueError, "wait_timeout"),
            ({"on_error": "raise"}, ValueError, "on_error is 'forget', 'store' or a tuple"),
            ({"on_error": ValueError}, ValueError, "a tuple of exception types"),
            ({"on_error": ("ValueError",)}, ValueError, "a tuple of exception types"),
            ({"on_error": (KeyboardInterrupt,)}, ValueError, "a tuple of exception types"),
            ({"on_error": [ValueError]}, ValueError, "a tuple of exception types"),
            ({"error_ttl": None}, TypeError, "error_ttl"),
            ({"error_ttl": 0}, ValueError, "error_ttl"),
            ({"on_abandon": "leave"}, ValueError, "on_abandon is one of"),
            ({"on_store_down": "ignore"}, ValueError, "on_store_down is one of"),
            ({"retention": 0}, ValueError, "retention"),
            ({"retention": "a while"}, ValueError, "retention"),
            ({"lease": None}, TypeError, "lease"),
            ({"lease": 0}, ValueError, "lease"),
            ({"max_attempts": 0}, ValueError, "max_attempts is a whole number of at least 1"),
            ({"max_attempts": 2.5}, ValueError, "max_attempts"),
        ],
        ids=str,
    )
    async def test_what_cannot_be_is_refused(
        self, local: Cache, options: Any, error: type[Exception], told: str
    ) -> None:
        """BUG-106: unknown options and impossible values are told by name, and nothing runs."""
        agent = Agent()
        with pytest.raises(error, match=told):
            await local.once("pay", agent.run, **options)
        assert agent.runs == 0
        assert (await local.status("pay")).state == "absent"

    @pytest.mark.parametrize(
        ("name", "given", "read"),
        [
            ("timeout", "1m30s", 90.0),
            ("timeout", None, None),
            ("wait_timeout", "2s", 2.0),
            ("error_ttl", "1h", 3600.0),
            ("retention", "never", None),
            ("retention", "2d", 172_800.0),
            ("lease", "500ms", 0.5),
            ("max_attempts", "4", 4),
            ("on_error", (), ()),
        ],
    )
    def test_how_it_may_be_spelt(self, name: str, given: Any, read: Any) -> None:
        """BUG-106: spans as everywhere else, seconds or text."""
        assert getattr(Terms.of({name: given}), name) == read

    def test_what_is_kept_unless_said(self) -> None:
        """BUG-106: without options the terms are those that the pages tell."""
        said: Callable[[str], Any] = Terms.of({}).__getattribute__
        assert (said("wait"), said("on_error"), said("on_abandon"), said("on_store_down")) == (
            *("join", "forget"),
            *("finish", "raise"),
        )
        assert (said("lease"), said("error_ttl"), said("max_attempts"), said("timeout")) == (30.0, 60.0, 3, None)
