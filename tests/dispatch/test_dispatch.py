"""dispatch_agents within one process: many tasks, each run once."""

import asyncio
import itertools
import math
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest
from agents import Agent, ticks
from rig import SteadyClock
from tenacity import AsyncRetrying, stop_after_attempt

from toolcache import (
    AgentResult,
    AgentTask,
    Progress,
    RunContext,
    SerializationError,
    StoredAgentError,
    TaskError,
    TemplateError,
    ToolCache,
    dispatch_agents,
)
from toolcache.errors import CacheClosedError
from toolcache.terms import OnceOptions, Terms

TEMPLATE: Final = "classify {text}"


def task(text: Any = "hello", **options: Any) -> AgentTask:
    return AgentTask("classifier", TEMPLATE, {"text": text}, **options)


class Classifier:
    """An agent that notes which tasks it was asked to run, and fails at some texts."""

    def __init__(self, *failing: Any) -> None:
        self.ran: list[Any] = []
        self.failing = set(failing)

    async def __call__(self, task: AgentTask) -> Any:
        self.ran.append(task.args["text"])
        if task.args["text"] in self.failing:
            raise ValueError(f"cannot classify {task.args['text']}")
        return {"label": task.args["text"]}


class TestOnce:
    """Each task."""

    async def test_the_same_dispatch_again(self, tools: ToolCache, clock: SteadyClock) -> None:
        """ID-01: the second time it is replayed, with what its run took and cost; one record, whoever looks."""

        def run(_prompt: str, _task: AgentTask, context: RunContext) -> dict[str, str]:
            context.cost(usd=0.5, tokens=7)
            clock.advance(3)
            return {"label": "greeting"}

        (first,) = await dispatch_agents([task()], run, cache=tools)
        (second,) = await dispatch_agents([task()], run, cache=tools)
        assert first == AgentResult(
            str(task().digest()),
            {"label": "greeting"},
            started_at=first.started_at,
            finished_at=first.started_at + 3,
            seconds=first.seconds,
            cost_usd=0.5,
            tokens=7,
        )
        assert first.seconds == pytest.approx(3)
        assert second.replayed
        assert all(
            getattr(first, field.name) == getattr(second, field.name)
            for field in fields(AgentResult)
            if field.name != "replayed"
        )
        assert tools.stats().dispatch.executions == tools.stats().dispatch.replays == 1
        assert await tools.get_result(task()) == second.unwrap() == {"label": "greeting"}

    async def test_equal_tasks_run_once(self, tools: ToolCache) -> None:
        """ID-19: the order of arguments is none of a task; of those given twice, both have the output, in their places."""
        one, two = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
        tasks = [AgentTask("agent", "{a} {b}", args) for args in (one, two)]
        agent = Agent([1])
        first, second = await dispatch_agents(
            tasks, lambda _prompt, _task, context: agent.run(context), cache=tools, max_parallel=2
        )
        assert agent.runs == 1
        assert first.output == second.output == [1]
        first.output.append(2)
        assert second.output == [1]
        assert first.task_id == second.task_id

    async def test_types_of_arguments_matter(self, tools: ToolCache) -> None:
        """ID-20: 1, 1.0, True, "1" and b"1" are five tasks."""
        run, texts = Classifier(), [1, 1.0, True, "1", b"1"]
        results = await dispatch_agents([task(text) for text in texts], run, cache=tools)
        assert [repr(result.output["label"]) for result in results] == list(map(repr, texts))
        assert len({result.task_id for result in results}) == len(run.ran) == 5

    async def test_what_a_task_is(self, options: dict[str, Any]) -> None:
        """ID-21: another template, agent, version, model, tenant or namespace is another task, each with its own record."""
        changes: list[dict[str, Any]] = [
            *({}, {"agent": "other"}, {"template": "label {text}"}, {"agent_version": "2"}),
            *({"model": "small"}, {"tenant": "shop"}),
        ]
        numbers = itertools.count(1)

        async def ask(cache: ToolCache) -> list[int]:
            given = {"agent": "classifier", "template": TEMPLATE, "args": {"text": "hello"}}
            tasks = [AgentTask(**given | change) for change in changes]
            results = await dispatch_agents(tasks, lambda _task: next(numbers), cache=cache, max_parallel=1)
            return [result.unwrap() for result in results]

        async with ToolCache(**options) as cache, ToolCache(**options, namespace="other") as other:
            assert await ask(cache) == [1, 2, 3, 4, 5, 6]
            assert await ask(other) == [7, 8, 9, 10, 11, 12]
            assert await ask(cache) == [1, 2, 3, 4, 5, 6]

    async def test_an_agent_that_changes_its_arguments(self, tools: ToolCache) -> None:
        """ID-36: the record is that of the arguments as they were given."""

        async def run(task: AgentTask) -> int:
            task.args["text"].append("changed")
            return len(task.args["text"])

        given = ["hello"]
        tasks = [task(given), task(given)]
        assert [result.output for result in await dispatch_agents(tasks, run, cache=tools)] == [2, 2]
        assert given == ["hello"]
        (again,) = await dispatch_agents([task(["hello"])], run, cache=tools)
        assert again.replayed
        assert await tools.get_result(task(["hello", "changed"])) is None

    async def test_any_text_identifies(self, tools: ToolCache) -> None:
        """ID-38: a key of the caller's own is any text, and does nothing but identify."""
        run = Classifier()
        keys = ["x" * 10_000, "../../etc/passwd", "a\0b", "a\r\nDEL b\r\n", "a\ud800b"]
        tasks = [task(number, idempotency_key=key) for number, key in enumerate(keys)]
        for replayed in (False, True):
            results = await dispatch_agents(tasks, run, cache=tools)
            assert [result.unwrap()["label"] for result in results] == [0, 1, 2, 3, 4]
            assert [result.replayed for result in results] == [replayed] * 5
        assert len(run.ran) == 5

    async def test_a_key_that_was_used_for_something_else(self, tools: ToolCache) -> None:
        """BUG-115: that task fails and nothing runs, in one dispatch as in two; the first keeps its answer."""
        run = Classifier()
        tasks = [task(text, idempotency_key="7") for text in ("a", "b", "a")]
        results = await dispatch_agents(tasks, run, cache=tools, max_parallel=1)
        assert [result.status for result in results] == ["completed", "failed", "completed"]
        assert results[1].error is not None
        assert results[1].error.type.endswith("TaskMismatchError")
        assert results[1].attempts == 0
        (again,) = await dispatch_agents(tasks[1:2], run, cache=tools)
        assert not again.ok
        assert run.ran == ["a"]

    async def test_what_was_set_is_not_run(self, tools: ToolCache) -> None:
        """ID-32: a result of elsewhere is the answer, until it is deleted, forgotten, or invalidated by a tag of its own."""
        run = Classifier()
        for forget in (tools.delete_result, tools.forget, lambda _task: tools.invalidate(tags=["run-7"])):
            await tools.set_result(task(), "set", tags=["run-7"])
            (result,) = await dispatch_agents([task()], run, cache=tools)
            assert (result.output, result.replayed) == ("set", True)
            await forget(task())
        (result,) = await dispatch_agents([task()], run, cache=tools)
        assert (result.output, result.replayed) == ({"label": "hello"}, False)

    async def test_what_is_set_while_it_runs_is_the_answer(self, tools: ToolCache) -> None:
        """ID-12: the first that is stored stays; the run's callers get that."""
        agent = Agent("run", held=True)
        running = asyncio.create_task(
            dispatch_agents([task()], lambda _p, _t, context: agent.run(context), cache=tools)
        )
        await agent.begun.wait()
        assert (await tools.status(task())).state == "running"
        await tools.set_result(task(), "set")
        agent.let_go()
        (result,) = await running
        assert result.output == await tools.get_result(task()) == "set"


class TestFailing:
    """What fails touches nothing else."""

    async def test_a_batch_again(self, tools: ToolCache) -> None:
        """ID-26: of ten one fails; asked for again, that one alone runs."""
        run, tasks = Classifier(2), [task(number) for number in range(10)]
        results = await dispatch_agents(tasks, run, cache=tools)
        assert [result.ok for result in results] == [number != 2 for number in range(10)]
        assert isinstance(results[2].exception, ValueError)
        with pytest.raises(ValueError, match="cannot classify 2"):
            results[2].unwrap()
        assert len(run.ran) == 10
        run.failing.clear()
        again = await dispatch_agents(tasks, run, cache=tools)
        assert [result.replayed for result in again] == [number != 2 for number in range(10)]
        assert [result.output["label"] for result in again] == list(range(10))
        assert run.ran[10:] == [2]

    async def test_a_stored_failure(self, tools: ToolCache) -> None:
        """ID-15: told by its words, as replayed; and as a timeout if it was one."""

        async def run(task: AgentTask) -> None:
            if task.args["text"] == "late":
                await asyncio.Event().wait()
            raise ValueError("no")

        tasks = [task("late", timeout=0.01), task("wrong")]
        first = await dispatch_agents(tasks, run, cache=tools, on_error="store")
        second = await dispatch_agents(tasks, run, cache=tools)
        for results, replayed in ((first, False), (second, True)):
            assert [result.status for result in results] == ["timeout", "failed"]
            assert [result.replayed for result in results] == [replayed] * 2
            assert [result.error and result.error.type.rpartition(".")[2] for result in results] == [
                "RunTimeoutError",
                "ValueError",
            ]
            with pytest.raises(TimeoutError):
                results[0].unwrap()
        with pytest.raises(StoredAgentError, match="no"):
            second[1].unwrap()

    async def test_a_failure_that_was_waited_for(self, tmp_path: Path) -> None:
        """BUG-18: of another process: its words, and not those of who tells it; as no exception of this one's."""
        begun, gate = asyncio.Event(), asyncio.Event()

        async def fail(_task: AgentTask) -> None:
            begun.set()
            await gate.wait()
            raise KeyError("x")

        async with ToolCache(directory=tmp_path) as one, ToolCache(directory=tmp_path) as two:
            first = asyncio.create_task(dispatch_agents([task()], fail, cache=one))
            await begun.wait()
            second = asyncio.create_task(dispatch_agents([task()], fail, cache=two))
            while not two.stats().dispatch.joins:  # noqa: ASYNC110 - it waits by then
                await asyncio.sleep(0.005)
            gate.set()
            results = [(await dispatched)[0] for dispatched in (first, second)]
        assert [result.error for result in results] == [TaskError("KeyError", "'x'")] * 2
        assert [result.exception is None for result in results] == [False, True]
        with pytest.raises(StoredAgentError, match="KeyError: 'x'"):
            results[1].unwrap()

    async def test_an_output_that_cannot_be_kept(self, tools: ToolCache) -> None:
        """ID-25: the exception has the output; asked for again, it is told without running."""
        output, run = object(), Classifier()
        (first,) = await dispatch_agents([task()], lambda _task: output, cache=tools)
        assert isinstance(first.exception, SerializationError)
        assert first.exception.result is output
        (second,) = await dispatch_agents([task()], run, cache=tools)
        assert (second.status, second.replayed) == ("failed", True)
        assert second.error is not None
        assert second.error.type.endswith("SerializationError")
        assert run.ran == []

    async def test_a_run_that_cancels_itself(self, tools: ToolCache) -> None:
        """LC-15: it fails alone; the other tasks have their outputs, and the dispatch is not cancelled."""

        async def run(task: AgentTask) -> Any:
            if task.args["text"] == 1:
                raise asyncio.CancelledError
            return task.args["text"]

        results = await dispatch_agents([task(number) for number in range(3)], run, cache=tools)
        assert [result.status for result in results] == ["completed", "failed", "completed"]

    async def test_a_dispatch_that_is_cancelled(self, tools: ToolCache) -> None:
        """ID-22: what runs comes to its end, and the next dispatch gets that; what had not begun was not begun."""
        agents = {number: Agent(number, held=True) for number in range(3)}

        async def run(_prompt: str, task: AgentTask, context: RunContext) -> Any:
            return await agents[task.args["text"]].run(context)

        tasks = [task(number) for number in agents]
        dispatch = asyncio.create_task(dispatch_agents(tasks, run, cache=tools, max_parallel=2))
        await agents[0].begun.wait()
        await agents[1].begun.wait()
        dispatch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dispatch
        assert agents[2].runs == 0
        for agent in agents.values():
            agent.let_go()
        results = await dispatch_agents(tasks, run, cache=tools)
        assert [result.output for result in results] == [0, 1, 2]
        assert [agent.runs for agent in agents.values()] == [1, 1, 1]

    async def test_a_closed_cache(self, options: dict[str, Any]) -> None:
        """LC-10: there is no result for a task of a cache that is closed."""
        async with ToolCache(**options) as cache:
            pass
        with pytest.raises(CacheClosedError):
            await dispatch_agents([task(1), task(2)], Classifier(), cache=cache)


class TestOptions:
    """What a dispatch takes."""

    @pytest.fixture
    def options(self, clock: SteadyClock) -> dict[str, Any]:
        """Of memory alone: where answers are kept is nothing to these."""
        return {"clock": clock, "files": False}

    async def test_how_run_is_called(self, tools: ToolCache) -> None:
        """It is given a task; a prompt and the task; or those and a context, that may have a default: sync or async."""

        def one(task: AgentTask) -> Any:
            return task.args["text"]

        async def two(prompt: str, task: AgentTask) -> Any:
            return [prompt, task.args["text"]]

        async def three(prompt: str, task: AgentTask, context: RunContext) -> Any:
            return [prompt, task.args["text"], context.attempt]

        async def with_defaults(prompt: str, task: AgentTask, context: RunContext | None = None, more: int = 4) -> Any:
            return [prompt, task.args["text"], context and context.attempt, more]

        async def bound(prompt: str, task: AgentTask, times: int = 5) -> Any:
            return [prompt, task.args["text"], times]

        outputs = []
        runs: list[Any] = [one, two, three, with_defaults, bound]
        for at, run in enumerate(runs):
            (result,) = await dispatch_agents([task(at)], run, cache=tools)
            outputs.append(result.unwrap())
        assert outputs[:3] == [0, ["classify 1", 1], ["classify 2", 2, 1]]
        assert outputs[3:] == [["classify 3", 3, 1, 4], ["classify 4", 4, 5]]

    @pytest.mark.parametrize("parallel", [1, 3, 10])
    async def test_max_parallel(self, tools: ToolCache, parallel: int) -> None:
        """So many are run at a time and no more; ten unless given, and in the order of the tasks."""
        running = most = 0
        begun: list[int] = []

        async def run(task: AgentTask) -> None:
            nonlocal running, most
            begun.append(task.args["text"])
            running += 1
            most = max(most, running)
            await ticks()
            running -= 1

        given: dict[str, Any] = {} if parallel == 10 else {"max_parallel": parallel}
        await dispatch_agents([task(number) for number in range(20)], run, cache=tools, **given)
        assert most == parallel
        assert begun == list(range(20))

    async def test_on_progress(self, tools: ToolCache) -> None:
        """It is told of each beginning and each answer, equal tasks included, and its own faults harm nothing."""
        await dispatch_agents([task("old")], Classifier(), cache=tools)
        told: list[Progress] = []

        def tell(progress: Progress) -> None:
            told.append(progress)
            raise RuntimeError

        tasks = [task(text) for text in ("old", "new", "bad", "new")]
        results = await dispatch_agents(tasks, Classifier("bad"), cache=tools, max_parallel=1, on_progress=tell)
        counts = [(one.done, one.running, one.completed, one.replayed, one.failed) for one in told]
        assert counts == [
            *((0, 1, 0, 0, 0), (1, 0, 1, 1, 0)),
            *((1, 2, 1, 1, 0), (2, 1, 2, 1, 0), (3, 0, 3, 1, 0)),
            *((3, 1, 3, 1, 0), (4, 0, 3, 1, 1)),
        ]
        assert {one.total for one in told} == {4}
        came = [one.result for one in told if one.result is not None]
        assert came == [results[0], results[1], results[3], results[2]]

    async def test_a_tasks_own_timeout_is_stronger(self, tools: ToolCache) -> None:
        """Shorter or longer than that of the dispatch, which the others have."""

        async def run(_task: AgentTask) -> str:
            await asyncio.sleep(0.05)
            return "done"

        tasks = [task(1, timeout=0.005), task(2)]
        results = await dispatch_agents(tasks, run, cache=tools, timeout=30)
        assert [result.status for result in results] == ["timeout", "completed"]
        tasks = [task(3, timeout=30), task(4)]
        results = await dispatch_agents(tasks, run, cache=tools, timeout=0.005)
        assert [result.status for result in results] == ["completed", "timeout"]

    async def test_all_other_options_are_those_of_once(self, tools: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each of them reaches the run of each task."""
        said: OnceOptions = {
            "timeout": 1,
            "retry": AsyncRetrying(stop=stop_after_attempt(2)),
            "wait": "raise",
            "wait_timeout": 2,
            "on_error": "store",
            "error_ttl": 3,
            "on_abandon": "cancel",
            "on_store_down": "run",
            "retention": None,
            "lease": 4,
            "max_attempts": 5,
        }
        assert set(said) == {field.name for field in fields(Terms)}
        had, settle = [], tools._settle

        async def settling(request: str, fingerprint: str, work: Any, terms: Terms) -> Any:
            had.append(terms)
            return await settle(request, fingerprint, work, terms)

        monkeypatch.setattr(tools, "_settle", settling)
        await dispatch_agents([task(1), task(2)], Classifier(), cache=tools, **said)
        assert had == [Terms.of(said)] * 2
        assert (await tools.status(task(1))).expires_at == math.inf

    @pytest.mark.parametrize(
        ("wrong", "error", "told"),
        [
            ({"max_paralel": 3}, TypeError, "max_paralel"),
            ({"timout": 3}, TypeError, "did you mean 'timeout'"),
            ({"max_parallel": 0}, ValueError, "max_parallel is a whole number of at least 1"),
            ({"max_attempts": 0}, ValueError, "max_attempts"),
            ({"fingerprint": 1}, TypeError, "fingerprint"),
            ({"tasks": [task(), "task"]}, TypeError, "task 1 is no AgentTask, but str"),
            ({"tasks": [AgentTask("a", "{text} {name}", {"text": 1})]}, TemplateError, "name"),
            ({"run": None}, TypeError, "not NoneType"),
            ({"run": lambda: 1}, TypeError, "a task, a prompt and a task"),
            ({"run": lambda a, b, c, d: 1}, TypeError, "a task, a prompt and a task"),
            ({"run": lambda a, *, b: 1}, TypeError, "a task, a prompt and a task"),
        ],
        ids=lambda given: "-".join(given) if isinstance(given, dict) else None,
    )
    async def test_what_cannot_be_is_refused(
        self, tools: ToolCache, wrong: dict[str, Any], error: type[Exception], told: str
    ) -> None:
        """BUG-106: before anything is run, unknown options and impossible values are told by name."""
        run = Classifier()
        given: dict[str, Any] = {"tasks": [task()], "run": run} | wrong
        with pytest.raises(error, match=told):
            await dispatch_agents(given.pop("tasks"), given.pop("run"), cache=tools, **given)
        assert run.ran == []

    async def test_nothing_to_do(self, tools: ToolCache) -> None:
        """Of no tasks there are no results; of those that come from a generator, all."""
        assert await dispatch_agents([], Classifier(), cache=tools) == []
        results = await dispatch_agents((task(number) for number in range(3)), Classifier(), cache=tools)
        assert [result.output["label"] for result in results] == [0, 1, 2]
