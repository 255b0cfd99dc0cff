"""Requests that run once, in five steps: tasks of an agent, failures, a tool that acts, two callers, a process that is killed.

    python examples/04_dispatch.py                    memory and files, no server
    USE_REDIS=true python examples/04_dispatch.py     with Redis: yours (REDIS_URL), or one started for the demo

Every figure is measured in the run that prints it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stage import (
    COLOUR,
    OF_REDIS,
    USD_PER_EMBEDDING,
    Server,
    Tool,
    discover,
    embed,
    heading,
    requests,
    row,
    run,
    say,
    search,
    span,
    where,
)
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from toolcache import (
    AgentTask,
    Progress,
    RunContext,
    Settings,
    StoredAgentError,
    TaskMismatchError,
    ToolCache,
    dispatch_agents,
    idempotent,
)

Tell = Callable[[Progress], None]


async def demo(settings: Settings, server: Server | None) -> None:
    """All five steps, in order."""
    say(f"toolcache, requests that run once. {where(settings, server)}")
    tools = discover()
    async with ToolCache(settings) as cache:
        await many_tasks(cache, tools)
        await failures(cache)
        await a_tool_that_acts(cache)
        await many_callers(cache)
        await a_process_that_is_killed(cache, settings)


async def many_tasks(cache: ToolCache, tools: list[Tool]) -> None:
    heading("1  Two hundred tasks for an agent, a few asked often")
    say("Which tool does this? A run embeds a question and searches all tools. Equal tasks are run once.")
    vectors = [embed(tool["description"]) for tool in tools]
    questions = requests(tools, count=200, distinct=60)
    tasks = [AgentTask("chooser", "Choose a tool: {goal}", {"goal": goal}, model="ngrams-256") for goal in questions]

    async def choose(prompt: str, task: AgentTask, context: RunContext) -> list[str]:
        context.cost(usd=USD_PER_EMBEDDING, tokens=len(prompt.split()))
        await asyncio.sleep(0)  # others may begin meanwhile
        return search(embed(task.args["goal"]), tools, vectors)

    outputs = []
    for name in ("the first time", "the second time"):
        began, before = time.perf_counter(), cache.stats().dispatch
        with bar(name) as tell:
            results = await dispatch_agents(tasks, choose, cache=cache, max_parallel=20, on_progress=tell)
        took, after = time.perf_counter() - began, cache.stats().dispatch
        outputs.append([result.output for result in results])
        row(f"{name}: runs", f"{after.executions - before.executions} for {len(tasks)} tasks")
        row(f"{name}: took", span(took))
    row("same outputs", "yes" if outputs[0] == outputs[1] else "NO")
    saved = cache.stats().dispatch.cost_usd_saved
    row(f"replays saved, assuming ${USD_PER_EMBEDDING} a run", f"${saved:.4f}")


@contextmanager
def bar(name: str) -> Iterator[Tell]:
    """How far a dispatch is: a bar where there is a terminal, and rich to draw one; else a line when it is done."""
    with suppress(ImportError):
        from rich.progress import Progress as Bars

        if COLOUR:
            with Bars(transient=True) as bars:
                line = bars.add_task(name)
                yield lambda now: bars.update(line, total=now.total, completed=now.done)
            return
    told: list[Progress] = []
    yield told.append
    row(name, str(told[-1]))


async def failures(cache: ToolCache) -> None:
    heading("2  Failures are each task's own, and only they run again")
    broken = {"third"}
    tries: list[str] = []

    async def agent(prompt: str, task: AgentTask) -> str:
        tries.append(prompt)
        if task.args["what"] in broken:
            raise ConnectionError("the service is away")
        return prompt.upper()

    tasks = [AgentTask("worker", "do the {what}", {"what": what}) for what in ("first", "second", "third", "fourth")]
    retry = AsyncRetrying(retry=retry_if_exception_type(ConnectionError), stop=stop_after_attempt(3))
    results = await dispatch_agents(tasks, agent, cache=cache, retry=retry)
    for result, task in zip(results, tasks, strict=True):
        row(task.prompt, repr(result.output) if result.ok else f"{result.error.type if result.error else ''}")
    row("tries of the third, by its retry policy", str(tries.count("do the third")))
    broken.clear()
    tries.clear()
    results = await dispatch_agents(tasks, agent, cache=cache, retry=retry)
    row("again, when the service is back: completed", f"{sum(result.ok for result in results)} of {len(results)}")
    row("run for that", ", ".join(tries))


async def a_tool_that_acts(cache: ToolCache) -> None:
    heading("3  A tool that acts outside")
    transfers: list[str] = []

    @idempotent(key_params=["order"], ignore_params=["trace"], cache=cache)
    async def pay(order: str, cents: int, trace: str = "") -> str:  # noqa: ARG001 - the trace is for the logs alone
        # A bank that knows this key does the second of two attempts not at all.
        transfers.append(RunContext.current().idempotency_key)
        return f"receipt for {cents} cents of order {order}"

    for trace in ("first call", "a retry"):
        row(f"pay 4711, {trace}", await pay("4711", 1999, trace=trace))
    try:
        await pay("4711", 2999)
    except TaskMismatchError as refusal:
        row("pay 4711, over another amount", type(refusal).__name__)
    row("transfers made", str(len(transfers)))
    await pay.forget("4711", 1999)
    await pay("4711", 2999)
    row("after forget, over another amount", f"{len(transfers)} transfers")
    row("the bank was told another key", "yes" if len(set(transfers)) == len(transfers) else "NO")


async def many_callers(cache: ToolCache) -> None:
    heading("4  A hundred callers of one request, at a time")
    runs = 0

    async def work() -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)
        return "an output"

    async def fail() -> None:
        await asyncio.sleep(0.05)
        raise ValueError("no good")

    began = time.perf_counter()
    answers = await asyncio.gather(*(cache.once("a report", work) for _ in range(100)))
    row("answers", f"{len(answers)}, {len(set(answers))} different")
    row("runs", str(runs))
    row("all had it after", span(time.perf_counter() - began))
    failed = await asyncio.gather(
        *(cache.once("a failure", fail, on_error="store") for _ in range(100)), return_exceptions=True
    )
    row("callers of one that fails", f"{len(failed)} have its {type(failed[0]).__name__}")
    try:
        await cache.once("a failure", fail, on_error="store")
    except StoredAgentError as error:
        row("asked again: it is kept", f"{type(error).__name__} of {error.type}")


async def a_process_that_is_killed(cache: ToolCache, settings: Settings) -> None:
    heading("5  A process is killed while it runs a request")
    key = "the books of today"
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__)), key, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdin is not None  # noqa: S101 - for the type checker
        assert child.stdout is not None  # noqa: S101 - the same
        shared = {name: getattr(settings, name) for name in (*OF_REDIS, "directory", "namespace")}
        child.stdin.write(json.dumps(shared, default=str).encode() + b"\n")
        await child.stdin.drain()
        row("another process", (await child.stdout.readline()).decode().strip())
        row("status", (await cache.status(key)).state)
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    row("that process", "killed, kill -9")

    def work(context: RunContext) -> str:
        return f"done in attempt {context.attempt}"

    began = time.perf_counter()
    output = await cache.once(key, work)
    row("asked for by this one", output)
    row("after", span(time.perf_counter() - began))
    row("taken over from the dead", str(cache.stats().dispatch.takeovers))


async def stand_still(key: str) -> None:
    """What the process does that is killed: run a request, and never come to its end."""
    settings = Settings(**json.loads(sys.stdin.readline()))

    async def work(context: RunContext) -> None:
        print(f"runs it, attempt {context.attempt}", flush=True)
        await asyncio.Event().wait()

    async with ToolCache(settings) as cache:
        await cache.once(key, work)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(stand_still(sys.argv[1]))
    sys.exit(run(demo))
