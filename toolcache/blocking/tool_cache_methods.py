"""The methods of ``ToolCache``, for callers that wait.

Written by tests/blocking/generate.py.
"""

from collections.abc import Iterable
from typing import Any, overload

from toolcache.answers import RunStatus
from toolcache.blocking.face import Face
from toolcache.compute import Compute
from toolcache.dispatch.tasks import AgentTask
from toolcache.embeddings import Embed, Vector
from toolcache.entry import MISSING, Durability
from toolcache.tool_cache import TTL


class BlockingOwn(Face):
    """See ``ToolCache``."""

    @overload
    def get_catalog(self, source: Any, *, version: str = "v2", compute: None = None) -> Any | None: ...
    @overload
    def get_catalog(self, source: Any, *, version: str = "v2", compute: Compute) -> Any: ...
    def get_catalog(self, source: Any, *, version: str = "v2", compute: Compute | None = None) -> Any:
        """The catalog of tools that a source offers.

        Args:
            source: where the tools come from.
            version: of the catalog's form; another one is another entry.
            compute: discovers the tools.
        """
        if compute is None:
            return self._hit(self._cache.get_catalog, source, version=version)
        return self._find(compute, lambda made: self._cache.get_catalog(source, version=version, compute=made))

    def set_catalog(
        self, source: Any, catalog: Any, *, version: str = "v2", ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store a catalog; returns where it is safe."""
        return self._call(self._cache.set_catalog, source, catalog, version=version, ttl=ttl, tags=tags)

    def delete_catalog(self, source: Any, *, version: str = "v2") -> bool:
        """Forget a catalog; whether one was there."""
        return self._call(self._cache.delete_catalog, source, version=version)

    @overload
    def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: None = None
    ) -> list[float] | None: ...
    @overload
    def get_embedding(self, text: Any, model: str, *, variant: str | None = None, compute: Compute) -> list[float]: ...
    def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: Compute | None = None
    ) -> Any:
        """The vector of a text: as it was stored, to the last bit; a NumPy array as a read-only array.

        Args:
            text: what is embedded.
            model: by which model.
            variant: what else changes the vector: dimensions, task or revision, such as ``"256d"``.
            compute: makes the vector.
        """
        if compute is None:
            return self._hit(self._cache.get_embedding, text, model, variant=variant)
        return self._find(compute, lambda made: self._cache.get_embedding(text, model, variant=variant, compute=made))

    def set_embedding(
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
        return self._call(self._cache.set_embedding, text, model, vector, variant=variant, ttl=ttl, tags=tags)

    def delete_embedding(self, text: Any, model: str, *, variant: str | None = None) -> bool:
        """Forget a vector; whether one was there."""
        return self._call(self._cache.delete_embedding, text, model, variant=variant)

    @overload
    def get_embeddings(
        self, texts: Iterable[Any], model: str, *, variant: str | None = None, compute: None = None
    ) -> list[list[float] | None]: ...
    @overload
    def get_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        *,
        variant: str | None = None,
        compute: Embed,
        batch_size: int | None = None,
    ) -> list[list[float]]: ...
    def get_embeddings(
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
        if compute is None:
            return self._call(self._cache.get_embeddings, texts, model, variant=variant)
        return self._embed(
            compute,
            lambda made: self._cache.get_embeddings(texts, model, variant=variant, compute=made, batch_size=batch_size),
        )

    def set_embeddings(
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
        return self._call(self._cache.set_embeddings, texts, model, vectors, variant=variant, ttl=ttl, tags=tags)

    @overload
    def get_search_results(
        self, query: Any, *, catalog_version: str = "v2", top_k: int = 10, compute: None = None
    ) -> Any | None: ...
    @overload
    def get_search_results(
        self, query: Any, *, catalog_version: str = "v2", top_k: int = 10, compute: Compute
    ) -> Any: ...
    def get_search_results(
        self, query: Any, *, catalog_version: str = "v2", top_k: int = 10, compute: Compute | None = None
    ) -> Any:
        """What a search found.

        Args:
            query: what was searched for.
            catalog_version: of the catalog searched; a new one never meets an old result.
            top_k: how many results were asked for.
            compute: searches.
        """
        if compute is None:
            return self._hit(self._cache.get_search_results, query, catalog_version=catalog_version, top_k=top_k)
        return self._find(
            compute,
            lambda made: self._cache.get_search_results(
                query, catalog_version=catalog_version, top_k=top_k, compute=made
            ),
        )

    def set_search_results(
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
        return self._call(
            self._cache.set_search_results,
            query,
            results,
            catalog_version=catalog_version,
            top_k=top_k,
            ttl=ttl,
            tags=tags,
        )

    def delete_search_results(self, query: Any, *, catalog_version: str = "v2", top_k: int = 10) -> bool:
        """Forget what a search found; whether something was there."""
        return self._call(self._cache.delete_search_results, query, catalog_version=catalog_version, top_k=top_k)

    @overload
    def get_metadata(self, tool: str, *, version: str = "1", compute: None = None) -> Any | None: ...
    @overload
    def get_metadata(self, tool: str, *, version: str = "1", compute: Compute) -> Any: ...
    def get_metadata(self, tool: str, *, version: str = "1", compute: Compute | None = None) -> Any:
        """The definition of a tool.

        Args:
            tool: its name.
            version: of the tool.
            compute: looks the definition up.
        """
        if compute is None:
            return self._hit(self._cache.get_metadata, tool, version=version)
        return self._find(compute, lambda made: self._cache.get_metadata(tool, version=version, compute=made))

    def set_metadata(
        self, tool: str, definition: Any, *, version: str = "1", ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store the definition of a tool; returns where it is safe."""
        return self._call(self._cache.set_metadata, tool, definition, version=version, ttl=ttl, tags=tags)

    def delete_metadata(self, tool: str, *, version: str = "1") -> bool:
        """Forget the definition of a tool; whether one was there."""
        return self._call(self._cache.delete_metadata, tool, version=version)

    def get_result(self, task: AgentTask, default: Any = None) -> Any:
        """The stored output of a task, or ``default``: pass ``MISSING`` to tell a stored None from a miss."""
        return self._call(self._cache.get_result, task, default)

    def set_result(self, task: AgentTask, output: Any, *, ttl: TTL = MISSING, tags: Iterable[str] = ()) -> Durability:
        """Store the output of a task, once: while one is stored, another changes nothing. Returns where it is safe."""
        return self._call(self._cache.set_result, task, output, ttl=ttl, tags=tags)

    def delete_result(self, task: AgentTask) -> bool:
        """Forget the output of a task, so that it may run again; whether one was there. The same as ``forget``."""
        return self._call(self._cache.delete_result, task)

    def status(self, key: str | AgentTask) -> RunStatus:
        """How far a task, or a request of ``once``, has come; asks every store."""
        return self._call(self._cache.status, key)

    def forget(self, key: str | AgentTask) -> bool:
        """Forget a task, or a request of ``once``, so that it runs again; see ``Cache.forget``."""
        return self._call(self._cache.forget, key)
