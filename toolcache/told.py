"""What a cache is told and tells: events of the application, and what is to be computed ahead of those who ask."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from toolcache.domain_cache import DomainCache
from toolcache.durations import Duration
from toolcache.spelling import count

if TYPE_CHECKING:
    from toolcache.dispatch.results import Progress
    from toolcache.reactions import Emission, Handler, Reactions, ReactionTally
    from toolcache.requested import Requested
    from toolcache.schedule import Scheduled
    from toolcache.warm_plan import WarmPlan
    from toolcache.warming import WarmReport

H = TypeVar("H", bound=Callable[..., Any])


class Told(DomainCache):
    """A cache that reacts to events, and warms itself."""

    _requested: "Requested | None" = None

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
        from toolcache.consequences import Rule
        from toolcache.reactions import emitted_name
        from toolcache.tags import labels
        from toolcache.targets import target

        rule = Rule(labels(tags), agent, memory, tool, catalog_version, domain)
        rule.check()
        if domain is not None and "{" not in domain:
            target({"domain": domain}, [domain])  # raises for one that cannot be; it may yet be declared
        self._reacting.rules[emitted_name(event)] = rule

    @property
    def reactions(self) -> "ReactionTally":
        """How many events were emitted and heard, and what became of them."""
        return self._reacting.tally

    @cached_property
    def _reacting(self) -> "Reactions":
        from toolcache.reactions import Reactions

        machine = self._machine
        return Reactions(self._parts, machine.homes, machine.messages, machine.forget)

    # -- ahead of those who ask ---------------------------------------------------------------------------------------

    async def warm(self, plan: "WarmPlan", *, on_progress: "Callable[[Progress], None] | None" = None) -> "WarmReport":
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
        from toolcache.warming import warm

        self._machine.enter(())
        return await warm(self, plan, on_progress)

    def schedule(
        self,
        job: "WarmPlan | Callable[[], Any]",
        *,
        every: Duration | None = None,
        cron: str | None = None,
        at_start: bool = False,
        jitter: Duration | None = None,
        timezone: str | None = None,
        name: str | None = None,
    ) -> "Scheduled":
        """Have a plan, or any function, run again and again, until the cache is closed.

        Of the processes that share the namespace, one runs at each time; a run that takes longer than the interval lets the
        times go by that it misses, and is followed by one. What fails is told by ``ScheduleFailed``, and runs again when
        it is due.

        Args:
            job: a plan to warm by, or a function, sync or async, without an argument.
            every: from one time to the next, counted from midnight UTC on 1970-01-01: ``"1h"`` is on the hour.
            cron: five fields: minute, hour, day of the month, month, day of the week; needs the ``schedule`` extra.
            at_start: whether it runs now as well, in each process.
            jitter: each run begins up to so much later, at random.
            timezone: in which the fields of ``cron`` are meant, such as ``"Europe/Berlin"``; UTC unless given.
            name: by which the processes know it as the same; the plan's or function's, and when it runs, unless given.

        Returns:
            A handle: ``cancel()``, ``next_at``, ``last``.

        Raises:
            ValueError: neither or both of ``every`` and ``cron``, one that cannot be, or another schedule has the name.
            ModuleNotFoundError: ``cron`` without the extra.
            UnsupportedEventLoopError: no asyncio loop is running.
        """
        from toolcache.schedule import Scheduled, times

        self._machine.enter(())
        scheduled = Scheduled(self, job, times(every, cron, timezone), at_start=at_start, jitter=jitter, name=name)
        scheduled.start()
        return scheduled

    @property
    def requested(self) -> "Requested":
        """What this process is asked for most often, counted from when this is first touched, for ``WarmPlan(top=...)``."""
        if self._requested is None:
            from toolcache.requested import count_requests

            self._requested = count_requests(self)
        return self._requested
