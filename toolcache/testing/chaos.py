"""A store that fails on command."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from toolcache.protocols import Clock, PutResult, Store, Write

T = TypeVar("T")

Fault = BaseException | Callable[[], BaseException]


class ChaosStore:
    """Wraps a store; every one of its coroutine methods but ``aclose`` fails, waits or hangs as told.

    ``peek``, which may not fail, says nothing while ``get_many`` is to fail, wait or hang. What the wrapped store can do
    beyond ``Store`` this one can do as well. ``calls`` counts by method name, failed calls included.

    Args:
        store: the one that works.

    Examples:
        >>> chaos = ChaosStore(store)
        >>> chaos.fail_with(ConnectionResetError, on=["put_many"], every=2)
        >>> ...
        >>> chaos.heal()
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = store.name
        self.calls: Counter[str] = Counter()
        self._fault: Fault | None = None
        self._faulty: Collection[str] | None = None
        self._every = 1
        self._eligible = 0
        self._applied_first = False
        self._delay = 0.0
        self._clock: Clock | None = None
        self._release: asyncio.Event | None = None
        # One by one rather than by __getattr__, which the check for a capability does not see.
        fields = {}
        for name in dir(store):
            if name.startswith("_") or hasattr(type(self), name) or name in vars(self):
                continue
            if isinstance(inspect.getattr_static(store, name), property) or not callable(getattr(store, name)):
                fields[name] = _read_through(name)
            elif inspect.iscoroutinefunction(found := getattr(store, name)):
                setattr(self, name, self._disturbed(name, found))
            else:
                setattr(self, name, self._shy(found) if name == "peek" else found)
        self.__class__ = type(type(self).__name__, (type(self),), fields)

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "_store":  # not there yet: a copy is being made
            raise AttributeError(attribute)
        return getattr(self._store, attribute)

    def fail_with(
        self, fault: Fault, *, on: Collection[str] | None = None, every: int = 1, applied: bool = False
    ) -> None:
        """Fail from now on.

        Args:
            fault: an exception class or a function that makes one, for a new one each time; or one to raise again.
            on: the methods that fail; all if None.
            every: only each ``every``-th of their calls fails, counted from now.
            applied: the store does its work before the failure, as when a reply is lost.
        """
        self._fault, self._faulty, self._every, self._applied_first = fault, on, every, applied
        self._eligible = 0

    def delay(self, seconds: float, clock: Clock | None = None) -> None:
        """Wait before each call from now on; on ``clock`` if there is one, else for real."""
        self._delay, self._clock = seconds, clock

    def hang(self) -> None:
        """Answer nothing from now on. What hangs goes on when the store heals, as after a paused server."""
        self._release = asyncio.Event()

    def heal(self) -> None:
        """Work again: no fault, no delay; what hangs goes on."""
        self._fault = None
        self._delay = 0.0
        if self._release is not None:
            self._release.set()
            self._release = None

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """As the wrapped store, if it is let."""
        return await self._disturb("get_many", lambda: self._store.get_many(keys))

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """As the wrapped store, if it is let."""
        return await self._disturb("put_many", lambda: self._store.put_many(writes))

    async def aclose(self) -> None:
        """Close the wrapped store; this always works."""
        await self._store.aclose()

    def _shy(self, found: Callable[[Sequence[str]], Any]) -> Callable[[Sequence[str]], Any]:
        def peek(keys: Sequence[str], /) -> Any:
            self.calls["peek"] += 1
            failing = self._fault is not None and (self._faulty is None or "get_many" in self._faulty)
            return None if failing or self._delay or self._release else found(keys)

        return peek

    def _disturbed(self, method: str, found: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def disturbed(*args: Any, **kwargs: Any) -> Any:
            return await self._disturb(method, lambda: found(*args, **kwargs))

        return disturbed

    async def _disturb(self, method: str, work: Callable[[], Awaitable[T]]) -> T:
        self.calls[method] += 1
        fault = self._due(method)
        if self._release is not None:
            await self._release.wait()
        if self._delay:
            await (asyncio.sleep(self._delay) if self._clock is None else self._clock.sleep(self._delay))
        if fault is None:
            return await work()
        if self._applied_first:
            await work()
        raise fault if isinstance(fault, BaseException) else fault()

    def _due(self, method: str) -> Fault | None:
        if self._fault is None or (self._faulty is not None and method not in self._faulty):
            return None
        self._eligible += 1
        return self._fault if self._eligible % self._every == 0 else None


def _read_through(name: str) -> property:
    return property(lambda chaos: getattr(chaos._store, name))  # noqa: SLF001 - becomes a field of the class above
