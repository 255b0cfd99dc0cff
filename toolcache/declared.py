"""A domain of a user's own, as one cache has it: ``cache[WEATHER]``."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast, overload

from toolcache.compute import Compute
from toolcache.domain_keys import DomainKeys
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Missing
from toolcache.machine import Machine

T = TypeVar("T")


class Declared(Generic[T]):
    """One domain in one cache. Its methods take the fields of the domain's key by name.

    Args:
        machine: the cache's.
        domain: the row, with what the cache was told of it.
        keys: makes keys.
    """

    def __init__(self, machine: Machine, domain: Domain[T], keys: DomainKeys) -> None:
        self._machine = machine
        self._keys = keys
        self.domain = domain

    def key(self, /, **fields: Any) -> str:
        """The key that these fields make, for the cache's own methods.

        Raises:
            TypeError: a field is missing, or is none of the domain's.
            UnsupportedKeyError: one has no canonical form.
        """
        return self._keys.declared(self.domain, fields)

    @overload
    async def get(self, *, compute: None = None, **fields: Any) -> T | None: ...
    @overload
    async def get(self, *, compute: Compute, **fields: Any) -> T: ...
    async def get(self, *, compute: Compute | None = None, **fields: Any) -> T | None:
        """The value of these fields; computed and stored if it is missing and ``compute`` is given, else None."""
        key = self.key(**fields)
        if compute is None:
            return cast("T | None", await self._machine.lookups.get(key, self.domain))
        return cast("T", await self._machine.compute(key, compute, self.domain))

    async def set(
        self, value: T, *, ttl: Duration | Missing | None = MISSING, tags: Iterable[str] = (), **fields: Any
    ) -> Durability:
        """Store the value of these fields; returns where it is safe."""
        return await self._machine.set(self.key(**fields), value, self.domain, ttl=ttl, tags=tags)

    async def delete(self, **fields: Any) -> bool:
        """Forget the value of these fields; whether there was one."""
        key = self.key(**fields)
        return (await self._machine.delete_many((key,), self.domain))[key]

    def __repr__(self) -> str:
        return f"<domain {self.domain.name!r}: {', '.join(self.domain.key)}>"
