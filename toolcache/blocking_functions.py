"""Plain functions whose results are kept, by a cache that blocks."""

from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from toolcache.entry import MISSING, Invalidation
from toolcache.functions import Kept
from toolcache.insight.variance import SHUT
from toolcache.keeper import Keeper, keeper, no_labels, refuse_much
from toolcache.keys.plan import UNMARKED
from toolcache.rules import Rules

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")


class BlockingCache(Protocol):
    """What the decorator asks of a cache for plain functions."""

    def get_or_set(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value of a key, computed and stored if it is missing; takes ``ttl`` and ``tags`` by name, too."""
        ...

    def set(self, key: str, value: Any) -> Any:
        """Store a value; takes ``ttl`` and ``tags`` by name, too."""
        ...

    def delete(self, key: str) -> bool:
        """Remove a key; whether a value was there."""
        ...


class _Faced:
    """Keeps results in the cache behind a blocking face."""

    def __init__(self, face: Any, rules: Rules, name: str) -> None:
        self._face = face
        self._keeper: Keeper = keeper(face._cache, rules, name)  # noqa: SLF001 - of ours
        self.marks = self._keeper.marks
        self.windows = self._keeper.windows

    def hit(self, key: str) -> Any:
        """What is at hand, else MISSING."""
        self._face._enter()  # noqa: SLF001 - of ours
        return self._keeper.hit(key)

    def answer(self, key: str, make: Callable[[], Any], tags: tuple[str, ...], *, anew: bool) -> Any:
        """The result that is kept, or one that is made and kept."""
        return self._face._find(make, lambda made: self._keeper.answer(key, made, tags, anew=anew))  # noqa: SLF001

    def forget(self, key: str) -> bool:
        """Forget a result; whether there was one."""
        return bool(self._face._call(self._keeper.forget, key))  # noqa: SLF001 - of ours

    def clear(self) -> Invalidation:
        """Forget all results of the function."""
        return cast("Invalidation", self._face._call(self._keeper.clear))  # noqa: SLF001 - of ours


class _Foreign:
    """Keeps results in any cache that has the few methods."""

    marks = UNMARKED
    windows = SHUT

    def __init__(self, cache: Any, rules: Rules, _name: str) -> None:
        refuse_much(cache, rules)
        self._cache = cache
        self._options: dict[str, Any] = {} if rules.ttl is MISSING else {"ttl": rules.ttl}

    def hit(self, _key: str) -> Any:
        """Nothing is at hand."""
        return MISSING

    def answer(self, key: str, make: Callable[[], Any], tags: tuple[str, ...], *, anew: bool) -> Any:
        """The result that is kept, or one that is made and kept."""
        if not anew:
            return self._cache.get_or_set(key, make, tags=tags, **self._options)
        value = make()
        self._cache.set(key, value, tags=tags, **self._options)
        return value

    def forget(self, key: str) -> bool:
        """Forget a result; whether there was one."""
        return bool(self._cache.delete(key))

    def clear(self) -> Invalidation:
        """It cannot."""
        raise no_labels(self._cache)


class BlockingFunction(Kept[_P], Generic[_P, _R]):
    """A plain function whose results are kept: called as before, and with a few verbs for its entries."""

    VERBS = ("cache_key", "refresh", "invalidate", "bypass", "cache_info", "cache_clear")

    def __init__(self, function: Callable[_P, _R], rules: Rules, cache: BlockingCache) -> None:
        super().__init__(function, rules)
        kind = _Faced if hasattr(cache, "_portal") else _Foreign
        self._keeper: _Faced | _Foreign = kind(cache, rules, self._plan.name)

    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The result: kept, or computed and kept; see ``CachedFunction``."""
        key = self.cache_key(*args, **kwargs)
        value = self._keeper.hit(key)
        if value is MISSING:
            return self._answer(key, args, kwargs)
        self._counts.hits += 1
        return cast("_R", value)

    def _as_function(self) -> Callable[_P, _R]:
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return self(*args, **kwargs)

        return call

    def _answer(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, anew: bool = False) -> _R:
        computed = False

        def make() -> _R:
            nonlocal computed
            computed = True
            self._counts.misses += not anew
            return cast("_R", self.__wrapped__(*args, **kwargs))

        if not anew:
            self._look(self._keeper.windows, args, kwargs)
        value = self._keeper.answer(key, make, self._tags(args, kwargs), anew=anew)
        self._counts.hits += not computed
        return cast("_R", value)

    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> str:
        """The key of a call, for the cache's own methods."""
        return self._key(self._keeper.marks, args, kwargs)

    def refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compute in any case, and keep the result; the old one stays if the function raises."""
        return self._answer(self.cache_key(*args, **kwargs), args, kwargs, anew=True)

    def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget the result of a call; whether there was one."""
        return self._keeper.forget(self.cache_key(*args, **kwargs))

    def bypass(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compute, and neither look nor keep."""
        self._plan.bind((*self._instance, *args), kwargs)
        return cast("_R", self.__wrapped__(*args, **kwargs))

    def cache_clear(self) -> Invalidation:
        """Forget all results of the function, in every layer and process; takes as long for a million as for one."""
        return self._keeper.clear()

    @overload
    def __get__(self, instance: None, owner: type) -> "BlockingFunction[_P, _R]": ...
    @overload
    def __get__(
        self: "BlockingFunction[Concatenate[Any, _Q], _R]", instance: object, owner: type | None = None
    ) -> "BlockingFunction[_Q, _R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> "BlockingFunction[..., _R]":
        """The method of an instance: the same counts, and the instance before the arguments."""
        return self if instance is None else self.bound_to(instance)
