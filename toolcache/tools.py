"""Tools: what the user says of them, what servers say of them, and calls that heed both.

A tool is told by its server and its name, one of no server by its name alone. What it has said is kept under these, its
definition and the parameters that decide; it is forgotten when the definition is another one, and when another tool of the
server is called that may have changed what it would say.
"""

import contextlib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from toolcache.domains import IDEMPOTENCY, TOOL, Domain
from toolcache.entry import MISSING, Invalidation
from toolcache.errors import CacheClosedError, CacheWriteError, UnsupportedKeyError
from toolcache.keys.canonical import digest
from toolcache.known_tools import KnownTools, Learned
from toolcache.policies import ToolPolicy
from toolcache.tool_calls import Asked, Run, ToolCalls, run_tool
from toolcache.tool_labels import result_labels
from toolcache.tool_notes import ToolNotes
from toolcache.verdicts import AGAIN, Act, Verdict, decide

if TYPE_CHECKING:
    from toolcache.domain_cache import DomainCache

ToolName: TypeAlias = str | tuple[str, str]
"""The name of a tool; or that of its server, and its own."""


class Tools(MutableMapping[ToolName, ToolPolicy]):
    """The tools of one cache: a dict of what the user says of them, by name, with what servers say of them beside it.

    Args:
        cache: the cache.
        whole: those of the cache that this one is a view of: their policies hold where there are none here, and what is
            learned and written is learned and written there.

    Examples:
        >>> cache.tools["web_search"] = ToolPolicy("exact", ttl="5m", key_params=["query"])
        >>> cache.tools["github", "create_issue"] = ToolPolicy("once", key_params=["request_id"])
        >>> cache.tools.verdict("web_search").act.value
        'cached'
    """

    def __init__(self, cache: "DomainCache", whole: Self | None = None) -> None:
        self._cache = cache
        self._machine = cache._machine  # noqa: SLF001 - of one house
        self._keys = cache._keys  # noqa: SLF001 - of one house
        self._row = cache.domains[TOOL.name]
        self._answers = cache.domains[IDEMPOTENCY.name]
        self._calls = ToolCalls(self._machine, cache._requests, self._row)  # noqa: SLF001 - of one house
        self._policies: ChainMap[tuple[str, str], ToolPolicy] = ChainMap({})
        self._spoken_of: set[str] = set()
        self._notes = ToolNotes(self._machine, self._keys, self._row)
        self._known = KnownTools(self._machine, self._notes)
        self._turns: dict[str, list[Any]] = {}
        if whole is not None:
            self._stand_under(whole)

    def _stand_under(self, whole: Self) -> None:
        self._policies = whole._policies.new_child()
        self._notes, self._known, self._turns = whole._notes, whole._known, whole._turns
        self._spoken_of = whole._spoken_of  # whatever one view keeps, the tools that another one calls may change

    # -- what the user says -------------------------------------------------------------------------------------

    def __getitem__(self, name: ToolName) -> ToolPolicy:
        return self._policies[_told(name)]

    def __setitem__(self, name: ToolName, policy: ToolPolicy) -> None:
        if not isinstance(policy, ToolPolicy):
            raise TypeError(f"a tool is given a ToolPolicy, such as ToolPolicy('exact'), not {type(policy).__name__}")
        told = _told(name)
        self._policies[told] = policy
        self._spoken_of.add(told[0])

    def __delitem__(self, name: ToolName) -> None:
        del self._policies[_told(name)]

    def __iter__(self) -> Iterator[ToolName]:
        return ((server, name) if server else name for server, name in self._policies)

    def __len__(self) -> int:
        return len(self._policies)

    def __repr__(self) -> str:
        return f"<tools: {len(self._policies)} policies>"

    def verdict(self, name: ToolName) -> Verdict:
        """What a call of a tool would be, and why."""
        server, tool = _told(name)
        known = self._known.find(server, tool)
        hints = None if known is None or known.digest is None else known.hints
        return decide(self._policies.get((server, tool)), hints, trusted=known is not None and known.trusted)

    # -- what servers say ---------------------------------------------------------------------------------------

    async def learn(self, tools: Iterable[Any], *, server: str, trusted: bool = False) -> Learned:
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
            >>> learned = await cache.tools.learn([{"name": "find"}], server="files", trusted=True)
            >>> learned.known
            ('find',)
        """
        whole = isinstance(tools, str | bytes | Mapping) or hasattr(tools, "tools")  # an SDK's page is iterable, too
        if whole or not isinstance(tools, Iterable):
            raise TypeError(f"learn takes the list of a server's tools, not {type(tools).__name__}: pass its 'tools'")
        return await self._known.learn(_server(server), tools, trusted=trusted)

    async def changed(self, *, server: str | None = None, tools: Iterable[str] | None = None) -> Invalidation:
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
        if isinstance(tools, str):
            raise TypeError("tools is a list of names: write tools=['find']")
        names = None if tools is None else [_name(name) for name in tools]
        if server is None and not names:
            raise ValueError("say which tools have changed: changed(server='github') or changed(tools=['find'])")
        return await self._known.changed("" if server is None else _server(server), names)

    # -- calls --------------------------------------------------------------------------------------------------

    async def call(self, name: ToolName, run: Run, params: Mapping[str, Any]) -> Any:
        """What a tool says; see ``ToolCache.call_tool``."""
        self._machine.enter(())
        server, tool = _told(name)
        verdict = self.verdict(name)
        policy, asked = verdict.policy, partial(run_tool, run, params)
        if verdict.act is Act.CACHE:
            told = (self._known.digest(server, tool), policy.version)
            key = self._key(server, tool, policy.chosen(params), *told)
            return await self._calls.cached(
                key, result_labels(server, tool), policy, asked, self._counted(server, tool)
            )
        writes = bool(server) and self._may_write(server, tool)
        if verdict.act is Act.ONCE:
            return await self._once(server, tool, policy, params, asked, writes=writes)
        return await (self._write(server, asked) if writes else asked())

    async def _once(
        self, server: str, tool: str, policy: ToolPolicy, params: Mapping[str, Any], asked: Asked, *, writes: bool
    ) -> Any:
        who = ""
        if policy is AGAIN:
            definition = self._known.digest(server, tool)
            who = self._key(server, tool, params, definition)
            request = self._key(server, tool, params, definition, await self._turn(server, who)), ""
            retention = self._machine.lifetime(MISSING, self._row)
        else:
            others = policy.others(params)
            request = self._key(server, tool, policy.chosen(params)), str(digest(others)) if others else ""
            retention = self._machine.lifetime(policy.ttl, self._answers)
        run = partial(self._write, server, asked, who) if writes else asked
        row = self._counted(server, tool)
        return await self._calls.once(request, policy, None if retention == inf else retention, run, row)

    def _may_write(self, server: str, tool: str) -> bool:
        """Whether a call may change what is kept of the server's tools."""
        known = self._known.find(server, tool)
        if known is not None and known.trusted and decide(None, known.hints, trusted=True).act is Act.CACHE:
            return False
        return self._known.heeds(server) or server in self._spoken_of

    async def _write(self, server: str, asked: Asked, who: str = "") -> Any:
        """Run what may change what other tools of the server would say."""
        if not who:
            await self._turn(server, who)
        try:
            return await asked()
        finally:  # it may have done so whatever has become of it
            await self._machine.homes.here().see_through(self._written(server, who))

    async def _written(self, server: str, who: str) -> None:
        if self._known.heeds(server) and (await self._last_turn(server))[0] != who:
            await self._turn(server, "")  # another's turn came meanwhile: which of the two was done last, nobody knows
        with contextlib.suppress(CacheWriteError, CacheClosedError):  # told by an event, and the tool was run
            await self._known.written(server)

    async def _turn(self, server: str, who: str) -> int:
        """The number of this turn: it goes up whenever another of the server's tools writes than the last.

        What changes nothing when it is done again does, once something else was done in between: so only calls of one
        turn are one.
        """
        if not self._known.heeds(server):
            return 0
        last, number, noted = await self._last_turn(server)
        if last != who:
            # Above any that there was, though nobody may remember: notes are forgotten with all else that is kept of tools.
            number = max(number + 1, int(self._machine.parts.clock.time() * 1e6))
        if last != who or not noted:
            self._turns[server] = [who, number]
            await self._notes.write("turn", server, [who, number])
        return number

    async def _last_turn(self, server: str) -> tuple[str | None, int, bool]:
        """Whose turn it was last, here or elsewhere, None where nobody knows; its number; whether there is a note."""
        told = await self._notes.read("turn", server)
        turns: list[Any] = [turn for turn in (told, self._turns.get(server)) if _is_turn(turn)]
        who, number = max(turns, key=lambda turn: turn[1], default=(None, 0))
        return who, number, _is_turn(told)

    def _counted(self, server: str, tool: str) -> Domain[Any]:
        """The domain's row, whose calls are counted for the tool."""
        return self._cache._apart(TOOL, tool=f"{server}/{tool}" if server else tool)  # noqa: SLF001 - of one house

    def _key(self, server: str, tool: str, params: Mapping[str, Any], *told: Any) -> str:
        """The key of a call."""
        try:
            return self._keys.tool(server, tool, params, *told)
        except UnsupportedKeyError as error:
            raise UnsupportedKeyError(
                f"{error}; or name the parameters of the tool that decide, with key_params=[...] of its policy"
            ) from None


def _is_turn(note: Any) -> bool:
    """Whether a note from a store says whose turn it is, and which."""
    return isinstance(note, list) and len(note) == 2 and type(note[1]) is int  # noqa: PLR2004 - who, and the number


def _told(name: ToolName) -> tuple[str, str]:
    """A tool's server and name."""
    server, tool = name if isinstance(name, tuple) and len(name) == 2 else ("-", name)  # noqa: PLR2004 - as it says
    if not (isinstance(server, str) and isinstance(tool, str) and server and tool):
        raise TypeError("a tool is told by its name, or by its server's and its own: 'find' or ('files', 'find')")
    return (server, tool) if isinstance(name, tuple) else ("", tool)


def _name(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError("tools is a list of names, each a text: changed(server='files', tools=['find'])")
    return name


def _server(name: str | None) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError("server is a name of your own for the server, such as 'github'")
    return name
