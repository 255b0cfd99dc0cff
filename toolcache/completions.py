"""Completions: what agents answer, and what models make of messages."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, overload

from toolcache.compute import Compute
from toolcache.domain_cache import TTL, DomainCache
from toolcache.domains import MODEL, RESPONSE
from toolcache.entry import MISSING, Durability
from toolcache.tags import agent_label

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class Completions(DomainCache):
    """The domains response and model."""

    # -- response: what an agent answers -----------------------------------------------------------------------------

    @overload
    async def get_response(
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
    async def get_response(
        self,
        agent: str,
        goal: Any,
        *,
        model: str,
        temperature: float | None = 0,
        tools: Iterable[Any] = (),
        compute: Compute,
    ) -> Any: ...
    async def get_response(
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
        key = self._keys.response(agent, goal, model=model, temperature=temperature, tools=tools)
        return await self._answer(key, RESPONSE, compute, agent_label(agent), agent=agent, model=model)

    async def set_response(
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
        key = self._keys.response(agent, goal, model=model, temperature=temperature, tools=tools)
        return await self._store(key, response, RESPONSE, ttl, tags, agent_label(agent), agent=agent, model=model)

    async def delete_response(
        self, agent: str, goal: Any, *, model: str, temperature: float | None = 0, tools: Iterable[Any] = ()
    ) -> bool:
        """Forget what an agent answers; whether it was there."""
        key = self._keys.response(agent, goal, model=model, temperature=temperature, tools=tools)
        return await self._forget(key, RESPONSE)

    # -- model: what a model makes of messages ------------------------------------------------------------------------

    @overload
    async def get_completion(
        self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE, compute: None = None
    ) -> Any | None: ...
    @overload
    async def get_completion(
        self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE, compute: Compute
    ) -> Any: ...
    async def get_completion(
        self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE, compute: Compute | None = None
    ) -> Any:
        """What a model makes of messages.

        Args:
            model: its name.
            messages: all of them, with what the system says; each counts.
            params: what else it is told: temperature, tools, seed.
            compute: asks it.
        """
        return await self._answer(self._keys.completion(model, messages, params), MODEL, compute, model=model)

    async def set_completion(
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
        key = self._keys.completion(model, messages, params)
        return await self._store(key, completion, MODEL, ttl, tags, model=model)

    async def delete_completion(self, model: str, messages: Any, *, params: Mapping[str, Any] = _NONE) -> bool:
        """Forget what a model makes of messages; whether it was there."""
        return await self._forget(self._keys.completion(model, messages, params), MODEL)
