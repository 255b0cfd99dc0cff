"""What an agent's view of a cache may be told: lifetimes and switches of domains, and freshness."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from toolcache import spelling
from toolcache.domains import GENERAL, IDEMPOTENCY, SESSION
from toolcache.durations import Duration
from toolcache.freshness import Freshness
from toolcache.freshness_options import READERS, FreshnessOptions, said


class AgentOptions(FreshnessOptions, total=False):
    """The keywords of ``for_agent(...)``: how long values of a domain are good, and whether they are kept at all.

    Attributes:
        default_ttl: how long values under keys of the agent's own are good, and those of domains without a lifetime.
        ttls: lifetimes of domains by name, those of the user's own included.
        response_cache: False has responses be computed always; nothing of them is looked up or kept. So for the others.
    """

    default_ttl: Duration
    ttls: Mapping[str, Duration]
    catalog_ttl: Duration
    embedding_ttl: Duration
    search_ttl: Duration
    metadata_ttl: Duration
    response_ttl: Duration
    model_ttl: Duration
    tool_ttl: Duration
    session_ttl: Duration
    memory_ttl: Duration
    idempotency_ttl: Duration
    catalog_cache: bool
    embedding_cache: bool
    search_cache: bool
    metadata_cache: bool
    response_cache: bool
    model_cache: bool
    tool_cache: bool
    memory_cache: bool


class AgentTerms(NamedTuple):
    """What holds for an agent where a call and a domain say nothing.

    Attributes:
        ttls: seconds, by domain.
        off: the domains that it does without.
        freshness: what is done about values that near their end.
        default_ttl: seconds, of what has no lifetime by its domain; None as the cache has it.
    """

    ttls: Mapping[str, float]
    off: frozenset[str]
    freshness: Freshness
    default_ttl: float | None


_TTL: Final = "_ttl"
_CACHE: Final = "_cache"
_KEPT: Final = frozenset({GENERAL.name, SESSION.name, IDEMPOTENCY.name})
"""What cannot be computed always in place of being kept."""


def terms_of(options: Mapping[str, Any], domains: Collection[str]) -> AgentTerms:
    """What options say.

    Args:
        options: as ``AgentOptions``.
        domains: the names that there are.

    Raises:
        TypeError: an option is unknown, or of a wrong kind.
        ValueError: one is out of range, or a domain is given two lifetimes.

    Examples:
        >>> terms_of({"response_ttl": "1h", "memory_cache": False}, ["response", "memory"]).off
        frozenset({'memory'})
    """
    named = [name for name in domains if name != GENERAL.name]
    spans = {f"{name}{_TTL}": name for name in named}
    switches = {f"{name}{_CACHE}": name for name in domains if name not in _KEPT}
    known = {"default_ttl", "ttls", *spans, *switches, *READERS}
    for option in options:
        if option not in known:
            raise TypeError(f"for_agent() has no option {option!r}{spelling.nearest(option, known)}")
    ttls = _table(options.get("ttls", {}), named)
    for option, name in spans.items():
        if option in options:
            if name in ttls:
                raise ValueError(f"{option} is said twice: leave {name!r} out of ttls")
            ttls[name] = spelling.span(options[option], option)
    default = options.get("default_ttl")
    return AgentTerms(
        ttls,
        frozenset(name for option, name in switches.items() if not spelling.switch(options.get(option, True), option)),
        said({name: value for name, value in options.items() if name in READERS}),
        None if default is None else spelling.span(default, "default_ttl"),
    )


def _table(ttls: object, named: Collection[str]) -> dict[str, float]:
    if not isinstance(ttls, Mapping):
        raise TypeError(
            f"ttls takes a lifetime for each of some domains, such as {{'search': '5m'}}, not {type(ttls).__name__}"
        )
    return {spelling.domain(name, "ttls", named): spelling.span(ttl, f"ttls[{name!r}]") for name, ttl in ttls.items()}
