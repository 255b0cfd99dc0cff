"""The table of domains: what kinds of value an agent caches, and how long each stays good.

A domain is one row: a name, a TTL, what its key is made of, and what computing one value costs. Everything that a
kind of value needs said about it is said here once; the machine reads the row and never the name.
"""

import math
import re
from collections.abc import Iterable
from typing import Final

from toolcache.durations import Duration, seconds
from toolcache.fields import Frozen
from toolcache.freshness import UNSAID, Freshness

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class Domain(Frozen):
    """A kind of value.

    Args:
        name: the first part of its keys and its label in statistics; lower-case letters, digits, ``_`` and ``-``, at
            most 32, beginning with a letter.
        ttl: how long a value stays good: seconds, a ``timedelta`` or text such as ``"5m"``; None takes the cache's
            ``default_ttl``.
        key: the names of the fields that its key is made of, for whoever reads the table.
        cost_usd: what computing one value costs, in US dollars, so that hits can be counted as savings.
        shared: hits return the live object instead of a copy of one's own. Quicker, and only for values that nobody
            changes.
        vector: values are vectors of finite floats.
        dimensions: the only length its vectors may have; None for any.
        freshness: what is done about its values when they near their end; see ``Freshness``.

    Raises:
        ValueError: for a name, TTL, cost or number of dimensions that cannot be.

    Examples:
        >>> Domain("weather", ttl="5m", key=("location",), cost_usd=0.002).ttl
        300.0
    """

    name: str
    ttl: float | None
    key: tuple[str, ...]
    cost_usd: float
    shared: bool
    vector: bool
    dimensions: int | None
    freshness: Freshness

    def __init__(
        self,
        name: str,
        *,
        ttl: Duration | None,
        key: Iterable[str] = (),
        cost_usd: float = 0.0,
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
        if not cost_usd >= 0 or math.isinf(cost_usd):
            raise ValueError(f"cost_usd of the domain {name!r} must be zero or more dollars, not {cost_usd!r}")
        if dimensions is not None and (dimensions < 1 or not vector):
            raise ValueError(f"dimensions of the domain {name!r} must be at least 1, and need vector=True")
        super().__init__(
            name=name,
            ttl=None if ttl is None else seconds(ttl, name=f"ttl of the domain {name!r}"),
            key=tuple(key),
            cost_usd=float(cost_usd),
            shared=shared,
            vector=vector,
            dimensions=dimensions,
            freshness=freshness,
        )


GENERAL: Final = Domain("general", ttl=None, key=("key",))
"""Keys of the caller's own: ``cache.get("…")``."""
CATALOG: Final = Domain("catalog", ttl="24h", key=("version", "source"))
EMBEDDING: Final = Domain("embedding", ttl="7d", key=("model", "variant", "text"), vector=True)
SEARCH: Final = Domain("search", ttl="1h", key=("catalog_version", "top_k", "query"))
METADATA: Final = Domain("metadata", ttl="24h", key=("tool", "version"))
IDEMPOTENCY: Final = Domain("idempotency", ttl="1h", key=("task",))

DOMAINS: Final = {row.name: row for row in (GENERAL, CATALOG, EMBEDDING, SEARCH, METADATA, IDEMPOTENCY)}
"""The built-in rows, by name."""
