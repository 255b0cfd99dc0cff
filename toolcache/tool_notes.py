"""Notes on the tools of servers, kept in the cache beside what the tools said: so that processes know of one another."""

import asyncio
import contextlib
from contextvars import Context
from typing import TYPE_CHECKING, Any

from toolcache.domains import Domain
from toolcache.entry import MISSING
from toolcache.errors import CacheWriteError, SerializationError
from toolcache.found import whole

if TYPE_CHECKING:
    from toolcache.domain_keys import DomainKeys
    from toolcache.machine import Machine


class ToolNotes:
    """The notes of one cache.

    Args:
        machine: the cache's.
        keys: make the keys of notes.
        row: the domain of tools.
    """

    def __init__(self, machine: "Machine", keys: "DomainKeys", row: Domain) -> None:
        self._machine = machine
        self._keys = keys
        self._row = row

    async def read(self, what: str, server: str) -> Any:
        """A note; None where there is none. Nobody's hit, and nobody's miss."""
        found = await self._machine.lookups.find_one(self._keys.tools(what, server), self._row, counted=False)
        value = await whole(found.value)
        return None if found.held is None or value is MISSING else value

    async def write(self, what: str, server: str, note: Any) -> None:
        """Keep a note; one that is too long for an entry, or that no layer takes, is known to this process alone."""
        writing = self._machine.set(self._keys.tools(what, server), note, self._row, ttl=None)
        with contextlib.suppress(SerializationError, CacheWriteError):
            # In a context of its own: whoever bypasses the cache for a while tells others what was done all the same.
            await asyncio.create_task(writing, context=Context())
