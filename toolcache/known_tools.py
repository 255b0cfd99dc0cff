"""What was learned of the tools of servers, and forgetting what was kept of those that are others now.

A note of each server's definitions is kept in the cache, so that a process notices what has changed since another one, or
its predecessor, learned them.
"""

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolcache.domains import METADATA, SEARCH
from toolcache.entry import Invalidation
from toolcache.errors import CacheWriteError
from toolcache.fields import Frozen
from toolcache.tags import domain_label, server_label
from toolcache.tool_definitions import Hints, ToolDefinition
from toolcache.tool_labels import one_tool, results_of, said_of
from toolcache.tool_notes import ToolNotes

if TYPE_CHECKING:
    from toolcache.machine import Machine

_UNTOLD: Final = ""
"""Stands for a definition that cannot be told from others: it may be another one each time."""

_MANY: Final = 256
"""Tools of one server, of which more are forgotten as a whole, with all that is said of tools."""


class Learned(Frozen):
    """What became of a list of tools that was learned.

    Attributes:
        known: names of the tools that are known now.
        added: of these, those that were not there before.
        changed: those of which the definition is another one: what was kept of them is forgotten.
        removed: those that are not there any more; likewise.
        unreadable: how many definitions say nothing: they have no name, or share one.
    """

    known: tuple[str, ...]
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unreadable: int = 0


class Known(NamedTuple):
    """A tool as its server describes it; whether the server is trusted."""

    hints: Hints
    trusted: bool
    digest: str | None


class KnownTools:
    """The tools that one cache knows.

    Args:
        machine: the cache's.
        notes: where the definitions of each server are noted.
    """

    def __init__(self, machine: "Machine", notes: ToolNotes) -> None:
        self._machine = machine
        self._notes = notes
        self._known: dict[str, dict[str, Known]] = {}
        self._noted: dict[str, dict[str, str]] = {}
        self._heeded: set[str] = set()

    def find(self, server: str, name: str) -> Known | None:
        """What is known of a tool."""
        return self._known.get(server, {}).get(name)

    def digest(self, server: str, name: str) -> str | None:
        """What tells the definition of a tool from others, where it is known."""
        known = self.find(server, name)
        return None if known is None else known.digest

    def heeds(self, server: str) -> bool:
        """Whether hints of the server count here, or have counted: then something may be kept by them."""
        return server in self._heeded

    async def learn(self, server: str, tools: Iterable[Any], *, trusted: bool) -> Learned:
        """Take the whole list of a server's tools as what there is now."""
        found, unreadable = _read(tools)
        now = {name: one.digest or _UNTOLD for name, one in found.items()}
        self._known[server] = {name: Known(one.hints, trusted, one.digest) for name, one in found.items()}
        if trusted:
            self._heeded.add(server)
        before = await self._remembered(server)
        self._noted.setdefault(server, before or {})
        was = before or {}
        learned = Learned(
            known=tuple(found),
            added=tuple(name for name in now if name not in was),
            changed=tuple(name for name in now if name in was and (now[name] or None) != was[name]),
            removed=tuple(name for name in was if name not in now),
            unreadable=unreadable,
        )
        if before is None:  # whatever is kept may be of others; but that nobody can be told so is no fault of this list
            with contextlib.suppress(CacheWriteError):
                await self._forget([results_of(server), *self._labels(server, now)])
        elif learned.added or learned.changed or learned.removed:
            await self._forget(self._labels(server, (*learned.changed, *learned.removed)))
        self._noted[server] = now
        if now != before:
            await self._notes.write("list", server, now)
        return learned

    async def changed(self, server: str, names: Sequence[str] | None) -> Invalidation:
        """Believe nothing that was learned of these tools, or of all, until they are learned anew; forget what was kept."""
        known = self._known.get(server, {})
        if names is not None:
            self._known[server] = {name: one for name, one in known.items() if name not in names}
            return await self._forget(self._labels(server, names))
        self._known.pop(server, None)
        every = {**known, **(await self._remembered(server) or {})}
        return await self._forget([results_of(server), *self._labels(server, every)])

    async def written(self, server: str) -> Invalidation:
        """Forget what the tools of a server have said: one of them may have changed what they would say."""
        return await self._forget([results_of(server)])

    def _labels(self, server: str, names: Iterable[str]) -> list[str]:
        """What covers all that is kept of these tools, and of the list that they are in."""
        about = [domain_label(SEARCH.name), *([server_label(server)] if server else [])]
        each = list(names)
        if server and len(each) > _MANY:  # whatever a server sends, it is not to have us keep an epoch for each name
            return [*about, results_of(server), domain_label(METADATA.name)]
        return [*about, *(label for name in each for label in (one_tool(server, name), said_of(name)))]

    async def _forget(self, labels: Sequence[str]) -> Invalidation:
        return await self._machine.forget("tools", list(dict.fromkeys(labels)))

    async def _remembered(self, server: str) -> dict[str, str] | None:
        """The definitions when they were learned last, here or elsewhere; None where nobody knows."""
        note = await self._notes.read("list", server)
        if not isinstance(note, dict):
            return self._noted.get(server)
        return {name: told for name, told in note.items() if isinstance(name, str) and isinstance(told, str)}


def _read(tools: Iterable[Any]) -> tuple[dict[str, ToolDefinition], int]:
    """The definitions by name, and how many there are that say nothing: of two tools with one name, neither is known."""
    found: dict[str, ToolDefinition] = {}
    doubled: set[str] = set()
    unreadable = 0
    for tool in tools:
        one = ToolDefinition.of(tool)
        if one is None:
            unreadable += 1
        elif one.name in doubled or found.get(one.name, one) != one:
            doubled.add(one.name)
            unreadable += 1
        else:
            found[one.name] = one
    for name in doubled:
        del found[name]
        unreadable += 1
    return found, unreadable
