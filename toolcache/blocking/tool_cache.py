"""BlockingToolCache: the cache for threads and scripts."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar, Unpack
from weakref import finalize

from toolcache.blocking.advised_methods import BlockingAdvised
from toolcache.blocking.cache_methods import BlockingCache
from toolcache.blocking.calls import Call
from toolcache.blocking.completions_methods import BlockingCompletions
from toolcache.blocking.declared_methods import BlockingDeclared
from toolcache.blocking.discovery_methods import BlockingDiscovery
from toolcache.blocking.embeddings_methods import BlockingEmbeddings
from toolcache.blocking.face import Face
from toolcache.blocking.holdings_methods import BlockingHoldings
from toolcache.blocking.moves_methods import BlockingMoves
from toolcache.blocking.observed_methods import BlockingObserved
from toolcache.blocking.portal import Portal
from toolcache.blocking.results_methods import BlockingResults
from toolcache.blocking.told import BlockingTold
from toolcache.blocking.tool_cache_methods import BlockingCalls
from toolcache.blocking_functions import BlockingFunction
from toolcache.clock import SYSTEM
from toolcache.credentials import AnyCredentialProvider
from toolcache.domains import Domain
from toolcache.entry import MISSING
from toolcache.errors import CacheClosedError, SettingsError
from toolcache.keeping import decorator
from toolcache.protocols import Clock
from toolcache.rules import CachedOptions, Lifetime
from toolcache.settings import Options, Settings
from toolcache.terms import OnceOptions
from toolcache.tool_cache import AgentView, ToolCache
from toolcache.views import AgentOptions

if TYPE_CHECKING:
    from toolcache.blocking.rooms import BlockingAlerts, BlockingMemories, BlockingSessions, BlockingTools
    from toolcache.blocking_functions import BlockingFunction
    from toolcache.dispatch.dispatch import RunTask
    from toolcache.dispatch.results import AgentResult, Progress
    from toolcache.dispatch.tasks import AgentTask
    from toolcache.requested import Requested
    from toolcache.rules import CachedOptions, Lifetime
    from toolcache.transfer import Transfer

T = TypeVar("T")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class BlockingToolCache(
    BlockingCalls,
    BlockingDiscovery,
    BlockingEmbeddings,
    BlockingCompletions,
    BlockingResults,
    BlockingTold,
    BlockingCache,
    BlockingHoldings,
    BlockingMoves,
    BlockingObserved,
    BlockingAdvised,
):
    """The same cache for code that waits: every method of ``ToolCache``, from any number of threads.

    The cache itself lives on an event loop in a thread of its own, begun at first use. What memory holds is answered
    without it. Functions handed to it are plain ones, or coroutine functions, which run on that loop; a plain one runs in
    the thread that asked, as long as that waits for it. Computations that have a time limit, or nobody who waits, have
    threads of their own.

    Args:
        settings: as those of ``ToolCache``, and so are the others.
        clock: another than the machine's, for tests.
        credentials: gives user and password of Redis at each connect.
        options: single settings, by name.

    Raises:
        SettingsError: a setting is unknown or cannot be.

    Examples:
        >>> with BlockingToolCache(files=False) as cache:
        ...     cache.get_or_set("answer", lambda: 6 * 7, ttl="1h")
        42
    """

    def __init__(
        self,
        settings: Settings | None = None,
        /,
        *,
        clock: Clock = SYSTEM,
        credentials: AnyCredentialProvider | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._live(ToolCache(settings, clock=clock, credentials=credentials, **options), own=True)

    def _live(self, cache: ToolCache, *, own: bool) -> Self:
        self._cache = cache
        self._own = own
        super().__init__(Portal(cache, own=own))
        finalize(self, Portal.let_go, self._portal).atexit = False  # then the portal sees to that itself, and waits
        return self

    @classmethod
    def over(cls, cache: ToolCache) -> Self:
        """The face of a cache that others await: for the threads of a program whose loops use it too.

        ``close()`` leaves the cache open, which belongs to whoever made it.
        """
        if not isinstance(cache, ToolCache):
            raise SettingsError(f"over takes a ToolCache, not {type(cache).__name__}")
        return cls.__new__(cls)._live(cache, own=False)  # noqa: SLF001 - its own

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: str | os.PathLike[str] | None = ".env",
        *,
        credentials: AnyCredentialProvider | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """A cache as the environment says, and a ``.env`` file if there is one; see ``Settings.from_env``."""
        return cls(Settings.from_env(environ, dotenv, **options), credentials=credentials)

    @classmethod
    def from_url(
        cls, url: str, *, credentials: AnyCredentialProvider | None = None, **options: Unpack[Options]
    ) -> Self:
        """A cache over the Redis of a URL, whose query may hold settings; see ``Settings.from_url``."""
        return cls(Settings.from_url(url, **options), credentials=credentials)

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The rows of the table of domains; see ``ToolCache.domains``."""
        return self._cache.domains

    def __getitem__(self, domain: Domain[T]) -> BlockingDeclared[T]:
        """A domain of the user's own; see ``ToolCache``."""
        return BlockingDeclared(self._cache[domain], self._portal)

    @property
    def sessions(self) -> "BlockingSessions":
        """What agents know of their conversations; see ``Sessions``."""
        from toolcache.blocking.rooms import BlockingSessions

        return BlockingSessions(self._cache.sessions, self._portal)

    @property
    def memories(self) -> "BlockingMemories":
        """What agents remember; see ``Memories``."""
        from toolcache.blocking.rooms import BlockingMemories

        return BlockingMemories(self._cache.memories, self._portal)

    @property
    def tools(self) -> "BlockingTools":
        """What is known of tools, and what you say of them; see ``ToolCache.tools``."""
        from toolcache.blocking.rooms import BlockingTools

        return BlockingTools(self._cache.tools, self._portal)

    @property
    def alerts(self) -> "BlockingAlerts":
        """What is told to people when the cache comes to something that it should not; see ``Alerts``."""
        from toolcache.blocking.rooms import BlockingAlerts

        return BlockingAlerts(self._cache.alerts, self._portal)

    @property
    def requested(self) -> "Requested":
        """What this process is asked for most often; see ``ToolCache.requested``."""
        return self._cache.requested

    def cached(
        self, ttl: "Lifetime" = MISSING, **options: Unpack["CachedOptions"]
    ) -> "Callable[[Callable[_P, _R]], BlockingFunction[_P, _R]]":
        """Keep what a plain function returns in this cache; see ``toolcache.cached``.

        Examples:
            >>> @cache.cached(ttl="1h")
            ... def search(query: str) -> list[str]:
            ...     return ask(query)
        """
        return decorator(ttl, self, options)

    def dispatch_agents(
        self,
        tasks: "Iterable[AgentTask]",
        run: "RunTask",
        *,
        max_parallel: int = 10,
        on_progress: "Callable[[Progress], None] | None" = None,
        **options: Unpack[OnceOptions],
    ) -> "list[AgentResult]":
        """Have each task answered by one run; see ``toolcache.dispatch_agents``. Plain runs have threads of their own.

        Examples:
            >>> results = cache.dispatch_agents([AgentTask("greeter", "greet {name}", {"name": "Ada"})], ask)
        """
        from toolcache.dispatch.dispatch import dispatch_agents

        made = wraps(run)(Call().calling(run, aside=True))
        return self._call(
            dispatch_agents,
            tasks,
            made,
            cache=self._cache,
            max_parallel=max_parallel,
            on_progress=on_progress,
            **options,
        )

    def for_agent(self, agent: str, /, **options: Unpack[AgentOptions]) -> "BlockingAgentView":
        """The cache as one agent is to have it; see ``ToolCache.for_agent``. Closing it does nothing."""
        return BlockingAgentView(self._cache.for_agent(agent, **options), self._portal)

    def copy_to(
        self,
        other: "BlockingToolCache | ToolCache",
        *,
        keep_newer: bool = False,
        rate: float | None = None,
        on_progress: "Callable[[Transfer], None] | None" = None,
    ) -> "Transfer":
        """Hand every entry to another open cache; see ``ToolCache.copy_to``."""
        target = other._cache if isinstance(other, BlockingToolCache) else other  # noqa: SLF001 - of ours
        return self._call(self._cache.copy_to, target, keep_newer=keep_newer, rate=rate, on_progress=on_progress)

    @property
    def settings(self) -> Settings:
        """What the cache was made with."""
        return self._cache.settings

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._portal.closed

    def close(self, drain: float = 5.0) -> None:
        """Finish what was begun, release everything. More than one call is harmless; later calls of others are refused.

        Threads that still wait meet CacheClosedError.

        Args:
            drain: seconds to wait for writes and computations under way; what still runs then is cancelled.
        """
        with suppress(CacheClosedError):  # by whoever was here before
            if self._own:
                self._call(self._cache.aclose, drain)
        self._portal.close()

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        portal: Portal | None = getattr(self, "_portal", None)  # None where the settings were refused
        if portal is not None and portal.running and self._own and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}: use 'with' or call close()", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return repr(self._cache).replace(type(self._cache).__name__, type(self).__name__, 1)


class BlockingAgentView(BlockingToolCache):
    """A blocking cache as one agent has it, on the loop of the whole; ``cache.for_agent("faq")`` makes one."""

    def __init__(self, view: AgentView, portal: Portal) -> None:
        Face.__init__(self, portal)
        self._cache = view
        self._own = False

    def close(self, drain: float = 5.0) -> None:
        """Nothing: what is to be closed is the cache, which others use as well."""
