"""Policies: what a user says of a tool: whether its calls are answered from the cache, dispatched once or just run."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias, Unpack

from toolcache.durations import Duration
from toolcache.entry import MISSING, Missing
from toolcache.fields import Frozen
from toolcache.freshness import UNSAID, Freshness
from toolcache.freshness_options import READERS as FRESHNESS
from toolcache.freshness_options import FreshnessOptions, said
from toolcache.keys.choice import Choice, Normalize
from toolcache.keys.scopes import Vary
from toolcache.spelling import Reader, choice, nearest, span, switch, unlimited, words
from toolcache.tags import labels
from toolcache.terms import OnceOptions, Terms

Hook: TypeAlias = Callable[[Any], Any]


class ToolOptions(FreshnessOptions, OnceOptions, total=False):
    """What a policy may say; see ``ToolPolicy``."""

    ttl: Duration | None
    key_params: Iterable[str]
    ignore: Iterable[str]
    normalize: Normalize
    vary: Vary
    strict_scope: bool
    threshold: float
    version: str
    tags: Iterable[str]
    condition: Hook
    dump: Hook
    load: Hook


class ToolPolicy(Frozen):
    """What calls of a tool are to be.

    Args:
        kind: ``"exact"``: a call with the same parameters is answered with the kept result. ``"once"``: a call with the same
            parameters is dispatched once, as by ``Cache.once``, and its answer given to all who call again. ``"none"``: each
            call is run. ``"semantic"``: calls that mean the same share a result; until there is an engine for that, only
            the same parameters mean the same, as with ``"exact"``.
        options: as below, each with the kinds that have a use for it.

    Attributes:
        ttl: how long a result is kept; 5 minutes unless given, of "once" an hour. None for ever.
        key_params: the parameters that decide which call it is, or paths into them; all unless given. Of "once", the others
            must be the same when the call is repeated.
        ignore: those that may differ.
        normalize: what is done to the values that decide, for the key alone; see ``toolcache.normalize``.
        vary: names of scopes, such as ``["user"]``, by which calls differ; see ``toolcache.scope``.
        strict_scope: whether it is an error if one of these is not said.
        dump: makes plain data of a result, for what cannot be stored as it is.
        load: makes a result of that data.
        error_ttl: how long a result that says ``isError`` is kept; not at all unless given. Of "once": see ``Terms``.
        condition: a function of a result: whether it may be kept. Of "exact" and "semantic", as the following.
        version: of the tool: with another one nothing is found of what was kept before.
        tags: of what is kept.
        freshness: what is done about a result that nears its end: ``grace``, ``refresh_ahead``, …; see ``Freshness``.
        threshold: of "semantic": how much alike two calls are that mean the same; above 0, at most 1.
        terms: of "once": on what conditions, ``timeout``, ``on_store_down``, …; see ``Terms``.

    Raises:
        TypeError: there is no such option, or the kind has no use for it.
        ValueError: there is no such kind, or an option is out of range.

    Examples:
        >>> ToolPolicy("exact", ttl="5m", key_params=["query"]).ttl
        300.0
    """

    kind: str
    ttl: float | Missing | None
    key_params: tuple[str, ...] | None
    ignore: tuple[str, ...]
    normalize: Normalize | None
    vary: Vary
    strict_scope: bool
    threshold: float | None
    error_ttl: float | None
    version: str | None
    tags: tuple[str, ...]
    condition: Hook | None
    dump: Hook | None
    load: Hook | None
    freshness: Freshness
    terms: Terms

    def __init__(self, kind: str, /, **options: Unpack[ToolOptions]) -> None:
        choice(*_KINDS)(kind, "the kind of a tool's policy")
        given: dict[str, Any] = dict(options)
        for name in given:
            _refuse(kind, name)
        own = {name: read(given[name], name) for name, read in _READERS.items() if name in given}
        fresh, terms = {}, {}
        if kind in _KEEPS:
            fresh = {name: value for name, value in given.items() if name in FRESHNESS}
        elif kind == "once":
            terms = {name: value for name, value in given.items() if name not in _READERS or name == "error_ttl"}
            own.pop("error_ttl", None)
        super().__init__(
            **{
                **_UNSAID,
                **own,
                "kind": kind,
                "freshness": said(fresh) if fresh else UNSAID,
                "terms": Terms.of(terms),
            }
        )
        rules = self.normalize if isinstance(self.normalize, Mapping) else {}
        decide = rules if self.key_params is None else map(_first, self.key_params)
        self._choice({*decide, *self.ignore}, self.key_params, self.normalize)  # what is wrong is told now

    def chosen(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """What decides which call it is.

        Raises:
            UnsupportedKeyError: a path leads nowhere.
            MissingScopeError: a scope is not said that must be.
        """
        if self.key_params is None and not (self.normalize or self.vary):
            return {name: value for name, value in params.items() if name not in self.ignore}
        # A call may leave parameters out.
        paths, rules = self.key_params, self.normalize
        paths = None if paths is None else tuple(path for path in paths if path in params or _first(path) in params)
        decide = set(params).difference(self.ignore) if paths is None else paths
        if isinstance(rules, Mapping):
            rules = {name: rule for name, rule in rules.items() if name in decide}
        return self._choice(params, paths, rules).values(params)

    def others(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What must be the same when what runs once is called again."""
        aside = {*self.ignore, *(params if self.key_params is None else self.key_params)}
        return {name: value for name, value in params.items() if name not in aside}

    def _choice(self, names: Collection[str], paths: tuple[str, ...] | None, rules: Normalize | None) -> Choice:
        """What is done with parameters of these names."""
        ignored = [name for name in self.ignore if name in names]
        return Choice(
            "the tool",
            names,
            chosen=paths,
            ignored=ignored,
            normalize=rules,
            vary=self.vary,
            strict=self.strict_scope,
        )


def _first(path: str) -> str:
    return path.partition(".")[0]


def _names(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is a list of parameters' names, such as {name}=['query'], not {type(value).__name__}")
    given = tuple(value)
    if not all(isinstance(one, str) for one in given):
        raise TypeError(f"{name} is a list of parameters' names, all of them texts")
    return given


def _hook(value: Any, name: str) -> Hook:
    if not callable(value):
        raise TypeError(f"{name} is a function of a result, not {type(value).__name__}")
    return value  # type: ignore[no-any-return]  # one that takes a result, for all that can be seen


def _likeness(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{name} is a likeness above 0, at most 1, such as 0.92, not {value!r}")
    return float(value)


def _refuse(kind: str, name: str) -> None:
    """Raises TypeError for an option that there is not, or that the kind has no use for."""
    if name in _USES[kind]:
        return
    users = [f"{other!r}" for other, used in _USES.items() if name in used]
    if users:
        raise TypeError(f"a policy {kind!r} has no use for {name}: it is for {' and '.join(users)}")
    every = {option for used in _USES.values() for option in used}
    raise TypeError(f"there is no option {name!r}{nearest(name, every)}")


_READERS: Final[dict[str, Reader]] = {
    "ttl": unlimited(span),
    "key_params": _names,
    "ignore": _names,
    "normalize": lambda value, _name: value,
    "vary": lambda value, _name: value if isinstance(value, str | Mapping) else tuple(value),
    "strict_scope": switch,
    "threshold": _likeness,
    "error_ttl": span,
    "version": words,
    "tags": lambda value, _name: labels(value),
    "condition": _hook,
    "dump": _hook,
    "load": _hook,
}
_UNSAID: Final[dict[str, Any]] = dict.fromkeys(_READERS) | {
    "ttl": MISSING,
    "ignore": (),
    "vary": (),
    "strict_scope": False,
    "tags": (),
}
_KEYED: Final = {"ttl", "key_params", "ignore", "normalize", "vary", "strict_scope", "dump", "load"}
_EXACT: Final = _KEYED | {"error_ttl", "version", "tags", "condition"} | FRESHNESS.keys()
_USES: Final[dict[str, set[str]]] = {
    "exact": _EXACT,
    "none": set(),
    "semantic": _EXACT | {"threshold"},
    "once": _KEYED | {name for name in Terms._fields if name != "retention"},
}
_KINDS: Final = tuple(_USES)
_KEEPS: Final = ("exact", "semantic")
