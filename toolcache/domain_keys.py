"""The keys of the domains: readable parts, then a digest of what cannot be read.

    catalog:{version}:{digest of the source}
    embedding:{model}:{digest of the text}            embedding:{model}:{variant}:{digest of the text}
    search:{catalog version}:{top_k}:{digest of the query}
    metadata:{tool}:{version}                         metadata:{tool}:{version}:{digest}, for a tenant
    idempotency:{digest of the task}

Parts are percent-encoded, so only the joiner is a raw colon and no two sets of parts share a key. A tenant becomes part
of every digest. The form is frozen: it is what stored entries are found by.
"""

from collections.abc import Iterable
from typing import Any

from toolcache.dispatch.tasks import AgentTask
from toolcache.keys.canonical import digest
from toolcache.keys.text import join, join_each


class DomainKeys:
    """Makes the keys of one cache.

    Args:
        namespace: the cache's.
        tenant: the cache's, if it has one.
    """

    def __init__(self, namespace: str, tenant: str | None) -> None:
        self._namespace = namespace
        self._tenant = tenant

    def catalog(self, source: Any, version: str) -> str:
        """The catalog of a source."""
        return join("catalog", version, self._digest(source))

    def embedding(self, text: Any, model: str, variant: str | None) -> str:
        """The vector of a text."""
        return self.embeddings((text,), model, variant)[0]

    def embeddings(self, texts: Iterable[Any], model: str, variant: str | None) -> list[str]:
        """The vectors of several texts."""
        words = ("embedding", model) if variant is None else ("embedding", model, variant)
        return join_each(words, map(self._digest, texts))

    def search(self, query: Any, catalog_version: str, top_k: int) -> str:
        """What a search found."""
        if type(top_k) is not int or top_k < 1:
            raise ValueError(f"top_k is a whole number of at least 1, not {top_k!r}")
        return join("search", catalog_version, str(top_k), self._digest(query))

    def metadata(self, tool: str, version: str) -> str:
        """The definition of a tool."""
        tenant = () if self._tenant is None else (self._digest(tool),)
        return join("metadata", tool, version, *tenant)

    def result(self, task: AgentTask) -> str:
        """The output of a task."""
        if not isinstance(task, AgentTask):
            raise TypeError(f"a result belongs to an AgentTask, not to {type(task).__name__}")
        return join("idempotency", task.digest(namespace=self._namespace, tenant=self._tenant))

    def _digest(self, value: Any) -> str:
        own = digest(value)
        return own if self._tenant is None else digest([self._tenant, str(own)])
