"""Policies: what a call of a tool is to be: answered from the cache, dispatched once, or just run.

Whoever uses the cache decides. Where nobody has, the hints of a trusted server do; the table in docs/how-to/tools.md is
all there is to it, and `decide` is that table. What nobody knows anything of is never kept.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, TypeAlias, Unpack

from toolcache.durations import Duration
from toolcache.entry import MISSING, Missing
from toolcache.fields import Frozen
from toolcache.freshness import UNSAID, Freshness
from toolcache.freshness_options import READERS as FRESHNESS
from toolcache.freshness_options import FreshnessOptions, said
from toolcache.spelling import Reader, choice, nearest, span, unlimited, words
from toolcache.tags import labels
from toolcache.terms import OnceOptions, Terms
from toolcache.tool_definitions import Hints

Hook: TypeAlias = Callable[[Any], Any]


class ToolOptions(FreshnessOptions, OnceOptions, total=False):
    """What a policy may say; see ``ToolPolicy``."""

    ttl: Duration | None
    key_params: Iterable[str]
    ignore_params: Iterable[str]
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
        key_params: the parameters that decide which call it is; all unless given. Of "once", the others must be the same
            when the call is repeated.
        ignore_params: those that may differ.
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
    ignore_params: tuple[str, ...]
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

    def chosen(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that decide which call it is."""
        if self.key_params is not None:
            return {name: params[name] for name in self.key_params if name in params}
        return self.counted(params)

    def counted(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Those that must be the same when what runs once is called again."""
        return {name: value for name, value in params.items() if name not in self.ignore_params}


class Act(Enum):
    """What a call of a tool is."""

    CACHE = "cached"
    """Answered with the kept result, if there is one; its result is kept."""
    ONCE = "dispatched once"
    """Run once, whoever asks for it."""
    RUN = "run"
    """Run, whatever is known; nothing is kept."""


class Verdict(Frozen):
    """What a call of a tool is, and why.

    Attributes:
        act: what it is.
        policy: under what terms; that of the user, or what goes without saying.
        why: in words.
    """

    act: Act
    policy: ToolPolicy
    why: str


def decide(policy: ToolPolicy | None, hints: Hints | None, *, trusted: bool) -> Verdict:
    """What calls of a tool are.

    Args:
        policy: what the user says of the tool, if anything: it wins.
        hints: what its server says of it; None where nothing was learned.
        trusted: whether the user trusts that server.

    Examples:
        >>> decide(None, Hints(read_only=True), trusted=True).act.value
        'cached'
        >>> decide(None, Hints(read_only=True), trusted=False).act.value
        'run'
    """
    if policy is not None:
        return Verdict(_ACTS[policy.kind], policy, "your policy says so" + _ALIKE.get(policy.kind, ""))
    if hints is None:
        return Verdict(Act.RUN, NONE, "nothing is known of this tool")
    if not trusted:
        return Verdict(Act.RUN, NONE, "its server is not trusted, so its hints count for nothing")
    return _believe(hints)


def _believe(hints: Hints) -> Verdict:
    """What calls of a tool are by its hints alone."""
    if hints.read_only and hints.destructive:
        return Verdict(Act.RUN, NONE, "it is said to change nothing and to destroy: neither is believed")
    if hints.read_only:
        return Verdict(Act.CACHE, EXACT, "its server says that it changes nothing")
    if hints.idempotent:
        return Verdict(Act.ONCE, AGAIN, "its server says that doing it again changes nothing more")
    return Verdict(Act.RUN, NONE, "it may change something, and more each time")


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
    "ignore_params": _names,
    "threshold": _likeness,
    "error_ttl": span,
    "version": words,
    "tags": lambda value, _name: labels(value),
    "condition": _hook,
    "dump": _hook,
    "load": _hook,
}
_UNSAID: Final[dict[str, Any]] = dict.fromkeys(_READERS) | {"ttl": MISSING, "ignore_params": (), "tags": ()}
_KEYED: Final = {"ttl", "key_params", "ignore_params", "dump", "load"}
_EXACT: Final = _KEYED | {"error_ttl", "version", "tags", "condition"} | FRESHNESS.keys()
_USES: Final[dict[str, set[str]]] = {
    "exact": _EXACT,
    "none": set(),
    "semantic": _EXACT | {"threshold"},
    "once": _KEYED | {name for name in Terms._fields if name != "retention"},
}
_KINDS: Final = tuple(_USES)
_KEEPS: Final = ("exact", "semantic")
_ACTS: Final = {"exact": Act.CACHE, "semantic": Act.CACHE, "once": Act.ONCE, "none": Act.RUN}
_ALIKE: Final = {"semantic": "; only the same parameters mean the same as yet"}

EXACT: Final = ToolPolicy("exact")
"""For tools that are said to change nothing."""
AGAIN: Final = ToolPolicy("once", on_store_down="run")
"""For tools that are said to change nothing more when called again: so one that cannot be dispatched once is run."""
NONE: Final = ToolPolicy("none")
"""For all others."""
