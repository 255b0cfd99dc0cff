"""Functions whose results are kept."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, cast, overload

from toolcache.compute import Context
from toolcache.decorated import Decorated, Verbal
from toolcache.entry import MISSING, Invalidation
from toolcache.insight.variance import Windows
from toolcache.keeper import Keeper, keeper
from toolcache.keys.text import key_text, place_of
from toolcache.rules import Rules

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")


class CacheInfo(NamedTuple):
    """``hits``: calls answered without computing. ``misses``: calls of the function to answer one."""

    hits: int
    misses: int


class _Counts:
    hits = 0
    misses = 0


class _Place:
    """Where a function's results are at present: the default cache may be closed, and another one made."""

    def __init__(self, rules: Rules, name: str, find: Callable[[], Any]) -> None:
        self._rules = rules
        self._name = name
        self._find = find
        self._at: tuple[Any, Keeper] | None = None

    def here(self) -> Keeper:
        """The keeper of this moment."""
        cache, at = self._find(), self._at
        if at is None or at[0] is not cache:
            self._at = at = cache, keeper(cache, self._rules, self._name)
        return at[1]


class Kept(Verbal[_P]):
    """What both kinds have in common."""

    def __init__(self, function: Callable[_P, Any], rules: Rules) -> None:
        super().__init__(function, rules.plan(function))
        self._tagging = rules.tagging(self._plan)
        self._counts = _Counts()

    def cache_info(self) -> CacheInfo:
        """How this function's calls were answered in this process; those of all instances together."""
        return CacheInfo(self._counts.hits, self._counts.misses)

    def _tags(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
        fixed = self._tagging.fixed
        return self._tagging.of(self._plan.bind((*self._instance, *args), kwargs)) if fixed is None else fixed

    def _key(self, marks: Mapping[str, object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return self._plan.key((*self._instance, *args), kwargs, marks)

    def _look(self, windows: Windows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note what the key of a call is made of that is not at hand."""
        windows.left -= 1
        if windows.left < 0 and (fields := self._plan.fields((*self._instance, *args), kwargs)) is not None:
            windows.note(f"function:{self._plan.name}", fields)

    def __repr__(self) -> str:
        return f"<cached {self._plan.name}>"


class CachedFunction(Kept[_P], Decorated[_P, _R], Generic[_P, _R]):
    """A function whose results are kept: called as before, and with a few verbs for its entries."""

    VERBS = ("cache_key", "refresh", "invalidate", "bypass", "cache_info", "cache_clear")

    def __init__(
        self, function: Callable[_P, Coroutine[Any, Any, _R]], rules: Rules, cache: object, find: Callable[[], Any]
    ) -> None:
        super().__init__(function, rules)
        self._own = cache
        self._place = _Place(rules, self._plan.name, find if cache is None else lambda: cache)

    async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The result: kept, or computed and kept.

        Raises:
            UnsupportedKeyError: an argument that is in the key has no canonical form.
            MissingScopeError: with ``strict_scope``, nobody has said a scope that the function varies by.
            StoredCallError: with ``cache_errors``, the function failed a while ago.
            Exception: whatever the function raises; nothing is kept then.
        """
        keeper = self._place.here()
        key = self._key(keeper.marks, args, kwargs)
        value = keeper.hit(key)
        if value is MISSING:
            return await self._answer(keeper, key, args, kwargs)
        self._counts.hits += 1
        return cast("_R", value)

    def _as_function(self) -> Callable[_P, Coroutine[Any, Any, _R]]:
        if not self._plan.is_steady:
            return super()._as_function()
        if self._own is None:
            return self._where_it_may_move()
        # What does not change is looked up once: half of what such a hit costs would be that.
        keeper, counts, varies, scopes = self._place.here(), self._counts, self._plan.varies, self._plan.scopes
        if not keeper.is_quick:
            return super()._as_function()
        hit, find = keeper.hit, keeper.known.find

        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            told = (*scopes(), *args) if varies else args
            key = find(told, kwargs)
            if key is None:
                key = self._learn(keeper, told, args, kwargs)
            value = hit(key)
            if value is MISSING:
                return await self._answer(keeper, key, args, kwargs)
            counts.hits += 1
            return cast("_R", value)

        return call

    def _where_it_may_move(self) -> Callable[_P, Coroutine[Any, Any, _R]]:
        counts, place, varies, scopes = self._counts, self._place, self._plan.varies, self._plan.scopes

        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            keeper = place.here()
            if not keeper.is_quick:
                return await self(*args, **kwargs)
            told = (*scopes(), *args) if varies else args
            key = keeper.known.find(told, kwargs) or self._learn(keeper, told, args, kwargs)
            value = keeper.hit(key)
            if value is MISSING:
                return await self._answer(keeper, key, args, kwargs)
            counts.hits += 1
            return cast("_R", value)

        return call

    def _learn(self, keeper: Keeper, told: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The key of a call, as memory knows it, to be found from now on by what was told: scopes and arguments."""
        given = self._key(keeper.marks, args, kwargs)
        text = key_text(given)
        key = given if "~" in text else place_of(text)  # of one that was cut an agent's view would make another
        keeper.known.learn(told, kwargs, key)
        return key

    async def _answer(
        self, keeper: Keeper, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, anew: bool = False
    ) -> _R:
        computed = False

        async def run(_context: Context) -> _R:
            nonlocal computed
            computed = True
            self._counts.misses += not anew
            return cast("_R", await self.__wrapped__(*args, **kwargs))

        if not anew:
            self._look(keeper.windows, args, kwargs)
        value = await keeper.answer(key, run, self._tags(args, kwargs), anew=anew)
        self._counts.hits += not computed
        return cast("_R", value)

    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> str:
        """The key of a call, for the cache's own methods."""
        return self._key(self._place.here().marks, args, kwargs)

    async def refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compute in any case, and keep the result; the old one stays if the function raises."""
        keeper = self._place.here()
        return await self._answer(keeper, self._key(keeper.marks, args, kwargs), args, kwargs, anew=True)

    async def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget the result of a call; whether there was one."""
        return await self._place.here().forget(self.cache_key(*args, **kwargs))

    async def bypass(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compute, and neither look nor keep."""
        self._plan.bind((*self._instance, *args), kwargs)
        return cast("_R", await self.__wrapped__(*args, **kwargs))

    async def cache_clear(self) -> Invalidation:
        """Forget all results of the function, in every layer and process; takes as long for a million as for one."""
        return await self._place.here().clear()

    @overload
    def __get__(self, instance: None, owner: type) -> "CachedFunction[_P, _R]": ...
    @overload
    def __get__(
        self: "CachedFunction[Concatenate[Any, _Q], _R]", instance: object, owner: type | None = None
    ) -> "CachedFunction[_Q, _R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> "CachedFunction[..., _R]":
        """The method of an instance: the same counts, and the instance before the arguments."""
        return self if instance is None else self.bound_to(instance)
