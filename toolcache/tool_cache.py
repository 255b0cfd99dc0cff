"""ToolCache: a cache that knows what agents cache."""

import os
import threading
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Self, TypeAlias, Unpack, overload

from toolcache.answers import RunStatus
from toolcache.assembly import assemble
from toolcache.clock import SYSTEM
from toolcache.compute import Compute
from toolcache.course import Settled
from toolcache.credentials import AnyCredentialProvider
from toolcache.dispatch.tasks import AgentTask
from toolcache.domain_keys import DomainKeys
from toolcache.domains import CATALOG, EMBEDDING, IDEMPOTENCY, METADATA, SEARCH, Domain
from toolcache.durations import Duration
from toolcache.embeddings import Embed, Vector, check_lengths, embed, in_order, keys_of, look_up, several, store
from toolcache.entry import MISSING, Durability, Missing
from toolcache.errors import SettingsError
from toolcache.protocols import Clock
from toolcache.settings import Options, Settings
from toolcache.terms import Terms
from toolcache.told import Told
from toolcache.work import Work

TTL: TypeAlias = Duration | Missing | None
"""A lifetime: the domain's if it is not given, None for ever."""


class ToolCache(Told):
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
        self.settings = settings
        super().__init__(assemble(settings, clock=clock, credentials=credentials))
        self._keys = DomainKeys(settings.namespace, settings.tenant)
        self._catalog = self._row(CATALOG)
        self._embedding = self._row(EMBEDDING)
        self._search = self._row(SEARCH)
        self._metadata = self._row(METADATA)
        self._idempotency = self._request_domain = self._row(IDEMPOTENCY)

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

    # -- catalog: what tools there are ------------------------------------------------------------------------------

    @overload
    async def get_catalog(self, source: Any, *, version: str = "v2", compute: None = None) -> Any | None: ...
    @overload
    async def get_catalog(self, source: Any, *, version: str = "v2", compute: Compute) -> Any: ...
    async def get_catalog(self, source: Any, *, version: str = "v2", compute: Compute | None = None) -> Any:
        """The catalog of tools that a source offers.

        Args:
            source: where the tools come from.
            version: of the catalog's form; another one is another entry.
            compute: discovers the tools.
        """
        return await self._answer(self._keys.catalog(source, version), self._catalog, compute)

    async def set_catalog(
        self, source: Any, catalog: Any, *, version: str = "v2", ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store a catalog; returns where it is safe."""
        return await self._store(self._keys.catalog(source, version), catalog, self._catalog, ttl, tags)

    async def delete_catalog(self, source: Any, *, version: str = "v2") -> bool:
        """Forget a catalog; whether one was there."""
        return await self._forget(self._keys.catalog(source, version), self._catalog)

    # -- embedding: vectors of texts --------------------------------------------------------------------------------

    @overload
    async def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: None = None
    ) -> list[float] | None: ...
    @overload
    async def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: Compute
    ) -> list[float]: ...
    async def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: Compute | None = None
    ) -> Any:
        """The vector of a text: as it was stored, to the last bit; a NumPy array as a read-only array.

        Args:
            text: what is embedded.
            model: by which model.
            variant: what else changes the vector: dimensions, task or revision, such as ``"256d"``.
            compute: makes the vector.
        """
        return await self._answer(self._keys.embedding(text, model, variant), self._embedding, compute)

    async def set_embedding(
        self,
        text: Any,
        model: str,
        vector: Vector,
        *,
        variant: str | None = None,
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store a vector; returns where it is safe.

        Raises:
            SerializationError: it is empty, of another length than the domain's, or an element is no finite float.
        """
        check_lengths((vector,), self._embedding)
        return await self._store(self._keys.embedding(text, model, variant), vector, self._embedding, ttl, tags)

    async def delete_embedding(self, text: Any, model: str, *, variant: str | None = None) -> bool:
        """Forget a vector; whether one was there."""
        return await self._forget(self._keys.embedding(text, model, variant), self._embedding)

    @overload
    async def get_embeddings(
        self, texts: Iterable[Any], model: str, *, variant: str | None = None, compute: None = None
    ) -> list[list[float] | None]: ...
    @overload
    async def get_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        *,
        variant: str | None = None,
        compute: Embed,
        batch_size: int | None = None,
    ) -> list[list[float]]: ...
    async def get_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        *,
        variant: str | None = None,
        compute: Embed | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """The vectors of several texts, in the order asked; None for a miss without ``compute``.

        Args:
            texts: what is embedded; a text may come more than once.
            model: by which model.
            variant: what else changes the vectors.
            compute: makes the vectors of the texts it is given, which are those that are missing, each once. What
                another call is computing just then is waited for.
            batch_size: how many texts ``compute`` is given at most at a time; all that are missing unless given. What
                one batch has made is kept when a later one fails.

        Raises:
            SerializationError: ``compute`` returned another number of vectors than of texts, or of various lengths.
        """
        asked = several(texts)
        keys = await keys_of(asked, lambda some: self._keys.embeddings(some, model, variant))
        if compute is None:
            found = await look_up(self._machine, self._embedding, keys)
        else:
            by_key = dict(zip(keys, asked, strict=True))
            found = await embed(self._machine, self._embedding, by_key, compute, batch_size)
        return await in_order(keys, found)

    async def set_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        vectors: Iterable[Vector],
        *,
        variant: str | None = None,
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> list[Durability]:
        """Store vectors in one round trip; returns where each is safe. If one is refused, none is stored.

        Raises:
            SerializationError: one is empty, of another length than the others or the domain's, or an element is no
                finite float.
            ValueError: there are not as many vectors as texts.
        """
        asked, given = several(texts), list(vectors)
        if len(asked) != len(given):
            raise ValueError(f"{len(asked)} texts and {len(given)} vectors: give one vector for each text")
        check_lengths(given, self._embedding)
        keys = await keys_of(asked, lambda some: self._keys.embeddings(some, model, variant))
        kept = await store(self._machine, self._embedding, keys, given, ttl=ttl, tags=tags)
        return [kept[key] for key in keys]

    # -- search: which tools answer a query -------------------------------------------------------------------------

    @overload
    async def get_search_results(
        self, query: Any, *, catalog_version: str = "v2", top_k: int = 10, compute: None = None
    ) -> Any | None: ...
    @overload
    async def get_search_results(
        self, query: Any, *, catalog_version: str = "v2", top_k: int = 10, compute: Compute
    ) -> Any: ...
    async def get_search_results(
        self, query: Any, *, catalog_version: str = "v2", top_k: int = 10, compute: Compute | None = None
    ) -> Any:
        """What a search found.

        Args:
            query: what was searched for.
            catalog_version: of the catalog searched; a new one never meets an old result.
            top_k: how many results were asked for.
            compute: searches.
        """
        return await self._answer(self._keys.search(query, catalog_version, top_k), self._search, compute)

    async def set_search_results(
        self,
        query: Any,
        results: Any,
        *,
        catalog_version: str = "v2",
        top_k: int = 10,
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store what a search found; returns where it is safe."""
        return await self._store(self._keys.search(query, catalog_version, top_k), results, self._search, ttl, tags)

    async def delete_search_results(self, query: Any, *, catalog_version: str = "v2", top_k: int = 10) -> bool:
        """Forget what a search found; whether something was there."""
        return await self._forget(self._keys.search(query, catalog_version, top_k), self._search)

    # -- metadata: what a tool is -----------------------------------------------------------------------------------

    @overload
    async def get_metadata(self, tool: str, *, version: str = "1", compute: None = None) -> Any | None: ...
    @overload
    async def get_metadata(self, tool: str, *, version: str = "1", compute: Compute) -> Any: ...
    async def get_metadata(self, tool: str, *, version: str = "1", compute: Compute | None = None) -> Any:
        """The definition of a tool.

        Args:
            tool: its name.
            version: of the tool.
            compute: looks the definition up.
        """
        return await self._answer(self._keys.metadata(tool, version), self._metadata, compute)

    async def set_metadata(
        self, tool: str, definition: Any, *, version: str = "1", ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store the definition of a tool; returns where it is safe."""
        return await self._store(self._keys.metadata(tool, version), definition, self._metadata, ttl, tags)

    async def delete_metadata(self, tool: str, *, version: str = "1") -> bool:
        """Forget the definition of a tool; whether one was there."""
        return await self._forget(self._keys.metadata(tool, version), self._metadata)

    # -- idempotency: what a task has led to ------------------------------------------------------------------------

    async def get_result(self, task: AgentTask, default: Any = None) -> Any:
        """The stored output of a task, or ``default``: pass ``MISSING`` to tell a stored None from a miss."""
        output = await self._requests.get(self._keys.result(task), self._idempotency)
        return default if output is MISSING else output

    async def set_result(
        self, task: AgentTask, output: Any, *, ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store the output of a task, once: while one is stored, another changes nothing. Returns where it is safe."""
        return await self._requests.put(
            self._keys.result(task), output, self._idempotency, fingerprint=task.fingerprint, ttl=ttl, tags=tags
        )

    async def delete_result(self, task: AgentTask) -> bool:
        """Forget the output of a task, so that it may run again; whether one was there. The same as ``forget``."""
        return await self._requests.forget(self._keys.result(task), self._idempotency)

    async def status(self, key: str | AgentTask) -> RunStatus:
        """How far a task, or a request of ``once``, has come; asks every store."""
        return await super().status(key)  # type: ignore[arg-type]  # _request takes both

    async def forget(self, key: str | AgentTask) -> bool:
        """Forget a task, or a request of ``once``, so that it runs again; see ``Cache.forget``."""
        return await super().forget(key)  # type: ignore[arg-type]  # _request takes both

    async def _settle(self, request: str, fingerprint: str, work: Work, terms: Terms) -> Settled:
        """What a task comes to, run now if it never was."""
        return await self._requests.once(request, work, terms, self._idempotency, fingerprint=str(fingerprint))

    def _request(self, key: str | AgentTask) -> str:
        return self._keys.result(key) if isinstance(key, AgentTask) else super()._request(key)

    # -- how ----------------------------------------------------------------------------------------------------

    def _row(self, domain: Domain) -> Domain:
        """The domain's row of the table, with what the settings say."""
        ttl = self.settings.ttls.get(domain.name, domain.ttl)
        cost = self.settings.costs.get(domain.name, domain.cost_usd)
        return domain._replace(ttl=ttl, cost_usd=cost)

    def _answer(self, key: str, domain: Domain, compute: Compute | None) -> Coroutine[Any, Any, Any]:
        if compute is None:
            return self._machine.get(key, domain)
        return self._machine.compute(key, compute, domain)

    def _store(
        self, key: str, value: Any, domain: Domain, ttl: TTL, tags: Iterable[str]
    ) -> Coroutine[Any, Any, Durability]:
        return self._machine.set(key, value, domain, ttl=ttl, tags=tags)

    async def _forget(self, key: str, domain: Domain) -> bool:
        return (await self._machine.delete_many((key,), domain))[key]


_default: ToolCache | None = None
_lock = threading.Lock()


def get_cache() -> ToolCache:
    """The process's own cache: made from the environment at first use, and made anew once it was closed."""
    global _default  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _default is None or _default.closed:
            _default = ToolCache.from_env()
        return _default
