"""Carries alerts to their actions: one at a time to each, in order, and waits for nobody too long."""

import asyncio
import inspect
import socket
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

from toolcache.alerts.alert import Alert
from toolcache.alerts.rule import Action
from toolcache.events import AlertActionFailed
from toolcache.home import Homes
from toolcache.loops import PerLoop
from toolcache.parts import Parts

PATIENCE: Final = 30.0
"""Seconds that an action may take which says nothing of it."""


class Courier:
    """The courier of one cache.

    Args:
        parts: the cache's parts.
        homes: whose tasks carry.

    Attributes:
        sent: how often an action was told of an alert, and took it; ``failed``: did not.
        host: the name of this one.
    """

    def __init__(self, parts: Parts, homes: Homes) -> None:
        self._parts = parts
        self._homes = homes
        self._locks: PerLoop[dict[int, tuple[Action, asyncio.Lock]]] = PerLoop(dict)
        self.sent = self.failed = 0
        self.host = socket.gethostname()

    def carry(self, alert: Alert, actions: Sequence[Action]) -> "asyncio.Task[None]":
        """Begin to tell all of them; the task ends once each has taken it, or has failed to."""
        # In a context of its own: whoever has had the alerts judged has nothing to do with it.
        return Context().run(self._homes.here().own, self._carry(alert, actions))

    async def _carry(self, alert: Alert, actions: Sequence[Action]) -> None:
        await asyncio.gather(*(self._tell(action, alert) for action in actions))

    async def _tell(self, action: Action, alert: Alert) -> None:
        _, lock = self._locks.here().setdefault(id(action), (action, asyncio.Lock()))
        async with lock:
            limit = getattr(action, "patience", PATIENCE)
            try:
                async with asyncio.timeout(limit) as timeout:
                    await _call(action, alert)
            except asyncio.CancelledError:
                me = asyncio.current_task()
                if me is not None and me.cancelling():
                    raise
                self._fail(action, alert, "CancelledError")
            except TimeoutError:
                self._fail(action, alert, f"it took longer than {limit:g} s" if timeout.expired() else "TimeoutError")
            except Exception as fault:  # noqa: BLE001 - an action's fault is its own
                self._fail(action, alert, reason_of(fault))
            else:
                self.sent += 1

    def _fail(self, action: Action, alert: Alert, reason: str) -> None:
        self.failed += 1
        self._parts.announce(AlertActionFailed(alert.name, label_of(action), reason))


async def _call(action: Action, alert: Alert) -> None:
    """A plain function is called in a thread: it may take its time."""
    if inspect.iscoroutinefunction(action) or inspect.iscoroutinefunction(getattr(action, "__call__", None)):  # noqa: B004 - it is called so
        said: Any = action(alert)
    else:
        from anyio import CapacityLimiter, to_thread

        # Of its own: one that never returns is not to take a thread from others.
        limiter = CapacityLimiter(1)
        said = await to_thread.run_sync(partial(action, alert), abandon_on_cancel=True, limiter=limiter)
    if inspect.isawaitable(said):
        await said


def reason_of(fault: Exception) -> str:
    """Why an action failed; of those that are not ours no more than the class, for the text may tell anything."""
    ours = type(fault).__module__.startswith("toolcache.alerts.")
    return str(fault) if ours else type(fault).__name__


def label_of(action: Action) -> str:
    """An action as it may be shown."""
    if type(action).__module__.startswith("toolcache.alerts."):
        return repr(action)
    return str(getattr(action, "__qualname__", type(action).__qualname__))
