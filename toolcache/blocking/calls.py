"""Calls from threads, and the computations that are done in them.

Who waits for a value has a thread that does nothing meanwhile: it computes there. What is bound to a thread, such as a
connection of sqlite3 or a session of an ORM, so works in a computation as it does around it; no pool can be used up by
computations that wait for others; and the event loop is free. What nobody waits for any more, or not for long, is done
in a thread of its own.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from toolcache.compute import Compute, Context, takes_context
from toolcache.errors import CacheClosedError, FlightAbortedError
from toolcache.work import RunContext, Work

T = TypeVar("T")


class Start(Protocol):
    """Has a coroutine run on a loop."""

    def __call__(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> "Future[T]":
        """What becomes of it."""
        ...


class _Order:
    """A computation that the loop wants done in a thread; it sees the variables of the context that ordered it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._context = copy_context()
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Any] = self._loop.create_future()

    def fill(self) -> None:
        """Do the work, in this thread."""
        try:
            value = self._context.run(self._work)
        except StopIteration as error:  # which no future takes
            stopped = RuntimeError("the computation raised StopIteration")
            stopped.__cause__ = error
            self._tell(self.done.set_exception, stopped)
        except Exception as error:  # noqa: BLE001 - it is raised at whoever waits for the value
            self._tell(self.done.set_exception, error)
        except BaseException:
            self._tell(self.done.set_exception, FlightAbortedError())
            raise
        else:
            self._tell(self.done.set_result, value)

    def fill_aside(self) -> None:
        """Do the work in a thread of its own, which ends with the process."""
        threading.Thread(target=self.fill, name="toolcache-compute", daemon=True).start()

    def _tell(self, tell: Callable[[Any], None], outcome: Any) -> None:
        def told() -> None:
            if not self.done.done():  # nobody has cancelled it
                tell(outcome)

        with suppress(RuntimeError):  # the loop has ended, and with it all who waited
            self._loop.call_soon_threadsafe(told)


class Call:
    """One call from a thread, which waits for what the loop makes of it and computes meanwhile what the loop orders."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._left = self._answered = False
        self._abrupt: BaseException | None = None

    def wait(self, ask: Callable[[], Coroutine[Any, Any, T]], start: Start) -> T:
        """What comes of a call.

        Args:
            ask: makes what is to be awaited.
            start: has it run, on a loop.

        Raises:
            CacheClosedError: the cache was closed meanwhile.
            BaseException: whatever the call raises, or interrupts this thread; the call is given up then.
        """

        async def asked() -> T:
            try:
                return await ask()
            finally:
                self._answered = True

        future: Future[T] | None = None
        try:
            future = start(asked)
            future.add_done_callback(lambda _: self._orders.put(None))
            while (order := self._orders.get()) is not None:
                order.fill()
        finally:
            self._leave()
            if future is not None:
                future.cancel()  # nothing to one that is done
        if future.cancelled():
            raise CacheClosedError("the cache was closed while this call waited: it may or may not have been done")
        try:
            return future.result()
        except FlightAbortedError:
            if self._abrupt is None:
                raise
            raise self._abrupt from None

    def computing(self, compute: Compute) -> Compute:
        """The same computation, for the loop: done in the thread of the call, unless it is a coroutine function."""

        async def made(context: Context) -> Any:
            limited = context.policy.soft_timeout is not None or context.policy.hard_timeout is not None
            return await self._made(compute, context, aside=limited)

        return made

    def working(self, work: Work, *, aside: bool) -> Work:
        """The same for what runs once; ``aside``: in a thread of its own."""

        async def made(context: RunContext) -> Any:
            return await self._made(work, context, aside=aside)

        return made

    def calling(self, function: Callable[..., Any], *, aside: bool = False) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The same for what is called with whatever arguments; ``aside``: when this thread may have gone."""

        async def made(*args: Any, **named: Any) -> Any:
            return await self._done(partial(function, *args, **named), aside=aside)

        return made

    def _made(self, compute: Callable[..., Any], context: object, *, aside: bool) -> Awaitable[Any]:
        return self._done(partial(compute, context) if takes_context(compute) else compute, aside=aside)

    async def _done(self, function: Callable[[], Any], *, aside: bool) -> Any:
        try:
            if inspect.iscoroutinefunction(function):
                return await function()
            made = await self._ordered(function, aside=aside)
            return await made if inspect.isawaitable(made) else made
        except (KeyboardInterrupt, SystemExit) as error:  # they would end the loop, and every other call with it
            self._abrupt = error
            raise FlightAbortedError from error

    async def _ordered(self, work: Callable[[], Any], *, aside: bool) -> Any:
        order = _Order(work)
        with self._lock:
            aside = aside or self._left or self._answered
            if not aside:
                self._orders.put(order)
        if aside:
            order.fill_aside()
        return await order.done

    def _leave(self) -> None:
        """Have others do what this thread was to do, and does not any more."""
        with self._lock:
            self._left = True
        while not self._orders.empty():
            order = self._orders.get()
            if order is not None and not order.done.done():
                order.fill_aside()
