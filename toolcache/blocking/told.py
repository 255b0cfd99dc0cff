"""What a blocking cache is told and tells: handlers and jobs, which are plain functions here too."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from toolcache.blocking.calls import Call
from toolcache.blocking.face import Face
from toolcache.blocking.portal import Portal
from toolcache.blocking.told_methods import BlockingTold as ToldMethods
from toolcache.durations import Duration

if TYPE_CHECKING:
    from toolcache.reactions import Emission, Handler, ReactionTally
    from toolcache.schedule import Scheduled
    from toolcache.warm_plan import WarmPlan

H = TypeVar("H", bound=Callable[..., Any])


class BlockingEmission(Face):
    """What became of an event that was emitted; see ``Emission``, whose attributes it has.

    Args:
        emission: what a cache has said of it.
        portal: where that lives.
    """

    def __init__(self, emission: "Emission", portal: Portal) -> None:
        super().__init__(portal)
        self._emission = emission
        self.event = emission.event
        self.handlers = emission.handlers
        self.redis = emission.redis
        self.files = emission.files
        self.forgotten = emission.forgotten

    def handled(self) -> None:
        """Wait until the handlers in this process are done with it."""
        self._call(self._emission.handled)

    def __repr__(self) -> str:
        return repr(self._emission)


class BlockingTold(ToldMethods):
    """See ``Told``. Handlers and jobs run in threads of their own, coroutine functions on the loop of the cache."""

    def on(self, name: str, *, once: bool = False, max_parallel: int = 8) -> Callable[[H], H]:
        """Have a function called with each event of a name; see ``ToolCache.on``."""

        def keep(handler: H) -> H:
            called = self._handlers.setdefault(handler, _aside(handler))

            async def begin() -> None:
                self._cache.on(name, once=once, max_parallel=max_parallel)(called)

            self._call(begin)
            return handler

        return keep

    def emit(self, event: str, /, **payload: Any) -> BlockingEmission:
        """Tell handlers in this process and in the others that something has happened; see ``ToolCache.emit``."""
        return BlockingEmission(self._call(self._cache.emit, event, **payload), self._portal)

    def off(self, handler: "Handler", name: str | None = None) -> bool:
        """Have a function called no more, by the events of a name or by any; whether it would have been."""
        called = self._handlers.get(handler)
        return called is not None and self._cache.off(called, name)

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
        """Have a plan, or any function, run again and again, until the cache is closed; see ``ToolCache.schedule``."""
        run = _aside(job) if callable(job) else job

        async def begin() -> "Scheduled":
            return self._cache.schedule(
                run, every=every, cron=cron, at_start=at_start, jitter=jitter, timezone=timezone, name=name
            )

        return self._call(begin)

    @property
    def reactions(self) -> "ReactionTally":
        """How many events were emitted and heard, and what became of them."""
        return self._cache.reactions

    @property
    def _handlers(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        handlers: dict[Callable[..., Any], Callable[..., Any]] = vars(self).setdefault("_called", {})
        return handlers


def _aside(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, for the loop: a coroutine function of the same name, which runs plain ones in a thread of their own."""
    made = Call().calling(function, aside=True)
    made.__qualname__ = getattr(function, "__qualname__", type(function).__qualname__)
    return made
