"""The keys of the domains: readable parts, then a digest of what cannot be read.

    catalog:{version}:{digest of the source}
    embedding:{model}:{digest of the text}            embedding:{model}:{variant}:{digest of the text}
    search:{catalog version}:{top_k}:{digest of the query}
    metadata:{tool}:{version}                         metadata:{tool}:{version}:{digest}, for a tenant
    idempotency:{digest of the task}
    response:{digest of agent, goal, model, temperature and tools}
    model:{digest of model, messages and parameters}
    {own domain}:{digest of its fields}               {own domain}:{version}:{digest of its fields}

Parts are percent-encoded, so only the joiner is a raw colon and no two sets of parts share a key. A tenant becomes part
of every digest. The form is frozen: it is what stored entries are found by.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from toolcache.dispatch.tasks import AgentTask
from toolcache.domains import Domain
from toolcache.keys.canonical import digest
from toolcache.keys.text import join, join_each


def several_names(what: str, names: Iterable[str]) -> list[str]:
    """Names, of which one alone is a slip."""
    if isinstance(names, str):
        raise TypeError(f"{what} is a list of names: write {what}=[{names!r}]")
    return list(names)


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

    def response(self, agent: str, goal: Any, *, model: str, temperature: float, tools: Iterable[str]) -> str:
        """What an agent answers to a goal; the order of its tools does not matter."""
        offered = sorted(several_names("tools", tools))
        return join("response", self._digest([agent, goal, model, float(temperature), offered]))

    def completion(self, model: str, messages: Any, params: Mapping[str, Any]) -> str:
        """What a model makes of messages; all of them count, and every parameter."""
        return join("model", self._digest([model, messages, dict(params)]))

    def declared(self, domain: Domain[Any], fields: Mapping[str, Any]) -> str:
        """What a domain of the user's own has for these fields."""
        if fields.keys() != set(domain.key):
            wrong = sorted(fields.keys() ^ set(domain.key))
            raise TypeError(
                f"the key of the domain {domain.name!r} is made of {', '.join(domain.key)}: see {', '.join(wrong)}"
            )
        version = () if domain.version is None else (domain.version,)
        return join(domain.name, *version, self._digest(domain.normal(fields)))

    def _digest(self, value: Any) -> str:
        own = digest(value)
        return own if self._tenant is None else digest([self._tenant, str(own)])
