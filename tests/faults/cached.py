"""The door that is tried: toolcache."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from faults.doors import Act, Told

from toolcache import AgentResult, AgentTask, Progress, RunContext, ToolCache, dispatch_agents

TASK: Final = "task"
"""Requests of this name are tasks, in batches; all others are keys."""
_PATIENT: Final[dict[str, Any]] = {"op_timeout": 5, "file_timeout": 10}
"""A machine that is busy is no outage."""


class Cached:
    """Toolcache: tasks by ``dispatch_agents``, the others by ``once``."""

    def __init__(
        self, url: str, directory: str, heard: Callable[[object], None], *, lease: float, max_attempts: int = 3
    ) -> None:
        self._cache = ToolCache(redis_url=url, directory=directory, recovery_time=("0.2s", "1s"), **_PATIENT)
        self._cache.subscribe(heard)
        self._options: dict[str, Any] = {"lease": lease, "max_attempts": max_attempts}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._cache.aclose()

    async def ask(self, requests: Sequence[str], act: Act, told: Told) -> None:
        tasks = [request for request in requests if request.startswith(TASK)]
        keys = [request for request in requests if not request.startswith(TASK)]
        await asyncio.gather(*(self._once(key, act, told) for key in keys), self._dispatch(tasks, act, told))

    async def _once(self, key: str, act: Act, told: Told) -> None:
        async def run(context: RunContext) -> Any:
            return await act(key, context.attempt, context.idempotency_key)

        try:
            output = await self._cache.once(key, run, **self._options)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            told(key, None, type(error).__name__)
        else:
            told(key, output, None)

    async def _dispatch(self, requests: Sequence[str], act: Act, told: Told) -> None:
        """Outputs are told as they come; what was raised, at the end."""
        if not requests:
            return

        async def run(_prompt: str, task: AgentTask, context: RunContext) -> Any:
            return await act(task.args["what"], context.attempt, context.idempotency_key)

        def came(progress: Progress) -> None:
            if progress.result is not None and progress.result.ok:
                told(progress.result.output["request"], progress.result.output, None)

        tasks = [AgentTask("porter", "carry {what}", {"what": request}) for request in requests]
        results = await dispatch_agents(
            tasks, run, cache=self._cache, max_parallel=len(tasks), on_progress=came, **self._options
        )
        for request, result in zip(requests, results, strict=True):
            if not result.ok:
                told(request, None, _why(result))
            elif result.output["request"] != request:
                told(request, None, f"the output of {result.output['request']}")


def _why(result: AgentResult) -> str:
    assert result.error is not None
    return result.error.type.rpartition(".")[2]
