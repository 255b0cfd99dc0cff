"""DomainCache: a cache that has rows of the table of domains, built in or of a user's own."""

from collections.abc import Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar, Unpack

from toolcache.cache import Cache
from toolcache.compute import Compute
from toolcache.declared import Declared
from toolcache.domain_keys import DomainKeys
from toolcache.domains import DOMAINS, GENERAL, IDEMPOTENCY, Domain, Labels
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Missing
from toolcache.machine import Machine
from toolcache.parts import Parts
from toolcache.settings import Settings

TTL: TypeAlias = Duration | Missing | None
"""A lifetime: the domain's if it is not given, None for ever."""

T = TypeVar("T")

_REMEMBERED: Final = 1_024
"""Rows counted by labels that are kept in mind."""


class DomainCache(Cache):
    """A cache with domains.

    Args:
        parts: what it is made of.
        settings: what it was told; lifetimes and costs of domains win over their rows'.
        machine: see ``Cache``.

    Attributes:
        settings: as given.
    """

    def __init__(self, parts: Parts, settings: Settings, machine: Machine | None = None) -> None:
        super().__init__(parts, machine)
        self.settings = settings
        insight = self._machine.insight
        self._keys = DomainKeys(settings.namespace, settings.tenant, None if insight is None else insight.windows)
        self._rows = self._table()
        self._counted: dict[tuple[Any, ...], Domain[Any]] = {}
        self._idempotency = self._request_domain = self._rows[IDEMPOTENCY.name]

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The rows by name, built-in ones first, then those of the user's own that were asked for."""
        return MappingProxyType(self._rows)

    def __getitem__(self, domain: Domain[T]) -> Declared[T]:
        """A domain of the user's own.

        Raises:
            TypeError: that is no domain.
            ValueError: it is built in and has methods of its own, or another one of that name was used before.

        Examples:
            >>> WEATHER = Domain("weather", ttl="5m", key=("location",), cost_usd=0.002)
            >>> forecast = await cache[WEATHER].get(location="Oslo", compute=lambda: "rain")
        """
        if not isinstance(domain, Domain):
            raise TypeError(
                f"cache[...] takes a Domain, not {type(domain).__name__}: declare one, or use cache.get(key)"
            )
        return Declared(self._machine, self._row(domain), self._keys)

    def _domains(self) -> Mapping[str, Domain]:
        return self._rows

    def _row(self, domain: Domain[Any]) -> Domain[Any]:
        """A row of the user's own, which the cache knows from now on."""
        row = self._rows.get(domain.name)
        if row is None:
            self._rows[domain.name] = row = domain
            self._machine.tallies.of(row)  # statistics list it from now on
        elif domain.name in DOMAINS:
            method = "get" if domain.name == GENERAL.name else f"methods of its own, such as get_{domain.name}"
            raise ValueError(f"{domain.name!r} is built in and has {method}: give a domain of your own another name")
        elif row != domain:
            raise ValueError(
                f"another domain {domain.name!r} was used with this cache: declare it once, and import it where it is used"
            )
        return row

    def _table(self) -> dict[str, Domain[Any]]:
        return {row.name: self._told(row) for row in DOMAINS.values()}

    def _told(self, domain: Domain[Any]) -> Domain[Any]:
        ttl = self.settings.ttls.get(domain.name, domain.ttl)
        cost = self.settings.costs.get(domain.name, domain.cost_usd)
        return domain._replace(ttl=ttl, cost_usd=cost)

    async def _answer(
        self, key: str, domain: Domain[Any], compute: Compute | None, *own: str, **labels: Unpack[Labels]
    ) -> Any:
        value = self._machine.hit(key)
        if value is not MISSING:
            return value
        row = self._apart(domain, **labels)
        if compute is None:
            return await self._machine.lookups.seek(key, row)
        return await self._machine.fill(key, compute, row, own=own)

    def _store(
        self,
        key: str,
        value: Any,
        domain: Domain[Any],
        ttl: TTL,
        tags: Iterable[str],
        *own: str,
        **labels: Unpack[Labels],
    ) -> Coroutine[Any, Any, Durability]:
        return self._machine.set(key, value, self._apart(domain, **labels), ttl=ttl, tags=tags, own=own)

    def _apart(self, domain: Domain[Any], **labels: Unpack[Labels]) -> Domain[Any]:
        """The row of a domain whose calls are counted by these labels, apart from others'."""
        row = self._rows[domain.name]
        if not labels:
            return row
        told = (domain.name, *labels.items())
        apart = self._counted.get(told)
        if apart is None:
            if len(self._counted) >= _REMEMBERED:
                self._counted.clear()
            self._counted[told] = apart = row.counted_as(**labels)
        return apart

    async def _forget(self, key: str, domain: Domain[Any]) -> bool:
        return (await self._machine.delete_many((key,), self._rows[domain.name]))[key]
