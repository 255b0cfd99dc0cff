"""The methods of ``Tools``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from toolcache.blocking.face import Face
from toolcache.blocking.portal import Portal
from toolcache.entry import Invalidation
from toolcache.known_tools import Learned
from toolcache.policies import ToolPolicy
from toolcache.tool_calls import Run
from toolcache.tools import ToolName, Tools
from toolcache.verdicts import Verdict


class BlockingTools(Face):
    """See ``Tools``."""

    _cache: Tools

    def __init__(self, room: Tools, portal: Portal) -> None:
        super().__init__(portal)
        self._cache = room

    def __getitem__(self, name: ToolName) -> ToolPolicy:
        return self._cache.__getitem__(name)

    def __setitem__(self, name: ToolName, policy: ToolPolicy) -> None:
        return self._cache.__setitem__(name, policy)

    def __delitem__(self, name: ToolName) -> None:
        return self._cache.__delitem__(name)

    def __iter__(self) -> Iterator[ToolName]:
        return self._cache.__iter__()

    def __len__(self) -> int:
        return self._cache.__len__()

    def verdict(self, name: ToolName) -> Verdict:
        """What a call of a tool would be, and why."""
        return self._cache.verdict(name)

    def learn(self, tools: Iterable[Any], *, server: str, trusted: bool = False) -> Learned:
        """Take note of all the tools that a server has.

        Tools that are not in the list any more, and those that were described otherwise before, in this process or another
        one, are forgotten in every process: what they said, what was said of them, and the list itself.

        Args:
            tools: their definitions, all of them, as ``tools/list`` of the Model Context Protocol gives them: dicts, or
                objects that have ``name``, ``inputSchema``, ``annotations``.
            server: a name for the server, of your own; two servers may have tools of one name.
            trusted: whether what they say of their effects counts, where you have said nothing.

        Raises:
            TypeError: that is no list, or no name.
            CacheWriteError: what was kept of a tool that has changed could not be forgotten; see ``Cache.clear``.

        Examples:
            >>> learned = cache.tools.learn([{"name": "find"}], server="files", trusted=True)
            >>> learned.known
            ('find',)
        """
        return self._call(self._cache.learn, tools, server=server, trusted=trusted)

    def changed(self, *, server: str | None = None, tools: Iterable[str] | None = None) -> Invalidation:
        """Say that tools are others now, as ``notifications/tools/list_changed`` does: what was kept is forgotten.

        That is what they said, what was said of them, the catalog whose source is the server, and what searches have found.
        Until they are learned anew, what was learned of them counts for nothing.

        Args:
            server: whose tools; those of no server unless given.
            tools: their names; all of the server unless given.

        Raises:
            ValueError: neither a server nor tools are named.
            CacheWriteError: a layer may still have it, and nothing durable says otherwise.
        """
        return self._call(self._cache.changed, server=server, tools=tools)

    def call(self, name: ToolName, run: Run, params: Mapping[str, Any]) -> Any:
        """What a tool says; see ``ToolCache.call_tool``."""
        return self._with(run, lambda made: self._cache.call(name, made, params))
