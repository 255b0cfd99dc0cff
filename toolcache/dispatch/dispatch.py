"""dispatch_agents: many tasks, each run once, however often they are asked for and wherever."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, TypeAlias, Unpack

import toolcache.dispatch.templates  # noqa: F401 - what tasks are filled with: loaded now, and not by the first in the loop
from toolcache.course import Settled
from toolcache.dispatch.results import AgentResult, Progress, TaskError
from toolcache.dispatch.tasks import AgentTask
from toolcache.entry import MISSING
from toolcache.errors import CacheClosedError, RunTimeoutError, StoredAgentError
from toolcache.record import TIMEOUT
from toolcache.requests import unreadable
from toolcache.spelling import count
from toolcache.terms import OnceOptions, Terms
from toolcache.tool_cache import ToolCache
from toolcache.work import RunContext

RunTask: TypeAlias = (
    Callable[[AgentTask], Any]
    | Callable[[AgentTask], Awaitable[Any]]
    | Callable[[str, AgentTask], Any]
    | Callable[[str, AgentTask, RunContext], Any]
)

_MOST: Final = 3


async def dispatch_agents(
    tasks: Iterable[AgentTask],
    run: RunTask,
    *,
    cache: ToolCache,
    max_parallel: int = 10,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Unpack[OnceOptions],
) -> list[AgentResult]:
    """Have each task answered by one run: in this call, an earlier one, another process or on another host.

    What fails, takes too long or is cancelled touches no other task. Called again with the same tasks, it runs only those that
    have no answer yet.

    Args:
        tasks: what is to be done; equal ones are run once.
        run: does one: sync or async, ``run(task)``, ``run(prompt, task)`` or ``run(prompt, task, context)``, with the template
            filled and a ``RunContext``. What has a default is left out, but for a third one of the name ``context``.
        cache: where answers are kept.
        max_parallel: how many are asked for at a time.
        on_progress: told whenever one begins or is answered; must not block. Its faults are counted, not feared.
        options: on what conditions; see ``Terms``. A task's own ``timeout`` is stronger.

    Returns:
        The results in the order of the tasks.

    Raises:
        TemplateError: an argument of a template is missing, or one is too many. Nothing was run.
        TypeError, ValueError: an option is unknown or cannot be. Nothing was run.
        CacheClosedError: the cache is closed.

    Examples:
        >>> tasks = [AgentTask("greeter", "greet {name}", {"name": name}) for name in ("Ada", "Grace", "Ada")]
        >>> results = await dispatch_agents(tasks, lambda prompt, task: prompt.upper(), cache=cache)
        >>> [result.output for result in results]
        ['GREET ADA', 'GREET GRACE', 'GREET ADA']
    """
    given = _checked(tasks)
    terms, arity = Terms.of(options), _arity(run)
    parallel = count(max_parallel, "max_parallel")
    prompts = [task.prompt for task in given]
    batch = _Batch(cache, terms, len(given), on_progress)
    places: dict[tuple[str, str], list[int]] = {}
    for at, task in enumerate(given):
        places.setdefault((cache._request(task), str(task.fingerprint)), []).append(at)  # noqa: SLF001 - of one house

    async def work_through(rest: Iterator[tuple[tuple[str, str], list[int]]]) -> None:
        for (key, _), which in rest:
            task = given[which[0]]
            work = _work(run, arity, prompts[which[0]], task)
            results.update(zip(which, await batch.answer(key, task, work, len(which)), strict=True))

    results: dict[int, AgentResult] = {}
    rest = iter(places.items())
    workers = [asyncio.ensure_future(work_through(rest)) for _ in range(min(parallel, len(places)))]
    try:
        await asyncio.gather(*workers)
    finally:  # one that failed, or was cancelled, ends the others; not what they have begun
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
    return [results[at] for at in range(len(given))]


class _Batch:
    """One call's tasks, and how far they are."""

    def __init__(
        self, cache: ToolCache, terms: Terms, total: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._cache = cache
        self._terms = terms
        self._on_progress = on_progress
        self._progress = Progress(total)

    async def answer(
        self, key: str, task: AgentTask, work: Callable[[RunContext], Any], copies: int
    ) -> list[AgentResult]:
        """The results of one task, whose request has this key, as many as it was given times."""
        self._tell(running=self._progress.running + copies)
        terms = self._terms if task.timeout is None else self._terms._replace(timeout=task.timeout)
        try:
            settled = await self._cache._settle(key, task.fingerprint, work, terms)  # noqa: SLF001 - of one house
        except CacheClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - it is that task's alone
            settled = Settled(None, False, error)
        task_id = key.rpartition(":")[2]
        results = [await self._result(task_id, settled) for _ in range(copies)]
        for result in results:
            now = self._progress
            self._tell(
                result,
                done=now.done + 1,
                running=now.running - 1,
                completed=now.completed + result.ok,
                replayed=now.replayed + result.replayed,
                failed=now.failed + (not result.ok),
            )
        return results

    async def _result(self, task_id: str, settled: Settled) -> AgentResult:
        record, error = settled.record, settled.error
        exception = None if isinstance(error, StoredAgentError) else error
        if record is None:
            return AgentResult(
                task_id, status="failed", error=TaskError.of(error or Exception()), attempts=0, exception=exception
            )
        output = None if error else await self._cache._requests.output(record)  # noqa: SLF001 - of one house
        if output is MISSING:
            output, error = None, unreadable()
        failure = record.failure
        told = None if error is None else TaskError.of(error)
        late = isinstance(error, RunTimeoutError) or (failure is not None and failure.kind == TIMEOUT)
        return AgentResult(
            task_id,
            output=output,
            status="completed" if error is None else "timeout" if late else "failed",
            error=told if failure is None or error is None else TaskError(failure.type, failure.message),
            replayed=settled.replayed,
            attempts=record.attempts,
            started_at=record.started_at,
            finished_at=record.finished_at,
            seconds=max(0.0, record.finished_at - record.started_at),
            cost_usd=record.cost_usd or 0.0,
            tokens=record.tokens or 0,
            exception=exception,
        )

    def _tell(self, result: AgentResult | None = None, **changed: int) -> None:
        if self._on_progress is None:
            return
        self._progress = replace(self._progress, result=result, **changed)
        try:
            self._on_progress(self._progress)
        except Exception:  # noqa: BLE001 - a listener's fault must not reach a run
            self._cache._parts.announce.listener_errors += 1  # noqa: SLF001 - of one house


def _checked(tasks: Iterable[AgentTask]) -> list[AgentTask]:
    given = list(tasks)
    for at, task in enumerate(given):
        if not isinstance(task, AgentTask):
            raise TypeError(f"task {at} is no AgentTask, but {type(task).__name__}")
    return given


def _arity(run: Any) -> int:
    """How many arguments ``run`` is given."""
    if not callable(run):
        raise TypeError(f"run is a function of a task, not {type(run).__name__}")
    try:
        parameters = list(inspect.signature(run).parameters.values())
    except (TypeError, ValueError):  # some built-ins have no signature
        return 1
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in places if one.default is one.empty]
    others = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    open_end = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    arity = max(1, len(needed))
    if arity == _MOST - 1 and [one.name for one in places[arity:_MOST]] == ["context"]:
        arity = _MOST
    if arity > _MOST or others or not (places or open_end):
        raise TypeError("run takes a task, a prompt and a task, or a prompt, a task and a context, and nothing else")
    return arity


def _work(run: Any, arity: int, prompt: str, task: AgentTask) -> Callable[[RunContext], Any]:
    def work(context: RunContext) -> Any:
        if arity == 1:
            return run(task)
        return run(prompt, task) if arity < _MOST else run(prompt, task, context)

    return work
