"""WarmPlan: what is to be in the cache before anybody asks for it, and what that may cost."""

import os
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict, Unpack

from toolcache.compute import Compute, Context, takes_context
from toolcache.domains import DOMAINS, Domain
from toolcache.durations import Duration
from toolcache.entry import MISSING, Missing
from toolcache.fields import Frozen, each
from toolcache.spelling import choice, count, dollars, nearest, optional, span, switch, unlimited
from toolcache.tags import labels

Queries: TypeAlias = (
    Iterable[Any]
    | Callable[[], Iterable[Any]]
    | Callable[[], Awaitable[Iterable[Any]]]
    | Callable[[], AsyncIterable[Any]]
)
Items: TypeAlias = Mapping[str, Compute] | Iterable[tuple[str, Compute]]

GETTERS: Final[Mapping[str, tuple[str, str]]] = {
    "catalog": ("get_catalog", "source"),
    "embedding": ("get_embedding", "text"),
    "search": ("get_search_results", "query"),
    "metadata": ("get_metadata", "tool"),
    "response": ("get_response", "goal"),
    "model": ("get_completion", "messages"),
}
"""How a domain is asked: its getter, and the parameter that a query is."""

MOST: Final = 100_000
"""Items of a plan, unless it is told otherwise."""


class PlanOptions(TypedDict, total=False):
    """What a plan can be told; see ``WarmPlan``."""

    items: Items
    queries: Queries
    file: str | os.PathLike[str] | None
    top: int | None
    domain: str | Domain[Any] | None
    params: Mapping[str, Any]
    compute: Callable[..., Any] | None
    ttl: Duration | Missing | None
    tags: Iterable[str]
    name: str
    refresh: bool
    max_parallel: int
    per_second: float | None
    max_items: int
    max_seconds: Duration | None
    max_cost_usd: float | None
    cost_usd: float | None


class WarmPlan(Frozen):
    """What is to be there: ``items``, ``queries``, the lines of a ``file``, or the ``top`` of what was asked for.

    Args:
        items: keys of your own, each with what computes its value.
        queries: what is asked for; of a ``domain`` what its getter takes first, else keys. Or a function, sync or async
            or an async generator, that is called at each run and returns them.
        file: of one query a line; a name that ends in ``.jsonl`` has one JSON value a line.
        top: so many of those that this process was asked for most often in the last day; see ``ToolCache.requested``.
        domain: whose values they are: a built-in one's name, such as ``"search"``, or a ``Domain`` of your own.
        params: what else its getter takes: ``{"model": "small"}``.
        compute: makes the value of a query, or of a key: sync or async, with or without a ``Context`` as second argument.
        ttl: how long a value stays good; as anywhere else unless given.
        tags: labels kept with each entry.
        name: what reports call it.
        refresh: whether what is there is computed too.
        max_parallel: how many are seen to at a time.
        per_second: how many computations may begin in a second, evenly; None for no limit.
        max_items: how many items are taken at most.
        max_seconds: how long it may go on; then nothing more is begun.
        max_cost_usd: what the computations may cost together.
        cost_usd: what one of them costs; the domain's unit cost unless given.

    Raises:
        TypeError: an option is unknown, or of a wrong kind.
        ValueError: one cannot be, or is missing.

    Examples:
        >>> plan = WarmPlan(domain="search", queries=["refunds", "opening hours"], compute=ask_the_index)
        >>> print(await cache.warm(plan))
    """

    items: tuple[tuple[str, Compute], ...] = ()
    queries: tuple[Any, ...] | Callable[[], Any] = ()
    file: str | None = None
    top: int | None = None
    domain: str | Domain[Any] | None = None
    params: Mapping[str, Any] = each(factory=dict)
    compute: Callable[..., Any] | None = None
    ttl: Duration | Missing | None = MISSING
    tags: tuple[str, ...] = ()
    name: str = "plan"
    refresh: bool = False
    max_parallel: int = 8
    per_second: float | None = None
    max_items: int = MOST
    max_seconds: float | None = None
    max_cost_usd: float | None = None
    cost_usd: float | None = None

    def __init__(self, **options: Unpack[PlanOptions]) -> None:
        for option in options:
            if option not in self._fields:
                raise TypeError(f"a plan has no option {option!r}{nearest(option, self._fields)}")
        read = {option: _READERS[option](value, option) for option, value in options.items()}
        domain = read.get("domain") or "plan"
        super().__init__(**{"name": domain if isinstance(domain, str) else domain.name} | read)
        _check(self, [source for source in _SOURCES if read.get(source) is not None])

    def compute_of(self, item: "Item") -> Callable[[Context], Any]:
        """What makes the value of an item."""
        compute: Any = item.compute if self.compute is None else partial(self.compute, item.subject)
        return compute if takes_context(compute) else lambda _context: compute()


class Item(NamedTuple):
    """One item of a plan: a key or a query, with what computes it or whatever else is known of it."""

    subject: Any
    compute: Compute | None = None
    fields: Mapping[str, Any] | None = None


def _check(plan: WarmPlan, given: list[str]) -> None:
    """Raises ValueError for a plan that cannot be followed, with these sources."""
    if len(given) != 1:
        raise ValueError(f"a plan has one of {', '.join(_SOURCES)}, not {' and '.join(given) or 'none'}")
    if (plan.compute is None) is (given != ["items"]):
        raise ValueError("items bring what computes them, and queries, a file or top need compute=")
    if plan.params and plan.domain is None:
        raise ValueError("params are for the getter of a domain: name it, as in domain='search'")
    if plan.domain is not None and given == ["items"]:
        raise ValueError("items are keys of your own: a plan with a domain has queries, a file or top")
    if plan.max_cost_usd is not None and plan.cost_usd == 0:
        raise ValueError("max_cost_usd needs to know what one computation costs: give cost_usd")


def _items(value: Any, name: str) -> tuple[tuple[str, Compute], ...]:
    pairs = tuple(value.items() if isinstance(value, Mapping) else value)
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == _PAIR and isinstance(pair[0], str) and callable(pair[1])):
            raise TypeError(f"{name} are keys, each with what computes its value: {{'key': compute}}")
    return pairs


def _queries(value: Any, name: str) -> Any:
    if callable(value):
        return value
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is a list of queries, or a function that returns one, not {type(value).__name__}")
    return tuple(value)


def _params(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{name} is a dict of what else the getter takes, such as {{'model': 'small'}}")
    return dict(value)


def _function(value: Any, name: str) -> Any:
    if not callable(value):
        raise TypeError(f"{name} is a function of a query or a key, not {type(value).__name__}")
    return value


def _rate(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{name} is how many computations begin in a second, more than none, not {value!r}")
    return float(value)


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value) is None:
        raise ValueError(f"{name} is 1 to 64 letters, digits, '_', '.', ':' or '-', not {value!r}")
    return value


def _domain(value: Any, name: str) -> Any:
    if not isinstance(value, str | Domain):
        raise TypeError(f"{name} is a Domain, or the name of a built-in one, not {type(value).__name__}")
    told = value if isinstance(value, str) else value.name
    if isinstance(value, str) or told in DOMAINS:
        return choice(*GETTERS)(told, name)
    return value


def _lifetime(value: Any, name: str) -> Any:
    return value if value is MISSING else unlimited(span)(value, name)


_SOURCES: Final = ("items", "queries", "file", "top")
_PAIR: Final = 2
_READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "items": _items,
    "queries": _queries,
    "file": optional(lambda value, _name: os.fspath(value)),
    "top": optional(count),
    "domain": optional(_domain),
    "params": _params,
    "compute": optional(_function),
    "ttl": _lifetime,
    "tags": lambda value, _name: labels(value),
    "name": _name,
    "refresh": switch,
    "max_parallel": count,
    "per_second": optional(_rate),
    "max_items": count,
    "max_seconds": optional(span),
    "max_cost_usd": optional(dollars),
    "cost_usd": optional(dollars),
}
assert set(_READERS) == set(WarmPlan._fields)  # noqa: S101 - each is read
