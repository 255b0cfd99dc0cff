"""Deadlines: many at once, for one timer.

``asyncio.timeout`` sets a timer for each operation, and takes it back when the operation is over: of all that guarding a
healthy store costs, that is the most. Here the deadlines of a loop share the timer of the earliest; it is left running
when that one is over, and looks then which comes next.
"""

import asyncio
import math
from contextvars import Context
from types import TracebackType
from typing import Self

from toolcache.loops import PerLoop


class _Watch:
    """The deadlines of one loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: dict[Deadline, None] = {}
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.now = self._loop.time
        self.done = self._open.__delitem__

    def begin(self, deadline: "Deadline") -> None:
        self._open[deadline] = None
        if deadline.due < self._at:
            self._set(deadline.due)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = None if at == math.inf else self._loop.call_at(at, self._look, context=Context())

    def _look(self) -> None:
        now = self.now()
        for deadline in self._open:
            if deadline.due <= now:
                deadline.expire()
        self._set(min((deadline.due for deadline in self._open if not deadline.expired), default=math.inf))


_watches: PerLoop[_Watch] = PerLoop(_Watch)


class Deadline:
    """``asyncio.timeout`` for what is short and frequent: the body is cancelled when time is up, and TimeoutError raised.

    Args:
        seconds: that the body has, from now on.

    Attributes:
        expired: whether time was up before the body was done.

    Examples:
        >>> with Deadline(0.5):
        ...     answer = await ask()
    """

    __slots__ = ("_cancelling", "_task", "_watch", "due", "expired")

    def __init__(self, seconds: float) -> None:
        self._watch = _watches.here()
        self.due = self._watch.now() + seconds
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for what runs in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._watch.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.done(self)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Time is up."""
        if not self.expired:
            self.expired = True
            self._task.cancel()
