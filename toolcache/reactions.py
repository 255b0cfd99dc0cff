"""Events of the application: told to handlers in this process and in the others, and what the cache forgets at each.

    emit   forget what the event makes wrong → hand it to the handlers here → tell the other processes, who hand it to theirs

What is forgotten is forgotten once, by the process that emits: epochs reach all others by themselves. A handler's calls
wait in a line of its own and are worked off by tasks of the cache, so none holds up another, and none holds up who emits.
"""

import asyncio
import inspect
import operator
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeAlias

from toolcache.consequences import RULES, Rule
from toolcache.entry import Invalidation
from toolcache.errors import CacheWriteError
from toolcache.events import HandlerFailed
from toolcache.fields import Frozen
from toolcache.forks import watch
from toolcache.home import Homes
from toolcache.loops import PerLoop
from toolcache.messages import NAME, OWN, Message, Messages
from toolcache.parts import Parts

Handler: TypeAlias = Callable[["Emitted"], Any] | Callable[["Emitted"], Awaitable[Any]]
Forget: TypeAlias = Callable[[str, Sequence[str]], Awaitable[Invalidation]]

GAP: Final = "bus.gap"

_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:*?-]{1,128}")
_MOST: Final = 1_000
"""Calls of one handler that wait in one loop; what comes then is dropped, and told."""


class Emitted(Mapping[str, Any]):
    """An event as handlers get it: a mapping of what it says, each field an attribute too.

    Attributes:
        name: the event's, such as ``"data.updated"``.
        payload: what it says; every process has its own copy, the handlers of one share it.
        id: its own alone.
        emitted_at: seconds since the epoch.
        local: whether this process has emitted it.

    Examples:
        >>> event = Emitted("data.updated", {"data_type": "products"})
        >>> event.data_type, event["data_type"]
        ('products', 'products')
    """

    def __init__(
        self,
        name: str,
        payload: dict[str, Any],
        *,
        id: str = "",  # noqa: A002 - it is called so
        emitted_at: float = 0.0,
        local: bool = True,
    ) -> None:
        self.name = name
        self.payload = payload
        self.id = id
        self.emitted_at = emitted_at
        self.local = local

    def __getitem__(self, field: str) -> Any:
        return self.payload[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self.payload)

    def __len__(self) -> int:
        return len(self.payload)

    def __getattr__(self, field: str) -> Any:
        try:
            return vars(self)["payload"][field]
        except KeyError:
            raise AttributeError(f"this event has no {field!r}") from None

    def __repr__(self) -> str:
        return f"<{self.name} {self.id[:8]} with {', '.join(self.payload) or 'nothing'}>"  # no values


class Emission:
    """What became of an event that was emitted.

    Attributes:
        event: as the handlers got it.
        handlers: how many calls of handlers were begun, or wait, in this process.
        redis: "done" or "failed"; None where no Redis is configured.
        files: the same of the files of this host, by which its other processes are told where Redis is not or cannot be.
        forgotten: what the cache forgot by itself; None for nothing.
    """

    def __init__(self, event: Emitted, calls: Sequence["asyncio.Future[None]"]) -> None:
        self.event = event
        self.handlers = len(calls)
        self.redis: str | None = None
        self.files: str | None = None
        self.forgotten: Invalidation | None = None
        self._calls = calls

    async def handled(self) -> None:
        """Wait until the handlers in this process are done with it."""
        if self._calls:
            await asyncio.wait(self._calls)

    def __repr__(self) -> str:
        return f"<Emission of {self.event.name}: {self.handlers} handlers, redis {self.redis}, files {self.files}>"


class ReactionTally(Frozen):
    """How many events were emitted here and heard from others, and what became of them.

    ``handled`` and ``failed`` are calls of handlers, ``dropped`` those that had too many before them; ``rejected`` is what
    came from outside and was no event; ``gaps`` counts the times that events may have been missed.
    """

    emitted: int
    heard: int
    handled: int
    failed: int
    dropped: int
    rejected: int
    gaps: int


class _Line:
    """The calls of one handler in one loop: those that wait, and how many tasks are at them."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Emitted, asyncio.Future[None]]] = deque()
        self.workers = 0


class _Subscription:
    def __init__(self, pattern: str, handler: Handler, *, once: bool, max_parallel: int) -> None:
        self.pattern = pattern
        self.handler = handler
        self.once = once
        self.max_parallel = max_parallel
        self.lines = PerLoop(_Line)
        parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
        self.matches = re.compile("".join(parts)).fullmatch

    @property
    def label(self) -> str:
        """The handler's name; never its arguments."""
        return str(getattr(self.handler, "__qualname__", type(self.handler).__qualname__))


class Reactions:
    """The handlers of one cache, and what it forgets by itself.

    Args:
        parts: the cache's parts.
        homes: whose tasks run the handlers.
        messages: tells other processes, and is told by them.
        forget: has the cache forget what carries one of some labels; it is told what they stand for.

    Attributes:
        rules: what is forgotten at which event.
        schedules: those of the cache, by name.
    """

    def __init__(self, parts: Parts, homes: Homes, messages: Messages, forget: Forget) -> None:
        self.rules: dict[str, Rule] = dict(RULES)
        self.schedules: dict[str, Any] = {}
        self._parts = parts
        self._homes = homes
        self._messages = messages
        self._forget = forget
        self._subscriptions: tuple[_Subscription, ...] = ()
        self._emitted = self._heard = self._handled = self._failed = self._dropped = self._gaps = 0
        self._lock = threading.Lock()
        watch(self)

    def forked(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @property
    def tally(self) -> ReactionTally:
        """What was counted since the cache was made."""
        return ReactionTally(
            emitted=self._emitted,
            heard=self._heard,
            handled=self._handled,
            failed=self._failed,
            dropped=self._dropped,
            rejected=self._messages.rejected,
            gaps=self._gaps,
        )

    def add(self, pattern: str, handler: Handler, *, once: bool, max_parallel: int) -> None:
        """Have a handler called; see ``on`` of the cache."""
        if not callable(handler):
            raise TypeError(f"a handler is a function of an event, not {type(handler).__name__}")
        with self._lock:
            self._subscriptions += (_Subscription(pattern, handler, once=once, max_parallel=max_parallel),)
            self._messages.audience = self

    def remove(self, handler: Handler, pattern: str | None) -> bool:
        """Have it called no more; whether it would have been."""
        return self._drop(lambda one: one.handler == handler and pattern in {None, one.pattern})

    def _drop(self, which: Callable[["_Subscription"], bool]) -> bool:
        """Let go of some; whether any was there."""
        with self._lock:
            before = self._subscriptions
            self._subscriptions = tuple(one for one in before if not which(one))
            if not self._subscriptions:
                self._messages.audience = None
            return len(self._subscriptions) < len(before)

    async def emit(self, name: str, payload: dict[str, Any]) -> Emission:
        """Tell handlers here and elsewhere; see ``emit`` of the cache."""
        rule = self.rules.get(name)
        labels = [] if rule is None else rule.labels(name, payload)
        message, blob = self._messages.pack(name, payload)
        event = Emitted(name, message.payload, id=message.id, emitted_at=message.sent_at)
        fault: CacheWriteError | None = None
        forgotten = None
        try:
            forgotten = await self._forget("event", labels) if labels else None
        except CacheWriteError as error:
            fault = error  # the more reason to tell the others
        self._emitted += 1
        emission = Emission(event, self._hand_out(event))
        emission.forgotten = forgotten
        emission.redis, emission.files = await self._messages.send(message, blob)
        if fault is not None:
            raise fault
        return emission

    # -- an ``Audience`` --------------------------------------------------------------------------------------------

    def hear(self, message: Message) -> None:
        """Another process has emitted this."""
        self._heard += 1
        self._hand_out(Emitted(message.name, message.payload, id=message.id, emitted_at=message.sent_at, local=False))

    def missed(self, layer: str, seconds: float) -> None:
        """What others emitted for so long may not have come here."""
        self._gaps += 1
        self._hand_out(Emitted(GAP, {"layer": layer, "seconds": seconds}, emitted_at=self._parts.clock.time()))

    # -- handlers ---------------------------------------------------------------------------------------------------

    def _hand_out(self, event: Emitted) -> list["asyncio.Future[None]"]:
        """Put an event into the line of each handler that wants it."""
        calls = []
        for one in self._subscriptions:
            if not one.matches(event.name):
                continue
            if one.once and not self._drop(partial(operator.is_, one)):
                continue  # another loop has been first
            line = one.lines.here()
            if len(line.waiting) >= _MOST:
                self._dropped += 1
                self._tell(one, event, f"{_MOST:,} events wait for it already: this one is dropped")
                continue
            call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            line.waiting.append((event, call))
            calls.append(call)
            if line.workers < one.max_parallel:
                line.workers += 1
                # In a context of its own: a handler is no part of the call, or the computation, in which something was emitted.
                task = Context().run(self._homes.here().own, self._work_off(one, line))
                task.add_done_callback(partial(_leave, line))
        return calls

    async def _work_off(self, one: _Subscription, line: _Line) -> None:
        while line.waiting:
            event, call = line.waiting.popleft()
            try:
                await self._call(one, event)
            finally:
                if not call.done():
                    call.set_result(None)

    async def _call(self, one: _Subscription, event: Emitted) -> None:
        try:
            said = one.handler(event)
            if inspect.isawaitable(said):
                await said
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            self._fail(one, event, "CancelledError")
        except Exception as error:  # noqa: BLE001 - a handler's fault is its own
            self._fail(one, event, type(error).__name__)
        else:
            self._handled += 1

    def _fail(self, one: _Subscription, event: Emitted, reason: str) -> None:
        self._failed += 1
        self._tell(one, event, reason)

    def _tell(self, one: _Subscription, event: Emitted, reason: str) -> None:
        self._parts.announce(HandlerFailed(event.name, one.label, reason))


def _leave(line: _Line, task: "asyncio.Task[None]") -> None:
    """One of those who work a line off has ended."""
    line.workers -= 1
    if task.cancelled() and not line.workers:  # the cache is closed, and nobody comes to those any more
        while line.waiting:
            line.waiting.popleft()[1].cancel()


def emitted_name(name: str) -> str:
    """The name of an event that the application emits.

    Raises:
        ValueError: it cannot be one.
    """
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ValueError("an event's name is 1 to 128 letters, digits, '_', '.', ':' or '-', such as 'data.updated'")
    if name.startswith(OWN):
        raise ValueError(f"events that begin with {OWN!r} are the cache's own: choose another name")
    return name


def pattern(name: str) -> str:
    """A name to listen to, in which ``*`` stands for any text and ``?`` for one character.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(name, str) or _PATTERN.fullmatch(name) is None:
        raise ValueError("name an event such as 'data.updated', or many of them such as 'data.*'")
    return name
