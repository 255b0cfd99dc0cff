"""A session with a server of the Model Context Protocol, by way of a cache.

Nothing of the ``mcp`` package is imported: any session does that has its methods, and what they return becomes plain data.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from toolcache.tool_cache import ToolCache
from toolcache.tool_definitions import part

LIST_CHANGED: Final = "notifications/tools/list_changed"
"""The notice of a server that its tools are others now."""

_MOST_PAGES: Final = 1_000
_MOST_LISTS: Final = 5
"""Times that a list is asked for, if the server says each time meanwhile that it has changed."""


class Session(Protocol):
    """What is asked of a session: that of the ``mcp`` package has it, and so have others."""

    @property
    def list_tools(self) -> Callable[..., Any]:
        """Awaited for a page of definitions: ``tools``, and ``nextCursor``, which is passed as ``cursor`` for the next one."""

    @property
    def call_tool(self) -> Callable[..., Any]:
        """Awaited with a name and arguments for what a tool says."""


class CachedSession:
    """A session that lists tools and calls them by way of a cache, as your policies and the server's hints say.

    Args:
        session: with the server, ready for use.
        cache: where definitions and results are kept. ``cache.tools["name of the server", "tool"]`` are your policies.
        server: a name of your own for the server. Whoever is told other things by it has another name for it, or a cache with
            another ``tenant``.
        trusted: whether its hints count; see ``Tools.learn``.
        load: makes a result of its data, such as ``CallToolResult.model_validate``; results are plain data unless given.

    Examples:
        >>> notes = CachedSession(session, cache, server="notes", trusted=True)
        >>> tools = await notes.list_tools()
        >>> found = await notes.call_tool("find", {"text": "milk"})
    """

    def __init__(
        self,
        session: Session,
        cache: ToolCache,
        *,
        server: str,
        trusted: bool = False,
        load: Callable[[Any], Any] | None = None,
    ) -> None:
        self._session = session
        self._cache = cache
        self._server = server
        self._trusted = trusted
        self._load = load
        self._learned: list[Any] | None = None
        self._heard = 0

    async def list_tools(self) -> list[dict[str, Any]]:
        """The definitions of all the server's tools, whatever pages they come in; kept as its catalog, and learned.

        Raises:
            Exception: whatever the session raises; nothing is kept then.
            ValueError: the list has no end.
        """
        for _ in range(_MOST_LISTS):
            heard, catalog = self._heard, await self._list_and_learn()
            if heard == self._heard:
                break
            self._learned = None
            await self._cache.tools.changed(server=self._server)  # what was listed before the notice is not believed
        return catalog

    async def _list_and_learn(self) -> list[dict[str, Any]]:
        catalog: list[dict[str, Any]] = await self._cache.get_catalog(self._server, compute=self._list)
        if catalog != self._learned:
            learned = await self._cache.tools.learn(catalog, server=self._server, trusted=self._trusted)
            if (
                learned.added or learned.changed or learned.removed
            ):  # the list was forgotten, too, and this is the new one
                await self._cache.set_catalog(self._server, catalog)
            self._learned = catalog
        return catalog

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """What a tool says: kept, dispatched once or just run.

        Args:
            name: of the tool.
            arguments: for it.
            options: for the session, such as ``progress_callback``; what is kept does not depend on them.

        Raises:
            Exception: what ``ToolCache.call_tool`` raises.
        """
        if self._learned is None:
            with contextlib.suppress(Exception):  # then nothing is known of the tool, which is run all the same
                await self.list_tools()

        async def run(**given: Any) -> Any:
            return _data(await self._session.call_tool(name, given, **options))

        result = await self._cache.tools.call((self._server, name), run, dict(arguments or {}))
        return result if self._load is None else self._load(result)

    async def hear(self, message: object) -> bool:
        """Heed a message of the server, if it says that its tools have changed; whether it did.

        It is what a session's ``message_handler`` gets: a notification, as an object or a dict, or anything else.

        Raises:
            CacheWriteError: see ``Tools.changed``.
        """
        method = part(message, "method") or part(part(message, "root"), "method")
        if method != LIST_CHANGED:
            return False
        self._forget()
        try:
            await self._cache.tools.changed(server=self._server)
        finally:  # what was learned meanwhile may be of a list that was kept
            self._forget()
        return True

    def _forget(self) -> None:
        self._learned = None
        self._heard += 1

    async def _list(self) -> list[Any]:
        found: list[Any] = []
        page = await self._session.list_tools()
        for _ in range(_MOST_PAGES):
            found += map(_data, page if isinstance(page, list) else part(page, "tools") or ())
            cursor = part(page, "nextCursor", "next_cursor")
            if cursor is None:
                return found
            page = await self._session.list_tools(cursor=cursor)
        raise ValueError(f"the list of tools has no end: more than {_MOST_PAGES:,} pages")


def _data(thing: Any) -> Any:
    """The data of an object of the protocol."""
    dump = getattr(thing, "model_dump", None)
    return dump(mode="json", by_alias=True, exclude_none=True) if callable(dump) else thing
