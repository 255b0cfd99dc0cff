"""Where the results of one function are kept: in a cache of ours, or in any that has the few methods it takes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from toolcache.compute import Context
from toolcache.domains import DOMAINS, GENERAL, Domain
from toolcache.durations import Duration
from toolcache.entry import MISSING, Invalidation, Missing
from toolcache.errors import CacheWriteError, SettingsError
from toolcache.freshness import Freshness
from toolcache.insight.variance import SHUT, Windows
from toolcache.keys.calls import KnownCalls
from toolcache.keys.canonical import digest
from toolcache.keys.plan import UNMARKED, marks
from toolcache.keys.text import key_text
from toolcache.modes import Mode
from toolcache.rules import Rules
from toolcache.tags import function_label

Run = Callable[[Context], Awaitable[Any]]
"""Has the function make a result."""

FAILURES: Final = Domain("failures", ttl=None, key=("function", "arguments"))
"""What has failed, where functions ask for that to be kept: counted apart from results."""

_AS_LONG_AS_IT_LASTS: Final = Freshness(
    grace=None, refresh_ahead=None, soft_timeout=None, hard_timeout=None, negative_ttl=None, jitter=None
)
"""A failure that is kept never stands in for anything."""

_LASTING: Final = {name: value for name, value in vars(_AS_LONG_AS_IT_LASTS).items() if value is None}


class AnyCache(Protocol):
    """What the decorator asks of a cache that is none of ours."""

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


class Keeper(Protocol):
    """Keeps the results of one function."""

    marks: Mapping[str, object]
    """What the cache adds to keys."""
    known: KnownCalls
    """The keys of calls, as they are in this cache."""
    is_quick: bool
    """Whether ``hit`` may answer: what is at hand is in memory of ours, which knows keys by their texts."""
    windows: Windows
    """Look at calls that are not at hand, now and then."""

    def hit(self, key: str) -> Any:
        """What is at hand, else MISSING."""
        ...

    async def answer(self, key: str, run: Run, tags: tuple[str, ...], *, anew: bool = False) -> Any:
        """The result that is kept, or one that is made and kept; ``anew``: one that is made in any case."""
        ...

    async def forget(self, key: str) -> bool:
        """Forget a result; whether there was one."""
        ...

    async def clear(self) -> Invalidation:
        """Forget all results of the function."""
        ...


class OurKeeper:
    """Keeps them in a cache of ours.

    Args:
        cache: it.
        rules: what holds for the results.
        name: the function's.
    """

    def __init__(self, cache: Any, rules: Rules, name: str) -> None:
        self._machine = cache._machine  # noqa: SLF001 - of ours, and below what everybody may call
        self._rules = rules
        self._label = function_label(name)
        self._row = _row(cache, rules.domain)
        self.marks = marks(getattr(getattr(cache, "settings", None), "tenant", None), self._row.version)
        self.known = KnownCalls()
        self.hit: Callable[[str], Any] = self._machine.hit
        self.is_quick = True
        self.windows = SHUT if self._machine.insight is None else self._machine.insight.windows

    async def answer(self, key: str, run: Run, tags: tuple[str, ...], *, anew: bool = False) -> Any:
        """See ``Keeper``."""
        rules = self._rules
        making = run
        if rules.errors and self._row.name not in self._machine.off:
            making = self._and_forget(key, run) if anew else self._or_recall(key, run, tags)
        if rules.judges:
            made = making

            async def making(context: Context) -> Any:
                value = await made(context)
                rules.judge(value, context)
                return value

        return await self._fill(key, making, tags, anew=anew)

    async def forget(self, key: str) -> bool:
        """See ``Keeper``."""
        keys = [key, _failed(key)] if self._rules.errors else [key]
        return any((await self._machine.delete_many(keys, self._row)).values())

    async def clear(self) -> Invalidation:
        """See ``Keeper``."""
        gone: Invalidation = await self._machine.forget("function", (self._label,))
        return gone

    def _fill(self, key: str, making: Run, tags: tuple[str, ...], *, anew: bool) -> Awaitable[Any]:
        rules = self._rules
        filled: Awaitable[Any] = self._machine.fill(
            key,
            making,
            self._row,
            ttl=MISSING if callable(rules.ttl) else rules.ttl,
            tags=tags,
            own=(self._label,),
            lock=rules.lock,
            mode=Mode.REFRESH if anew else None,
            freshness=rules.freshness,
        )
        return filled

    def _or_recall(self, key: str, run: Run, tags: tuple[str, ...]) -> Run:
        """Make a result, unless making it has failed of late.

        A failure has a key of its own, so no result can be taken for one; and it is computed under that key as a value would
        be, so what is forgotten meanwhile is not kept either.
        """
        rules = self._rules

        async def making(context: Context) -> Any:
            made, raised = MISSING, None

            async def attempt(inner: Context) -> Any:
                nonlocal made, raised
                try:
                    made = await run(context)
                except rules.errors as error:
                    inner.ttl, raised = rules.error_ttl, error
                    return rules.told(error)
                inner.skip()
                return None

            told = await self._recall(_failed(key), attempt, tags)
            if made is not MISSING:
                if self._machine.modes() is Mode.REFRESH:
                    await self._forget_failure(key)
                return made
            if (error := raised or rules.rebuilt(told)) is not None:
                raise error
            return await run(context)  # another's attempt was joined, or what it kept is not asked for any more

        return making

    def _and_forget(self, key: str, run: Run) -> Run:
        """Make a result, after which making it has not failed of late."""

        async def making(context: Context) -> Any:
            made = await run(context)
            await self._forget_failure(key)
            return made

        return making

    async def _forget_failure(self, key: str) -> None:
        with suppress(CacheWriteError):  # told by an event; and there is a result
            await self._machine.delete_many([_failed(key)], FAILURES)

    def _recall(self, key: str, attempt: Run, tags: tuple[str, ...]) -> Awaitable[Any]:
        known: Awaitable[Any] = self._machine.compute(
            key,
            attempt,
            FAILURES,
            tags=tags,
            own=(self._label, *self._row.labels),
            lock=False,
            freshness=_AS_LONG_AS_IT_LASTS,
        )
        return known


class CallingKeeper(OurKeeper):
    """The same in a cache whose class has a ``get_or_set`` of its own: that one is asked, each time.

    What the function is known by is a tag there, beside those of the caller.
    """

    def __init__(self, cache: Any, rules: Rules, name: str) -> None:
        super().__init__(cache, rules, name)
        if rules.domain is not None:
            raise SettingsError(
                f"{type(cache).__name__} has a get_or_set of its own, which knows of no domain: leave domain= to one "
                "that has not"
            )
        self._cache = cache
        self._tag = f"function:{digest(name)[:32]}"
        self.hit, self.is_quick = _miss, False

    async def clear(self) -> Invalidation:
        """See ``Keeper``."""
        gone: Invalidation = await self._cache.invalidate(tags=[self._tag])
        return gone

    def _fill(self, key: str, making: Run, tags: tuple[str, ...], *, anew: bool) -> Awaitable[Any]:
        rules, more = self._rules, {"refresh": True} if anew else {}
        if rules.lock is not None:
            more["lock"] = rules.lock
        ttl = {} if callable(rules.ttl) or rules.ttl is MISSING else {"ttl": rules.ttl}
        filled: Awaitable[Any] = self._cache.get_or_set(
            key, making, tags=(*tags, self._tag), **ttl, **more, **rules.given
        )
        return filled

    def _recall(self, key: str, attempt: Run, tags: tuple[str, ...]) -> Awaitable[Any]:
        known: Awaitable[Any] = self._cache.get_or_set(key, attempt, tags=(*tags, self._tag), **_LASTING)
        return known


class ForeignKeeper:
    """The same in any cache that has the few methods.

    Args:
        cache: it.
        rules: what holds for the results: no more than the methods can be told.

    Raises:
        SettingsError: they can be told less.
    """

    marks = UNMARKED
    is_quick = False
    windows: Windows = SHUT

    def __init__(self, cache: AnyCache, rules: Rules) -> None:
        refuse_much(cache, rules)
        self._cache = cache
        self._options: dict[str, Any] = {} if rules.ttl is MISSING else {"ttl": rules.ttl}
        self.known = KnownCalls()
        self.hit: Callable[[str], Any] = _miss

    async def answer(self, key: str, run: Run, tags: tuple[str, ...], *, anew: bool = False) -> Any:
        """See ``Keeper``."""
        context = Context(None, tags)
        if not anew:
            return await self._cache.get_or_set(key, lambda: run(context), tags=tags, **self._options)
        value = await run(context)
        await self._cache.set(key, value, tags=tags, **self._options)
        return value

    async def forget(self, key: str) -> bool:
        """See ``Keeper``."""
        return await self._cache.delete(key)

    async def clear(self) -> Invalidation:
        """See ``Keeper``."""
        raise no_labels(self._cache)


def keeper(cache: Any, rules: Rules, name: str) -> Keeper:
    """Keeps the results of a function in that cache."""
    if not hasattr(cache, "_machine"):
        return ForeignKeeper(cache, rules)
    kind = type(cache)
    plain = kind.get_or_set is kind._own_get_or_set and "get_or_set" not in vars(cache)  # noqa: SLF001 - of ours
    return OurKeeper(cache, rules, name) if plain else CallingKeeper(cache, rules, name)


def refuse_much(cache: object, rules: Rules) -> None:
    """Raise SettingsError for what can be told to caches of ours alone."""
    if rules.asks_much:
        raise SettingsError(
            f"{type(cache).__name__} is told a key, a value, ttl and tags; condition, cache_errors, domain, lock, freshness and "
            "a ttl that is a function need a ToolCache"
        )


def no_labels(cache: object) -> TypeError:
    """It cannot forget the results of one function."""
    return TypeError(f"{type(cache).__name__} cannot tell the results of one function: cache_clear needs a ToolCache")


def _miss(_key: str) -> Missing:
    return MISSING


def _failed(key: str) -> str:
    """The key of a failure: the same for whatever form a result's key comes in."""
    return f"failed:{digest(str(key_text(key)))}"


def _row(cache: Any, domain: Domain | None) -> Domain:
    """The row of a domain, as a cache is told."""
    if domain is None:
        return GENERAL
    rows = getattr(cache, "domains", None)
    if rows is None:
        return domain
    if domain.name in DOMAINS and domain is DOMAINS[domain.name]:
        row: Domain = rows[domain.name]
        return row
    own: Domain = cache._row(domain)  # noqa: SLF001 - of ours
    return own
