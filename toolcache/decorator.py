"""``@cached``: a function whose results are kept."""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from toolcache.blocking_functions import BlockingCache, BlockingFunction
from toolcache.entry import MISSING
from toolcache.functions import CachedFunction, CacheInfo
from toolcache.keeper import AnyCache
from toolcache.keeping import decorator
from toolcache.rules import CachedOptions, Lifetime

__all__ = ["CacheInfo", "CachedFunction", "cached"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@overload
def cached(
    ttl: Lifetime = MISSING, *, cache: AnyCache | None = None, **options: Unpack[CachedOptions]
) -> Callable[[Callable[_P, Coroutine[Any, Any, _R]]], CachedFunction[_P, _R]]: ...
@overload
def cached(
    ttl: Lifetime = MISSING, *, cache: BlockingCache, **options: Unpack[CachedOptions]
) -> Callable[[Callable[_P, _R]], BlockingFunction[_P, _R]]: ...
def cached(ttl: Lifetime = MISSING, *, cache: Any = None, **options: Unpack[CachedOptions]) -> Callable[[Any], Any]:
    """Keep what a function returns, under a key made of its arguments.

    Concurrent calls with equal arguments run the function once. Stand beneath ``@classmethod`` and ``@staticmethod``,
    and beneath what registers the function elsewhere. What it raises is not kept.

    Args:
        ttl: how long a result stays good: seconds, a ``timedelta`` or text such as ``"2h30m"``, None for ever; or a function
            of the result that gives one of these. The domain's, or else the cache's default, unless given.
        cache: where; the process's default cache unless given, looked up at each call. A plain function, one without
            ``async``, needs a ``BlockingToolCache``.
        key_params: the parameters that decide the result, or paths into them: ``"query"``, ``"user.id"``,
            ``"filters.lang"``. All unless given, but not ``self`` or ``cls``: instances of one class share their results
            unless ``"self"``, which must have a canonical form then, or something of it is among them.
        ignore: the parameters that do not decide it; not to be given together with ``key_params``.
        key_prefix: a name for the keys that survives renaming and moving the function. No two functions may share one;
            functions made by a factory need one each, since all have the name of the inner function.
        normalize: applied to each str in the key, such as ``str.casefold``, or by name to single arguments; see
            ``toolcache.normalize``. The function gets what was passed.
        vary: the scopes, such as ``["tenant", "locale"]``, by which results are kept apart; see ``scope``. Or a dict of
            functions by name, each of which tells a scope.
        strict_scope: whether a call for which a scope is not said is refused.
        tags: labels kept with the results, with ``{parameter}`` for what an argument says: ``"user:{user_id}"``. It is one
            level, whatever is written in it; see ``make_tag``.
        condition: a function of the result; it is not kept where this gives a false value.
        cache_errors: classes of errors that are kept, too. The next call raises a ``StoredCallError``; or of a dict, what the
            function by the class makes of the error's text: ``{NotFound: NotFound}``.
        error_ttl: how long they are kept; 30 seconds unless given.
        domain: what kind of value the results are, a ``Domain`` or the name of one that is built in: for its ttl, for
            statistics, and to be forgotten with it.
        lock: whether other processes wait for a result that one is computing; as the cache is told, unless given.
        options: beside these, what is done about a result that nears its end: ``grace``, ``refresh_ahead`` and so on; see
            ``Freshness``.

    Raises:
        TypeError: the function is a generator, or plain and there is no cache for plain ones; or there is no such option.
        SettingsError: an option names no parameter, or cannot be.
        ValueError: a ttl is no span of time, or a tag cannot be.

    Examples:
        >>> @cached(ttl="1h", key_params=["query"], tags=["kb:{lang}"])
        ... async def search(query: str, lang: str = "en", trace_id: str = "") -> list[str]:
        ...     return await ask(query)
        >>> hits = await search("red shoes", trace_id="7f")
    """
    return decorator(ttl, cache, options, _default)


def _default() -> Any:
    from toolcache.tool_cache import get_cache

    return get_cache()
