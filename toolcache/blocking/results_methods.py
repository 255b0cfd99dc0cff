"""The methods of ``Results``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable
from typing import Any

from toolcache.answers import RunStatus
from toolcache.blocking.face import Face
from toolcache.dispatch.tasks import AgentTask
from toolcache.domain_cache import TTL
from toolcache.entry import MISSING, Durability
from toolcache.tool_cache import ToolCache


class BlockingResults(Face):
    """See ``Results``."""

    _cache: ToolCache

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
