"""The methods of ``Told``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Callable, Iterable

from toolcache.blocking.face import Face
from toolcache.dispatch.results import Progress
from toolcache.tool_cache import ToolCache
from toolcache.warm_plan import WarmPlan
from toolcache.warming import WarmReport


class BlockingTold(Face):
    """See ``Told``."""

    _cache: ToolCache

    def react(
        self,
        event: str,
        /,
        *,
        tags: Iterable[str] = (),
        agent: str | None = None,
        memory: str | None = None,
        tool: str | None = None,
        catalog_version: str | None = None,
        domain: str | None = None,
    ) -> None:
        """Say what the cache forgets by itself when this process emits an event; nothing, if nothing is given.

        In each text ``{field}`` stands for that field of the event. Unless told otherwise, ``agent.updated`` forgets what
        belongs to the ``agent``, ``memory.updated`` what the ``agent`` remembers, ``tool.updated`` what belongs to the ``tool``,
        ``catalog.updated`` to the catalog's ``version``, and ``data.updated`` what carries the tag ``data_type``.

        Args:
            event: its name.
            tags: what carries one of them, or one beneath it.
            agent: what belongs to that agent.
            memory: what that agent remembers.
            tool: the results of that tool.
            catalog_version: what belongs to that version of a catalog.
            domain: everything of a domain.

        Raises:
            ValueError: the event, a tag or the domain cannot be.
            TypeError: a name is no text.

        Examples:
            >>> cache.react("price.changed", tags=["prices:{sku}"])
            >>> cache.react("data.updated")  # leaves it to handlers
        """
        return self._cache.react(
            event, tags=tags, agent=agent, memory=memory, tool=tool, catalog_version=catalog_version, domain=domain
        )

    def warm(self, plan: WarmPlan, *, on_progress: Callable[[Progress], None] | None = None) -> WarmReport:
        """Have what a plan names be in the cache; what is there already is left as it is.

        Each item is computed as if somebody asked for it, so whoever does so meanwhile, here or in another process, waits for
        the same computation. What fails touches no other item. Cancelled, it leaves nothing running.

        Args:
            plan: what is to be there, and what that may cost.
            on_progress: told whenever an item is begun or done; must not block. Its faults are counted, not feared.

        Returns:
            How many items were there, were computed, or failed and why; ``print`` shows it as a table.

        Raises:
            OSError: the plan's file cannot be read.
            ValueError: the plan has a ``max_cost_usd``, and nobody knows what a computation costs.
            CacheClosedError: the cache is closed.
        """
        return self._call(self._cache.warm, plan, on_progress=on_progress)
