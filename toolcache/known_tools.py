"""What was learned of the tools of servers, and forgetting what was kept of those that are others now.

A note of each server's definitions is kept in the cache, so that a process notices what has changed since another one, or
its predecessor, learned them.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolcache.domains import SEARCH
from toolcache.entry import Invalidation
from toolcache.fields import Frozen
from toolcache.keys.text import join
from toolcache.tags import domain_label, server_label, tool_label
from toolcache.tool_definitions import Hints, ToolDefinition
from toolcache.tool_notes import ToolNotes

if TYPE_CHECKING:
    from toolcache.machine import Machine

_UNTOLD: Final = ""
"""Stands for a definition that cannot be told from others: it may be another one each time."""


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


def results_of(server: str, name: str) -> str:
    """The label of what one tool has said."""
    return tool_label(join(server, name))


def labels_of(server: str, name: str) -> tuple[str, ...]:
    """What the results of a tool can be invalidated by, beside their domain."""
    own = results_of(server, name)
    return (own, results_label(server)) if server else (own,)


def results_label(server: str) -> str:
    """The label of what all tools of a server have said."""
    return tool_label(join(server, ""))


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

    def find(self, server: str, name: str) -> Known | None:
        """What is known of a tool."""
        return self._known.get(server, {}).get(name)

    def digest(self, server: str, name: str) -> str | None:
        """What tells the definition of a tool from others, where it is known."""
        known = self.find(server, name)
        return None if known is None else known.digest

    def trusts(self, server: str) -> bool:
        """Whether hints of the server count."""
        return any(known.trusted for known in self._known.get(server, {}).values())

    async def learn(self, server: str, tools: Iterable[Any], *, trusted: bool) -> Learned:
        """Take the whole list of a server's tools as what there is now."""
        found, unreadable = _read(tools)
        now = {name: one.digest or _UNTOLD for name, one in found.items()}
        self._known[server] = {name: Known(one.hints, trusted, one.digest) for name, one in found.items()}
        before = await self._remembered(server)
        self._noted.setdefault(server, before or {})
        learned = Learned(known=tuple(found), unreadable=unreadable)
        if before is not None:
            learned = learned._replace(
                added=tuple(name for name in now if name not in before),
                changed=tuple(name for name in now if name in before and (now[name] or None) != before[name]),
                removed=tuple(name for name in before if name not in now),
            )
            if learned.added or learned.changed or learned.removed:
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
        return await self._forget([results_label(server), *self._labels(server, tuple(every))])

    async def written(self, server: str) -> Invalidation:
        """Forget what the tools of a server have said: one of them may have changed what they would say."""
        return await self._forget([results_label(server)])

    def _labels(self, server: str, names: Iterable[str]) -> list[str]:
        """What covers all that is kept of these tools, and of the list that they are in."""
        about = [domain_label(SEARCH.name), *([server_label(server)] if server else [])]
        each = {label for name in names for label in (results_of(server, name), tool_label(name))}
        return [*about, *sorted(each)]

    async def _forget(self, labels: Sequence[str]) -> Invalidation:
        return await self._machine.forget("tools", labels)

    async def _remembered(self, server: str) -> dict[str, str] | None:
        """The definitions when they were learned last, here or elsewhere; None where nobody knows."""
        note = await self._notes.read("list", server)
        return note if isinstance(note, dict) else self._noted.get(server)


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
