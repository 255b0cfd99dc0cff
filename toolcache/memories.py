"""Memories: what agents recall, query by query, for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, overload

from toolcache.compute import Compute
from toolcache.domains import MEMORY, Domain
from toolcache.durations import Duration
from toolcache.embeddings import look_up
from toolcache.entry import MISSING, Durability, Invalidation, Missing
from toolcache.fields import Frozen
from toolcache.tags import agent_label, domain_label

if TYPE_CHECKING:
    from toolcache.domain_cache import DomainCache

Remember: TypeAlias = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]
"""Makes, of a query, what is remembered; sync or async."""

_ABREAST: Final = 5


class Preloaded(Frozen):
    """What came of preloading.

    Attributes:
        asked: the queries given, those that are equal counted once.
        found: those that were remembered already.
        computed: those that are now.
        failed: those whose computation has failed.
        errors: what it has failed with, in the order of the queries.
        seconds: how long it all took.
    """

    asked: int
    found: int
    computed: int
    failed: int
    errors: tuple[Exception, ...]
    seconds: float

    def __repr__(self) -> str:
        return (
            f"<preloaded: {self.computed:,} of {self.asked:,} computed, {self.found:,} there, {self.failed:,} failed, "
            f"in {self.seconds:.3f} s>"
        )


class Memories:
    """The memories of a cache's agents; ``cache.memories``.

    A memory is found by its agent and its query, and is good for the TTL of the domain ``memory``, 15 minutes unless told
    otherwise. ``invalidate(agent=...)`` and ``invalidate(domain="memory")`` forget memories as well.

    Args:
        cache: whose.
        normalize: what is done to a query before it becomes the key, such as ``str.casefold``. Computations are given the
            query as it was asked.

    Examples:
        >>> async def look_up(query):
        ...     return await knowledge_base.search(query)
        >>> report = await cache.memories.preload("faq", ["returns", "shipping"], look_up)
    """

    def __init__(self, cache: "DomainCache", *, normalize: Callable[[Any], Any] | None = None) -> None:
        self._cache = cache
        self._machine = cache._machine  # noqa: SLF001 - this is a room of the cache
        self._keys = cache._keys  # noqa: SLF001 - the same
        self._domain = cache.domains[MEMORY.name]
        self._normalize = normalize

    def normalized(self, normalize: Callable[[Any], Any]) -> Self:
        """The same memories, by queries to which something is done before they become the key.

        Examples:
            >>> memories = cache.memories.normalized(str.casefold)
        """
        return type(self)(self._cache, normalize=normalize)

    @overload
    async def recall(self, agent: str, query: Any, compute: None = None) -> Any | None: ...
    @overload
    async def recall(self, agent: str, query: Any, compute: Compute) -> Any: ...
    async def recall(self, agent: str, query: Any, compute: Compute | None = None) -> Any:
        """What an agent remembers of a query.

        Args:
            agent: its name.
            query: whatever keys accept: text, or a dict that describes it.
            compute: makes it where nothing is remembered, once for all who ask; without it that is None.
        """
        key = self._key(agent, query)
        if compute is None:
            return await self._machine.lookups.get(key, self._of(agent))
        return await self._machine.compute(key, compute, self._of(agent), own=_labels(agent))

    async def remember(
        self,
        agent: str,
        query: Any,
        value: Any,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Have an agent remember something; returns where it is safe."""
        key = self._key(agent, query)
        return await self._machine.set(key, value, self._of(agent), ttl=ttl, tags=tags, own=_labels(agent))

    @overload
    async def forget(self, agent: str, query: Any) -> bool: ...
    @overload
    async def forget(self, agent: str) -> Invalidation: ...
    async def forget(self, agent: str, query: Any = MISSING) -> bool | Invalidation:
        """Have an agent forget a query: whether there was something; or all of them, which takes as long for a million.

        All else that is the agent's stays; see ``invalidate(agent=...)``.

        Raises:
            CacheWriteError: a configured layer may still hold it, and nothing durable says otherwise.
        """
        if query is MISSING:
            return await self._machine.forget("memories", _labels(agent)[1:])
        key = self._key(agent, query)
        return (await self._machine.delete_many((key,), self._domain))[key]

    async def preload(
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
        if type(max_parallel) is not int or max_parallel < 1:
            raise ValueError(f"max_parallel is a whole number of at least 1, not {max_parallel!r}")
        if isinstance(queries, str | bytes):
            raise TypeError("queries is a list of them: write ['returns']")
        begun = self._machine.parts.clock.monotonic()
        asked = {self._key(agent, query): query for query in queries}
        there = await look_up(self._machine, self._of(agent), asked, final=False)
        places, errors = asyncio.Semaphore(max_parallel), dict[str, Exception]()
        computed: set[str] = set()

        async def make(key: str) -> None:
            async def remember() -> Any:
                computed.add(key)
                made = compute(asked[key])
                return await made if isawaitable(made) else made

            async with places:
                try:
                    await self._machine.compute(key, remember, self._of(agent), ttl=ttl, own=_labels(agent))
                except Exception as error:  # noqa: BLE001 - told in the report, and the others go on
                    errors[key] = error

        absent = [key for key in asked if key not in there]
        async with asyncio.TaskGroup() as group:
            for key in absent:
                group.create_task(make(key))
        return Preloaded(
            asked=len(asked),
            found=len(asked) - len(computed | errors.keys()),
            computed=len(computed - errors.keys()),
            failed=len(errors),
            errors=tuple(errors[key] for key in absent if key in errors),
            seconds=self._machine.parts.clock.monotonic() - begun,
        )

    def _of(self, agent: str) -> Domain[Any]:
        """The domain's row, whose calls are counted for the agent."""
        return self._cache._apart(MEMORY, agent=agent)  # noqa: SLF001 - this is a room of the cache

    def _key(self, agent: str, query: Any) -> str:
        return self._keys.memory(agent, query if self._normalize is None else self._normalize(query))


def _labels(agent: str) -> tuple[str, str]:
    """What an agent's memories carry: its own label, and one that nothing else of it has."""
    return agent_label(agent), domain_label(f"{MEMORY.name}/{agent}")
