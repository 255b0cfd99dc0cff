"""Results: what tasks have led to."""

from collections.abc import Iterable
from typing import Any

from toolcache.answers import RunStatus
from toolcache.course import Settled
from toolcache.dispatch.tasks import AgentTask
from toolcache.domain_cache import TTL, DomainCache
from toolcache.entry import MISSING, Durability
from toolcache.terms import Terms
from toolcache.work import Work


class Results(DomainCache):
    """The domain idempotency."""

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
