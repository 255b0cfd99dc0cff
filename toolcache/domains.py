"""The table of domains: what kinds of value an agent caches, and how long each stays good.

A domain is one row: a name, a TTL, what its key is made of, and what computing one value costs. Everything that a
kind of value needs said about it is said here once; the machine reads the row and never the name.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypedDict, Unpack

from toolcache.durations import Duration, seconds
from toolcache.fields import Frozen
from toolcache.freshness import UNSAID, Freshness
from toolcache.series import Series
from toolcache.tags import domain_label

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

Normalize: TypeAlias = Callable[[str], Any] | Mapping[str, Callable[[Any], Any]]
"""What is done to values before they become a key: to each str, or to those of that name."""

_LONGEST: Final = 128
"""Letters of a label."""
_TAKEN: Final = ("compute", "tags", "ttl", "value")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class Labels(TypedDict, total=False):
    """Whose calls are counted apart; see ``Series``."""

    agent: str
    tool: str
    model: str


class Domain(Frozen, Generic[T]):
    """A kind of value; ``Domain[Forecast]`` to type checkers, where values are forecasts.

    Args:
        name: the first part of its keys and its label in statistics; lower-case letters, digits, ``_`` and ``-``, at
            most 32, beginning with a letter.
        ttl: how long a value stays good: seconds, a ``timedelta`` or text such as ``"5m"``; None takes the cache's
            ``default_ttl``.
        key: the names of the fields that its key is made of.
        normalize: what is done to fields before they become the key: a function for each str, such as ``str.casefold``, or
            functions by the names of fields.
        version: becomes part of the key: another one, and what was stored before is not found any more.
        cost_usd: what computing one value costs, in US dollars, so that hits can be counted as savings.
        cost_tokens: the same in tokens.
        shared: hits return the live object instead of a copy of one's own. Quicker, and only for values that nobody
            changes.
        vector: values are vectors of finite floats.
        dimensions: the only length its vectors may have; None for any.
        freshness: what is done about its values when they near their end; see ``Freshness``.

    Raises:
        ValueError: for a name, TTL, field, version, cost or number of dimensions that cannot be.

    Examples:
        >>> Domain("weather", ttl="5m", key=("location",), cost_usd=0.002).ttl
        300.0
    """

    name: str
    ttl: float | None
    key: tuple[str, ...]
    normalize: Normalize | None
    version: str | None
    cost_usd: float
    cost_tokens: float
    shared: bool
    vector: bool
    dimensions: int | None
    freshness: Freshness
    if TYPE_CHECKING:  # told by its name, and no field
        series: Series

    def normal(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields as they become the key."""
        rules = self.normalize
        if rules is None:
            return dict(fields)
        if isinstance(rules, Mapping):
            return {name: rules[name](value) if name in rules else value for name, value in fields.items()}
        of_any = getattr(rules, "takes_any", False)
        return {name: rules(value) if of_any or isinstance(value, str) else value for name, value in fields.items()}

    @property
    def labels(self) -> tuple[str, ...]:
        """What all entries of the domain can be invalidated by."""
        return labels_of(self.name)

    def __init__(
        self,
        name: str,
        *,
        ttl: Duration | None,
        key: Iterable[str] = (),
        normalize: Normalize | None = None,
        version: str | None = None,
        cost_usd: float = 0.0,
        cost_tokens: float = 0.0,
        shared: bool = False,
        vector: bool = False,
        dimensions: int | None = None,
        freshness: Freshness = UNSAID,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a domain: take 1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter"
            )
        if isinstance(key, str):
            raise TypeError(f"key of the domain {name!r} takes several names: write ({key!r},)")
        fields = tuple(key)
        if odd := [
            field for field in fields if not (isinstance(field, str) and field.isidentifier()) or field in _TAKEN
        ]:
            raise ValueError(
                f"{odd[0]!r} cannot be a field of the domain {name!r}: take a name, and none of {', '.join(_TAKEN)}"
            )
        if isinstance(normalize, Mapping) and (unknown := normalize.keys() - set(fields)):
            raise ValueError(f"normalize of the domain {name!r} names {min(unknown)!r}, which is no field of its key")
        if version is not None and (not isinstance(version, str) or not version):
            raise ValueError(f"the version of the domain {name!r} is a text such as '2', not {version!r}")
        for what, cost in (("cost_usd", cost_usd), ("cost_tokens", cost_tokens)):
            if not cost >= 0 or math.isinf(cost):
                raise ValueError(f"{what} of the domain {name!r} must be zero or more, not {cost!r}")
        if dimensions is not None and (dimensions < 1 or not vector):
            raise ValueError(f"dimensions of the domain {name!r} must be at least 1, and need vector=True")
        super().__init__(
            name=name,
            ttl=None if ttl is None else seconds(ttl, name=f"ttl of the domain {name!r}"),
            key=fields,
            normalize=normalize,
            version=version,
            cost_usd=float(cost_usd),
            cost_tokens=float(cost_tokens),
            shared=shared,
            vector=vector,
            dimensions=dimensions,
            freshness=freshness,
        )
        vars(self)["series"] = Series(name)

    def counted_as(self, **labels: Unpack[Labels]) -> Self:
        """The same row, whose calls are counted apart from others': by agent, tool and model, where they are told."""
        row = object.__new__(type(self))
        told = {label: _readable(str(name)[:_LONGEST]) for label, name in labels.items() if name}
        vars(row).update(vars(self), series=self.series._replace(**told))
        return row


def _readable(text: str) -> str:
    """Text that can be written down, whatever an agent calls itself."""
    return text.encode("utf-8", "replace").decode()


@cache
def labels_of(name: str) -> tuple[str, ...]:
    """What all entries of a domain of this name can be invalidated by; keys of the caller's own are in none."""
    return () if name == "general" else (domain_label(name),)


GENERAL: Final = Domain("general", ttl=None, key=("key",))
"""Keys of the caller's own: ``cache.get("…")``."""
CATALOG: Final = Domain("catalog", ttl="24h", key=("version", "source"))
EMBEDDING: Final = Domain("embedding", ttl="7d", key=("model", "variant", "text"), vector=True)
SEARCH: Final = Domain("search", ttl="1h", key=("catalog_version", "top_k", "query"))
METADATA: Final = Domain("metadata", ttl="24h", key=("tool", "version"))
IDEMPOTENCY: Final = Domain("idempotency", ttl="1h", key=("task",))
RESPONSE: Final = Domain("response", ttl="1h", key=("agent", "goal", "model", "temperature", "tools"))
MODEL: Final = Domain("model", ttl="1d", key=("model", "messages", "params"))
TOOL: Final = Domain("tool", ttl="5m", key=("tool", "params"))
SESSION: Final = Domain("session", ttl="24h", key=("session",))
MEMORY: Final = Domain("memory", ttl="15m", key=("agent", "query"))

DOMAINS: Final[Mapping[str, Domain[Any]]] = {
    row.name: row
    for row in (
        *(GENERAL, CATALOG, EMBEDDING, SEARCH, METADATA, IDEMPOTENCY),
        *(RESPONSE, MODEL, TOOL, SESSION, MEMORY),
    )
}
"""The built-in rows, by name."""
