"""The methods of ``Discovery``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable
from typing import Any, overload

from toolcache.blocking.face import Face
from toolcache.compute import Compute
from toolcache.domain_cache import TTL
from toolcache.entry import MISSING, Durability
from toolcache.tool_cache import ToolCache


class BlockingDiscovery(Face):
    """See ``Discovery``."""

    _cache: ToolCache

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
