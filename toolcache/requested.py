"""What a process is asked for most often: counted from when somebody wants to know, in bounded room."""

from contextvars import ContextVar
from copy import deepcopy
from heapq import nlargest
from typing import TYPE_CHECKING, Any, ClassVar, Final

from toolcache.domain_keys import DomainKeys
from toolcache.domains import Domain
from toolcache.protocols import Clock
from toolcache.warm_plan import GETTERS, Item

if TYPE_CHECKING:
    from toolcache.told import Told

quiet: Final[ContextVar[bool]] = ContextVar("toolcache_quiet", default=False)
"""Whether nothing is counted: what is asked for ahead of time was not asked for."""

tried: Final[ContextVar["list[_Asked] | None"]] = ContextVar("toolcache_tried", default=None)
"""What is counted while one looks whether there is an answer at hand, and is taken back where there is none."""

_DAY: Final = 86_400.0
_KEPT: Final = 1_000
"""Of each domain, what is asked for most often; once twice as much is known, the rest is forgotten."""

_LONGEST: Final = 4_096
"""Characters of a key or a query that is kept."""


class _Asked:
    """One key: how often it was asked for, and how."""

    __slots__ = ("item", "times")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.times = 0


class Requested:
    """Counts what is looked up, in this process, of each domain and of keys of the caller's own.

    Counts are of the last day to two: those of a day go when the next but one begins. What is rare may be forgotten, and
    counted from the beginning when it comes again; what is frequent is not.

    Args:
        clock: tells the days.

    Attributes:
        begun: whether anybody counts in this process.
    """

    begun: ClassVar[bool] = False

    def __init__(self, clock: Clock) -> None:
        Requested.begun = True
        self._clock = clock
        self._today: dict[str, dict[str, _Asked]] = {}
        self._before: dict[str, dict[str, _Asked]] = {}
        self._ends = clock.monotonic() + _DAY

    def note(self, domain: str, key: str, subject: Any, fields: dict[str, Any] | None = None) -> None:
        """Something was asked for."""
        if quiet.get():
            return
        counts = self._turned().setdefault(domain, {})
        asked = counts.get(key)
        if asked is None:
            if isinstance(subject, str) and len(subject) > _LONGEST:
                return
            # Copies: whoever asked may change what is no text.
            asked = counts[key] = _Asked(Item(deepcopy(subject), None, deepcopy(fields)))
            if len(counts) > 2 * _KEPT:
                self._today[domain] = dict(nlargest(_KEPT, counts.items(), key=_times))
        asked.times += 1
        if (noted := tried.get()) is not None:
            noted.append(asked)

    def top(self, number: int = 10, domain: str | Domain[Any] | None = None) -> list[tuple[Any, int]]:
        """What was asked for most often, and how often: queries of a domain, or keys of one's own.

        Args:
            number: how many at most.
            domain: a domain, or its name; None for keys of one's own.
        """
        return [(asked.item.subject, asked.times) for asked in self._most(number, domain)]

    def most(self, number: int, domain: str | Domain[Any] | None) -> list[Item]:
        """The same, to be asked for again."""
        return [asked.item for asked in self._most(number, domain)]

    def _most(self, number: int, domain: str | Domain[Any] | None) -> list[_Asked]:
        name = domain.name if isinstance(domain, Domain) else domain or ""
        both: dict[str, _Asked] = {}
        today = self._turned().get(name, {})
        for counts in (self._before.get(name, {}), today):
            for key, asked in tuple(counts.items()):
                one = both.setdefault(key, _Asked(asked.item))
                one.times += asked.times
        return [asked for _, asked in nlargest(number, both.items(), key=_times)]

    def _turned(self) -> dict[str, dict[str, _Asked]]:
        """Today's counts."""
        now = self._clock.monotonic()
        if now >= self._ends:
            self._before = self._today if now < self._ends + _DAY else {}
            self._today = {}
            self._ends = now + _DAY
        return self._today


def _times(pair: tuple[str, _Asked]) -> int:
    return pair[1].times


class CountedKeys(DomainKeys):
    """Keys of domains, each of which is counted when it is made.

    Args:
        keys: those of a cache.
        requested: counts.
    """

    def __init__(self, keys: DomainKeys, requested: Requested) -> None:
        vars(self).update(vars(keys))
        self._requested = requested

    def catalog(self, source: Any, version: str) -> str:
        """As the base class."""
        return self._count("catalog", super().catalog(source, version), source=source, version=version)

    def embeddings(self, texts: Any, model: str, variant: str | None) -> list[str]:
        """As the base class."""
        asked = list(texts)
        keys = super().embeddings(asked, model, variant)
        for key, text in zip(keys, asked, strict=True):
            self._count("embedding", key, text=text, model=model, variant=variant)
        return keys

    def search(self, query: Any, catalog_version: str, top_k: int) -> str:
        """As the base class."""
        key = super().search(query, catalog_version, top_k)
        return self._count("search", key, query=query, catalog_version=catalog_version, top_k=top_k)

    def metadata(self, tool: str, version: str) -> str:
        """As the base class."""
        return self._count("metadata", super().metadata(tool, version), tool=tool, version=version)

    def response(self, agent: str, goal: Any, *, model: Any, temperature: float | None, tools: Any = ()) -> str:
        """As the base class."""
        listed = tools if isinstance(tools, str | dict) else list(tools or ())
        key = super().response(agent, goal, model=model, temperature=temperature, tools=listed)
        return self._count("response", key, goal=goal, agent=agent, model=model, temperature=temperature, tools=listed)

    def completion(self, model: str, messages: Any, params: Any = None) -> str:
        """As the base class."""
        key = super().completion(model, messages, params)
        return self._count("model", key, messages=messages, model=model, params=dict(params or {}))

    def declared(self, domain: Domain[Any], fields: Any) -> str:
        """As the base class."""
        key = super().declared(domain, fields)
        self._requested.note(domain.name, key, dict(fields), dict(fields))
        return key

    def _count(self, domain: str, key: str, **fields: Any) -> str:
        self._requested.note(domain, key, fields[GETTERS[domain][1]], fields)
        return key


def count_requests(cache: "Told") -> Requested:
    """Count what a cache is asked for from now on; costs it a microsecond or two each time."""
    requested = Requested(cache._parts.clock)  # noqa: SLF001 - of one house
    hit, keys = cache._hit, cache._keys  # noqa: SLF001 - of one house

    def counted(key: str) -> Any:
        if isinstance(key, str):
            requested.note("", key, key)
        return hit(key)

    cache._hit = counted  # noqa: SLF001 - of one house
    cache._keys = CountedKeys(keys, requested)  # noqa: SLF001 - of one house
    return requested
