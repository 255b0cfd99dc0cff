"""The methods of ``Memories``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable
from typing import Any, overload

from toolcache.blocking.face import Face
from toolcache.blocking.portal import Portal
from toolcache.compute import Compute
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Invalidation, Missing
from toolcache.memories import _ABREAST, Memories, Preloaded, Remember


class BlockingMemories(Face):
    """See ``Memories``."""

    _cache: Memories

    def __init__(self, room: Memories, portal: Portal) -> None:
        super().__init__(portal)
        self._cache = room

    @overload
    def recall(self, agent: str, query: Any, compute: None = None) -> Any | None: ...
    @overload
    def recall(self, agent: str, query: Any, compute: Compute) -> Any: ...
    def recall(self, agent: str, query: Any, compute: Compute | None = None) -> Any:
        """What an agent remembers of a query.

        Args:
            agent: its name.
            query: whatever keys accept: text, or a dict that describes it.
            compute: makes it where nothing is remembered, once for all who ask; without it that is None.
        """
        if compute is None:
            return self._hit(self._cache.recall, agent, query)
        return self._find(compute, lambda made: self._cache.recall(agent, query, made))

    def remember(
        self, agent: str, query: Any, value: Any, *, ttl: Duration | Missing | None = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Have an agent remember something; returns where it is safe."""
        return self._call(self._cache.remember, agent, query, value, ttl=ttl, tags=tags)

    @overload
    def forget(self, agent: str, query: Any) -> bool: ...
    @overload
    def forget(self, agent: str) -> Invalidation: ...
    def forget(self, agent: str, query: Any = MISSING) -> bool | Invalidation:
        """Have an agent forget a query: whether there was something; or all of them, which takes as long for a million.

        All else that is the agent's stays; see ``invalidate(agent=...)``.

        Raises:
            CacheWriteError: a configured layer may still hold it, and nothing durable says otherwise.
        """
        return self._call(self._cache.forget, agent, query)

    def preload(
        self,
        agent: str,
        queries: Iterable[Any],
        compute: Remember,
        *,
        max_parallel: int = _ABREAST,
        ttl: Duration | Missing | None = MISSING,
    ) -> Preloaded:
        """Compute what an agent does not remember yet, before it is asked for.

        Args:
            agent: its name.
            queries: what it is going to be asked.
            compute: makes what is remembered, of a query; sync or async. One that fails does not keep the others.
            max_parallel: how many are computed at a time.
            ttl: how long they are remembered.

        Raises:
            ValueError: ``max_parallel`` is less than 1.
            TypeError: ``queries`` is one text, not a list of them.
        """
        return self._with(
            compute, lambda made: self._cache.preload(agent, queries, made, max_parallel=max_parallel, ttl=ttl)
        )
