"""The methods of ``ToolCache``, for callers that wait.

Written by tests/blocking_face.py.
"""

from typing import Any

from toolcache.blocking.face import Face
from toolcache.tool_cache import ToolCache
from toolcache.tool_calls import Run
from toolcache.tools import ToolName


class BlockingCalls(Face):
    """See ``ToolCache``."""

    _cache: ToolCache

    def call_tool(self, name: ToolName, run: Run, /, **params: Any) -> Any:
        """What a tool says to these parameters: kept, dispatched once or just run, as ``tools.verdict(name)`` tells.

        Your own policy decides, ``cache.tools[name]``; else the hints of its server, if you trust it; else it is run.
        Results that say ``isError``, partial ones and streams go to whoever asked, and are not kept.

        Args:
            name: that of the tool, or that of its server and its own: ``("github", "search")``.
            run: calls the tool: sync or async, given the parameters by their names.
            params: the parameters. Those that decide have a canonical form; see ``Cache.get_or_set`` on keys.

        Raises:
            Exception: whatever ``run`` raises; and what ``once`` raises, where a tool is dispatched once.
            UnsupportedKeyError: a parameter that decides has no canonical form.

        Examples:
            >>> cache.tools["web_search"] = ToolPolicy("exact", ttl="5m", key_params=["query"])
            >>> hits = cache.call_tool("web_search", search, query="asyncio", trace="7f")
        """
        return self._with(run, lambda made: self._cache.call_tool(name, made, **params))
