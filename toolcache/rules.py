"""What ``@cached`` is told of a function's results: which to keep, for how long, and as what."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from toolcache.compute import Context
from toolcache.domains import DOMAINS, Domain
from toolcache.durations import Duration, seconds
from toolcache.entry import MISSING, Missing
from toolcache.errors import SettingsError, StoredCallError
from toolcache.freshness_options import READERS, FreshnessOptions, said
from toolcache.keys.choice import Normalize
from toolcache.keys.plan import KeyPlan
from toolcache.keys.scopes import Vary
from toolcache.keys.tagging import Tagging
from toolcache.spelling import nearest
from toolcache.tags import labels

Lifetime = Duration | Missing | Callable[[Any], Duration | None] | None
"""How long a result stays good: a span, None for ever, or a function of the result that gives one of these."""

Rebuild = Callable[[str], Exception]
_TOLD: Final = 4_096


class CachedOptions(FreshnessOptions, total=False):
    """The options of ``@cached``; see there."""

    key_params: Sequence[str] | None
    ignore: Sequence[str]
    key_prefix: str | None
    normalize: Normalize | None
    vary: Vary
    strict_scope: bool
    tags: Sequence[str]
    condition: Callable[[Any], object] | None
    cache_errors: type[Exception] | Iterable[type[Exception]] | Mapping[type[Exception], Rebuild]
    error_ttl: Duration
    domain: Domain | str | None
    lock: bool | None


class Rules:
    """What holds for results.

    Args:
        ttl: how long they stay good.
        options: what else is said.

    Attributes:
        ttl: the same, read.
        error_ttl: how long errors are kept, in seconds.
        domain: what kind of value they are; None for keys of the caller's own.
        lock: whether other processes wait for one that is computed.
        given: the freshness options as they were said.
        freshness: the same, read.
        judges: whether anything depends on a result.

    Raises:
        TypeError: there is no such option, or one is of a wrong kind.
        ValueError: one is out of range. A SettingsError where it names nothing that there is.
    """

    def __init__(self, ttl: Lifetime, options: Mapping[str, Any]) -> None:
        check_names(options)
        self._options = {name: _lasting(option) for name, option in options.items()}
        options = self._options
        self._tags = labels(options.get("tags", ()))
        self.ttl: Lifetime = ttl if ttl is MISSING or ttl is None or callable(ttl) else seconds(ttl)
        self._condition = _callable("condition", options.get("condition"))
        self._errors = _errors(options.get("cache_errors", ()))
        if "error_ttl" in options and not self._errors:
            raise SettingsError("error_ttl says how long errors are kept, and none are: name them in cache_errors")
        self.error_ttl = seconds(options.get("error_ttl", 30.0), name="error_ttl")
        self.domain = _domain(options.get("domain"))
        self.lock: bool | None = options.get("lock")
        self.given = {name: options[name] for name in READERS if name in options}
        self.freshness = said(self.given)
        self.judges = callable(ttl) or self._condition is not None

    def plan(self, function: Callable[..., object]) -> KeyPlan:
        """How calls of a function become keys."""
        options = self._options
        return KeyPlan(
            function,
            key_params=options.get("key_params"),
            key_prefix=options.get("key_prefix"),
            normalize=options.get("normalize"),
            ignored=options.get("ignore", ()),
            ignored_by="ignore",
            vary=options.get("vary", ()),
            strict=options.get("strict_scope", False),
        )

    def tagging(self, plan: KeyPlan) -> Tagging:
        """What tags calls have."""
        return Tagging(plan.name, plan.parameters, self._tags)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Those that are kept."""
        return tuple(self._errors)

    @property
    def asks_much(self) -> bool:
        """Whether a cache has to know more than keys, values, ttl and tags."""
        return bool(self.judges or self._errors or self.domain or self.lock is not None or self.given)

    def judge(self, value: Any, context: Context) -> None:
        """Say how long a result is kept, or that it is not."""
        if self._condition is not None and not self._condition(value):
            context.skip()
        elif callable(self.ttl):
            context.ttl = self.ttl(value)

    def told(self, error: Exception) -> list[str]:
        """An error, as it is kept: the name that it was declared by, what it is, and its text."""
        declared = next(kind for kind in self._errors if isinstance(error, kind))
        return [_name(declared), _name(type(error)), str(error)[:_TOLD]]

    def rebuilt(self, told: Any) -> Exception | None:
        """An error that was kept; None if that is none, or one that is not asked for any more."""
        if not isinstance(told, list) or len(told) != 3 or not all(isinstance(one, str) for one in told):  # noqa: PLR2004 - as above
            return None
        declared, kind, message = told
        for known, rebuild in self._errors.items():
            if _name(known) == declared:
                return StoredCallError(kind, message) if rebuild is None else rebuild(message)
        return None


def check_names(options: Iterable[str]) -> None:
    """Refuse an option that there is none of."""
    known = [*CachedOptions.__annotations__, *READERS]
    for name in options:
        if name not in known:
            more = "" if name == "cache" else nearest(name, ["ttl", "cache", *known])  # a method knows its own
            raise TypeError(f"cached has no option {name!r}{more}")


def _lasting(option: Any) -> Any:
    """An option that may be read more than once: one decorator may stand above several functions."""
    return tuple(option) if isinstance(option, Iterator) else option


def _callable(name: str, value: Any) -> Callable[[Any], object] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} is a function of the result, not {type(value).__name__}")
    if inspect.iscoroutinefunction(value):
        raise TypeError(
            f"{name} is a plain function of the result: what an 'async def' function says is not waited for"
        )
    function: Callable[[Any], object] | None = value
    return function


def _errors(given: Any) -> dict[type[Exception], Rebuild | None]:
    listed = given if isinstance(given, Iterable) and not isinstance(given, type) else (given,)
    kinds = dict(given) if isinstance(given, Mapping) else dict.fromkeys(listed)
    for kind, rebuild in kinds.items():
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError("cache_errors names classes of errors: write cache_errors=(LookupError,)")
        if rebuild is not None and not callable(rebuild):
            raise TypeError(f"cache_errors has for {kind.__name__} nothing that makes one of its text")
    return kinds


def _domain(given: Any) -> Domain | None:
    if given is None or isinstance(given, Domain):
        return given
    if not isinstance(given, str) or given not in DOMAINS:
        told = repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
        raise SettingsError(
            f"domain is a Domain or the name of one that is built in, not {told}{nearest(str(given), DOMAINS)}"
        )
    return DOMAINS[given]


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
