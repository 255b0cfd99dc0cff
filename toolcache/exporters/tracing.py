"""Spans of what a cache does beyond its memory, by wrapping the parts of one cache: no other has a branch for it.

    get_or_set    a call that memory did not answer
      lookup      Redis and files are asked
      compute     the value is computed; who waits for it has a link to this span, which is in the trace of who came first
      write       Redis and files are told, also after the call
    dispatch      a request that runs once
      run         the run, if it is run here

Attributes name the namespace, the domain, the layer, the result and how many keys: never a key or a value, and of an error
its class alone.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, Tracer

from toolcache.compute import Compute, Context
from toolcache.course import Course, Settled
from toolcache.crowd import ComputeMany
from toolcache.domains import GENERAL, Domain
from toolcache.drafts import Draft, Outcome
from toolcache.found import Found
from toolcache.tags import domain_of

if TYPE_CHECKING:
    from toolcache.cache import Cache

_NAMESPACE: Final = "toolcache.namespace"
_DOMAIN: Final = "toolcache.domain"
_LAYER: Final = "toolcache.layer"
_RESULT: Final = "toolcache.result"
_KEYS: Final = "toolcache.keys"


class _Journey:
    """What those further in know of a call.

    Attributes:
        computed: whether it has come to a computation.
    """

    __slots__ = ("computed",)

    def __init__(self) -> None:
        self.computed = False


_journey: ContextVar[_Journey | None] = ContextVar("toolcache_journey", default=None)


class Tracing:
    """Makes spans of one cache, until it is ended.

    Args:
        cache: the cache, all of whose views are included.
        tracer: begins spans.
        durations: is told how long calls took that memory did not answer.
    """

    def __init__(self, cache: "Cache", tracer: Tracer, durations: Histogram) -> None:
        parts, machine = cache._parts, cache._machine  # noqa: SLF001 - of one house
        self._tracer = tracer
        self._durations = durations
        self._namespace = parts.namespace
        self._far = parts.redis is not None or parts.files is not None
        self._now = parts.clock.monotonic
        self._homes = machine.homes
        self._runs = machine.runs
        self._name = machine.ledger.name
        self._computing: WeakKeyDictionary[Any, SpanContext] = WeakKeyDictionary()
        self._replaced: list[tuple[Any, str]] = []
        filler, reader, writer = machine._filler, machine._reader, machine._writer  # noqa: SLF001 - of one house
        self._replace(filler, "fill", self._fill)
        self._replace(filler, "fill_many", self._fill_many)
        self._replace(filler, "_run", self._compute)
        self._replace(reader, "fetch", self._fetch)
        self._replace(reader, "glance", self._glance)
        self._replace(writer, "write", self._write)
        self._replace(machine.runs, "once", self._once)
        self._replace(machine.runs, "_run", self._run)

    def end(self) -> None:
        """Have the parts be as they were."""
        for part, name in self._replaced:
            vars(part).pop(name, None)
        self._replaced.clear()

    def _replace(self, part: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        vars(part)[name] = wrap(getattr(part, name))
        self._replaced.append((part, name))

    # -- calls that look for a value ----------------------------------------------------------------------------

    def _fill(self, original: Any) -> Any:
        async def fill(key: str, compute: Compute, domain: Domain, context: Context, **how: Any) -> Any:
            flight = self._homes.here().flights.find(key)
            if flight is not None and (flight.refreshes if not how.get("anew") else not flight.anew):
                flight = None  # it is not waited for
            begun = self._now()
            with self._span("get_or_set", domain) as span, _travelling() as journey:
                value = await original(key, compute, domain, context, **how)
                result = "waited" if flight is not None else "computed" if journey.computed else "hit"
                span.set_attribute(_RESULT, result)
                if flight is not None:
                    self._link(span, flight.task)
            self._record(begun, domain, result)
            return value

        return fill

    def _fill_many(self, original: Any) -> Any:
        async def fill_many(
            keys: Sequence[str], compute: ComputeMany, domain: Domain, context: Context, **how: Any
        ) -> Any:
            async def computing(missing: list[str]) -> Any:
                with self._span("compute", domain, len(missing)):
                    self._begins()
                    made = compute(missing)
                    return await made if inspect.isawaitable(made) else made

            find, begun = self._homes.here().flights.find, self._now()
            awaited = {flight.task: None for key in keys if (flight := find(key)) is not None}
            with self._span("get_or_set", domain, len(keys)) as span, _travelling() as journey:
                values = await original(keys, computing, domain, context, **how)
                result = "computed" if journey.computed else "waited" if awaited else "hit"
                span.set_attribute(_RESULT, result)
                for task in awaited:
                    self._link(span, task)
            self._record(begun, domain, result)
            return values

        return fill_many

    def _compute(self, original: Any) -> Any:
        async def run(compute: Compute, context: Context, domain: Domain) -> Any:
            with self._span("compute", domain) as span:
                self._begins()
                try:
                    return await original(compute, context, domain)
                finally:
                    if context.cost_usd is not None:
                        span.set_attribute("toolcache.cost_usd", context.cost_usd)
                    if context.tokens is not None:
                        span.set_attribute("toolcache.tokens", context.tokens)

        return run

    def _begins(self) -> None:
        """A computation begins, in the task of its flight: whoever waits for that may find it."""
        from opentelemetry.trace import get_current_span

        task, journey = asyncio.current_task(), _journey.get()
        if task is not None:
            self._computing[task] = get_current_span().get_span_context()
        if journey is not None:
            journey.computed = True

    def _fetch(self, original: Any) -> Any:
        async def fetch(keys: Sequence[str], domain: Domain, *rest: Any) -> dict[str, Found]:
            begun = self._now()
            if not self._far:
                found: dict[str, Found] = await original(keys, domain, *rest)
            else:
                with self._span("lookup", domain, len(keys)) as span:
                    found = await original(keys, domain, *rest)
                    _tell(span, found)
            if _journey.get() is None:
                hit = any(one.held is not None for one in found.values())
                self._record(begun, domain, "hit" if hit else "miss")
            return found

        return fetch

    def _glance(self, original: Any) -> Any:
        """What the log has at once needs no task and hardly any time: a span is made of it only where it had the answer."""

        def glance(key: str, domain: Domain, *rest: Any) -> Found | None:
            begun = self._now()
            found: Found | None = original(key, domain, *rest)
            if found is not None:
                with self._span("lookup", domain, 1) as span:
                    _tell(span, {key: found})
                if _journey.get() is None:
                    self._record(begun, domain, "hit" if found.held is not None else "miss")
            return found

        return glance

    # -- writes and requests that run once ----------------------------------------------------------------------

    def _write(self, original: Any) -> Any:
        async def written(going: Coroutine[Any, Any, list[Outcome]], drafts: Sequence[Draft]) -> list[Outcome]:
            kept = [draft for draft in drafts if draft.encoded is not None]
            domain = (domain_of(kept[0].tags) or GENERAL.name) if kept else ""
            with self._span("write", domain, len(drafts)) as span:
                outcomes = await going
                if outcomes:
                    span.set_attribute(_LAYER, min(outcomes, key=lambda one: one.durability).layer)
                return outcomes

        def write(drafts: Sequence[Draft], **how: Any) -> Coroutine[Any, Any, list[Outcome]]:
            return written(original(drafts, **how), drafts)

        return write

    def _once(self, original: Any) -> Any:
        async def once(key: str, *rest: Any, **how: Any) -> Settled:
            course = self._runs._course(self._name(key))  # noqa: SLF001 - of one house
            with self._span("dispatch") as span:
                settled: Settled = await original(key, *rest, **how)
                if course is not None:
                    self._link(span, course)
                waited = "waited" if course is not None else "executed"
                span.set_attribute(_RESULT, "replayed" if settled.replayed else waited)
                if settled.error is not None:
                    _fail(span, settled.error)
            return settled

        return once

    def _run(self, original: Any) -> Any:
        async def run(course: Course, *rest: Any) -> Settled:
            with self._span("run") as span:
                self._computing[course] = span.get_span_context()
                settled: Settled = await original(course, *rest)
                if settled.error is not None:
                    _fail(span, settled.error)
            return settled

        return run

    # -- words --------------------------------------------------------------------------------------------------

    @contextmanager
    def _span(self, name: str, domain: Domain | str = "", keys: int | None = None) -> Iterator[Span]:
        attributes: dict[str, str | int] = {_NAMESPACE: self._namespace}
        if domain:
            attributes[_DOMAIN] = domain if isinstance(domain, str) else domain.name
        if keys is not None:
            attributes[_KEYS] = keys
        begun = self._tracer.start_as_current_span(
            f"toolcache.{name}", attributes=attributes, record_exception=False, set_status_on_exception=False
        )
        with begun as span:
            try:
                yield span
            except asyncio.CancelledError:
                span.set_attribute(_RESULT, "cancelled")
                raise
            except Exception as error:
                _fail(span, error)
                raise

    def _link(self, span: Span, awaited: Any) -> None:
        """What was waited for may have come to no computation, but found the value."""
        if (context := self._computing.get(awaited)) is not None:
            span.add_link(context)

    def _record(self, begun: float, domain: Domain, result: str) -> None:
        at = {"namespace": self._namespace, "domain": domain.name, "result": result}
        self._durations.record(self._now() - begun, at)


@contextmanager
def _travelling() -> Iterator[_Journey]:
    token = _journey.set(journey := _Journey())
    try:
        yield journey
    finally:
        _journey.reset(token)


def _tell(span: Span, found: dict[str, Found]) -> None:
    """What was found, and where."""
    helds = [one.held for one in found.values() if one.held is not None]
    whole = "hit" if len(helds) == len(found) else "partial"
    span.set_attribute(_RESULT, whole if helds else "miss")
    layers = {held.layer for held in helds}
    if len(layers) == 1:
        span.set_attribute(_LAYER, layers.pop())


def _fail(span: Span, error: Exception) -> None:
    """The class alone: its text may hold what was computed."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__qualname__)
