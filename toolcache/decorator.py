"""``@cached``: an async function whose results are kept. And what it shares with ``@idempotent``."""

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ClassVar, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, Self, TypeVar, cast, overload

from toolcache.durations import Duration, seconds
from toolcache.entry import MISSING, Missing
from toolcache.keys.calls import KnownCalls
from toolcache.keys.plan import KeyPlan
from toolcache.keys.text import key_text, place_of
from toolcache.tags import labels

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")


class Cache(Protocol):
    """What the decorator asks of a cache."""

    async def get_or_set(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Sequence[str] = (),
    ) -> Any:
        """The value of a key, computed and stored if it is missing."""
        ...

    async def set(
        self, key: str, value: Any, *, ttl: Duration | Missing | None = MISSING, tags: Sequence[str] = ()
    ) -> Any:
        """Store a value."""
        ...

    async def delete(self, key: str) -> bool:
        """Remove a key; whether a value was there."""
        ...


class CacheInfo(NamedTuple):
    """``hits``: calls answered without computing. ``misses``: calls of the function to answer one."""

    hits: int
    misses: int


class _Counts:
    hits = 0
    misses = 0


class Decorated(Generic[_P, _R]):
    """A function with verbs, which take its arguments.

    What is not a method is a plain ``async def`` function with the verbs as attributes, so that frameworks which look
    for one find one.

    Args:
        function: what is decorated.
        plan: how its calls become keys.
    """

    VERBS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, function: Callable[_P, Coroutine[Any, Any, _R]], plan: KeyPlan) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__: Callable[..., Coroutine[Any, Any, _R]] = function
        self._plan = plan
        self._instance: tuple[object, ...] = ()
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The function, as decorated."""
        raise NotImplementedError

    def bound_to(self, instance: object) -> Self:
        """The method of an instance: of the same kind, with the instance before the arguments."""
        bound = object.__new__(type(self))
        vars(bound).update(vars(self))
        bound.__wrapped__ = functools.partial(self.__wrapped__, instance)
        bound._instance = (instance,)
        return bound

    def as_it_was(self) -> Self:
        """The same, as a function if one was decorated."""
        if self._plan.of_method:
            return self

        call = functools.wraps(self.__wrapped__)(self._as_function())
        for verb in self.VERBS:
            setattr(call, verb, getattr(self, verb))
        return cast("Self", call)

    def _as_function(self) -> Callable[_P, Coroutine[Any, Any, _R]]:
        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return await self(*args, **kwargs)

        return call


class CachedFunction(Decorated[_P, _R]):
    """A function whose results are kept: called as before, and with a few verbs for its entries."""

    VERBS = ("cache_key", "refresh", "invalidate", "bypass", "cache_info")

    def __init__(
        self,
        function: Callable[_P, Coroutine[Any, Any, _R]],
        plan: KeyPlan,
        cache: Cache | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__(function, plan)
        self._cache = cache
        self._options = options
        self._counts = _Counts()
        self._known = KnownCalls() if plan.is_steady and not plan.of_method else None

    async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The result: kept, or computed and kept.

        Raises:
            UnsupportedKeyError: an argument that is in the key has no canonical form.
            Exception: whatever the function raises; nothing is kept then.
        """
        return await self._answer(self._store().get_or_set, self.cache_key(*args, **kwargs), args, kwargs)

    def _as_function(self) -> Callable[_P, Coroutine[Any, Any, _R]]:
        known, counts, own = self._known, self._counts, self._cache
        own_hit = getattr(own, "_hit", None)  # of ours alone: what memory answers takes no detour
        if known is None or (own is not None and own_hit is None):
            return super()._as_function()
        find = known.find

        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            cache = self._store() if own is None else own
            hit = own_hit or getattr(cache, "_hit", None)
            if hit is None:
                return await self(*args, **kwargs)
            key = find(args, kwargs)
            if key is None:
                key = place_of(key_text(self.cache_key(*args, **kwargs)))
                known.learn(args, kwargs, key)
            value = hit(key)
            if value is MISSING:
                return await self._answer(getattr(cache, "_fill", cache.get_or_set), key, args, kwargs)
            counts.hits += 1
            return cast("_R", value)

        return call

    async def _answer(
        self, fill: Callable[..., Awaitable[Any]], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _R:
        computed = False

        async def compute() -> _R:
            nonlocal computed
            computed = True
            self._counts.misses += 1
            return await self.__wrapped__(*args, **kwargs)

        value = await fill(key, compute, **self._options)
        if not computed:
            self._counts.hits += 1
        return cast("_R", value)

    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> str:
        """The key of a call, for the cache's own methods."""
        return self._plan.key((*self._instance, *args), kwargs)

    async def refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compute in any case, and keep the result; the old one stays if the function raises."""
        key = self.cache_key(*args, **kwargs)
        value = await self.__wrapped__(*args, **kwargs)
        await self._store().set(key, value, **self._options)
        return value

    async def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget the result of a call; whether there was one."""
        return await self._store().delete(self.cache_key(*args, **kwargs))

    async def bypass(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compute, and neither look nor keep."""
        return await self.__wrapped__(*args, **kwargs)

    def cache_info(self) -> CacheInfo:
        """How this function's calls were answered in this process; those of all instances together."""
        return CacheInfo(self._counts.hits, self._counts.misses)

    @overload
    def __get__(self, instance: None, owner: type) -> "CachedFunction[_P, _R]": ...
    @overload
    def __get__(
        self: "CachedFunction[Concatenate[Any, _Q], _R]", instance: object, owner: type | None = None
    ) -> "CachedFunction[_Q, _R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> "CachedFunction[..., _R]":
        """The method of an instance: the same counts, and the instance before the arguments."""
        return self if instance is None else self.bound_to(instance)

    def __repr__(self) -> str:
        return f"<cached {self._plan.name}>"

    def _store(self) -> Cache:
        if self._cache is not None:
            return self._cache
        from toolcache.tool_cache import get_cache

        return get_cache()


def cached(
    ttl: Duration | Missing | None = MISSING,
    *,
    key_params: Sequence[str] | None = None,
    key_prefix: str | None = None,
    tags: Sequence[str] = (),
    normalize: Callable[[str], object] | None = None,
    cache: Cache | None = None,
) -> Callable[[Callable[_P, Coroutine[Any, Any, _R]]], CachedFunction[_P, _R]]:
    """Keep what an async function returns, under a key made of its arguments.

    Concurrent calls with equal arguments run the function once. Stand beneath ``@classmethod`` and ``@staticmethod``,
    and beneath what registers the function elsewhere.

    Args:
        ttl: how long a result stays good: seconds, a ``timedelta`` or text such as ``"2h30m"``; the cache's default
            unless given, None for ever.
        key_params: the parameters that decide the result; all unless given, but not ``self`` or ``cls``. Instances of
            one class share their results unless ``"self"`` is among them and has a canonical form.
        key_prefix: a name for the keys that survives renaming and moving the function. No two functions may share one;
            functions made by a factory need one each, since all have the name of the inner function.
        tags: labels kept with the results.
        normalize: applied to each str in the key, such as ``str.casefold``; the function gets what was passed.
        cache: where; the process's default cache unless given, looked up at each call.

    Raises:
        TypeError: the decorated function is not ``async def``.
        SettingsError: ``key_params`` names no parameter, or another option cannot be.
        ValueError: the ttl is no span of time, or a tag cannot be.

    Examples:
        >>> @cached(ttl="1h", key_params=["query"])
        ... async def search(query: str, trace_id: str = "") -> list[str]:
        ...     return await ask(query)
        >>> hits = await search("red shoes", trace_id="7f")
    """
    if callable(ttl):
        raise TypeError("cached takes options: write @cached(), with parentheses")
    options: dict[str, Any] = {"tags": labels(tags)}
    if ttl is not MISSING:
        options["ttl"] = None if ttl is None else seconds(ttl)

    def decorate(function: Callable[_P, Coroutine[Any, Any, _R]]) -> CachedFunction[_P, _R]:
        refuse_unless_async(function, "cached", "keeps the results of")
        plan = KeyPlan(function, key_params=key_params, key_prefix=key_prefix, normalize=normalize)
        return CachedFunction(function, plan, cache, options).as_it_was()

    return decorate


def refuse_unless_async(function: object, decorator: str, does: str) -> None:
    """Raise TypeError for what ``@decorator`` cannot stand above; ``does`` says what it does with functions."""
    if isinstance(function, classmethod | staticmethod):
        raise TypeError(f"put @{decorator} beneath @{type(function).__name__}")
    if not inspect.iscoroutinefunction(function):
        name = getattr(function, "__qualname__", type(function).__name__)
        raise TypeError(f"{decorator} {does} 'async def' functions, and {name} is none")
