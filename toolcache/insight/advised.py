"""Advice on a cache, and what takes its room: what ``Cache`` has of insight."""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from toolcache.domains import Domain
from toolcache.durations import Duration, seconds
from toolcache.entry import MISSING
from toolcache.machine import Machine
from toolcache.spelling import nearest

if TYPE_CHECKING:
    from toolcache.insight.analysis import Analysis
    from toolcache.insight.diagnosis import Diagnosis
    from toolcache.insight.usage import By, EntryInfo, MemoryUsage


class Advised:
    """What a cache says of how it is used."""

    _machine: Machine

    async def analyze(self, period: Duration = "1d") -> "Analysis":
        """How large memory should be, how long values should live, and what is hardly worth its room.

        All of it comes from lookups that were sampled, of all processes that share these stores, on the days (of universal
        time) that the period touches; entries of low value are those of this process.

        Args:
            period: how far back.

        Examples:
            >>> analysis = await cache.analyze()
            >>> print(analysis.recommended_size, analysis.recommended_ttl, analysis.low_value_count)
            None {} 0
        """
        from toolcache.insight.analysis import analysis_of
        from toolcache.insight.evidence import gather
        from toolcache.insight.usage import low_value

        self._machine.enter(())
        evidence = await gather(self._machine, period, self._lifetimes())
        return analysis_of(evidence, await low_value(self._machine))

    async def diagnose(self, domain: "str | Domain[Any] | None" = None, period: Duration = "1h") -> "Diagnosis":
        """Why lookups miss: keys that vary, lifetimes that are too short, a memory too small, or errors; and what to change.

        Args:
            domain: a domain, or its name; None for all.
            period: how far back counts are looked at; what was sampled is of whole days.

        Raises:
            ValueError: there is no such domain.

        Examples:
            >>> (await cache.diagnose()).issue
            'none'
        """
        from toolcache.insight.diagnosis import diagnosis_of
        from toolcache.insight.evidence import gather

        self._machine.enter(())
        name = self._named(domain)
        return diagnosis_of(await gather(self._machine, period, self._lifetimes()), name)

    async def find_stale(
        self,
        max_age: Duration = "7d",
        *,
        domain: "str | Domain[Any] | None" = None,
        agent: str | None = None,
        limit: int = 1000,
        layers: bool = False,
    ) -> "tuple[EntryInfo, ...]":
        """Entries whose values were made longer ago than that, the oldest first, without their values.

        Args:
            max_age: how old they may be.
            domain: a domain, or its name; None for all.
            agent: an agent's alone.
            limit: entries at most.
            layers: those that Redis and files hold, too; else what this process's memory has.

        Raises:
            ValueError: there is no such domain, or so many cannot be told.

        Examples:
            >>> for entry in await cache.find_stale(max_age="7d"):
            ...     print(entry.key, entry.age)
        """
        from toolcache.insight.usage import find_stale

        return await find_stale(
            self._machine,
            seconds(max_age, name="max_age"),
            domain=self._named(domain),
            agent=agent,
            limit=limit,
            layers=layers,
        )

    async def memory_usage(self, largest: int = 10) -> "MemoryUsage":
        """What this process's memory holds: by domain, and the largest entries.

        Args:
            largest: how many of these.

        Examples:
            >>> memory = await cache.memory_usage()
            >>> print(memory.used, memory.largest_entries)
            0 ()
        """
        from toolcache.insight.usage import memory_usage

        return await memory_usage(self._machine, largest)

    async def top(self, number: int = 10, by: "By" = "hits") -> "tuple[EntryInfo, ...]":
        """The entries of this process's memory that have most hits, take most bytes or have saved most dollars.

        Args:
            number: how many at most.
            by: ``"hits"``, ``"bytes"`` or ``"dollars"``; what has none is left out.

        Examples:
            >>> await cache.top(3, by="hits")
            ()
        """
        from toolcache.insight.usage import top

        return await top(self._machine, number, by)

    def _domains(self) -> Mapping[str, "Domain[Any]"]:
        raise NotImplementedError

    def _lifetimes(self) -> dict[str, float | None]:
        """How long values of each domain live, unless a call says otherwise, in seconds; None for ever."""
        return {
            name: None if (life := self._machine.lifetime(MISSING, row)) == inf else life
            for name, row in self._domains().items()
        }

    def _named(self, domain: "str | Domain[Any] | None") -> str | None:
        name = domain.name if isinstance(domain, Domain) else domain
        if name is not None and name not in self._domains():
            raise ValueError(f"there is no domain {name!r}{nearest(str(name), self._domains())}")
        return name
