"""The keys of the domains: readable parts, then a digest of what cannot be read.

    catalog:{version}:{digest of the source}
    embedding:{model}:{digest of the text}            embedding:{model}:{variant}:{digest of the text}
    search:{catalog version}:{top_k}:{digest of the query}
    metadata:{tool}:{version}                         metadata:{tool}:{version}:{digest}, for a tenant
    idempotency:{digest of the task}
    response:{agent}:{digest of agent, goal, model, temperature and tools}
    model:{model}:{digest of model, messages and parameters}
    session:{session}                                 session:{session}:{digest}, for a tenant
    memory:{agent}:{digest of the query}
    tool:{tool}:{digest of its parameters}            tool:{server}:{tool}:{digest}, for a tool of a server
    {own domain}:{digest of its fields}               {own domain}:{version}:{digest of its fields}

Parts are percent-encoded, so only the joiner is a raw colon and no two sets of parts share a key. A tenant becomes part
of every digest. The form is frozen: it is what stored entries are found by.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from toolcache.dispatch.tasks import AgentTask
from toolcache.domains import Domain
from toolcache.insight.variance import SHUT, Windows
from toolcache.keys.canonical import digest
from toolcache.keys.text import join, join_each


class DomainKeys:
    """Makes the keys of one cache.

    Args:
        namespace: the cache's.
        tenant: the cache's, if it has one.
        windows: look at what keys are made of, now and then.
    """

    def __init__(self, namespace: str, tenant: str | None, windows: Windows | None = None) -> None:
        self._namespace = namespace
        self._tenant = tenant
        self._windows = windows or SHUT

    def catalog(self, source: Any, version: str) -> str:
        """The catalog of a source."""
        return join("catalog", version, self._digest(source))

    def embedding(self, text: Any, model: str, variant: str | None) -> str:
        """The vector of a text."""
        return self.embeddings((text,), model, variant)[0]

    def embeddings(self, texts: Iterable[Any], model: str, variant: str | None) -> list[str]:
        """The vectors of several texts."""
        words = ("embedding", model) if variant is None else ("embedding", model, variant)
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            texts = list(texts)
            for text in texts:
                windows.note("embedding", {"text": text, "model": model, "variant": variant})
        return join_each(words, map(self._digest, texts))

    def search(self, query: Any, catalog_version: str, top_k: int) -> str:
        """What a search found."""
        if type(top_k) is not int or top_k < 1:
            raise ValueError(f"top_k is a whole number of at least 1, not {top_k!r}")
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            windows.note("search", {"query": query, "catalog_version": catalog_version, "top_k": top_k})
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

    def response(self, agent: str, goal: Any, *, model: Any, temperature: float | None, tools: Any = ()) -> str:
        """What an agent answers; its tools, by name or as definitions, count as a set."""
        asked = {
            "agent": agent,
            "goal": goal,
            "model": model,
            "temperature": None if temperature is None else _degree(temperature),
            "tools": _as_set(tools),
        }
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            windows.note("response", asked)
        return join("response", agent, self._digest(asked))

    def completion(self, model: str, messages: Any, params: Mapping[str, Any] | None = None) -> str:
        """What a model answers to a whole conversation, the system's prompt included, under all of its parameters."""
        said = list(messages) if isinstance(messages, tuple) else messages
        asked = {"model": model, "messages": said, "params": dict(params or {})}
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            windows.note("model", asked)
        return join("model", model, self._digest(asked))

    def session(self, session_id: str) -> str:
        """What an agent knows of a conversation."""
        tenant = () if self._tenant is None else (self._digest(session_id),)
        return join("session", session_id, *tenant)

    def memory(self, agent: str, query: Any) -> str:
        """What an agent remembers of a query."""
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            windows.note("memory", {"agent": agent, "query": query})
        return join("memory", agent, self._digest(query))

    def tool(self, server: str, tool: str, params: Mapping[str, Any], *told: Any) -> str:
        """What a tool has said; what else tells one call from another comes last."""
        where = (server,) if server else ()
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            windows.note(f"tool:{tool}", params)
        given = [dict(params), *told] if any(one is not None for one in told) else dict(params)
        return join("tool", *where, tool, self._digest(given))

    def tools(self, what: str, server: str) -> str:
        """A note on the tools of a server."""
        return join("tool", f"@{what}", self._digest(server))

    def declared(self, domain: Domain[Any], fields: Mapping[str, Any]) -> str:
        """What a domain of the user's own has for these fields."""
        if fields.keys() != set(domain.key):
            wrong = sorted(fields.keys() ^ set(domain.key))
            raise TypeError(
                f"the key of the domain {domain.name!r} is made of {', '.join(domain.key)}: see {', '.join(wrong)}"
            )
        version = () if domain.version is None else (domain.version,)
        fields = domain.normal(fields)
        windows = self._windows
        windows.left -= 1
        if windows.left < 0:
            windows.note(domain.name, fields)
        return join(domain.name, *version, self._digest(fields))

    def _digest(self, value: Any) -> str:
        own = digest(value)
        return own if self._tenant is None else digest([self._tenant, str(own)])


def _degree(temperature: float) -> float:
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not isfinite(temperature):
        raise ValueError(f"temperature is a number, such as 0 or 0.7, not {type(temperature).__name__}")
    return float(temperature) + 0.0  # and no zero below zero


def _as_set(tools: Any) -> list[str]:
    """Tools in the one order that they have whoever lists them: that of their digests."""
    if isinstance(tools, str):
        raise TypeError("tools is a list of names or definitions: write tools=[name]")
    listed = tools.items() if isinstance(tools, Mapping) else tools or ()
    return sorted({str(digest(tool)) for tool in listed})
