"""What a cache is told and tells: events of the application, and what is to be computed ahead of those who ask."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from toolcache.domain_cache import DomainCache
from toolcache.spelling import count

if TYPE_CHECKING:
    from toolcache.entry import Invalidation
    from toolcache.reactions import Emission, Emitted, Handler, Reactions, ReactionTally
    from toolcache.rules import Rule

H = TypeVar("H", bound=Callable[..., Any])


class Told(DomainCache):
    """A cache that reacts to events, and warms itself."""

    _reactions: "Reactions | None" = None
    _rules: "dict[str, Rule] | None" = None

    # -- events -----------------------------------------------------------------------------------------------------

    def on(self, name: str, *, once: bool = False, max_parallel: int = 8) -> Callable[[H], H]:
        """Have a function called with each event of a name, whichever process of the namespace emits it.

        Handlers run in tasks of the cache, on the event loop that hears of the event. What one raises is counted and told
        (``HandlerFailed``), and touches no other; ``aclose`` waits for those that have begun. Each process gets an event at
        most once, and only while it listens; after a gap its handlers of ``"bus.gap"`` are called.

        Args:
            name: such as ``"data.updated"``; ``*`` stands for any text and ``?`` for one character.
            once: only the next one.
            max_parallel: how many events a handler is at, at a time; 1 has them one after another.

        Raises:
            ValueError: it is no name.

        Examples:
            >>> @cache.on("data.updated")
            ... async def log(event):
            ...     print(event.data_type)
        """
        from toolcache.reactions import pattern

        wanted, parallel = pattern(name), count(max_parallel, "max_parallel")

        def keep(handler: H) -> H:
            self._reacting.add(wanted, handler, once=once, max_parallel=parallel)
            return handler

        return keep

    def off(self, handler: "Handler", name: str | None = None) -> bool:
        """Have a function called no more, by the events of a name or by any; whether it would have been."""
        return self._reacting.remove(handler, name)

    async def emit(self, event: str, /, **payload: Any) -> "Emission":
        """Tell handlers in this process and in the others of the namespace that something has happened.

        First the cache forgets what the event makes wrong; see ``react``. Handlers are not waited for, unless by
        ``await emission.handled()``.

        Args:
            event: its name, such as ``"data.updated"``.
            payload: what is to be known of it: plain data of at most 64 KiB.

        Returns:
            How many handlers here were called, who was told, and what was forgotten.

        Raises:
            ValueError: it is no name, or the payload does not say what ``react`` needs to know.
            SerializationError: the payload is no plain data, or too large.
            CacheWriteError: what is wrong now could not be forgotten for certain; handlers were told all the same.
        """
        from toolcache.reactions import emitted_name

        name = emitted_name(event)
        self._machine.enter(())
        return await self._reacting.emit(name, payload)

    def react(
        self,
        event: str,
        /,
        *,
        tags: Iterable[str] = (),
        agent: str | None = None,
        tool: str | None = None,
        catalog_version: str | None = None,
        domain: str | None = None,
    ) -> None:
        """Say what the cache forgets by itself when this process emits an event; nothing, if nothing is given.

        In each text ``{field}`` stands for that field of the event. Unless told otherwise, ``agent.updated`` and
        ``memory.updated`` forget what belongs to the ``agent``, ``tool.updated`` to the ``tool``, ``catalog.updated`` to the
        catalog's ``version``, and ``data.updated`` what carries the tag ``data_type``.

        Args:
            event: its name.
            tags: what carries one of them, or one beneath it.
            agent: what belongs to that agent.
            tool: the results of that tool.
            catalog_version: what belongs to that version of a catalog.
            domain: everything of a domain.

        Examples:
            >>> cache.react("price.changed", tags=["prices:{sku}"])
            >>> cache.react("data.updated")  # leaves it to handlers
        """
        from toolcache.reactions import emitted_name
        from toolcache.rules import RULES, Rule

        rule = Rule(tuple(tags), agent, tool, catalog_version, domain)
        self._rules = {**(self._rules or RULES), emitted_name(event): rule}

    @property
    def reactions(self) -> "ReactionTally":
        """How many events were emitted and heard, and what became of them."""
        return self._reacting.tally

    @property
    def _reacting(self) -> "Reactions":
        if self._reactions is None:
            from toolcache.reactions import Reactions

            made = Reactions(self._parts, self._machine.homes, self._machine.messages, self._undo)
            self._reactions = vars(self).setdefault("_reactions", made)  # another thread may have been first
        return self._reactions

    async def _undo(self, event: "Emitted") -> "Invalidation | None":
        from toolcache.rules import RULES

        rule = (self._rules or RULES).get(event.name)
        labels = [] if rule is None else rule.labels(event.name, event.payload)
        return await self._machine.forget("event", labels) if labels else None
