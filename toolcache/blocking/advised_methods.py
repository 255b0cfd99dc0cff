"""The methods of ``Advised``, for callers that wait.

Written by tests/blocking_face.py.
"""

from typing import Any

from toolcache.blocking.face import Face
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.insight.analysis import Analysis
from toolcache.insight.diagnosis import Diagnosis
from toolcache.insight.usage import By, EntryInfo, MemoryUsage
from toolcache.tool_cache import ToolCache


class BlockingAdvised(Face):
    """See ``Advised``."""

    _cache: ToolCache

    def analyze(self, period: Duration = "1d") -> Analysis:
        """How large memory should be, how long values should live, and what is hardly worth its room.

        All of it comes from lookups that were sampled, of all processes that share these stores, on the days (of universal
        time) that the period touches; entries of low value are those of this process.

        Args:
            period: how far back.

        Examples:
            >>> analysis = cache.analyze()
            >>> print(analysis.recommended_size, analysis.recommended_ttl, analysis.low_value_count)
            None {} 0
        """
        return self._call(self._cache.analyze, period)

    def diagnose(self, domain: str | Domain[Any] | None = None, period: Duration = "1h") -> Diagnosis:
        """Why lookups miss: keys that vary, lifetimes that are too short, a memory too small, or errors; and what to change.

        Args:
            domain: a domain, or its name; None for all.
            period: how far back counts are looked at; what was sampled is of whole days.

        Raises:
            ValueError: there is no such domain.

        Examples:
            >>> (cache.diagnose()).issue
            'none'
        """
        return self._call(self._cache.diagnose, domain, period)

    def find_stale(
        self,
        max_age: Duration = "7d",
        *,
        domain: str | Domain[Any] | None = None,
        agent: str | None = None,
        limit: int = 1000,
        layers: bool = False,
    ) -> tuple[EntryInfo, ...]:
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
            >>> for entry in cache.find_stale(max_age="7d"):
            ...     print(entry.key, entry.age)
        """
        return self._call(self._cache.find_stale, max_age, domain=domain, agent=agent, limit=limit, layers=layers)

    def memory_usage(self, largest: int = 10) -> MemoryUsage:
        """What this process's memory holds: by domain, and the largest entries.

        Args:
            largest: how many of these.

        Examples:
            >>> memory = cache.memory_usage()
            >>> print(memory.used, memory.largest_entries)
            0 ()
        """
        return self._call(self._cache.memory_usage, largest)

    def top(self, number: int = 10, by: By = "hits") -> tuple[EntryInfo, ...]:
        """The entries of this process's memory that have most hits, take most bytes or have saved most dollars.

        Args:
            number: how many at most.
            by: ``"hits"``, ``"bytes"`` or ``"dollars"``; what has none is left out.

        Examples:
            >>> cache.top(3, by="hits")
            ()
        """
        return self._call(self._cache.top, number, by)
