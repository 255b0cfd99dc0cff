"""What the methods of a blocking cache have in common: how they ask."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn, ParamSpec, TypeVar, cast

from toolcache.blocking.calls import Call
from toolcache.blocking.portal import Portal
from toolcache.compute import Compute
from toolcache.errors import CacheClosedError, FlightAbortedError, UnsupportedEventLoopError
from toolcache.requested import Requested, tried
from toolcache.work import Work

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Asked = Coroutine[Any, Any, T]

_AHEAD: Final = 64
"""Items that an iterator fetches at a time."""


class Face:
    """Asks a cache that lives on the loop of a portal, and waits.

    Args:
        portal: where it lives.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def _call(self, method: Callable[P, Asked[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What a method comes to."""
        self._enter()
        return self._wait(Call(), lambda: method(*args, **kwargs))

    def _hit(self, method: Callable[P, Asked[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same of a getter: what memory answers is answered here."""
        self._enter()
        found = _at_once(method(*args, **kwargs))
        return self._wait(Call(), lambda: method(*args, **kwargs)) if found is None else found[0]

    def _find(self, compute: Compute, ask: Callable[[Compute], Asked[T]]) -> T:
        """The same of one that computes what is missing."""
        self._enter()
        found = _at_once(ask(_no_loop))
        if found is not None:
            return found[0]
        call = Call()
        made = call.computing(compute)
        return self._wait(call, lambda: ask(made))

    def _with(self, function: F, ask: Callable[[F], Asked[T]]) -> T:
        """What one comes to that calls a function, sync or async."""
        self._enter()
        call = Call()
        made = cast("F", call.calling(function))
        return self._wait(call, lambda: ask(made))

    def _run(self, work: Work, ask: Callable[[Work], Asked[T]], *, limited: bool) -> T:
        """What one comes to that runs something; ``limited``: for no longer than it is given."""
        self._enter()
        call = Call()
        made = call.working(work, aside=limited)
        return self._wait(call, lambda: ask(made))

    def _enter(self) -> None:
        """Refuse what no call may bring: a closed cache, the thread of an event loop."""
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises where there is none: too slow for hits
            raise UnsupportedEventLoopError(
                "a BlockingToolCache would stop the event loop of this thread: await a ToolCache here, or call this in "
                "another thread, as with asyncio.to_thread(…)"
            )
        if self._portal.closed:
            raise CacheClosedError

    def _wait(self, call: Call, ask: Callable[[], Asked[T]]) -> T:
        try:
            return call.wait(ask, self._portal.start)
        except FlightAbortedError:
            if self._portal.closing:
                raise CacheClosedError from None
            raise

    def _each(self, begin: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        """What an asynchronous iterator gives."""

        async def begun() -> AsyncIterator[T]:
            return begin()

        return self._items(self._call(begun))

    def _items(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The same, some at a time."""

        async def some() -> list[T]:
            found: list[T] = []
            async for item in items:
                found.append(item)
                if len(found) >= _AHEAD:
                    break
            return found

        try:
            while found := self._call(some):
                yield from found
        finally:
            if (close := getattr(items, "aclose", None)) is not None and not self._portal.closing:
                # Collected in the thread of a loop, which sees to it; or at the very end of the process.
                with suppress(UnsupportedEventLoopError, CacheClosedError):
                    self._call(close)


def _no_loop(*_: object) -> NoReturn:
    """A computation where there is no loop to compute on."""
    raise UnsupportedEventLoopError


def _at_once(asked: Asked[T]) -> tuple[T] | None:
    """What a getter finds without a loop, as it does all hits; None if it needs one.

    Nothing has happened then: a cache looks for the loop before it does anything else about a miss. But that it was asked
    has been counted, and will be once more.
    """
    noted = tried.set([]) if Requested.begun else None
    try:
        asked.send(None)
    except StopIteration as done:
        return (done.value,)
    except UnsupportedEventLoopError:
        for one in (tried.get() or ()) if noted is not None else ():
            one.times -= 1
        return None
    finally:
        if noted is not None:
            tried.reset(noted)
    asked.close()
    return None


def several(given: Iterable[T]) -> Iterable[T]:
    """What may be gone through more than once: a call that has to be asked twice is to find the same."""
    return tuple(given) if isinstance(given, Iterator) else given
