"""ToolCache: a cache that knows what agents cache."""

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack

from toolcache.assembly import assemble
from toolcache.clock import SYSTEM
from toolcache.completions import Completions
from toolcache.credentials import AnyCredentialProvider
from toolcache.discovery import Discovery
from toolcache.domains import Domain
from toolcache.embeddings import Embeddings
from toolcache.entry import Invalidation
from toolcache.errors import SettingsError
from toolcache.parts import Parts
from toolcache.protocols import Clock
from toolcache.results import Results
from toolcache.scoped import Scope
from toolcache.settings import Options, Settings
from toolcache.tags import agent_label
from toolcache.told import Told
from toolcache.views import AgentOptions, terms_of

if TYPE_CHECKING:
    from toolcache.alerts.alerts import Alerts
    from toolcache.memories import Memories
    from toolcache.reactions import Reactions
    from toolcache.sessions import Sessions
    from toolcache.tool_calls import Run
    from toolcache.tools import ToolName, Tools


class ToolCache(Discovery, Embeddings, Completions, Results, Told):
    """A cache over memory → Redis → files that knows the domains of agents.

    Every getter takes ``compute``: on a miss it is run, its value stored and returned, once per key, whoever asks.
    Without it a miss is None. A ``source``, ``query`` or ``text`` is whatever keys accept: text, or a dict that
    describes where something comes from; a digest computed elsewhere is passed as ``Digest(hex)``. Opening one does no
    I/O: a store that is down is found at the first use, and the cache goes on without it.

    Args:
        settings: the defaults unless given.
        clock: another than the machine's, for tests.
        credentials: gives user and password of Redis at each connect, where those change: an object with
            ``get_credentials_async()`` or ``get_credentials()``, such as a ``redis.CredentialProvider``.
        options: single settings, by name; see ``Settings``. They win.

    Raises:
        SettingsError: a setting is unknown or cannot be.

    Examples:
        >>> async with ToolCache(namespace="shop", max_memory="100MB") as cache:
        ...     tools = await cache.get_catalog("https://tools.example.org", compute=discover)
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
        if settings is None:
            settings = Settings(**options)
        elif not isinstance(settings, Settings):
            raise SettingsError(
                f"ToolCache takes Settings or keywords, not {type(settings).__name__}: see from_url for a URL"
            )
        elif options:
            settings = settings.replace(**options)
        super().__init__(assemble(settings, clock=clock, credentials=credentials), settings)

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
    def closed(self) -> bool:
        """Whether ``aclose()`` was called."""
        return self._machine.homes.closed

    @cached_property
    def sessions(self) -> "Sessions":
        """What agents know of their conversations; see ``Sessions``."""
        from toolcache.sessions import Sessions

        return Sessions(self)

    @cached_property
    def memories(self) -> "Memories":
        """What agents remember; see ``Memories``."""
        from toolcache.memories import Memories

        return Memories(self)

    @cached_property
    def tools(self) -> "Tools":
        """What you say of tools, and what is known of them: ``cache.tools["web_search"] = ToolPolicy("exact")``."""
        from toolcache.tools import Tools

        return Tools(self)

    async def call_tool(self, name: "ToolName", run: "Run", /, **params: Any) -> Any:
        """What a tool says to these parameters: kept, dispatched once or just run, as ``tools.verdict(name)`` tells.

        Your own policy decides, ``cache.tools[name]``; else the hints of its server, if you trust it; else it is run.
        Results that say ``isError``, partial ones and streams go to whoever asked, and are not kept.

        Args:
            name: that of the tool, or that of its server and its own: ``("github", "search")``.
            run: calls the tool: sync or async, given the parameters by their names.
            params: the parameters. Those that decide have a canonical form; see ``Cache.get_or_set`` on keys.

        Raises:
            Exception: whatever ``run`` raises; and what ``once`` raises, where a tool is dispatched once.
            UnsupportedKeyError: a parameter that decides has no canonical form.

        Examples:
            >>> cache.tools["web_search"] = ToolPolicy("exact", ttl="5m", key_params=["query"])
            >>> hits = await cache.call_tool("web_search", search, query="asyncio", trace="7f")
        """
        return await self.tools.call(name, run, params)

    def for_agent(self, agent: str, /, **options: Unpack[AgentOptions]) -> "AgentView":
        """The cache as one agent is to have it: the same methods, under keys of its own, with lifetimes of its own.

        Where a call or a domain says nothing of freshness, the agent's options decide, then the cache.

        Args:
            agent: its name.
            options: see ``AgentOptions``: lifetimes such as ``response_ttl="1h"``, switches such as ``memory_cache=False``, and
                what ``Freshness`` has.

        Raises:
            TypeError: an option is unknown, or of a wrong kind.
            ValueError: one is out of range, or the agent has no name.

        Examples:
            >>> faq = cache.for_agent("faq", response_ttl="1h", memory_cache=False, grace="1d")
            >>> answer = await faq.get_response("faq", "returns", model="small", compute=ask)
            >>> _ = await cache.invalidate(agent="faq")
        """
        if not isinstance(agent, str) or not agent:
            raise ValueError("the name of an agent is text of at least one character")
        return AgentView(self, agent, Scope(self._machine, agent, terms_of(options, self.domains)), self._parts)


class AgentView(ToolCache):
    """A cache as one agent has it; ``cache.for_agent("faq")`` makes one, at no cost, as often as you like.

    Memory, stores, statistics, health and the tables of domains and tags are the cache's. What is kept here stands apart
    from all that others keep, sessions and what is run once included, and is forgotten by ``invalidate(agent=...)``, but for
    sessions and what was run once, which nobody can compute again.

    Args:
        cache: whose.
        agent: its name.
        machine: the cache's, by the agent's door.
        parts: the cache's.

    Attributes:
        agent: as given.
    """

    def __init__(self, cache: ToolCache, agent: str, machine: Scope, parts: Parts) -> None:
        self._whole = cache
        super(ToolCache, self).__init__(parts, cache.settings, machine)
        self.agent = agent
        self._scope = machine
        self.react = cache.react  # type: ignore[method-assign]  # events are of the cache, whoever tells them

    @property
    def _reacting(self) -> "Reactions":
        return self._whole._reacting  # noqa: SLF001 - of one house

    @property
    def domains(self) -> Mapping[str, Domain[Any]]:
        """The rows by name, with what the agent was told."""
        return MappingProxyType({name: self._scope.row(row) for name, row in self._rows.items()})

    def _table(self) -> dict[str, Domain[Any]]:
        return self._whole._rows  # noqa: SLF001 - of one class: domains are declared once, for all

    @cached_property
    def tools(self) -> "Tools":
        """What the agent is to have of tools: your policies for it, else those of the cache; and what is known to the cache."""
        from toolcache.tools import Tools

        return Tools(self, self._whole.tools)

    @property
    def alerts(self) -> "Alerts":
        """Those of the cache: there is one table, whoever adds to it."""
        return self._whole.alerts

    def for_agent(self, agent: str, /, **options: Unpack[AgentOptions]) -> "AgentView":
        """A view of the whole cache for another agent."""
        return self._whole.for_agent(agent, **options)

    async def clear(self) -> Invalidation:
        """Forget what the agent has kept, as ``invalidate(agent=...)`` does; takes as long for a million entries as for one."""
        return await self._machine.forget("agent", (agent_label(self.agent),))

    async def aclose(self, drain: float = 5.0) -> None:
        """Nothing: what is to be closed is the cache, which others use as well."""

    def __del__(self) -> None:
        """Nothing, for the same reason."""

    def __repr__(self) -> str:
        return f"<AgentView {self.agent!r} of {self._whole!r}>"


_default: ToolCache | None = None
_lock = threading.Lock()


def get_cache() -> ToolCache:
    """The process's own cache: made from the environment at first use, and made anew once it was closed."""
    global _default  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _default is None or _default.closed:
            _default = ToolCache.from_env()
        return _default
