"""Discovery: what tools there are, which of them answer a query, and what each is."""

from collections.abc import Iterable
from typing import Any, overload

from toolcache.compute import Compute
from toolcache.domain_cache import TTL, DomainCache
from toolcache.domains import CATALOG, METADATA, SEARCH
from toolcache.entry import MISSING, Durability
from toolcache.tags import catalog_label
from toolcache.tool_labels import catalog_labels, definition_labels


class Discovery(DomainCache):
    """The domains catalog, search and metadata."""

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
        return await self._answer(
            self._keys.catalog(source, version), CATALOG, compute, *catalog_labels(source, version)
        )

    async def set_catalog(
        self, source: Any, catalog: Any, *, version: str = "v2", ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store a catalog; returns where it is safe."""
        own = catalog_labels(source, version)
        return await self._store(self._keys.catalog(source, version), catalog, CATALOG, ttl, tags, *own)

    async def delete_catalog(self, source: Any, *, version: str = "v2") -> bool:
        """Forget a catalog; whether one was there."""
        return await self._forget(self._keys.catalog(source, version), CATALOG)

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
        return await self._answer(
            self._keys.search(query, catalog_version, top_k), SEARCH, compute, catalog_label(catalog_version)
        )

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
        return await self._store(
            self._keys.search(query, catalog_version, top_k), results, SEARCH, ttl, tags, catalog_label(catalog_version)
        )

    async def delete_search_results(self, query: Any, *, catalog_version: str = "v2", top_k: int = 10) -> bool:
        """Forget what a search found; whether something was there."""
        return await self._forget(self._keys.search(query, catalog_version, top_k), SEARCH)

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
        return await self._answer(
            self._keys.metadata(tool, version), METADATA, compute, *definition_labels(tool), tool=tool
        )

    async def set_metadata(
        self, tool: str, definition: Any, *, version: str = "1", ttl: TTL = MISSING, tags: Iterable[str] = ()
    ) -> Durability:
        """Store the definition of a tool; returns where it is safe."""
        own = definition_labels(tool)
        return await self._store(self._keys.metadata(tool, version), definition, METADATA, ttl, tags, *own, tool=tool)

    async def delete_metadata(self, tool: str, *, version: str = "1") -> bool:
        """Forget the definition of a tool; whether one was there."""
        return await self._forget(self._keys.metadata(tool, version), METADATA)
