"""The methods of ``Completions``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any, overload

from toolcache.blocking.face import Face, several
from toolcache.completions import _NONE
from toolcache.compute import Compute
from toolcache.domain_cache import TTL
from toolcache.entry import MISSING, Durability
from toolcache.tool_cache import ToolCache


class BlockingCompletions(Face):
    """See ``Completions``."""

    _cache: ToolCache

    @overload
    def get_response(
        self,
        agent: str,
        goal: Any,
        *,
        model: str,
        temperature: float | None = 0,
        tools: Iterable[Any] = (),
        compute: None = None,
    ) -> Any | None: ...
    @overload
    def get_response(
        self,
        agent: str,
        goal: Any,
        *,
        model: str,
        temperature: float | None = 0,
        tools: Iterable[Any] = (),
        compute: Compute,
    ) -> Any: ...
    def get_response(
        self,
        agent: str,
        goal: Any,
        *,
        model: str,
        temperature: float | None = 0,
        tools: Iterable[Any] = (),
        compute: Compute | None = None,
    ) -> Any:
        """What an agent answers to a goal.

        Args:
            agent: its name; ``invalidate(agent=...)`` forgets its answers.
            goal: what it was asked.
            model: with which model.
            temperature: at which temperature; None for the model's own.
            tools: the tools it may use, by name or as definitions, in any order.
            compute: asks it.
        """
        tools = several(tools)
        if compute is None:
            return self._hit(self._cache.get_response, agent, goal, model=model, temperature=temperature, tools=tools)
        return self._find(
            compute,
            lambda made: self._cache.get_response(
                agent, goal, model=model, temperature=temperature, tools=tools, compute=made
            ),
        )

    def set_response(
        self,
        agent: str,
        goal: Any,
        response: Any,
        *,
        model: str,
        temperature: float | None = 0,
        tools: Iterable[Any] = (),
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store what an agent answers; returns where it is safe."""
        return self._call(
            self._cache.set_response,
            agent,
            goal,
            response,
            model=model,
            temperature=temperature,
            tools=tools,
            ttl=ttl,
            tags=tags,
        )

    def delete_response(
        self, agent: str, goal: Any, *, model: str, temperature: float | None = 0, tools: Iterable[Any] = ()
    ) -> bool:
        """Forget what an agent answers; whether it was there."""
        return self._call(self._cache.delete_response, agent, goal, model=model, temperature=temperature, tools=tools)

    @overload
    def get_completion(
        self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE, compute: None = None
    ) -> Any | None: ...
    @overload
    def get_completion(
        self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE, compute: Compute
    ) -> Any: ...
    def get_completion(
        self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE, compute: Compute | None = None
    ) -> Any:
        """What a model makes of messages.

        Args:
            model: its name.
            messages: all of them, with what the system says; each counts.
            params: what else it is told: temperature, tools, seed.
            compute: asks it.
        """
        if compute is None:
            return self._hit(self._cache.get_completion, model, messages, params=params)
        return self._find(
            compute, lambda made: self._cache.get_completion(model, messages, params=params, compute=made)
        )

    def set_completion(
        self,
        model: str,
        messages: Any,
        completion: Any,
        *,
        params: Mapping[str, Any] = _NONE,
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store what a model makes of messages; returns where it is safe."""
        return self._call(self._cache.set_completion, model, messages, completion, params=params, ttl=ttl, tags=tags)

    def delete_completion(self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE) -> bool:
        """Forget what a model makes of messages; whether it was there."""
        return self._call(self._cache.delete_completion, model, messages, params=params)
